"""The command `colocus`: arguments in, one line for what a user can mend, the job to a function elsewhere.

Heavy modules are imported inside the commands, so that help and wrong arguments answer at once.
"""

import argparse
import difflib
import errno
import importlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

HELP = """\
Colocus learns a microscope's phase mask together with the network that reads its images.

usage: colocus COMMAND ...            colocus COMMAND --help

  demo       learn a mask and compare it with a Tetrapod: minutes on two cores
  codesign   learn a phase mask together with its decoder
  train      train a decoder for a mask that stays as it is
  compare    train and score one decoder per mask; write a report
  evaluate   show a run's scores, or score a localization list
  localize   turn a movie into a localization list (merge joins shares)
  convert    tables and movies from one file format to another
  config     list the presets, or print one with every key
  generate   learn realistic, labelled scenes from a movie (--scenes)

  crlb       the precision that a PSF allows: print it, draw it
  design     a phase mask of least Cramer-Rao bound
  fabricate  a mask for an SLM or an etching process; what errors cost
  retrieve   from bead stacks to a calibrated PSF
  render, resolution, drift, link, filter, track   what to do with a list
  calibrate-camera   gain, offset and read noise from frames

A CONFIG is a preset or a TOML file; KEY=VALUE changes a setting, like
run.optimiser.steps=500 or seeds=[0,1,2]. Each run writes one folder:
report.html, metrics.json, figures/, log.jsonl, config.json and arms/.

  colocus config quick > mine.toml    a file to edit
  colocus codesign mine.toml --out runs/mask
  colocus compare quick --out runs/quick --minutes 30    (or --resume)

Exit status: 0 done, 2 wrong input (one line says what), 3 time limit, 130 interrupted.
"""
ABOUT = {
    "demo": "Learn a mask and compare it with a Tetrapod: the preset `demo`. Goes on where it was stopped.",
    "codesign": "Learn a phase mask together with its decoder: the first arm of CONFIG with learn = true.",
    "train": "Train a decoder for a mask that stays as it is: the first arm of CONFIG that does not learn.",
    "compare": "Train and score one decoder per arm and seed of CONFIG, then write the report.",
    "evaluate": "Show the scores of a run (KEY=VALUE scores it again), or score a localization list against the truth.",
    "localize": "Turn a movie into a localization list, with a trained arm or with DeepSTORM3D weights.",
    "convert": "Write a localization table, or a movie, in another file format; say what is lost.",
    "merge": "Join what the members of a job array (colocus localize --chunk i/n) have done into one list.",
    "config": "Print CONFIG with every key as TOML, or list the presets.",
    "crlb": "Print and draw the precision that a PSF allows, per depth, with and without neighbours.",
    "design": "Find the phase mask whose Cramer-Rao bound is least over a depth range.",
    "fabricate": "Write a mask for an SLM or for etching, and report what misalignment and levels cost.",
    "retrieve": "Retrieve a calibrated PSF from one or several bead stacks.",
    "render": "Draw a localization list: counts, or Gaussians of each one's uncertainty, coloured by depth.",
    "resolution": "Measure the resolution of a localization list, and the width of what a line crosses.",
    "drift": "Take the stage's drift in x, y and z out of a localization list.",
    "link": "Merge the localizations of one molecule in consecutive frames.",
    "filter": "Keep the localizations that fulfil criteria: uncertainty, score, light, place, frames, density.",
    "track": "Follow particles through a localization list, and measure their diffusion.",
    "calibrate-camera": "Measure offset, gain and read noise from dark and flat frames, or estimate them from a movie.",
    "generate": "Learn from a movie what its scenes are like (fit), and write labelled frames of them (sample).",
}
_NOTES = {
    "codesign": "Writes the learned mask as mask.npz and mask.mat too.",
}


