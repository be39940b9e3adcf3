"""The same PSF from other programs: which of their numbers is which of ours, and what then still differs.

    python benchmarks/outside_psfs.py --python ENV/bin/python

ENV: pip install psfmodels MicroscPSF-Py slmsuite==0.5.0. An emitter 1 um deep in water under oil, NA 1.4, at three
foci, against psfmodels (vectorial) and MicroscPSF-Py (scalar); a coma on slmsuite's simulated panel as our picture
(uint8) and as its own phases, and which way a tilt moves its spot.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from measure.record import Rows, write_result
from optics import make_microscope, make_psf, masks, psf_image
from optics.masks.slm import grey_image, make_slm

PLACE = 235  # of its rows in benchmarks/README.md

DEPTH_UM, N_I, N_S, NA, WAVELENGTH_UM, PIXEL_UM, SIDE = 1.0, 1.515, 1.33, 1.4, 0.6, 0.1, 41
Z_UM = (-0.5, 0.0, 0.4)
PANEL, PUPIL_PX = 128, 60.0

PEERS = """
import importlib.metadata, json, sys
from pathlib import Path
import numpy as np
import psfmodels
import microscPSF.microscPSF as gl
from slmsuite.hardware.cameras.simulated import SimulatedCamera
from slmsuite.hardware.slms.simulated import SimulatedSLM
folder = Path(sys.argv[1])
given = json.loads((folder / "given.json").read_text())
z, side, pixel, depth = np.array(given["z"]), given["side"], given["pixel"], given["depth"]
vectorial = psfmodels.make_psf(z, model="vectorial", nx=side, dxy=pixel, pz=depth, NA=given["na"],
    wvl=given["wavelength"], ns=given["n_s"], ni=given["n_i"], ni0=given["n_i"], ng=given["n_i"], ng0=given["n_i"],
    normalize=False, oversample_factor=5)
scope = dict(gl.m_params, ns=given["n_s"], NA=given["na"])
scalar = gl.gLXYZFocalScan(scope, pixel, side, z, normalize=False, pz=depth, wvl=given["wavelength"])
shown = np.load(folder / "shown.npz")
images = {}
for name in shown.files:
    slm = SimulatedSLM((shown[name].shape[1], shown[name].shape[0]), source={
        "amplitude_sim": shown["pupil"].astype(np.float32), "phase_sim": np.zeros(shown["pupil"].shape, np.float32)})
    if name == "pupil":
        continue
    camera = SimulatedCamera(slm)
    slm.set_phase(shown[name], phase_correct=False)
    camera.set_exposure(1.0)
    images[name] = np.asarray(camera.get_image(), float)
np.savez(folder / "theirs.npz", vectorial=vectorial, scalar=scalar, **images)
print(json.dumps({n: importlib.metadata.version(n) for n in ("psfmodels", "MicroscPSF-Py", "slmsuite")}))
"""


def our_images(kind: str, pixel: str, focus_um: list[float]) -> np.ndarray:
    """Images (foci, K, K) of the emitter, each with a sum of 1."""
    images = []
    for focus in focus_um:
        scope = make_microscope(
            na=NA, n_immersion=N_I, n_sample=N_S, wavelength_um=WAVELENGTH_UM, pixel_um=PIXEL_UM, focus_um=focus
        )
        psf = make_psf(scope, kind=kind, pixel=pixel, image_px=SIDE, z_range_um=(0.0, 1.5))
        images.append(np.asarray(jax.jit(psf_image)(psf, jnp.array([0.0, 0.0, DEPTH_UM]))))
    return np.stack([image / image.sum() for image in images])


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative L2 of two pictures, each with a sum of 1."""
    found, expected = found / found.sum(), expected / expected.sum()
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def pictures() -> dict[str, np.ndarray]:
    """A coma as our picture for falling and rising greys, and as phases; a tilt that rises along x; the pupil."""
    coma = masks.zernike([(3, 1, 0.08), (2, 2, 0.05)], design_wavelength_um=WAVELENGTH_UM, size=256)
    tilt = masks.zernike([(1, 1, 0.4)], design_wavelength_um=WAVELENGTH_UM, size=256)
    falls, rises = (make_slm(shape=(PANEL, PANEL), pitch_um=8.0, grey_per_2pi=256.0, grey_falls=f) for f in (1, 0))
    across = np.arange(PANEL) + 0.5 - PANEL / 2
    greys = grey_image(rises, coma, pupil_diameter_px=PUPIL_PX)
    return {
        "falling": grey_image(falls, coma, pupil_diameter_px=PUPIL_PX),
        "rising": greys,
        "phases": 2 * np.pi * greys.astype(float) / 256,
        "tilt": 2 * np.pi * grey_image(rises, tilt, pupil_diameter_px=PUPIL_PX).astype(float) / 256,
        "pupil": (np.hypot(across[:, None], across) <= PUPIL_PX / 2).astype(float),
    }


