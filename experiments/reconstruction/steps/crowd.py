"""The fifth step: how many molecules there are, how bright, and how often they touch, patch by patch."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.reading.detection import Detector
from experiments.reading.fit_readers import spots_of
from experiments.reading.pieces.tiles import tiles
from experiments.reading.readers import describe
from experiments.reading.spots import SpotTable
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.methods import Known
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.regions import inside_any
from experiments.reconstruction.steps.look import Look, more_frames, read_sample
from experiments.reconstruction.steps.psf import is_alone
from experiments.report.plot_style import Figure, hide_axes, new_figure, styled
from localization import LocalizationError
from localization.patches import cut_patches, patch_features
from localization.patches.features import FLUCTUATING
from localization.patches.layout import LEAST_UM, MOST_UM
from optics import Camera
from optics.camera import adu_to_photons
from optics.fits.crowd_search import significance_level
from optics.psf_table import evaluate

_FRAMES, _GROUP = 8, 4
_Table = tuple[tuple[float, ...], ...]
WINDOW_PX = 128  # about the side of the windows that single fits or a joint one read


@dataclass(frozen=True)
class Crowd(Finding):
    """Molecules that stand out in sampled frames: `density_per_um2` in a frame, its extremes over patches, photons.

    `touching_share` of them share a stamp's pixels with another one, `crowded_share` of the windows hold such a pair.
    Dense frames hide molecules from this count: it is a lower bound. In focus, `patch_density_per_um2` and `patch_snr`
    are what fluctuations say of the patches instead (`localization.patches`); 0 where nothing is seen.
    """

    frames: int = 0
    candidates: int = 0
    density_per_um2: float = 0.0
    densest_per_um2: float = 0.0
    photons: float | None = None
    snr: float | None = None
    touching_share: float = 0.0
    crowded_share: float = 0.0
    patches: tuple[int, ...] = (0, 0)
    density_map: tuple[tuple[float, ...], ...] = ()
    patch_density_per_um2: tuple[tuple[float, ...], ...] = ()
    patch_snr: tuple[tuple[float, ...], ...] = ()
    shown: Any = None

    def lines(self) -> list[str]:
        """Say density, light, and how often molecules touch."""
        light = "" if self.photons is None else f", about {self.photons:.0f} photons each"
        snr = "" if self.snr is None else f", peaks {self.snr:.1f} times the noise"
        return [
            f"{self.candidates / max(self.frames, 1):.1f} molecules a frame stand out: {self.density_per_um2:.3g} per "
            f"um2, {self.densest_per_um2:.3g} in the densest patch{light}{snr}",
            f"{100 * self.touching_share:.0f} % of them overlap with another one; {100 * self.crowded_share:.0f} % of "
            f"windows of {WINDOW_PX} px hold some that do",
        ]

    def figure(self) -> Figure | None:
        """Draw a frame with what stands out, and the maps of density and photons."""
        if self.shown is None:
            return None
        frame, x_px, y_px, density, photons = self.shown
        with styled():
            drawn = new_figure(8.4, 2.8)
            picture, first, second = drawn.subplots(1, 3)
            low, high = np.quantile(frame, [0.01, 0.999])
            picture.imshow(frame, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest")
            picture.plot(x_px - 0.5, y_px - 0.5, "o", mfc="none", mec="#E69F00", ms=8, mew=0.8)
            picture.set_title("what stands out")
            hide_axes(picture)
            for axes, image, label in ((first, density, "molecules per µm² and frame"), (second, photons, "photons")):
                shown = axes.imshow(image, cmap="viridis", vmin=0, interpolation="nearest")
                drawn.colorbar(shown, ax=axes, label=label, shrink=0.85)
                hide_axes(axes)
        return drawn


def measure_crowd(movie: Path, plan: Plan, seen: Look, camera: Camera, known: Known) -> Crowd:
    """Count what stands out of the noise in a few frames, without fitting it, and where it lies close together.

    Where molecules blink so seldom that these hold next to none, in more frames. Raises `LocalizationError` where
    nothing stands out in those either.
    """
    fits, (sparse, left_out) = known.fit_settings(), plan.regions()
    spots = spots_of(describe(Path(known.spots)), fits)
    level = fits.threshold_sigma or significance_level(spots.table, fits.false_per_um2)
    detector = Detector(spots, camera, level, fits.background_px)
    for most in (_FRAMES, max(_FRAMES, more_frames(seen))):
        _, counts = read_sample(movie, plan, seen, most)
        frame, place, photons, snr, touching = [], [], [], [], []
        for first in range(0, len(counts), _GROUP):
            group = counts[first : first + _GROUP]
            n = len(group)
            group = np.concatenate([group, np.repeat(group[-1:], _GROUP - n, axis=0)])
            light = np.asarray(adu_to_photons(camera, group), np.float64)
            found, _ = detector.find(light, np.zeros_like(light), fits.model_error)
            found = found.take((found.frame < n) & ~inside_any(left_out, *place_px(found.theta, spots.pixel_um, seen)))
            frame.append(found.frame + first)
            place.append(found.theta[:, :2])
            photons.append(found.theta[:, 3])
            touching.append(~is_alone(found, spots.image_px * spots.pixel_um))
            snr.append(found.theta[:, 3] * _peak(spots) / np.sqrt(np.maximum(found.theta[:, 4], 0.1)))
        where, xy, each = np.concatenate(frame), np.concatenate(place), np.concatenate(photons)
        by_chance = fits.false_per_um2 * len(counts) * math.prod(counts.shape[1:]) * spots.pixel_um**2
        if len(where) > by_chance + 3 * math.sqrt(by_chance) + 1:
            break
    else:
        raise LocalizationError(
            f"{movie}: nothing stands out of the noise in {len(counts)} frames (threshold {level:.1f} sigma); is this "
            "the movie of blinking molecules? psf.sigma_um, camera.gain_adu_per_photon and reader.threshold decide it"
        )
    height, width = counts.shape[1:]
    pixel = spots.pixel_um
    rows, columns = (max(1, round(side * pixel / plan.patch_um)) for side in (height, width))
    edges = [np.linspace(0, side * pixel, n + 1) for side, n in ((height, rows), (width, columns))]
    amount = np.histogram2d(xy[:, 1], xy[:, 0], bins=edges)[0]
    area = np.diff(edges[0])[:, None] * np.diff(edges[1])[None]
    density = amount / len(counts) / area
    with np.errstate(invalid="ignore"):
        mean = np.histogram2d(xy[:, 1], xy[:, 0], bins=edges, weights=each)[0] / np.where(amount > 0, amount, np.nan)
    busiest = int(np.argmax(np.bincount(where, minlength=len(counts))))
    shown = counts[busiest], *(xy[where == busiest] / pixel).T, density, mean
    close = np.concatenate(touching)
    measured = np.ones(len(xy), bool) if sparse is None else sparse.holds(*place_px(xy, pixel, seen))
    densities, ratios = ((), ()) if known.psf else _fluctuations(movie, plan, seen, pixel)
    return Crowd(
        frames=len(counts),
        candidates=len(where),
        density_per_um2=float(amount.sum() / len(counts) / (height * width * pixel**2)),
        densest_per_um2=float(density.max()),
        photons=float(np.median(each[measured] if measured.any() else each)),
        snr=float(np.median(np.concatenate(snr))),
        touching_share=float(close.mean()),
        crowded_share=_crowded(where[close], xy[close] / pixel, len(counts), (height, width)),
        patches=(rows, columns),
        density_map=_table(density),
        patch_density_per_um2=densities,
        patch_snr=ratios,
        shown=shown,
    )


def place_px(xy_um: NDArray, pixel_um: float, seen: Look) -> tuple[NDArray, NDArray]:
    """Return x and y in pixels of the movie of places (n, 2) um in the part that is read."""
    return xy_um[:, 0] / pixel_um + seen.columns[0], xy_um[:, 1] / pixel_um + seen.rows[0]


def _fluctuations(movie: Path, plan: Plan, seen: Look, pixel_um: float) -> tuple[_Table, _Table]:
    """Density and signal to noise of the patches, from how pixels of more frames fluctuate."""
    _, counts = read_sample(movie, plan, seen, max(FLUCTUATING, more_frames(seen)))
    patch_um = float(np.clip(plan.patch_um, LEAST_UM, MOST_UM))
    found = patch_features(counts, cut_patches((counts.shape[1], counts.shape[2]), pixel_um, patch_um), pixel_um)
    there = found.level > 0
    return _table(np.where(there, found.density_per_um2, 0.0)), _table(np.where(there, found.snr, 0.0))


def _table(values: NDArray) -> _Table:
    return tuple(tuple(float(value) for value in row) for row in values)


def _peak(spots: SpotTable) -> float:
    """The share of a molecule's light in its brightest pixel, in the middle of the depths."""
    low, high = np.asarray(spots.table.z_range_um, np.float64)
    return float(np.max(np.asarray(evaluate(spots.table, jnp.asarray([0.0, 0.0, (low + high) / 2]))[0])))


def _crowded(frame: NDArray, xy_px: NDArray, n: int, shape: tuple[int, int]) -> float:
    """The share of windows of all frames that hold a molecule which touches another one."""
    sides = [[tile.core for tile in tiles(side, min(side, WINDOW_PX), 0)] for side in shape]
    held, total = 0, n * math.prod(map(len, sides))
    for row in sides[0]:
        for column in sides[1]:
            here = (xy_px[:, 1] >= row.start) & (xy_px[:, 1] < row.stop)
            here &= (xy_px[:, 0] >= column.start) & (xy_px[:, 0] < column.stop)
            held += len(np.unique(frame[here]))
    return held / max(total, 1)
