"""A plate learned for colour: the height map whose images tell species apart at every depth, and locate them too.

What is made small is the error that the Bhattacharyya distance allows, exp(-D) / 2, over depths and pairs of species,
each emitter against all rivals on a lattice of depths, moved to where they look most like it: sideways by whole pixels
(correlation) and then all five numbers by one damped step of least squares. The precision bound of every species
stands beside it as a weighted term. The gradient goes through both, to every height.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from optics.bounds.fisher import bound_std, information
from optics.colour.species import Species, SpeciesPsf, species_fields, species_image_of, species_psf
from optics.masks.dispersion import Dispersion, path_per_height
from optics.masks.fabrication import EtchedMask
from optics.masks.params import MaskParametrisation
from optics.masks.sampling import mask_grid, sample_path_um
from optics.progress import Event, Report, silent
from optics.psf import value_and_slopes
from optics.pytree import pytree, replace, static
from optics.types import OpticsError, PhaseMask, Psf, make_mask

_SIDEWAYS_UM = 0.08  # how far the damped step may go: where a series of one term still holds
_PRIOR_UM = 1.0  # of the precision bound: a focused spot says nothing of its z, and that is no infinite loss
_LIGHT_SHARE = 0.5


@pytree
class ColourTarget:
    """What a plate is to be good at: telling species apart at depths `z_um` (Z,), and locating them.

    For `photons` on `background` photons per pixel. `bound_um` is the precision (geometric mean over axes, depths and
    species) that is good enough; a worse one costs `bound_weight` times the logarithm of what it is worse by.
    """

    z_um: jax.Array
    photons: jax.Array
    background: jax.Array
    bound_um: jax.Array
    bound_weight: jax.Array


def make_colour_target(
    z_range_um: tuple[float, float],
    *,
    photons: float,
    background: float,
    n_depths: int = 13,
    bound_um: float = np.inf,
    bound_weight: float = 1.0,
) -> ColourTarget:
    """Build a `ColourTarget` from plain numbers; without `bound_um` colour alone counts. Raises `OpticsError`.

    >>> make_colour_target((0.0, 2.0), photons=1000, background=50).z_um.shape
    (13,)
    """
    low, high = z_range_um
    if not (np.isfinite(low) and np.isfinite(high) and low < high) or n_depths < 2:
        raise OpticsError(f"z_range_um = {z_range_um} must be two depths in um, lowest first, n_depths at least 2")
    if not (0 < photons < np.inf and 0 <= background < np.inf and bound_um > 0 and 0 <= bound_weight < np.inf):
        raise OpticsError("photons and bound_um must be positive, background and bound_weight not negative")
    numbers = {"photons": photons, "background": background, "bound_um": bound_um, "bound_weight": bound_weight}
    return ColourTarget(
        z_um=jnp.linspace(low, high, n_depths), **{name: jnp.asarray(v, dtype=float) for name, v in numbers.items()}
    )


def etched_plate(mask: PhaseMask, dispersion: Dispersion, walls: bool = False) -> EtchedMask:
    """The plate of a mask's path: height = path / (n - n_medium), not wrapped, however many waves. Traceable.

    `walls` says that neighbouring cells may differ by a wave and more: between them the phasor is interpolated.
    """
    height = mask.opd_um / path_per_height(dispersion, mask.design_wavelength_um)
    return EtchedMask(
        height_um=height,
        level=jnp.full(height.shape, -1),
        transmission=mask.transmission,
        half_width=mask.half_width,
        design_wavelength_um=mask.design_wavelength_um,
        dispersion=dispersion,
        wrapped=walls,
    )


def two_masks(first: PhaseMask, second: PhaseMask, dispersion: Dispersion, *, waves: int, size: int = 48) -> PhaseMask:
    """A path that is one mask at its wavelength and, as nearly as whole waves can make it, another at another's.

    Whole waves at `first.design_wavelength_um` change nothing there, and are no whole waves at the wavelength of
    `second`: every cell gets the number of them, 0 to `waves`, at which its phase there comes nearest. (size, size)
    cells over the pupil, a path at the first wavelength; `etched_plate` with `walls` makes it. A start for
    `design_plate` in `PixelPhase`. Raises `OpticsError` for a wrapped mask or fewer than one wave.

    >>> from optics.masks.dispersion import fused_silica
    >>> from optics.masks.library import astigmatism, flat
    >>> blue, red = flat(design_wavelength_um=0.5, size=16), astigmatism(0.1, design_wavelength_um=0.7, size=16)
    >>> path = two_masks(blue, red, fused_silica(), waves=3, size=16).opd_um / 0.5
    >>> sorted({round(turns) for turns in path.ravel().tolist()})
    [0, 1, 2, 3]
    """
    if waves < 1:
        raise OpticsError(f"waves = {waves} must be at least 1")
    x, y = mask_grid(size)
    here, there = first.design_wavelength_um, second.design_wavelength_um
    base, wanted = sample_path_um(first, x, y), sample_path_um(second, x, y)
    ratio = path_per_height(dispersion, there) / path_per_height(dispersion, here)
    counts = jnp.arange(waves + 1)
    turns = (base[None] + (counts * here)[:, None, None]) * (ratio / there) - (wanted / there)[None]
    best = jnp.argmin(jnp.abs(turns - jnp.round(turns)), axis=0)
    return make_mask(base + counts[best] * here, design_wavelength_um=float(here))


def depth_images(psf: SpeciesPsf, z_um: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Images (Z, K, K) of a species in the middle of the stamp, for one photon, and their slopes (Z, 3, K, K)."""
    fields = species_fields(psf)

    def at(z):
        return value_and_slopes(partial(species_image_of, psf, fields), jnp.zeros(3, z.dtype).at[2].set(z))

    return jax.lax.map(at, z_um, batch_size=4)


