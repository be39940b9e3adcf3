"""From frames through a trained decoder to localization lists, or to a picture."""

from collections.abc import Callable
from typing import Any

import jax
from jax.typing import ArrayLike

import nets
from localization import Localizations
from training.build import Parts
from training.decoders import find_kind

_apply = jax.jit(lambda net, variables, x: nets.apply(net, variables, x, train=False)[0], static_argnums=0)


def decode_images(
    net: nets.NetConfig, variables: nets.Variables, images: jax.Array, origin_px: ArrayLike | None = None
) -> Any:
    """Return the output of a trained network for images as `nets.network_input` takes them, compiled once a shape.

    `ListMaps`, a volume, or of Deep-STORM a density (B, u H, u W) in emitters per fine pixel, cut at 0.
    """
    return net.finish(_apply(net, variables, nets.network_input(net, images, origin_px)))


def decode_frames(
    net: nets.NetConfig, variables: nets.Variables, movie: jax.Array, origin_px: ArrayLike | None = None
) -> Any:
    """Return the output for n consecutive frames in photons.

    `movie` is (n, H, W), or (n + 2, H, W) for a decoder of three, whose first and last frames are neighbours only: at
    the ends of a movie repeat its end frames. `origin_px` (2,), column and row of the first pixel in the field.

    >>> import jax.numpy as jnp
    >>> net = nets.ListNetConfig(frames=3, channels=8, head_channels=8, dilations=(1,))
    >>> variables = nets.init(jax.random.key(0), net, jnp.zeros((1, 8, 8, 3)))
    >>> decode_frames(net, variables, jnp.zeros((6, 8, 8))).logit.shape
    (4, 8, 8)
    """
    return decode_images(net, variables, nets.with_neighbours(net, movie), origin_px)


def make_decoder(parts: Parts, variables: nets.Variables) -> Callable[..., Any]:
    """Return a function from `Frames.images` (and `Frames.origin_px`) to the decoder's output."""
    return lambda images, origin_px=None: decode_images(parts.net, variables, images, origin_px)


def read_output(
    parts: Parts, output: Any, *, first_frame: int = 0, threshold: float | None = None, share_borders: bool = True
) -> Localizations:
    """Read the list in what a run's decoder made of frames (B, ...), whatever its kind.

    `threshold` is a probability for a list, the emitters in a peak for an image, a share of the largest output for a
    volume; None is the decoder's own. An image has no depth: its emitters are put in the middle of the scene's.
    `share_borders` belongs to a list: see `maps_to_localizations`.
    """
    decoder = find_kind(parts.run.decoder.kind)
    pixel_um = float(parts.psf.microscope.pixel_um)
    share = decoder.threshold(parts.run) if threshold is None else threshold
    level = share * decoder.full_scale(parts.run)
    return decoder.read_out(parts.run, pixel_um, level, share_borders)(output, first_frame=first_frame)
