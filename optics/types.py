"""The nouns of the optics: frozen pytrees, and the builders that check what a user hands in.

Every optical number is a leaf (differentiable, no new compilation when it changes); only sizes and
kinds are static. The builders `make_*` validate on the host and name the offending field; the classes
themselves never validate, because JAX rebuilds them with tracers inside.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.pytree import pytree, static

# Below it the excess noise factor 2 - 1 / em_gain of a multiplication register is no longer nearly 2.
LEAST_EM_GAIN = 10.0


class OpticsError(ValueError):
    """An optical number or array that cannot be right; the message names the field and the remedy."""


@pytree
class Microscope:
    """An objective focused into a sample, and the camera's pixel in object space.

    All fields are scalars; lengths in um. `focus_um` is the nominal focal plane, measured like z from
    the coverslip into the sample. `iris_na` stops the pupil below `na` (equal to `na`: no iris).
    """

    na: jax.Array
    iris_na: jax.Array
    n_immersion: jax.Array
    n_coverslip: jax.Array
    n_sample: jax.Array
    wavelength_um: jax.Array
    pixel_um: jax.Array
    focus_um: jax.Array


def is_matched(scope: Microscope) -> jax.Array:
    """Whether sample, coverslip and immersion have one index: only then is there a sample at z < 0."""
    return (scope.n_sample == scope.n_coverslip) & (scope.n_sample == scope.n_immersion)


@pytree
class PhaseMask:
    """An optical path added in the pupil plane, with an amplitude transmission.

    `opd_um` and `transmission` are (M, M), row = y, column = x, sampled at cell centres of a square
    whose half side is `half_width` pupil radii (radius 1 is the NA). Outside the square the path is 0
    and the transmission 1. A `wrapped` mask is known modulo its design wavelength: it is interpolated
    as a phasor, and means something only at that wavelength.
    """

    opd_um: jax.Array
    transmission: jax.Array
    half_width: jax.Array
    design_wavelength_um: jax.Array
    wrapped: bool = static(default=False)


@pytree
class Psf:
    """Everything that decides the image of one point: what `psf_image` reads.

    `mask` None is a clear pupil. `aberration` is what the instrument itself does to the light, as retrieved
    from beads: it acts in the plane of `mask`, which is what one may change. `zernike_um` (J,) are rms
    amplitudes of the first J OSA/ANSI modes on the unit pupil (evaluated exactly, not on a grid). `blur_um`
    is the sigma of a Gaussian blur of the intensity; None is no blur. `pupil_px` pupil samples a side
    resolve the light below the critical angle, `ring_px` more on each side the super-critical ring (0 where
    NA <= n_sample); `oversampling` fine samples a pixel side carry the integral over the pixel.
    `dipole` "free" rotates fast, "fixed" has an orientation that `psf_image` is given; `polarisation` "x" or
    "y" is a polariser in front of the camera.
    """

    microscope: Microscope
    mask: PhaseMask | None
    zernike_um: jax.Array | None
    blur_um: jax.Array | None
    aberration: PhaseMask | None = None
    kind: Literal["vectorial", "scalar"] = static(default="vectorial")
    dipole: Literal["free", "fixed"] = static(default="free")
    polarisation: Literal["both", "x", "y"] = static(default="both")
    image_px: int = static(default=41)
    pupil_px: int = static(default=64)
    ring_px: int = static(default=0)
    pixel: Literal["integrated", "centre"] = static(default="integrated")
    oversampling: int = static(default=1)


@pytree
class Camera:
    """An sCMOS or EMCCD camera; fields are scalars or (H, W) maps, `em_gain` and `spurious_e` scalars.

    adu = offset_adu + gain_adu_per_e * (M(electrons) + Normal(0, read_noise_e)),
    electrons = Poisson(quantum_efficiency * photons + spurious_e).
    M is nothing for "scmos" and the random multiplication by `em_gain` on average for "emccd" (`optics/camera.py`).
    `gain_adu_per_e` and `read_noise_e` are those of the output amplifier, after the multiplication; `spurious_e`
    are electrons per pixel and frame that no photon made. An "scmos" has `em_gain` 1 and `spurious_e` 0.
    """

    gain_adu_per_e: jax.Array
    offset_adu: jax.Array
    read_noise_e: jax.Array
    quantum_efficiency: jax.Array
    em_gain: jax.Array | float = 1.0
    spurious_e: jax.Array | float = 0.0
    kind: Literal["scmos", "emccd"] = static(default="scmos")


@pytree
class Emitters:
    """Up to N point emitters of one frame; N is a capacity, `valid` marks those that are there.

    `xyz_um` (N, 3) in frame coordinates (origin at the outer corner of the first pixel, x right, y down,
    z from the coverslip into the sample), `photons` (N,) that a loss-free full pupil would detect,
    `valid` (N,) bool. `channel` (N,) int32 is the colour: which of the PSFs of a scene draws an emitter; None is 0
    for all.
    """

    xyz_um: jax.Array
    photons: jax.Array
    valid: jax.Array
    channel: jax.Array | None = None


def _positive(name: str, value) -> jax.Array:
    number = _finite(name, value)
    if not float(number) > 0:
        raise OpticsError(f"{name} = {float(number):g} must be positive")
    return number


def _finite(name: str, value) -> jax.Array:
    number = jnp.asarray(value, dtype=float)
    if number.ndim != 0:
        raise OpticsError(f"{name} must be one number, not an array of shape {number.shape}")
    if not np.isfinite(float(number)):
        raise OpticsError(f"{name} = {float(number)} is not a finite number")
    return number


def make_microscope(
    *,
    na: float,
    n_immersion: float,
    n_sample: float,
    wavelength_um: float,
    pixel_um: float,
    n_coverslip: float | None = None,
    focus_um: float = 0.0,
    iris_na: float | None = None,
) -> Microscope:
    """Build a `Microscope` from plain numbers, checking each.

    Lengths in um. `n_coverslip` defaults to `n_immersion`, `iris_na` to `na` (no iris).
    Raises `OpticsError` for a length that looks like nanometres, an NA that its immersion cannot carry,
    an index below 1, or a number that is not finite; the message names the field.

    >>> scope = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.67, pixel_um=0.11)
    >>> float(scope.iris_na) == float(scope.na)
    True
    """
    wavelength = _positive("wavelength_um", wavelength_um)
    pixel = _positive("pixel_um", pixel_um)
    if wavelength > 20:
        raise OpticsError(f"wavelength_um = {wavelength_um:g} looks like nanometres; give {wavelength_um / 1000:g}")
    if pixel > 20:
        raise OpticsError(
            f"pixel_um = {pixel_um:g} looks like nanometres or a camera pixel; give the pixel in object space in um"
        )
    focus = _finite("focus_um", focus_um)
    if abs(float(focus)) > 500:
        raise OpticsError(f"focus_um = {focus_um:g} looks like nanometres; give {focus_um / 1000:g}")
    coverslip = n_immersion if n_coverslip is None else n_coverslip
    indices = {"n_immersion": n_immersion, "n_coverslip": coverslip, "n_sample": n_sample}
    for name, value in indices.items():
        if not 1.0 <= float(_positive(name, value)) <= 4.0:
            raise OpticsError(f"{name} = {value:g} is not a refractive index (1 to 4)")
    aperture = _positive("na", na)
    for name in ("n_immersion", "n_coverslip"):
        if float(aperture) >= float(indices[name]):
            raise OpticsError(f"na = {na:g} must be below {name} = {indices[name]:g}")
    iris = aperture if iris_na is None else _positive("iris_na", iris_na)
    if float(iris) > float(aperture):
        raise OpticsError(f"iris_na = {iris_na:g} must not exceed na = {na:g}")
    return Microscope(
        na=aperture,
        iris_na=iris,
        n_immersion=_finite("n_immersion", n_immersion),
        n_coverslip=_finite("n_coverslip", coverslip),
        n_sample=_finite("n_sample", n_sample),
        wavelength_um=wavelength,
        pixel_um=pixel,
        focus_um=focus,
    )


def make_mask(
    opd_um: ArrayLike,
    *,
    design_wavelength_um: float,
    transmission: ArrayLike | None = None,
    half_width: float = 1.0,
    wrapped: bool = False,
) -> PhaseMask:
    """Build a `PhaseMask` from an (M, M) optical path in um, checking shape and values.

    Raises `OpticsError` where the array is not square, holds NaN or Inf, or a transmission lies outside [0, 1].

    >>> make_mask(np.zeros((64, 64)), design_wavelength_um=0.58).opd_um.shape
    (64, 64)
    """
    opd = jnp.asarray(opd_um, dtype=float)
    if opd.ndim != 2 or opd.shape[0] != opd.shape[1] or opd.shape[0] < 2:
        raise OpticsError(f"opd_um must be a square 2-D array, not of shape {opd.shape}")
    through = jnp.ones_like(opd) if transmission is None else jnp.asarray(transmission, dtype=float)
    if through.shape != opd.shape:
        raise OpticsError(f"transmission {through.shape} must have the shape of opd_um {opd.shape}")
    if not bool(jnp.isfinite(opd).all()):
        raise OpticsError("opd_um holds NaN or Inf; replace them (0 is a clear pixel) before building the mask")
    if not bool(((through >= 0) & (through <= 1)).all()):
        raise OpticsError("transmission must lie in [0, 1]")
    return PhaseMask(
        opd_um=opd,
        transmission=through,
        half_width=_positive("half_width", half_width),
        design_wavelength_um=_positive("design_wavelength_um", design_wavelength_um),
        wrapped=wrapped,
    )


def make_camera(
    *,
    kind: Literal["scmos", "emccd"] = "scmos",
    gain_adu_per_e: ArrayLike = 1.0,
    offset_adu: ArrayLike = 0.0,
    read_noise_e: ArrayLike = 0.0,
    quantum_efficiency: ArrayLike = 1.0,
    em_gain: float | None = None,
    spurious_e: float = 0.0,
) -> Camera:
    """Build a `Camera`; gain, offset, read noise and efficiency are numbers or (H, W) maps of one shape.

    `em_gain` (mean multiplication) and `spurious_e` (electrons per pixel and frame, before it) are numbers of an
    "emccd". Raises `OpticsError` for a gain that is not positive, a negative read noise, a quantum efficiency
    outside (0, 1], NaN or Inf, maps of different shapes, or an EM gain that does not fit the kind.

    >>> make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.6).read_noise_e.shape
    ()
    >>> make_camera(kind="emccd", em_gain=300.0, gain_adu_per_e=0.02, read_noise_e=60.0).kind
    'emccd'
    """
    fields = {
        "gain_adu_per_e": gain_adu_per_e,
        "offset_adu": offset_adu,
        "read_noise_e": read_noise_e,
        "quantum_efficiency": quantum_efficiency,
    }
    arrays = {name: jnp.asarray(value, dtype=float) for name, value in fields.items()}
    for name, array in arrays.items():
        if array.ndim not in (0, 2):
            raise OpticsError(f"{name} must be a number or an (H, W) map, not of shape {array.shape}")
        if not bool(jnp.isfinite(array).all()):
            raise OpticsError(f"{name} holds NaN or Inf")
    shapes = {array.shape for array in arrays.values() if array.ndim}
    if len(shapes) > 1:
        raise OpticsError(f"camera maps differ in shape: {sorted(shapes)}")
    if not bool((arrays["gain_adu_per_e"] > 0).all()):
        raise OpticsError("gain_adu_per_e must be positive")
    if not bool((arrays["read_noise_e"] >= 0).all()):
        raise OpticsError("read_noise_e must not be negative")
    efficiency = arrays["quantum_efficiency"]
    if not bool(((efficiency > 0) & (efficiency <= 1)).all()):
        raise OpticsError("quantum_efficiency must lie in (0, 1]")
    multiplied = _multiplication(kind, em_gain, spurious_e)
    return Camera(**arrays, **multiplied, kind=kind)


def _multiplication(kind: str, em_gain: float | None, spurious_e: float) -> dict[str, jax.Array]:
    """The fields that only an EMCCD has, checked; data sheets and users write "off" as None, 0 or 1."""
    if kind not in ("scmos", "emccd"):
        raise OpticsError(f"kind = {kind!r} must be 'scmos' or 'emccd'")
    spurious = _finite("spurious_e", spurious_e)
    if kind == "scmos":
        if em_gain is not None:
            raise OpticsError(f"em_gain = {em_gain} belongs to kind='emccd'; leave it out, or set the kind")
        if float(spurious) != 0:
            raise OpticsError(f"spurious_e = {spurious_e:g} belongs to kind='emccd'; count dark charge as background")
        return {"em_gain": jnp.asarray(1.0, dtype=float), "spurious_e": spurious}
    if em_gain is None:
        raise OpticsError("kind='emccd' needs em_gain, the mean multiplication, such as 300")
    if not float(_finite("em_gain", em_gain)) >= LEAST_EM_GAIN:
        raise OpticsError(
            f"em_gain = {em_gain:g}: an EMCCD's law holds from {LEAST_EM_GAIN:g} up; "
            "with the multiplication off (0 or 1 in some programs) use kind='scmos'"
        )
    if not float(spurious) >= 0:
        raise OpticsError(f"spurious_e = {spurious_e:g} must not be negative")
    return {"em_gain": _finite("em_gain", em_gain), "spurious_e": spurious}


def make_emitters(
    xyz_um: ArrayLike, photons: ArrayLike, valid: ArrayLike | None = None, channel: ArrayLike | None = None
) -> Emitters:
    """Build `Emitters` from (N, 3) positions in um and (N,) photons; all valid and of channel 0 unless said.

    `channel` (N,) are whole numbers from 0: the colour of each emitter, see `render_frames`.
    Raises `OpticsError` where the shapes do not fit, a value is not finite, photons are negative, or a channel is
    negative or no whole number.

    >>> emitters = make_emitters([[1.0, 2.0, 0.5]], [1000.0])
    >>> emitters.valid.tolist(), emitters.channel.tolist()
    ([True], [0])
    """
    xyz = jnp.asarray(xyz_um, dtype=float)
    light = jnp.asarray(photons, dtype=float)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or light.shape != xyz.shape[:1]:
        raise OpticsError(f"emitters need xyz_um (N, 3) and photons (N,), not {xyz.shape} and {light.shape}")
    there = jnp.ones(light.shape, bool) if valid is None else jnp.asarray(valid, dtype=bool)
    if there.shape != light.shape:
        raise OpticsError(f"valid must have shape {light.shape}, not {there.shape}")
    if not bool(jnp.isfinite(xyz).all() & jnp.isfinite(light).all()) or bool((light < 0).any()):
        raise OpticsError("emitters hold NaN, Inf or negative photons")
    colour = np.zeros(light.shape) if channel is None else np.asarray(channel)
    if colour.shape != light.shape or not ((colour >= 0) & (colour == np.floor(colour))).all():
        raise OpticsError(f"channel must be {light.shape[0]} whole numbers from 0, not {colour.tolist()}")
    return Emitters(xyz_um=xyz, photons=light, valid=there, channel=jnp.asarray(colour, jnp.int32))
