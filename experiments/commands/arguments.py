"""What commands share: blocks of arguments, settings read from them, and how a job runs in a terminal."""

import argparse
import dataclasses
import errno
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from distributed import Client

    from experiments.job import FileResult, Result
    from localization import Localizations, MovieOptions
    from optics.progress import Report

Settings = TypeVar("Settings")
AnyResult = TypeVar("AnyResult", bound="Result")


class UsageError(ValueError):
    """Arguments that make no sense; the message is for the user."""


def add_settings(parser: argparse.ArgumentParser, example: str) -> None:
    """Add a settings file and KEY=VALUE, as `arguments.settings`; read them with `settings_of`."""
    text = f"a settings file, and settings like {example}"
    parser.add_argument("settings", metavar="TOML | KEY=VALUE", nargs="*", help=text)


def add_assignments(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add KEY=VALUE arguments, as `arguments.NAME`."""
    parser.add_argument(name, metavar="KEY=VALUE", nargs="*", default=[], help=text)


def add_folder(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --out for a folder of results."""
    parser.add_argument("--out", type=Path, default=Path(default), metavar="DIR", help=f"folder ({default})")


def add_list(parser: argparse.ArgumentParser, what: str = "a localization list") -> None:
    """Add LOCS, a localization list to be read."""
    parser.add_argument("locs", type=Path, metavar="LOCS", help=what)


def read_list(path: Path, out: Path | None = None) -> "Localizations":
    """Read a localization list; what its file says beside it goes to the terminal's error stream.

    `out`, the file that the result replaces, must be another one: a second run would correct or merge once more.
    """
    from localization import read_file

    if out is not None and out.exists() and path.exists() and out.samefile(path):
        from training import ConfigError

        raise ConfigError(f"{out} is the input itself; name another file with --out")
    table = read_file(path)
    further = f", with {', '.join(table.locs.extras)}" if table.locs.extras else ""
    notes = [f"read as {table.format}{further}", *table.notes] if further or table.notes else []
    for note in notes:
        print(f"note: {path.name}: {note}", file=sys.stderr, flush=True)
    return table.locs


def add_file(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --out for a file to write."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=what)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --dask; `workers` connects."""
    parser.add_argument("--dask", metavar="D", help="workers: local[:N], HOST:PORT, scheduler.json")


def workers(where: str | None) -> "AbstractContextManager[Client | None]":
    """Connect to the workers that --dask names; nothing where it is left out."""
    if where is None:
        return nullcontext()
    try:
        from experiments.reading.cluster.connect import connected
    except ImportError as error:
        raise UsageError("--dask needs Dask; install it with: pip install 'colocus[dask]'") from error
    return connected(where)


def add_movie_options(parser: argparse.ArgumentParser) -> None:
    """Add how a movie is opened: --channel, --position, --allow-cut, --alone; read them with `movie_options`."""
    # two lines of help for the four, so that a command's help stays on one screen
    parser.add_argument("--channel", metavar="C", help="one of several (0, 1, ... or name); so --position P")
    parser.add_argument("--position", metavar="P", help=argparse.SUPPRESS)
    text = "read what is there of a movie; --alone: this file only"
    parser.add_argument("--allow-cut", action="store_true", help=text)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)


def movie_options(arguments: argparse.Namespace) -> "MovieOptions":
    """Read what `add_movie_options` took."""
    from localization import MovieOptions

    return MovieOptions(arguments.channel, arguments.position, arguments.allow_cut, arguments.alone)


def add_interruption(parser: argparse.ArgumentParser, going_on: str, stopping: str) -> None:
    """Add --resume and --minutes; Ctrl-C then says how to go on."""
    parser.add_argument("--resume", action="store_true", help=going_on)
    parser.add_argument("--minutes", type=_minutes, metavar="M", help=stopping)
    parser.set_defaults(resumable=True)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = float("nan")
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above zero")
    return minutes


def numbers(option: str, text: str | None, count: int) -> Any:
    """Read `count` numbers from comma-separated text, as a tuple; None for None. Raises ConfigError.

    >>> numbers("--z", "-1,2.5", 2)
    (-1.0, 2.5)
    """
    if text is None:
        return None
    from training import ConfigError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise ConfigError(f"{option} is {text!r}; give {count} numbers with commas between them")
    return values


def split_settings(items: Sequence[str], remedy: str = "") -> tuple[str | None, list[str]]:
    """Tell the settings file (None without one) from KEY=VALUE; raises `ConfigError` for two files.

    >>> split_settings(["mine.toml", "photons=9000"])
    ('mine.toml', ['photons=9000'])
    """
    files, assignments = split_files(items)
    if len(files) > 1:
        from training import ConfigError

        raise ConfigError(f"one settings file at a time, not {', '.join(files)}{remedy}")
    return (files[0] if files else None), assignments


def split_files(items: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell names of files from KEY=VALUE.

    >>> split_files(["bead.tif", "retrieval.phase=zernike"])
    (['bead.tif'], ['retrieval.phase=zernike'])
    """
    return [item for item in items if "=" not in item], [item for item in items if "=" in item]


def settings_of(arguments: argparse.Namespace, kind: type[Settings], remedy: str = "") -> Settings:
    """Read the settings that `add_settings` took, over the defaults of `kind`. Raises `ConfigError`."""
    from experiments.settings import load_settings

    return load_settings(kind, *split_settings(arguments.settings, remedy))


def config_of(arguments: argparse.Namespace, kind: type[Settings], /, **given: Any) -> Settings:
    """Read settings of `kind` from options named as its fields are, with or without the unit; `given` go before.

    >>> from experiments.lists.drift import DriftConfig
    >>> config_of(argparse.Namespace(method="rcc", segment=500), DriftConfig, search_um=2.0).segment_frames
    500
    """
    values = vars(arguments)
    for field in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]
        name = field.name if field.name in values else field.name.rpartition("_")[0]
        if name in values:
            given.setdefault(field.name, values[name])
    return kind(**given)


def resume_command(arguments: argparse.Namespace, argv: Sequence[str]) -> str:
    """Write the command that goes on with the job that `argv` began."""
    return shlex.join(["colocus", *argv, *([] if arguments.resume else ["--resume"])])


def time_limit(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Say that --minutes are over and how to go on; returns the exit status."""
    print(f"colocus: time limit reached; to go on: {resume_command(arguments, argv)}", file=sys.stderr)
    return 3


def loading(arguments: argparse.Namespace) -> None:
    """Say that heavy modules are being loaded: seconds in which nothing else shows."""
    print(f"colocus {arguments.command}: loading", file=sys.stderr, flush=True)


def run(job: "Callable[[Report], AnyResult]", *, every: float | None = None) -> "AnyResult":
    """Run a job with its progress on the terminal.

    `every` is for jobs of many minutes: the share after which a line is printed where the output is no terminal.
    """
    from experiments.progress import Display

    with Display(every=every) as display:
        return job(display)


def wrote(written: list[Path]) -> list[str]:
    """Name the chief file of those that were written."""
    return [f"wrote {written[0]}"]


def run_job(
    job: "Callable[[Report], FileResult]",
    out: Path,
    *,
    end: Callable[[list[Path]], list[str]] = lambda written: ["", "wrote " + ", ".join(map(str, written))],
) -> int:
    """Run a job with its progress on the terminal, write its result to `out` and print its lines.

    `end` makes the last lines from the files that were written. Returns the exit status.
    """
    from experiments.progress import Display

    existing = next(place for place in (out, *out.absolute().parents) if place.is_dir())
    if not os.access(existing, os.W_OK):  # known before long work, not after it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(existing))
    with Display() as display:
        result = job(display)
        written = result.write(out)
    print("\n".join([*result.lines(), *end(written)]))
    return 0
