"""An sCMOS camera: what it reads, how that scatters, and how likely a reading is.

adu = offset_adu + gain_adu_per_e * (Poisson(quantum_efficiency * photons) + Normal(0, read_noise_e)).
Every function takes photons of shape (..., H, W) with camera fields that are scalars or (H, W) maps.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from optics.types import Camera

# Electrons^2 under the square root of the differentiable noise: bounds the slope of sqrt at a dark pixel.
DARK_VARIANCE_E2 = 1e-3
# Electrons: below this mean the log goes on as a straight line, so that its slope at a dark pixel is finite.
DARK_MEAN_E = 1e-6


def photons_to_adu(camera: Camera, photons: ArrayLike) -> jax.Array:
    """Convert photons per pixel to camera counts, offset included; no noise.

    >>> from optics.types import make_camera
    >>> float(photons_to_adu(make_camera(gain_adu_per_e=2.0, offset_adu=100.0, quantum_efficiency=0.5), 10.0))
    110.0
    """
    return camera.offset_adu + camera.gain_adu_per_e * camera.quantum_efficiency * jnp.asarray(photons)


def adu_to_photons(camera: Camera, adu: ArrayLike) -> jax.Array:
    """Convert camera counts to photons per pixel: the inverse of `photons_to_adu`, negative below the offset.

    >>> from optics.types import make_camera
    >>> float(adu_to_photons(make_camera(gain_adu_per_e=2.0, offset_adu=100.0), 110.0))
    5.0
    """
    return (jnp.asarray(adu) - camera.offset_adu) / (camera.gain_adu_per_e * camera.quantum_efficiency)


def mean_adu(camera: Camera, photons: ArrayLike) -> jax.Array:
    """Expected reading, in ADU, of a pixel that expects `photons`.

    >>> from optics.types import make_camera
    >>> float(mean_adu(make_camera(offset_adu=100.0), 10.0))
    110.0
    """
    return photons_to_adu(camera, photons)


def variance_adu(camera: Camera, photons: ArrayLike) -> jax.Array:
    """Variance of the reading, in ADU^2: gain^2 (quantum_efficiency photons + read_noise_e^2).

    >>> from optics.types import make_camera
    >>> float(variance_adu(make_camera(gain_adu_per_e=2.0, read_noise_e=1.0), 10.0))
    44.0
    """
    electrons = camera.quantum_efficiency * jnp.asarray(photons)
    return camera.gain_adu_per_e**2 * (electrons + camera.read_noise_e**2)


def sample_camera(key: jax.Array, camera: Camera, photons: ArrayLike) -> jax.Array:
    """Draw one exact reading, in ADU and not rounded: Poisson electrons plus Gaussian read noise.

    `photons` (..., H, W) expected photons per pixel, negative ones counted as 0; returns the same shape.
    Not differentiable by `photons`: `sample_camera_differentiable` is.

    >>> from optics.types import make_camera
    >>> sample_camera(jax.random.key(0), make_camera(), jnp.full((2, 3), 50.0)).shape
    (2, 3)
    """
    photons = jnp.asarray(photons)
    electrons = jnp.maximum(camera.quantum_efficiency * photons, 0)
    key_shot, key_read = jax.random.split(key)
    caught = jax.random.poisson(key_shot, electrons).astype(electrons.dtype)
    read = camera.read_noise_e * jax.random.normal(key_read, electrons.shape, electrons.dtype)
    return camera.offset_adu + camera.gain_adu_per_e * (caught + read)


def sample_camera_differentiable(key: jax.Array, camera: Camera, photons: ArrayLike) -> jax.Array:
    """Draw one reading, in ADU, as mean + sqrt(variance) * normal, so that gradients reach `photons`.

    The Gaussian has the exact mean and, to `DARK_VARIANCE_E2` electrons^2, the exact variance; the gradient
    flows through both. It is close to the exact law above some ten electrons per pixel.
    `photons` (..., H, W) expected photons per pixel, negative ones counted as 0; returns the same shape.

    >>> from optics.types import make_camera
    >>> image = lambda photons: sample_camera_differentiable(jax.random.key(0), make_camera(), photons)
    >>> bool(jnp.isfinite(jax.grad(lambda p: image(p).sum())(jnp.zeros((2, 3)))).all())
    True
    """
    photons = _not_negative(jnp.asarray(photons))
    variance = variance_adu(camera, photons) + DARK_VARIANCE_E2 * camera.gain_adu_per_e**2
    normal = jax.random.normal(key, variance.shape, variance.dtype)
    return mean_adu(camera, photons) + jnp.sqrt(variance) * normal


def quantise(adu: ArrayLike, bits: int = 16) -> jax.Array:
    """Round a reading to whole counts and clip it to the converter's range [0, 2^bits - 1]; still floats.

    The gradient is 0 almost everywhere: round data, not what a mask is learned from.

    >>> quantise(jnp.array([-3.0, 100.4, 1e6])).tolist()
    [0.0, 100.0, 65535.0]
    """
    return jnp.clip(jnp.round(jnp.asarray(adu)), 0, 2**bits - 1)


def log_likelihood(camera: Camera, adu: ArrayLike, photons: ArrayLike) -> jax.Array:
    """Log-likelihood of a reading `adu`, per pixel, where `photons` are expected.

    With d = (adu - offset_adu) / gain_adu_per_e + read_noise_e^2 and
    mu = quantum_efficiency photons + read_noise_e^2, d is taken as Poisson(mu):
    d log mu - mu - log Gamma(d + 1) (doi 10.1038/nmeth.2488). Exact for read_noise_e = 0; mean and variance
    are exact always. d below 0, which read noise makes rarely, counts as 0.
    Shapes broadcast; sum over pixels for a frame.

    >>> from optics.types import make_camera
    >>> round(float(log_likelihood(make_camera(), 3.0, 2.0)), 4)  # log(2^3 exp(-2) / 3!)
    -1.7123
    """
    shift = camera.read_noise_e**2
    counts = jnp.maximum((jnp.asarray(adu) - camera.offset_adu) / camera.gain_adu_per_e + shift, 0)
    mean = _not_negative(camera.quantum_efficiency * jnp.asarray(photons)) + shift
    log_mean = jnp.log(jnp.maximum(mean, DARK_MEAN_E)) + jnp.minimum(mean / DARK_MEAN_E - 1, 0)
    return counts * log_mean - mean - gammaln(counts + 1)


def _not_negative(values: jax.Array) -> jax.Array:
    # not jnp.maximum: its gradient at 0 is a half
    return jnp.where(values >= 0, values, 0)
