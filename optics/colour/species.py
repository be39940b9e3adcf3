"""Species of emitters that differ in colour, behind one microscope: a band of wavelengths each, and its images.

A band is a few wavelengths with weights (`optics.colour.spectra` makes them from spectra); its image is the weighted
mean of the images at those wavelengths, each behind the plate as it is there (`plate_at`), with the focus and the
magnification that the objective has there. The index of sample and glass is taken as the same for all species.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from optics.colour.plate import Plate, check_plate, plate_at
from optics.psf import PupilFields, image_of, make_psf, pupil_fields, pupil_samples, ring_samples, without_plates
from optics.psf_table import PsfTable, check_z_range, first_degrees, tabulate_images
from optics.pytree import pytree, replace, static
from optics.types import OpticsError, Psf

_BATCH = 64  # exact images at a time


@pytree
class Species:
    """A kind of emitter by its light: W wavelengths (um) with weights that sum to 1, the shares of detected photons.

    `focus_shift_um` (W,) is how much deeper the objective is focused at each, `magnification` (W,) how much larger the
    image is than the camera's nominal pixel says.
    """

    wavelength_um: jax.Array
    weight: jax.Array
    focus_shift_um: jax.Array
    magnification: jax.Array
    name: str = static(default="")


def make_species(
    name: str,
    wavelength_um: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    focus_shift_um: ArrayLike = 0.0,
    magnification: ArrayLike = 1.0,
) -> Species:
    """Build a `Species` from one or several wavelengths, checking each number; weights are scaled to sum to 1.

    Shift and magnification are numbers for the whole band or lists, one for each wavelength. Raises `OpticsError`
    for a wavelength given twice or in nanometres, weights that are negative or all 0, or lists of different lengths.

    >>> species = make_species("red", [0.66, 0.68], [1, 3], focus_shift_um=-0.05)
    >>> species.weight.tolist()
    [0.25, 0.75]
    """
    waves = np.atleast_1d(np.asarray(wavelength_um, dtype=float))
    shares = np.ones(waves.shape) if weight is None else np.atleast_1d(np.asarray(weight, dtype=float))
    if waves.ndim != 1 or waves.size == 0 or shares.shape != waves.shape:
        raise OpticsError(f"species {name!r}: {waves.size} wavelengths need as many weights, not {shares.size}")
    if not (np.isfinite(waves).all() and (waves > 0).all()):
        raise OpticsError(f"species {name!r}: wavelength_um = {waves.tolist()} must be positive numbers")
    if waves.max() > 20:
        raise OpticsError(f"species {name!r}: wavelength_um = {waves.max():g} looks like nanometres; give um")
    if np.unique(waves).size < waves.size:
        raise OpticsError(f"species {name!r}: a wavelength of {waves.tolist()} is given twice; add up its weights")
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise OpticsError(f"species {name!r}: weight = {shares.tolist()} must not be negative, nor 0 throughout")
    chromatic: dict[str, np.ndarray] = {}
    for field, value in {"focus_shift_um": focus_shift_um, "magnification": magnification}.items():
        numbers = np.asarray(value, dtype=float)
        if numbers.shape not in ((), waves.shape) or not np.isfinite(numbers).all():
            raise OpticsError(f"species {name!r}: {field} must be one number or {waves.size}, without NaN")
        chromatic[field] = np.broadcast_to(numbers, waves.shape)
    if not ((chromatic["magnification"] > 0.5) & (chromatic["magnification"] < 2)).all():
        raise OpticsError(f"species {name!r}: magnification is relative to the camera's pixel, a number near 1")
    return Species(
        wavelength_um=jnp.asarray(waves),
        weight=jnp.asarray(shares / shares.sum()),
        focus_shift_um=jnp.asarray(chromatic["focus_shift_um"]),
        magnification=jnp.asarray(chromatic["magnification"]),
        name=name,
    )


@pytree
class SpeciesPsf:
    """How one species looks: a `Psf` whose numbers have a first axis of W wavelengths, with the weight of each.

    `magnification` (W,) is that of each wavelength: positions are those on the camera, in its nominal um.
    """

    lines: Psf
    weight: jax.Array
    magnification: jax.Array

    @property
    def image_px(self) -> int:
        """Side of a stamp."""
        return self.lines.image_px


def species_psf(psf: Psf, species: Species, plate: Plate | None) -> SpeciesPsf:
    """The images of one species through the microscope of `psf`, its mask replaced by `plate`. Traceable.

    The samplings of `psf` must suit the wavelength: `species_psfs` chooses and checks them, on the host.
    """

    def line(wavelength_um, shift_um, magnification):
        scope = psf.microscope
        here = replace(
            scope,
            wavelength_um=wavelength_um,
            focus_um=scope.focus_um + shift_um,
            pixel_um=scope.pixel_um / magnification,
        )
        return replace(psf, microscope=here, mask=plate_at(plate, wavelength_um))

    lines = jax.vmap(line)(species.wavelength_um, species.focus_shift_um, species.magnification)
    return SpeciesPsf(lines=lines, weight=species.weight, magnification=species.magnification)


def species_psfs(
    psf: Psf,
    species: Sequence[Species],
    plate: Plate | None = None,
    *,
    z_range_um: tuple[float, float] | None = None,
) -> tuple[SpeciesPsf, ...]:
    """The images of several species through one microscope and one plate, at samplings that suit all of them.

    `psf` brings microscope, stamp and blur; its own mask is the plate if none is given. `z_range_um` as in `make_psf`.
    Raises `OpticsError` for no species, two of one name, a fixed dipole, two masks, a wrapped mask without dispersion,
    or a wavelength at which plate or aberration is not known.

    >>> from optics.types import make_microscope
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> colours = make_species("orange", 0.58), make_species("red", [0.66, 0.68])
    >>> orange, red = species_psfs(make_psf(scope, image_px=15), colours)
    >>> jax.jit(species_image)(red, jnp.zeros(3)).shape
    (15, 15)
    """
    species = tuple(species)
    names = [one.name for one in species]
    if not species or len(set(names)) < len(names):
        raise OpticsError(f"species {', '.join(names) or '(none)'} must be at least one, each with a name of its own")
    if psf.dipole == "fixed":
        raise OpticsError("species are told apart for free dipoles; make the Psf with dipole='free'")
    if psf.mask is not None and plate is not None:
        raise OpticsError("the psf has a mask, and a plate is given too; one of them is in the pupil plane")
    plate = psf.mask if plate is None else plate
    for one in species:
        check_plate(plate, one.wavelength_um)
        check_plate(psf.aberration, one.wavelength_um)
    return tuple(species_psf(sampled_for(psf, species, z_range_um), one, plate) for one in species)


def sampled_for(psf: Psf, species: Sequence[Species], z_range_um: tuple[float, float] | None) -> Psf:
    """The `Psf` without its mask, at the samplings of the most demanding wavelength, and no less than its own."""
    sizes = [(psf.pupil_px, psf.ring_px, psf.oversampling)]
    for one in species:
        for wavelength, shift in zip(np.asarray(one.wavelength_um), np.asarray(one.focus_shift_um), strict=True):
            focus = psf.microscope.focus_um + shift
            scope = replace(psf.microscope, wavelength_um=jnp.asarray(wavelength), focus_um=focus)
            asked = make_psf(scope, image_px=psf.image_px, pixel=psf.pixel, z_range_um=z_range_um)
            pupil_px = pupil_samples(scope, psf.image_px, z_range_um)
            sizes.append((pupil_px, ring_samples(scope, psf.image_px), asked.oversampling))
    pupil_px, ring_px, oversampling = (max(size) for size in zip(*sizes, strict=True))
    return replace(psf, mask=None, pupil_px=pupil_px, ring_px=ring_px, oversampling=oversampling)


@jax.jit
def species_fields(psf: SpeciesPsf) -> PupilFields:
    """What all emitters of a species share (`pupil_fields`), with a first axis of W wavelengths."""
    return jax.vmap(pupil_fields)(psf.lines)


def species_image_of(psf: SpeciesPsf, fields: PupilFields, xyz_um: jax.Array) -> jax.Array:
    """`species_image` with the shared part, `species_fields(psf)`, given."""

    def one(line, shared, magnification):
        return image_of(line, shared, xyz_um / jnp.stack([magnification, magnification, jnp.ones_like(magnification)]))

    images = jax.vmap(one)(psf.lines, fields, psf.magnification)
    return jnp.tensordot(psf.weight, images, axes=1, precision="highest")


def species_image(psf: SpeciesPsf, xyz_um: jax.Array) -> jax.Array:
    """Image of one emitter of a species at `xyz_um` (3,), for one photon: (image_px, image_px), as `psf_image`.

    The mean over the band, by its weights. x and y are places on the camera; with a magnification m the emitter is
    at x / m, y / m in the sample.
    """
    return species_image_of(psf, species_fields(psf), xyz_um)


@jax.jit
def _images(psf: SpeciesPsf, fields: PupilFields, points: jax.Array) -> jax.Array:
    return jax.lax.map(lambda point: species_image_of(psf, fields, point), points, batch_size=_BATCH // 8)


def species_images(psf: SpeciesPsf, xyz_um: ArrayLike) -> np.ndarray:
    """Images (N, image_px, image_px) of N emitters at `xyz_um` (N, 3), for one photon each; a host function.

    Any N is one compilation.
    """
    points = np.asarray(xyz_um, dtype=float).reshape(-1, 3)
    fields, images = species_fields(psf), []
    # all that the plate does is in the fields: without it here, one compilation serves all plates
    psf = replace(psf, lines=without_plates(psf.lines))
    for start in range(0, len(points), _BATCH):
        batch = points[np.minimum(np.arange(start, start + _BATCH), len(points) - 1)]
        images.append(np.asarray(_images(psf, fields, jnp.asarray(batch)))[: len(points) - start])
    return np.concatenate(images) if images else np.zeros((0, psf.image_px, psf.image_px))


def tabulate_species(
    psf: SpeciesPsf, z_range_um: tuple[float, float], *, reach_px: float = 1.5, tolerance: float = 1e-3
) -> PsfTable:
    """Tabulate the images of a species, for fits: as `tabulate_psf`, which says what the arguments mean.

    >>> from optics.types import make_microscope
    >>> scope = make_microscope(na=0.9, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> flat = make_psf(scope, image_px=9, pupil_px=16)
    >>> red, = species_psfs(flat, [make_species("red", 0.67)], z_range_um=(0.0, 0.3))
    >>> bool(tabulate_species(red, (0.0, 0.3), reach_px=0.5).error < 1e-3)
    True
    """
    shortest = int(np.argmin(np.asarray(psf.lines.microscope.wavelength_um)))
    one: Psf = jax.tree.map(lambda leaf: leaf[shortest], psf.lines)
    low, high = check_z_range(one, z_range_um)
    pixel_um = float(one.microscope.pixel_um * psf.magnification[shortest])
    return tabulate_images(
        lambda points: species_images(psf, points).reshape(len(points), -1),
        (low, high),
        image_px=psf.image_px,
        pixel_um=pixel_um,
        degrees=first_degrees(one, reach_px * pixel_um, high - low, tolerance),
        reach_px=reach_px,
        tolerance=tolerance,
    )
