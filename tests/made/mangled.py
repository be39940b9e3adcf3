"""Ways to damage a valid file or set of files, and what a reader may make of the damage.

A reader refuses in one line, or reads. Where it reads, nobody can see a digit that became another digit, a pixel, a
float of an HDF5 file without checksums; nor a line too few or twice in a table of text, nor a frame lost at either end
of a numbered folder, since neither says how many there are. Everything else can be seen: fewer or more rows or frames
than there were, a cut within a line, what stands behind the end. Without a note those are faults (`SilentLoss`).
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization import LocalizationError, open_movie, read_file
from localization.types import COLUMNS
from made.valid_files import Made

_TOKENS = (b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"NaN", b"-1", b"1e999",
           b"\n", b",", b'"', b"[px]", b"\xb5", b"99999999999999999999", b"<", b": ", b"- ")  # fmt: skip
# read: as it was; noted: otherwise, and said; changed: some values are others; shorter: cut where nobody can see it
OUTCOMES = ("refused", "read", "noted", "changed", "shorter")


class SilentLoss(AssertionError):
    """A broken file was read as if it were whole."""


@dataclass(frozen=True)
class Content:
    """What a file holds: rows (n, columns) or frames (n, height, width), and the notes of its reader."""

    values: NDArray
    notes: tuple[str, ...]


def read_content(made: Made, folder: Path, *, allow_cut: bool = False) -> Content:
    """Read all of it. Raises AssertionError for an error of several lines."""
    path = folder / made.opened
    try:
        if made.kind == "movie":
            with open_movie(path, allow_cut=allow_cut, **made.options) as movie:
                return Content(movie.read(0, movie.shape[0]), movie.notes)
        found = read_file(path, **made.options)
        return Content(np.stack([getattr(found.locs, name) for name in COLUMNS], axis=1), found.notes)
    except LocalizationError as error:
        if "\n" in str(error):
            raise AssertionError(f"an error of several lines: {error!r}") from error
        raise


def try_one(made: Made, valid: Content, seed: int) -> str:
    """Damage a copy by the seed and read it, a movie with `allow_cut` every other time; one of `OUTCOMES`."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "copy"
        shutil.copytree(made.folder, folder)
        done = damage(folder, rng)
        try:
            found = read_content(made, folder, allow_cut=bool(seed % 2))
        except LocalizationError:
            return "refused"
    return judge(valid, found, done, made.counted)


def judge(valid: Content, found: Content, done: str, counted: bool) -> str:
    """Compare what was read with what there was; `counted` where the file says how many. Raises SilentLoss."""
    n, m = len(valid.values), len(found.values)
    if found.values.shape == valid.values.shape and np.array_equal(found.values, valid.values, equal_nan=True):
        return "read"
    if set(found.notes) - set(valid.notes):
        return "noted"
    if not counted and m < n and done in ("cut at a line", "lost a file"):
        ends = (valid.values[:m], valid.values[n - m :])  # names of channels are numbered as they come: columns 0 to 3
        if any(np.array_equal(found.values[..., :4], part[..., :4], equal_nan=True) for part in ends):
            return "shorter"
    if done in ("cut", "cut at a line", "extended", "lost a file") or (counted and m != n):
        raise SilentLoss(f"{done}: {m} of {n} rows or frames, and no note")
    return "changed"


def damage(folder: Path, rng: np.random.Generator) -> str:
    """Damage one file of a folder, or lose one of several; says how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[int(rng.integers(0, len(files)))]
    if len(files) > 2 and rng.random() < 0.1:
        path.unlink()
        return "lost a file"
    raw = path.read_bytes()
    kind = int(rng.integers(0, 8))
    if kind == 0 and raw:
        at = int(rng.integers(0, len(raw)))
        path.write_bytes(raw[:at])
        return "cut at a line" if raw[at - 1 : at] in (b"\n", b"\r") else "cut"
    if kind == 1:
        tails = (rng.bytes(int(rng.integers(1, 64))), bytes(int(rng.integers(1, 5000))), raw, b"garbage,1,2\n")
        path.write_bytes(raw + tails[int(rng.integers(0, 4))])
        return "extended"
    path.write_bytes(_swapped(raw, rng) if kind == 2 else _changed(raw, rng))
    return "changed"


def _swapped(raw: bytes, rng: np.random.Generator) -> bytes:
    """Two pieces of equal length change places; in a table of text two fields of a line."""
    lines = raw.split(b"\n")
    line = int(rng.integers(0, len(lines)))
    fields = lines[line].split(b",")
    if len(fields) > 1 and rng.random() < 0.7:
        a, b = rng.choice(len(fields), 2, replace=False)
        fields[a], fields[b] = fields[b], fields[a]
        lines[line] = b",".join(fields)
        return b"\n".join(lines)
    size = int(rng.integers(1, 1 + max(1, min(64, len(raw) // 4))))
    a, b = np.sort(rng.integers(0, max(1, len(raw) - size), 2))
    if b - a < size:
        return raw[::-1] if rng.random() < 0.02 else _changed(raw, rng)
    return raw[:a] + raw[b : b + size] + raw[a + size : b] + raw[a : a + size] + raw[b + size :]


def _changed(raw: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some changed, put in, taken out or doubled; headers more often than the rest."""
    data = bytearray(raw)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        near = min(len(data), 600) if rng.random() < 0.6 else len(data)
        at = int(rng.integers(0, near))
        kind = int(rng.integers(0, 5))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            token = _TOKENS[int(rng.integers(0, len(_TOKENS)))]
            data[at : at + len(token)] = token
        elif kind == 2:
            data[at:at] = _TOKENS[int(rng.integers(0, len(_TOKENS)))]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 64))]
        else:
            data[at:at] = data[at : at + int(rng.integers(1, 200))]
    return bytes(data)
