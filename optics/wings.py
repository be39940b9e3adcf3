"""The light beyond the stamps: wings of emitters, in a frame and around it, at low cost.

An oil objective on water sends a part of an emitter's light tens of micrometres away. A stamp that held 95 % of it
would be hundreds of pixels wide, and the emitters whose wings come in from beyond the frame are many times those in
it. So stamps stay small and exact (`render.py`), and what lies around them is taken from a table of pictures by depth,
at the nearest pixel and on cells of 2 x 2 pixels: cut out for each emitter, not computed. What goes farther than the
table is light that many emitters share: an even background.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from optics.grids import pixel_centres_um, safe_sqrt
from optics.psf import image_of, intensity_at, pupil_fields, pupil_samples, ring_samples, transmitted_fraction
from optics.pupil import make_pupil
from optics.pytree import pytree, replace, static
from optics.render import stamp_place
from optics.types import Emitters, Psf

_CELL_PX = 2  # side of a cell, on which the light of wings is even
_SHARE = 0.95  # of an emitter's light, which the table holds at every depth where that is possible
_STEP_UM = {"all": 0.125, "one": 0.25}  # between the depths of a table


@dataclasses.dataclass(frozen=True)
class WingPlan:
    """The sizes of a table of wings: its pictures' side, their samplings, and the depths that it spans.

    `fields` are those that are added up: "all" of the dipole's, or "one" of the same light, a sixth of the work.
    """

    side_px: int
    pupil_px: int
    ring_px: int
    z_min_um: float
    z_max_um: float
    fields: str = "all"

    @property
    def depths(self) -> int:
        """How many depths the table has."""
        return max(2, math.ceil((self.z_max_um - self.z_min_um) / _STEP_UM[self.fields]) + 1)


@pytree
class Wings:
    """Light outside the stamps, for one photon of an emitter, by depth.

    `table` (D, 2, 2, n, n) photons per pixel of the cells, by the row and column within a cell at which the picture
    begins; `beyond` (D,) what goes farther than the pictures; `z_um` (2,) the first depth and the step.
    """

    table: jax.Array
    beyond: jax.Array
    z_um: jax.Array
    side_px: int = static()
    shape: tuple[int, int] = static()


def stamp_side(psf: Psf, z_range_um: tuple[float, float], share: float = _SHARE, most_px: int = 257) -> int:
    """Side in pixels of the smallest stamp that holds `share` of an emitter's light at every depth of a range.

    Of five depths, on the host; `most_px` where even that holds less. The light is that which reaches the image plane.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> stamp_side(make_psf(scope, kind="scalar"), (-0.5, 0.5), most_px=51)
    21
    """
    most_px -= (most_px - psf.image_px) % 2
    plan = _plan(psf, most_px, z_range_um, "one")

    def held(z):
        image = _pictures_of(psf, plan)(z)
        # squares about the centre, from the smallest out
        radius = np.maximum(*np.meshgrid(*2 * [np.abs(np.arange(most_px) - (most_px - 1) / 2)]))
        sums = jax.ops.segment_sum(image.ravel(), jnp.asarray(radius.ravel(), int), most_px // 2 + 1)
        return jnp.cumsum(sums) / transmitted_fraction(psf, pupil_fields(psf), z)

    depths = jnp.linspace(*z_range_um, 5)
    least = np.asarray(jax.jit(lambda z: jax.lax.map(held, z))(depths)).min(axis=0)
    enough = np.flatnonzero(least >= share)
    return most_px if not enough.size else int(2 * enough[0] + 1 if most_px % 2 else 2 * enough[0] + 2)


def plan_wings(
    psf: Psf, shape: tuple[int, int], z_range_um: tuple[float, float], *, learned: bool = False, fields: str = "all"
) -> WingPlan:
    """Choose the table of wings for frames of `shape` (H, W); on the host.

    Its pictures hold 95 % of the light, but are at most twice a frame wide: no emitter of the frame then has light
    that it lacks, and what comes in from farther away is even. With `learned` the mask is not yet known, and the
    pictures have that width.
    """
    most = 2 * max(shape) + 1
    side = most - (most - psf.image_px) % 2
    if not learned and side > psf.image_px:
        side = stamp_side(psf, z_range_um, most_px=side)
    return _plan(psf, max(side, psf.image_px), z_range_um, fields)


def _plan(psf: Psf, side_px: int, z_range_um: tuple[float, float], fields: str) -> WingPlan:
    scope = psf.microscope
    # one node for each radian of the phase at the rim: with fewer, light of one side returns at the other
    lateral = math.pi * min(float(scope.na), float(scope.iris_na)) / float(scope.wavelength_um)
    needed = math.ceil(0.45 * lateral * side_px * float(scope.pixel_um)) * 2
    pupil = min(max(needed, psf.pupil_px), max(pupil_samples(scope, side_px, z_range_um), psf.pupil_px))
    ring = min(ring_samples(scope, side_px), 12) if psf.ring_px else 0
    return WingPlan(side_px, pupil, ring, float(z_range_um[0]), float(z_range_um[1]), fields)


def _pictures_of(psf: Psf, plan: WingPlan) -> Callable[[jax.Array], jax.Array]:
    """From a depth to the wide picture (S, S) of an emitter there, at the centre."""
    wide = replace(
        psf, image_px=plan.side_px, pupil_px=plan.pupil_px, ring_px=plan.ring_px, pixel="centre", oversampling=1
    )
    wide = replace(wide, blur_um=None)
    pupil = pupil_fields(wide)
    if plan.fields == "one":
        nodes = make_pupil(wide)
        size = jnp.sqrt(jnp.maximum(nodes.phasor.real**2 + nodes.phasor.imag**2, 1e-12))
        pupil = replace(pupil, fields=(safe_sqrt(pupil.light * nodes.weight) * nodes.phasor / size)[None])
    x = pixel_centres_um(plan.side_px, psf.microscope.pixel_um)

    def picture(z_um: jax.Array) -> jax.Array:
        point = jnp.zeros(3).at[2].set(z_um)
        return intensity_at(wide, pupil, point, x, x) * psf.microscope.pixel_um**2

    return picture


def make_wings(psf: Psf, plan: WingPlan, shape: tuple[int, int]) -> Wings:
    """Compute the table of wings of a PSF for frames of `shape`; differentiable in the PSF.

    What stamp and pictures do not hold of an emitter's light is `beyond`, so that none is lost.
    """
    inner, outer, cell = psf.image_px, plan.side_px, _CELL_PX
    cells = tuple(-(-n // cell) for n in shape)
    pad = cell * max(cells)
    length = -(-(outer + 2 * pad) // cell) * cell
    edge = (outer - inner) // 2
    hole = np.ones((outer, outer))
    hole[edge : outer - edge, edge : outer - edge] = 0
    outside = jnp.asarray(hole, dtype=float)
    picture, shared = _pictures_of(psf, plan), pupil_fields(psf)

    def at(z_um):
        wing = picture(z_um) * outside
        stamp = image_of(psf, shared, jnp.zeros(3).at[2].set(z_um))
        beyond = transmitted_fraction(psf, shared, z_um) - stamp.sum() - wing.sum()
        wide = jnp.pad(wing, ((pad, length + cell - 1 - pad - outer),) * 2)
        for axis in (0, 1):  # the sum over a cell that begins at each pixel
            parts = [jax.lax.slice_in_dim(wide, k, k + length, axis=axis) for k in range(cell)]
            wide = sum(parts[1:], parts[0])
        n = length // cell
        return wide.reshape(n, cell, n, cell).transpose(1, 3, 0, 2) / cell**2, beyond

    step = (plan.z_max_um - plan.z_min_um) / (plan.depths - 1)
    z_um = plan.z_min_um + step * jnp.arange(plan.depths)
    table, beyond = jax.lax.map(jax.checkpoint(at), z_um)
    return Wings(table, beyond, jnp.array([plan.z_min_um, max(step, 1e-9)]), outer, shape)


def render_wings(wings: Wings, emitters: Emitters, pixel_um: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Photons per pixel (B, H, W) of all emitters' wings; leaves of `emitters` are (B, N, ...), as in `render_frames`.

    And the photons (B,) that go beyond the table, of all the emitters given: an even background where they stand as
    densely beyond.
    """
    (height, width), cell = wings.shape, _CELL_PX
    cells = (-(-height // cell), -(-width // cell))
    pad, n_depths = cell * max(cells), wings.table.shape[0]

    def window(place, depth, weights):
        row, column = (jnp.clip(index, 0, cell * wings.table.shape[-1]) for index in (place[1], place[0]))
        first = (depth, row % cell, column % cell, row // cell, column // cell)
        cut = jax.lax.dynamic_slice(wings.table, first, (2, 1, 1, *cells))[:, 0, 0]
        return weights[0] * cut[0] + weights[1] * cut[1]

    def one(emitters):
        start, _ = stamp_place(emitters.xyz_um[:, :2], pixel_um, wings.side_px)
        within = jnp.all((start > -wings.side_px) & (start < jnp.array([width, height])), axis=1)
        place = (emitters.xyz_um[:, 2] - wings.z_um[0]) / wings.z_um[1]
        place = jnp.clip(place, 0.0, n_depths - 1.0)
        depth = jnp.minimum(place.astype(jnp.int32), n_depths - 2)
        share = jnp.stack([1 - (place - depth), place - depth], axis=1)
        light = jnp.where(emitters.valid, emitters.photons, 0.0)
        beyond = jnp.sum(light * (share[:, 0] * wings.beyond[depth] + share[:, 1] * wings.beyond[depth + 1]))
        shown = jnp.where(within, light, 0.0)[:, None] * share
        frame = jnp.sum(jax.vmap(window)(pad - start, depth, shown), axis=0)
        return frame.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width], beyond

    return jax.lax.map(one, emitters)
