"""The second step: how many counts a photon makes, and how sure that is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from experiments.instrument.calibrate_camera import CalibrateConfig, calibrate_camera
from experiments.reading.cameras import photometry
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps.look import Look, read_sample
from experiments.report.plot_style import Figure
from experiments.settings import load_camera
from localization import LocalizationError
from localization.camera.frame_noise import estimate_frame_noise
from optics import Camera
from optics.progress import Report, silent
from optics.whole_file import write_text

FILE = "camera.toml"
_LOOSE = 0.2  # relative error of a gain from which on it is called doubtful


@dataclass(frozen=True)
class CameraFound(Finding):
    """Counts per photon and counts without light, where they come from and how sure they are.

    `file` is a camera's own file, where one was given; else camera.toml in the step's folder holds these numbers.
    """

    gain_adu_per_photon: float = 1.0
    offset_adu: float = 0.0
    read_noise_e: float = 0.0
    gain_error: float | None = None
    offset_error_adu: float | None = None
    source: str = ""
    sure: Literal["given", "measured", "doubtful", "guessed"] = "given"
    file: str = ""
    notes: tuple[str, ...] = ()
    shown: Any = None

    def lines(self) -> list[str]:
        """Say gain, offset, and how sure they are."""
        errors = [f" +- {error:.2g}" if error is not None else "" for error in (self.gain_error, self.offset_error_adu)]
        return [
            f"{self.gain_adu_per_photon:.4g}{errors[0]} counts per photon, {self.offset_adu:.4g}{errors[1]} counts "
            f"without light: {self.sure}, {self.source}",
            *self.notes,
        ]

    def figure(self) -> Figure | None:
        """Draw noise against level, where it was measured."""
        return None if self.shown is None else self.shown.figure()

    def write(self, out: Path) -> list[Path]:
        """Write camera.toml beside what every step writes."""
        if not self.file:
            lines = [f"# {self.sure}: {self.source}", f"gain_adu_per_e = {self.gain_adu_per_photon!r}",
                     f"offset_adu = {self.offset_adu!r}", f"read_noise_e = {self.read_noise_e!r}"]  # fmt: skip
            write_text(out / FILE, "\n".join(lines) + "\n")
        return super().write(out)

    def load(self, folder: Path) -> Camera:
        """Load the camera that the step in `folder` found."""
        return load_camera(self.path(folder))

    def path(self, folder: Path) -> str:
        """Name the file of the camera."""
        return self.file or str(folder / FILE)


def find_camera(movie: Path, plan: Plan, seen: Look, report: Report = silent) -> CameraFound:
    """Find the camera of a movie: as the plan gives it, else from the movie's own noise, else guessed, and said so.

    A movie of eight frames or more tells by the differences of successive ones, a shorter one by the noise within
    frames; where noise does not grow with the level, one count is taken for a photon and the offset so that the
    background has the noise it shows.
    """
    given = plan.camera
    if given.file:
        camera = load_camera(given.file)
        gain, offset = photometry(camera) if np.ndim(camera.gain_adu_per_e) == 0 else _of_maps(camera)
        noise = float(np.median(np.asarray(camera.read_noise_e)))
        return CameraFound(gain, offset, noise, source=f"from {given.file}", file=str(Path(given.file).absolute()))
    noise = given.read_noise_e or 0.0
    if given.gain_adu_per_photon is not None and given.offset_adu is not None:
        return CameraFound(given.gain_adu_per_photon, given.offset_adu, noise, source="from the plan")
    doubts = _doubts(seen)
    why = "fewer than 8 frames"
    if seen.n_frames >= 8:
        try:
            measured = calibrate_camera(
                CalibrateConfig(str(movie), read_noise_e=given.read_noise_e, opening=plan.opening.options()), report
            )
        except LocalizationError as error:
            why = str(error).split(";")[0]
        else:
            camera, errors = measured.camera, measured.errors
            gain_error = errors["gain_adu_per_e"]
            loose = gain_error is not None and gain_error > _LOOSE * camera.gain_adu_per_e
            if camera.offset_adu < 0 and not seen.floor_at_zero:
                doubts = (*doubts, "an offset below zero: a background was taken off, and the gain may be too large")
            if camera.offset_adu < seen.median_adu:
                return CameraFound(
                    camera.gain_adu_per_e,
                    camera.offset_adu,
                    noise,
                    gain_error,
                    errors["offset_adu"],
                    "from how the noise of successive frames grows with the level",
                    "doubtful" if doubts or loose else "measured",
                    notes=(*doubts, *measured.warnings),
                    shown=measured,
                )
            why = f"the offset came out at {camera.offset_adu:.4g}, above the background"
    _, counts = read_sample(movie, plan, seen, 8)
    variance = _noise_variance(counts)
    try:
        within = estimate_frame_noise(counts) if variance > 0 else None
    except LocalizationError as error:
        within, why = None, str(error).split(";")[0]
    if within is not None and within.offset_adu < seen.median_adu:
        return CameraFound(
            within.gain_adu_per_photon,
            within.offset_adu,
            noise,
            within.gain_error,
            None,
            "from the noise within frames, good to 10 to 30 %",
            "doubtful",
            notes=(*doubts, why),
        )
    return CameraFound(
        1.0,
        seen.median_adu - max(variance, 1e-3),
        noise,
        source="one count taken for a photon, and the offset that gives the background its noise",
        sure="guessed",
        notes=(*doubts, why, "photons and precision are in arbitrary units until camera.gain_adu_per_photon is given"),
    )


def _doubts(seen: Look) -> tuple[str, ...]:
    doubts = []
    if seen.floor_at_zero:
        doubts.append("a background was taken off: the gain may come out too large (give that of the raw movie)")
    if seen.eight_bit:
        doubts.append("8-bit frames: rounding and compression change the noise that the gain is read off")
    if seen.saturated_at_adu is not None:
        doubts.append("saturated pixels have no noise: the bright end of the line is left out")
    return tuple(doubts[:2] if seen.saturated_share < 1e-3 else doubts)


def _of_maps(camera: Camera) -> tuple[float, float]:
    gain = np.asarray(camera.gain_adu_per_e) * np.asarray(camera.quantum_efficiency)
    return float(np.median(gain)), float(np.median(np.asarray(camera.offset_adu)))


def _noise_variance(counts: NDArray) -> float:
    """The variance of single pixels, by the median square of the second difference along both axes."""
    stencil = np.array([1.0, -2.0, 1.0])
    sharp = correlate1d(correlate1d(counts.astype(np.float64), stencil, axis=1), stencil, axis=2) / 6.0
    return float(np.median(sharp**2) / 0.4549364)
