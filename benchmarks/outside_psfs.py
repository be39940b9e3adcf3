"""The same PSF from other programs: which of their numbers is which of ours, and what then still differs.

    python benchmarks/outside_psfs.py --python ENV/bin/python --generator-python ENV2/bin/python \\
        --dlux-python ENV3/bin/python

ENV: pip install psfmodels MicroscPSF-Py slmsuite==0.5.0; ENV2: psf-generator==0.1.0 (torch for the CPU is enough);
ENV3: dLux==0.15.1. An emitter 1 um deep in water under oil, NA 1.4, at three foci, against psfmodels (vectorial) and
MicroscPSF-Py (scalar); a coma on slmsuite's simulated panel as our picture (uint8) and as its own phases, and which way
a tilt moves its spot. Four Zernike modes against psf-generator (vectorial in oil at five foci, with each setting that
is easily missed; scalar 1 um deep in water) and, at low NA, against dLux.
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
from optics import PhaseMask, make_microscope, make_psf, masks, psf_image
from optics.masks.slm import grey_image, make_slm
from optics.pytree import replace
from optics.zernike import nm_to_noll

PLACE = 235  # of its rows in benchmarks/README.md

DEPTH_UM, N_I, N_S, NA, WAVELENGTH_UM, PIXEL_UM, SIDE = 1.0, 1.515, 1.33, 1.4, 0.6, 0.1, 41
Z_UM = (-0.5, 0.0, 0.4)
PANEL, PUPIL_PX = 128, 60.0
FOCI_UM, DEEP_NA, LOW_NA, LOW_PIXEL_UM = (-0.4, -0.2, 0.0, 0.2, 0.4), 1.2, 0.5, 0.2
MODES = ((1, 1, 0.05), (3, -1, 0.05), (3, 3, 0.04), (4, 0, 0.04))  # n, m, rms in um: odd ones, one that turns z round

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

# psf-generator, in nm: n images over +- step n / 2, rounded down; N pixels over +- pix_size N / 2; both with their ends
GENERATOR = """
import importlib.metadata, json, sys
from pathlib import Path
import numpy as np
from psf_generator import ScalarCartesianPropagator, VectorialCartesianPropagator
folder = Path(sys.argv[1])
given = json.loads((folder / "given.json").read_text())
side, pixel, n_foci = given["side"], 1e3 * given["pixel"], len(given["foci"])
apart = round(1e3 * (given["foci"][1] - given["foci"][0]))
inside, steps = (side - 1) / side, (n_foci - 1) / n_foci
settings = dict(n_pix_pupil=401, n_pix_psf=side, wavelength=1e3 * given["wavelength"], n_defocus=n_foci,
    n_i=given["n_i"], n_i0=given["n_i"], n_s=given["n_s"])
def vectorial(**changed):
    images = 0
    for e0x, e0y in ((1.0, 0.0), (0.0, 1.0)):
        asked = dict(settings, na=given["na"], pix_size=pixel * inside, defocus_step=apart * steps, apod_factor=True,
            zernike_coefficients=given["at_the_rim"])
        field = VectorialCartesianPropagator(e0x=e0x, e0y=e0y, **dict(asked, **changed)).compute_focus_field().numpy()
        images = images + (np.abs(field) ** 2).sum(1)
    return images
def deep(pixel):
    field = ScalarCartesianPropagator(na=given["deep_na"], pix_size=pixel * inside, defocus_step=apart * steps,
        sz_correction=False, gibson_lanni=True, z_p=1e3 * given["depth"], **settings).compute_focus_field().numpy()
    return (np.abs(field) ** 2).sum(1)
np.savez(folder / "generator.npz", generator=vectorial(), generator_not_apodised=vectorial(apod_factor=False),
    generator_pix_size_as_it_is=vectorial(pix_size=pixel),
    generator_defocus_step_as_it_is=vectorial(defocus_step=apart),
    generator_rms_as_it_is=vectorial(zernike_coefficients=given["rms_rad"]),
    generator_deep=deep(pixel * given["n_i"] / given["n_s"]), generator_deep_pix_size_as_it_is=deep(pixel))
print(json.dumps({n: importlib.metadata.version(n) for n in ("psf-generator", "torch")}))
"""

DLUX = """
import importlib.metadata, json, sys
from pathlib import Path
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import dLux
import dLux.utils as dlu
folder = Path(sys.argv[1])
given = json.loads((folder / "given.json").read_text())
at = dlu.pixel_coords(256, 2.0)
layer = dLux.layers.Optic(transmission=(np.hypot(*at) <= 1).astype(float),
    opd=sum(1e-6 * rms * dlu.zernike(j, at, 2.0) for j, rms in given["noll"]))
system = dLux.CartesianOpticalSystem(wf_npixels=256, diameter=2 * given["low_na"], layers=[("pupil", layer)],
    focal_length=1.0, psf_npixels=given["side"], psf_pixel_scale=given["low_pixel"])
