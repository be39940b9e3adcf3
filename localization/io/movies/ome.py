"""What an OME description says of a movie: how many planes, in which files, at which places in them.

Searched as text: the description of a long acquisition has a line for every frame, and building a tree of them
takes longer than all else at opening. Schema: https://docs.openmicroscopy.org/ome-model/ ("OME-TIFF specification").
"""

import html
import math
import re
from dataclasses import dataclass
from pathlib import Path

from localization.types import LocalizationError

_IMAGE = re.compile(r"<(?:\w+:)?Image[\s>].*?</(?:\w+:)?Image>", re.S)
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\s([^>]*)>", re.S)
_TIFF_DATA = re.compile(r"<(?:\w+:)?TiffData\b([^>]*?)(?:/>|>(.*?)</(?:\w+:)?TiffData>)", re.S)
_FILE_NAME = re.compile(r'FileName="([^"]*)"')
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_BINARY_ONLY = re.compile(r'<(?:\w+:)?BinaryOnly\b[^>]*MetadataFile="([^"]*)"')


@dataclass(frozen=True)
class OmeImage:
    """One image: its axes with sizes, its planes, the files that hold them, and (plane, file, page) where said."""

    axes: list[tuple[str, int]]
    n_planes: int
    files: list[str]
    places: list[tuple[int, str, int]]


def main_file(path: Path, description: str) -> Path | None:
    """Find the file that describes the set of this one; None where this one describes itself."""
    found = _BINARY_ONLY.search(description)
    if found is None:
        return None
    main = path.parent / Path(html.unescape(found[1])).name
    if main == path:
        return None
    if not main.is_file():
        raise LocalizationError(
            f"{path}: a part of a set whose first file, {main.name}, is missing; copy the whole set"
        )
    return main


def ome_images(description: str) -> list[OmeImage]:
    """Read the images of a description; those without planes are passed over."""
    images = [_image(text) for text in _IMAGE.findall(description)]
    return [image for image in images if image is not None]


def _image(text: str) -> OmeImage | None:
    pixels = _PIXELS.search(text)
    if pixels is None:
        return None
    attributes = dict(_ATTRIBUTE.findall(pixels[1]))
    sizes = {axis: _number(attributes.get(f"Size{axis}"), 1) for axis in "TZC"}
    n_planes = math.prod(sizes.values())
    if not 0 < n_planes < 1 << 32:
        return None
    long_axis = max(sizes, key=lambda axis: sizes[axis])
    files: dict[str, None] = {}
    places: list[tuple[int, str, int]] = []
    for attribute_text, inside in _TIFF_DATA.findall(text):
        named = _FILE_NAME.search(inside) if inside else None
        name = html.unescape(named[1]) if named else ""
        if name:
            files[name] = None
        given = dict(_ATTRIBUTE.findall(attribute_text))
        first, page = _number(given.get(f"First{long_axis}"), 0), _number(given.get("IFD"), 0)
        # without a place, all planes follow from there; with one, it is one plane if nothing else is said
        count = _number(given.get("PlaneCount"), 1 if "IFD" in given else n_planes)
        for k in range(min(count, n_planes - min(first, n_planes))):
            places.append((first + k, name, page + k))
        if len(places) > 2 * n_planes:
            break
    return OmeImage([(axis, sizes[axis]) for axis in "TZC"], n_planes, list(files), places)


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"\d{1,12}", text) else otherwise
