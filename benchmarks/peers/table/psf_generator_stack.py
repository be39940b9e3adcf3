"""psf-generator's stack of images of one emitter: `python psf_generator_stack.py GIVEN.json OUT.npz SAMPLES`.

Its vectorial Cartesian propagator with apodisation, for both polarisations; SAMPLES is n_pix_pupil. Its pixels and its
foci reach to their ends, (n - 1) / n of what is typed, and its coefficients are radians at the rim.
"""

import importlib.metadata
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from asked import memory_mb, serve
from psf_generator import VectorialCartesianPropagator


def main():
    given, out, samples = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], int(sys.argv[3])
    imported = memory_mb("VmRSS")
    foci, side = given["z_um"], given["side"]
    reach = round(1e3 * (foci[-1] - foci[0]))  # nm
    step = reach / len(foci)
    while -step * len(foci) // 2 < -(reach // 2):  # it rounds down after a product
        step = math.nextafter(step, 0)
    factor = [2 * math.pi / given["wavelength_um"] * math.sqrt((n + 1) * (2 if m else 1)) for n, m, _ in given["modes"]]
    index = [(n * (n + 2) + m) // 2 for n, m, _ in given["modes"]]

    def images(values):
        rim = torch.zeros(15)
        if values is not None:
            rim = rim.index_put((torch.tensor(index),), values)
        total = 0
        for e0x, e0y in ((1.0, 0.0), (0.0, 1.0)):
            propagator = VectorialCartesianPropagator(
                n_pix_pupil=samples, n_pix_psf=side, zernike_coefficients=rim, e0x=e0x, e0y=e0y,
                wavelength=1e3 * given["wavelength_um"], na=given["na"],
                pix_size=1e3 * given["pixel_um"] * (side - 1) / side, defocus_step=step, n_defocus=len(foci),
                apod_factor=True, n_i=given["index"], n_i0=given["index"], n_s=given["index"],
            )  # fmt: skip
            assert propagator.defocus_max == reach / 2, propagator.defocus_max
            total = total + (propagator.compute_focus_field().abs() ** 2).sum(1)
        return total

    def slopes(values):
        leaf = values.clone().requires_grad_(True)
        (images(leaf) ** 2).sum().backward()
        return leaf.grad

    values = torch.tensor([f * rms for f, (_, _, rms) in zip(factor, given["modes"], strict=True)])
    with torch.no_grad():
        clear, modes = images(None), images(values)
    gradient = slopes(values).numpy() * np.array(factor)
    np.savez(out, clear=clear.numpy(), modes=modes.numpy(), gradient_per_um=gradient)

    def stack():
        with torch.no_grad():
            images(values)

    versions = {name: importlib.metadata.version(name) for name in ("psf-generator", "torch")}
    ready = {"versions": versions, "imported_mb": imported, "samples": samples}
    serve(ready, {"stack": stack, "gradient": lambda: slopes(values)})


if __name__ == "__main__":
    main()
