"""What the movie says about its PSF: small aberrations and blur under strong priors, and how much stays unexplained.

The calibration is trusted: a residual of a few hundredths of a wavelength is learned from the brightest emitters of
the movie, each with a place and brightness of its own. A PSF of the wrong optics is not fitted away by that; it shows
as a misfit, which is reported. The misfit is told of the frames themselves and of the emitters' cores alone: haze and
background, which can take what a wrong PSF leaves, have no part in it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from nets.dlp_types import Posterior
from optics import Psf
from optics.psf import image_of, pupil_fields
from optics.pytree import pytree, replace
from training.generator.model import (
    Movie,
    SceneModel,
    Variables,
    draw_emitters,
    expected_parts,
    photon_variance,
    posterior_mean,
)

FIRST_MODE, MODES = 3, 15  # OSA: astigmatism to quadrafoil; piston, tip and tilt are no part of a PSF
_DEFOCUS = 4
_RMS_UM, _BLUR_STD = 0.02, 0.2  # priors: of each mode, and of the log of the blur over the calibration's
_LEAST_BLUR_UM = 0.05  # a PSF without blur may still have learned one: this, times exp of a small number
_BRIGHT, _ENOUGH = 96, 24  # stamps that are fitted at most; and at least, for a PSF to be changed by them
_CHUNK = 8
_OWN_UM = np.array([0.01, 0.01, 0.03])  # how far one unit moves a stamp's own x, y, z
_FREE_UM = np.array([0.04, 0.04, 0.03])  # the same for the misfit: a wrong PSF has put emitters beside their spot
_CORE, _ALIKE_UM = 0.05, 0.15  # of the peak: where an emitter's core ends; depths whose images are alike
SUSPECT = 0.25  # misfit from which a PSF is called wrong: a quarter of the light's rms is elsewhere


@dataclasses.dataclass(frozen=True)
class PsfReport:
    """What the brightest emitters say: `misfit_before` and `misfit`, the rms of what the given and the learned PSF
    leave of their cores over the rms of the light (`core_misfit`, `misfit_std` its deviation); the `zernike_um` and
    `blur_um` learned; and how many stamps it was seen in."""

    misfit_before: float
    misfit: float
    misfit_std: float
    zernike_um: tuple[float, ...]
    blur_um: float
    stamps: int

    @property
    def suspect(self) -> bool:
        """Whether the PSF does not belong to these frames."""
        return min(self.misfit, self.misfit_before) - 2 * self.misfit_std > SUSPECT

    @property
    def improves(self) -> bool:
        """Whether the learned PSF explains the cores better than the given one, beyond doubt."""
        return self.stamps >= _ENOUGH and self.misfit + self.misfit_std < self.misfit_before


@pytree
class BrightStamps:
    """M stamps (M, K, K): `light` of one emitter each, `variance` of its noise; where the emitter lies from the stamp's
    centre, `xyz_um` (M, 3), and its `log_photons` (M,)."""

    light: jax.Array
    variance: jax.Array
    xyz_um: jax.Array
    log_photons: jax.Array


_expected_parts = jax.jit(expected_parts, static_argnames=("shape", "draws"))


def bright_stamps(
    key: jax.Array,
    model: SceneModel,
    variables: Variables,
    movie: Movie,
    bank: Posterior,
    frames: jax.Array,
    *,
    raw: bool = False,
) -> BrightStamps | None:
    """Stamps of the brightest emitters that lie whole in their frame; None for none.

    Those without a bright neighbour, all else that the model believes in taken off: for learning. Or `raw`, the
    brightest of their neighbourhood with all that lies there, which a wrong PSF may have called other emitters or
    structure: only emitters farther away are taken off.
    """
    side, pixel_um = model.table.image_px, model.ranges.pixel_um
    height, width = frames.shape[1:]
    light, variance, places = [], [], []
    picked = _pick(model, bank, (height, width), raw=raw)
    for frame in np.unique(picked[:, 0]):
        posterior = jax.tree.map(lambda leaf: leaf[frame], bank)  # noqa: B023
        draw = posterior_mean(model, posterior)
        parts = _expected_parts(key, model, variables, movie, posterior, (height, width))
        spread = np.asarray(photon_variance(model.camera, parts.rate, movie.log_gain, parts.read_scale))
        around = np.asarray(parts.haze + parts.background)
        for k in picked[picked[:, 0] == frame, 1]:
            x, y, z = np.asarray(draw.xyz_um[k], np.float64)
            row, column = round(y / pixel_um - side / 2), round(x / pixel_um - side / 2)
            window = np.s_[row : row + side, column : column + side]
            from_centre = (x - (column + side / 2) * pixel_um, y - (row + side / 2) * pixel_um, z)
            near = np.linalg.norm(np.asarray(draw.xyz_um)[:, :2] - [x, y], axis=1) < (side / 3 * pixel_um if raw else 0)
            far = np.where(near | (np.arange(len(near)) == k), 0.0, np.asarray(draw.presence))
            others, _ = draw_emitters(model, draw.xyz_um, draw.photons, jnp.asarray(far), (height, width))
            rest = np.asarray(frames[frame]) - np.asarray(others) - (0.0 if raw else around)
            light.append(rest[window])
            variance.append(spread[window])
            places.append((*from_centre, float(jnp.log(draw.photons[k]))))
    if not light:
        return None
    place = jnp.asarray(np.array(places), dtype=float)
    return BrightStamps(
        jnp.asarray(np.stack(light), dtype=float),
        jnp.asarray(np.stack(variance), dtype=float),
        place[:, :3],
        place[:, 3],
    )


def _pick(model: SceneModel, bank: Posterior, shape: tuple[int, int], *, raw: bool) -> np.ndarray:
    """(M, 2) frame and slot of up to `_BRIGHT` emitters: sure, whole, brightest first; alone within half a stamp, or
    with `raw` the brightest within two thirds of one."""
    pixel_um, side = model.ranges.pixel_um, model.table.image_px
    presence = np.asarray(jax.nn.sigmoid(bank.presence))
    place = np.asarray(bank.place.mean)
    xy = np.asarray(bank.anchor_um) + place[..., :2]
    light = np.where(presence > 0.5, np.exp(place[..., 3]), 0.0)
    edge = side / 2 * pixel_um + pixel_um
    inside = (xy > edge).all(-1) & (xy[..., 0] < shape[1] * pixel_um - edge) & (xy[..., 1] < shape[0] * pixel_um - edge)
    distance = np.linalg.norm(xy[:, :, None] - xy[:, None, :], axis=-1)
    reach, share = (side / 3, 1.0) if raw else (side / 4, 0.3)
    rival = (distance < reach * pixel_um) & (light[:, None, :] > share * light[:, :, None])
    rival[:, np.arange(xy.shape[1]), np.arange(xy.shape[1])] = False
    good = inside & (presence > 0.9) & ~rival.any(-1)
    order = np.argsort(-np.where(good, light, 0.0), axis=None)[:_BRIGHT]
    frame, slot = np.unravel_index(order, light.shape)
    return np.stack([frame, slot], axis=1)[good[frame, slot]]


def core_misfit(psf: Psf, stamps: BrightStamps, *, deep: bool, steps: int = 150) -> tuple[float, float]:
    """Rms of what the PSF leaves of the stamps' cores, the same in all, over the rms of its light there; and its
    standard deviation.

    A core is where the emitter is brighter than a twentieth of its peak, and two pixels around. Each stamp has a place,
    a brightness and a sloping level of its own, and with `deep` a depth. What a wrong PSF leaves is alike in emitters
    of like depth; noise, neighbours and structure are not: so only products of different stamps count,
    sum K r_j r_k / sum K l_j l_k over j != k with K a Gaussian of their distance in depth. The deviation is the
    jackknife's over stamps.
    """
    fields, side = pupil_fields(psf), psf.image_px
    free_um = _FREE_UM * [1, 1, deep]
    at = jnp.arange(side) / side - 0.5
    plane = jnp.stack([jnp.ones((side, side)), jnp.tile(at, (side, 1)), jnp.tile(at[:, None], (1, side))])

    def image_at(some: BrightStamps, moved: jax.Array) -> jax.Array:
        return image_of(psf, fields, some.xyz_um + moved * free_um)

    def left(some: BrightStamps, inside: jax.Array, moved: jax.Array) -> tuple[jax.Array, jax.Array]:
        image = image_at(some, moved)
        parts = jnp.concatenate([image[None] / image.max(), plane])
        weight = inside / some.variance
        normal = jnp.einsum("ihw,hw,jhw->ij", parts, weight, parts)
        best = jnp.linalg.solve(normal, jnp.einsum("ihw,hw->i", parts, weight * some.light))
        return some.light - jnp.einsum("i,ihw->hw", best, parts), best[0] * parts[0]

    def one(some: BrightStamps) -> tuple[jax.Array, jax.Array]:
        image = image_at(some, jnp.zeros(3))
        bright = (image > _CORE * image.max()).astype(image.dtype)
        inside = jax.lax.reduce_window(bright, -jnp.inf, jax.lax.max, (5, 5), (1, 1), "SAME")
        slope = jax.grad(lambda moved: 0.5 * jnp.sum(inside * left(some, inside, moved)[0] ** 2 / some.variance))
        rest, light = left(some, inside, _descend(slope, jnp.zeros(3), steps))
        return inside * rest, inside * light

    rest, light = (
        np.asarray(part, np.float64) for part in jax.jit(lambda: jax.lax.map(one, stamps, batch_size=_CHUNK))()
    )
    z = np.asarray(stamps.xyz_um)[:, 2]
    alike = np.exp(-0.5 * ((z[:, None] - z) / _ALIKE_UM) ** 2) * (1 - np.eye(len(z)))
    left_of, light_of = (alike * np.einsum("jhw,khw->jk", part, part) for part in (rest, light))

    def rms(kept: NDArray) -> float:
        some = np.ix_(kept, kept)
        return float(np.sqrt(max(left_of[some].sum(), 0.0) / max(light_of[some].sum(), 1e-9)))

    every = np.arange(len(z))
    without = np.array([rms(np.delete(every, k)) for k in every])
    return rms(every), float(np.sqrt((len(z) - 1) * np.mean((without - without.mean()) ** 2)))


def _descend(slope: Callable, start: Any, steps: int) -> Any:
    """Adam along `slope` from `start`, its steps falling as a cosine."""
    optimiser = optax.adam(optax.cosine_decay_schedule(0.1, steps, 0.02))

    def step(carry, _):
        moved, memory = carry
        updates, memory = optimiser.update(slope(moved), memory)
        return (optax.apply_updates(moved, updates), memory), None

    return jax.lax.scan(step, (start, optimiser.init(start)), None, length=steps)[0][0]


def learn_residual(
    psf: Psf, stamps: BrightStamps, raw: BrightStamps, *, deep: bool, steps: int = 150
) -> tuple[Psf, PsfReport]:
    """The PSF with what the stamps add to it, and how well it explains `raw` ones (see `bright_stamps`).

    Each stamp keeps a place, brightness and level of its own. Defocus is learned in 2D alone: in depth it is the
    emitters' own.
    """
    count = MODES - FIRST_MODE
    free = jnp.ones(count).at[_DEFOCUS - FIRST_MODE].set(0.0 if deep else 1.0)
    blur_0 = jnp.asarray(_LEAST_BLUR_UM if psf.blur_um is None else psf.blur_um, dtype=float)
    base = (
        jnp.zeros(MODES) if psf.zernike_um is None else jnp.zeros(MODES).at[: len(psf.zernike_um)].set(psf.zernike_um)
    )
    own = jnp.zeros((len(stamps.light), 5))  # x, y, z in units of _OWN_UM, log photons / 10, level

    def apply(shared: jax.Array) -> Psf:
        zernike = base.at[FIRST_MODE:].add(free * _RMS_UM * shared[:count])
        return replace(psf, zernike_um=zernike, blur_um=blur_0 * jnp.exp(_BLUR_STD * shared[count]))

    def loss(trained: tuple[jax.Array, jax.Array]) -> jax.Array:
        one_psf = apply(trained[0])
        fields = pupil_fields(one_psf)

        def one(place, log_photons, moved):
            image = image_of(one_psf, fields, place + moved[:3] * _OWN_UM)
            return image * jnp.exp(log_photons + 0.1 * moved[3]) + moved[4]

        drawn = jax.lax.map(lambda a: one(*a), (stamps.xyz_um, stamps.log_photons, trained[1]), batch_size=_CHUNK)
        return 0.5 * jnp.sum((stamps.light - drawn) ** 2 / stamps.variance) + 0.5 * jnp.sum(trained[0] ** 2)

    start = (jnp.zeros(count + 1), own)
    shared, _ = jax.jit(lambda: _descend(jax.grad(loss), start, steps))()
    found = apply(shared)
    assert found.zernike_um is not None and found.blur_um is not None
    (before, _), (after, std) = core_misfit(psf, raw, deep=deep), core_misfit(found, raw, deep=deep)
    report = PsfReport(
        misfit_before=before,
        misfit=after,
        misfit_std=std,
        zernike_um=tuple(float(v) for v in found.zernike_um),
        blur_um=float(found.blur_um),
        stamps=len(raw.light),
    )
    return found, report