np.savez(folder / "dlux.npz", dlux=np.asarray(system.propagate(np.array([1e-6 * given["wavelength"]]))))
print(json.dumps({n: importlib.metadata.version(n) for n in ("dLux", "jax")}))
"""


def ask(python: str, script: str, folder: Path) -> dict[str, str]:
    """Run a script of the peers in `folder` with their Python; returns the versions that it prints last."""
    done = subprocess.run([python, "-c", script, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def modes() -> dict[str, list]:
    """MODES as OSA lists: rms in um, rms in radians, radians at the rim; and as (Noll index, rms in um)."""
    rms_um, at_the_rim = np.zeros((2, 13))
    for n, m, rms in MODES:
        rms_um[(n * (n + 2) + m) // 2] = rms
        at_the_rim[(n * (n + 2) + m) // 2] = 2 * np.pi / WAVELENGTH_UM * rms * np.sqrt((n + 1) * (2 if m else 1))
    rms_rad = 2 * np.pi / WAVELENGTH_UM * rms_um
    return {
        "rms_um": rms_um.tolist(),
        "rms_rad": rms_rad.tolist(),
        "at_the_rim": at_the_rim.tolist(),
        "noll": [(nm_to_noll(n, m), rms) for n, m, rms in MODES],
    }


def generator_numbers(theirs: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Differences at the foci: theirs against ours at focus_um = -defocus, and each slip."""

    def images(sign: float, na: float, n_sample: float, depth_um: float, zernike_um: list | None, kind: str) -> list:
        around = depth_um * N_I / n_sample  # the focus that psf-generator's z_p means
        step = n_sample / N_I  # with gibson_lanni its defocus is that of cos(theta_immersion) in n_sample
        seen = []
        for z in FOCI_UM:
            scope = make_microscope(
                na=na,
                n_immersion=N_I,
                n_sample=n_sample,
                wavelength_um=WAVELENGTH_UM,
                pixel_um=PIXEL_UM,
                focus_um=around + sign * step * z,
            )
            psf = make_psf(
                scope, kind=kind, pixel="centre", image_px=SIDE, zernike_um=zernike_um, z_range_um=(-0.5, 1.5)
            )
            seen.append(np.asarray(jax.jit(psf_image)(psf, jnp.array([0.0, 0.0, depth_um]))))
        return seen

    def against(name: str, ours: list) -> list[float]:
        return [difference(t, o) for t, o in zip(theirs[name], ours, strict=True)]

    in_oil = images(-1, NA, N_I, 0.0, modes()["rms_um"], "vectorial")
    in_water = images(-1, DEEP_NA, N_S, DEPTH_UM, None, "scalar")
    numbers = {name: against(name, in_water if "deep" in name else in_oil) for name in theirs}
    numbers["generator_other_focus_sign"] = against(
        "generator", images(1, NA, N_I, 0.0, modes()["rms_um"], "vectorial")
    )
    turned = [image[::-1, ::-1] for image in in_oil]
    numbers["generator_turned"] = against("generator", turned)
    return numbers


def dlux_numbers(theirs: np.ndarray) -> dict[str, float]:
    """Differences of dLux's picture from ours with the mask turned by 180 degrees, and as it is."""
    mask = masks.zernike(MODES, design_wavelength_um=WAVELENGTH_UM, size=256)
    turned = replace(mask, opd_um=mask.opd_um[::-1, ::-1])
    scope = make_microscope(
        na=LOW_NA, n_immersion=1.0, n_sample=1.0, wavelength_um=WAVELENGTH_UM, pixel_um=LOW_PIXEL_UM
    )

    def ours(mask: PhaseMask) -> np.ndarray:
        psf = make_psf(scope, mask=mask, kind="scalar", pixel="centre", image_px=SIDE)
        return np.asarray(jax.jit(psf_image)(psf, jnp.zeros(3)))

    return {"dlux_turned": difference(theirs, ours(turned)), "dlux_as_it_is": difference(theirs, ours(mask))}


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
    slips = ("pix_size_as_it_is", "defocus_step_as_it_is", "rms_as_it_is", "not_apodised", "other_focus_sign", "turned")
    yield (
        "four Zernike modes in psf-generator (apodised, pix_size (N-1)/N, defocus_step (n-1)/n, radians at the rim), "
        f"worst of five foci; with {', '.join(slips).replace('_', ' ')}",
        "< 0.01",
        f"{max(numbers['generator']):.4f}; " + ", ".join(f"{max(numbers['generator_' + s]):.2f}" for s in slips),
    )
    yield (
        "its scalar gibson_lanni with pix_size and foci n_i / n_s larger, worst of five foci; pix_size as it is",
        "< 0.01",
        f"{max(numbers['generator_deep']):.4f}; {max(numbers['generator_deep_pix_size_as_it_is']):.2f}",
    )
    yield (
        "the same modes in dLux, our mask turned by 180 degrees; as it is",
        "< 0.01",
        f"{numbers['dlux_turned']:.4f}; {numbers['dlux_as_it_is']:.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", required=True, help="python with psfmodels, MicroscPSF-Py and slmsuite")
    parser.add_argument("--generator-python", required=True, help="python with psf-generator")
    parser.add_argument("--dlux-python", required=True, help="python with dLux")
    options = parser.parse_args()
    given = {"z": Z_UM, "side": SIDE, "pixel": PIXEL_UM, "depth": DEPTH_UM, "na": NA, "wavelength": WAVELENGTH_UM}
    given |= {"n_s": N_S, "n_i": N_I, "foci": FOCI_UM, "deep_na": DEEP_NA, "low_na": LOW_NA, "low_pixel": LOW_PIXEL_UM}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "given.json").write_text(json.dumps({**given, **modes()}))
        np.savez(folder / "shown.npz", **pictures())  # pyright: ignore[reportArgumentType]
        versions = ask(options.python, PEERS, folder)
        versions |= ask(options.generator_python, GENERATOR, folder)
        dlux = ask(options.dlux_python, DLUX, folder)
        versions |= {"dLux": dlux["dLux"], "jax of dLux": dlux["jax"]}
        theirs = dict(np.load(folder / "theirs.npz"))
        generator, dlux_image = dict(np.load(folder / "generator.npz")), np.load(folder / "dlux.npz")["dlux"]
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
        **generator_numbers(generator),
        **dlux_numbers(dlux_image),
    }
    print(json.dumps(numbers, indent=1))
    print(write_result("outside_psfs", numbers, versions=versions))


if __name__ == "__main__":
    main()
