"""A camera's numbers from its frames: dark and flat ones, or a movie alone; files that the other commands read."""

import dataclasses
import json
import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.report.plot_style import Figure, new_figure, save_png
from localization import (
    CameraCalibration,
    GainEstimate,
    LevelStatistics,
    LocalizationError,
    Movie,
    MovieFacts,
    MovieOptions,
    compare_facts,
    estimate_gain_offset,
    measure_level,
    open_movie,
)
from localization import calibrate_camera as camera_from_levels
from optics import make_camera
from optics.progress import Event, Report, silent
from optics.whole_file import whole_file, write_text
from training import CameraConfig, ConfigError

_MOVIE_PX = 2**25  # samples of a movie that are worth their memory
_MOVIE_FRAMES = 64  # at least, where the frames are large: then their middle is taken
# What data sheets of cameras without multiplication come to: 9.3 counts per electron and 0.27 electrons (qCMOS)
_LARGEST_GAIN, _LEAST_READ_NOISE_E = 20.0, 0.2
_CUT_OFF = 1e-3  # share of a movie's readings on its least or largest value that is told


@dataclass(frozen=True)
class CalibrateConfig:
    """What a camera is measured from: `dark` and `flats`, or a `movie` (with `dark` or `read_noise_e` if known).

    `read_noise_e` (electrons at the output amplifier, as data sheets give it) splits a movie's line into offset and
    read noise. `kind` "emccd" with its `em_gain` takes the doubled noise into account. `quantum_efficiency` is
    written as it is: frames do not tell it, and at 1 photons are photo-electrons. `opening` says how files are opened.
    """

    movie: str = ""
    dark: str = ""
    flats: tuple[str, ...] = ()
    read_noise_e: float | None = None
    kind: Literal["scmos", "emccd"] = "scmos"
    em_gain: float | None = None
    quantum_efficiency: float = 1.0
    opening: MovieOptions = MovieOptions()

    def __post_init__(self):
        if self.flats and not self.dark:
            raise ConfigError("flat frames need dark ones beside them (--dark); a movie alone goes without --flat")
        if self.flats and self.movie:
            raise ConfigError("give a movie, or flats with a dark, not both: flats are the better measurement")
        if not self.flats and not self.movie:
            remedy = "a dark alone tells no gain; add --flat, or a movie" if self.dark else "give --dark and --flat"
            raise ConfigError(f"nothing to measure the gain with: {remedy}")
        if self.read_noise_e is not None and self.dark:
            raise ConfigError("read_noise_e: the dark frames measure it; leave one of them out")
        if self.read_noise_e is not None and not 0 <= self.read_noise_e < math.inf:
            raise ConfigError(f"read_noise_e = {self.read_noise_e:g} must be a number of electrons, 0 or more")
        # what the optics refuse, refused before any frame is read
        make_camera(kind=self.kind, em_gain=self.em_gain, quantum_efficiency=self.quantum_efficiency)

    @property
    def slope_per_gain(self) -> float:
        """Counts^2 per count of light, over the gain of the output amplifier: 1, or 2 em_gain of an EMCCD."""
        return 2.0 * (self.em_gain or 1.0) if self.kind == "emccd" else 1.0


