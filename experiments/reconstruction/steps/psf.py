"""The fourth step: what one molecule looks like, from its own file, from beads, or from isolated spots."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.detection import Detector
from experiments.reading.fits import EmitterFitter, EmitterList
from experiments.reading.spots import SpotTable, gaussian_spots
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.regions import inside_any
from experiments.reconstruction.steps.beads import depths_um, retrieve_beads
from experiments.reconstruction.steps.look import Look, more_frames, read_sample
from experiments.report.plot_style import FIXED_COLOURS, Figure, hide_axes, new_figure, styled
from optics import Camera
from optics.camera import adu_to_photons
from optics.fits.crowd_search import significance_level
from optics.progress import Event, Report, silent
from optics.psf_io import load_psf

FILE = "psf.npz"
DEFAULT_PIXEL_UM = 0.1
_DEFAULT_SIGMA_PX = 1.3  # of well sampled spots in focus
_FRAMES, _GROUP = 24, 8
_WANTED, _FEWEST = 300, 12  # isolated spots: more say nothing new, fewer say too little
_ROUNDS = 4
_WIDTH_STEP = 1.7  # a table of Gaussian spots holds widths from 1 / 1.7 to 1.7 times its own
_GOOD_CHI2 = 1.6
_LIGHT_HELD = 0.95  # of what a retrieved picture holds: the time of a fit grows with the square's area


@dataclass(frozen=True)
class PsfFound(Finding):
    """The PSF: its `file` (psf.npz; "" for Gaussian spots of `sigma_um`), depths in three dimensions, and its source.

    `species` are the files of further colours. `stamp_px` is the side of the square that holds nearly all light of a
    molecule at every depth (larger costs time).
    `spots` isolated ones were fitted, `good_share` of them are what the model says they are.
    """

    pixel_um: float = DEFAULT_PIXEL_UM
    source: str = ""
    file: str = ""
    species: tuple[str, ...] = ()
    sigma_um: float | None = None
    sigma_spread_um: float | None = None
    z_range_um: tuple[float, ...] | None = None
    focus_um: float | None = None
    stamp_px: int | None = None
    spots: int = 0
    good_share: float | None = None
    correlation: float | None = None
    notes: tuple[str, ...] = ()
    shown: Any = None

    @property
    def deep(self) -> bool:
        """Whether positions have a depth."""
        return bool(self.file)

    @property
    def depths_um(self) -> tuple[float, float] | None:
        """The depths that molecules may have, or None in two dimensions."""
        return None if self.z_range_um is None else (self.z_range_um[0], self.z_range_um[1])

    def path(self, folder: Path) -> str:
        """Name the file of the PSF that the step in `folder` found; "" for Gaussian spots."""
        return str((folder / self.file).absolute()) if self.file else ""

    def lines(self) -> list[str]:
        """Say the PSF and where it comes from."""
        if self.deep:
            z = self.z_range_um or (math.nan, math.nan)
            lines = [
                f"{self.source}; depths {z[0]:.2f} to {z[1]:.2f} um, focus at {self.focus_um:.2f} um, "
                f"squares of {self.stamp_px} px"
            ]
        else:
            spread = (
                "" if self.sigma_spread_um is None else f" (middle half within {1e3 * self.sigma_spread_um:.0f} nm)"
            )
            lines = [
                f"spots of sigma {1e3 * (self.sigma_um or 0):.0f} nm{spread}, pixels of {1e3 * self.pixel_um:.1f} nm: "
                f"{self.source}"
            ]
        return [*lines, *self.notes]

    def figure(self) -> Figure | None:
        """Draw the widths and the mean of isolated spots, or the PSF through its depths."""
        if self.shown is None:
            return None
        return _draw_depths(*self.shown) if self.deep else _draw_widths(*self.shown)


def pixel_um_of(plan: Plan, seen: Look) -> tuple[float, tuple[str, ...]]:
    """Return the camera's pixel in the sample, and a note where nothing tells it."""
    if plan.optics.pixel_um is not None:
        return plan.optics.pixel_um, ()
    if seen.pixel_um is not None:
        return seen.pixel_um, ()
    note = (
        f"nothing tells the pixel: taken as {1e3 * DEFAULT_PIXEL_UM:.0f} nm; every length scales with optics.pixel_um"
    )
    return DEFAULT_PIXEL_UM, (note,)


