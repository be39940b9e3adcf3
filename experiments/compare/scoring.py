"""How an arm is scored: the scenes, who reads their frames, and the numbers of each reading."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import localization
from experiments.compare.config import ExperimentConfig, Reading
from experiments.compare.species import Look, confusion, looks_of, pixel_um, std_um
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader
from experiments.reading.methods import PROPOSING
from experiments.reading.spots import SpotTable, psf_spots
from localization import FrameScores, Gate, Localizations, select
from optics import Psf, photons_to_adu
from optics.colour.species import tabulate_species
from training import ConfigError, Parts
from training.config import SceneConfig
from training.decoders import find_kind
from training.evaluate import emitters_to_localizations, read_frames, scored_frames
from training.scenes import Frames
from training.state import TrainState
from training.trained import learned_psf

GATES = {gate.name: gate for gate in (Gate(), Gate(ball_um=0.1))}
HEADLINE = next(iter(GATES))
RESAMPLES = 1000
_STRAY_ALONE: Literal["even"] = "even"  # of isolated emitters: their bound counts the light of their stamp alone

# of the PSF's table in a joint fit: an error of the image below the noise of 20,000 photons, as `localize`; where
# bright, isolated emitters are held against their bound, below that of 200,000
_TOLERANCE, _FINE = 1e-2, 3e-3

_DROWNED = 1e20  # photons

ReadFrames = Callable[[Frames], Localizations]


def cells(config: ExperimentConfig) -> list[tuple[str, SceneConfig]]:
    """List the scored scenes, each with its name: one per count, one per (photons, background) pair."""
    scene, score = config.run.scene, config.score
    listed = [(f"count {n}", dataclasses.replace(scene, count_min=n, count_max=n)) for n in dict.fromkeys(score.counts)]
    for photons, background in zip(score.pair_photons, score.pair_background, strict=True):
        fixed = _fixed(scene, score.pair_count, photons, background)
        listed.append((f"photons {photons:g} background {background:g}", fixed))
    return listed


def _fixed(scene: SceneConfig, count: int, photons: float, background: float, **more: Any) -> SceneConfig:
    """Fix number and light of a scene's emitters, and its background."""
    kinds = {"photons": "uniform", "background": "uniform"}
    ranges = {"count": count, "photons": photons, "background": background}
    ends = {f"{name}_{end}": value for name, value in ranges.items() for end in ("min", "max")}
    return dataclasses.replace(scene, **kinds, **ends, **more)


def density_per_um2(config: ExperimentConfig, count: int) -> float:
    """Count emitters per um**2 of the area they are drawn in."""
    side = config.run.scene.frame_px * config.run.microscope.pixel_um - 2 * config.run.scene.margin_um
    return count / side**2


@dataclasses.dataclass(frozen=True)
class JointReaders:
    """The readers that fit all emitters of a frame together: of `crowds`, and of emitters `alone`, finer and slower."""

    crowds: JointReader
    alone: JointReader


def joint_readers(parts: Parts, state: TrainState | None, config: ExperimentConfig) -> JointReaders:
    """Make the readers of joint fits: the arm's own PSF, or its species', its camera, what is known of the light."""
    scene = parts.run.scene
    depths = scene.z_min_um, scene.z_max_um
    # what a decoder learns from its training frames: nothing in them is as dim as that
    uniform = scene.photons == "uniform" and not scene.lifetime_frames
    dimmest = min([scene.photons_min, *config.score.pair_photons]) / 2 if uniform else 0.0
    settings = ClassicalConfig(z_min_um=depths[0], z_max_um=depths[1], photons_min=dimmest)
    looks = looks_of(parts.looks(learned_psf(parts, state)))

    def reader(stray: str, tolerance: float) -> JointReader:
        spots, *rivals = (_spots(look, depths, stray, tolerance) for look in looks)
        return JointReader(spots, parts.camera, settings, "joint fits", rivals)

    return JointReaders(reader(scene.stray, _TOLERANCE), reader(_STRAY_ALONE, _FINE))


