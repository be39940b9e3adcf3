"""Compare the PSF with the brightest emitters of a movie, and fit small aberrations and blur to them.

The calibration is trusted: aberrations of a few hundredths of a wavelength are fitted to the brightest emitters under
strong priors, each emitter with a location and brightness of its own. A PSF of the wrong optics cannot be mended so;
it shows as a misfit, which is reported. The misfit is measured in the frames themselves and in the cores of emitters
alone, not against haze and background, which can take up what a wrong PSF leaves.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from optics import Psf
from optics.psf import image_of, pupil_fields
from optics.pytree import pytree, replace
from training.generator.model import (
    FittedModel,
    GeneratorModel,
    expected_components,
    photon_variance,
    render_emitters,
)
from training.generator.posterior import Posterior, posterior_mean

FIRST_MODE, MODES = 3, 15  # OSA: astigmatism to quadrafoil; piston, tip and tilt are no part of a PSF
_DEFOCUS = 4
_RMS_UM, _BLUR_STD = 0.02, 0.2  # priors: of each mode, and of the log of the blur over the calibration's
_LEAST_BLUR_UM = 0.05  # start of the blur of a PSF without blur, which may still learn one
_MOST_STAMPS, _ENOUGH_STAMPS = 96, 24  # stamps that are fitted at most; and at least, for a PSF to be changed by them
_CHUNK = 8
_STEP_UM = np.array([0.01, 0.01, 0.03])  # of x, y, z of a stamp for one unit of the optimiser
_MISFIT_STEP_UM = np.array([0.04, 0.04, 0.03])  # the same for the misfit: a wrong PSF displaces emitters
_CORE = 0.05  # share of its peak above which a pixel belongs to an emitter's core
_DEPTH_SCALE_UM = 0.15  # emitters closer in depth have similar images
SUSPECT = 0.25  # misfit from which a PSF is called wrong: a quarter of the light's rms is elsewhere


@dataclasses.dataclass(frozen=True)
class PsfReport:
    """Agreement of a PSF with the brightest emitters of a movie.

    `misfit_before` and `misfit` are those of the given and of the fitted PSF (`core_misfit`), `misfit_std` the standard
    deviation; `zernike_um` and `blur_um` are the fitted ones; `stamps` is the number of emitters.
    """

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
        """Whether the fitted PSF explains the cores better than the given one, by more than the standard deviation."""
        return self.stamps >= _ENOUGH_STAMPS and self.misfit + self.misfit_std < self.misfit_before


@pytree
class BrightStamps:
    """M stamps (M, K, K) with one bright emitter each.

    `light` and `variance` of its noise are in photons; `xyz_um` (M, 3) is the emitter from the stamp's centre,
    `log_photons` (M,) its brightness.
    """

    light: jax.Array
    variance: jax.Array
    xyz_um: jax.Array
    log_photons: jax.Array


_expected_components = jax.jit(expected_components, static_argnames=("shape", "samples"))


def cut_bright_stamps(
    key: jax.Array, fitted: FittedModel, posteriors: Posterior, frames: jax.Array, *, raw: bool = False
) -> BrightStamps | None:
    """Cut stamps of the brightest emitters that lie whole in their frame (F, H, W); None where there are none.

    By default, emitters without a bright neighbour, with all other light of the model subtracted: for fitting a PSF.
    With `raw`, the brightest emitters of their neighbourhood with all light around them, which a wrong PSF may have
    explained as other emitters or structure: only emitters farther away are subtracted.
    """
    model, movie = fitted.model, fitted.movie
    side, pixel_um = model.table.image_px, model.ranges.pixel_um
    shape = (frames.shape[1], frames.shape[2])
    light, variance, rows = [], [], []
    picked = _pick(model, posteriors, shape, raw=raw)
    for frame in np.unique(picked[:, 0]):
        posterior = jax.tree.map(lambda leaf: leaf[frame], posteriors)  # noqa: B023
        mean = posterior_mean(model.ranges, posterior)
        parts = _expected_components(key, fitted, posterior, shape)
        frame_variance = np.asarray(photon_variance(model.camera, parts.rate, movie.log_gain, parts.read_scale))
        surroundings = np.asarray(parts.haze + parts.background)
        for k in picked[picked[:, 0] == frame, 1]:
            x, y, z = np.asarray(mean.xyz_um[k], np.float64)
            row, column = round(y / pixel_um - side / 2), round(x / pixel_um - side / 2)
            window = np.s_[row : row + side, column : column + side]
            from_centre = (x - (column + side / 2) * pixel_um, y - (row + side / 2) * pixel_um, z)
            distance = np.linalg.norm(np.asarray(mean.xyz_um)[:, :2] - [x, y], axis=1)
            near = distance < (side / 3 * pixel_um if raw else 0)
            others = np.where(near | (np.arange(len(near)) == k), 0.0, np.asarray(mean.presence))
            other_light, _ = render_emitters(model, mean.xyz_um, mean.photons, jnp.asarray(others), shape)
            rest = np.asarray(frames[frame]) - np.asarray(other_light) - (0.0 if raw else surroundings)
            light.append(rest[window])
            variance.append(frame_variance[window])
            rows.append((*from_centre, float(jnp.log(mean.photons[k]))))
    if not light:
        return None
    location = jnp.asarray(np.array(rows), dtype=float)
    return BrightStamps(
        jnp.asarray(np.stack(light), dtype=float),
        jnp.asarray(np.stack(variance), dtype=float),
        location[:, :3],
        location[:, 3],
    )


def _pick(model: GeneratorModel, posteriors: Posterior, shape: tuple[int, int], *, raw: bool) -> np.ndarray:
    """Pick frame and slot (M, 2) of up to `_MOST_STAMPS` emitters, brightest first.

    They are certain and lie whole in the frame; alone within half a stamp, or with `raw` the brightest within two
    thirds of one.
    """
    pixel_um, side = model.ranges.pixel_um, model.table.image_px
    presence = np.asarray(jax.nn.sigmoid(posteriors.presence))
    location = np.asarray(posteriors.location.mean)
    xy = np.asarray(posteriors.anchor_um) + location[..., :2]
    photons = np.where(presence > 0.5, np.exp(location[..., 3]), 0.0)
    edge = side / 2 * pixel_um + pixel_um
    inside = (xy > edge).all(-1) & (xy[..., 0] < shape[1] * pixel_um - edge) & (xy[..., 1] < shape[0] * pixel_um - edge)
    distance = np.linalg.norm(xy[:, :, None] - xy[:, None, :], axis=-1)
    reach, share = (side / 3, 1.0) if raw else (side / 4, 0.3)
    rival = (distance < reach * pixel_um) & (photons[:, None, :] > share * photons[:, :, None])
    rival[:, np.arange(xy.shape[1]), np.arange(xy.shape[1])] = False
    good = inside & (presence > 0.9) & ~rival.any(-1)
    order = np.argsort(-np.where(good, photons, 0.0), axis=None)[:_MOST_STAMPS]
    frame, slot = np.unravel_index(order, photons.shape)
    return np.stack([frame, slot], axis=1)[good[frame, slot]]


def core_misfit(psf: Psf, stamps: BrightStamps, *, is_3d: bool, steps: int = 150) -> tuple[float, float]:
    """Measure the misfit of a PSF, and its standard deviation (jackknife over stamps).

    The misfit is the rms of the residuals that emitters of similar depth share, over the rms of their light, in the
    cores: where an emitter is brighter than a twentieth of its peak, and two pixels around. Each stamp is fitted with
    a location, a brightness and a sloping level of its own, and a depth in 3D. What a wrong PSF leaves is alike in
    emitters of similar depth; noise, neighbours and structure are not. So only products of different stamps count:
    sum K r_j r_k / sum K l_j l_k over j != k, with K a Gaussian of their distance in depth.
    """
    residual, light = _core_residuals(psf, stamps, is_3d=is_3d, steps=steps)
    z = np.asarray(stamps.xyz_um)[:, 2]
    similar = np.exp(-0.5 * ((z[:, None] - z) / _DEPTH_SCALE_UM) ** 2) * (1 - np.eye(len(z)))
    residual_products, light_products = (similar * np.einsum("jhw,khw->jk", part, part) for part in (residual, light))

    def rms(kept: NDArray) -> float:
        pairs = np.ix_(kept, kept)
        return float(np.sqrt(max(residual_products[pairs].sum(), 0.0) / max(light_products[pairs].sum(), 1e-9)))

    every = np.arange(len(z))
    without = np.array([rms(np.delete(every, k)) for k in every])
    return rms(every), float(np.sqrt((len(z) - 1) * np.mean((without - without.mean()) ** 2)))


def _core_residuals(psf: Psf, stamps: BrightStamps, *, is_3d: bool, steps: int) -> tuple[NDArray, NDArray]:
    """Fit each stamp; return residual and light (M, K, K) of the emitters' cores, 0 elsewhere."""
    fields, side = pupil_fields(psf), psf.image_px
    step_um = _MISFIT_STEP_UM * [1, 1, is_3d]
    at = jnp.arange(side) / side - 0.5
    plane = jnp.stack([jnp.ones((side, side)), jnp.tile(at, (side, 1)), jnp.tile(at[:, None], (1, side))])

    def image_at(stamp: BrightStamps, moved: jax.Array) -> jax.Array:
        return image_of(psf, fields, stamp.xyz_um + moved * step_um)

    def fitted(stamp: BrightStamps, inside: jax.Array, moved: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Fit brightness and level by least squares; return residual and light."""
        image = image_at(stamp, moved)
        parts = jnp.concatenate([image[None] / image.max(), plane])
        weight = inside / stamp.variance
        normal = jnp.einsum("ihw,hw,jhw->ij", parts, weight, parts)
        best = jnp.linalg.solve(normal, jnp.einsum("ihw,hw->i", parts, weight * stamp.light))
        return stamp.light - jnp.einsum("i,ihw->hw", best, parts), best[0] * parts[0]

    def one_stamp(stamp: BrightStamps) -> tuple[jax.Array, jax.Array]:
        image = image_at(stamp, jnp.zeros(3))
        bright = (image > _CORE * image.max()).astype(image.dtype)
        inside = jax.lax.reduce_window(bright, -jnp.inf, jax.lax.max, (5, 5), (1, 1), "SAME")
        slope = jax.grad(lambda moved: 0.5 * jnp.sum(inside * fitted(stamp, inside, moved)[0] ** 2 / stamp.variance))
        residual, light = fitted(stamp, inside, _descend(slope, jnp.zeros(3), steps))
        return inside * residual, inside * light

    residual, light = jax.jit(lambda: jax.lax.map(one_stamp, stamps, batch_size=_CHUNK))()
    return np.asarray(residual, np.float64), np.asarray(light, np.float64)


def _descend(slope: Callable, start: Any, steps: int) -> Any:
    """Descend along `slope` from `start` by Adam, with steps that fall as a cosine."""
    optimiser = optax.adam(optax.cosine_decay_schedule(0.1, steps, 0.02))

    def step(carry, _):
        moved, memory = carry
        updates, memory = optimiser.update(slope(moved), memory)
        return (optax.apply_updates(moved, updates), memory), None

    return jax.lax.scan(step, (start, optimiser.init(start)), None, length=steps)[0][0]


def fit_aberrations(
    psf: Psf, stamps: BrightStamps, raw: BrightStamps, *, is_3d: bool, steps: int = 150
) -> tuple[Psf, PsfReport]:
    """Fit aberrations and blur of a PSF to `stamps`, and measure the misfit in `raw` stamps (`cut_bright_stamps`).

    Each stamp has a location, brightness and level of its own. Defocus is fitted in 2D alone: in 3D it is part of the
    emitters' depths.
    """
    count = MODES - FIRST_MODE
    free = jnp.ones(count).at[_DEFOCUS - FIRST_MODE].set(0.0 if is_3d else 1.0)
    blur_0 = jnp.asarray(_LEAST_BLUR_UM if psf.blur_um is None else psf.blur_um, dtype=float)
    base = (
        jnp.zeros(MODES) if psf.zernike_um is None else jnp.zeros(MODES).at[: len(psf.zernike_um)].set(psf.zernike_um)
    )

    def changed(shared: jax.Array) -> Psf:
        zernike = base.at[FIRST_MODE:].add(free * _RMS_UM * shared[:count])
        return replace(psf, zernike_um=zernike, blur_um=blur_0 * jnp.exp(_BLUR_STD * shared[count]))

    def loss(parameters: tuple[jax.Array, jax.Array]) -> jax.Array:
        shared, own = parameters
        candidate = changed(shared)
        fields = pupil_fields(candidate)

        def one_stamp(xyz_um, log_photons, moved):
            image = image_of(candidate, fields, xyz_um + moved[:3] * _STEP_UM)
            return image * jnp.exp(log_photons + 0.1 * moved[3]) + moved[4]

        expected = jax.lax.map(lambda a: one_stamp(*a), (stamps.xyz_um, stamps.log_photons, own), batch_size=_CHUNK)
        return 0.5 * jnp.sum((stamps.light - expected) ** 2 / stamps.variance) + 0.5 * jnp.sum(shared**2)

    # of each stamp: x, y, z in units of _STEP_UM, log photons / 10, level
    start = (jnp.zeros(count + 1), jnp.zeros((len(stamps.light), 5)))
    shared, _ = jax.jit(lambda: _descend(jax.grad(loss), start, steps))()
    best = changed(shared)
    assert best.zernike_um is not None and best.blur_um is not None
    (before, _), (after, std) = core_misfit(psf, raw, is_3d=is_3d), core_misfit(best, raw, is_3d=is_3d)
    report = PsfReport(
        misfit_before=before,
        misfit=after,
        misfit_std=std,
        zernike_um=tuple(float(v) for v in best.zernike_um),
        blur_um=float(best.blur_um),
        stamps=len(raw.light),
    )
    return best, report
