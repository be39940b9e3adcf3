"""What ImageJ's description of a stack says: its axes and how many images, the pixel and the interval.

The text of tag 270 as ImageJ writes it, `key=value` lines (ij.io.FileInfo and TiffDecoder of ImageJ 1.54); pages lie
with the channel fastest, then z, then time. tifffile's own description, a JSON with the shape, is read here too.
"""

import json
import math
import re
from typing import Any

from localization.io.movies.axes import Axis
from localization.io.movies.micromanager import positive
from localization.types import MovieFacts

_LENGTHS_UM = {
    "um": 1.0, "µm": 1.0, "\u03bcm": 1.0, "\\u00B5m": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "nm": 1e-3, "nanometer": 1e-3, "mm": 1e3, "cm": 1e4,
}  # fmt: skip
_TIMES_S = {"": 1.0, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0}


def imagej_axes(text: str) -> tuple[list[Axis], int]:
    """Read the axes, slowest first, and the number of images that the text announces.

    >>> imagej_axes("ImageJ=1.54f\\nimages=6\\nchannels=2\\nframes=3\\n")[1]
    6
    """
    found = _entries(text)
    sizes = {key: int(value) if re.fullmatch(r"\d{1,12}", value := found.get(key, "1")) else 1
             for key in ("images", "channels", "slices", "frames")}  # fmt: skip
    axes = [Axis("time", sizes["frames"]), Axis("z", sizes["slices"]), Axis("channel", sizes["channels"])]
    return axes, sizes["images"]


def shaped_axes(text: str) -> tuple[list[Axis], int]:
    """Read the same of tifffile's own description; no axes and 0 images where there is no shape."""
    try:
        shape = [int(n) for n in json.loads(text).get("shape", ())]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return [], 0
    if min(shape, default=0) < 1:
        return [], 0
    return [Axis(f"axis {k}", n) for k, n in enumerate(shape[:-2])], math.prod(shape[:-2]) if len(shape) > 2 else 1


def imagej_facts(text: str, x_resolution: Any) -> MovieFacts:
    """Read the pixel from XResolution (pixels per unit, a pair) and the text's unit, and the interval.

    >>> imagej_facts("ImageJ=1.54f\\nunit=micron\\nfinterval=0.05\\n", (100, 10))
    MovieFacts(pixel_um=0.1, frame_px=None, n_frames=None, exposure_s=None, interval_s=0.05)
    """
    found = _entries(text)
    per_unit, unit_um = None, _LENGTHS_UM.get(found.get("unit", ""))
    if isinstance(x_resolution, tuple) and len(x_resolution) == 2 and x_resolution[1]:
        per_unit = positive(x_resolution[0] / x_resolution[1])
    interval = positive(found.get("finterval"))
    scale = _TIMES_S.get(found.get("tunit", ""))
    return MovieFacts(
        pixel_um=None if per_unit is None or unit_um is None else unit_um / per_unit,
        interval_s=None if interval is None or scale is None else interval * scale,
    )


def _entries(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=([^\r\n]*?)\s*$", text, re.M))