def _spots(psf: Look, depths_um: tuple[float, float], stray: str, tolerance: float) -> SpotTable:
    if not isinstance(psf, Psf):
        return SpotTable(tabulate_species(psf, depths_um, tolerance=tolerance), float(pixel_um(psf)), deep=True)
    spots = psf_spots(psf, depths_um, tolerance)
    # light that comes back as an even background is not around the stamps
    return dataclasses.replace(spots, psf=None) if stray == "even" else spots


def make_reading(
    reading: Reading,
    parts: Parts,
    state: TrainState | None,
    threshold: float | None,
    joint: JointReaders | None = None,
) -> tuple[ReadFrames, ReadFrames]:
    """Make what reads an arm's frames, and its frames of one emitter; a joint fit needs `joint_readers`.

    Without a `threshold` the decoder's kind says it.
    """
    usual = find_kind(parts.run.decoder.kind).threshold(parts.run) if threshold is None else threshold

    def decoded(share: float, frames: Frames) -> Localizations:
        assert state is not None, "an arm that a decoder reads is trained"
        return read_frames(parts, state, frames, threshold=share * usual)

    def jointly(reader: JointReader, frames: Frames) -> Localizations:
        start = decoded(PROPOSING, frames) if reading == "decoder+joint" else None
        return reader.read(np.asarray(photons_to_adu(parts.camera, frames.middle)), 0, start=start)

    if reading == "decoder":
        return partial(decoded, 1.0), partial(decoded, 1.0)
    assert joint is not None, "a joint fit needs its readers"
    return partial(jointly, joint.crowds), partial(jointly, joint.alone)


def check_reading(config: ExperimentConfig, reading: Reading) -> None:
    """Refuse a joint fit where the PSF differs over the field: it takes one for the frame (`ConfigError`)."""
    if reading != "decoder" and config.run.psf.field:
        raise ConfigError(
            f'score.read: "{reading}" takes one PSF for all frames; with psf.field read by "decoder" alone'
        )


def score_reading(
    parts: Parts, state: TrainState | None, config: ExperimentConfig, read: ReadFrames, alone: ReadFrames
) -> dict[str, Any]:
    """Score one reading of an arm on every cell, at both gates, with bootstrap intervals over frames.

    `alone` reads the frames of one emitter that are held against the bound.
    """
    scored = []
    for name, scene in cells(config):
        frames = draw(parts, state, scene, config, config.score.frames)
        found, truth = asked_for(read(frames), config), emitters_to_localizations(frames.emitters)
        gates = {}
        for gate, options in GATES.items():
            per_frame = localization.score_frames(found, truth, n_frames=config.score.frames, **options)
            intervals = localization.bootstrap(per_frame, rng=config.score.seed, n=RESAMPLES)
            gates[gate] = {
                "score": {metric: interval.estimate for metric, interval in intervals.items()},
                "interval": {metric: [interval.low, interval.high] for metric, interval in intervals.items()},
                "frames": {
                    field.name: getattr(per_frame, field.name).tolist() for field in dataclasses.fields(FrameScores)
                },
            }
        scored.append(
            {
                "name": name,
                "count": scene.count_max,
                "density_per_um2": density_per_um2(config, scene.count_max),
                "photons": [scene.photons_min, scene.photons_max],
                "background": [scene.background_min, scene.background_max],
                "gates": gates,
            }
        )
        if parts.species:
            scored[-1]["confusion"] = confusion(found, truth, len(parts.species), GATES[HEADLINE])
    return {"cells": scored, "single": score_single(parts, state, config, alone)}


def draw(parts: Parts, state: TrainState | None, scene: SceneConfig, config: ExperimentConfig, n_frames: int) -> Frames:
    """Draw the frames of a scored scene, the same for every arm and reading."""
    most = max(*config.score.counts, config.score.pair_count)  # one capacity, one compiled program
    return scored_frames(parts, state, scene, config.score.seed, n_frames, capacity=most)


