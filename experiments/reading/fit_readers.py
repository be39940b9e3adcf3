"""Fits as readers: which PSF and which camera they take, of a run, of a file, or Gaussian spots."""

from collections.abc import Sequence
from dataclasses import replace as change
from pathlib import Path

import numpy as np

from experiments.reading.classical import ClassicalReader
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.colours.reader import ColourReader, check_species
from experiments.reading.decoder_joint import DecoderJointReader
from experiments.reading.fields.reader import FieldReader
from experiments.reading.joint import JointReader
from experiments.reading.planes.maps import read_maps
from experiments.reading.planes.reader import PlanesReader
from experiments.reading.readers import GAUSSIAN, Model, Reader
from experiments.reading.spots import SpotTable, calibration_spots, gaussian_spots, is_psf, psf_spots
from optics import Camera, Psf, load_field, make_split_psf
from optics.calibrations import is_calibration, read_calibration
from optics.psf_io import load_psf, load_split_psf
from optics.pytree import replace
from training import ConfigError

# of the image; half the pictures, so half the time, of 1e-3, and both below the noise of 20,000 photons
_TOLERANCE = 1e-2
_MOST_SPECIES = 8


def classical_reader(model: Model, camera: Camera | None, config: ClassicalConfig) -> ClassicalReader:
    """Make the reader that chooses how it fits, with the PSF of a file, of a run, or Gaussian. Raises `ConfigError`."""
    return ClassicalReader(spots_of(model, config), _camera(model, camera, config), config, f"fits with {model.path}")


def joint_reader(model: Model, camera: Camera | None, config: ClassicalConfig) -> JointReader:
    """Make the reader that fits all emitters of a frame together, with the PSF of a file, of a run, or Gaussian."""
    about, own = f"joint fits with {model.path}", _camera(model, camera, config)
    if config.field:
        if model.kind != "psf" or not is_psf(model.path):
            raise ConfigError(f"field = {config.field} changes a psf.npz over the field, not {model.path}")
        psf = _cut_stamp(load_psf(model.path), model.path, config)
        field, z_range_um = load_field(config.field), config.z_range_um()
        return FieldReader(_focused(psf, config), field, config.field_px, z_range_um, own, config, about, _TOLERANCE)
    return JointReader(spots_of(model, config), own, config, about)


def colour_reader(models: Sequence[Model], camera: Camera | None, config: ClassicalConfig) -> ColourReader:
    """Make the reader that tells species apart, from the PSF of each. Raises `ConfigError`."""
    about = f"fits as every species of {', '.join(model.path.name for model in models)}"
    return ColourReader(_species_spots(models, config), _camera(models[0], camera, config), config, about)


def species_reader(models: Sequence[Model], camera: Camera | None, config: ClassicalConfig) -> JointReader:
    """Make the reader that fits emitters of several species together, from the PSF of each. Raises `ConfigError`."""
    about = f"joint fits of {len(models)} species with {', '.join(model.path.name for model in models)}"
    first, *rivals = _species_spots(models, config)
    return JointReader(first, _camera(models[0], camera, config), config, about, rivals)


def _species_spots(models: Sequence[Model], config: ClassicalConfig) -> list[SpotTable]:
    if len(models) > _MOST_SPECIES:
        raise ConfigError(f"{len(models)} PSFs of species: an image tells a few apart, {_MOST_SPECIES} at most")
    if config.field or config.blur_spread_px2 is not None:
        name = "field" if config.field else "blur_spread_px2"
        raise ConfigError(f"{name} is for a PSF of one species; leave it out where there are several")
    spots = [spots_of(model, config) for model in models]
    check_species(spots, [str(model.path) for model in models])
    return spots


def of_one_colour(models: Sequence[Model]) -> bool:
    """Say whether several PSFs are of one wavelength, as those of the planes of a movie are."""
    if any(model.kind != "psf" or not is_psf(model.path) for model in models):
        return False
    colours = {round(float(load_psf(model.path).microscope.wavelength_um), 4) for model in models}
    return len(colours) == 1


def planes_reader(models: Sequence[Model], camera: Camera | None, config: ClassicalConfig) -> PlanesReader:
    """Make the reader that fits several planes as one: of one file that holds them all, or of one for each.

    Raises `ConfigError`, `OpticsError`.
    """
    path = models[0].path
    if config.field:
        raise ConfigError(f"field = {config.field} is for a PSF of one plane, not of several")
    if config.focus_um is not None:
        raise ConfigError(f"focus_um = {config.focus_um:g} is that of one plane; each PSF of {path} has its own")
    if one_file := models[0].kind == "planes":
        if config.plane_map or config.plane_shares:
            raise ConfigError(f"{path} holds the planes' maps and shares; leave out plane_map and plane_shares")
        split = load_split_psf(path)
    else:
        wrong = [model.path for model in models if model.kind != "psf" or not is_psf(model.path)]
        if wrong:
            raise ConfigError(f"{wrong[0]}: no psf.npz; planes are fitted with one of colocus retrieve for each plane")
        maps = read_maps(config.plane_map, len(models))
        psfs = [load_psf(model.path) for model in models]
        split = make_split_psf(
            psfs, fraction=np.array(config.plane_shares) if config.plane_shares else None, registration=maps
        )
    paths = [_cut_stamp(psf, path, config) for psf in split.paths]
    spots = [psf_spots(psf, config.z_range_um(), _TOLERANCE) for psf in paths]
    names = path.name if one_file else ", ".join(model.path.name for model in models)
    return PlanesReader(
        spots,
        split,
        _camera(models[0], camera, config),
        config,
        f"joint fits of {len(spots)} planes with {names}",
        of_movie=not one_file and bool(config.plane_map),
    )


