"""Andor's SIF movie (Solis): a header of text lines, then little-endian float32.

The layout is what sif_parser 0.3.6 (BSD-3) and Bio-Formats read; nothing of their code is used. Line 3 begins with the
version and says exposure and cycle. The versions differ in what follows, so the frame is found by the line in which
every one of them announces it: "Pixel number", a block of five numbers and the numbers of images, of their parts and of
pixels; then a line for each part, a time stamp for each image, and up to one more line (or, in version 65567, one more
for each image). Read here and not by sif_parser: it comes as source alone, which an installation of wheels cannot
take, and it never ends where a file breaks off in its header.
Counts must be whole numbers, as in any movie of floating point: what Solis made electrons or photons is refused. Rows
come in the order of the file, as both give them. Checked by files that sif_parser 0.3.6 opens to the same frames,
its own recordings of versions 65564 and 65567 among them.
"""

import re
from pathlib import Path

import numpy as np

from localization.io.movies.axes import choose
from localization.io.movies.instruments.extra import begins_with, is_kind
from localization.io.movies.instruments.held import check_number
from localization.io.movies.raw import RawMovie
from localization.io.movies.source import MovieFormat, MovieOptions
from localization.types import LocalizationError, MovieFacts

_MAGIC = b"Andor Technology Multi-Channel File"
_HEAD_BYTES = 1 << 20  # notes of the user stand in it
_STAMP_BYTES = 24  # at most, of one image's line
_SAYS = re.compile(
    rb"Pixel number(?P<layout>\d+) +(?:-?\d+ +){4}(?P<n>\d+) +(?P<parts>\d+) +(?P<all>\d+) +(?P<one>\d+)\s*?\n"
    rb"\d+ +(?P<x0>\d+) +(?P<y1>\d+) +(?P<x1>\d+) +(?P<y0>\d+) +(?P<ybin>\d+) +(?P<xbin>\d+)[^\n]*\n"
)
_TIMED = 65567  # the version that keeps a second line for each image


class SifMovie(RawMovie):
    """The frames of a SIF file, float32."""

    def __init__(self, path: Path, shape: tuple[int, int, int], offset: int, *, allow_cut: bool) -> None:
        super().__init__(path, shape, np.dtype("<i4"), offset, allow_cut=allow_cut)  # four bytes a pixel, which are
        self._stored, self.dtype, self.facts = np.dtype("<f4"), np.dtype(np.float32), MovieFacts()


def _open(path: Path, options: MovieOptions) -> SifMovie:
    choose(path, [], options)
    if not begins_with(path, _MAGIC):
        raise LocalizationError(f"{path}: not a SIF file; check the name")
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        said = _SAYS.search(head)
        if said is None:
            raise LocalizationError(f"{path}: its header announces no image; copy it again, or export it as TIFF")
        number = {name: int(text) for name, text in said.groupdict().items()}
        n_frames, xbin, ybin = check_number(path, number["n"]), max(number["xbin"], 1), max(number["ybin"], 1)
        width, height = (number["x1"] - number["x0"] + 1) // xbin, (number["y1"] - number["y0"] + 1) // ybin
        if number["parts"] != 1 or number["one"] != width * height or min(width, height) < 1:
            raise LocalizationError(
                f"{path}: {n_frames} images of {height} x {width} px in {number['parts']} parts; export one image "
                "as TIFF"
            )
        file.seek(said.end())
        stamps = file.read((2 * n_frames + 1) * _STAMP_BYTES)
    version = re.match(rb"(\d+)", head.split(b"\n", 3)[2])
    offset = said.end() + _stamps_end(path, stamps, n_frames, int(version[1]) if version else 0)
    movie = SifMovie(path, (n_frames, height, width), offset, allow_cut=options.allow_cut)
    movie.facts = _facts(head)
    return movie


def _stamps_end(path: Path, text: bytes, n_frames: int, version: int) -> int:
    """Find where the time stamps end and the pixels begin."""
    found = re.match(rb"\s*(?:[ \t]*\d{1,20}[ \r]*\n){%d}" % n_frames, text)
    if found is None:
        raise LocalizationError(f"{path}: its header ends within the times of its {n_frames} frames; copy it again")
    end = found.end()
    if text[end : end + 2] == b"0\n":
        return end + 2
    again = re.match(rb"1\n(?:[^\n]{0,40}\n){%d}" % n_frames, text[end:]) if version == _TIMED else None
    return end + (again.end() if again else 0)


def _facts(head: bytes) -> MovieFacts:
    """Read exposure and cycle, in seconds: after six words of line 3 and ten letters of something else."""
    line = head.split(b"\n", 3)[2]
    found = re.match(rb"(?:[^ \n]+ +?){6}.{10}\s*[^ \n]+ +([0-9.eE+-]+) +([0-9.eE+-]+) ", line, re.S)
    values = []
    for text in found.groups() if found else (b"", b""):
        try:
            values.append(float(text))
        except ValueError:
            values.append(0.0)
    exposure_s, cycle_s = (value if 0 < value < 1e5 else None for value in values)
    return MovieFacts(exposure_s=exposure_s, interval_s=cycle_s)


MOVIE = MovieFormat("sif", lambda path: is_kind(path, ".sif", _MAGIC), _open)