def asked_for(found: Localizations, config: ExperimentConfig) -> Localizations:
    """Leave out rows at the border of frames that emitters beyond send light into.

    No true emitter stands within `scene.margin_um` of the border, inside or outside: a row nearer to it than half of
    that explains light from beyond, which is right, and is nobody's.
    """
    scene = config.run.scene
    if scene.stray == "even":
        return found
    edge, side = 0.5 * scene.margin_um, scene.frame_px * config.run.microscope.pixel_um
    inside = (np.minimum(found.x_um, found.y_um) >= edge) & (np.maximum(found.x_um, found.y_um) <= side - edge)
    return select(found, inside)


def score_single(parts: Parts, state: TrainState | None, config: ExperimentConfig, read: ReadFrames) -> dict[str, Any]:
    """Compare errors of isolated emitters with their precision bound, in x, y and z, and the share of outliers.

    One emitter a frame at the brightest and the mean background of the training, its light outside the stamp even and
    nothing around it; the bound is that of the emitter's own depth, and of what the frame shows of its image. Only
    emitters found within 250/500 nm count; the share found stands beside.
    """
    scene = config.run.scene
    photons, background = scene.photons_max, 0.5 * (scene.background_min + scene.background_max)
    # on for the whole frame, and alone, as the bound takes it
    alone = _fixed(scene, 1, photons, background, lifetime_frames=0.0, truth_photons_min=0.0, stray=_STRAY_ALONE)
    frames = draw(parts, state, alone, config, config.score.single_frames)
    found, truth = read(frames), emitters_to_localizations(frames.emitters)
    matches = localization.match(found, truth)
    errors = localization.pair_errors_um(found, truth, matches)
    looks = looks_of(parts.looks(learned_psf(parts, state)))
    depths = truth.z_um[matches.truth_index]
    # bounds of all emitters, found or not: the number found would compile anew each time
    places = jnp.asarray(np.column_stack([truth.x_um, truth.y_um, truth.z_um]), dtype=float)
    each = [np.asarray(frame_bounds_um(look, places, photons, background, scene.frame_px)) for look in looks]
    crlb = np.stack(each)[truth.channel, np.arange(truth.channel.size)][matches.truth_index]  # of its own species
    ratio = localization.rmse_over_crlb(errors, crlb)
    return {
        "ratio": ratio.ratio.tolist(),
        "outlier_share": ratio.outlier_share.tolist(),
        "found_share": len(errors) / config.score.single_frames,
        "photons": photons,
        "background": background,
        "z_um": depths.tolist(),
        "error_um": errors.tolist(),
        "crlb_um": crlb.tolist(),
    }


@partial(jax.jit, static_argnames="frame_px")
def frame_bounds_um(psf: Look, xyz_um: jax.Array, photons: float, background: float, frame_px: int) -> jax.Array:
    """Evaluate the bounds (N, 3) in um of emitters at `xyz_um` (N, 3) in a square frame: of pixels in it alone."""
    pixel, side = pixel_um(psf), psf.image_px

    def one(xyz):
        first = jnp.round(xyz[:2] / pixel - side / 2)
        number = first[:, None] + jnp.arange(side)[None]
        column, row = (number >= 0) & (number < frame_px)
        # a pixel beyond the frame tells nothing: as if it drowned in light
        level = jnp.where(row[:, None] & column[None], background, _DROWNED)
        return std_um(psf, xyz.at[:2].add(-(first + side / 2) * pixel), photons, level)

    return jax.lax.map(one, xyz_um, batch_size=16)


@jax.jit
def depth_bounds_um(psf: Look, z_um: jax.Array, photons: float, background: float) -> jax.Array:
    def one(z):
        return std_um(psf, jnp.zeros(3).at[2].set(z), photons, background)

    return jax.lax.map(one, z_um, batch_size=16)
