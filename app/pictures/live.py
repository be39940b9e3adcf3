"""The picture of a run that is still reading: drawn from the chunks of frames that are done."""

import json
import threading
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from app.pictures.png import png
from app.runs.files import chunks, parts_of
from app.site import Refused

_LONGEST_PX, _KEPT = 640, 8


@dataclass
class _Growing:
    """What is drawn of a job so far."""

    counts: NDArray
    corner_um: tuple[float, float]
    per_um: float
    seen: set[str] = field(default_factory=set)


class Live:
    """The growing pictures of a few runs; a chunk is read once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str], _Growing] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, run: Path) -> bytes:
        """Draw what is read by now, as PNG. Raises `Refused` where nothing is."""
        done = chunks(run)
        try:
            job = json.loads((parts_of(run) / "job.json").read_text())
            key = (run, str(job["key"]))
            with self._lock:
                if key not in self._kept:
                    self._kept[key] = _begin(job["identity"])
                    while len(self._kept) > _KEPT:
                        self._kept.popitem(last=False)
                growing = self._kept[key]
                for path in done:
                    if path.name not in growing.seen:
                        _add(growing, path)
                counts = growing.counts.copy()
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            raise Refused("nothing is read yet") from None
        light = gaussian_filter(counts, 0.8)
        most = float(np.percentile(light[light > 0], 99.5)) if np.any(light > 0) else 1.0
        return png((255 * colormaps["inferno"](np.sqrt(np.clip(light / most, 0, 1)))[..., :3]).astype(np.uint8))


def _begin(identity: dict[str, Any]) -> _Growing:
    pixel_um = float(identity["pixel_um"])
    (y0, y1), (x0, x1) = (identity["part"][name] for name in ("rows", "columns"))
    per_um = _LONGEST_PX / (pixel_um * max(y1 - y0, x1 - x0))
    side = [max(1, round(per_um * pixel_um * length)) for length in (y1 - y0, x1 - x0)]
    return _Growing(np.zeros(side, np.float32), (y0 * pixel_um, x0 * pixel_um), per_um)


def _add(growing: _Growing, path: Path) -> None:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:  # closed where it is cut off, too
        at = [((file[name] - corner) * growing.per_um).astype(int)
              for name, corner in zip(("y_um", "x_um"), growing.corner_um, strict=True)]  # fmt: skip
    height, width = growing.counts.shape
    here = (at[0] >= 0) & (at[0] < height) & (at[1] >= 0) & (at[1] < width)
    np.add.at(growing.counts, (at[0][here], at[1][here]), 1)
    growing.seen.add(path.name)
