"""From frames through a trained decoder to localization lists, or to a picture."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

import localization
import nets
from localization import Localizations, make_localizations
from nets import DeepStormConfig, ListMaps
from training.build import Parts
from training.losses import GAIN, HEAT

_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def maps_to_localizations(
    maps: ListMaps,
    pixel_um: float,
    *,
    first_frame: int = 0,
    threshold: float = 0.5,
    raw_threshold: float = 0.1,
    share_borders: bool = True,
) -> Localizations:
    """Read the list out of a list decoder's maps (B, H, W); frame numbers count from `first_frame`.

    An emitter near a pixel's border is described by two pixels, each with its share of the probability. With
    `share_borders` its position is the mean of the mixture of both, and sigma that mixture's: see `mixture_means`.
    Without, it is what the larger one says alone: errors of single emitters are 2 to 8 % larger then
    (benchmarks/single_emitters.py).
    """
    probability = np.asarray(jax.nn.sigmoid(maps.logit), dtype=np.float64)
    b, i, j, score = localization.list_peaks(probability, raw_threshold=raw_threshold, threshold=threshold)
    if share_borders:
        mean, sigma = mixture_means(maps, probability, (b, i, j), pixel_um)
    else:
        mean, sigma = _means(maps, (b, i, j), pixel_um), np.asarray(maps.sigma)[b, i, j]
    return make_localizations(
        first_frame + b,
        mean[:, 0],
        mean[:, 1],
        mean[:, 2],
        photons=mean[:, 3],
        background=np.asarray(maps.background)[b, i, j],
        sigma_x_um=sigma[:, 0],
        sigma_y_um=sigma[:, 1],
        sigma_z_um=sigma[:, 2],
        score=score,
    )


def _means(maps: ListMaps, at: tuple[NDArray, ...], pixel_um: float) -> NDArray:
    """(x, y, z, photons) that the pixels `at` (b, i, j) claim, in frame coordinates: (P, 4)."""
    _, i, j = at
    offset = np.asarray(maps.offset_um)[at]
    x, y = (j + 0.5) * pixel_um + offset[:, 0], (i + 0.5) * pixel_um + offset[:, 1]
    return np.stack([x, y, np.asarray(maps.z_um)[at], np.asarray(maps.photons)[at]], axis=1)


def mixture_means(
    maps: ListMaps, probability: NDArray, picks: tuple[NDArray, ...], pixel_um: float, gate: float = 3.0
) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation (P, 4) of (x, y, z, photons) at each pick, with what its neighbours say of it.

    The loss lets the pixels beside an emitter share it: their normal laws, weighted by probability, are one law,
    whose mean is the best estimate. A neighbour of the 4 takes part unless it is a pick of its own, claims a
    position further than `gate` sigmas from the pick's: it speaks of another emitter, then.
    """
    b, i, j = picks
    own, sigma = _means(maps, picks, pixel_um), np.asarray(maps.sigma, np.float64)[picks]
    weight = probability[picks]
    taken = np.zeros(probability.shape, bool)
    taken[picks] = True
    total, first, second = weight.copy(), weight[:, None] * own, weight[:, None] * sigma**2
    spread = np.zeros_like(own)
    height, width = probability.shape[1:]
    for di, dj in _NEIGHBOURS:
        row, column = np.clip(i + di, 0, height - 1), np.clip(j + dj, 0, width - 1)
        at = (b, row, column)
        theirs, their_sigma = _means(maps, at, pixel_um), np.asarray(maps.sigma, np.float64)[at]
        far = np.abs(theirs - own) > gate * np.maximum(sigma, their_sigma)
        share = np.where(taken[at] | far[:, :3].any(axis=1), 0.0, probability[at])
        total += share
        first += share[:, None] * theirs
        second += share[:, None] * their_sigma**2
        spread += share[:, None] * (theirs - own) ** 2
    mean = first / total[:, None]
    variance = (second + spread) / total[:, None] - (mean - own) ** 2
    return mean, np.sqrt(np.maximum(variance, 0.0))


