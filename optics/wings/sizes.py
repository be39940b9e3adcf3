"""How far light is drawn: the side of a stamp that holds a share of it, and the pictures of wings."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from optics.grids import pixel_centres_um, safe_sqrt
from optics.psf import (
    PupilFields,
    compiled_fields,
    intensity_at,
    pupil_fields,
    pupil_samples,
    ring_samples,
    transmitted_fraction,
    without_plates,
)
from optics.pupil import make_pupil
from optics.pytree import replace
from optics.types import Psf

_SHARE = 0.95  # of an emitter's light, which the table holds at every depth where that is possible
_STEP_UM = {"all": 0.125, "one": 0.4}  # between the depths of a table


@dataclasses.dataclass(frozen=True)
class WingPlan:
    """The sizes of a table of wings: its pictures' side, their samplings, and the depths that it spans.

    `fields` are those that are added up: "all" of the dipole's, or "one" of the same light, a sixth of the work. With
    `stamped` emitters beyond the frame have stamps too, else the table draws them whole.
    """

    side_px: int
    pupil_px: int
    ring_px: int
    z_min_um: float
    z_max_um: float
    fields: str = "all"
    stamped: bool = True

    @property
    def depths(self) -> int:
        """How many depths the table has."""
        return max(2, math.ceil((self.z_max_um - self.z_min_um) / _STEP_UM[self.fields]) + 1)


def stamp_side(psf: Psf, z_range_um: tuple[float, float], share: float = _SHARE, most_px: int = 257) -> int:
    """Side in pixels of the smallest stamp that holds `share` of an emitter's light at every depth of a range.

    Of five depths, on the host; `most_px` where even that holds less. The light is that which reaches the image plane.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> stamp_side(make_psf(scope, kind="scalar"), (-0.5, 0.5), most_px=51)
    29
    """
    most_px -= (most_px - psf.image_px) % 2
    plan = _plan(psf, most_px, z_range_um, "one")

    least = np.asarray(_held(without_plates(psf), plan, *wing_fields(psf, plan))).min(axis=0)
    enough = np.flatnonzero(least >= share)
    return most_px if not enough.size else int(2 * enough[0] + 1 if most_px % 2 else 2 * enough[0] + 2)


def wing_fields(psf: Psf, plan: WingPlan) -> tuple[PupilFields, PupilFields]:
    """What all depths share of the wide pictures, and of the stamps: compiled once, they serve both programs below."""
    return _wide_fields(psf, plan), compiled_fields(psf)


@partial(jax.jit, static_argnames="plan")
def _held(psf: Psf, plan: WingPlan, wide: PupilFields, own: PupilFields) -> jax.Array:
    """Share of the light that squares about the centre hold, from the smallest out, at five depths: (5, S / 2)."""
    side = plan.side_px
    radius = np.maximum(*np.meshgrid(*2 * [np.abs(np.arange(side) - (side - 1) / 2)])).ravel().astype(int)
    picture = pictures_of(psf, plan, wide)

    def held(z):
        sums = jax.ops.segment_sum(picture(z).ravel(), jnp.asarray(radius), (side + 1) // 2)
        return jnp.cumsum(sums) / transmitted_fraction(psf, own, z)

    return jax.lax.map(held, jnp.linspace(plan.z_min_um, plan.z_max_um, 5))


def plan_wings(
    psf: Psf,
    shape: tuple[int, int],
    z_range_um: tuple[float, float],
    *,
    learned: bool = False,
    fields: str = "all",
    stamped: bool = True,
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
    return dataclasses.replace(_plan(psf, max(side, psf.image_px), z_range_um, fields), stamped=stamped)


def _plan(psf: Psf, side_px: int, z_range_um: tuple[float, float], fields: str) -> WingPlan:
    scope = psf.microscope
    # one node for each radian of the phase at the rim: with fewer, light of one side returns at the other
    lateral = math.pi * min(float(scope.na), float(scope.iris_na)) / float(scope.wavelength_um)
    needed = math.ceil(0.45 * lateral * side_px * float(scope.pixel_um)) * 2
    pupil = min(max(needed, psf.pupil_px), max(pupil_samples(scope, side_px, z_range_um), psf.pupil_px))
    ring = min(ring_samples(scope, side_px), 12) if psf.ring_px else 0
    return WingPlan(side_px, pupil, ring, float(z_range_um[0]), float(z_range_um[1]), fields)


def _wide(psf: Psf, plan: WingPlan) -> Psf:
    """The same optics at the samplings of a plan."""
    wide = replace(
        psf, image_px=plan.side_px, pupil_px=plan.pupil_px, ring_px=plan.ring_px, pixel="centre", oversampling=1
    )
    return replace(wide, blur_um=None)


def wide_fields(psf: Psf, plan: WingPlan) -> PupilFields:
    """What all depths share of the wide pictures."""
    wide = _wide(psf, plan)
    pupil = pupil_fields(wide)
    if plan.fields == "one":
        nodes = make_pupil(wide)
        size = jnp.sqrt(jnp.maximum(nodes.phasor.real**2 + nodes.phasor.imag**2, 1e-12))
        pupil = replace(pupil, fields=(safe_sqrt(pupil.light * nodes.weight) * nodes.phasor / size)[None])
    return pupil


_wide_fields = jax.jit(wide_fields, static_argnames="plan")


def pictures_of(psf: Psf, plan: WingPlan, pupil: PupilFields) -> Callable[[jax.Array], jax.Array]:
    """From a depth to the wide picture (S, S) of an emitter there, at the centre; `pupil` are its `wide_fields`."""
    wide = _wide(psf, plan)
    x = pixel_centres_um(plan.side_px, psf.microscope.pixel_um)

    def picture(z_um: jax.Array) -> jax.Array:
        point = jnp.zeros(3).at[2].set(z_um)
        return intensity_at(wide, pupil, point, x, x) * psf.microscope.pixel_um**2

    return picture
