"""What follows the reading: drift taken out, rows filtered, a picture drawn, its resolution measured."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lists.drift import drift
from experiments.lists.filter import filter_list
from experiments.lists.render import RenderConfig, render
from experiments.lists.resolution import ResolutionConfig, resolution
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps.look import Look
from experiments.report.plot_style import Figure, hide_axes, new_figure, styled
from localization import LocalizationError, Localizations, MovieFacts, read, select, write
from optics.progress import Report, silent

FILE = "localizations.csv"
PICTURES = ("picture_full.png", "picture_full.tif")
_SMALLEST_PIXEL_NM, _MOST_PIXELS = 5.0, 3e7
_SHOWN_PX = 600  # side of the picture on the page


@dataclass(frozen=True)
class Steadied(Finding):
    """Drift that was taken out of the list: range and error per axis in um, or why it was not."""

    corrected: bool = False
    why: str = ""
    range_um: tuple[float, ...] = ()
    error_um: tuple[float | None, ...] = ()
    said: tuple[str, ...] = ()
    shown: Any = None

    def lines(self) -> list[str]:
        """Say the drift, or why none was taken out."""
        return list(self.said) if self.corrected else [f"not corrected: {self.why}"]

    def figure(self) -> Figure | None:
        """Draw the drift, where it was found."""
        return None if self.shown is None else self.shown.figure()


def take_out_drift(locs: Path, plan: Plan, seen: Look, folder: Path, report: Report = silent) -> Steadied:
    """Take the drift out of a list, written to `folder`; a movie too short or empty to tell it goes on as it is."""
    table = read(locs)
    if seen.n_frames < plan.drift_frames:
        write_list(folder / FILE, table)
        return Steadied(why=f"{seen.n_frames} frames are fewer than drift_frames = {plan.drift_frames}")
    try:
        found = drift(table, plan.drift, report)
    except LocalizationError as error:
        write_list(folder / FILE, table)
        return Steadied(why=str(error))
    write_list(folder / FILE, found.corrected)
    errors = tuple(float(value) if math.isfinite(value) else None for value in found.drift.error_um)
    spans = tuple(float(value) for value in found.drift.range_um)
    return Steadied(True, "", spans, errors, tuple(line for line in found.lines() if line), found)


@dataclass(frozen=True)
class Kept(Finding):
    """Rows before and after the plan's filters, and a line for each criterion."""

    before: int = 0
    after: int = 0
    said: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say what was removed."""
        return list(self.said)


def keep_rows(locs: Path, plan: Plan, pixel_um: float, folder: Path) -> Kept:
    """Keep the rows that fulfil the plan's criteria and lie in no rectangle that it leaves out, written to `folder`.

    Raises `LocalizationError` where none is left.
    """
    found, said = read(locs), []
    before = found.frame.size
    for region in plan.regions()[1]:
        inside = region.holds(found.x_um / pixel_um, found.y_um / pixel_um)
        found = select(found, ~inside)
        said.append(f"{inside.sum()} rows left out in {region.name or f'the rectangle {region}'}")
    result = filter_list(found, plan.filters)
    if not result.locs.frame.size:
        more = ", or take out of leave_out" if said else ""
        raise LocalizationError(f"filters: no localization is left; loosen [filters] in plan.toml{more}")
    write_list(folder / FILE, result.locs)
    return Kept(before, result.removed.after, (*said, *result.lines()))


@dataclass(frozen=True)
class Drawn(Finding):
    """The picture: its pixel, what it shows, and the resolution by ring correlation (None: not told, and why)."""

    pixel_nm: float = 0.0
    localizations: int = 0
    frc_nm: float | None = None
    frc_why: str = ""
    said: tuple[str, ...] = ()
    shown: Any = None

    def lines(self) -> list[str]:
        """Say the picture's size and its resolution."""
        frc = f"{self.frc_nm:.0f} nm" if self.frc_nm is not None else f"not told: {self.frc_why}"
        return [*self.said, f"Fourier ring correlation: {frc}"]

    def figure(self) -> Figure | None:
        """Draw the picture beside the ring correlation."""
        if self.shown is None:
            return None
        picture, rings, threshold = self.shown
        with styled():
            drawn = new_figure(8.4, 5.0 if rings is None else 4.4)
            axes = drawn.subplots(
                1, 1 if rings is None else 2, squeeze=False, width_ratios=(1,) if rings is None else (2, 1)
            )[0]
            axes[0].imshow(np.asarray(picture), interpolation="antialiased")
            hide_axes(axes[0])
            if rings is not None:
                axes[1].plot(rings.frequency_per_um, rings.smoothed, color="#0072B2")
                axes[1].axhline(threshold, color="black", linestyle="--", linewidth=0.8)
                axes[1].set(xlabel="spatial frequency (1/µm)", ylabel="Fourier ring correlation", ylim=(-0.1, 1.05))
        return drawn