def find_psf(movie: Path, plan: Plan, seen: Look, camera: Camera, folder: Path, report: Report = silent) -> PsfFound:
    """Find what one molecule looks like; a retrieval leaves its own report in `folder`.

    Raises `ConfigError`, `OpticsError` or `LocalizationError` for beads that cannot be used.
    """
    pixel_um, notes = pixel_um_of(plan, seen)
    if plan.psf.beads:
        kept = retrieve_beads(plan, pixel_um, folder, report)
        shown = _through_depths(kept.file, kept.z_range_um)
        return PsfFound(
            pixel_um, kept.source, kept.file.name, z_range_um=kept.z_range_um, focus_um=kept.focus_um,
            stamp_px=_stamp_px(shown[0]), correlation=kept.correlation, notes=(*notes, *kept.notes), shown=shown,
        )  # fmt: skip
    if plan.psf.file:
        path, *others = (Path(name).absolute() for name in (plan.psf.file, *plan.psf.species))
        psf = load_psf(path)
        own_px, focus_um = float(psf.microscope.pixel_um), float(psf.microscope.focus_um)
        focus_um = focus_um if plan.optics.focus_um is None else plan.optics.focus_um
        z = depths_um(plan, focus_um, None)
        shown = _through_depths(path, z, focus_um)
        stamps = [_stamp_px(shown[0]), *(_stamp_px(_through_depths(one, z, focus_um)[0]) for one in others)]
        return PsfFound(
            own_px, f"from {', '.join([path.name, *(file.name for file in others)])}", str(path),
            species=tuple(map(str, others)), z_range_um=z, focus_um=focus_um,
            stamp_px=max(stamps), shown=shown,
        )  # fmt: skip
    if plan.psf.sigma_um is not None:
        return PsfFound(pixel_um, "width from the plan", sigma_um=plan.psf.sigma_um, notes=notes)
    return _isolated(movie, plan, seen, camera, pixel_um, notes, report)


def _isolated(
    movie: Path, plan: Plan, seen: Look, camera: Camera, pixel_um: float, notes: tuple[str, ...], report: Report
) -> PsfFound:
    """The width of isolated spots: fits in which the width is free, begun again where it lies at an end.

    Where few frames hold few molecules at all, more are looked at.
    """
    _, counts = read_sample(movie, plan, seen, _FRAMES)
    optics = plan.optics
    sigma = _DEFAULT_SIGMA_PX * pixel_um
    if optics.na is not None and optics.wavelength_um is not None:
        sigma = max(0.21 * optics.wavelength_um / optics.na, 0.55 * pixel_um)
    fits = widths = None
    for number in range(_ROUNDS):
        report(Event("width of isolated spots", number, _ROUNDS))
        spots = gaussian_spots(sigma, pixel_um)
        fits = fit_alone(counts, spots, camera, plan.reader.fits, usable_places(plan, seen))
        widths = sigma * _WIDTH_STEP ** fits.theta[:, 2]
        if len(widths) < _FEWEST:
            held = len(counts)
            if held == _FRAMES and _candidates(counts, spots, camera, plan.reader.fits) < 2 * _FEWEST:
                _, counts = read_sample(movie, plan, seen, max(_FRAMES, more_frames(seen)))
            if len(counts) == held:  # all there is, or molecules touch one another and are not rare
                break
            continue
        middle = float(np.median(widths))
        if abs(math.log(middle / sigma) / math.log(_WIDTH_STEP)) < 0.15:
            break
        sigma = float(np.clip(middle, 0.55 * pixel_um, 6 * pixel_um))
    assert fits is not None and widths is not None
    if len(widths) < _FEWEST:
        where = " in the sparse rectangle" if plan.sparse else ""
        more = f"only {len(widths)} isolated spots{where}: the width is that of spots in focus, tell it by psf.sigma_um"
        assumed = _DEFAULT_SIGMA_PX * pixel_um if optics.na is None or optics.wavelength_um is None else sigma
        return PsfFound(pixel_um, "assumed", sigma_um=assumed, spots=len(widths), notes=(*notes, more))
    low, middle, high = (float(value) for value in np.quantile(widths, [0.25, 0.5, 0.75]))
    good = float(np.mean(fits.chi2_ratio < _GOOD_CHI2))
    more = ()
    if good < 0.5:
        more = (
            f"only {100 * good:.0f} % of them are Gaussian spots: if the optics shape the PSF, give --beads or --psf",
        )
    return PsfFound(
        pixel_um,
        f"from {len(widths)} isolated spots",
        sigma_um=middle,
        sigma_spread_um=high - low,
        spots=len(widths),
        good_share=good,
        notes=(*notes, *more),
        shown=(1e3 * widths, 1e3 * middle, _mean_spot(counts, fits, pixel_um)),
    )


