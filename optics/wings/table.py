"""The light beyond the stamps: wings of emitters, in a frame and around it, at low cost.

An oil objective on water sends a part of an emitter's light tens of micrometres away. A stamp that held 95 % of it
would be hundreds of pixels wide, and the emitters whose wings come in from beyond the frame are many times those in
it. So stamps stay small and exact (`render.py`), and what lies around them is taken from a table of pictures by depth,
at the nearest pixel and on cells of 2 x 2 pixels: cut out for each emitter, not computed. What goes farther than the
table is light that many emitters share: an even background.
"""

import jax
import jax.numpy as jnp
import numpy as np

from optics.psf import PupilFields, image_of, pupil_fields, transmitted_fraction
from optics.pytree import pytree, static
from optics.render import stamp_place
from optics.types import Emitters, Psf
from optics.wings.sizes import WingPlan, pictures_of, wide_fields

_CELL_PX = 2  # side of a cell, on which the light of wings is even


@pytree
class Wings:
    """Light outside the stamps, for one photon of an emitter, by depth.

    `table` (D, 2, 2, 2, n, n) photons per pixel of the cells, around a stamp and with what is in it, by the row and
    column within a cell at which the picture begins; `beyond` (D,) what goes farther than the pictures; `z_um` (2,)
    the first depth and the step.
    """

    table: jax.Array
    beyond: jax.Array
    z_um: jax.Array
    side_px: int = static()
    shape: tuple[int, int] = static()


def make_wings(
    psf: Psf, plan: WingPlan, shape: tuple[int, int], fields: tuple[PupilFields, PupilFields] | None = None
) -> Wings:
    """Compute the table of wings of a PSF for frames of `shape`; differentiable in the PSF.

    What stamp and pictures do not hold of an emitter's light is `beyond`, so that none is lost. `fields` are the
    `wing_fields`, where they are computed already: the `psf` may then be `without_plates`.
    """
    inner, outer, cell = psf.image_px, plan.side_px, _CELL_PX
    cells = tuple(-(-n // cell) for n in shape)
    pad = cell * max(cells)
    length = -(-(outer + 2 * pad) // cell) * cell
    edge = (outer - inner) // 2
    hole = np.ones((outer, outer))
    hole[edge : outer - edge, edge : outer - edge] = 0
    outside = jnp.asarray(hole, dtype=float)
    wide, shared = (wide_fields(psf, plan), pupil_fields(psf)) if fields is None else fields
    picture = pictures_of(psf, plan, wide)

    def at(z_um):
        whole = picture(z_um)
        wing = whole * outside
        stamp = image_of(psf, shared, jnp.zeros(3).at[2].set(z_um))
        beyond = transmitted_fraction(psf, shared, z_um) - stamp.sum() - wing.sum()
        margins = (pad, length + cell - 1 - pad - outer)
        wide = jnp.pad(jnp.stack([wing, whole]), ((0, 0), margins, margins))
        for axis in (1, 2):  # the sum over a cell that begins at each pixel
            parts = [jax.lax.slice_in_dim(wide, k, k + length, axis=axis) for k in range(cell)]
            wide = sum(parts[1:], parts[0])
        n = length // cell
        return wide.reshape(2, n, cell, n, cell).transpose(0, 2, 4, 1, 3) / cell**2, beyond

    step = (plan.z_max_um - plan.z_min_um) / (plan.depths - 1)
    z_um = plan.z_min_um + step * jnp.arange(plan.depths)
    table, beyond = jax.lax.map(jax.checkpoint(at), z_um)
    return Wings(table, beyond, jnp.array([plan.z_min_um, max(step, 1e-9)]), outer, shape)


def render_wings(
    wings: Wings, emitters: Emitters, pixel_um: jax.Array | float, stamped: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Photons per pixel (B, H, W) of all emitters' wings; leaves of `emitters` are (B, N, ...), as in `render_frames`.

    Those that are not `stamped` (N,), by default none, are drawn whole. And the photons (B,) that go beyond the table,
    of all the emitters given: an even background where they stand as densely beyond.
    """
    (height, width), cell = wings.shape, _CELL_PX
    cells = (-(-height // cell), -(-width // cell))
    pad, n_depths = cell * max(cells), wings.table.shape[0]

    slots = emitters.photons.shape[1]
    part = jnp.zeros(slots, jnp.int32) if stamped is None else (~stamped).astype(jnp.int32)

    def window(place, depth, weights, part):
        row, column = (jnp.clip(index, 0, cell * wings.table.shape[-1]) for index in (place[1], place[0]))
        first = (depth, part, row % cell, column % cell, row // cell, column // cell)
        cut = jax.lax.dynamic_slice(wings.table, first, (2, 1, 1, 1, *cells))[:, 0, 0, 0]
        return weights[0] * cut[0] + weights[1] * cut[1]

    def one(emitters):
        start, _ = stamp_place(emitters.xyz_um[:, :2], pixel_um, wings.side_px)
        within = jnp.all((start > -wings.side_px) & (start < jnp.array([[width, height]])), axis=1)
        place = (emitters.xyz_um[:, 2] - wings.z_um[0]) / wings.z_um[1]
        place = jnp.clip(place, 0.0, n_depths - 1.0)
        depth = jnp.minimum(place.astype(jnp.int32), n_depths - 2)
        share = jnp.stack([1 - (place - depth), place - depth], axis=1)
        light = jnp.where(emitters.valid, emitters.photons, 0.0)
        beyond = jnp.sum(light * (share[:, 0] * wings.beyond[depth] + share[:, 1] * wings.beyond[depth + 1]))
        shown = jnp.where(within, light, 0.0)[:, None] * share
        frame = jnp.sum(jax.vmap(window)(pad - start, depth, shown, part), axis=0)
        return frame.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width], beyond

    return jax.lax.map(one, emitters)
