"""Which TIFF files go on where one ends, by the names that programs give them.

Micro-Manager writes name.ome.tif, name_1.ome.tif, ... (NDTiffStack likewise); Andor Solis name.tif, name_X2.tif,
name_X3.tif, ...; PCO's Camware name.tif, name@0001.tif, .... Those names mean one movie. A plain number at the end
(cell_0001.tif, cell_0002.tif) may also be the next cell, so that files named in this way are read together only where
the user names their folder.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from localization.types import LocalizationError

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
_ENDINGS = ((re.compile(r"(.+)_X(\d+)", re.I), 2), (re.compile(r"(.+)@(\d+)"), 1))
_LAST_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.S)


def continuations(path: Path) -> list[Path]:
    """List the files in which a movie goes on when this one is full. Raises where one between them is missing."""
    stem = re.fullmatch(r"(.*?)(\.ome)?\.tiff?", path.name, re.I)
    if stem is not None and (stem[2] or "_MMStack" in path.name or "NDTiffStack" in path.name):
        return _in_row(path, re.compile(re.escape(stem[1]) + r"_(\d+)(\.ome)?\.tiff?", re.I), 1)
    for ending, begin in _ENDINGS:
        sample = ending.pattern.replace("(.+)", re.escape(path.stem))
        found = _in_row(path, re.compile(sample + re.escape(path.suffix), ending.flags), begin)
        if found:
            return found
    return []


def _in_row(path: Path, pattern: re.Pattern[str], begin: int) -> list[Path]:
    found = [(int(m[1]), file) for file in path.parent.iterdir() if (m := pattern.fullmatch(file.name))]
    found.sort()
    for expected, (number, file) in enumerate(found, begin):
        if number != expected:
            raise LocalizationError(
                f"{file}: the file number {expected} before it is missing; copy the whole set, or read {path.name} by "
                "itself with alone=True (--alone)"
            )
    return [file for _, file in found]


def head_of(path: Path) -> Path | None:
    """Find the first file of the set that this one goes on with, by Andor's or PCO's names; None where it is none."""
    for ending, _ in _ENDINGS:
        found = ending.fullmatch(path.stem)
        if found and (head := path.with_name(found[1] + path.suffix)).is_file():
            return head
    return None


def lost_head(files: Sequence[Path]) -> str:
    """Name the first file of a set by Andor's or PCO's names, where all of some files are later ones; else empty."""
    for ending, begin in _ENDINGS:
        found = [m for file in files if (m := ending.fullmatch(file.stem))]
        if found and len(found) == len(files) and all(m[1] == found[0][1] and int(m[2]) >= begin for m in found):
            return found[0][1] + files[0].suffix
    return ""


def heads(files: Sequence[Path]) -> list[Path]:
    """List those of some files that go on in no other one's name."""
    going_on = {file for other in files for file in _quietly(other)}
    return [file for file in files if file not in going_on]


def _quietly(path: Path) -> list[Path]:
    try:
        return continuations(path)
    except LocalizationError:
        return []


def numbered_neighbours(path: Path) -> list[Path]:
    """List the other files of this one's name whose last number is another, where one of them is the next in row."""
    parts = _LAST_NUMBER.fullmatch(path.stem)
    if parts is None:
        return []
    pattern = re.compile(re.escape(parts[1]) + r"(\d+)" + re.escape(parts[3] + path.suffix), re.I)
    found = {int(m[1]): f for f in path.parent.iterdir() if (m := pattern.fullmatch(f.name)) and f.name != path.name}
    mine = int(parts[2])
    if not {mine - 1, mine + 1} & set(found):
        return []
    return [found[number] for number in sorted(found)]


def is_certain(path: Path) -> bool:
    """Tell whether a name is one that Micro-Manager gives, or an OME file's: what goes on there is the same movie."""
    return bool(re.search(r"\.ome\.tiff?$|_MMStack|NDTiffStack", path.name, re.I))
