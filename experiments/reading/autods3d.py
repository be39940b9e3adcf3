"""AutoDS3D's way for one movie: see what it shows, train a decoder on frames drawn so, and read it with that.

Settings, seconds and the decision come before the training (`plan_training`), so that a user may leave it at the joint
fit, which needs none. Published as npj Imaging 2025, doi 10.1038/s44303-025-00123-w.
"""

import dataclasses
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.progress import duration
from experiments.reading.cameras import one_camera, plain_camera
from experiments.reading.localize import localize, read_frames
from experiments.reading.localize_config import LocalizeConfig, Span
from experiments.reading.methods import make_reader
from experiments.reading.pieces.movie_job import LocalizeResult, movie_identity
from experiments.reading.readers import Reading, trained_reader
from localization import LocalizationError, open_movie
from localization.light import SHARES, brightest_photons, darkest_pixel, light_levels
from optics import Camera, Psf, make_camera, psf_image
from optics.camera import adu_per_photon
from optics.progress import Event, Report, silent
from optics.psf_io import load_psf
from optics.whole_file import write_text
from training import ConfigError, RunConfig, Trained, build, fit, from_dict, init_state, make_train_step, to_dict
from training.config import CameraConfig, DecoderConfig, MicroscopeConfig, OptimiserConfig, PsfConfig, SceneConfig
from training.decoders import find_kind

PLAN, RUN, LIST = "plan.json", "training", "localizations.csv"
_WIDER = (0.7, 1.2)  # of the light and background that fits found: training frames go a little further
_PLANE_UM = 0.05  # depth of a voxel, as of the published 81 planes in 4 um
_FRAME_PX = (40, 121)  # the published frames have 121 px
_TIMED_STEPS = 3
_DEPTHS = 9
_FEW_STEPS = 2000
_SEEN_PX = 75  # receptive field of the network
_DILATIONS = (1, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class AutoDs3dConfig:
    """What is looked at, how the light is estimated, and how long is trained.

    `reading` says how the movie is opened, its part, its camera, and by `reading.classical` the depths. `look_frames`
    frames, spread over the movie, are looked at in `rows` and `columns` (first, stop), a sparse region (None: all).
    `estimate` "fits" takes light, background and density from joint fits of those frames; "pixels" takes light and
    noise from the darkest and the brightest pixel, as published. `steps` of `batch` frames are trained, or as many as
    take `minutes`. `planes` and `frame_px` are chosen unless given; `channels` is the network's width.
    """

    reading: LocalizeConfig = LocalizeConfig()
    rows: Span | None = None
    columns: Span | None = None
    look_frames: int = 12
    estimate: Literal["fits", "pixels"] = "fits"
    planes: int | None = None
    frame_px: int | None = None
    channels: int = 64
    steps: int = 10_000
    batch: int = 16
    minutes: float | None = None
    seed: int = 0

    def __post_init__(self):
        for name in ("look_frames", "channels", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"minutes = {self.minutes} must be positive")


@dataclass(frozen=True)
class TrainingPlan:
    """What would be trained, and what it costs: `run`, and seconds of the joint fit of all `frames` against those of
    training and of reading all frames with the decoder. `remarks` say what was seen."""

    run: RunConfig
    frames: int
    joint_s: float
    training_s: float
    reading_s: float
    remarks: tuple[str, ...] = ()

    @property
    def worth_it(self) -> bool:
        """Whether training and reading take less time than the joint fit of all frames."""
        return self.training_s + self.reading_s < self.joint_s

    @property
    def worth_from(self) -> int | None:
        """The number of frames from which on the decoder is faster; None where the joint fit always is."""
        saved = (self.joint_s - self.reading_s) / self.frames
        return math.ceil(self.training_s / saved) if saved > 0 else None

    def lines(self) -> list[str]:
        """Say what was seen, what each way takes, and which is the faster."""
        whole = self.training_s + self.reading_s
        if self.worth_it:
            verdict = f"the decoder is {self.joint_s / whole:.1f} times faster"
        else:
            since = "never be" if self.worth_from is None else f"be from {self.worth_from:,} frames on"
            verdict = f"the joint fit is {whole / self.joint_s:.1f} times faster; the decoder would {since}"
        steps = self.run.optimiser.steps
        few = [f"{steps:,} steps are few for a decoder: the published training takes 10,000"]
        return [
            *self.remarks,
            *(few if steps < _FEW_STEPS else []),
            f"joint fit of all {self.frames:,} frames, no training: about {duration(self.joint_s)}",
            f"training {duration(self.training_s)} ({steps:,} steps), then reading all frames "
            f"{duration(self.reading_s)}",
            verdict,
        ]

    def numbers(self) -> dict[str, Any]:
        """List it, ready for JSON."""
        own = {key: getattr(self, key) for key in ("frames", "joint_s", "training_s", "reading_s")}
        return {**own, "worth_it": self.worth_it, "remarks": list(self.remarks), "run": to_dict(self.run)}


@dataclass(frozen=True)
class AutoDs3dResult:
    """The plan, the trained run's folder and the list."""

    plan: TrainingPlan
    run: Path
    localized: LocalizeResult

    def lines(self) -> list[str]:
        """Say what was planned, and what the list is."""
        return [*self.plan.lines(), *self.localized.lines()]

    def numbers(self) -> dict[str, Any]:
        """List both."""
        return {"plan": self.plan.numbers(), "run": str(self.run), "localized": self.localized.numbers()}


def autods3d(
    movie: Path | str, psf: Path | str, out: Path | str, config: AutoDs3dConfig, report: Report = silent
) -> AutoDs3dResult:
    """Plan, train and read a movie with a decoder of its own; the plan, the run and the list lie in the folder `out`.

    `psf` is a psf.npz of `colocus retrieve`. The plan is reported, as events "note", before the training begins.
    After an interruption the same call goes on. Raises `ConfigError`, `LocalizationError` or `OpticsError`.
    """
    plan, folder = own_decoder(movie, psf, out, config, report)
    reading = replace(config.reading, method="decoder")
    return AutoDs3dResult(plan, folder, localize(movie, folder, Path(out) / LIST, reading, report=report))


def own_decoder(
    movie: Path | str, psf: Path | str, out: Path | str, config: AutoDs3dConfig, report: Report = silent
) -> tuple[TrainingPlan, Path]:
    """Plan and train a movie's decoder in the folder `out`, or go on; returns the plan and the run's folder, a model.

    `report` hears the plan's lines, as events "note", before the training begins. Raises as `autods3d` does.
    """
    out = Path(out)
    with open_movie(movie, **config.reading.opening.given()) as opened:
        identity = json.loads(json.dumps([repr(config), str(psf), movie_identity(opened)]))
    kept = out / PLAN
    if kept.exists():
        plan = _load_plan(kept, identity)
    else:
        plan = plan_training(movie, psf, config, report)
        out.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps({"identity": identity, **plan.numbers()}, indent=1) + "\n")
    for line in plan.lines():
        report(Event("note", numbers={"text": line}))
    return plan, train_planned(plan, out / RUN, report)


