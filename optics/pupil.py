"""The pupil: directions of light, their phases, and how an interface passes and bends them.

A ray is named by its transverse wave vector (kx, ky), which every layer shares. Layers: sample, coverslip,
immersion. Beyond the critical angle the light in the sample is evanescent (kz_sample imaginary, decaying
with the emitter's depth) yet propagates in the glass: super-critical light, kept here.
"""

import jax
import jax.numpy as jnp

from optics.grids import DiskNodes, disk_nodes, safe_sqrt, sine_panel
from optics.masks.sampling import sample_mask
from optics.pytree import pytree
from optics.types import Microscope, Psf
from optics.zernike import zernike_basis


@pytree
class Pupil:
    """Samples of the pupil on quadrature nodes, all (P, Q); k in rad/um.

    `phasor` (complex) holds everything that does not depend on the emitter: focus, mask, aberrations.
    `weight` (rad/um)**2 turns the integral over k into a sum; rows share one `ky_rad_um`.
    """

    kx_rad_um: jax.Array
    ky_rad_um: jax.Array
    kz_sample_rad_um: jax.Array
    kz_immersion_rad_um: jax.Array
    phasor: jax.Array
    weight: jax.Array


def cosine(sine_squared: jax.Array) -> jax.Array:
    """Complex cos(theta) from sin(theta)**2, on the branch that decays beyond the critical angle."""
    return jax.lax.complex(safe_sqrt(1 - sine_squared), safe_sqrt(sine_squared - 1))


def pupil_nodes(psf: Psf) -> DiskNodes:
    """Quadrature nodes in pupil radii (1 is the NA): the disk that the iris leaves, split at the critical angle."""
    scope = psf.microscope
    return disk_nodes(psf.pupil_px, psf.ring_px, scope.iris_na / scope.na, scope.n_sample / scope.na)


def make_pupil(psf: Psf, nodes: DiskNodes | None = None) -> Pupil:
    """Sample the pupil of a `Psf` on `nodes` (default: the quadrature that the Psf asks for).

    Phase of the phasor: -k0 n_immersion cos(theta_immersion) focus + 2 pi opd / wavelength.
    """
    scope = psf.microscope
    nodes = pupil_nodes(psf) if nodes is None else nodes
    x, y = nodes.x, jnp.broadcast_to(nodes.y[:, None], nodes.x.shape)
    k0 = 2 * jnp.pi / scope.wavelength_um
    transverse = scope.na * k0
    sine_squared = scope.na**2 * (x**2 + y**2)  # n**2 sin(theta)**2, the same in every layer
    kz_immersion = k0 * scope.n_immersion * safe_sqrt(1 - sine_squared / scope.n_immersion**2)
    phase = -kz_immersion * scope.focus_um
    if psf.zernike_um is not None:
        modes = zernike_basis(psf.zernike_um.shape[0], x, y)
        phase = phase + k0 * jnp.tensordot(psf.zernike_um, modes, axes=1, precision="highest")
    phasor = jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
    for plate in (psf.aberration, psf.mask):
        if plate is not None:
            phasor = phasor * sample_mask(plate, x, y, scope.wavelength_um)
    return Pupil(
        kx_rad_um=transverse * x,
        ky_rad_um=transverse * y,
        kz_sample_rad_um=k0 * scope.n_sample * cosine(sine_squared / scope.n_sample**2),
        kz_immersion_rad_um=kz_immersion,
        phasor=phasor,
        weight=transverse**2 * nodes.weight,
    )


@pytree
class Transmission:
    """What the layers do to a plane wave of each polarisation, from an emitter in the sample to the pupil.

    `p` and `s` include the stationary-phase factor kz_immersion/kz_sample, Fresnel's coefficients of both
    interfaces and the aplanatic 1/sqrt(cos(theta_immersion)); `cos_sample` complex, `sin_sample` real.
    """

    p: jax.Array
    s: jax.Array
    cos_sample: jax.Array
    sin_sample: jax.Array


def transmission(scope: Microscope, sine_squared: jax.Array) -> Transmission:
    """Amplitudes for n**2 sin(theta)**2 = `sine_squared`, any shape.

    sqrt(cos theta_i)/cos theta_s x t(sample->coverslip) x t(coverslip->immersion), written with the
    cos theta_s of the first Fresnel coefficient cancelled, so that it is finite at the critical angle.
    Novotny & Hecht, Principles of Nano-Optics, ch. 10 (doi 10.1017/CBO9780511794193).
    """
    n_s, n_c, n_i = scope.n_sample, scope.n_coverslip, scope.n_immersion
    cos_s = cosine(sine_squared / n_s**2)
    cos_c = safe_sqrt(1 - sine_squared / n_c**2)
    cos_i = safe_sqrt(1 - sine_squared / n_i**2)
    common = safe_sqrt(cos_i) * 4 * n_s * n_c * cos_c
    # samples that no glass carries (the corners of a peer's square lattice): no light instead of 0 / 0
    carried = (cos_c > 0) & (cos_i > 0)
    glass_p = jnp.where(carried, n_c * cos_i + n_i * cos_c, 1.0)
    glass_s = jnp.where(carried, n_c * cos_c + n_i * cos_i, 1.0)
    p = common / ((n_s * cos_c + n_c * cos_s) * glass_p)
    s = common / ((n_s * cos_s + n_c * cos_c) * glass_s)
    return Transmission(p=p, s=s, cos_sample=cos_s, sin_sample=safe_sqrt(sine_squared) / n_s)


def radial_nodes(scope: Microscope, n: int = 48) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Nodes for integrals over the full pupil of functions of the angle alone.

    Returns n**2 sin(theta)**2, the decay rate of the evanescent wave (rad/um, 0 below the critical
    angle) and weights (rad/um)**2 that include 2 pi k; all (2 n,).
    """
    k0 = 2 * jnp.pi / scope.wavelength_um
    edge = jnp.minimum(scope.n_sample / scope.na, 1.0)
    inner, w_inner = sine_panel(0.0, edge, n)
    outer, w_outer = sine_panel(edge, 1.0, n)
    radius, weight = jnp.concatenate([inner, outer]), jnp.concatenate([w_inner, w_outer])
    sine_squared = (scope.na * radius) ** 2
    decay = k0 * scope.n_sample * safe_sqrt(sine_squared / scope.n_sample**2 - 1)
    return sine_squared, decay, 2 * jnp.pi * (k0 * scope.na) ** 2 * radius * weight
