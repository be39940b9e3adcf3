"""Which PSF and which camera the fits take: of a file, of a run, or a Gaussian; and the readers made of them."""

import zipfile
from dataclasses import replace as change
from pathlib import Path

import jax

from experiments.reading.classical import ClassicalReader
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.polish import PolishReader
from experiments.reading.readers import Reader, run_folder
from experiments.reading.spots import SpotTable, gaussian_spots, psf_spots
from optics import Camera, Psf, make_camera
from optics.psf_io import load_psf
from optics.pytree import replace
from training import ConfigError, build, build_camera, init_state, load_config
from training.checkpoint import restore

GAUSSIAN = "gaussian"


def is_psf(model: Path) -> bool:
    """Whether a file is a calibrated PSF."""
    if model.suffix.lower() != ".npz" or not model.is_file():
        return False
    try:
        with zipfile.ZipFile(model) as file:
            return {"header.npy", "microscope.na.npy"} <= set(file.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def classical_reader(model: Path, camera: Camera | None, config: ClassicalConfig) -> ClassicalReader:
    """Detection and fits with the PSF of a file (psf.npz), of a run's folder, or "gaussian". Raises `ConfigError`."""
    return ClassicalReader(_spots(model, config), _camera(model, camera, config), config, f"fits with {model}")


def polish_reader(
    reader: Reader, model: Path, psf: str, camera: Camera | None, config: ClassicalConfig
) -> PolishReader:
    """Fits behind a decoder, with the PSF of its own run or of a file `psf`. Raises `ConfigError`."""
    if not psf and not model.is_dir():
        raise ConfigError(f"{model}: the weights do not tell their PSF; name the file of a calibrated one with --psf")
    own = run_range(model) if model.is_dir() else (None, None)
    low = own[0] if config.z_min_um is None else config.z_min_um
    high = own[1] if config.z_max_um is None else config.z_max_um
    config = change(config, z_min_um=low, z_max_um=high)
    spots = _spots(Path(psf) if psf else model, config)
    if abs(spots.pixel_um - reader.pixel_um) > 1e-4 * reader.pixel_um:
        raise ConfigError(
            f"{psf or model}: pixel_um = {spots.pixel_um:g}, the decoder's is {reader.pixel_um:g}; "
            "name a PSF of its optics"
        )
    return PolishReader(reader, spots, _camera(model, camera, config), config)


def run_range(folder: Path) -> tuple[float, float]:
    """The depths that a run was trained on."""
    scene = load_config(run_folder(folder)).scene
    return scene.z_min_um, scene.z_max_um


def trained_psf(folder: Path) -> Psf:
    """The PSF of a run, with the mask that it learned."""
    parts = build(load_config(run_folder(folder)))
    if not parts.run.learn:
        return parts.psf
    state = restore(run_folder(folder), jax.eval_shape(lambda: init_state(parts)))
    return replace(parts.psf, mask=parts.to_mask(state.mask_params))


def _spots(model: Path, config: ClassicalConfig) -> SpotTable:
    if str(model) == GAUSSIAN and not model.exists():
        if config.gaussian_sigma_um is None:
            raise ConfigError(
                "gaussian_sigma_um is missing: give the spots' standard deviation, about 0.21 wavelength / NA, "
                "and pixel_um, such as gaussian_sigma_um=0.13 pixel_um=0.1"
            )
        return gaussian_spots(config.gaussian_sigma_um, config.pixel_um, config.stamp_px)
    if model.is_dir():
        psf, own = trained_psf(model), run_range(model)
        own = own if own[0] < own[1] else None
    elif is_psf(model):
        psf, own = load_psf(model), None
    else:
        raise ConfigError(
            f"{model}: no PSF (psf.npz of colocus retrieve), run's folder, or {GAUSSIAN!r}; check the name"
        )
    if config.stamp_px is not None:
        if config.stamp_px > psf.image_px:
            raise ConfigError(f"stamp_px = {config.stamp_px} is more than the {psf.image_px} px of {model}")
        psf = replace(psf, image_px=config.stamp_px)
    if config.focus_um is not None:
        psf = replace(psf, microscope=replace(psf.microscope, focus_um=0 * psf.microscope.focus_um + config.focus_um))
    return psf_spots(psf, config.z_range_um(own))


def _camera(model: Path, camera: Camera | None, config: ClassicalConfig) -> Camera:
    """The camera that was named, else the run's; a PSF alone says nothing of the camera."""
    if camera is None:
        if not model.is_dir():
            raise ConfigError(
                f"{model} does not tell the camera; add --camera with a camera.toml, or --gain and --offset, "
                "which colocus calibrate-camera MOVIE estimates"
            )
        camera = build_camera(load_config(run_folder(model)).camera)
    if config.read_noise_e:
        camera = replace(camera, read_noise_e=0 * camera.gain_adu_per_e + config.read_noise_e)
    return camera


def plain_camera(gain_adu_per_photon: float | None, offset_adu: float | None) -> Camera | None:
    """A camera of a gain and an offset; None where neither is given. Raises `ConfigError` for one without the other."""
    if gain_adu_per_photon is None and offset_adu is None:
        return None
    if gain_adu_per_photon is None or offset_adu is None:
        raise ConfigError("fits need gain and offset both: give --gain and --offset, or --camera")
    return make_camera(gain_adu_per_e=gain_adu_per_photon, offset_adu=offset_adu)