_apply = jax.jit(lambda net, variables, x: nets.apply(net, variables, x, train=False)[0], static_argnums=0)


def decode_images(net: Any, variables: nets.Variables, images: jax.Array, origin_px: ArrayLike | None = None) -> Any:
    """The output of a trained network for images as `nets.network_input` takes them, compiled for each shape once.

    `ListMaps`, a volume, or of Deep-STORM a density (B, u H, u W) in emitters per fine pixel, cut at 0.
    """
    output = _apply(net, variables, nets.network_input(net, images, origin_px))
    return jnp.maximum(output, 0.0) * (GAIN / HEAT) if isinstance(net, DeepStormConfig) else output


def decode_frames(net: Any, variables: nets.Variables, movie: jax.Array, origin_px: ArrayLike | None = None) -> Any:
    """The output for n consecutive frames in photons: `movie` (n, H, W), or (n + 2, H, W) for a decoder of three.

    The first and last of n + 2 frames are neighbours only; at the ends of a movie repeat its end frames.
    `origin_px` (2,), column and row of the first pixel in the camera's field.

    >>> net = nets.ListNetConfig(frames=3, channels=8, head_channels=8, dilations=(1,))
    >>> variables = nets.init(jax.random.key(0), net, jnp.zeros((1, 8, 8, 3)))
    >>> decode_frames(net, variables, jnp.zeros((6, 8, 8))).logit.shape
    (4, 8, 8)
    """
    return decode_images(net, variables, nets.with_neighbours(net, movie), origin_px)


def make_decoder(parts: Parts, variables: nets.Variables) -> Callable[..., Any]:
    """A function from `Frames.images` (and `Frames.origin_px`) to the decoder's output."""
    return lambda images, origin_px=None: decode_images(parts.net, variables, images, origin_px)


def density_image(net: DeepStormConfig, variables: nets.Variables, batches: Iterable[jax.Array]) -> NDArray[np.float64]:
    """Deep-STORM's picture of a movie: the densities of all frames summed, (u H, u W) emitters per fine pixel.

    `batches` yields frames (n, H, W) in photons, of one size; `localization` renders lists, this needs none.
    Raises `ValueError` where there is no frame.
    """
    total: NDArray[np.float64] | None = None
    for frames in batches:
        density = np.asarray(decode_frames(net, variables, frames), np.float64).sum(axis=0)
        total = density if total is None else total + density
    if total is None:
        raise ValueError("density_image: no frames; give at least one batch")
    return total


def read_output(
    parts: Parts, output: Any, *, first_frame: int = 0, threshold: float = 0.5, share_borders: bool = True
) -> Localizations:
    """The list in what a run's decoder made of frames (B, ...), whatever its kind.

    `threshold` is a probability for a list, the emitters in a peak for an image, a share of the largest output for a
    volume. An image has no depth: its emitters are put in the middle of the scene's. `share_borders` belongs to a
    list: see `maps_to_localizations`.
    """
    run, pixel_um = parts.run, float(parts.psf.microscope.pixel_um)
    scene = run.scene
    if run.decoder.kind == "list":
        return maps_to_localizations(
            output, pixel_um, first_frame=first_frame, threshold=threshold, share_borders=share_borders
        )
    if run.decoder.kind == "image":
        return localization.image_peaks(
            np.asarray(output),
            pixel_um=pixel_um,
            upsampling=run.decoder.upsampling,
            threshold=threshold,
            z_um=0.5 * (scene.z_min_um + scene.z_max_um),
            first_frame=first_frame,
        )
    volumes = np.moveaxis(np.asarray(output), -1, 1)
    found = [
        localization.volume_peaks(
            volume,
            pixel_um=pixel_um,
            z_min_um=scene.z_min_um,
            z_max_um=scene.z_max_um,
            threshold=threshold * run.decoder.scaling,
            upsampling=1,
            radius=1,  # camera pixels: the published four are fine ones
            frame=first_frame + k,
        )
        for k, volume in enumerate(volumes)
    ]
    return localization.concatenate(found)
