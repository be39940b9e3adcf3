"""Long work in parts: a folder with one file per chunk of frames, each there whole or not at all.

A chunk is a fixed run of frames, so its file holds the same bytes whoever writes it and whenever: a job that was
killed goes on with what is missing, the shares of a job array meet in one folder, and merging is reading the files in
order.
"""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from localization import Localizations, MovieFacts, TableWriter
from localization.io import formats
from localization.types import COLUMNS
from optics.whole_file import remove_leftovers, whole_file
from training import ConfigError
from training.settings import differences

JOB, LOG = "job.json", "log.jsonl"
_EXTRA = "extra "  # before the label of an extra column, in the file of a chunk
_SHOWN = 5  # missing chunks that a message names


@dataclass(frozen=True)
class Share:
    """Part `number` of `of`: what one member of a job array does.

    >>> Share(2, 3).pick(7)
    range(2, 4)
    """

    number: int
    of: int

    def __post_init__(self):
        if not 1 <= self.number <= self.of:
            raise ConfigError(f"chunk {self.number}/{self.of}: write i/n with i from 1 to n, such as 1/4 ... 4/4")

    def pick(self, n: int) -> range:
        """Pick those of n chunks that are this share: neighbours, and as many as the others have, give or take one."""
        return range((self.number - 1) * n // self.of, self.number * n // self.of)


@dataclass(frozen=True)
class Job:
    """What decides a list: `identity` (JSON) says movie, model, settings and versions; `spans` are the chunks."""

    identity: Mapping[str, Any]
    spans: tuple[tuple[int, int], ...]

    @property
    def key(self) -> str:
        """A hash by which two jobs are the same."""
        return hashlib.sha256(json.dumps([self.identity, self.spans], sort_keys=True).encode()).hexdigest()


def spans(first: int, stop: int, size: int) -> tuple[tuple[int, int], ...]:
    """Cut frames first to stop - 1 into chunks of `size`.

    >>> spans(5, 12, 3)
    ((5, 8), (8, 11), (11, 12))
    """
    return tuple((begin, min(begin + size, stop)) for begin in range(first, stop, size))


def parts_folder(out: Path) -> Path:
    """Name the folder beside a table where its parts lie until they are merged."""
    return out.with_name(out.name + ".parts")


class Parts:
    """The work folder of a job; made or joined by `begin`, found by `find`."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder, self.job = folder, job

    @classmethod
    def begin(cls, out: Path, job: Job) -> "Parts":
        """Start a job beside `out`, or go on with it; `ConfigError` where another one is under way there."""
        folder = parts_folder(out)
        if not out.parent.is_dir():
            raise ConfigError(f"{out.parent}: no such folder; make it or name another output")
        if out.is_dir():
            raise ConfigError(f"{out}: is a folder; give the name of a file to write")
        formats.named(out)  # a name that no format ends in is refused now, not after the last frame
        if not folder.exists():
            staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=out.parent))
            os.chmod(staged, 0o777 & ~_umask())
            text = json.dumps({"key": job.key, "identity": job.identity, "spans": job.spans}, indent=1)
            (staged / JOB).write_text(text + "\n")
            try:
                os.rename(staged, folder)  # refused where another share of the job was faster
            except OSError:
                shutil.rmtree(staged)
                if not folder.exists():
                    raise
        return cls.join(out, job)

    @classmethod
    def join(cls, out: Path, job: Job) -> "Parts":
        """Go on with a job that somebody began beside `out`; `ConfigError` where there is none, or another one."""
        folder, found = parts_folder(out), cls.find(out)
        if found.job.key != job.key and _difference(found.job, job):
            raise ConfigError(
                f"{folder} holds the parts of another job ({_difference(found.job, job)}); finish that one with its "
                "own command, delete the folder, or name another output"
            )
        return found

    @classmethod
    def find(cls, out: Path) -> "Parts":
        """Find the job under way beside `out`, a table or its folder of parts. Raises `ConfigError`."""
        folder = out if out.name.endswith(".parts") else parts_folder(out)
        try:
            held = json.loads((folder / JOB).read_text())
            job = Job(held["identity"], tuple((int(a), int(b)) for a, b in held["spans"]))
        except FileNotFoundError as error:
            why = f"has no {JOB}" if folder.exists() else "no such folder"
            raise ConfigError(f"{folder}: {why}; parts are made by colocus localize --chunk i/n") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{folder / JOB}: damaged ({error}); delete the folder and begin again") from error
        if job.key != held.get("key"):
            raise ConfigError(f"{folder / JOB}: was changed by hand; delete the folder and begin again")
        return cls(folder, job)

    @property
    def out(self) -> Path:
        """The table that the parts become."""
        return self.folder.with_name(self.folder.name.removesuffix(".parts"))

    def path(self, index: int) -> Path:
        """Name the file of a chunk."""
        first, stop = self.job.spans[index]
        return self.folder / f"frames_{first:08d}-{stop:08d}.npz"

    def missing(self) -> list[int]:
        """List the chunks that nobody has finished yet."""
        there = {entry.name for entry in os.scandir(self.folder)}
        return [k for k in range(len(self.job.spans)) if self.path(k).name not in there]

    def write(self, index: int, locs: Localizations, tally: Mapping[str, int]) -> None:
        """Store a chunk; its name appears when the file is whole and on the disk."""
        columns = {name: getattr(locs, name) for name in COLUMNS}
        columns |= {_EXTRA + label: column for label, column in locs.extras.items()}
        self.folder.stat()  # gone where another share of the job has merged meanwhile: not to be made again
        with whole_file(self.path(index)) as part:
            facts = json.dumps(dataclasses.asdict(locs.movie))
            np.savez(part, tally=json.dumps(dict(sorted(tally.items()))), facts=facts, **columns)

    def read(self, index: int) -> tuple[Localizations, Counter[str]]:
        """Read a chunk as it was stored. Raises `ConfigError` where the file is damaged."""
        path = self.path(index)
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                columns = {name: file[name] for name in COLUMNS}
                extras = {name.removeprefix(_EXTRA): file[name] for name in file.files if name.startswith(_EXTRA)}
                tally = Counter(json.loads(str(file["tally"])))
                facts = json.loads(str(file["facts"])) if "facts" in file.files else {}  # not in parts of before
                movie = MovieFacts(**(facts | {"frame_px": tuple(facts.get("frame_px") or ()) or None}))
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigError(f"{path}: damaged ({error}); delete this file and run the job again") from error
        for column in (*columns.values(), *extras.values()):
            column.setflags(write=False)
        return Localizations(**columns, extras=extras, movie=movie), tally

    def each(self) -> Iterator[tuple[Localizations, Counter[str]]]:
        """Read all chunks in order."""
        return (self.read(index) for index in range(len(self.job.spans)))

    def merge(self) -> tuple[int, Counter[str]]:
        """Write the table, remove the parts; rows and tally. Raises `ConfigError` naming chunks that are missing."""
        if missing := self.missing():
            named = ", ".join("{}:{}".format(*self.job.spans[k]) for k in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise ConfigError(
                f"{self.folder}: {len(missing)} of {len(self.job.spans)} chunks are missing (frames {named}{more}); "
                "run their shares, or the command without --chunk, which does what is left"
            )
        rows, total = 0, Counter[str]()
        shape = self.job.identity.get("movie", {}).get("shape", ())
        options: dict[str, Any] = {"pixel_um": self.job.identity.get("pixel_um")}
        if len(shape) == 3:
            options |= {"n_frames": shape[0], "frame_px": tuple(shape[1:])}
        with TableWriter(self.out, **options) as writer:
            for locs, tally in self.each():
                writer.append(locs)
                rows += locs.frame.size
                total += tally
        self.remove()
        return rows, total

    def remove(self) -> None:
        """Take the folder away, the job's description last: a stop half-way leaves a job that can go on."""
        remove_leftovers(self.folder)
        for entry in list(os.scandir(self.folder)):
            if entry.name.endswith(".npz"):
                os.unlink(entry.path)
        (self.folder / LOG).unlink(missing_ok=True)
        (self.folder / JOB).unlink()
        self.folder.rmdir()

    def abandon(self) -> None:
        """Take the folder away if no chunk was finished: there is nothing to go on with."""
        if len(self.missing()) == len(self.job.spans):
            self.remove()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _difference(held: Job, asked: Job) -> str:
    """Name the first setting in which two jobs differ; nothing where a number differs in its precision alone."""
    for name, one, other in differences(held.identity, json.loads(json.dumps(asked.identity))):
        if not _same(one, other):
            return f"its {name} = {one}, here {other}"
    return "" if held.spans == asked.spans else "of other frames"


def _same(one: Any, other: Any) -> bool:
    """Say whether two settings are equal; a gain may have been through single precision."""
    return isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-6)