def _load_plan(path: Path, identity: Any) -> TrainingPlan:
    values = json.loads(path.read_text())
    if values["identity"] != identity:
        raise ConfigError(f"{path.parent} holds the decoder of another movie, PSF or setting; name another folder")
    own = {field.name: values[field.name] for field in dataclasses.fields(TrainingPlan)}
    return TrainingPlan(**own | {"run": from_dict(RunConfig, own["run"], saved=True), "remarks": tuple(own["remarks"])})


def train_planned(plan: TrainingPlan, folder: Path, report: Report = silent) -> Path:
    """Train what was planned in a folder, or go on; returns the folder, which `localize` takes as its model."""
    fit(plan.run, folder, resume=(folder / "config.json").exists(), report=report)
    return folder


def plan_training(movie: Path | str, psf: Path | str, config: AutoDs3dConfig, report: Report = silent) -> TrainingPlan:
    """Look at a movie, make the settings of a decoder for it, and measure what it and the joint fit would take.

    A few frames are fitted jointly, a few steps of the training are taken, and one frame goes through the network.
    """
    reading = replace(config.reading, method="joint")
    z_range_um = reading.classical.z_range_um(None)
    psf, optics = Path(psf), load_psf(psf)
    camera = one_camera(reading.camera) if reading.camera else None
    camera = camera or plain_camera(reading.gain_adu_per_photon, reading.offset_adu)
    reader = make_reader(psf, reading)  # refuses what is missing, in one line
    camera = camera or make_camera()
    sample = _sample(movie, config, reader.min_frame_px)
    counts, shape = sample.counts, sample.frame_px
    pixel_um = float(optics.microscope.pixel_um)
    whole = replace(reading, frames=None, rows=None, columns=None)
    read_frames(counts[:1], reader, whole)  # compiles
    started = time.perf_counter()
    found = read_frames(counts, reader, whole, report=report)
    share = shape[0] * shape[1] / (counts.shape[1] * counts.shape[2])
    joint_s = (time.perf_counter() - started) / len(counts) * sample.frames * share
    levels = light_levels(found, len(counts), optics.image_px * pixel_um)
    remarks = [
        f"{levels.rows} molecules in {len(counts)} frames ({levels.isolated} alone), {levels.photons[0]:,.0f} to "
        f"{levels.photons[1]:,.0f} photons on {levels.background[0]:.1f} to {levels.background[1]:.1f} a pixel",
        "no background is taken off: the joint fit fits one in each frame, the decoder learns with one",
    ]
    photons = levels.photons[0] * _WIDER[0], levels.photons[1] * _WIDER[1]
    background = levels.background[0] * _WIDER[0], levels.background[1] * _WIDER[1]
    read_noise_e = float(np.mean(np.asarray(camera.read_noise_e)))
    if config.estimate == "pixels":
        photons, background, read_noise_e = pixel_estimates(counts, optics, z_range_um, camera)
        remarks.append(
            f"by the brightest and the darkest pixel: {photons[0]:,.0f} to {photons[1]:,.0f} photons on "
            f"{background[0]:.1f} to {background[1]:.1f} a pixel"
        )
    scene = _scene(config, optics, z_range_um, photons, background, min(shape))
    area = (scene.frame_px * pixel_um - 2 * scene.margin_um) ** 2
    region = counts.shape[1] * counts.shape[2] * pixel_um**2
    scene = replace(scene, count_max=max(2, math.ceil(levels.many_per_frame * area / region)))
    run = _run(config, psf, optics, scene, camera, read_noise_e)
    report(Event("note", numbers={"text": "timing the training"}))
    step_s, frame_s = measure_speed(run, shape)
    if config.minutes is not None:
        steps = max(1, round(60 * config.minutes / step_s))
        run = replace(run, optimiser=replace(run.optimiser, steps=steps))
    return TrainingPlan(
        run, sample.frames, joint_s, step_s * run.optimiser.steps, frame_s * sample.frames, tuple(remarks)
    )


