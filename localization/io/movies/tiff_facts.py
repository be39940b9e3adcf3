"""What the tags of a TIFF file say of pixel, exposure and interval: OME, Micro-Manager, ImageJ, MetaMorph."""

import re
import struct
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.imagej import imagej_facts
from localization.io.movies.micromanager import micromanager_facts, parsed, positive
from localization.io.movies.ome import OmeImage
from localization.io.movies.tiff import DAMAGE, TiffStack
from localization.io.movies.tiff_parts import Part
from localization.types import MovieFacts

_MICROMANAGER, _X_RESOLUTION = 51123, 282
_SUMMARY = struct.pack("<I", 2355492)
_UNITS_UM = {"um": 1.0, "µm": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "mm": 1e3}
# MetaMorph: <prop id="Exposure Time" type="int" value="50 msec"/>, or a line "Exposure: 50 ms"
_EXPOSURE = re.compile(r'Exposure(?:\s*Time)?"?[^\n<>]*?[\s:="](\d+(?:\.\d+)?)\s*(ms|msec|s|sec)\b', re.I)
_PROPERTY = re.compile(r'<prop\s+id="([^"]+)"[^>]*?value="([^"]*)"')


def tiff_facts(parts: Sequence[Part], order: NDArray[np.int64] | None, image: OmeImage | None) -> MovieFacts:
    """Read what the first file and a few tags say; what they do not say, or say without sense, stays unknown."""
    facts = image.facts if image is not None else MovieFacts()
    for read in (_of_micromanager, _of_imagej, _of_metamorph):
        try:
            facts = _merged(facts, read(parts, order))
        except DAMAGE:  # tags are a bonus: a movie with damaged ones is still read
            continue
    return facts


def _merged(facts: MovieFacts, more: MovieFacts) -> MovieFacts:
    return replace(facts, **{f.name: getattr(more, f.name) for f in fields(facts) if getattr(facts, f.name) is None})


def _of_micromanager(parts: Sequence[Part], order: NDArray[np.int64] | None) -> MovieFacts:
    stack = parts[0].stack
    first = _frame(stack, 0)
    if not first:
        return MovieFacts()
    last, steps = None, parts[0].n_frames - 1
    if order is None and parts[0].contiguous_at is None and steps > 0:  # else pages are not steps of time
        last = _frame(stack, steps)
    return micromanager_facts(_summary(stack), first, last, steps)


def _frame(stack: TiffStack, k: int) -> dict[str, Any]:
    value = stack.tag(k, _MICROMANAGER)
    return value if isinstance(value, dict) else parsed(value) if isinstance(value, str | bytes) else {}


def _summary(stack: TiffStack) -> dict[str, Any]:
    """Read what Micro-Manager keeps behind the header of the file, at byte 32."""
    head = stack.raw(32, 8)
    if head[:4] != _SUMMARY:
        return {}
    return parsed(stack.raw(40, min(struct.unpack("<I", head[4:])[0], 1 << 24)))


def _of_imagej(parts: Sequence[Part], order: NDArray[np.int64] | None) -> MovieFacts:
    stack = parts[0].stack
    if not stack.description.startswith("ImageJ="):
        return MovieFacts()
    return imagej_facts(stack.description, stack.tag(0, _X_RESOLUTION))


def _of_metamorph(parts: Sequence[Part], order: NDArray[np.int64] | None) -> MovieFacts:
    stack = parts[0].stack
    said = dict(_PROPERTY.findall(stack.description))
    units = said.get("spatial-calibration-units", "").strip().lower()
    pixel = positive(said.get("spatial-calibration-x")) if said.get("spatial-calibration-state") == "on" else None
    pixel_um = pixel * _UNITS_UM[units] if pixel is not None and units in _UNITS_UM else None
    found = _EXPOSURE.search(stack.description) if said or stack.tif.is_stk else None
    exposure = positive(found[1]) if found else None
    exposure_s = None if found is None or exposure is None else exposure * (1e-3 if found[2].lower()[0] == "m" else 1.0)
    interval_s = None
    if stack.tif.is_stk:
        about = stack.tif.stk_metadata or {}
        units = str(about.get("CalibrationUnits", "")).strip().lower()
        if about.get("SpatialCalibration") and units in _UNITS_UM and pixel_um is None:
            scale = positive(about.get("XCalibration"))
            pixel_um = None if scale is None else scale * _UNITS_UM[units]
        times = np.asarray(about.get("DatetimeCreated", ())).astype("datetime64[us]")
        if times.size > 1:
            interval_s = positive(float((times[-1] - times[0]).astype(np.int64)) * 1e-6 / (times.size - 1))
    return MovieFacts(pixel_um=pixel_um, exposure_s=exposure_s, interval_s=interval_s)
