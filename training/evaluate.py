"""Test scenes, and the lists that a trained decoder makes of them."""

import jax
import jax.numpy as jnp
import numpy as np

import localization
from localization import Localizations, make_localizations
from optics import make_wings
from optics.types import Emitters
from training.build import Parts, wing_plan
from training.colours import run_shares
from training.config import SceneConfig
from training.decode import make_decoder, read_output
from training.instrument import build_background
from training.scenes import Frames, frame_keys, make_scene, simulate
from training.state import TrainState
from training.trained import learned_psf


def emitters_to_localizations(emitters: Emitters, *, first_frame: int = 0) -> Localizations:
    """Return the true list of a batch of frames; leaves of `emitters` are (B, N, ...)."""
    frame, slot = np.nonzero(np.asarray(emitters.valid))
    xyz = np.asarray(emitters.xyz_um, dtype=np.float64)[frame, slot]
    photons = np.asarray(emitters.photons)[frame, slot]
    channel = 0 if emitters.channel is None else np.asarray(emitters.channel)[frame, slot]
    return make_localizations(first_frame + frame, *xyz.T, photons=photons, channel=channel)


# one compiled program, whatever the mask or the scene's ranges
_simulate = jax.jit(simulate, static_argnames=("differentiable", "chunk"))
_wings = jax.jit(make_wings, static_argnames=("plan", "shape"))


def scored_frames(
    parts: Parts,
    state: TrainState | None,
    scene: SceneConfig,
    seed: int,
    n_frames: int,
    *,
    capacity: int = 0,
    batch: int = 16,
) -> Frames:
    """Draw `n_frames` frames of `scene` as the run's microscope, with its learned mask, sees them.

    A run whose mask is not learned needs no `state`.

    The same `seed` draws the same emitters for every run, so that comparisons are paired. Scenes drawn
    with one `capacity` share one compiled program.
    """
    psf = learned_psf(parts, state)
    plan = wing_plan(parts.run, psf, scene, scored=True)
    n_shown, shares = parts.run.decoder.frames, run_shares(parts.run)
    ranges = make_scene(scene, parts.run.microscope.pixel_um, capacity, n_shown, plan, shares)
    shape = (scene.frame_px, scene.frame_px)
    wings = None if plan is None else _wings(psf, plan, shape)
    background, seen = build_background(scene), parts.looks(psf)
    key = jax.random.key(seed)
    pieces = [
        _simulate(frame_keys(key, first, batch), seen, ranges, background, parts.camera, field=parts.field, wings=wings)
        for first in range(0, n_frames, batch)
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:n_frames], *pieces)


def evaluate(
    parts: Parts,
    state: TrainState,
    scene: SceneConfig,
    *,
    seed: int = 1_000_003,
    n_frames: int = 60,
    threshold: float | None = None,
    capacity: int = 0,
    batch: int = 16,
    share_borders: bool = True,
) -> tuple[Localizations, Localizations]:
    """Localize `n_frames` fresh frames of `scene` with a trained run; return (found, truth).

    Score them with `localization.score`. The exact camera noise is used, whatever the training used.
    `threshold` and `share_borders` as in `read_output`.
    """
    frames = scored_frames(parts, state, scene, seed, n_frames, capacity=capacity, batch=batch)
    found = read_frames(parts, state, frames, threshold=threshold, batch=batch, share_borders=share_borders)
    return found, emitters_to_localizations(frames.emitters)


def read_frames(
    parts: Parts,
    state: TrainState,
    frames: Frames,
    *,
    threshold: float | None = None,
    batch: int = 16,
    share_borders: bool = True,
) -> Localizations:
    """Localize frames with a trained run's decoder; `threshold` and `share_borders` as in `read_output`."""
    decode, n_frames, found = make_decoder(parts, state.variables), len(frames.images), []
    for first in range(0, n_frames, batch):
        piece = (frames.images[first : first + batch], frames.origin_px)
        if frames.origin_px is not None:
            piece = (piece[0], frames.origin_px[first : first + batch])
        n = piece[0].shape[0]
        full = jax.tree.map(lambda leaf, n=n: jnp.pad(leaf, ((0, batch - n), *[(0, 0)] * (leaf.ndim - 1))), piece)
        output = jax.tree.map(lambda leaf, n=n: leaf[:n], decode(*full))
        found.append(read_output(parts, output, first_frame=first, threshold=threshold, share_borders=share_borders))
    return localization.concatenate(found)