@dataclass(frozen=True, eq=False)
class _Sample:
    """Counts (n, H, W) of a region of some frames; `frames`, `frame_px`: of the part of the movie that is read."""

    counts: NDArray
    frames: int
    frame_px: tuple[int, int]


def _sample(movie: Path | str, config: AutoDs3dConfig, least_px: int) -> _Sample:
    """Read some frames, spread over the part of a movie that is to be read, in the region that is to be looked at."""
    reading = config.reading
    with open_movie(movie, **reading.opening.given(), min_size_px=least_px) as opened:
        spans = (reading.frames, reading.rows, reading.columns)
        (first, stop), *part = (_within(span, size) for span, size in zip(spans, opened.shape, strict=True))
        region = [
            _within(span, size) if span else own
            for span, size, own in zip((config.rows, config.columns), opened.shape[1:], part, strict=True)
        ]
        picked = np.unique(np.linspace(first, stop - 1, config.look_frames).round().astype(int))
        counts = [opened.read(int(k), int(k) + 1, rows=region[0], columns=region[1]) for k in picked]
    height, width = (end - begin for begin, end in part)
    return _Sample(np.concatenate(counts), stop - first, (height, width))


def _within(span: Span | None, size: int) -> tuple[int, int]:
    first, stop = span or (0, None)
    stop = size if stop is None else stop
    if not 0 <= first < stop <= size:
        raise ConfigError(f"{first}:{stop} does not lie in the movie, which has {size} there; count from 0")
    return first, stop


@jax.jit
def _images(psf: Psf, points_um: jax.Array) -> jax.Array:
    return jax.lax.map(lambda point: psf_image(psf, point), points_um)