def pair_distances(own: tuple, rival: tuple, target: ColourTarget) -> jax.Array:
    """Bhattacharyya distances (Z, Z): emitters of one species at each depth, against each of the rival's depths.

    Both are what `depth_images` gives. Each rival is moved as near as one step can tell.
    """
    light, level = target.photons, target.background
    mine = jnp.sqrt(light * jnp.maximum(own[0], 0) + level)
    roots = jnp.sqrt(light * jnp.maximum(rival[0], 0) + level)
    slopes = jnp.concatenate(
        [
            light * rival[1],
            _LIGHT_SHARE * light * rival[0][:, None],
            jnp.broadcast_to(_LIGHT_SHARE * level, rival[0].shape)[:, None],
        ],
        axis=1,
    ) / (2 * roots[:, None])
    spacing = target.z_um[1] - target.z_um[0]
    scale = jnp.stack(
        [_SIDEWAYS_UM + 0 * spacing, _SIDEWAYS_UM + 0 * spacing, spacing / 2, 1 + 0 * level, 1 + 0 * level]
    )
    slopes = slopes * scale[None, :, None, None]
    side = mine.shape[-1]
    # the correlation of the roots is largest where the distance is least
    spectra = [jnp.fft.rfft2(root - jnp.sqrt(level), (2 * side, 2 * side)) for root in (mine, roots)]

    def against(i, j):
        product = jnp.fft.irfft2(spectra[0][i] * spectra[1][j].conj(), (2 * side, 2 * side))
        best = jnp.argmax(jax.lax.stop_gradient(product).ravel())
        down, right = best // (2 * side), best % (2 * side)
        moved = jnp.roll(jnp.roll(roots[j], down, 0), right, 1).ravel()
        by = jnp.roll(jnp.roll(slopes[j], down, 1), right, 2).reshape(5, -1)
        missing = mine[i].ravel() - moved
        matrix = jnp.matmul(by, by.T, precision="highest") + jnp.eye(5, dtype=by.dtype)
        step = jnp.linalg.solve(matrix, jnp.matmul(by, missing, precision="highest"))
        left = missing - jnp.matmul(step, by, precision="highest")
        return jnp.sum(left**2) / 2

    count = jnp.arange(mine.shape[0])
    return jax.lax.map(lambda i: jax.vmap(lambda j: against(i, j))(count), count)


def _together(psfs: Sequence[SpeciesPsf]) -> SpeciesPsf:
    """Species with a first axis, each filled up with lines of no weight to as many as the one that has most."""
    most = max(psf.weight.shape[0] for psf in psfs)

    def filled(psf: SpeciesPsf) -> SpeciesPsf:
        room = most - psf.weight.shape[0]
        more = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[:1], room, axis=0)]), psf)
        return replace(more, weight=jnp.concatenate([psf.weight, jnp.zeros(room, psf.weight.dtype)]))

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(filled, psfs))


@pytree
class ColourScore:
    """What `colour_loss` is made of: `error` the mean of exp(-D) / 2, `bound_um` the precision's geometric mean."""

    error: jax.Array
    bound_um: jax.Array


