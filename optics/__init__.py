"""The microscope: pupils, masks, point spread functions, cameras, frames, precision bounds. Pure JAX."""

from optics import masks
from optics.background import sample_background
from optics.bounds.fisher import (
    DepthBounds,
    bound_std,
    conditional_std,
    crlb_std,
    crlb_std_um,
    depth_bounds,
    fisher_matrix,
)
from optics.bounds.neighbours import density_bound_um, density_bounds_um
from optics.camera import (
    adu_to_photons,
    electron_variance,
    log_likelihood,
    photons_to_adu,
    sample_camera,
    sample_camera_differentiable,
)
from optics.design.search import Design, design_mask, refocus
from optics.design.target import DesignTarget, Neighbours, make_target, objective_um
from optics.field import FieldAberration, aberration_at, load_field, make_field_aberration, save_field
from optics.fits.fit import Fits, fit_emitters
from optics.fits.stamps import Stamps, cut_stamps, to_frame_um
from optics.masks import dispersion, fabrication, slm
from optics.masks import files as mask_io
from optics.masks import params as mask_params
from optics.masks.limits import MaskLimits
from optics.multipath import SplitPsf, biplane, make_split_psf, polarisation_split, split_image
from optics.psf import collected_fraction, make_psf, psf_image
from optics.psf_io import load_psf, save_psf
from optics.psf_table import PsfTable, tabulate_psf
from optics.pupil import make_pupil
from optics.pytree import replace
from optics.render import render_frame, render_frames, render_scenes, stamp_fraction
from optics.retrieval.beads import BeadStack, make_bead_stack
from optics.retrieval.retrieve import retrieve_psf
from optics.retrieval.types import Retrieval, RetrievalSettings
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
    "BeadStack",
    "Camera",
    "DepthBounds",
    "Design",
    "DesignTarget",
    "Emitters",
    "FieldAberration",
    "Fits",
    "MaskLimits",
    "Microscope",
    "Neighbours",
    "OpticsError",
    "PhaseMask",
    "Psf",
    "PsfTable",
    "Retrieval",
    "RetrievalSettings",
    "SplitPsf",
    "Stamps",
    "aberration_at",
    "adu_to_photons",
    "biplane",
    "bound_std",
    "collected_fraction",
    "conditional_std",
    "crlb_std",
    "crlb_std_um",
    "cut_stamps",
    "density_bound_um",
    "density_bounds_um",
    "depth_bounds",
    "dispersion",
    "fabrication",
    "design_mask",
    "electron_variance",
    "fisher_matrix",
    "fit_emitters",
    "load_field",
    "load_psf",
    "log_likelihood",
    "make_bead_stack",
    "make_camera",
    "make_emitters",
    "make_field_aberration",
    "make_mask",
    "make_microscope",
    "make_psf",
    "make_pupil",
    "make_split_psf",
    "make_target",
    "mask_io",
    "mask_params",
    "masks",
    "objective_um",
    "photons_to_adu",
    "polarisation_split",
    "psf_image",
    "refocus",
    "render_frame",
    "render_frames",
    "render_scenes",
    "replace",
    "retrieve_psf",
    "sample_background",
    "sample_camera",
    "sample_camera_differentiable",
    "save_field",
    "save_psf",
    "slm",
    "split_image",
    "stamp_fraction",
    "tabulate_psf",
    "to_frame_um",
]
