"""Colocus's stack of images of one emitter: `python psf_colocus.py GIVEN.json OUT.npz SAMPLES`.

SAMPLES is "default" or the pupil samples. Answers to `stack` and `gradient` as the other programs of the table do.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import jax
import jax.numpy as jnp
import numpy as np
from asked import memory_mb, serve

from optics import make_microscope, make_psf, psf_image
from optics.pytree import replace


def main():
    given, out, samples = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3]
    imported = memory_mb("VmRSS")
    z_um = np.array(given["z_um"])
    n = given["index"]
    scope = make_microscope(
        na=given["na"], n_immersion=n, n_sample=n, wavelength_um=given["wavelength_um"], pixel_um=given["pixel_um"],
        focus_um=-float(z_um[0]),
    )  # fmt: skip
    pupil_px = None if samples == "default" else int(samples)
    points = jnp.asarray(np.column_stack([np.zeros((len(z_um), 2)), z_um - z_um[0]]))

    def build(modes, pixel):
        values = np.zeros(15)
        for order, turns, rms_um in modes:
            values[(order * (order + 2) + turns) // 2] = rms_um
        return make_psf(
            scope, zernike_um=values, image_px=given["side"], pixel=pixel, pupil_px=pupil_px,
            z_range_um=(0.0, float(z_um[-1] - z_um[0])),
        )  # fmt: skip

    images = jax.jit(jax.vmap(psf_image, (None, 0)))
    psf = build(given["modes"], "centre")

    def energy(values):
        return jnp.sum(jax.vmap(psf_image, (None, 0))(replace(psf, zernike_um=values), points) ** 2)

    slopes = jax.jit(jax.grad(energy))
    at = [(order * (order + 2) + turns) // 2 for order, turns, _ in given["modes"]]
    np.savez(
        out,
        clear=images(build([], "centre"), points),
        clear_integrated=images(build([], "integrated"), points),
        modes=images(psf, points),
        gradient_per_um=np.asarray(slopes(psf.zernike_um))[at],
    )
    ready = {"versions": {"jax of Colocus": jax.__version__}, "imported_mb": imported, "samples": psf.pupil_px}
    work = {
        "stack": lambda: images(psf, points).block_until_ready(),
        "gradient": lambda: slopes(psf.zernike_um).block_until_ready(),
    }
    serve(ready, work)


if __name__ == "__main__":
    main()
