"""What an OME description says of a movie: how many planes, in which files, at which places in them, pixel and times.

Searched as text: the description of a long acquisition has a line for every frame, and building a tree of them
takes longer than all else at opening. Schema: https://docs.openmicroscopy.org/ome-model/ ("OME-TIFF specification").
"""

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localization.io.movies.axes import Axis
from localization.io.movies.micromanager import positive
from localization.types import LocalizationError, MovieFacts

_IMAGE = re.compile(r"<(?:\w+:)?Image[\s>].*?</(?:\w+:)?Image>", re.S)
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\s([^>]*)>", re.S)
_CHANNEL = re.compile(r"<(?:\w+:)?Channel\s([^>]*)>", re.S)
_PLANE = re.compile(r"<(?:\w+:)?Plane\s([^>]*)>", re.S)
_TIFF_DATA = re.compile(r"<(?:\w+:)?TiffData\b([^>]*?)(?:/>|>(.*?)</(?:\w+:)?TiffData>)", re.S)
_FILE_NAME = re.compile(r'FileName="([^"]*)"')
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_BINARY_ONLY = re.compile(r'<(?:\w+:)?BinaryOnly\b[^>]*MetadataFile="([^"]*)"')
_AXES = {"T": "time", "Z": "z", "C": "channel"}
_ORDER = re.compile(r"XY([CZT]{3})")
# without a unit the schema says micrometres and seconds; the micro sign comes as U+00B5 or as U+03BC
_LENGTHS_UM = {"": 1.0, "um": 1.0, "µm": 1.0, "\u03bcm": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4}
_TIMES_S = {
    "": 1.0,
    "s": 1.0,
    "ms": 1e-3,
    "µs": 1e-6,
    "\u03bcs": 1e-6,
    "us": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "h": 3600.0,
}


@dataclass(frozen=True)
class OmeImage:
    """One image: `axes` from the slowest to the fastest, its planes in that order, the files that hold them.

    `places` are (plane, file, page) where they are said. `name` is what the image is called, `facts` what is known.
    """

    name: str
    axes: list[Axis]
    n_planes: int
    files: list[str]
    places: list[tuple[int, str, int]]
    facts: MovieFacts


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
    given = _attributes(pixels[1])
    sizes = {axis: _number(given.get(f"Size{axis}"), 1) for axis in "TZC"}
    channels = [_attributes(channel) for channel in _CHANNEL.findall(text)]
    if sizes["C"] > 1 and channels and all(_number(c.get("SamplesPerPixel"), 1) == sizes["C"] for c in channels[:1]):
        sizes["C"] = 1  # colours of one page
    n_planes = math.prod(sizes.values())
    if not 0 < n_planes < 1 << 32:
        return None
    order = _ORDER.fullmatch(given.get("DimensionOrder", ""))
    slowest_first = order[1][::-1] if order and len(set(order[1])) == 3 else "TZC"
    named = tuple(channel.get("Name", "") for channel in channels)
    labels = named if len(named) == sizes["C"] and all(named) else ()
    axes = [Axis(_AXES[axis], sizes[axis], labels if axis == "C" else ()) for axis in slowest_first]
    files, places = _places(text, slowest_first, sizes, n_planes)
    image_name = _attributes(text[: text.find(">")]).get("Name", "")
    return OmeImage(image_name, axes, n_planes, files, places, _facts(text, given, sizes["T"]))


def _places(
    text: str, slowest_first: str, sizes: dict[str, int], n_planes: int
) -> tuple[list[str], list[tuple[int, str, int]]]:
    files: dict[str, None] = {}
    places: list[tuple[int, str, int]] = []
    for attribute_text, inside in _TIFF_DATA.findall(text):
        found = _FILE_NAME.search(inside) if inside else None
        name = html.unescape(found[1]) if found else ""
        if name:
            files[name] = None
        given = _attributes(attribute_text)
        first = 0
        for axis in slowest_first:
            first = first * sizes[axis] + _number(given.get(f"First{axis}"), 0)
        page = _number(given.get("IFD"), 0)
        # without a place, all planes follow from there; with one, it is one plane if nothing else is said
        count = _number(given.get("PlaneCount"), 1 if "IFD" in given else n_planes)
        for k in range(min(count, n_planes - min(first, n_planes))):
            places.append((first + k, name, page + k))
        if len(places) > 2 * n_planes:
            break
    return list(files), places


def _facts(text: str, pixels: dict[str, str], n_times: int) -> MovieFacts:
    """Read the pixel, the exposure of the first plane, and the interval, said or from the times of two planes."""
    pixel_um = _in_unit(pixels, "PhysicalSizeX", _LENGTHS_UM)
    interval_s = _in_unit(pixels, "TimeIncrement", _TIMES_S)
    exposure_s = None
    plane = _PLANE.search(text)
    if plane is not None:
        first = _attributes(plane[1])
        exposure_s = _in_unit(first, "ExposureTime", _TIMES_S)
        last = _attributes(text[text.rfind("<", 0, _last_plane(text)) :].partition(">")[0])
        if interval_s is None and n_times > 1 and _number(last.get("TheT"), 0) > 0:
            start, end = _in_unit(first, "DeltaT", _TIMES_S) or 0.0, _in_unit(last, "DeltaT", _TIMES_S)
            if end is not None and end > start and _number(first.get("TheT"), 0) == 0:
                interval_s = (end - start) / _number(last.get("TheT"), 0)
    return MovieFacts(pixel_um=pixel_um, exposure_s=exposure_s, interval_s=interval_s)


def _last_plane(text: str) -> int:
    """Find a place inside the last <Plane ...>; the beginning of the text where there is none."""
    return max(text.rfind("<Plane "), text.rfind(":Plane ")) + 1


def _in_unit(attributes: dict[str, str], name: str, units: dict[str, float]) -> float | None:
    value, unit = positive(attributes.get(name)), units.get(attributes.get(f"{name}Unit", ""))
    return None if value is None or unit is None else value * unit


def _attributes(text: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(text)}


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"\d{1,12}", text) else otherwise


def image_labels(images: Sequence[OmeImage]) -> tuple[str, ...]:
    """Return the names of images, where each has one of its own."""
    names = tuple(image.name for image in images)
    return names if all(names) and len(set(names)) == len(names) else ()
