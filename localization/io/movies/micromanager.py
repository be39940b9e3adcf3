"""What Micro-Manager writes about a movie: JSON of the whole and of each frame, in its TIFF files and in NDTiff.

Keys as Micro-Manager 1.4 and 2.0 write them (https://micro-manager.org/Micro-Manager_File_Formats, read 2026).
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from localization.types import MovieFacts


def parsed(raw: bytes | str) -> dict[str, Any]:
    """Read a JSON object; an empty one where the text is none, for what it says is a bonus."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def positive(value: object) -> float | None:
    """Take a number, or text of one, that is finite and above 0; else None."""
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None


def micromanager_facts(
    summary: Mapping[str, Any], first: Mapping[str, Any], last: Mapping[str, Any] | None = None, steps: int = 0
) -> MovieFacts:
    """Read pixel, exposure and interval from the description of the whole and of two frames that lie `steps` apart.

    The times at which frames came say the interval better than the one that was asked for, which is 0 where frames
    come as fast as they can.

    >>> frames = [{"Exposure-ms": 20, "ElapsedTime-ms": 5}, {"ElapsedTime-ms": 245}]
    >>> micromanager_facts({"PixelSize_um": 0.11}, *frames, 10)
    MovieFacts(pixel_um=0.11, frame_px=None, n_frames=None, exposure_s=0.02, interval_s=0.024)
    """
    pixel_um = positive(first.get("PixelSizeUm")) or positive(summary.get("PixelSize_um"))
    exposure_ms = positive(first.get("Exposure-ms")) or positive(summary.get("Exposure-ms"))
    interval_ms = positive(summary.get("Interval_ms"))
    if last is not None and steps > 0:
        times = [_number(frame.get("ElapsedTime-ms")) for frame in (first, last)]
        if times[0] is not None and times[1] is not None and times[1] > times[0]:
            interval_ms = (times[1] - times[0]) / steps
    return MovieFacts(
        pixel_um=pixel_um,
        exposure_s=None if exposure_ms is None else exposure_ms / 1000,
        interval_s=None if interval_ms is None else interval_ms / 1000,
    )


def _number(value: object) -> float | None:
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
