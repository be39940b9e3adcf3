"""FD-DeepLoc's own free-dipole PSF on the CPU, timed on demand: one line of input, one JSON line of seconds out.

Started by `psf_speed.py` with an interpreter that has PyTorch:
`python fd_deeploc_psf.py FOLDER REFERENCE.npz BATCH`, FOLDER a checkout of github.com/Li-Lab-SUSTech/FD-DeepLoc.
Its source asks for a CUDA device and mixes single with double precision; here it is loaded with the device
changed to the CPU ("single": precision as published; "double": all of it double, which its accuracy wants).
The first line of output holds its errors against the reference images, with its amplitude as published and
with the factor sqrt(cos theta_immersion) / cos theta_medium that it lacks.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

SOURCE = "Field Dependent PSF Learning/local_utils/freedipolepsf_torch.py"
PUPIL_PX = (128, 192, 256)


def load(folder, double, reciprocal):
    """The class of its source file, without its imports of plotting and of file formats."""
    text = (Path(folder) / SOURCE).read_text()
    text = text.replace("'cuda'", "'cpu'").replace("from .utils import *", "")
    text = text.replace("import matplotlib.pyplot as plt", "")
    if double:
        text = text.replace("torch.complex64", "torch.complex128")
    if reciprocal:
        published = "apod = 1 / torch.sqrt(costhetaimm)"
        assert published in text, "the source has changed"
        text = text.replace(published, "apod = torch.sqrt(costhetaimm) / costhetamed")
    names = {"__name__": "freedipolepsf_torch"}
    exec(compile(text, SOURCE, "exec"), names)
    return names["FreeDipolePSF_torch"]


def settings(reference, pupil_px, pick):
    number = {key: float(np.ravel(reference[key])[0]) for key in reference if reference[key].size == 1}
    return {
        "NA": number["NA"],
        "refmed": number["n_sample"],
        "refcov": number["n_coverslip"],
        "refimm": number["n_immersion"],
        "lambda": number["wavelength_nm"],
        "objstage0": 0.0,
        "zemit0": 0.0,
        "pixel_size_xy": [number["pixel_nm"]] * 2,
        "Npupil": pupil_px,
        "zernike_aber": np.asarray(reference["zernike"], dtype=float),
        "Npixels": reference["psf_converged"].shape[1],
        "Nphotons": np.ones(len(pick)),
        "bg": np.zeros(len(pick)),
        "xemit": reference["x_nm"][pick].astype(float),
        "yemit": reference["y_nm"][pick].astype(float),
        "zemit": reference["z_nm"][pick].astype(float),
        "objstage": reference["objstage_nm"][pick].astype(float),
        "otf_rescale": [],
    }


def worst_error(model, truth):
    images = model.gen_psf().numpy()
    images = images / images.sum(axis=(1, 2), keepdims=True)
    difference = np.linalg.norm((images - truth).reshape(len(truth), -1), axis=1)
    return float((difference / np.linalg.norm(truth.reshape(len(truth), -1), axis=1)).max())


def main():
    folder, path, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with np.load(path) as stored:
        reference = {key: stored[key] for key in stored.files}
    truth = reference["psf_converged"].astype(float)
    everyone, many = np.arange(len(truth)), np.arange(batch) % len(truth)
    errors, models = {}, {}
    for precision in ("single", "double"):
        torch.set_default_dtype(torch.float64 if precision == "double" else torch.float32)
        for pupil_px in PUPIL_PX if precision == "double" else PUPIL_PX[-1:]:
            name = f"{precision}_{pupil_px}"
            with torch.no_grad():
                for label, reciprocal in (("published", False), ("corrected", True)):
                    build = load(folder, precision == "double", reciprocal)
                    error = worst_error(build(settings(reference, pupil_px, everyone)), truth)
                    errors[f"{name}_{label}"] = error
                models[name] = (build(settings(reference, pupil_px, many)), torch.get_default_dtype())
    ready = {"versions": {"torch": torch.__version__}, "threads": torch.get_num_threads()}
    print(json.dumps({**ready, "names": list(models), "errors": errors}), flush=True)
    with torch.no_grad():
        for line in sys.stdin:
            model, dtype = models[line.strip()]
            torch.set_default_dtype(dtype)
            start = time.perf_counter()
            model.gen_psf()
            print(json.dumps((time.perf_counter() - start) / batch), flush=True)


if __name__ == "__main__":
    main()
