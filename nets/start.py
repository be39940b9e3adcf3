"""Where networks start from: kernels declared as their spread, and all random numbers multiplied in by one draw.

A draw for each layer takes longer to compile than the network: 20 s of processor for those of the scene model.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_CUT = 0.8796  # standard deviation of a normal number cut at two


def fan_in_spread(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """Fill a kernel (..., in, out) with the standard deviation that keeps its input's: an initialiser for Flax.

    LeCun, Bottou, Orr and Mueller 1998 (doi 10.1007/3-540-49430-8_2), section 4.6.
    """
    return jnp.full(shape, 1 / math.sqrt(math.prod(shape[:-1])), dtype)


def drawn(key: jax.Array, variables: dict[str, Any]) -> dict[str, Any]:
    """Multiply normal numbers, cut at two standard deviations, into every "kernel" of `variables`.

    >>> start = drawn(jax.random.key(0), {"layer": {"kernel": jnp.full((50, 40), 0.1), "bias": jnp.zeros(40)}})
    >>> round(float(start["layer"]["kernel"].std()), 2), float(start["layer"]["bias"].max())
    (0.1, 0.0)
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(variables)
    sizes = [leaf.size for path, leaf in leaves if path[-1].key == "kernel"]
    numbers = jax.random.truncated_normal(key, -2, 2, (sum(sizes),), jnp.float32) / _CUT
    draw = iter(jnp.split(numbers, np.cumsum(sizes)))
    values = [
        leaf * next(draw).reshape(leaf.shape).astype(leaf.dtype) if path[-1].key == "kernel" else leaf
        for path, leaf in leaves
    ]
    return jax.tree.unflatten(tree, values)
