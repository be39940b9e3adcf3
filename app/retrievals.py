"""Retrievals of a PSF as the pages begin them: ticked beads cut out of their field, and the command's arguments."""

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.runs.files import changed_ns, number, write_whole
from app.runs.jobs import make_job
from app.runs.launch import find_runs
from app.scopes import key_of, read_scope
from app.site import Refused, Site
from app.words import WORDS
from experiments.reconstruction.questions import step_folder

if TYPE_CHECKING:
    from app.pictures.frames import Opened

_LARGEST_PX = 160  # of a crop, as `colocus retrieve` takes it; a larger picture is a field of beads to it
_NEEDED = ("na", "immersion", "sample", "wavelength", "pixel")
_FOCUS = re.compile(r"\s*([-+.\deE]+)\s*:\s*([-+.\deE]+)\s*:\s*(\d+)\s*")


def checked_focus(site: Site, text: str | None, slices: int) -> str:
    """Return focus positions as the command takes them. Raises `Refused` where they cannot be those of the slices."""
    given = (text or "").strip()
    if "/" in given:
        return str(site.resolve(given))
    parts = _FOCUS.fullmatch(given)
    if parts is None:
        raise Refused(f"{WORDS['focus'].label}: give START:STOP:{slices}, such as -3.5:2:{slices}", 400)
    if int(parts[3]) != slices:
        raise Refused(f"{WORDS['focus'].label}: the stack has {slices} slices, not {parts[3]}", 400)
    return given.replace(" ", "")


def make_retrieval(
    site: Site, path: Path, opened: "Opened", centres: Sequence[tuple[int, int]], crop_px: int | None,
    focus: str | None, scope: str | None,
) -> Path:  # fmt: skip
    """Make the job that retrieves a PSF from the beads of a stack at `centres` (row, column); all of it without a crop.

    Raises `Refused` in one line before anything is written.
    """
    slices, height, width = opened.movie.shape
    if not scope:
        raise Refused(f"{WORDS['bead_scope'].label}: choose one; save it on the page Microscope first", 400)
    optics = read_scope(site.resolve(scope))
    if missing := [key_of(name) for name in _NEEDED if name not in optics]:
        raise Refused(f"{Path(scope).name}: no {', '.join(missing)}; a retrieval needs them", 400)
    positions = checked_focus(site, focus, slices)
    if crop_px is None and max(height, width) > _LARGEST_PX:
        raise Refused(f"the frames have {height} x {width} px: find the beads first, with a crop", 400)
    if crop_px is not None and not centres:
        raise Refused("no bead is ticked; tick one or more", 400)
    if crop_px is not None and crop_px > _LARGEST_PX:
        raise Refused(f"{WORDS['crop'].label}: at most {_LARGEST_PX}", 400)
    text = (site.resolve(scope)).read_text()

    def argv(folder: Path) -> list[str | Path]:
        write_whole(folder / "scope.toml", text)
        places = _cut(path, opened, centres, crop_px, folder / "beads") if crop_px is not None else [path]
        return [*places, f"--focus={positions}", "--microscope", folder / "scope.toml", "--out", folder / "psf"]

    return make_job(site, f"PSF {path.name.split('.')[0]}", "retrieve", argv, movie=str(path))


def _cut(
    path: Path, opened: "Opened", centres: Sequence[tuple[int, int]], crop_px: int, folder: Path
) -> list[str | Path]:
    import numpy as np  # not before it is needed: the first page is quick
    import tifffile

    folder.mkdir()
    written: list[str | Path] = []
    for row, column in centres:
        top, left = row - crop_px // 2, column - crop_px // 2
        with opened.lock:
            cut = opened.movie.read(0, opened.movie.shape[0], rows=(top, top + crop_px), columns=(left, left + crop_px))
        place = folder / f"{path.name.split('.')[0]}-r{row}-c{column}.tif"
        tifffile.imwrite(place, np.asarray(cut).astype(opened.movie.dtype), photometric="minisblack")
        written.append(place)
    return written


def retrieved(site: Site) -> dict[Path, str]:
    """List the PSFs that retrievals, and runs with beads of their own, have left: file and name of the run."""
    found = {}
    for run in find_runs(site):
        for folder in (run / "psf", run / step_folder("psf") / "beads"):
            if (folder / "psf.npz").is_file():
                found[folder / "psf.npz"] = run.name
    return found


def read_retrieval(folder: Path) -> dict[str, Any]:
    """Read what a retrieval left in its folder: pictures, a table of the beads, curves of the slices, notes.

    Empty where there is none yet.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text())
        rows = list(csv.DictReader((folder / "slices.csv").read_text().splitlines()))
        beads = [{key: value for key, value in bead.items() if isinstance(value, int | float | str)}
                 for bead in metrics["beads"]]  # fmt: skip
        slices: dict[str, dict[str, list[float | None]]] = {}
        for row in rows:
            kept = slices.setdefault(row["bead"], {})
            for name in ("focus_um", "correlation", "noise_ceiling", "chi2"):
                value = float(row[name])
                kept.setdefault(name, []).append(value if math.isfinite(value) else None)
        zernike = [mode for mode in metrics.get("zernike", [])
                   if None not in (number(mode.get(name)) for name in ("n", "m", "rms_rad"))]  # fmt: skip
        pictures = [path for path in sorted((folder / "figures").glob("*.png"))]
        pictures.sort(key=lambda path: path.stem != "pupil")
        return {"beads": beads, "slices": slices, "notes": list(map(str, metrics.get("notes", []))),
                "pupil": metrics.get("pupil", {}), "zernike": zernike,
                "pictures": [(path.stem, str(path), changed_ns(path)) for path in pictures]}  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
