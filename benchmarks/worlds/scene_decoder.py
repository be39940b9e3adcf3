"""One small list decoder: trained on any source of frames, judged on frames of the experiment."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import localization
from localization import Localizations
from optics import Camera, Psf, crlb_std_um
from training.build import Parts, build_net
from training.config import RunConfig
from training.decode import decode_images
from training.decoders import maps_to_localizations
from training.evaluate import emitters_to_localizations
from training.step import init_state, make_train_step
from worlds.scene_sources import Draw
from worlds.scene_world import Cell, World, WorldFrames, draw_many, in_photons

TEST_SEED, LEAST_SCORE, RESAMPLES, BATCH = 5_000_003, 0.05, 1000, 20
_BOUNDS, _RIM_UM = 256, 0.8  # emitters with a bound at a time; those nearer to the rim have part of their light


def make_parts(world: World, run: RunConfig, to_mask=None, mask_params: Any = None) -> Parts:
    """The parts of a run whose frames come from a `Draw`: its own scene and background are never drawn."""
    psf = world.psf_believed
    fixed = to_mask or (lambda params: psf.mask)
    nothing: Any = None
    return Parts(run, psf, world.camera, nothing, nothing, build_net(run), mask_params, fixed)


def train(parts: Parts, draw: Draw) -> tuple[Any, dict[str, float]]:
    """The decoder after the run's steps, and how it went; raises `FloatingPointError` where the loss is not finite."""
    state, step = init_state(parts), make_train_step(parts, draw=draw)
    started, losses = time.perf_counter(), []
    for number in range(parts.run.optimiser.steps):
        state, metrics = step(state)
        if number % 50 == 49 or number == parts.run.optimiser.steps - 1:
            losses.append(float(metrics["loss"]))
            if not np.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss is not finite at step {number + 1}; lower learning_rate")
    told = {"seconds": time.perf_counter() - started, "last_loss": float(np.mean(losses[-4:]))}
    return state, told


def decode(parts: Parts, variables: Any, images: jax.Array) -> Localizations:
    """All that the decoder sees in frames (N, H, W), down to a probability of `LEAST_SCORE`."""
    found, n = [], len(images)
    for first in range(0, n, BATCH):
        some = images[jnp.minimum(jnp.arange(first, first + BATCH), n - 1)]
        maps = jax.tree.map(lambda leaf: leaf[: n - first], decode_images(parts.net, variables, some))  # noqa: B023
        found.append(
            maps_to_localizations(
                maps,
                parts.run.microscope.pixel_um,
                first_frame=first,
                threshold=LEAST_SCORE,
                raw_threshold=LEAST_SCORE,
                share_borders=True,
                read_out="peaks",
            )
        )
    return localization.concatenate(found)


@functools.lru_cache(maxsize=40)
def cell_set(world_key: "Key", cell: Cell, n: int) -> tuple[WorldFrames, Localizations, np.ndarray]:
    """Fresh frames of one cell, their true list, and each emitter's bound (um, NaN where it is not alone and whole)."""
    world = world_key.world
    frames = draw_many(TEST_SEED, world, n, cell)
    return frames, emitters_to_localizations(frames.emitters), bounds_um(world, frames)


class Key:
    """A world as a key of a cache: by identity."""

    def __init__(self, world: World):
        self.world = world


@jax.jit
def _bound(psf: Psf, z_um: jax.Array, photons: jax.Array, level: jax.Array, read_e: jax.Array, efficiency: jax.Array):
    def one(args):
        z, light, background, read = args
        own = Camera(jnp.ones(()), jnp.zeros(()), read, efficiency)
        return crlb_std_um(psf, jnp.zeros(3).at[2].set(z), light, background, own)

    return jax.lax.map(one, (z_um, photons, level, read_e), batch_size=8)


