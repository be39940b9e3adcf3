"""FD-DeepLoc's free-dipole stack: `python psf_fd_deeploc.py GIVEN.json OUT.npz SAMPLES FOLDER`, FOLDER its checkout.

SAMPLES is precision and pupil samples, "single:128" as published or "double:256". Its source asks for a CUDA device:
`cuda` is replaced by `cpu`. Immersion, coverslip and sample are one medium here, so that the factor that its amplitude
lacks (see `fd_deeploc_psf.py`) makes no difference. The gradient is PyTorch's, by its Zernike coefficients alone.
"""

import json
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from asked import memory_mb, serve
from fd_deeploc_psf import load


def main():
    given, out, samples, folder = json.loads(Path(sys.argv[1]).read_text()), *sys.argv[2:5]
    imported = memory_mb("VmRSS")
    precision, pupil_px = samples.split(":")
    torch.set_default_dtype(torch.float64 if precision == "double" else torch.float32)
    kind = load(folder, double=precision == "double", reciprocal=False)
    z_nm = 1e3 * np.array(given["z_um"])
    many = np.zeros(len(z_nm))

    def model(modes):
        coefficients = np.array([[n, m, 1e3 * rms] for n, m, rms in modes] or [[2.0, 2.0, 0.0]])
        settings = {
            "NA": given["na"], "refmed": given["index"], "refcov": given["index"], "refimm": given["index"],
            "lambda": 1e3 * given["wavelength_um"], "objstage0": float(z_nm[0]), "zemit0": 0.0,
            "pixel_size_xy": [1e3 * given["pixel_um"]] * 2, "Npupil": int(pupil_px), "zernike_aber": coefficients,
            "Npixels": given["side"], "Nphotons": many + 1, "bg": many, "xemit": many, "yemit": many,
            "zemit": z_nm - z_nm[0], "objstage": many, "otf_rescale": [],
        }  # fmt: skip
        return kind(settings)

    plain = model(given["modes"])

    def slopes():
        plain.zernikecoefs.requires_grad_(True)
        plain.zernikecoefs.grad = None
        (plain.gen_psf() ** 2).sum().backward()
        plain.zernikecoefs.requires_grad_(False)
        return plain.zernikecoefs.grad

    with torch.no_grad():
        clear, modes = model([]).gen_psf(), plain.gen_psf()
    np.savez(out, clear=clear.numpy(), modes=modes.numpy(), gradient_per_um=1e3 * slopes().numpy())

    def stack():
        with torch.no_grad():
            plain.gen_psf()

    ready = {"versions": {"torch of FD-DeepLoc": torch.__version__}, "imported_mb": imported, "samples": samples}
    serve(ready, {"stack": stack, "gradient": slopes})


if __name__ == "__main__":
    main()
