"""The seventh step: a few frames first, to see what is found, what is left over, and how long the rest will take."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from experiments.progress import duration
from experiments.reading.fit_readers import spots_of
from experiments.reading.fits import EmitterFitter, unfitted
from experiments.reading.localize import read_frames
from experiments.reading.methods import make_reader
from experiments.reading.readers import describe
from experiments.reading.remarks import remarks
from experiments.reading.spots import SpotTable
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.methods import METHODS, Known
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps.choice import Choice
from experiments.reconstruction.steps.look import Look, read_sample
from experiments.report.plot_style import Figure, hide_axes, new_figure, styled
from localization import Localizations
from optics import Camera
from optics.camera import adu_per_photon, adu_to_photons, variance_adu
from optics.progress import Event, Report, silent
from optics.whole_file import whole_file

FRAME = "frame.npz"
_QUICK_S = 0.25  # a frame: below, the pace is taken from a whole group of frames
_BACKGROUND_SIGMA_PX = 5.0  # over which what is left is smoothed, to tell the background from it
_GROUPS_READ = 64  # frames at most for the pace


@dataclass(frozen=True)
class Trial(Finding):
    """What a few frames gave: rows, precision (median predicted, um), what is left over, and the pace.

    `left_over` is the rms of frame less redrawn molecules less a smooth background, over the noise that camera and
    light make; `seconds_per_frame` is without the compiling, `seconds_left` for all frames.
    """

    frames: tuple[int, ...] = ()
    rows: int = 0
    sigma_xy_um: float | None = None
    sigma_z_um: float | None = None
    left_over: float | None = None
    seconds_compiling: float = 0.0
    seconds_per_frame: float = 0.0
    seconds_left: float = 0.0
    remarks: tuple[str, ...] = ()
    shown: Any = None

    def lines(self) -> list[str]:
        """Say what was found, what is left over and how long the rest takes."""
        n = max(len(self.frames), 1)
        lines = [f"{self.rows} molecules in {len(self.frames)} frames ({self.rows / n:.1f} each)"]
        if self.sigma_xy_um is not None:
            deep = "" if self.sigma_z_um is None else f", {1e3 * self.sigma_z_um:.0f} nm in z"
            lines.append(f"expected precision {1e3 * self.sigma_xy_um:.1f} nm in x and y{deep} (median)")
        if self.left_over is not None:
            lines.append(f"what is left of the frames is {self.left_over:.2f} times the noise")
        lines.append(
            f"{1 / max(self.seconds_per_frame, 1e-9):.3g} frames a second: all of them take about "
            f"{duration(self.seconds_left)}"
        )
        return [*lines, *self.remarks]

    def figure(self) -> Figure | None:
        """Draw a frame, what was found in it, it redrawn, and what is left."""
        if self.shown is None:
            return None
        frame, redrawn, left, x_px, y_px, _ = self.shown
        low, high = np.quantile(frame, [0.01, 0.999])
        with styled():
            drawn = new_figure(8.4, 2.9)
            axes = drawn.subplots(1, 3)
            for place, image, title in zip(
                axes, (frame, redrawn), ("frame, and what was found", "redrawn"), strict=False
            ):
                place.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest")
                place.set_title(title)
                hide_axes(place)
            axes[0].plot(x_px - 0.5, y_px - 0.5, "+", color="#E69F00", ms=4, mew=0.8)
            shown = axes[2].imshow(left, cmap="RdBu_r", vmin=-5, vmax=5, interpolation="nearest")
            axes[2].set_title("left over")
            hide_axes(axes[2])
            drawn.colorbar(shown, ax=axes[2], label="standard deviations", shrink=0.85)
        return drawn

    def write(self, out: Path) -> list[Path]:
        """Write the frame beside its picture, so that it can be drawn with a part of what was found in it."""
        written = super().write(out)
        if self.shown is not None:
            names = ("frame", "redrawn", "left", "x_px", "y_px", "photons")
            arrays: dict[str, Any] = {
                name: np.asarray(value, np.float32) for name, value in zip(names, self.shown, strict=True)
            }
            with whole_file(out / FRAME) as part:
                np.savez_compressed(part, **arrays)
            written.append(out / FRAME)
        return written


def read_trial(
    movie: Path, plan: Plan, seen: Look, camera: Camera, known: Known, choice: Choice, report: Report = silent
) -> Trial:
    """Read a few frames spread over the movie, redraw them from the list, and time it."""
    model, config = METHODS[choice.method].settings(known)
    reader = make_reader(model, config)
    numbers, counts = read_sample(movie, plan, seen, plan.test_frames)
    if reader.context:  # networks that see the neighbours in time are shown none here
        report(Event("note", numbers={"text": "  test frames are read without their neighbours in time"}))
    started = time.perf_counter()
    report(Event("test frame", 0, len(counts)))
    parts = [read_frames(counts[:1], reader, config)]
    compiling = time.perf_counter() - started
    rest = counts[1:] if len(counts) > 1 else counts
    pace = read_frames(rest, reader, config, report=report)
    seconds = (time.perf_counter() - started - compiling) / len(rest)
    if len(counts) > 1:
        parts.append(replace(pace, frame=pace.frame + 1))
    tally = reader.take_tally()
    if seconds < _QUICK_S and seen.n_frames > len(counts):
        _, more = read_sample(movie, plan, seen, min(_GROUPS_READ, max(reader.group, len(counts))))
        read_frames(more, reader, config)  # other shapes are compiled here
        begun = time.perf_counter()
        read_frames(more, reader, config)
        seconds = (time.perf_counter() - begun) / len(more)
    frame = np.concatenate([part.frame for part in parts])
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("x_um", "y_um", "z_um", "photons", "sigma_x_um", "sigma_y_um", "sigma_z_um", "channel")
    }
    spots = spots_known(known)
    xyz = np.stack([columns["x_um"], columns["y_um"], columns["z_um"]], axis=1)
    redrawn = redraw(counts, frame, xyz, columns["photons"], columns["channel"], spots, camera)
    busiest = int(np.argmax(np.bincount(frame, minlength=len(counts)))) if len(frame) else 0
    here = frame == busiest
    return Trial(
        frames=tuple(numbers),
        rows=len(frame),
        sigma_xy_um=_median(np.hypot(columns["sigma_x_um"], columns["sigma_y_um"]) / np.sqrt(2)),
        sigma_z_um=_median(columns["sigma_z_um"]),
        left_over=redrawn.left_over,
        seconds_compiling=compiling,
        seconds_per_frame=seconds,
        seconds_left=seconds * seen.n_frames,
        remarks=tuple(remarks(tally)),
        shown=(
            redrawn.photons[busiest],
            redrawn.expected[busiest],
            redrawn.left[busiest],
            columns["x_um"][here] / known.pixel_um,
            columns["y_um"][here] / known.pixel_um,
            columns["photons"][here],
        ),
    )


def _median(values: NDArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


@dataclass(frozen=True, eq=False)
class Redrawn:
    """Frames (n, H, W): `photons` as recorded, `expected` of a list and a smooth background, and what is `left` in
    standard deviations of the noise; `left_over` its root mean square."""

    photons: NDArray
    expected: NDArray
    left: NDArray
    left_over: float


def spots_known(known: Known) -> list[SpotTable]:
    """Return the images of a molecule of each colour."""
    return [spots_of(describe(Path(path)), known.fit_settings()) for path in known.colours]


def redraw(
    counts: NDArray,
    frame: NDArray,
    xyz_um: NDArray,
    photons: NDArray,
    channel: NDArray,
    spots: Sequence[SpotTable],
    camera: Camera,
) -> Redrawn:
    """Redraw frames (n, H, W) from the rows of a list alone, and compare.

    The list holds no background: it is what is left, smoothed over 5 px, which takes 1 / (4 pi 25) of the noise along.
    Spots without depth are drawn with the width that was found for all. Where there are several `spots`, `channel` says
    which of them each row is of.
    """
    recorded = np.asarray(adu_to_photons(camera, counts), np.float64)
    theta = np.column_stack([xyz_um, photons, np.zeros(len(photons))])
    if not spots[0].deep:
        theta[:, 2] = 0.0
    light = np.zeros(counts.shape)
    for number, one in enumerate(spots):
        own = channel == number if len(spots) > 1 else np.ones(len(frame), bool)
        light += EmitterFitter(one, camera).draw(unfitted(frame[own], theta[own]), counts.shape)
    ground = np.array([gaussian_filter(part, _BACKGROUND_SIGMA_PX) for part in recorded - light])
    expected = light + ground
    noise = np.sqrt(np.asarray(variance_adu(camera, np.maximum(expected, 0)))) / np.asarray(adu_per_photon(camera))
    left = (recorded - expected) / np.maximum(noise, 1e-6)
    return Redrawn(recorded, expected, left, float(np.sqrt(np.mean(left**2))))


def redraw_list(
    counts: NDArray, locs: Localizations, first_frame: int, spots: Sequence[SpotTable], camera: Camera
) -> Redrawn:
    """Redraw frames (n, H, W), the first of which is `first_frame`, from a list."""
    here = (locs.frame >= first_frame) & (locs.frame < first_frame + len(counts))
    xyz = np.stack([locs.x_um[here], locs.y_um[here], locs.z_um[here]], axis=1)
    return redraw(counts, locs.frame[here] - first_frame, xyz, locs.photons[here], locs.channel[here], spots, camera)
