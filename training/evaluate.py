"""From decoder outputs to localization lists, and the test scenes that score them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import localization
import nets
from localization import Localizations, make_localizations
from nets import ListMaps
from optics.pytree import replace
from optics.types import Emitters
from training.build import Parts, build_background
from training.config import SceneConfig
from training.scenes import Frames, frame_keys, make_scene, simulate
from training.state import TrainState


def maps_to_localizations(
    maps: ListMaps,
    pixel_um: float,
    *,
    first_frame: int = 0,
    threshold: float = 0.5,
    raw_threshold: float = 0.1,
) -> Localizations:
    """Read the list out of a list decoder's maps (B, H, W); frame numbers count from `first_frame`."""
    probability = np.asarray(jax.nn.sigmoid(maps.logit), dtype=np.float64)
    b, i, j, score = localization.list_peaks(probability, raw_threshold=raw_threshold, threshold=threshold)
    offset, sigma = np.asarray(maps.offset_um)[b, i, j], np.asarray(maps.sigma)[b, i, j]
    return make_localizations(
        first_frame + b,
        (j + 0.5) * pixel_um + offset[:, 0],
        (i + 0.5) * pixel_um + offset[:, 1],
        np.asarray(maps.z_um)[b, i, j],
        photons=np.asarray(maps.photons)[b, i, j],
        background=np.asarray(maps.background)[b, i, j],
        sigma_x_um=sigma[:, 0],
        sigma_y_um=sigma[:, 1],
        sigma_z_um=sigma[:, 2],
        score=score,
    )


def emitters_to_localizations(emitters: Emitters, *, first_frame: int = 0) -> Localizations:
    """The true list of a batch of frames; leaves of `emitters` are (B, N, ...)."""
    frame, slot = np.nonzero(np.asarray(emitters.valid))
    xyz = np.asarray(emitters.xyz_um, dtype=np.float64)[frame, slot]
    photons = np.asarray(emitters.photons)[frame, slot]
    return make_localizations(first_frame + frame, *xyz.T, photons=photons)


# one compiled program each, whatever the mask, the scene's ranges or the weights
_simulate = jax.jit(simulate, static_argnames=("differentiable", "chunk"))
_apply = jax.jit(
    lambda net, variables, images: nets.apply(net, variables, images[..., None], train=False)[0],
    static_argnums=0,
)


def make_decoder(parts: Parts, variables: nets.Variables) -> Callable[[jax.Array], ListMaps]:
    """A function from frames (B, H, W) in photons to the decoder's output, compiled for each shape once."""
    return lambda images: _apply(parts.net, variables, images)


def test_frames(
    parts: Parts,
    state: TrainState,
    scene: SceneConfig,
    seed: int,
    n_frames: int,
    *,
    capacity: int = 0,
    batch: int = 16,
) -> Frames:
    """`n_frames` frames of `scene` as the run's microscope, with its learned mask, sees them.

    The same `seed` draws the same emitters for every run, so that comparisons are paired. Scenes drawn
    with one `capacity` share one compiled program.
    """
    psf = replace(parts.psf, mask=parts.to_mask(state.mask_params)) if parts.run.learn else parts.psf
    ranges, background = make_scene(scene, parts.run.microscope.pixel_um, capacity), build_background(scene)
    key = jax.random.key(seed)
    pieces = [
        _simulate(frame_keys(key, first, batch), psf, ranges, background, parts.camera)
        for first in range(0, n_frames, batch)
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:n_frames], *pieces)


test_frames.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  (not a test for pytest to collect)


def evaluate(
    parts: Parts,
    state: TrainState,
    scene: SceneConfig,
    *,
    seed: int = 1_000_003,
    n_frames: int = 60,
    threshold: float = 0.5,
    capacity: int = 0,
    batch: int = 16,
) -> tuple[Localizations, Localizations]:
    """Localize `n_frames` fresh frames of `scene` with a trained run; return (found, truth).

    Score them with `localization.score`. The exact camera noise is used, whatever the training used.
    """
    frames = test_frames(parts, state, scene, seed, n_frames, capacity=capacity, batch=batch)
    decode = make_decoder(parts, state.variables)
    found = []
    for first in range(0, n_frames, batch):
        images = frames.images[first : first + batch]
        short = batch - images.shape[0]
        maps = decode(jnp.pad(images, ((0, short), (0, 0), (0, 0))))
        maps = jax.tree.map(lambda leaf, n=images.shape[0]: leaf[:n], maps)
        found.append(
            maps_to_localizations(maps, float(parts.psf.microscope.pixel_um), first_frame=first, threshold=threshold)
        )
    return localization.concatenate(found), emitters_to_localizations(frames.emitters)
