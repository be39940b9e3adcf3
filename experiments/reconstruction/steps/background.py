"""The third step: the light that is no molecule's, over the field and over time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from experiments.reconstruction.finding import Finding
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps.camera import CameraFound
from experiments.reconstruction.steps.look import Look, read_sample
from experiments.report.plot_style import FIXED_COLOURS, Figure, hide_axes, new_figure, styled

_SMOOTH_PX = 5


@dataclass(frozen=True)
class Background(Finding):
    """Photons of background in a pixel and frame: the median, 5 % and 95 % over the field, first and last frames."""

    median_photons: float = 0.0
    low_photons: float = 0.0
    high_photons: float = 0.0
    first_photons: float = 0.0
    last_photons: float = 0.0
    shown: Any = None

    def lines(self) -> list[str]:
        """Say the background, and what becomes of it."""
        lines = [
            f"{self.median_photons:.3g} photons a pixel and frame, {self.low_photons:.3g} to {self.high_photons:.3g} "
            f"over the field, {self.first_photons:.3g} in the first frames and {self.last_photons:.3g} in the last",
            "nothing is subtracted: every fit takes the background of its own frame along, and the noise stays right",
        ]
        if self.low_photons < 0:
            lines.append("below zero in places: the camera's offset is too large, or a background was taken off before")
        return lines

    def figure(self) -> Figure | None:
        """Draw the median over time, and the level of each frame."""
        if self.shown is None:
            return None
        level, numbers, course = self.shown
        with styled():
            drawn = new_figure(6.4, 2.6)
            picture, curve = drawn.subplots(1, 2)
            image = picture.imshow(level, cmap="viridis", interpolation="nearest")
            picture.set_title("median over time")
            hide_axes(picture)
            drawn.colorbar(image, ax=picture, label="photons")
            curve.plot(numbers, course, ".-", color=FIXED_COLOURS[0])
            curve.set(xlabel="frame", ylabel="photons a pixel", title="median of each frame")
        return drawn


def find_background(movie: Path, plan: Plan, seen: Look, camera: CameraFound) -> Background:
    """Measure the background of a movie in photons: per pixel the median over time, per frame that over the field."""
    numbers, counts = read_sample(movie, plan, seen)
    photons = (counts.astype(np.float64) - camera.offset_adu) / camera.gain_adu_per_photon
    level = uniform_filter(np.median(photons, axis=0), _SMOOTH_PX)
    course = np.median(photons, axis=(1, 2))
    few = max(1, len(course) // 10)
    low, middle, high = (float(value) for value in np.quantile(level, [0.05, 0.5, 0.95]))
    first, last = float(np.mean(course[:few])), float(np.mean(course[-few:]))
    return Background(middle, low, high, first, last, (level, numbers, course))
