"""Data-parallel training: the batch is cut over the devices, state and result are the same on each."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

AXIS = "frames"


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Make a one-dimensional mesh over `devices` (default: all of them) whose axis is the batch."""
    return Mesh(np.array(jax.devices() if devices is None else list(devices)), (AXIS,))