class _UsageError(ValueError):
    """Arguments that make no sense; the message is for the user."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; see: {self.prog} --help")


def _parser(command: str) -> _Parser:
    parser = _Parser(
        prog=f"colocus {command}", description=ABOUT[command], epilog=_NOTES.get(command), allow_abbrev=False
    )
    key = {"metavar": "KEY=VALUE", "nargs": "*", "default": []}
    if command in ("codesign", "train", "compare"):
        parser.add_argument("config", metavar="CONFIG", nargs="?", help="a preset or a TOML file")
        text = "train on the scenes of a generator (colocus generate fit); CONFIG may be left out"
        parser.add_argument("--scenes", metavar="RUN", help=text)
    if command in ("demo", "codesign", "train", "compare"):
        parser.add_argument("assignments", help="settings to change, like run.optimiser.steps=500", **key)
        demo = command == "demo"
        text = "folder of the run" + (" (runs/demo)" if demo else "")
        parser.add_argument("--out", type=Path, required=not demo, default=Path("runs/demo"), metavar="DIR", help=text)
        parser.add_argument("--resume", action="store_true", help="go on with the unfinished run in DIR")
        parser.add_argument("--minutes", type=_minutes, metavar="M", help="stop after M minutes, to be resumed")
    if command in ("codesign", "train"):
        parser.add_argument("--arm", metavar="LABEL", help="another arm of CONFIG")
    if command in _SEPARATE:
        _command_module(command).add_arguments(parser)
    if command == "config":
        parser.add_argument("config", metavar="CONFIG", nargs="?", help="a preset or a TOML file")
        parser.add_argument("assignments", help="settings to change", **key)
    return parser


def _command_module(command: str) -> ModuleType:
    """The file of a command in `experiments/commands`: `add_arguments(parser)` and `main(arguments, argv)`."""
    return importlib.import_module(f"experiments.commands.{command.replace('-', '_')}")


def _with_negatives(argv: list[str]) -> list[str]:
    """Arguments in which a value that begins with a minus sign (--focus -3:3:61) is joined to its option."""
    joined: list[str] = []
    for item in argv:
        if joined and re.match(r"-[\d.]", item) and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={item}"
        else:
            joined.append(item)
    return joined


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = float("nan")
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above zero")
    return minutes


def main(argv: Sequence[str] | None = None) -> int:
    """Run `colocus` with these arguments (default: the process's own); returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    arguments: argparse.Namespace | None = None
    try:
        if not argv or argv[0] in ("-h", "--help", "help"):
            print(HELP, end="")
            return 0
        if argv[0] == "--version":
            from importlib.metadata import version

            print(f"colocus {version('colocus')}")
            return 0
        command = argv[0]
        if command not in ABOUT:
            near = difflib.get_close_matches(command, ABOUT, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(ABOUT)}"
            raise _UsageError(f"unknown command {command!r}; {hint}")
        # intermixed: settings may stand behind an option as well as before it
        arguments = _parser(command).parse_intermixed_args(_with_negatives(argv[1:]))
        run = _command_module(command).main if command in _SEPARATE else _COMMANDS[command]
        return run(arguments, argv)
    except KeyboardInterrupt:
        going_on = argv[:1] and (argv[0] in (*_RUNS, "localize") or argv[:2] == ["generate", "fit"])
        print(
            f"\ncolocus: interrupted{'; to go on: ' + resume_command(argv) if going_on else ''}",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # the reader (head, less) has gone; nothing may be flushed to it at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        out = getattr(arguments, "out", None)
        message = explain(error, out)
        if message is None:
            raise
        print(f"colocus: error: {message}", file=sys.stderr)
        return 2


def explain(error: Exception, out: Path | None) -> str | None:
    """One line for an error that the user can mend; None for a bug, whose traceback should show."""
    if isinstance(error, OSError):
        return _explain_os(error, out)
    if isinstance(error, _UsageError | FloatingPointError):
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


def resume_command(argv: Sequence[str]) -> str:
    """The command that goes on with the run that `argv` began."""
    missing = [] if "--resume" in argv or argv[0] == "demo" else ["--resume"]
    return shlex.join(["colocus", *argv, *missing])


def _run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    print(f"colocus {arguments.command}: loading", file=sys.stderr, flush=True)
    from experiments.compare import run as jobs
    from experiments.compare.config import load_experiment

    if arguments.config is not None and "=" in arguments.config:
        arguments.config, arguments.assignments = None, [arguments.config, *arguments.assignments]
    scenes = getattr(arguments, "scenes", None)
    if scenes is not None:
        from experiments.compare.on_scenes import load_on_scenes

        config = load_on_scenes(arguments.config, scenes, arguments.assignments)
    elif arguments.config is None:
        raise _UsageError(
            f"the following arguments are required: CONFIG (or --scenes); see: colocus {arguments.command} --help"
        )
    else:
        config = load_experiment(arguments.config, arguments.assignments)
    learn = arguments.command == "codesign"
    if arguments.command in ("codesign", "train"):
        config = jobs.pick_arm(config, learn=learn, label=arguments.arm)
    summary = jobs.run(
        config,
        arguments.out,
        resume=arguments.resume,
        minutes=arguments.minutes,
        command=shlex.join(["colocus", *argv]),
        after=jobs.save_learned_mask if learn else lambda config, out: None,
    )
    if summary is None:
        print(f"colocus: time limit reached; to go on: {resume_command(argv)}", file=sys.stderr)
        return 3
    print("\n".join([*jobs.score_lines(jobs.summary_rows(summary)), "", *summary["verdict"], ""]))
    if learn:
        print(f"The learned mask: {arguments.out / 'mask.npz'} and {arguments.out / 'mask.mat'}")
    print(f"Open {arguments.out / 'report.html'}")
    return 0


def _demo(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    arguments.config, arguments.command, arguments.resume = "demo", "demo", True
    return _run(arguments, argv)


def _experiment(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    arguments.command = argv[0]
    return _run(arguments, argv)


def _config(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    del argv
    from experiments.compare.config import load_experiment
    from experiments.settings import presets, read_toml

    if arguments.config is None:
        names = presets()
        width = max(map(len, names))
        print("\n".join(f"{name:{width}}  {read_toml(name).get('title', '')}".rstrip() for name in names))
        return 0
    from experiments.compare.toml import to_toml

    print(to_toml(load_experiment(arguments.config, arguments.assignments)), end="")
    return 0


_SEPARATE = (
    "convert",
    "evaluate",
    "localize",
    "merge",
    "crlb",
    "design",
    "fabricate",
    "retrieve",
    "render",
    "resolution",
    "drift",
    "link",
    "filter",
    "track",
    "calibrate-camera",
    "generate",
)  # each in a file of its own
_RUNS = ("demo", "codesign", "train", "compare")
_COMMANDS = {name: _experiment for name in _RUNS} | {
    "demo": _demo,
    "config": _config,
}

if __name__ == "__main__":
    sys.exit(main())
