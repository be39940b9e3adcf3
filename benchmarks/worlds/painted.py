"""Emitters at stated places drawn from a table of the PSF: what a frame expects of them, without a background."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from optics.psf_table import PsfTable, evaluate
from optics.render import lay_stamps

Paint = Callable[[NDArray, NDArray], jax.Array]


def painter(table: PsfTable, pixel_um: float, shape: tuple[int, int], slots: int) -> Paint:
    """Make a function of places (n, 3) in um from the frame's corner and of photons (n,), n up to `slots`.

    It returns photons (H, W); emitters beyond the frame send in what of their stamps falls inside.
    """
    side = table.image_px

    @jax.jit
    def picture(inside: ArrayLike, photons: jax.Array, first: jax.Array) -> jax.Array:
        stamps = jax.vmap(lambda point: evaluate(table, point)[0])(inside).reshape(-1, side, side)
        return lay_stamps(stamps * photons[:, None, None], first, shape)

    def paint(xyz_um: NDArray, photons: NDArray) -> jax.Array:
        n = len(photons)
        places, light = np.zeros((slots, 3)), np.zeros(slots)  # one size, one compiled program
        places[:n], light[:n] = xyz_um, photons
        first = np.round(places[:, :2] / pixel_um - side / 2).astype(int)
        inside = np.column_stack([places[:, :2] - (first + side / 2) * pixel_um, places[:, 2]])
        return picture(jnp.asarray(inside), jnp.asarray(light), jnp.asarray(first[:, ::-1]))

    return paint