def decoder_joint_reader(
    decoder: Reader, model: Model, psf: str, camera: Camera | None, config: ClassicalConfig
) -> DecoderJointReader:
    """Make the reader whose joint fit begins at a decoder's list, with its run's PSF or that of a file `psf`.

    Raises `ConfigError`.
    """
    if not psf and model.kind != "run":
        raise ConfigError(
            f"{model.path}: the weights do not tell their PSF; name the file of a calibrated one with --psf"
        )
    if psf and model.kind == "run" and (species := model.trained.run.species):
        raise ConfigError(
            f"{model.path} tells {len(species)} species apart, and psf = {psf} is of one: read it by --method decoder"
        )
    own = model.trained.z_range_um if model.kind == "run" else (None, None)
    low = own[0] if config.z_min_um is None else config.z_min_um
    high = own[1] if config.z_max_um is None else config.z_max_um
    config = change(config, z_min_um=low, z_max_um=high)
    source = Model(Path(psf), "run" if Path(psf).is_dir() else "psf") if psf else model
    spots = spots_of(source, config)
    if abs(spots.pixel_um - decoder.pixel_um) > 1e-4 * decoder.pixel_um:
        raise ConfigError(
            f"{psf or model.path}: pixel_um = {spots.pixel_um:g}, the decoder's is {decoder.pixel_um:g}; "
            "name a PSF of its optics"
        )
    joint = JointReader(spots, _camera(model, camera, config), config, f"{decoder.description}, then joint fits")
    return DecoderJointReader(decoder, joint)


def spots_of(model: Model, config: ClassicalConfig) -> SpotTable:
    """Tabulate what a spot looks like, of a file, of a run, or Gaussian. Raises `ConfigError`."""
    if model.kind == "gaussian":
        if config.gaussian_sigma_um is None:
            raise ConfigError(
                "gaussian_sigma_um is missing: give the spots' standard deviation, about 0.21 wavelength / NA, "
                "and pixel_um, such as gaussian_sigma_um=0.13 pixel_um=0.1"
            )
        return gaussian_spots(config.gaussian_sigma_um, config.pixel_um or 0.1, config.stamp_px)
    if is_calibration(model.path):
        return _calibrated(model.path, config)
    if model.kind == "run":
        if model.trained.run.species:
            raise ConfigError(f"{model.path} is of several species, and fits take one PSF: read it by --method decoder")
        psf, own = model.trained.psf, model.trained.z_range_um
        own = own if own[0] < own[1] else None
    elif is_psf(model.path):
        psf, own = load_psf(model.path), None
    else:
        raise ConfigError(
            f"{model.path}: no PSF (psf.npz of colocus retrieve, or a calibration of SMAP or uiPSF), run's folder, "
            f"or {GAUSSIAN!r}; check the name"
        )
    psf = _cut_stamp(psf, model.path, config)
    return psf_spots(_focused(psf, config), config.z_range_um(own), _TOLERANCE)


def _cut_stamp(psf: Psf, path: Path, config: ClassicalConfig) -> Psf:
    if config.stamp_px is None:
        return psf
    if config.stamp_px > psf.image_px:
        raise ConfigError(f"stamp_px = {config.stamp_px} is more than the {psf.image_px} px of {path}")
    return replace(psf, image_px=config.stamp_px)


def _focused(psf: Psf, config: ClassicalConfig) -> Psf:
    if config.focus_um is None:
        return psf
    return replace(psf, microscope=replace(psf.microscope, focus_um=0 * psf.microscope.focus_um + config.focus_um))


def _calibrated(path: Path, config: ClassicalConfig) -> SpotTable:
    """The spots of another program's calibration, over its own depths unless others within them are asked for."""
    if config.focus_um is not None:
        raise ConfigError(f"focus_um = {config.focus_um:g} belongs to a PSF of optics; {path} has its own z = 0")
    calibration = read_calibration(
        path,
        pixel_um=config.pixel_um,
        part=config.calibration_part,
        z_scale=config.z_scale,
        image_px=config.stamp_px,
    )
    return calibration_spots(calibration, config.z_range_um(calibration.z_range_um))


def _camera(model: Model, camera: Camera | None, config: ClassicalConfig) -> Camera:
    """The camera that was named, else the run's; a PSF alone says nothing of the camera."""
    if camera is None:
        if model.kind != "run":
            raise ConfigError(
                f"{model.path} does not tell the camera; add --camera with a camera.toml, or --gain and --offset, "
                "which colocus calibrate-camera MOVIE estimates"
            )
        camera = model.trained.camera
    if config.read_noise_e:
        camera = replace(camera, read_noise_e=0 * camera.gain_adu_per_e + config.read_noise_e)
    return camera
