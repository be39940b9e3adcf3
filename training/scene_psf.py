"""What the movie says about its PSF: small aberrations and blur under strong priors, and how much stays unexplained.

The calibration is trusted: a residual of a few hundredths of a wavelength is learned from the brightest emitters of
the movie, each with a place and brightness of its own. A PSF of the wrong optics is not fitted away by that; it shows
as a misfit, which is reported.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nets.dlp_types import Posterior
from optics import Psf
from optics.psf import image_of, pupil_fields
from optics.pytree import pytree, replace
from training.scene_model import (
    Movie,
    SceneModel,
    Variables,
    compose,
    photon_variance,
    posterior_mean,
)

FIRST_MODE, MODES = 3, 15  # OSA: astigmatism to quadrafoil; piston, tip and tilt are no part of a PSF
_DEFOCUS = 4
_RMS_UM, _BLUR_STD = 0.02, 0.2  # priors: of each mode, and of the log of the blur over the calibration's
_LEAST_BLUR_UM = 0.05  # a PSF without blur may still have learned one: this, times exp of a small number
_BRIGHT = 96  # stamps that are fitted
_CHUNK = 8
SUSPECT = 0.2  # misfit from which a PSF is called wrong: a fifth of the light is elsewhere


@dataclasses.dataclass(frozen=True)
class PsfReport:
    """What the brightest emitters say: `misfit_before` and `misfit`, the rms of what the PSF leaves over the rms of
    the light, without noise; `zernike_um` learned, `blur_um`, and how many stamps it was seen in."""

    misfit_before: float
    misfit: float
    zernike_um: tuple[float, ...]
    blur_um: float
    stamps: int

    @property
    def suspect(self) -> bool:
        """Whether the PSF does not belong to these frames."""
        return self.misfit > SUSPECT


@pytree
class BrightStamps:
    """M stamps (M, K, K): `light` of one emitter each, others and surroundings taken off, `variance` of its noise;
    where the emitter lies from the stamp's centre, `xyz_um` (M, 3), and its `log_photons` (M,)."""

    light: jax.Array
    variance: jax.Array
    xyz_um: jax.Array
    log_photons: jax.Array


def bright_stamps(
    model: SceneModel, variables: Variables, movie: Movie, bank: Posterior, frames: jax.Array
) -> BrightStamps | None:
    """Stamps of the brightest emitters that lie whole in their frame without a bright neighbour; None for none."""
    side, pixel_um = model.table.image_px, model.ranges.pixel_um
    height, width = frames.shape[1:]
    light, variance, places = [], [], []
    picked = _pick(model, bank, (height, width))
    for frame in np.unique(picked[:, 0]):
        draw = posterior_mean(model, jax.tree.map(lambda leaf: leaf[frame], bank))  # noqa: B023
        parts = compose(model, variables, movie, draw, (height, width))
        rate, spread = (
            np.asarray(parts.rate),
            photon_variance(model.camera, parts.rate, movie.log_gain, parts.read_scale),
        )
        for k in picked[picked[:, 0] == frame, 1]:
            x, y, z = np.asarray(draw.xyz_um[k], np.float64)
            row, column = round(y / pixel_um - side / 2), round(x / pixel_um - side / 2)
            window = np.s_[row : row + side, column : column + side]
            from_centre = (x - (column + side / 2) * pixel_um, y - (row + side / 2) * pixel_um, z)
            alone = dataclasses.replace(draw, presence=jnp.zeros_like(draw.presence).at[k].set(draw.presence[k]))
            own = np.asarray(compose(model, variables, movie, alone, (height, width)).emitters)
            light.append(np.asarray(frames[frame])[window] - rate[window] + own[window])
            variance.append(np.asarray(spread)[window])
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


