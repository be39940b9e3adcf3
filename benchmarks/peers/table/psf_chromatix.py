"""chromatix's high-NA lens as a stack of images: `python psf_chromatix.py GIVEN.json OUT.npz SAMPLES`.

`functional.high_na_ff_lens` (0.5.0, from its repository) on a plane wave of each polarisation. What it leaves to its
caller is done here: the rim of the pupil, apodisation, the phase of defocus, and taking off again the phase of the
focal length that it adds. Its pixels reach to their ends and its pupil is taken for N - 1 steps wide: its pitch is
typed (K - 1) / K (N - 1) / N as large. SAMPLES is the pupil's side, even, as only then its two grids agree.
"""

import json
import math
import sys
from pathlib import Path

import chromatix
import chromatix.functional as cf
import jax
import jax.numpy as jnp
import numpy as np
from asked import memory_mb, serve


def zernike(n, m, rho, phi):
    """Of unit rms over the disk."""
    radial = sum(
        (-1) ** k * math.factorial(n - k) * rho ** (n - 2 * k)
        / (math.factorial(k) * math.factorial((n + abs(m)) // 2 - k) * math.factorial((n - abs(m)) // 2 - k))
        for k in range((n - abs(m)) // 2 + 1)
    )  # fmt: skip
    angular = np.cos(m * phi) if m >= 0 else np.sin(-m * phi)
    return math.sqrt((n + 1) * (2 if m else 1)) * radial * angular


def main():
    given, out, samples = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], int(sys.argv[3])
    imported = memory_mb("VmRSS")
    na, index, wavelength, side = (given[k] for k in ("na", "index", "wavelength_um", "side"))
    dx = wavelength / 2  # so that the pupil fills its grid
    focal = index * samples * dx**2 / (na * wavelength)
    pitch = given["pixel_um"] * (side - 1) / side * (samples - 1) / samples
    fields = [
        cf.plane_wave((samples, samples), dx, wavelength, power=None, amplitude=jnp.array(p), scalar=False)
        for p in ([0.0, 0.0, 1.0], [0.0, 1.0, 0.0])
    ]
    at = (np.arange(samples) - samples / 2) / (samples / 2)
    y, x = np.meshgrid(at, at, indexing="ij")
    rho, phi = np.hypot(x, y), np.arctan2(y, x)
    sz = np.sqrt(np.maximum(1 - (na / index * rho) ** 2, 1e-6))
    lit = jnp.asarray((rho <= 1) * np.sqrt(sz), jnp.complex64)
    along = jnp.asarray(2 * np.pi * index / wavelength * sz, jnp.float32)
    shapes = jnp.asarray(np.stack([zernike(n, m, rho, phi) for n, m, _ in given["modes"]]), jnp.float32)
    taken_off = jnp.asarray(np.exp(-1j * np.float64(2 * np.pi * index / wavelength) * sz * focal), jnp.complex64)
    foci = jnp.asarray(given["z_um"], jnp.float32)

    def images(rms_um):
        phase = 2 * jnp.pi / wavelength * jnp.tensordot(rms_um, shapes, 1)

        def one(z):
            pupil = lit * taken_off * jnp.exp(1j * (phase + along * z))
            return sum(
                cf.high_na_ff_lens(field * pupil[..., None], focal, index, na, (side, side), pitch).intensity
                for field in fields
            )

        return jax.lax.map(one, foci).reshape(len(foci), side, side)

    stack, slopes = jax.jit(images), jax.jit(jax.grad(lambda rms_um: jnp.sum(images(rms_um) ** 2)))
    values = jnp.array([rms for _, _, rms in given["modes"]])
    np.savez(out, clear=stack(0 * values), modes=stack(values), gradient_per_um=slopes(values))
    versions = {"chromatix": getattr(chromatix, "__version__", "0.5.0"), "jax of chromatix": jax.__version__}
    work = {
        "stack": lambda: stack(values).block_until_ready(),
        "gradient": lambda: slopes(values).block_until_ready(),
    }
    serve({"versions": versions, "imported_mb": imported, "samples": samples}, work)


if __name__ == "__main__":
    main()
