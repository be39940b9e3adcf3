"""A list made ready to be shown: its rows in the order of tiles and its histograms, beside it on the disk.

The process of a run makes it at the end, so that the page opens a list of millions at once and maps it into memory
instead of reading it. Of a list that nobody prepared, the page does so when it is first shown.
"""

import json
import os
import secrets
import shutil
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.pictures.tiles import FILTERED, Drawn
from app.site import Refused
from localization import LocalizationError, Localizations, read

FOLDER, SUMMARY = "page/list", "summary.json"
_ARRAYS = ("x", "y", "depth", "first")
_BINS, _KEPT = 60, 4
COLUMNS = {
    "photons": ("photons", 1.0), "sigma_x_um": ("predicted precision in x (nm)", 1e3), "z_um": ("depth (nm)", 1e3),
    "frame": ("frame", 1.0), "background": ("background (photons)", 1.0),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Prepared:
    """A list that can be shown: what is drawn, and a summary of plain values (rows, frames, histograms)."""

    drawn: Drawn
    summary: dict[str, Any]


def summarise(locs: Localizations) -> dict[str, Any]:
    """Count rows and frames, and how the columns are distributed, up to their 99.5th percentile."""
    histograms = []
    for column, (label, factor) in COLUMNS.items():
        values = factor * np.asarray(getattr(locs, column), float)
        known = values[np.isfinite(values)]
        if not known.size or np.ptp(known) == 0:
            continue
        counts, edges = np.histogram(known, _BINS, (float(known.min()), float(np.percentile(known, 99.5))))
        numbers = {"counts": counts.tolist(), "first": float(edges[0]), "last": float(edges[-1])}
        histograms.append({"label": label, "median": float(np.median(known)), **numbers})
    return {"rows": int(locs.frame.size), "frames": int(np.ptp(locs.frame)) + 1, "histograms": histograms}


def prepare(path: Path) -> Prepared:
    """Read a list and make it ready, on the disk too where that can be written to. Raises `Refused` in one line."""
    mark = _mark(path)
    try:
        locs = read(path)
    except LocalizationError as error:
        raise Refused(" ".join(str(error).split()), 415) from None
    drawn = Drawn.make(locs)
    found = Prepared(drawn, summarise(locs))
    place = path.parent / FOLDER
    part = place.with_name(f".list.{secrets.token_hex(4)}")
    try:
        part.mkdir(parents=True)
        for name in _ARRAYS:
            if (values := getattr(drawn, name)) is not None:
                np.save(part / f"{name}.npy", values)
        for name, values in drawn.columns.items():
            np.save(part / f"column_{name}.npy", values)
        numbers = {name: getattr(drawn, name) for name in ("x0_um", "y0_um", "side_um", "z_um", "sigma_um")}
        (part / SUMMARY).write_text(json.dumps({"of": mark, "drawn": numbers, **found.summary}))
        shutil.rmtree(place, ignore_errors=True)
        os.rename(part, place)
    except OSError:
        pass  # it is shown from memory
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


def load(path: Path) -> Prepared | None:
    """Take a list that was made ready; None where it was not, or has changed since."""
    place = path.parent / FOLDER
    try:
        summary = json.loads((place / SUMMARY).read_text())
        if summary["of"] != _mark(path):
            return None
        names = [name for name in _ARRAYS if (place / f"{name}.npy").exists()]
        arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
        columns = {name: np.load(place / f"column_{name}.npy", mmap_mode="r", allow_pickle=False) for name in FILTERED}
        numbers = summary.pop("drawn")
        numbers["z_um"] = None if numbers["z_um"] is None else tuple(numbers["z_um"])
        return Prepared(Drawn(depth=arrays.pop("depth", None), columns=columns, **arrays, **numbers), summary)
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _mark(path: Path) -> list[int]:
    """What tells a file from the one that was there before."""
    try:
        stat = path.stat()
    except OSError:
        raise Refused("no list in this folder yet") from None
    return [stat.st_size, stat.st_mtime_ns]


Bounds = tuple[tuple[str, float, float], ...]


class Lists:
    """The lists that pages show, and parts of them, the last few at hand."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple, Prepared] = OrderedDict()
        self._parts: OrderedDict[tuple, Drawn] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, path: Path) -> Prepared:
        """Find a list that is ready, or make it so. Raises `Refused` in one line."""
        key = (path, *_mark(path))
        with self._lock:  # others wait for a list that is being read, and do not read it as well
            if key not in self._kept:
                self._kept[key] = load(path) or prepare(path)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def part(self, path: Path, bounds: Bounds) -> Drawn:
        """Find the rows of a list within bounds (name of `FILTERED`, low, high). Raises `Refused` in one line."""
        drawn = self.take(path).drawn
        if not bounds:
            return drawn
        key = (path, *_mark(path), bounds)
        with self._lock:
            if key not in self._parts:
                self._parts[key] = drawn.within({name: (low, high) for name, low, high in bounds})
                while len(self._parts) > _KEPT:
                    self._parts.popitem(last=False)
            self._parts.move_to_end(key)
            return self._parts[key]
