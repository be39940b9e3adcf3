"""The microscope: pupils, masks, point spread functions, cameras, frames, precision bounds. Pure JAX."""
# ruff: isort: skip_file

# the nouns and their builders
from optics.types import Camera as Camera, Emitters as Emitters, Microscope as Microscope, OpticsError as OpticsError
from optics.types import PhaseMask as PhaseMask, Psf as Psf, make_camera as make_camera, make_emitters as make_emitters
from optics.types import make_mask as make_mask, make_microscope as make_microscope
from optics.pytree import replace as replace

# one molecule: the PSF, its pupil, its image; saved, tabulated, split into paths, different over the field
from optics.psf import collected_fraction as collected_fraction, make_psf as make_psf, psf_image as psf_image
from optics.pupil import make_pupil as make_pupil
from optics.psf_io import load_psf as load_psf, save_psf as save_psf
from optics.psf_io import load_split_psf as load_split_psf, save_split_psf as save_split_psf
from optics.psf_table import PsfTable as PsfTable
from optics.psf_table import evaluate as evaluate_table  # noqa: F401
from optics.psf_table import tabulate_psf as tabulate_psf
from optics.multipath import SplitPsf as SplitPsf, biplane as biplane, make_split_psf as make_split_psf
from optics.multipath import polarisation_split as polarisation_split, split_image as split_image
from optics.field import FieldAberration as FieldAberration, aberration_at as aberration_at, load_field as load_field
from optics.field import make_field_aberration as make_field_aberration, save_field as save_field

# frames: many molecules, background, camera
from optics.render import render_frame as render_frame, render_frames as render_frames, render_scenes as render_scenes
from optics.render import stamp_fraction as stamp_fraction
from optics.wings.sizes import WingPlan as WingPlan, plan_wings as plan_wings, stamp_side as stamp_side
from optics.wings.table import Wings as Wings, make_wings as make_wings, render_wings as render_wings
from optics.background import Background as Background, Constant as Constant, RandomField as RandomField
from optics.background import SuperGaussian as SuperGaussian, UniformLevel as UniformLevel
from optics.background import sample_background as sample_background
from optics.camera import adu_to_photons as adu_to_photons, electron_variance as electron_variance
from optics.camera import log_likelihood as log_likelihood, photons_to_adu as photons_to_adu
from optics.camera import sample_camera as sample_camera, sample_camera_differentiable as sample_camera_differentiable

# masks: the library, files, what can be made of glass or shown on an SLM; families that are learned
from optics import masks as masks
from optics.masks import dispersion as dispersion, fabrication as fabrication, slm as slm
from optics.masks import files as mask_io  # noqa: F401
from optics.masks import params as mask_params  # noqa: F401
from optics.masks.limits import MaskLimits as MaskLimits
from optics.masks.params import MaskParametrisation as MaskParametrisation, PixelPhase as PixelPhase
from optics.masks.params import SmoothPhase as SmoothPhase, ZernikePhase as ZernikePhase
from optics.masks.shipped import shipped_mask as shipped_mask, shipped_masks as shipped_masks

# bounds: how precisely an image tells where its molecule is, alone or among neighbours
from optics.bounds.fisher import DepthBounds as DepthBounds, bound_std as bound_std, conditional_std as conditional_std
from optics.bounds.fisher import crlb_std as crlb_std, crlb_std_um as crlb_std_um, depth_bounds as depth_bounds
from optics.bounds.fisher import fisher_matrix as fisher_matrix
from optics.bounds.neighbours import Neighbours as Neighbours, density_bound_um as density_bound_um
from optics.bounds.neighbours import density_bounds_um as density_bounds_um

# design: the mask of the least bound
from optics.design.search import Design as Design, design_mask as design_mask
from optics.design.focus import refocus as refocus
from optics.design.target import DesignTarget as DesignTarget, make_target as make_target, objective_um as objective_um

# fits: where the molecules of stamps are
from optics.fits.fit import Fits as Fits, fit_emitters as fit_emitters
from optics.fits.stamps import Stamps as Stamps, cut_stamps as cut_stamps, to_frame_um as to_frame_um

# calibration: the instrument's own PSF from beads
from optics.retrieval.beads import BeadStack as BeadStack, make_bead_stack as make_bead_stack
from optics.retrieval.retrieve import retrieve_psf as retrieve_psf
from optics.retrieval.types import Retrieval as Retrieval, RetrievalSettings as RetrievalSettings

# calibrations of other programs: a PSF known by its pictures
from optics.calibrations import CalibratedImages as CalibratedImages, is_calibration as is_calibration
from optics.calibrations import read_calibration as read_calibration, tabulate_calibration as tabulate_calibration

# long work says where it is
from optics.progress import Event as Event, Report as Report
