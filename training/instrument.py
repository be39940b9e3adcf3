"""From a configuration to the instrument: microscope, mask, PSF, camera, background."""

import dataclasses
import math
import os
import re

from optics import (
    Background,
    Camera,
    Constant,
    Microscope,
    PhaseMask,
    Psf,
    RandomField,
    SuperGaussian,
    UniformLevel,
    load_psf,
    make_camera,
    make_microscope,
    make_psf,
    mask_io,
    masks,
    shipped_mask,
)
from optics.background import check_background
from optics.colour.shipped import shipped_plate, shipped_plates
from optics.masks.fabrication import etched_mask
from training.config import (
    CameraConfig,
    LearnConfig,
    MaskConfig,
    MicroscopeConfig,
    PsfConfig,
    RunConfig,
    SceneConfig,
)
from training.settings import ConfigError, check_name


def build_microscope(m: MicroscopeConfig) -> Microscope:
    """Build the microscope of a configuration; raises `OpticsError` naming a field that cannot be right."""
    return make_microscope(**dataclasses.asdict(m))


def file_path(path: str, key: str) -> str:
    """Fill environment variables into a path of a configuration, so that a preset can say `$COLOCUS_DATA/...`.

    Raises `ConfigError` where a variable is not set.
    """
    filled = os.path.expandvars(path)
    if unset := re.search(r"\$\{?\w+\}?", filled):
        raise ConfigError(
            f"{key} = {path!r}: the environment variable {unset[0].strip('${}')} is not set; "
            "set it to the folder that holds the files, or give a path without it"
        )
    return filled


def build_mask(config: MaskConfig, microscope: Microscope) -> PhaseMask:
    """Build a mask from the library, from those that come with Colocus or from a file, for this microscope."""
    wavelength = float(microscope.wavelength_um)
    if config.name == "file":
        path = file_path(config.path, "mask.path")
        if mask_io.carries_optics(path):  # saved by Colocus: pitch and focal length are those of other people's files
            return mask_io.load(path, turn_180=config.turn_180)
        return mask_io.load(
            path,
            variable=config.variable,
            wavelength_um=wavelength,
            pitch_um=config.pitch_um,
            focal_length_um=config.focal_length_um,
            magnification=config.magnification,
            na=float(microscope.na),
            turn_180=config.turn_180,
        )
    if config.name == "designed" and config.design in shipped_plates():
        return etched_mask(shipped_plate(config.design), wavelength)
    if config.name == "designed":
        return shipped_mask(config.design, microscope)
    check_name("mask.name", config.name, masks.LIBRARY)
    entry = masks.LIBRARY[config.name]
    return entry.build(microscope, getattr(config, entry.parameter) if entry.parameter else None)


def build_psf(
    microscope: MicroscopeConfig, psf: PsfConfig, mask: MaskConfig | PhaseMask, z_range_um: tuple[float, float]
) -> Psf:
    """Build the PSF of a configuration, for emitters between two depths."""
    scope = build_microscope(microscope)
    aberration, blur_um, polarisation = None, psf.blur_um, "both"
    if psf.calibration:
        calibrated = calibrated_psf(psf, microscope)
        aberration, polarisation = calibrated.aberration, calibrated.polarisation
        if blur_um is None and calibrated.blur_um is not None:
            blur_um = float(calibrated.blur_um)
    return make_psf(
        scope,
        mask=build_mask(mask, scope) if isinstance(mask, MaskConfig) else mask,
        aberration=aberration,
        blur_um=blur_um,
        kind=psf.kind,
        polarisation=polarisation,
        image_px=psf.stamp_px,
        pupil_px=psf.pupil_px,
        ring_px=psf.ring_px,
        pixel=psf.pixel,
        z_range_um=z_range_um,
    )


def calibrated_psf(config: PsfConfig, microscope: MicroscopeConfig) -> Psf:
    """Load the PSF in the file `config.calibration`; raises `ConfigError` where it is of another microscope or kind."""
    psf = load_psf(file_path(config.calibration, "psf.calibration"))
    asked = build_microscope(microscope)
    for name in ("na", "iris_na", "n_immersion", "n_coverslip", "n_sample", "wavelength_um", "pixel_um"):
        theirs, ours = float(getattr(psf.microscope, name)), float(getattr(asked, name))
        if not math.isclose(theirs, ours, rel_tol=1e-5):
            raise ConfigError(
                f"psf.calibration = {config.calibration!r} was retrieved with {name} = {theirs:g}, "
                f"not microscope.{name} = {ours:g}; set it so (the file's folder has a run.toml that does)"
            )
    if psf.kind != config.kind:
        raise ConfigError(f"psf.calibration = {config.calibration!r} is {psf.kind}; set psf.kind = {psf.kind!r}")
    parts = {"mask": psf.mask, "Zernike part": psf.zernike_um, "fixed dipole": psf.dipole == "fixed" or None}
    more = [name for name, part in parts.items() if part is not None]
    if more:
        raise ConfigError(
            f"psf.calibration = {config.calibration!r} is no calibration: it has a {more[0]} of its own; "
            "retrieve one with colocus retrieve"
        )
    return psf


def run_psf(run: RunConfig) -> Psf:
    """Build the PSF of a run, with its starting mask."""
    return build_psf(run.microscope, run.psf, run.mask, (run.scene.z_min_um, run.scene.z_max_um))


def build_camera(c: CameraConfig) -> Camera:
    """Build the camera of a configuration; raises `OpticsError` naming a field that cannot be right."""
    return make_camera(**dataclasses.asdict(c))


def build_background(scene: SceneConfig) -> Background:
    """Build the background that a scene asks for."""
    low, high = scene.background_min, scene.background_max
    built = {
        "constant": lambda: Constant(high),
        "uniform": lambda: UniformLevel(low, high),
        "super_gaussian": lambda: SuperGaussian(floor_photons=low, peak_photons=high),
        "random_field": lambda: RandomField(
            (low + high) / 2, scene.background_contrast, scene.background_correlation_px
        ),
    }[scene.background]()
    check_background(built)
    return built


def build_family(learn: LearnConfig, wavelength_um: float) -> masks.MaskParametrisation:
    """Build the family of masks that a co-design searches."""
    check_name("learn.parametrisation", learn.parametrisation, masks.FAMILIES)
    family = masks.FAMILIES[learn.parametrisation]
    return family.make(getattr(learn, family.setting), design_wavelength_um=wavelength_um)