def colour_loss(psfs: Sequence[SpeciesPsf], target: ColourTarget) -> tuple[jax.Array, ColourScore]:
    """The number that a design makes small, and its parts. Traceable; differentiable by every height."""
    # one program for all species and one for all pairs of them: theirs side by side took as many times to compile
    pictures = jax.lax.map(lambda psf: depth_images(psf, target.z_um), _together(psfs))
    pairs = np.array([(own, rival) for own in range(len(psfs)) for rival in range(len(psfs)) if own != rival])

    def error_of(pair):
        own, rival = (jax.tree.map(lambda leaf, k=k: leaf[pair[k]], pictures) for k in (0, 1))
        return jnp.exp(-pair_distances(own, rival, target).min(axis=1)) / 2

    error = jnp.mean(jax.lax.map(error_of, jnp.asarray(pairs)))
    prior = jnp.diag(jnp.asarray([_PRIOR_UM**-2] * 3 + [0.0, 0.0], target.z_um.dtype))

    def bound(image, slope):
        by = jnp.concatenate([target.photons * slope, image[None], jnp.ones_like(image)[None]])
        return bound_std(information(by, target.photons * jnp.maximum(image, 0) + target.background) + prior)[:3]

    stds = jax.vmap(jax.vmap(bound))(*pictures)
    mean = jnp.exp(jnp.mean(jnp.log(stds)))
    worse = jnp.log(mean / jnp.minimum(target.bound_um, 1e6))  # without one: never
    sharp = 40.0  # of the kink at "good enough"
    loss = error + target.bound_weight * jax.nn.softplus(sharp * worse) / sharp
    return loss, ColourScore(error=error, bound_um=mean)


@partial(jax.jit, static_argnums=6)
def _value_and_grad(params, psf, species, family, target, dispersion, walls):
    def loss(params):
        plate = etched_plate(family.to_mask(params), dispersion, walls)
        return colour_loss([species_psf(psf, one, plate) for one in species], target)

    return jax.value_and_grad(loss, has_aux=True)(params)


@pytree
class PlateDesign:
    """What `design_plate` found: `plate` the best, its `params`, `history` of losses (N,), the parts of the loss."""

    plate: EtchedMask
    params: jax.Array
    history: jax.Array
    score: ColourScore
    label: str = static(default="")


def design_plate(
    psf: Psf,
    species: Sequence[Species],
    family: MaskParametrisation,
    target: ColourTarget,
    *,
    start: ArrayLike,
    dispersion: Dispersion,
    walls: bool = False,
    iterations: int = 100,
    label: str = "",
    report: Report = silent,
) -> PlateDesign:
    """Follow one start (parameters of `family`, radians) down the loss, by L-BFGS: what changes is the plate's height.

    `psf` has the samplings that all species need (`species.sampled_for`), and no mask. Ends after `iterations`, or
    where nothing is to be won. Raises `OpticsError` for a start of another shape.
    """
    shape = family.params_shape()
    x = np.asarray(start, dtype=float)
    if x.shape != shape or not np.isfinite(x).all():
        raise OpticsError(f"start must be {shape} parameters without NaN, not of shape {x.shape}")
    species = tuple(species)

    history: list[float] = []
    best: list = [np.inf, x.ravel(), None]

    def evaluate(flat):
        (loss, score), slope = _value_and_grad(
            jnp.asarray(flat.reshape(shape)), psf, species, family, target, dispersion, walls
        )
        loss, slope = float(loss), np.asarray(slope, float).ravel()
        if not (np.isfinite(loss) and np.isfinite(slope).all()):
            return 1e3, np.zeros_like(slope)
        if loss < best[0]:
            best[:] = [loss, np.array(flat), score]
        history.append(loss)
        numbers = {"loss": loss, "error": float(score.error), "bound_um": float(score.bound_um)}
        report(Event(f"learning {label}".strip(), len(history), iterations, numbers))
        return loss, slope

    optimize.minimize(
        evaluate, x.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations, "maxfun": iterations}
    )
    if best[2] is None:
        raise OpticsError("the loss is not finite at the start; begin at another mask or with more photons")
    params = jnp.asarray(best[1].reshape(shape))
    return PlateDesign(
        plate=etched_plate(family.to_mask(params), dispersion, walls),
        params=params,
        history=jnp.asarray(history),
        score=best[2],
        label=label,
    )