def _candidates(counts: NDArray, spots: SpotTable, camera: Camera, config: ClassicalConfig) -> int:
    """How many molecules stand out, alone or not, of which as many as matter are counted."""
    level = config.threshold_sigma or significance_level(spots.table, config.false_per_um2)
    detector, found = Detector(spots, camera, level, config.background_px), 0
    for first in range(0, len(counts), _GROUP):
        group = counts[first : first + _GROUP]
        n = len(group)
        group = np.concatenate([group, np.repeat(group[-1:], _GROUP - n, axis=0)])
        photons = np.asarray(adu_to_photons(camera, group), np.float64)
        found += int((detector.find(photons, np.zeros_like(photons), config.model_error)[0].frame < n).sum())
        if found >= 2 * _FEWEST:
            break
    return found


Usable = Callable[[NDArray, NDArray], NDArray[np.bool_]]


def usable_places(plan: Plan, seen: Look) -> Usable:
    """Return what tells of places in the part that is read, x and y in pixels, whether the plan has them measured."""
    sparse, left_out = plan.regions()

    def usable(x_px: NDArray, y_px: NDArray) -> NDArray[np.bool_]:
        x, y = x_px + seen.columns[0], y_px + seen.rows[0]
        return (True if sparse is None else sparse.holds(x, y)) & ~inside_any(left_out, x, y)

    return usable


