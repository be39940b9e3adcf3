"""From a `Psf` to pictures: the image of one point, in photons per pixel, for one photon detected."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jax.typing import ArrayLike

from optics import fourier
from optics.grids import DiskNodes, gauss_nodes, pixel_centres_um
from optics.masks.sampling import check_wavelength
from optics.pupil import make_pupil
from optics.pytree import pytree, replace
from optics.scalar import scalar_fields, scalar_power
from optics.types import Microscope, OpticsError, PhaseMask, Psf, is_matched
from optics.vectorial import axis_of, dipole_fields, dipole_power, fixed_dipole_power, orient

_CHOICES = {
    "kind": ("scalar", "vectorial"),
    "dipole": ("fixed", "free"),
    "polarisation": ("both", "x", "y"),
    "pixel": ("centre", "integrated"),
}
_MARGIN_PX = 2  # camera pixels computed beyond the stamp, so that blur and pixel integration see its surroundings


def make_psf(
    microscope: Microscope,
    *,
    mask: PhaseMask | None = None,
    aberration: PhaseMask | None = None,
    zernike_um: ArrayLike | None = None,
    blur_um: float | None = None,
    kind: str = "vectorial",
    dipole: str = "free",
    polarisation: str = "both",
    image_px: int = 41,
    pupil_px: int | None = None,
    ring_px: int | None = None,
    pixel: str = "integrated",
    z_range_um: tuple[float, float] | None = None,
) -> Psf:
    """Build a `Psf`, choosing the samplings that the optics need and checking each argument.

    `image_px` is the side of the stamp in camera pixels. `z_range_um` are the emitter depths to be
    imaged: with the stamp they decide `pupil_px` unless it is given; `ring_px` are the samples beyond the
    critical angle. Raises `OpticsError` naming the argument.

    >>> from optics import make_microscope
    >>> scope = make_microscope(na=1.4, n_immersion=1.515, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, image_px=31)
    >>> psf.image_px, psf.pupil_px, psf.ring_px, psf.oversampling
    (31, 40, 6, 2)
    """
    given = {"kind": kind, "dipole": dipole, "polarisation": polarisation, "pixel": pixel}
    for name, value in given.items():
        if value not in _CHOICES[name]:
            raise OpticsError(f"{name} = {value!r} must be one of {', '.join(map(repr, _CHOICES[name]))}")
    if kind == "scalar" and (dipole, polarisation) != ("free", "both"):
        raise OpticsError(
            f"kind = 'scalar' knows no dipole = {dipole!r} with polarisation = {polarisation!r}; use kind='vectorial'"
        )
    if not (isinstance(image_px, int | np.integer) and image_px >= 3):
        raise OpticsError(f"image_px = {image_px!r} must be a whole number of at least 3 pixels")
    if blur_um is not None and not (np.isfinite(blur_um) and 0 <= blur_um < 5):
        raise OpticsError(f"blur_um = {blur_um!r} must be a sigma in um between 0 and 5")
    for plate in (mask, aberration):
        check_wavelength(plate, microscope.wavelength_um)
    if ring_px is None:
        ring_px = ring_samples(microscope, int(image_px))
    if pupil_px is None:
        pupil_px = pupil_samples(microscope, int(image_px), z_range_um)
    if pupil_px < 8 or ring_px < 0:
        raise OpticsError(f"pupil_px = {pupil_px} must be at least 8 and ring_px = {ring_px} not negative")
    # camera pixels alias the intensity, whose band reaches 2 NA / wavelength: integrate on a finer grid
    fine = math.ceil(5 * float(microscope.pixel_um) * float(microscope.na) / float(microscope.wavelength_um))
    return Psf(
        microscope=microscope,
        mask=mask,
        zernike_um=None if zernike_um is None else jnp.asarray(zernike_um, dtype=float),
        blur_um=None if blur_um is None else jnp.asarray(blur_um, dtype=float),
        aberration=aberration,
        kind=kind,  # pyright: ignore[reportArgumentType]
        dipole=dipole,  # pyright: ignore[reportArgumentType]
        polarisation=polarisation,  # pyright: ignore[reportArgumentType]
        image_px=int(image_px),
        pupil_px=int(pupil_px),
        ring_px=int(ring_px),
        pixel=pixel,  # pyright: ignore[reportArgumentType]
        oversampling=max(2, fine) if pixel == "integrated" else 1,
    )


def pupil_samples(microscope: Microscope, image_px: int, z_range_um: tuple[float, float] | None = None) -> int:
    """Pupil samples a side for an error below 1e-3: a share of the phase that the rim sees, and a reserve.

    The phase is that of the stamp's half side and the mean slope of defocus over `z_range_um` (default:
    1 um either side of the focus). A critical angle inside the pupil asks for more. The constants are
    those of the sweep in `benchmarks/accuracy.py`.
    """
    na, n_s, n_i = _rim(microscope)
    k0 = 2 * math.pi / float(microscope.wavelength_um)
    focus = float(microscope.focus_um)
    low, high = z_range_um if z_range_um is not None else (focus - 1.0, focus + 1.0)
    lateral = k0 * na * image_px * float(microscope.pixel_um) / 2
    rho = np.linspace(0, 0.98 * min(1.0, n_s / na), 200)
    slope_s = na**2 * rho / np.sqrt(n_s**2 - (na * rho) ** 2)  # -d(n cos theta)/d rho
    slope_i = na**2 * rho / np.sqrt(n_i**2 - (na * rho) ** 2)
    axial = k0 * max(np.abs(z * slope_s - focus * slope_i).mean() for z in (low, high))
    reserve, by_lateral, by_axial = (14, 0.7, 0.75) if na > 0.999 * n_s else (10, 0.6, 0.35)
    return 2 * math.ceil((reserve + by_lateral * lateral + by_axial * axial) / 2)


def _rim(microscope: Microscope) -> tuple[float, float, float]:
    na = min(float(microscope.na), float(microscope.iris_na))
    return na, float(microscope.n_sample), float(microscope.n_immersion)


def ring_samples(microscope: Microscope, image_px: int) -> int:
    """Samples a side between the critical angle and the rim: 0 where the rim lies well inside that angle.

    They resolve the focus across the ring, and the longest chord of the ring across the stamp.
    """
    na, n_s, n_i = _rim(microscope)
    if na <= n_s:
        # a root on the rim itself, as with an iris at n_sample, still wants the nodes of `sine_panel`
        return 4 if na > 0.999 * n_s else 0
    k0 = 2 * math.pi / float(microscope.wavelength_um)
    axial = k0 * abs(float(microscope.focus_um)) * (math.sqrt(n_i**2 - n_s**2) - math.sqrt(n_i**2 - na**2))
    lateral = k0 * math.sqrt(na**2 - n_s**2) * image_px * float(microscope.pixel_um) / 2
    return math.ceil(5 + 0.5 * axial + 0.12 * lateral)


def depth_um(scope: Microscope, z_um: jax.Array) -> jax.Array:
    """The depth that the optics use: z, but not above the coverslip where the layers differ in index.

    With `where` rather than `maximum`, so that the derivative at z = 0 is 1.
    """
    return jnp.where((z_um < 0) & ~is_matched(scope), 0.0, z_um)


@pytree
class PupilFields:
    """What all emitters of one `Psf` share: pupil fields (F, P, Q) with weights and mask, and k in rad/um.

    `light` (P, Q) is what each node carries of a dipole's light at z = 0. `kernel` (image_px, fine_px)
    blurs and integrates over pixels; None where pixels are sampled at their centres. Of a fixed dipole the fields
    are (polarisations, 3, P, Q), one for each axis, and `light` (3, 3, P, Q) their second moments: `_oriented`
    makes the above of them.
    """

    fields: jax.Array
    kx_rad_um: jax.Array
    ky_rad_um: jax.Array
    kz_sample_rad_um: jax.Array
    kz_immersion_rad_um: jax.Array
    light: jax.Array
    kernel: jax.Array | None


def _lifted(part: jax.Array, ndim: int) -> jax.Array:
    """An array with axes of one in front, `ndim` in all."""
    return part.reshape((1,) * (ndim - part.ndim) + part.shape)


def pupil_fields(psf: Psf, nodes: DiskNodes | None = None) -> PupilFields:
    """Compute once what every emitter of a `Psf` needs; `nodes` replaces the pupil quadrature.

    `psf_image` does it by itself; a loop over emitters does it before the loop and calls `image_of`.
    """
    pupil = make_pupil(psf, nodes)
    if psf.kind == "scalar":
        unweighted = scalar_fields(psf.microscope, pupil) * pupil.phasor[None]
    else:
        unweighted = dipole_fields(psf.microscope, pupil, psf.dipole, psf.polarisation)
        unweighted = unweighted * _lifted(pupil.phasor, unweighted.ndim)
    if psf.dipole == "fixed":
        light = jnp.einsum("capq,cbpq->abpq", unweighted, unweighted.conj(), precision=Precision.HIGHEST).real
    else:
        light = jnp.sum(unweighted.real**2 + unweighted.imag**2, axis=0)
    fields = unweighted * _lifted(pupil.weight, unweighted.ndim)
    sampled = psf.pixel == "centre" and psf.blur_um is None
    return PupilFields(
        fields=_materialised(fields),
        kx_rad_um=pupil.kx_rad_um,
        ky_rad_um=pupil.ky_rad_um,
        kz_sample_rad_um=_materialised(pupil.kz_sample_rad_um),
        kz_immersion_rad_um=pupil.kz_immersion_rad_um,
        light=light * _lifted(pupil.weight, light.ndim),
        kernel=None if sampled else pixel_kernel(psf),
    )


compiled_fields = jax.jit(pupil_fields)


def without_plates(psf: Psf) -> Psf:
    """A `Psf` without what is in its `pupil_fields` already: with those one program serves all masks of its optics."""
    return replace(psf, mask=None, aberration=None, zernike_um=None)


def _materialised(values: jax.Array) -> jax.Array:
    """The same complex values, behind a product with the identity.

    XLA would otherwise fuse Fresnel's formulas and the mask into the loop over emitters and evaluate them
    anew for each (three times slower on the CPU, where `optimization_barrier` does not stop it).
    """
    identity = jnp.eye(values.shape[-1], dtype=values.real.dtype)
    real, imaginary = (jnp.matmul(part, identity, precision=Precision.HIGHEST) for part in (values.real, values.imag))
    return jax.lax.complex(real, imaginary)


def intensity_at(
    psf: Psf,
    pupil: PupilFields,
    xyz_um: jax.Array,
    x_um: jax.Array,
    y_um: jax.Array,
    refocus_um: jax.Array | float | None = None,
    dipole_rad: jax.Array | None = None,
) -> jax.Array:
    """Photon density (1/um**2) at any symmetric grid of points of the image plane, for one photon.

    `xyz_um` (3,) relative to the stamp's centre; `x_um` (L,), `y_um` (K,) symmetric about 0; returns
    (K, L). No pixel and no blur. `refocus_um` is added to the focus of the `Psf`, as in a bead stack;
    `dipole_rad` (2,) as in `psf_image`.
    """
    pupil = _oriented(psf, pupil, dipole_rad)
    x, y, z = xyz_um[0], xyz_um[1], depth_um(psf.microscope, xyz_um[2])
    phase = pupil.kz_sample_rad_um.real * z - pupil.kx_rad_um * x - pupil.ky_rad_um * y
    if refocus_um is not None:
        phase = phase - pupil.kz_immersion_rad_um * refocus_um
    decay = jnp.exp(-pupil.kz_sample_rad_um.imag * z)
    moving = jax.lax.complex(decay * jnp.cos(phase), decay * jnp.sin(phase))
    light = fourier.intensity(
        pupil.fields * _lifted(moving, pupil.fields.ndim), pupil.kx_rad_um, pupil.ky_rad_um[:, 0], x_um, y_um
    )
    # Parseval: the integral of |E|**2 over the plane is (2 pi)**2 times that over the pupil
    return light / ((2 * jnp.pi) ** 2 * _power(psf, z, dipole_rad))


def _oriented(psf: Psf, pupil: PupilFields, dipole_rad: jax.Array | None) -> PupilFields:
    """The pupil fields of one emitter: those of a fixed dipole added up for its orientation."""
    if psf.dipole == "free":
        if dipole_rad is not None:
            raise OpticsError("dipole_rad belongs to a fixed dipole; leave it out, or make the Psf with dipole='fixed'")
        return pupil
    if dipole_rad is None:
        raise OpticsError("dipole = 'fixed' needs dipole_rad = (polar_rad, azimuth_rad) of the emitter")
    axis = axis_of(dipole_rad)
    light = jnp.einsum("a,b,abpq->pq", axis, axis, pupil.light, precision=Precision.HIGHEST)
    return replace(pupil, fields=orient(pupil.fields, dipole_rad), light=light)


def _power(psf: Psf, z_um: jax.Array, dipole_rad: jax.Array | None) -> jax.Array:
    """Light of the emitter through the full, loss-free pupil, both polarisations: what `psf_image` divides by."""
    if psf.kind == "scalar":
        return scalar_power(psf.microscope, z_um)
    if dipole_rad is None:
        return dipole_power(psf.microscope, z_um)
    return fixed_dipole_power(psf.microscope, z_um, dipole_rad)


def psf_image(
    psf: Psf, xyz_um: jax.Array, nodes: DiskNodes | None = None, dipole_rad: jax.Array | None = None
) -> jax.Array:
    """Image of one point at `xyz_um` (3,), for one detected photon: (image_px, image_px) photons per pixel.

    x and y from the stamp's centre, z from the coverslip, in um. A density over the infinite image plane:
    it sums to 1 less what an iris or a mask's transmission takes and what falls outside the stamp.
    Batch with `jax.vmap`. Model: vectorial, see `optics/vectorial.py`.

    A `Psf` with a fixed dipole needs `dipole_rad` (2,): the polar angle from +z and the azimuth from x towards y.
    Its image sums to 1 as well, over both polarisations: photons are those that the full pupil would detect of
    THIS emitter. How many they are depends on the orientation (`collected_fraction`); with that as the weight,
    the mean over orientations is the image of the free dipole exactly. Of a dipole that wobbles in part, with
    order parameter g, the image is the mean of fixed and free weighted by g f_fixed and (1 - g) f_free, f the
    collected fractions (Backer & Moerner 2014, doi 10.1021/jp501778z).

    >>> from optics import make_microscope
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, image_px=61, pixel="centre")
    >>> image = jax.jit(psf_image)(psf, jnp.array([0.0, 0.0, 0.0]))
    >>> bool(0.95 < image.sum() < 1)
    True
    """
    return image_of(psf, pupil_fields(psf, nodes), xyz_um, dipole_rad=dipole_rad)


def image_of(
    psf: Psf,
    pupil: PupilFields,
    xyz_um: jax.Array,
    refocus_um: jax.Array | float | None = None,
    dipole_rad: jax.Array | None = None,
) -> jax.Array:
    """`psf_image` with the shared part, `pupil_fields(psf)`, given; `refocus_um` is added to the focus."""
    pixel = psf.microscope.pixel_um
    if pupil.kernel is None:
        x = pixel_centres_um(psf.image_px, pixel)
        return intensity_at(psf, pupil, xyz_um, x, x, refocus_um, dipole_rad) * pixel**2
    fine_px = psf.oversampling * (psf.image_px + 2 * _MARGIN_PX)
    x = pixel_centres_um(fine_px, pixel / psf.oversampling)
    light = intensity_at(psf, pupil, xyz_um, x, x, refocus_um, dipole_rad)
    columns = jnp.einsum("kl,jl->kj", light, pupil.kernel, precision=Precision.HIGHEST)
    return jnp.einsum("ik,kj->ij", pupil.kernel, columns, precision=Precision.HIGHEST)


def value_and_slopes(
    function: Callable[[jax.Array], jax.Array], at: jax.Array, n: int = 3
) -> tuple[jax.Array, jax.Array]:
    """Value (...) of a function at a point (P,), and its derivatives (n, ...) by the point's first n numbers.

    Forward mode, exact; the value is computed once.

    >>> value, slopes = value_and_slopes(lambda point: point[0] * point[1:], jnp.array([2.0, 3.0, 5.0]))
    >>> value.tolist(), slopes[0].tolist()
    ([6.0, 10.0], [3.0, 5.0])
    """

    def push(direction):
        return jax.jvp(function, (at,), (direction,))

    values, slopes = jax.vmap(push)(jnp.eye(n, at.shape[0], dtype=at.dtype))
    return values[0], slopes


def image_and_slopes(psf: Psf, pupil: PupilFields, xyz_um: jax.Array, dipole_rad: jax.Array | None = None) -> jax.Array:
    """Image of one photon and its derivatives by x, y, z (1/um): (4, image_px, image_px); arguments as `image_of`."""
    image, slopes = value_and_slopes(lambda point: image_of(psf, pupil, point, dipole_rad=dipole_rad), xyz_um)
    return jnp.concatenate([image[None], slopes])


def transmitted_fraction(
    psf: Psf, pupil: PupilFields, z_um: jax.Array, dipole_rad: jax.Array | None = None
) -> jax.Array:
    """Share of an emitter's photons that reaches the image plane, anywhere on it: 1 for a loss-free full pupil.

    Less with an iris, a polariser or a mask's transmission. What a stamp lacks of it fell outside the stamp.
    """
    z = depth_um(psf.microscope, z_um)
    light = _oriented(psf, pupil, dipole_rad).light
    return jnp.sum(light * jnp.exp(-2 * pupil.kz_sample_rad_um.imag * z)) / _power(psf, z, dipole_rad)


def pixel_kernel(psf: Psf) -> jax.Array:
    """The matrix (image_px, fine_px) that blurs and integrates a band-limited intensity along one axis.

    Between the fine samples the intensity is known exactly (its band ends at 2 NA / wavelength), so the
    integral over a pixel after a Gaussian blur is a sum over samples with the kernel
    k(x) = 2 integral_0^F sinc(p f) exp(-2 pi**2 sigma**2 f**2) taper(f) cos(2 pi f x) df,
    with a taper in the empty band between the intensity and its first alias.
    """
    scope = psf.microscope
    fine_um = scope.pixel_um / psf.oversampling
    band = 2 * scope.na / scope.wavelength_um
    half_rate = 0.5 / fine_um
    low, high = jnp.minimum(band, half_rate), jnp.maximum(2 * half_rate - band, half_rate)
    dtype = jnp.result_type(scope.pixel_um)
    t, w = gauss_nodes(64 + 8 * psf.image_px, dtype)
    f, weight = high * (t + 1) / 2, high * w / 2
    across = jnp.clip((f - low) / jnp.maximum(high - low, 1e-9), 0.0, 1.0)
    response = jnp.cos(jnp.pi / 2 * across) ** 2
    if psf.pixel == "integrated":
        response = response * jnp.sinc(f * scope.pixel_um)
    if psf.blur_um is not None:
        response = response * jnp.exp(-2 * (jnp.pi * psf.blur_um * f) ** 2)
    # pixel j and sample l are (j s - l + constant) fine steps apart: few distinct distances
    s, fine_px = psf.oversampling, psf.oversampling * (psf.image_px + 2 * _MARGIN_PX)
    offset = (fine_px - 1) / 2 - (psf.image_px - 1) / 2 * s
    steps = np.arange(psf.image_px)[:, None] * s - np.arange(fine_px)[None, :] + round(2 * offset) / 2
    distances, where = np.unique(np.abs(steps), return_inverse=True)
    angle = 2 * jnp.pi * fine_um * distances.astype(dtype)[:, None] * f[None, :]
    values = 2 * jnp.sum((weight * response)[None, :] * jnp.cos(angle), axis=1)
    return values[where.reshape(steps.shape)] * fine_um * scope.pixel_um


def collected_fraction(psf: Psf, z_um: ArrayLike, dipole_rad: jax.Array | None = None) -> jax.Array:
    """Part of a dipole's emission into the sample half-spaces that the full pupil receives, at depth z.

    Light power through the objective over the power that the dipole would emit in an unbounded sample;
    no change of the emission rate by the interface. Of a free dipole, or of one fixed at `dipole_rad` (2,).
    A free one in a matched medium: (1 - cos(theta_max))/2.

    >>> from optics import make_microscope
    >>> scope = make_microscope(na=1.2, n_immersion=1.4, n_sample=1.4, wavelength_um=0.6, pixel_um=0.1)
    >>> fraction = jax.jit(collected_fraction)(make_psf(scope), 0.5)
    >>> bool(abs(fraction - (1 - (1 - (1.2 / 1.4) ** 2) ** 0.5) / 2) < 1e-5)
    True
    """
    scope = psf.microscope
    z = depth_um(scope, jnp.asarray(z_um, dtype=float))
    mean_axis = dipole_power(scope, z) / 3 if dipole_rad is None else fixed_dipole_power(scope, z, dipole_rad)
    # matched, full sphere: 2 / cos theta per angle of three axes; the pupil's element is k**2 cos theta d(solid angle)
    whole = 2 * 4 * jnp.pi * (2 * jnp.pi / scope.wavelength_um) ** 2 * scope.n_sample**2 / 3
    return mean_axis / whole * scope.n_immersion / scope.n_sample  # flux through a plane: n cos(theta) E**2