def bounds_um(world: World, frames: WorldFrames) -> np.ndarray:
    """Bound (M, 3) of every true emitter with the true PSF, the light around it and the noise where it lies.

    NaN where another emitter is near, or the frame's rim: there the bound of a single whole emitter is not theirs.
    """
    kind = world.kind
    frame, slot = np.nonzero(np.asarray(frames.emitters.valid))
    xyz = np.asarray(frames.emitters.xyz_um, np.float64)[frame, slot]
    light = np.asarray(frames.emitters.photons)[frame, slot]
    side_um, apart_um = kind.frame_px * kind.pixel_um, 1.0 if kind.deep else 0.6
    distance = np.linalg.norm(xyz[:, None, :2] - xyz[None, :, :2], axis=-1)
    distance[frame[:, None] != frame[None]] = np.inf
    np.fill_diagonal(distance, np.inf)
    alone = distance.min(axis=1, initial=np.inf) > apart_um
    whole = np.all((xyz[:, :2] > _RIM_UM) & (xyz[:, :2] < side_um - _RIM_UM), axis=1)
    good = np.flatnonzero(alone & whole)[:_BOUNDS]
    row, column = (np.clip(xyz[:, a] // kind.pixel_um, 0, kind.frame_px - 1).astype(int) for a in (1, 0))
    level = _around(np.asarray(frames.background))[frame, row, column]
    read = np.asarray(frames.camera.read_noise_e)[frame, row, column]
    out = np.full((len(frame), 3), np.nan)
    if good.size:
        pick = good[np.minimum(np.arange(_BOUNDS), good.size - 1)]
        given = (jnp.asarray(a[pick], dtype=float) for a in (xyz[:, 2], light, level, read))
        efficiency = world.camera.quantum_efficiency
        out[good] = np.asarray(_bound(world.psf, *given, efficiency))[: good.size]
    return out


def _around(images: np.ndarray, reach: int = 3) -> np.ndarray:
    """Means of (2 reach + 1)^2 pixels."""
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2, axis=(1, 2))
    return windows.mean(axis=(-1, -2))


def judge(parts: Parts, variables: Any, world_key: Key, cell: Cell, n: int) -> dict[str, Any]:
    """One decoder on one cell: curve and average precision, Jaccard, errors and their ratio to the bound.

    Counts per frame are kept, so that arms can be compared on the same resampled frames.
    """
    world = world_key.world
    frames, truth, bounds = cell_set(world_key, cell, n)
    found = decode(parts, variables, in_photons(world, frames).images)
    gates = world.kind.gates
    curve = localization.precision_recall_curve(found, truth, **gates, n_thresholds=40)
    area = localization.average_precision(curve, rng=0, n=RESAMPLES)
    likely = localization.select(found, found.score >= 0.5)
    half = localization.score(likely, truth, **gates)
    matches = localization.match(likely, truth, **gates)
    errors, of = localization.pair_errors_um(likely, truth, matches), bounds[matches.truth_index]
    known = np.isfinite(of[:, 0])
    axes = 3 if world.kind.deep else 2
    ratio = localization.rmse_over_crlb(errors[known][:, :axes], of[known][:, :axes]) if known.any() else None
    best = int(np.argmax(curve.jaccard)) if curve.jaccard.size else None
    listed = np.union1d(found.frame, truth.frame)

    def every_frame(counts: np.ndarray) -> np.ndarray:
        whole = np.zeros((n, *counts.shape[1:]), np.int64)
        whole[listed] = counts
        return whole

    return {
        "cell": list(cell),
        "hard": cell.hard,
        "average_precision": [area.estimate, area.low, area.high],
        "jaccard": half.jaccard,
        "jaccard_best": None if best is None else float(curve.jaccard[best]),
        "precision": half.precision,
        "recall": half.recall,
        "rmse_xy_nm": _nm(half.rmse_xy_um),
        "rmse_z_nm": _nm(half.rmse_z_um) if world.kind.deep else None,
        "over_bound": None if ratio is None else [round(float(v), 3) for v in ratio.ratio],
        "outlier_share": None if ratio is None else [round(float(v), 4) for v in ratio.outlier_share],
        "n_over_bound": int(known.sum()),
        "n_truth": half.n_truth,
        "curve": {"recall": np.round(curve.recall, 4).tolist(), "precision": np.round(curve.precision, 4).tolist()},
        "frames": {
            "threshold": curve.threshold.tolist(),
            "pairs": every_frame(curve.frame_pairs).tolist(),
            "found": every_frame(curve.frame_found).tolist(),
            "truth": every_frame(curve.frame_truth).tolist(),
        },
    }


def _nm(value_um: float) -> float | None:
    return round(1e3 * value_um, 2) if np.isfinite(value_um) else None