def draw_picture(
    locs: Path, plan: Plan, seen: Look, pixel_um: float, deep: bool, folder: Path, report: Report = silent
) -> Drawn:
    """Draw a list over the whole part that was read, as PNG for the eye and TIFF for measuring, and its resolution."""
    table, said = read(locs), ()
    told = (table.sigma_x_um > 0) & (table.sigma_y_um > 0)
    if told.any() and not told.all():  # what a network read, in a crowded part of the movie, is of no known precision
        blind = table.frame.size - int(told.sum())
        said = (f"{blind} rows of a network, which tells no precision, are drawn as wide as the others' median",)
        usual = {name: np.where(told, (values := getattr(table, name)), np.median(values[told]))
                 for name in ("sigma_x_um", "sigma_y_um")}  # fmt: skip
        table = replace(table, **usual)
    sigma_nm = 1e3 * np.hypot(table.sigma_x_um, table.sigma_y_um) / math.sqrt(2)
    known = sigma_nm[np.isfinite(sigma_nm)]
    (y0, y1), (x0, x1) = ((side[0] * pixel_um, side[1] * pixel_um) for side in (seen.rows, seen.columns))
    pixel_nm = plan.picture.pixel_nm
    if pixel_nm is None:
        pixel_nm = max(_SMALLEST_PIXEL_NM, round(float(np.median(known)) / 2)) if known.size else 2 * _SMALLEST_PIXEL_NM
        pixel_nm = max(pixel_nm, math.ceil(1e3 * math.sqrt((y1 - y0) * (x1 - x0) / _MOST_PIXELS)))
    mode = plan.picture.mode if known.size else "histogram"
    depth = deep and float(np.ptp(table.z_um)) > 0
    colours = np.ptp(table.channel) > 0
    config = RenderConfig(
        pixel_nm, mode, depth and not colours, bool(colours), (x0, x1, y0, y1), min_sigma_nm=pixel_nm / 2
    )
    picture = render(table, config, report)
    picture.write(folder / PICTURES[0])
    picture.write(folder / PICTURES[1])
    # for the page a pixel of its own: single molecules would not show in a large picture made small
    shown_nm = max(pixel_nm, 1e3 * max(y1 - y0, x1 - x0) / _SHOWN_PX)
    shown = picture
    if shown_nm > pixel_nm:
        shown = render(table, replace(config, pixel_nm=shown_nm, min_sigma_nm=shown_nm / 2), report)
    frc, why, rings, threshold = None, "", None, 0.0
    try:
        found = resolution(table, ResolutionConfig(pixel_nm=plan.picture.frc_pixel_nm), report)
        why = found.rings.reason or ""
        frc = 1e3 * found.rings.resolution_um if math.isfinite(found.rings.resolution_um) else None
        rings, threshold = found.rings, found.rings.threshold
    except LocalizationError as error:
        why = str(error)
    return Drawn(
        pixel_nm, int(table.frame.size), frc, why, (*picture.lines(), *said), (shown.image(), rings, threshold)
    )


def write_list(path: Path, locs: Localizations) -> None:
    """Write a list with what it knows of its movie."""
    write(path, replace(locs, movie=locs.movie or MovieFacts()))
