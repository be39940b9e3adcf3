"""The command `colocus`: arguments in, one line for what a user can mend, the job to a command's own file.

Commands are the modules that `experiments.commands.COMMANDS` lists. Heavy modules are imported inside them, so that
help and wrong arguments answer at once.
"""

import argparse
import difflib
import errno
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from experiments.commands import COMMANDS
from experiments.commands.arguments import UsageError, resume_command
from experiments.interrupts import kept_interrupts

# groups of commands in the order of the help; one with a sentence takes a line for all of its commands
GROUPS = {"start": "", "learn": "", "movies": "", "microscope": "", "lists": "what to do with a list"}
_HEAD = """\
Colocus learns a microscope's phase mask together with the network that reads its images.

usage: colocus COMMAND ...            colocus COMMAND --help

"""
_FOOT = """
A CONFIG is a preset or a TOML file; KEY=VALUE changes a setting, like seeds=[0,1,2].
A run's folder: report.html, metrics.json, figures/, log.jsonl, config.json and arms/.

  colocus reconstruct movie.tif --out runs/movie
  colocus compare quick --out runs/quick --minutes 30    (or --resume)

Exit status: 0 done, 2 wrong input (one line says what), 3 time limit, 130 interrupted.
"""


class _Parser(argparse.ArgumentParser):
    notes: Callable[[], str] | None = None  # the last lines of a help page, where they take long to find out

    def format_help(self) -> str:
        if self.notes is not None:
            self.epilog = self.notes()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


def help_text() -> str:
    """Compose the screen of `colocus --help` from what the commands say of themselves."""
    modules = {name: _module(name) for name in sorted(COMMANDS)}
    width = max(map(len, modules))
    lines = []
    for group in dict.fromkeys([*GROUPS, *(module.GROUP for module in modules.values())]):
        of_group = {name: module.ABOUT.partition(". ")[0] for name, module in modules.items() if module.GROUP == group}
        if GROUPS.get(group):
            lines.append(f"  {', '.join(of_group)}   {GROUPS[group]}\n")
        else:
            lines += [f"  {name:{width}}  {about.rstrip('.')}\n" for name, about in of_group.items()]
    return _HEAD + "".join(lines) + _FOOT


def _module(command: str) -> ModuleType:
    return importlib.import_module(COMMANDS[command])


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command and its arguments; raises `UsageError` where they make no sense.

    >>> parse(["drift", "locs.csv", "--out", "corrected.csv"]).method
    'aim'
    """
    command, *rest = argv
    module = _module(command)
    parser = _Parser(prog=f"colocus {command}", description=module.ABOUT, allow_abbrev=False)
    module.add_arguments(parser)
    parser.notes = getattr(module, "notes", None)
    parser.set_defaults(command=command)
    # intermixed: settings may stand behind an option as well as before it
    return parser.parse_intermixed_args(with_negatives(rest))


def with_negatives(argv: list[str]) -> list[str]:
    """Join a value that begins with a minus sign (--focus -3:3:61) to its option.

    >>> with_negatives(["--focus", "-3:3:61"])
    ['--focus=-3:3:61']
    """
    joined: list[str] = []
    for item in argv:
        if joined and re.match(r"-[\d.]", item) and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={item}"
        else:
            joined.append(item)
    return joined


def main(argv: Sequence[str] | None = None) -> int:
    """Run `colocus` with these arguments (default: the process's own); returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    arguments = argparse.Namespace()
    try:
        if not argv or argv[0] in ("-h", "--help", "help"):
            print(help_text(), end="")
            return 0
        if argv[0] == "--version":
            from importlib.metadata import version

            print(f"colocus {version('colocus')}")
            return 0
        command = argv[0]
        if command not in COMMANDS:
            near = difflib.get_close_matches(command, COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(COMMANDS)}"
            raise UsageError(f"unknown command {command!r}; {hint}")
        arguments = parse(argv)
        with kept_interrupts():
            return _module(command).main(arguments, argv)
    except KeyboardInterrupt:
        going_on = f"; to go on: {resume_command(arguments, argv)}" if getattr(arguments, "resumable", False) else ""
        print(f"\ncolocus: interrupted{going_on}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader (head, less) has gone; nothing may be flushed to it at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        message = explain(error, getattr(arguments, "out", None))
        if message is None:
            raise
        print(f"colocus: error: {message}", file=sys.stderr)
        return 2


def explain(error: Exception, out: Path | None) -> str | None:
    """Say in one line an error that the user can mend; None for a bug, whose traceback should show."""
    if isinstance(error, OSError):
        return _explain_os(error, out)
    if isinstance(error, UsageError | FloatingPointError):
        return _one_line(error)
    if out is not None and any(sign in str(error) for sign in ("No space left on device", "Disk quota exceeded")):
        return _explain_os(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), out)  # as libraries wrap it
    if isinstance(error, ValueError):
        from localization import LocalizationError
        from nets import NetsError
        from optics import OpticsError
        from training import CheckpointError, ConfigError

        if isinstance(error, CheckpointError | ConfigError | LocalizationError | NetsError | OpticsError):
            return _one_line(error)
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _explain_os(error: OSError, out: Path | None) -> str:
    where = error.filename if error.filename is not None else out
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    barred = (errno.EACCES, errno.EPERM, errno.EROFS)
    remedy = "; check the path"
    if error.errno in full:
        where = out if out is not None else where
        remedy = "; free some space there and go on with --resume, or name another folder"
    elif error.errno in barred:
        remedy = "; name a place that you may write to"
    return f"{where}: {(error.strerror or str(error)).lower()}{remedy}"


if __name__ == "__main__":
    sys.exit(main())