def pixel_estimates(
    counts: NDArray, psf: Psf, z_range_um: tuple[float, float], camera: Camera
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Estimate photons, background (photons a pixel) and read noise (electrons) of a sparse region, as published.

    Where the published program takes counts for photons, these are converted by the camera.
    """
    points = jnp.asarray(np.column_stack([np.zeros((_DEPTHS, 2)), np.linspace(*z_range_um, _DEPTHS)]), dtype=float)
    peaks = np.asarray(_images(psf, points)).max(axis=(1, 2))
    dark = darkest_pixel(counts)
    gain, offset = (float(np.mean(np.asarray(part))) for part in (adu_per_photon(camera), camera.offset_adu))
    estimate = brightest_photons(counts, peaks, dark) / gain
    level = (dark.mean_adu - offset) / gain
    if not level > 0:
        raise LocalizationError(
            f"the darkest pixel, at {dark.mean_adu:.1f} counts, is not above the camera's offset of {offset:g}; give "
            "the offset of the movie as it is"
        )
    wide = np.array(dark.mean_range_adu) / dark.mean_adu * level
    noise = math.sqrt(max((dark.std_adu / gain) ** 2 - level, 0.0))
    return (SHARES[0] * estimate, SHARES[1] * estimate), (float(wide[0]), float(wide[1])), noise


def _scene(
    config: AutoDs3dConfig,
    psf: Psf,
    z_range_um: tuple[float, float],
    photons: tuple[float, float],
    background: tuple[float, float],
    most_px: int,
) -> SceneConfig:
    low, high = _FRAME_PX
    stamp = _stamp_px(config, psf)
    side = config.frame_px or min(max(2 * stamp, low), high, most_px)
    return SceneConfig(
        frame_px=side,
        z_min_um=z_range_um[0],
        z_max_um=z_range_um[1],
        margin_um=min(stamp // 4, side // 4) * float(psf.microscope.pixel_um),
        photons_min=_plain(photons[0]),
        photons_max=_plain(photons[1]),
        background_min=_plain(max(background[0], 0.0)),
        background_max=_plain(max(background[1], 0.1)),
        stray="drawn",
    )


def _stamp_px(config: AutoDs3dConfig, psf: Psf) -> int:
    """The stamp of training frames, odd: no more than the network sees; light beyond it is drawn as wings."""
    stamp = min(config.reading.classical.stamp_px or psf.image_px, psf.image_px, _SEEN_PX)
    return stamp - 1 + stamp % 2


def _run(
    config: AutoDs3dConfig, path: Path, psf: Psf, scene: SceneConfig, camera: Camera, read_noise_e: float
) -> RunConfig:
    names = [field.name for field in dataclasses.fields(MicroscopeConfig)]
    optics = {name: _plain(getattr(psf.microscope, name)) for name in names}
    if config.reading.classical.focus_um is not None:
        optics["focus_um"] = config.reading.classical.focus_um
    gain = _plain(np.mean(np.asarray(adu_per_photon(camera))))
    planes = config.planes or int(np.clip(round((scene.z_max_um - scene.z_min_um) / _PLANE_UM), 16, 121))
    return RunConfig(
        microscope=MicroscopeConfig(**optics),
        psf=PsfConfig(calibration=str(path.absolute()), kind=psf.kind, stamp_px=_stamp_px(config, psf)),
        scene=scene,
        camera=CameraConfig(
            gain_adu_per_e=gain, offset_adu=_plain(np.mean(np.asarray(camera.offset_adu))), read_noise_e=read_noise_e
        ),
        decoder=DecoderConfig(
            kind="blobs", depth_voxels=planes, scaling=800.0, channels=config.channels, dilations=_DILATIONS
        ),
        optimiser=OptimiserConfig(
            steps=config.steps, batch=config.batch, method="adam", learning_rate=1e-3, log_every=10
        ),
        seed=config.seed,
    )


def _plain(value: Any) -> float:
    """A number in single precision as the shortest decimal that makes it."""
    return float(str(np.float32(np.asarray(value))))


def measure_speed(run: RunConfig, shape: tuple[int, int]) -> tuple[float, float]:
    """Seconds of one step, and of one frame through the network, compiling left out."""
    parts = build(run)
    state, step = init_state(parts), make_train_step(parts)
    seconds = []
    for _ in range(1 + _TIMED_STEPS):  # the first one compiles
        started = time.perf_counter()
        state, metrics = step(state)
        float(metrics["loss"])
        seconds.append(time.perf_counter() - started)
    step_s = float(np.median(seconds[1:]))
    full = find_kind(run.decoder.kind).full_scale(run)
    trained = Trained(run, parts.net, state.variables, parts.camera, state)
    network = trained_reader(trained, Reading(threshold=full))  # nothing is above: the read-out is quick
    dark = np.full((network.group, *shape), run.camera.offset_adu, np.float32)
    network.read(dark, 0)
    started = time.perf_counter()
    network.read(dark, 0)
    return step_s, (time.perf_counter() - started) / len(dark)
