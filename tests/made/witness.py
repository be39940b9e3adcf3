"""The shared reference files, read into our conventions (um, images (y, x), z from the coverslip)."""

from dataclasses import dataclass

import numpy as np

from optics.psf import psf_image
from optics.pytree import replace
from optics.types import Microscope, Psf, make_microscope

FILES = ("matched_astig", "matched_coma", "oil_water_coma", "tetrapod_6um")


@dataclass(frozen=True)
class Witness:
    """One reference file: n emitters, each with its own depth and focus."""

    microscope: Microscope  # focused where the deepest-focused emitter has it
    modes: list  # Zernike (n, m, rms in um)
    zernike_um: np.ndarray  # the same, in OSA order
    image_px: int
    pupil_px: int  # of the witness: samples across the NA
    xyz_um: np.ndarray
    focus_um: np.ndarray
    hard_edge: np.ndarray  # (n, K, K), the witness
    converged: np.ndarray
    crlb_std_um: np.ndarray
    photons: float  # inside the window
    background: float


def read_witness(folder, name: str) -> Witness:
    """Read a file of the reference folder; its images run (x, y), ours (y, x)."""
    with np.load(folder / f"{name}.npz") as stored:
        file = {key: stored[key] for key in stored.files}
    number = {key: float(np.ravel(file[key])[0]) for key in file if file[key].size == 1}
    focus = -file["objstage_nm"] / 1e3
    modes = [(int(n), int(m), rms / 1e3) for n, m, rms in file["zernike"]]
    zernike = np.zeros(28)
    for n, m, rms in modes:
        zernike[(n * (n + 2) + m) // 2] += rms
    return Witness(
        microscope=make_microscope(
            na=number["NA"],
            n_sample=number["n_sample"],
            n_coverslip=number["n_coverslip"],
            n_immersion=number["n_immersion"],
            wavelength_um=number["wavelength_nm"] / 1e3,
            pixel_um=number["pixel_nm"] / 1e3,
            focus_um=float(focus[np.argmax(np.abs(focus))]),
        ),
        modes=modes,
        zernike_um=zernike,
        image_px=file["psf"].shape[-1],
        pupil_px=int(number["npupil"]),
        xyz_um=np.stack([file["x_nm"], file["y_nm"], file["z_nm"]], axis=1) / 1e3,
        focus_um=focus,
        hard_edge=np.swapaxes(file["psf"], 1, 2).astype(float),
        converged=np.swapaxes(file["psf_converged"], 1, 2).astype(float),
        crlb_std_um=file["crlb_std_nm"] / 1e3,
        photons=number["photons_in_window"],
        background=number["background"],
    )


def image_in_window(psf: Psf, xyz_um, focus_um, nodes=None):
    """The image of one emitter at its own focus, scaled to unit sum over the window like the files."""
    focused = replace(psf, microscope=replace(psf.microscope, focus_um=focus_um))
    image = psf_image(focused, xyz_um, nodes)
    return image / image.sum()


def relative_l2(images, truth) -> np.ndarray:
    """Per image: the norm of the difference over the norm of the truth."""
    difference = (np.asarray(images) - truth).reshape(len(truth), -1)
    return np.linalg.norm(difference, axis=1) / np.linalg.norm(truth.reshape(len(truth), -1), axis=1)