def fit_alone(
    counts: NDArray, spots: SpotTable, camera: Camera, config: ClassicalConfig, usable: Usable | None = None
) -> EmitterList:
    """Fit the emitters of frames (n, H, W) that have no neighbour within two stamps, brightest frames' first.

    `usable` chooses among their places (None: everywhere).
    """
    level = config.threshold_sigma or significance_level(spots.table, config.false_per_um2)
    detector = Detector(spots, camera, level, config.background_px)
    fitter = EmitterFitter(spots, camera)
    parts: list[EmitterList] = []
    for first in range(0, len(counts), _GROUP):
        group = counts[first : first + _GROUP]
        group = np.concatenate([group, np.repeat(group[-1:], _GROUP - len(group), axis=0)])
        photons = np.asarray(adu_to_photons(camera, group), np.float64)
        found, _ = detector.find(photons, np.zeros_like(photons), config.model_error)
        found = found.take(found.frame < len(counts) - first)
        alone = found.take(is_alone(found, spots.image_px * spots.pixel_um))
        if usable is not None:
            alone = alone.take(usable(*(alone.theta[:, :2].T / spots.pixel_um)))
        fits = fitter.fit(group, np.ones(group.shape, bool), alone)
        strong = fits.theta[:, 3] > 2 * level * np.maximum(fits.std[:, 3], 1e-9)
        fits = fits.take(fits.good & strong)
        parts.append(replace(fits, frame=fits.frame + first))
        if sum(map(len, parts)) >= _WANTED:
            break
    names = ("frame", "theta", "std", "chi2_ratio", "good")
    return EmitterList(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def is_alone(emitters: EmitterList, reach_um: float) -> NDArray[np.bool_]:
    """Say which emitters have no other one of their frame within `reach_um` along both axes."""
    alone = np.ones(len(emitters), bool)
    if len(emitters) > 1:
        places = np.column_stack([emitters.theta[:, :2], emitters.frame * 4 * reach_um])
        pairs = KDTree(places).query_pairs(reach_um, p=np.inf, output_type="ndarray")
        alone[np.unique(np.asarray(pairs, int))] = False
    return alone


def _mean_spot(counts: NDArray, fits: EmitterList, pixel_um: float, half: int = 6) -> NDArray:
    """The mean of the fitted spots on whole pixels, each over its sum."""
    total = np.zeros((2 * half + 1, 2 * half + 1))
    for frame, (x, y) in zip(fits.frame, fits.theta[:, :2] / pixel_um, strict=True):
        row, column = int(y), int(x)
        cut = counts[frame, max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
        if cut.shape == total.shape:
            total += (cut - np.median(cut)) / max(float(np.abs(cut - np.median(cut)).sum()), 1e-9)
    return total


def _draw_widths(widths_nm: NDArray, middle_nm: float, spot: NDArray) -> Figure:
    with styled():
        drawn = new_figure(6.0, 2.5)
        histogram, picture = drawn.subplots(1, 2, width_ratios=(1.6, 1))
        histogram.hist(widths_nm, bins=40, color=FIXED_COLOURS[0])
        histogram.axvline(middle_nm, color="black", linestyle="--", linewidth=1)
        histogram.set(xlabel="sigma of isolated spots (nm)", ylabel="spots", title=f"median {middle_nm:.0f} nm")
        picture.imshow(spot, cmap="gray", interpolation="nearest")
        picture.set_title("their mean")
        hide_axes(picture)
    return drawn


def _through_depths(path: Path, z_range_um: tuple[float, float], focus_um: float | None = None) -> tuple:
    """Images of a PSF at seven depths, and the depths."""
    import jax

    from optics import psf_image
    from optics.pytree import replace as change

    psf = load_psf(path)
    if focus_um is not None:
        psf = change(psf, microscope=change(psf.microscope, focus_um=0 * psf.microscope.focus_um + focus_um))
    depths = np.linspace(*z_range_um, 7)
    xyz = np.column_stack([np.zeros((7, 2)), depths])
    return np.asarray(jax.vmap(lambda point: psf_image(psf, point))(xyz)), depths


def _stamp_px(images: NDArray) -> int:
    """Side of the smallest square that holds enough of the light of images (Z, K, K) at each depth, odd if K is."""
    side = images.shape[-1]
    for px in range(side % 2 + 14, side, 2):
        cut = (side - px) // 2
        inside = images[:, cut : cut + px, cut : cut + px].sum(axis=(1, 2))
        if np.all(inside >= _LIGHT_HELD * images.sum(axis=(1, 2))):
            return px
    return side


def _draw_depths(images: NDArray, depths_um: NDArray) -> Figure:
    with styled():
        drawn = new_figure(8.4, 1.5)
        for axes, image, depth in zip(drawn.subplots(1, len(images)), images, depths_um, strict=True):
            axes.imshow(np.sqrt(np.maximum(image, 0)), cmap="gray", interpolation="nearest")
            axes.set_title(f"{depth:.2f} µm")
            hide_axes(axes)
    return drawn
