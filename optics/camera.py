"""A camera, sCMOS or EMCCD: what it reads, how that scatters, and how likely a reading is.

adu = offset_adu + gain_adu_per_e * (M(electrons) + Normal(0, read_noise_e)),
electrons = Poisson(quantum_efficiency * photons + spurious_e).
M is the identity for "scmos". For "emccd" n electrons become Gamma(shape n, scale em_gain): the law of a
multiplication register at large gain (Hirsch et al. 2013, doi 10.1371/journal.pone.0053671, eq. 1 to 5). It doubles
the variance of the shot noise: excess noise factor F^2 = 2, where a register of many stages has 2 - 1 / em_gain
(Robbins and Hadwin 2003, doi 10.1109/TED.2003.813462). Sampling, variance and likelihood follow this one law.
Every function takes photons of shape (..., H, W) with camera fields that are scalars or (H, W) maps.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, i1e
from jax.typing import ArrayLike

from optics.types import Camera

# Electrons^2 under the square root of the differentiable noise: bounds the slope of sqrt at a dark pixel.
DARK_VARIANCE_E2 = 1e-3
# Electrons: below this mean the log goes on as a straight line, so that its slope at a dark pixel is finite.
DARK_MEAN_E = 1e-6
_EXCESS = {"scmos": 1.0, "emccd": 2.0}
# Of the EMCCD's likelihood: least read noise in photo-electrons, where the series takes over from the Bessel
# function, sigmas of the Gaussian that count, and Gauss-Legendre nodes between them.
_LEAST_READ = 1e-3
_SERIES_BELOW = 0.1
_REACH = 7.0
_NODES = 40


def electron_variance(camera: Camera, mean_e: ArrayLike) -> jax.Array:
    """Variance of a reading in photo-electrons^2 where `mean_e` photo-electrons are expected.

    A reading in photo-electrons is (adu - offset_adu) / (gain_adu_per_e em_gain). The variance is
    F^2 (mean_e + spurious_e) + (read_noise_e / em_gain)^2 with F^2 = 1 for "scmos" and 2 for "emccd": the one that
    likelihood, fits and Fisher information share. `mean_e` = quantum_efficiency * photons, of any shape that
    broadcasts with the camera's maps.

    >>> from optics.types import make_camera
    >>> float(electron_variance(make_camera(read_noise_e=2.0), 10.0))
    14.0
    >>> float(electron_variance(make_camera(kind="emccd", em_gain=100.0, read_noise_e=50.0), 10.0))
    20.25
    """
    shot = _EXCESS[camera.kind] * (jnp.asarray(mean_e) + camera.spurious_e)
    return shot + (camera.read_noise_e / camera.em_gain) ** 2


def photons_to_adu(camera: Camera, photons: ArrayLike) -> jax.Array:
    """Convert photons per pixel to camera counts, offset (and spurious charge) included; no noise.

    >>> from optics.types import make_camera
    >>> float(photons_to_adu(make_camera(gain_adu_per_e=2.0, offset_adu=100.0, quantum_efficiency=0.5), 10.0))
    110.0
    """
    electrons = camera.quantum_efficiency * jnp.asarray(photons) + camera.spurious_e
    return camera.offset_adu + camera.gain_adu_per_e * camera.em_gain * electrons


def adu_to_photons(camera: Camera, adu: ArrayLike) -> jax.Array:
    """Convert camera counts to photons per pixel: the inverse of `photons_to_adu`, negative below the offset.

    >>> from optics.types import make_camera
    >>> float(adu_to_photons(make_camera(gain_adu_per_e=2.0, offset_adu=100.0), 110.0))
    5.0
    """
    return (adu_to_electrons(camera, adu) - camera.spurious_e) / camera.quantum_efficiency


def adu_to_electrons(camera: Camera, adu: ArrayLike) -> jax.Array:
    """A reading in electrons before the multiplication: photo-electrons plus spurious ones.

    >>> from optics.types import make_camera
    >>> float(adu_to_electrons(make_camera(gain_adu_per_e=2.0, offset_adu=100.0), 110.0))
    5.0
    """
    return (jnp.asarray(adu) - camera.offset_adu) / (camera.gain_adu_per_e * camera.em_gain)


def adu_per_photon(camera: Camera) -> jax.Array:
    """Return the counts that one photon adds to the expected reading.

    >>> from optics.types import make_camera
    >>> float(adu_per_photon(make_camera(gain_adu_per_e=2.0, quantum_efficiency=0.5)))
    1.0
    """
    return camera.gain_adu_per_e * camera.em_gain * camera.quantum_efficiency


def variance_adu(camera: Camera, photons: ArrayLike) -> jax.Array:
    """Variance of the reading, in ADU^2: `electron_variance` times (gain_adu_per_e em_gain)^2.

    >>> from optics.types import make_camera
    >>> float(variance_adu(make_camera(gain_adu_per_e=2.0, read_noise_e=1.0), 10.0))
    44.0
    """
    electrons = camera.quantum_efficiency * jnp.asarray(photons)
    return (camera.gain_adu_per_e * camera.em_gain) ** 2 * electron_variance(camera, electrons)


def sample_camera(key: jax.Array, camera: Camera, photons: ArrayLike) -> jax.Array:
    """Draw one exact reading, in ADU and not rounded: Poisson electrons, multiplied, plus Gaussian read noise.

    `photons` (..., H, W) expected photons per pixel, negative ones counted as 0; returns the same shape.
    Not differentiable by `photons`: `sample_camera_differentiable` is.

    >>> from optics.types import make_camera
    >>> sample_camera(jax.random.key(0), make_camera(), jnp.full((2, 3), 50.0)).shape
    (2, 3)
    """
    photons = jnp.asarray(photons)
    electrons = jnp.maximum(camera.quantum_efficiency * photons, 0) + camera.spurious_e
    # a generator's numbers are the same in a line as in an image, and compile in a third of the time
    line, shape, kind = jnp.ravel(electrons), electrons.shape, electrons.dtype
    key_shot, key_read = jax.random.split(key)
    caught = jax.random.poisson(key_shot, line).astype(kind)
    read = camera.read_noise_e * jax.random.normal(key_read, (line.size,), kind).reshape(shape)
    if camera.kind == "emccd":
        spread = jax.random.gamma(jax.random.fold_in(key, 2), jnp.maximum(caught, 1), dtype=kind)
        caught = camera.em_gain * jnp.where(caught > 0, spread, 0)
    return camera.offset_adu + camera.gain_adu_per_e * (caught.reshape(shape) + read)


def sample_camera_differentiable(key: jax.Array, camera: Camera, photons: ArrayLike) -> jax.Array:
    """Draw one reading, in ADU, as mean + sqrt(variance) * normal, so that gradients reach `photons`.

    The Gaussian has the exact mean and, to `DARK_VARIANCE_E2` electrons^2, the exact variance; the gradient
    flows through both. It is close to the exact law above some ten electrons per pixel (of an EMCCD, some fifty).
    `photons` (..., H, W) expected photons per pixel, negative ones counted as 0; returns the same shape.

    >>> from optics.types import make_camera
    >>> image = lambda photons: sample_camera_differentiable(jax.random.key(0), make_camera(), photons)
    >>> bool(jnp.isfinite(jax.grad(lambda p: image(p).sum())(jnp.zeros((2, 3)))).all())
    True
    """
    photons = _not_negative(jnp.asarray(photons))
    variance = variance_adu(camera, photons) + DARK_VARIANCE_E2 * (camera.gain_adu_per_e * camera.em_gain) ** 2
    normal = jax.random.normal(key, (variance.size,), variance.dtype).reshape(variance.shape)
    return photons_to_adu(camera, photons) + jnp.sqrt(variance) * normal


def quantise(adu: ArrayLike, bits: int = 16) -> jax.Array:
    """Round a reading to whole counts and clip it to the converter's range [0, 2^bits - 1]; still floats.

    The gradient is 0 almost everywhere: round data, not what a mask is learned from.

    >>> quantise(jnp.array([-3.0, 100.4, 1e6])).tolist()
    [0.0, 100.0, 65535.0]
    """
    return jnp.clip(jnp.round(jnp.asarray(adu)), 0, 2**bits - 1)


def log_likelihood(camera: Camera, adu: ArrayLike, photons: ArrayLike) -> jax.Array:
    """Log-likelihood of a reading `adu`, per pixel, where `photons` are expected; a density in photo-electrons.

    "scmos": with d = (adu - offset_adu) / gain_adu_per_e + read_noise_e^2 and
    mu = quantum_efficiency photons + read_noise_e^2, d is taken as Poisson(mu):
    d log mu - mu - log Gamma(d + 1) (doi 10.1038/nmeth.2488). Exact for read_noise_e = 0; mean and variance
    are exact always. d below 0, which read noise makes rarely, counts as 0.
    "emccd": the exact law, see `_multiplied_log_density`.
    Shapes broadcast; sum over pixels for a frame.

    >>> from optics.types import make_camera
    >>> round(float(log_likelihood(make_camera(), 3.0, 2.0)), 4)  # log(2^3 exp(-2) / 3!)
    -1.7123
    """
    relative = relative_log_likelihood(camera, adu, photons)
    if camera.kind == "emccd":
        return relative
    return relative - gammaln(jnp.maximum(adu_to_electrons(camera, adu) + camera.read_noise_e**2, 0) + 1)


def relative_log_likelihood(camera: Camera, adu: ArrayLike, photons: ArrayLike) -> jax.Array:
    """`log_likelihood` but for what depends on the reading alone: enough to compare means of one reading.

    What is left out, log Gamma, takes longer than all the rest, and a fit compares a thousand means with one frame.

    >>> from optics.types import make_camera
    >>> round(float(relative_log_likelihood(make_camera(), 3.0, 2.0)), 4)  # log(2^3 exp(-2))
    0.0794
    """
    reading = adu_to_electrons(camera, adu)
    mean = _not_negative(camera.quantum_efficiency * jnp.asarray(photons)) + camera.spurious_e
    if camera.kind == "emccd":
        return _multiplied_log_density(reading, mean, camera.read_noise_e / camera.em_gain)
    shift = camera.read_noise_e**2
    counts = jnp.maximum(reading + shift, 0)
    mean = mean + shift
    log_mean = jnp.log(jnp.maximum(mean, DARK_MEAN_E)) + jnp.minimum(mean / DARK_MEAN_E - 1, 0)
    return counts * log_mean - mean


def _multiplied_log_density(reading: jax.Array, mean: jax.Array, read: jax.Array) -> jax.Array:
    """Log density of Poisson -> gamma -> Gaussian at `reading`, for `mean` electrons and read noise `read`.

    All in photo-electrons. Multiplied and not yet read, the law is exp(-mean) at 0 and, for y > 0,
    exp(-mean - y) sqrt(mean / y) I1(2 sqrt(mean y)) (doi 10.1371/journal.pone.0053671, eq. 4, in units of the gain);
    its convolution with the Gaussian is a sum over Gauss-Legendre nodes of the part of +-7 sigma where y > 0.
    `read` below `_LEAST_READ` counts as that, so that the charge of exactly 0 keeps a width.
    """
    reading, mean, read = jnp.broadcast_arrays(reading, mean, jnp.maximum(read, _LEAST_READ))
    at_zero = reading / read
    # the Gaussian's variable u = (reading - y) / read runs from where it has died out up to y = 0
    high = jnp.minimum(at_zero, _REACH)
    low = -jnp.sqrt(jnp.minimum(high, 0) ** 2 + _REACH**2)
    along = (1,) * high.ndim + (_NODES,)  # a last axis of their own
    halves = (part.reshape(along) / 2 for part in np.polynomial.legendre.leggauss(_NODES))
    nodes, weights = (jnp.asarray(half, high.dtype) for half in halves)
    u = low[..., None] + (high - low)[..., None] * (nodes + 0.5)
    y = jnp.maximum(reading[..., None] - read[..., None] * u, 0)
    mean_y = mean[..., None] * y
    # log of exp(-mean - y) h(mean y) with h(t) = I1(2 sqrt(t)) / sqrt(t), h(0) = 1
    near = mean_y < _SERIES_BELOW
    root = jnp.sqrt(jnp.where(near, 1.0, mean_y))
    roots = [jnp.sqrt(jnp.where(near, 1.0, part)) for part in (mean[..., None], y)]
    difference = (mean[..., None] - y) / (roots[0] + roots[1])
    far_log = -(difference**2) + jnp.log(i1e(2 * root) / root)
    t = jnp.where(near, mean_y, 0)
    near_log = -mean[..., None] - y + jnp.log1p(t / 2 * (1 + t / 6 * (1 + t / 12 * (1 + t / 20))))
    log_terms = jnp.where(near, near_log, far_log) - u**2 / 2
    log_dark = -mean - at_zero**2 / 2 - jnp.log(read)
    # the mean stays a factor outside the exponentials: its slope at a dark pixel is that of a straight line
    shift = jax.lax.stop_gradient(jnp.maximum(log_dark, log_terms.max(axis=-1)))
    multiplied = (high - low) * jnp.sum(weights * jnp.exp(log_terms - shift[..., None]), axis=-1)
    total = jnp.exp(log_dark - shift) + mean * multiplied
    return shift + jnp.log(jnp.maximum(total, jnp.finfo(total.dtype).tiny)) - 0.5 * math.log(2 * math.pi)


def _not_negative(values: jax.Array) -> jax.Array:
    # not jnp.maximum: its gradient at 0 is a half
    return jnp.where(values >= 0, values, 0)