def rows(numbers: dict) -> Rows:
    yield (
        "the same PSF in psfmodels at focus_um = z + pz (n_i / n_s - 1), in MicroscPSF-Py at zv = -focus_um, worst of "
        "three foci; a wrong sign",
        "reported",
        f"{max(numbers['psfmodels']):.3f}, {max(numbers['microscpsf']):.3f}; "
        f"{min(numbers['microscpsf_other_sign']):.2f}",
    )
    yield (
        "a coma on slmsuite's panel: our picture with slm.grey_falls against its own phases; with rising greys",
        "< 0.02",
        f"{numbers['slmsuite_falling']:.4f}; {numbers['slmsuite_rising']:.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", required=True, help="python of an environment with the three programs")
    python = parser.parse_args().python
    given = {"z": Z_UM, "side": SIDE, "pixel": PIXEL_UM, "depth": DEPTH_UM, "na": NA, "wavelength": WAVELENGTH_UM}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "given.json").write_text(json.dumps({**given, "n_s": N_S, "n_i": N_I}))
        np.savez(folder / "shown.npz", **pictures())  # pyright: ignore[reportArgumentType]
        done = subprocess.run([python, "-c", PEERS, name], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{python} failed:\n{done.stderr[-3000:]}")
        versions = json.loads(done.stdout.strip().splitlines()[-1])
        theirs = dict(np.load(folder / "theirs.npz"))
    deep = our_images("vectorial", "integrated", [z + DEPTH_UM * (N_I / N_S - 1) for z in Z_UM])
    plain = our_images("scalar", "centre", [-z for z in Z_UM])
    wrong = our_images("scalar", "centre", list(Z_UM))
    tilt = theirs["tilt"]
    column = np.arange(tilt.shape[1]) - (tilt.shape[1] - 1) / 2
    scope = make_microscope(na=0.5, n_immersion=1.0, n_sample=1.0, wavelength_um=WAVELENGTH_UM, pixel_um=PIXEL_UM)
    mask = masks.zernike([(1, 1, 0.1)], design_wavelength_um=WAVELENGTH_UM, size=256)
    ours = np.asarray(jax.jit(psf_image)(make_psf(scope, mask=mask, image_px=SIDE), jnp.zeros(3)))
    numbers = {
        "psfmodels": [difference(t, o) for t, o in zip(theirs["vectorial"], deep, strict=True)],
        "microscpsf": [difference(t, o) for t, o in zip(theirs["scalar"], plain, strict=True)],
        "microscpsf_other_sign": [difference(t, o) for t, o, z in zip(theirs["scalar"], wrong, Z_UM, strict=True) if z],
        "slmsuite_falling": difference(theirs["falling"], theirs["phases"]),
        "slmsuite_rising": difference(theirs["rising"], theirs["phases"]),
        "slmsuite_tilt_along_x_moves_px": float((tilt * column).sum() / tilt.sum()),
        "our_tilt_along_x_moves_px": float((ours * (np.arange(SIDE) - SIDE // 2)).sum() / ours.sum()),
    }
    print(json.dumps(numbers, indent=1))
    print(write_result("outside_psfs", numbers, versions=versions))


if __name__ == "__main__":
    main()