def _pick(model: SceneModel, bank: Posterior, shape: tuple[int, int]) -> np.ndarray:
    """(M, 2) frame and slot of up to `_BRIGHT` emitters: sure, whole, brightest first, alone within half a stamp."""
    pixel_um, side = model.ranges.pixel_um, model.table.image_px
    presence = np.asarray(jax.nn.sigmoid(bank.presence))
    place = np.asarray(bank.place.mean)
    xy = np.asarray(bank.anchor_um) + place[..., :2]
    light = np.where(presence > 0.5, np.exp(place[..., 3]), 0.0)
    edge = side / 2 * pixel_um + pixel_um
    inside = (xy > edge).all(-1) & (xy[..., 0] < shape[1] * pixel_um - edge) & (xy[..., 1] < shape[0] * pixel_um - edge)
    distance = np.linalg.norm(xy[:, :, None] - xy[:, None, :], axis=-1)
    rival = (distance < side / 4 * pixel_um) & (light[:, None, :] > 0.3 * light[:, :, None])
    rival[:, np.arange(xy.shape[1]), np.arange(xy.shape[1])] = False
    good = inside & (presence > 0.9) & ~rival.any(-1)
    order = np.argsort(-np.where(good, light, 0.0), axis=None)[:_BRIGHT]
    frame, slot = np.unravel_index(order, light.shape)
    return np.stack([frame, slot], axis=1)[good[frame, slot]]


def learn_residual(psf: Psf, stamps: BrightStamps, *, deep: bool, steps: int = 150) -> tuple[Psf, PsfReport]:
    """The PSF with what the stamps add to it, and how well it explains them.

    Each stamp keeps a place, brightness and level of its own. Defocus is learned in 2D alone: in depth it is the
    emitters' own.
    """
    count = MODES - FIRST_MODE
    free = jnp.ones(count).at[_DEFOCUS - FIRST_MODE].set(0.0 if deep else 1.0)
    blur_0 = jnp.asarray(_LEAST_BLUR_UM if psf.blur_um is None else psf.blur_um, dtype=float)
    base = (
        jnp.zeros(MODES) if psf.zernike_um is None else jnp.zeros(MODES).at[: len(psf.zernike_um)].set(psf.zernike_um)
    )
    own = jnp.zeros((len(stamps.light), 5))  # x, y, z in units of 0.01, 0.01 and 0.03 um, log photons / 10, level

    def apply(shared: jax.Array) -> Psf:
        zernike = base.at[FIRST_MODE:].add(free * _RMS_UM * shared[:count])
        return replace(psf, zernike_um=zernike, blur_um=blur_0 * jnp.exp(_BLUR_STD * shared[count]))

    def residuals(shared: jax.Array, own: jax.Array, some: BrightStamps) -> tuple[jax.Array, jax.Array]:
        one_psf = apply(shared)
        fields = pupil_fields(one_psf)

        def one(place, log_photons, moved):
            image = image_of(one_psf, fields, place + moved[:3] * jnp.array([0.01, 0.01, 0.03]))
            return image * jnp.exp(log_photons + 0.1 * moved[3]) + moved[4]

        drawn = jax.lax.map(lambda a: one(*a), (some.xyz_um, some.log_photons, own), batch_size=_CHUNK)
        return some.light - drawn, drawn - own[:, 4, None, None]

    def loss(trained: tuple[jax.Array, jax.Array], some: BrightStamps) -> jax.Array:
        left, _ = residuals(*trained, some)
        return 0.5 * jnp.sum(left**2 / some.variance) + 0.5 * jnp.sum(trained[0] ** 2)

    optimiser = optax.adam(optax.cosine_decay_schedule(0.1, steps, 0.02))

    @jax.jit
    def descend(trained, only_own: jax.Array):
        def step(carry, _):
            trained, memory = carry
            grads = jax.grad(loss)(trained, stamps)
            grads = (grads[0] * (1 - only_own), grads[1])
            updates, memory = optimiser.update(grads, memory)
            return (optax.apply_updates(trained, updates), memory), None

        return jax.lax.scan(step, (trained, optimiser.init(trained)), None, length=steps)[0][0]

    def misfit(trained: tuple[jax.Array, jax.Array]) -> float:
        left, light = residuals(*trained, stamps)
        excess = jnp.sum(left**2 - stamps.variance)
        return float(jnp.sqrt(jnp.maximum(excess, 0.0) / jnp.sum(light**2)))

    start = (jnp.zeros(count + 1), own)
    before = misfit(descend(start, jnp.ones(())))
    shared, own = descend(start, jnp.zeros(()))
    found = apply(shared)
    assert found.zernike_um is not None and found.blur_um is not None
    report = PsfReport(
        misfit_before=before,
        misfit=misfit((shared, own)),
        zernike_um=tuple(float(v) for v in found.zernike_um),
        blur_um=float(found.blur_um),
        stamps=len(stamps.light),
    )
    return found, report
