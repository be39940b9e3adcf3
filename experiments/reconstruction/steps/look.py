"""The first step: what kind of movie this is, before anything is believed of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from experiments.reading.pieces.movie_job import axis_part
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.plan import Plan
from experiments.report.plot_style import Figure, hide_axes, new_figure, styled
from localization import LocalizationError, Movie, open_movie
from localization.camera.saturation import saturation_adu
from training import ConfigError

_SAMPLE_PX = 2**23  # pixels that are looked at: 32 MB
_SAMPLE_FRAMES = 48
_MORE_FRAMES, _MORE_PIXELS = 100, 20_000_000
_LEAST_SIDE_PX = 16
_AT_ZERO = 1e-3  # share of places that ever read zero or less: more than dead pixels, and no camera with an offset
# Correlation of successive frames: 0.89 to 0.99 of ten stacks of beads through focus, at most 0.73 of blinking movies
_STAYS = 0.82
_IN_A_ROW, _FEWEST_IN_A_ROW = 24, 5


@dataclass(frozen=True)
class Look(Finding):
    """What a movie is: the part that is read (first and stop of frames, rows, columns), its counts, and doubts.

    `floor_at_zero`: pixels on or below zero, so an offset or a background was taken off before. `stays` is the
    correlation of successive frames (None: too few of them), `looks_like_beads` that above 0.82.
    """

    frames: tuple[int, ...] = (0, 0)
    rows: tuple[int, ...] = (0, 0)
    columns: tuple[int, ...] = (0, 0)
    type: str = ""
    pixel_um: float | None = None
    lowest_adu: float = 0.0
    median_adu: float = 0.0
    highest_adu: float = 0.0
    saturated_at_adu: float | None = None
    saturated_share: float = 0.0
    floor_at_zero: bool = False
    eight_bit: bool = False
    stays: float | None = None
    looks_like_beads: bool = False
    notes: tuple[str, ...] = ()
    shown: Any = None

    @property
    def n_frames(self) -> int:
        """How many frames are to be read."""
        return self.frames[1] - self.frames[0]

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width of the part that is read."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def lines(self) -> list[str]:
        """Say what the movie is and what is odd about it."""
        height, width = self.shape_px
        lines = [
            f"{self.n_frames} frames of {height} x {width} px, {self.type}, counts {self.lowest_adu:g} to "
            f"{self.highest_adu:g}, median {self.median_adu:g}"
        ]
        if self.saturated_at_adu is not None:
            share = 100 * self.saturated_share
            lines.append(f"saturated at {self.saturated_at_adu:g} counts ({share:.2g} % of pixels); they are left out")
        if self.eight_bit:
            lines.append("8-bit: its noise is that of rounding or compression as much as of photons")
        if self.floor_at_zero:
            lines.append("its floor is at zero: an offset or a background was taken off before; give the raw movie")
        if self.looks_like_beads:
            lines.append(
                "its frames follow from one another: this looks like beads or a stack of them, not blinking molecules"
            )
        return [*lines, *self.notes]

    def figure(self) -> Figure | None:
        """Draw a frame, the brightest and the mean of each pixel, and the histogram of counts."""
        if self.shown is None:
            return None
        frame, brightest, mean, edges, counts = self.shown
        with styled():
            drawn = new_figure(8.4, 2.5)
            *pictures, histogram = drawn.subplots(1, 4)
            for axes, image, title in zip(
                pictures, (frame, brightest, mean), ("one frame", "brightest", "mean"), strict=True
            ):
                low, high = np.quantile(image, [0.01, 0.999])
                axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest")
                axes.set_title(title)
                hide_axes(axes)
            histogram.stairs(np.maximum(counts, 0.5), edges, fill=True, color="#0072B2")
            histogram.set(yscale="log", xlabel="counts", title="all pixels")
        return drawn


def _check_regions(plan: Plan, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    sparse, left_out = plan.regions()
    for setting, region in (("sparse", sparse), *(("leave_out", region) for region in left_out)):
        if region is None:
            continue
        across = min(region.columns[1], columns[1]) - max(region.columns[0], columns[0])
        down = min(region.rows[1], rows[1]) - max(region.rows[0], rows[0])
        if across <= 0 or down <= 0:
            raise ConfigError(
                f"{setting} = '{region}' lies outside the field, columns {columns[0]}:{columns[1]} and rows "
                f"{rows[0]}:{rows[1]}; write columns first"
            )


def look(movie: Path, plan: Plan) -> Look:
    """Look at a movie: its size, its counts, whether it is saturated, subtracted, or shows beads.

    Raises `LocalizationError` for a file that is no movie or a movie without anything in it, `ConfigError` for a part
    outside it.
    """
    with open_movie(movie, **plan.opening.options().given()) as opened:
        spans = plan.spans()
        sizes = zip(("frames", "rows", "columns"), opened.shape, (1, _LEAST_SIDE_PX, _LEAST_SIDE_PX), strict=True)
        frames, rows, columns = (axis_part(name, spans[name], size, least) for name, size, least in sizes)
        _check_regions(plan, rows, columns)
        sample = _frames(opened, sample_numbers(frames, (rows, columns)), rows, columns)
        middle = max(frames[0], (frames[0] + frames[1] - _IN_A_ROW) // 2)
        row = opened.read(middle, min(middle + _IN_A_ROW, frames[1]), rows=rows, columns=columns)
        kind, pixel_um, notes = str(opened.dtype), opened.facts.pixel_um, tuple(opened.notes)
    lowest, highest = float(sample.min()), float(sample.max())
    if not highest > lowest:
        raise LocalizationError(f"{movie}: every pixel is {lowest:g}; there is nothing to reconstruct, check the file")
    finite = np.isfinite(sample)
    if not finite.all():
        raise LocalizationError(f"{movie}: holds pixels without a number (NaN); export the counts of the camera")
    saturated = saturation_adu(sample)
    stays = _succession(row)
    edges = np.linspace(lowest, highest, 65)
    return Look(
        frames=frames,
        rows=rows,
        columns=columns,
        type=kind,
        pixel_um=pixel_um,
        lowest_adu=lowest,
        median_adu=float(np.median(sample)),
        highest_adu=highest,
        saturated_at_adu=saturated,
        saturated_share=0.0 if saturated is None else float(np.mean(sample >= saturated)),
        floor_at_zero=float(np.mean((sample <= 0).any(axis=0))) > _AT_ZERO,
        eight_bit=kind in ("uint8", "int8"),
        stays=stays,
        looks_like_beads=stays is not None and stays > _STAYS,
        notes=notes,
        shown=(sample[len(sample) // 2], sample.max(0), sample.mean(0), edges, np.histogram(sample, edges)[0]),
    )


def sample_numbers(
    frames: tuple[int, ...], sides: tuple[tuple[int, int], ...], most: int = _SAMPLE_FRAMES
) -> list[int]:
    """Choose frames evenly over the part that is read, as many as memory should hold.

    >>> sample_numbers((10, 20), ((0, 64), (0, 64)), 3)
    [10, 14, 19]
    """
    (first, stop), size = frames, int(np.prod([b - a for a, b in sides]))
    n = max(1, min(stop - first, most, max(4, _SAMPLE_PX // size)))
    return [int(k) for k in np.unique(np.linspace(first, stop - 1, n).astype(int))]


def read_sample(movie: Path, plan: Plan, found: Look, most: int = _SAMPLE_FRAMES) -> tuple[list[int], NDArray]:
    """Read frames evenly over the part that is read: their numbers, and counts (n, H, W)."""
    numbers = sample_numbers(found.frames, (_pair(found.rows), _pair(found.columns)), most)
    with open_movie(movie, **plan.opening.options().given()) as opened:
        return numbers, _frames(opened, numbers, _pair(found.rows), _pair(found.columns))


def more_frames(found: Look) -> int:
    """Return how many frames are sampled where a few say too little: as many as have few enough pixels together."""
    side = (found.rows[1] - found.rows[0]) * (found.columns[1] - found.columns[0])
    return min(_MORE_PIXELS // side, _MORE_FRAMES)


def _pair(span: tuple[int, ...]) -> tuple[int, int]:
    return span[0], span[1]


def _frames(movie: Movie, numbers: list[int], rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.float32]:
    return np.concatenate([movie.read(k, k + 1, rows=rows, columns=columns) for k in numbers])


def _succession(frames: NDArray) -> float | None:
    """The median correlation of successive frames, of what is sharper than 6 px and wider than a pixel's noise."""
    if len(frames) < _FEWEST_IN_A_ROW:
        return None
    sharp = [(gaussian_filter(part, 1.0) - gaussian_filter(part, 6.0)).ravel() for part in frames.astype(np.float64)]
    spread = [max(float(np.std(part)), 1e-12) for part in sharp]
    pairs = zip(sharp[:-1], sharp[1:], spread[:-1], spread[1:], strict=True)
    return float(np.median([np.mean((a - a.mean()) * (b - b.mean())) / (s * t) for a, b, s, t in pairs]))


def check_movie(plan: Plan) -> Path:
    """Return the movie of a plan; `ConfigError` where it names none."""
    if not plan.movie:
        raise ConfigError("no movie: colocus reconstruct MOVIE --out RUN")
    return Path(plan.movie)