@dataclass(frozen=True, eq=False)
class MeasuredCamera:
    """A camera as measured: what the model needs, standard errors, maps where there are, and the points behind it.

    `errors` names the fields of `camera`. `zero_variance_adu` is where the line meets zero variance. `maps` are
    (H, W) under the names of `optics.make_camera`. `mean_adu`, `variance_adu` (points,) lie on the line of slope
    `slope_adu` through that zero.
    """

    config: CalibrateConfig
    camera: CameraConfig
    errors: dict[str, float | None]
    maps: dict[str, np.ndarray]
    method: str
    slope_adu: float
    zero_variance_adu: float
    mean_adu: np.ndarray
    variance_adu: np.ndarray
    facts: dict[str, Any]
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """Say the measurement: value, standard error, and what to know about them."""
        units = {"gain_adu_per_e": "counts per electron", "offset_adu": "counts", "read_noise_e": "electrons"}
        lines = [f"from {self.method}", f"{'':22}{'value':>12}{'+-':>12}"]
        for name, unit in units.items():
            error = self.errors[name]
            known = "not told" if error is None else f"{error:.2g}"
            lines.append(f"{name:22}{getattr(self.camera, name):12.5g}{known:>12}  {unit}")
        if self.camera.kind == "emccd":
            lines.append(
                f"{'em_gain':22}{self.camera.em_gain:12.5g}{'given':>12}  the gain is that of the output amplifier"
            )
        lines.append(
            f"{'zero of the line':22}{self.zero_variance_adu:12.5g}{'':12}  counts: offset - gain * read_noise_e^2"
        )
        return lines + [f"note: {warning}" for warning in self.warnings]

    def toml(self) -> str:
        """Write the camera as TOML: the keys of [run.camera], with errors and notes in comments."""
        lines = ["# A camera for `--camera`, or to be pasted below [run.camera]; from " + self.method]
        lines += [f"# {warning}" for warning in self.warnings]
        for name, value in dataclasses.asdict(self.camera).items():
            if value is None:
                continue
            error = self.errors.get(name)
            lines.append(f"{name} = {json.dumps(value)}" + (f"  # +- {error:.2g}" if error is not None else ""))
        return "\n".join(lines) + "\n"

    def numbers(self) -> dict[str, Any]:
        """List the camera, its standard errors, the line's points and the warnings."""
        return {
            "camera": dataclasses.asdict(self.camera),
            "standard_errors": self.errors,
            "method": self.method,
            "slope_adu": self.slope_adu,
            "zero_variance_adu": self.zero_variance_adu,
            "mean_adu": self.mean_adu.tolist(),
            "variance_adu": self.variance_adu.tolist(),
            **self.facts,
            "warnings": list(self.warnings),
        }

    def figure(self) -> Figure:
        """Draw noise against level with the line through it."""
        drawn = new_figure(4.6, 3.4)
        axes = drawn.add_subplot()
        reach = np.array([self.zero_variance_adu, float(np.max(self.mean_adu))])
        axes.plot(reach, self.slope_adu * (reach - reach[0]), color="#0072B2", zorder=1)
        axes.scatter(self.mean_adu, self.variance_adu, s=14, color="#D55E00", zorder=2)
        axes.axvline(self.camera.offset_adu, color="#7F7F7F", linestyle=":", linewidth=1)
        axes.annotate(
            f"offset {self.camera.offset_adu:.1f}",
            (self.camera.offset_adu, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            va="top",
        )
        axes.set_xlabel("mean level (counts)")
        axes.set_ylabel("variance over time (counts²)")
        axes.set_title(f"gain {self.camera.gain_adu_per_e:.4g} counts per electron", fontsize=9)
        axes.grid(True, color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        return drawn

    def write(self, out: Path) -> list[Path]:
        """Write camera.toml, camera.json, camera.png, config.json, and camera.npz where there are maps."""
        write_text(out / "config.json", json.dumps(dataclasses.asdict(self.config), indent=2) + "\n")
        write_text(out / "camera.json", json.dumps(self.numbers(), indent=2) + "\n")
        written = [out / "camera.toml", out / "camera.json", out / "camera.png"]
        if self.maps:
            arrays = {name: np.asarray(v) for name, v in dataclasses.asdict(self.camera).items() if v is not None}
            arrays |= {name: values.astype(np.float32) for name, values in self.maps.items()}
            with whole_file(out / "camera.npz") as part:
                np.savez_compressed(part, **arrays)  # pyright: ignore[reportArgumentType]
            written.append(out / "camera.npz")
        save_png(self.figure(), out / "camera.png")
        # last, as the one that other commands take: where it is, the rest is
        write_text(out / "camera.toml", self.toml())
        return written


def calibrate_camera(config: CalibrateConfig, report: Report = silent) -> MeasuredCamera:
    """Measure a camera's offset, gain and read noise from dark and flat frames, or from a movie.

    Raises `LocalizationError` for frames that cannot tell, `ConfigError` for settings that make no sense.

    >>> calibrate_camera(CalibrateConfig(movie="no-such.tif"))
    Traceback (most recent call last):
    localization.types.LocalizationError: no-such.tif: no such file or folder; check the name
    """
    with ExitStack() as stack:
        # all are opened first, so that a wrong name is told before the first is read
        def opening(name: str) -> Movie:
            return stack.enter_context(open_movie(name, **config.opening.given()))

        opened = {name: opening(name) for name in (config.dark, *config.flats) if name}
        movie = opening(config.movie) if config.movie else None

        def level(name: str, dark: LevelStatistics | None = None) -> LevelStatistics:
            def read(done: int, total: int) -> None:
                report(Event(f"{Path(name).name}: frame", done, total))

            return measure_level(opened[name], dark, report=read)

        dark = level(config.dark) if config.dark else None
        if movie is None:
            assert dark is not None  # CalibrateConfig refuses flats without one
            found = camera_from_levels(dark, [level(name, dark) for name in config.flats])
            return _noted(_questioned(_from_flats(config, found, dark), dark.step_adu), opened)
        counts = _middle_of(movie)
        report(Event(f"{Path(config.movie).name}: frame", len(counts), len(counts)))
        read_noise = (config.read_noise_e or 0.0) / config.slope_per_gain
        found = estimate_gain_offset(counts, read_noise_e=read_noise)
        measured = _questioned(_from_movie(config, movie, counts, found, dark), found.step_adu)
        differ = [
            line for name, opened_dark in opened.items()
            for line in compare_facts(opened_dark.facts, _lit(movie), of=Path(config.movie).name, says=Path(name).name)
        ]  # fmt: skip
        measured = dataclasses.replace(measured, warnings=(*differ, *measured.warnings))
        return _noted(measured, opened | {config.movie: movie})


def _lit(movie: Movie) -> MovieFacts:
    """Return what a dark must share with a movie: how long a frame collects, for dark current grows with it."""
    return MovieFacts(exposure_s=movie.facts.exposure_s)


def _noted(measured: MeasuredCamera, opened: dict[str, Movie]) -> MeasuredCamera:
    """Put what is unusual about the files before the warnings."""
    notes = [f"{Path(name).name}: {note}" for name, movie in opened.items() for note in movie.notes]
    return dataclasses.replace(measured, warnings=(*notes, *measured.warnings))


def _questioned(measured: MeasuredCamera, step_adu: float) -> MeasuredCamera:
    """Ask for the multiplication where gain or read noise are those of no camera without it."""
    camera = measured.camera
    told = measured.errors["read_noise_e"] is not None
    if camera.kind == "emccd" or not (
        camera.gain_adu_per_e > _LARGEST_GAIN * max(step_adu, 1.0)
        or (told and camera.read_noise_e < _LEAST_READ_NOISE_E)
    ):
        return measured
    noise = f" and a read noise of {camera.read_noise_e:.2g} e" if told else ""
    question = (
        f"a gain of {camera.gain_adu_per_e:.4g} counts per electron{noise} is that of no camera without "
        "multiplication: if it is an EMCCD, add --em-gain with its setting, such as --em-gain 300"
    )
    return dataclasses.replace(measured, warnings=(question, *measured.warnings))


def _middle_of(movie: Movie) -> np.ndarray:
    """Read as many successive frames from the middle of a movie, or of their middle, as memory should hold."""
    n, height, width = movie.shape
    side = int(math.sqrt(_MOVIE_PX / _MOVIE_FRAMES))
    rows, columns = (slice(max(0, (size - side) // 2), max(0, (size - side) // 2) + side) for size in (height, width))
    frames = min(n, _MOVIE_PX // (min(height, side) * min(width, side)))
    first = (n - frames) // 2
    parts = [movie.read(k, k + 1)[:, rows, columns] for k in range(first, first + frames)]
    return np.concatenate(parts)


def _from_flats(config: CalibrateConfig, found: CameraCalibration, dark: LevelStatistics) -> MeasuredCamera:
    k = config.slope_per_gain
    maps = {
        "gain_adu_per_e": found.gain_map_adu_per_e / k,
        "offset_adu": found.offset_map_adu,
        "read_noise_e": found.read_noise_map_e * k,
    }
    return MeasuredCamera(
        config=config,
        camera=_camera(config, found.gain_adu_per_e / k, found.offset_adu, found.read_noise_e * k),
        errors={
            "gain_adu_per_e": found.gain_error / k,
            "offset_adu": found.offset_error_adu,
            "read_noise_e": found.read_noise_error_e * k,
        },
        maps=maps,
        method="dark and flat frames",
        slope_adu=found.gain_adu_per_e,
        zero_variance_adu=found.offset_adu - found.gain_adu_per_e * found.read_noise_e**2,
        mean_adu=found.level_mean_adu,
        variance_adu=found.level_variance_adu,
        facts={
            "read_noise_median_e": found.read_noise_median_e * k,
            "gain_error_of_one_pixel": found.map_error,
            "bend_at_the_brightest_level": found.bend,
            "dark_frames": dark.frames,
        },
        warnings=found.warnings,
    )


def _from_movie(
    config: CalibrateConfig, movie: Movie, counts: np.ndarray, found: GainEstimate, dark: LevelStatistics | None
) -> MeasuredCamera:
    k, slope = config.slope_per_gain, found.gain_adu_per_photon
    gain, zero = slope / k, found.zero_variance_adu
    warnings = _movie_doubts(movie, counts, found)
    errors: dict[str, float | None] = {"gain_adu_per_e": found.gain_error / k, "offset_adu": found.offset_error_adu}
    if dark is not None:
        if dark.share_lowest > 0:
            raise LocalizationError(
                f"{config.dark}: cut off at {dark.lowest_adu:g}; raise the camera's offset, or turn its subtraction off"
            )
        variance = max(float(np.mean(dark.variance_adu)), 0.0)
        offset, read_noise = float(np.mean(dark.mean_adu)), math.sqrt(variance) / gain
        errors |= {"offset_adu": float(np.std(dark.mean_adu) / math.sqrt(dark.mean_adu.size))}
        errors["read_noise_e"] = read_noise * found.gain_error / slope
        foreseen = zero + variance / slope
        if abs(foreseen - offset) > 5 * found.offset_error_adu + 2:
            warnings.append(
                f"the movie's line and the dark's variance foresee an offset of {foreseen:.1f}, the dark has "
                f"{offset:.1f}: other camera settings, or light that the line does not know"
            )
        method = "a movie's mean and variance, with dark frames"
    elif config.read_noise_e is not None:
        offset, read_noise = found.offset_adu, config.read_noise_e
        errors["read_noise_e"] = None
        method = "a movie's mean and variance, with the read noise given"
    else:
        offset, read_noise = zero, 0.0
        errors["read_noise_e"] = None
        warnings.append(
            "a movie alone does not tell read noise from offset: read_noise_e = 0 goes with an offset that is "
            f"gain * read_noise_e^2 too low (at 1.5 e: {offset + gain * 1.5**2 / k:.1f} instead of {offset:.1f}). "
            "Fits come out alike, but for a background higher by read_noise_e^2; give --read-noise-e or --dark for both"
        )
        method = "a movie's mean and variance"
    return MeasuredCamera(
        config=config,
        camera=_camera(config, gain, offset, read_noise),
        errors=errors,
        maps={},
        method=method,
        slope_adu=slope,
        zero_variance_adu=zero,
        mean_adu=found.mean_adu,
        variance_adu=found.variance_adu,
        facts={"frames": len(counts), "rows_and_columns": list(counts.shape[1:]), "share_of_samples_kept": found.kept},
        warnings=tuple(warnings),
    )


def _movie_doubts(movie: Movie, counts: np.ndarray, found: GainEstimate) -> list[str]:
    doubts = []
    low, high = counts.min(), counts.max()
    for value, word in ((low, "least"), (high, "largest")):
        share = float(np.mean(counts == value))
        if share > _CUT_OFF:
            doubts.append(
                f"{100 * share:.1f} % of the readings lie on the {word} value, {value:g}: cut off there, or saturated; "
                "the numbers are then wrong"
            )
    noise = math.sqrt(max(float(np.min(found.variance_adu)), 0.0))
    if found.step_adu > 0 and noise < found.step_adu:
        bits = " (an 8-bit movie)" if movie.dtype.itemsize == 1 else ""
        doubts.append(
            f"the noise, {noise:.2g}, is finer than a step of {found.step_adu:g}{bits}; the numbers are rough"
        )
    if found.kept < 0.5:
        doubts.append(f"molecules switch in {100 * (1 - found.kept):.0f} % of the samples; take a sparser movie")
    return doubts


def _camera(config: CalibrateConfig, gain: float, offset: float, read_noise: float) -> CameraConfig:
    return CameraConfig(
        kind=config.kind,
        gain_adu_per_e=float(gain),
        offset_adu=float(offset),
        read_noise_e=float(read_noise),
        quantum_efficiency=config.quantum_efficiency,
        em_gain=config.em_gain,
    )
