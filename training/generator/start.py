"""Build what a fit starts from: the PSF, its table and templates, the camera, and crops that show emitters."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from localization.types import LocalizationError
from optics import Psf, make_camera
from optics.fits.matched_filter import choose_depths, make_templates
from optics.psf_io import load_psf
from optics.psf_table import tabulate_psf
from optics.types import is_matched
from training.config import MicroscopeConfig
from training.generator.config import GeneratorConfig
from training.generator.crops import Crops
from training.generator.model import GeneratorModel
from training.generator.posterior import Ranges
from training.instrument import build_psf, file_path
from training.settings import ConfigError

_FLAT_UM = 0.01  # half the depth of the table for emitters in one plane
_CERTAIN, _LEAST_SHARE = 6.0, 0.2  # standard deviations of an emitter; share of crops that must show one
_DARKEST = 0.5  # photons per pixel: the lowest level that other levels are measured by


def generator_psf(config: GeneratorConfig) -> Psf:
    """Build or load the PSF that a fit starts from; raises `ConfigError` or `OpticsError`."""
    depths = (config.z_min_um, config.z_max_um)
    if not config.psf_file:
        return build_psf(config.microscope, config.psf, config.mask, depths)
    psf = load_psf(file_path(config.psf_file, "psf_file"))
    if psf.dipole == "fixed":
        raise ConfigError(f"psf_file = {config.psf_file!r} is that of a fixed dipole; emitters here turn freely")
    for field in dataclasses.fields(MicroscopeConfig):
        name, configured = field.name, getattr(config.microscope, field.name)
        found = float(getattr(psf.microscope, name))
        if configured is not None and not np.isclose(configured, found, rtol=1e-5):
            raise ConfigError(
                f"psf_file = {config.psf_file!r} has {name} = {found:g}, not microscope.{name} = {configured:g}"
            )
    return psf


def depth_range(config: GeneratorConfig, psf: Psf) -> tuple[float, float]:
    """Return the depths to tabulate: the configured ones, or a thin layer around one plane."""
    if config.is_3d:
        return config.z_min_um, config.z_max_um
    low = config.z_min_um - _FLAT_UM
    low = low if bool(is_matched(psf.microscope)) else max(low, 0.0)
    return low, low + 2 * _FLAT_UM


def psf_radius_px(images: NDArray) -> int:
    """Measure the core of a PSF: pixels, at least 2, where the autocorrelation of images (Z, K, K) falls to half."""
    side = images.shape[-1]
    spectra = np.fft.rfft2(images - images.mean(axis=(1, 2), keepdims=True), (2 * side, 2 * side))
    correlation = np.fft.irfft2(np.abs(spectra) ** 2, (2 * side, 2 * side))
    correlation /= correlation[:, :1, :1]
    steps = np.arange(side // 2)
    profiles = 0.5 * (correlation[:, steps, 0] + correlation[:, 0, steps])
    reach = [int(np.argmax(line < 0.5)) if (line < 0.5).any() else side // 4 for line in profiles]
    return int(np.clip(np.median(reach), 2, max(2, side // 4)))


def make_model(config: GeneratorConfig, psf: Psf, crops: Crops) -> GeneratorModel:
    """Build what a fit is given: the PSF's table and templates, the camera and the movie's level."""
    depths = depth_range(config, psf)
    side = config.crop_px
    if psf.image_px > side:
        raise ConfigError(f"crop_px = {side} is smaller than the PSF's stamp of {psf.image_px} px; make it larger")
    table = tabulate_psf(psf, depths, reach_px=1.0)
    depth, images = choose_depths(table)
    level = float(np.median(crops.fit))
    if level < -2:
        raise ConfigError(
            f"half of the pixels are below {level:.3g} photons; make camera.offset_adu smaller, or give its camera"
        )
    return GeneratorModel(
        templates=make_templates(depth, images, (side, side), smooth_px=config.smooth_px),
        table=table,
        camera=make_camera(**dataclasses.asdict(crops.camera)),
        level=jnp.asarray(max(level, _DARKEST), dtype=float),
        config=config.networks(),
        ranges=Ranges(float(config.microscope.pixel_um), depths, config.is_3d),
        branches=config.branches,
        radius_px=config.radius_px or psf_radius_px(images),
        block_px=int(np.clip(psf.image_px, 24, max(24, side // 2))),
    )


def check_emitters(significance: NDArray) -> None:
    """Refuse crops without emitters, by the significance (F, K) of their proposals (`LocalizationError`)."""
    strongest = significance.max(axis=1)
    share = float(np.mean(strongest > _CERTAIN))
    if share < _LEAST_SHARE:
        raise LocalizationError(
            f"no emitters found: {100 * share:.0f} % of the crops show a spot like the PSF beyond {_CERTAIN:g} "
            f"standard deviations of the noise (the median crop's strongest has {np.median(strongest):.1f}); check "
            "PSF, depths and camera, or choose a brighter part of the movie"
        )
