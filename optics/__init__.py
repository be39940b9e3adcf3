"""The microscope: pupils, masks, point spread functions, cameras, frames, precision bounds. Pure JAX."""

from optics import masks
from optics.background import sample_background
from optics.camera import (
    adu_to_photons,
    electron_variance,
    log_likelihood,
    photons_to_adu,
    sample_camera,
    sample_camera_differentiable,
)
from optics.fisher import crlb_std, crlb_std_um, fisher_matrix
from optics.fisher_density import density_bound_um, density_bounds_um
from optics.psf import collected_fraction, make_psf, psf_image
from optics.pupil import make_pupil
from optics.pytree import replace
from optics.render import render_frame, render_frames, render_scenes, stamp_fraction
from optics.types import (
    Camera,
    Emitters,
    Microscope,
    OpticsError,
    PhaseMask,
    Psf,
    make_camera,
    make_emitters,
    make_mask,
    make_microscope,
)

__all__ = [
    "Camera",
    "Emitters",
    "Microscope",
    "OpticsError",
    "PhaseMask",
    "Psf",
    "adu_to_photons",
    "collected_fraction",
    "crlb_std",
    "crlb_std_um",
    "electron_variance",
    "density_bound_um",
    "density_bounds_um",
    "fisher_matrix",
    "log_likelihood",
    "make_camera",
    "make_emitters",
    "make_mask",
    "make_microscope",
    "make_psf",
    "make_pupil",
    "masks",
    "photons_to_adu",
    "psf_image",
    "render_frame",
    "render_frames",
    "render_scenes",
    "replace",
    "sample_background",
    "sample_camera",
    "sample_camera_differentiable",
    "stamp_fraction",
]
