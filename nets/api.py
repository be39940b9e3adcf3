"""The seam: two pure functions, `init` and `apply`, whatever the network.

Nothing outside this folder knows Flax: variables are nested dictionaries of arrays.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nets import deepstorm2d, listnet, volumetric
from nets.deepstorm2d import DeepStorm, DeepStormConfig
from nets.errors import NetsError
from nets.listnet import ListNet, ListNetConfig
from nets.start import drawn
from nets.strips import localize_in_strips
from nets.volumetric import LocalizationNet, LocalizationNetConfig, OpticsDesignNet, OpticsDesignNetConfig

NetConfig = ListNetConfig | LocalizationNetConfig | OpticsDesignNetConfig | DeepStormConfig
Variables = dict[str, Any]


def _module(config: NetConfig) -> nn.Module:
    if isinstance(config, ListNetConfig):
        return ListNet(config)
    if isinstance(config, LocalizationNetConfig):
        return LocalizationNet(config)
    if isinstance(config, OpticsDesignNetConfig):
        return OpticsDesignNet(config)
    if isinstance(config, DeepStormConfig):
        return DeepStorm(config)
    raise NetsError(
        f"config: {type(config).__name__} is not a network's configuration; use ListNetConfig, "
        "LocalizationNetConfig, OpticsDesignNetConfig or DeepStormConfig"
    )


def input_channels(config: NetConfig) -> int:
    """Channels that `apply` wants: 1, or of a list decoder its frames and the two of position.

    >>> input_channels(ListNetConfig(frames=3, position_channels=True, field_px=512))
    5
    """
    return listnet.input_channels(config) if isinstance(config, ListNetConfig) else 1


def _check_frames(config: NetConfig, x) -> None:
    channels = input_channels(config)
    if len(x.shape) != 4 or x.shape[-1] != channels or 0 in x.shape:
        raise NetsError(
            f"x: shape {tuple(x.shape)} is not (B, H, W, {channels}); add the batch and channel axes "
            "(nets.network_input does)"
        )


def init(key: jax.Array, config: NetConfig, example) -> Variables:
    """Draw the starting variables of a network.

    `example` (B, H, W, C) is an array, or anything with a shape and dtype, like the frames to come. Returns
    {"params": ...} and, where the network has batch norms, {"batch_stats": ...}. Raises `NetsError`.

    >>> import jax, jax.numpy as jnp
    >>> variables = init(jax.random.key(0), ListNetConfig(), jnp.zeros((1, 16, 16, 1)))
    >>> sorted(variables)
    ['params']
    """
    _module(config)  # refuses what is no configuration
    _check_frames(config, example)
    frames = jnp.zeros(
        (1, 8, 8, example.shape[-1]), example.dtype
    )  # no shape of a variable depends on the frame's size
    return _init(config, key, frames)


@functools.partial(jax.jit, static_argnums=0)  # compiled once per configuration, whatever the key
def _init(config: NetConfig, key: jax.Array, frames: jax.Array) -> Variables:
    return drawn(key, dict(_module(config).init(key, frames, train=False)))


def apply(config: NetConfig, variables: Variables, x: jax.Array, *, train: bool) -> tuple[Any, Variables]:
    """Run a network on frames.

    `x` (B, H, W, C) photons per pixel; `network_input` makes it of frames. Returns (output, new_state): `ListMaps`
    for a list decoder, a volume (B, u H, u W, D) for a volumetric one, an image (B, u H, u W) of emitter density
    for Deep-STORM; `new_state` holds the collections that training changed outside
    the gradient ({"batch_stats": ...} or {}), so that the next variables are {**variables, **new_state}.
    Raises `NetsError`.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.zeros((1, 16, 16, 1))
    >>> apply(ListNetConfig(), init(jax.random.key(0), ListNetConfig(), x), x, train=False)[0].sigma.shape
    (1, 16, 16, 4)
    """
    _check_frames(config, x)
    if isinstance(config, LocalizationNetConfig) and config.upsampling > 1 and not train:
        # Chosen when the program is lowered: an accelerator wants whole maps, not strips.
        plain = functools.partial(LocalizationNet(config).apply, train=False)
        strips = functools.partial(localize_in_strips, config)
        return jax.lax.platform_dependent(variables, x, cpu=strips, default=plain), {}
    mutable = [name for name in variables if name != "params"] if train else []
    output, state = _module(config).apply(variables, x, train=train, mutable=mutable)
    return output, dict(state)


def receptive_field_px(config: NetConfig) -> int:
    """Width in input pixels of the square that one output pixel can see.

    >>> receptive_field_px(ListNetConfig(dilations=(1, 1), half_resolution=True))
    16
    """
    if isinstance(config, ListNetConfig):
        return listnet.receptive_field_px(config)
    if isinstance(config, DeepStormConfig):
        return deepstorm2d.receptive_field_px(config)
    return volumetric.receptive_field_px(config)


def count_parameters(variables: Variables) -> int:
    """Number of trainable numbers (running statistics are not).

    >>> count_parameters({"params": {"kernel": jnp.zeros((3, 3, 1, 8)), "bias": jnp.zeros(8)}})
    80
    """
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
