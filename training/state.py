"""Everything a run carries from one step to the next."""

from typing import Any

import jax

from nets import Variables
from optics.pytree import pytree


@pytree
class TrainState:
    """Step number, decoder variables, mask parameters (None for a fixed mask), and both optimisers' states.

    Random numbers are not state: step k draws from the seed and k, so a resumed run sees the same scenes.
    """

    step: jax.Array
    variables: Variables
    mask_params: Any
    decoder_optimiser: Any
    mask_optimiser: Any
