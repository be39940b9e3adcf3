"""The seam: two pure functions, `init` and `apply`, and what a network's configuration answers for itself.

Nothing outside this folder knows Flax: variables are nested dictionaries of arrays.
"""

import functools
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from nets.errors import NetsError
from nets.start import drawn

Variables = dict[str, Any]


class NetConfig(Protocol):
    """What a network's configuration, a frozen dataclass, answers; inherit from this for the defaults.

    A new network is a file with such a dataclass and its Flax module: nothing else in this folder lists them.
    """

    def module(self) -> nn.Module:
        """Return the Flax module, which is called as module(x, train) with `x` (B, H, W, input_channels)."""
        ...

    @property
    def receptive_field_px(self) -> int:
        """Width in input pixels of the square that one output pixel can see."""
        ...

    @property
    def input_channels(self) -> int:
        """Channels of the input: 1, or the frames and what else the network is told."""
        return 1

    @property
    def context(self) -> int:
        """Frames that the network sees before and after the one that it describes."""
        return 0

    def normalise(self, frames: jax.Array) -> jax.Array:
        """Bring whole frames (..., H, W) to the network's scale, before they are cut; by default they stay."""
        return frames

    def arrange(self, images: jax.Array, origin_px: ArrayLike | None = None) -> jax.Array:
        """Make the input (B, H, W, C) of images at the network's scale, whole frames or pieces that begin there."""
        return images[..., None]

    def prepare(self, images: jax.Array, origin_px: ArrayLike | None = None) -> jax.Array:
        """Make the input (B, H, W, C) of whole images in photons; see `network_input`."""
        frames = 2 * self.context + 1
        if images.ndim != (3 if frames == 1 else 4) or (frames > 1 and images.shape[-1] != frames):
            wanted = "(B, H, W)" if frames == 1 else f"(B, H, W, {frames})"
            raise NetsError(f"images: shape {images.shape} is not {wanted}, which this decoder reads")
        return self.arrange(self.normalise(images), origin_px)

    def evaluate(self, variables: Variables, x: jax.Array) -> Any:
        """Return the output for an input, in evaluation mode."""
        return self.module().apply(variables, x, train=False)

    def finish(self, output: Any) -> Any:
        """Turn the output that a loss is of into what it says about the frames; by default it stays."""
        return output


def _check_frames(config: NetConfig, x) -> None:
    if not hasattr(config, "module"):
        raise NetsError(
            f"config: {type(config).__name__} is not a network's configuration; use ListNetConfig, "
            "LocalizationNetConfig, OpticsDesignNetConfig or DeepStormConfig"
        )
    channels = config.input_channels
    if len(x.shape) != 4 or x.shape[-1] != channels or 0 in x.shape:
        raise NetsError(
            f"x: shape {tuple(x.shape)} is not (B, H, W, {channels}); add the batch and channel axes "
            "(nets.network_input does)"
        )


def init(key: jax.Array, config: NetConfig, example) -> Variables:
    """Draw the starting variables of a network.

    `example` (B, H, W, C) is an array, or anything with a shape and dtype, like the frames to come. Returns
    {"params": ...} and, where the network has batch norms, {"batch_stats": ...}. Raises `NetsError`.

    >>> from nets import ListNetConfig
    >>> variables = init(jax.random.key(0), ListNetConfig(), jnp.zeros((1, 16, 16, 1)))
    >>> sorted(variables)
    ['params']
    """
    _check_frames(config, example)
    # no shape of a variable depends on the frame's size
    frames = jnp.zeros((1, 8, 8, example.shape[-1]), example.dtype)
    return _init(config, key, frames)


@functools.partial(jax.jit, static_argnums=0)  # compiled once per configuration, whatever the key
def _init(config: NetConfig, key: jax.Array, frames: jax.Array) -> Variables:
    return drawn(key, dict(config.module().init(key, frames, train=False)))


def apply(config: NetConfig, variables: Variables, x: jax.Array, *, train: bool) -> tuple[Any, Variables]:
    """Run a network on frames.

    `x` (B, H, W, C) photons per pixel; `network_input` makes it of frames. Returns (output, new_state): `ListMaps`
    for a list decoder, a volume (B, u H, u W, D) for a volumetric one, an image (B, u H, u W) of emitter density
    for Deep-STORM; `new_state` holds the collections that training changed outside
    the gradient ({"batch_stats": ...} or {}), so that the next variables are {**variables, **new_state}.
    Raises `NetsError`.

    >>> from nets import ListNetConfig
    >>> x = jnp.zeros((1, 16, 16, 1))
    >>> apply(ListNetConfig(), init(jax.random.key(0), ListNetConfig(), x), x, train=False)[0].sigma.shape
    (1, 16, 16, 4)
    """
    _check_frames(config, x)
    if not train:
        return config.evaluate(variables, x), {}
    mutable = [name for name in variables if name != "params"]
    output, state = config.module().apply(variables, x, train=True, mutable=mutable)
    return output, dict(state)


def input_channels(config: NetConfig) -> int:
    """Return the channels that `apply` wants: 1, or of a list decoder its frames and the two of position.

    >>> from nets import ListNetConfig
    >>> input_channels(ListNetConfig(frames=3, position_channels=True, field_px=512))
    5
    """
    return config.input_channels


def receptive_field_px(config: NetConfig) -> int:
    """Return the width in input pixels of the square that one output pixel can see.

    >>> from nets import ListNetConfig
    >>> receptive_field_px(ListNetConfig(dilations=(1, 1), half_resolution=True))
    16
    """
    return config.receptive_field_px


def normalise_frames(config: NetConfig, frames: jax.Array) -> jax.Array:
    """Bring whole frames (..., H, W) to the scale of a network that takes each relative to itself; others stay."""
    return config.normalise(frames)


def network_input(config: NetConfig, images: jax.Array, origin_px: ArrayLike | None = None) -> jax.Array:
    """Make the input (B, H, W, C) of `nets.apply` of frames in photons.

    `images` (B, H, W), or (B, H, W, 3) for a decoder of three frames. `origin_px` (2,) or (B, 2), column and row
    of each image's first pixel in the camera field, for a decoder with position channels (default: (0, 0)).
    Raises `NetsError` where the images do not have the decoder's frames.

    >>> from nets import ListNetConfig
    >>> network_input(ListNetConfig(frames=3), jnp.zeros((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """
    return config.prepare(images, origin_px)


def with_neighbours(config: NetConfig, movie: jax.Array) -> jax.Array:
    """Stack consecutive frames as a decoder takes them.

    (n, H, W) stays; for a decoder of three frames (n + 2, H, W) becomes (n, H, W, 3).
    The first and the last frame are neighbours only. At the ends of a movie repeat its first and its last frame:
    emitters that stay on are what the decoder was trained on. Raises `NetsError` for too few frames.

    >>> from nets import ListNetConfig
    >>> with_neighbours(ListNetConfig(frames=3), jnp.zeros((6, 8, 8))).shape
    (4, 8, 8, 3)
    """
    more = 2 * config.context
    if movie.ndim != 3 or movie.shape[0] <= more:
        raise NetsError(f"movie: shape {movie.shape} is not (n + {more}, H, W) with n of at least 1")
    if not more:
        return movie
    return jnp.stack([movie[k : movie.shape[0] - more + k] for k in range(more + 1)], axis=-1)


def count_parameters(variables: Variables) -> int:
    """Count the trainable numbers (running statistics are not).

    >>> count_parameters({"params": {"kernel": jnp.zeros((3, 3, 1, 8)), "bias": jnp.zeros(8)}})
    80
    """
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
