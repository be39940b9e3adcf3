"""`colocus crlb`: the precision that a PSF allows, through depth and among neighbours, for one or several masks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.instrument.crlb_config import CrlbArm, CrlbConfig
from experiments.instrument.crlb_result import AXES, ArmBounds, CrlbResult
from experiments.report.numbers import NM_PER_UM
from optics import Camera, Psf, SplitPsf, biplane, density_bounds_um, depth_bounds, polarisation_split, replace
from optics.progress import Event, Report, silent
from optics.psf import pupil_samples, ring_samples
from optics.psf_io import load_psf
from optics.types import is_matched
from training import ConfigError, build_camera
from training.instrument import build_psf, file_path

# parameter: (name with its unit in files and tables, factor from the optics' unit)
_COLUMNS = {
    "x": ("x_nm", NM_PER_UM),
    "y": ("y_nm", NM_PER_UM),
    "z": ("z_nm", NM_PER_UM),
    "photons": ("photons", 1.0),
    "background": ("background", 1.0),
    "polar": ("polar_deg", 180 / np.pi),
    "azimuth": ("azimuth_deg", 180 / np.pi),
    "wavelength": ("wavelength_nm", NM_PER_UM),
}


def crlb(config: CrlbConfig = CrlbConfig(), report: Report = silent) -> CrlbResult:
    """Compute the precision bounds of every mask, through depth and among neighbours.

    Raises `ConfigError` or `OpticsError` before the first of them is computed.

    >>> crlb(CrlbConfig(z_min_um=-1.0))
    Traceback (most recent call last):
    training.settings.ConfigError: z_min_um = -1 lies above the coverslip, ...
    """
    camera = build_camera(config.camera)
    psfs = {arm.label: arm_psf(config, arm) for arm in config.arms}
    total = len(psfs) * (1 + len(config.densities_per_um2))
    results = []
    done = 0

    for label, psf in psfs.items():
        report(Event(f"{label}, bounds through depth:", done, total))
        z = np.linspace(config.z_min_um, config.z_max_um, config.depths)
        bounds = _depth_bounds(psf, z, config.photons, config.background, camera, _dipole(config), config.unknown)
        done += 1
        scenes = []
        for density in config.densities_per_um2:
            report(Event(f"{label}, {density:g} emitters per um2:", done, total))
            scenes.append(_among_neighbours(config, psf, camera, density))
            done += 1
        results.append(_arm_bounds(config, label, bounds, scenes))
    return CrlbResult(config, results)


def arm_psf(config: CrlbConfig, arm: CrlbArm) -> Psf | SplitPsf:
    """Build the PSF of one arm, or its paths; raises `ConfigError` or `OpticsError` naming what cannot be."""
    half = config.separation_um / 2 if config.detection == "biplane" else 0.0
    depths = (config.z_min_um - half, config.z_max_um + half)
    psf = _calibrated(arm, depths) if arm.psf_file else build_psf(config.microscope, config.psf, arm.mask, depths)
    scope = psf.microscope
    if config.z_min_um < 0 and not bool(is_matched(scope)):
        raise ConfigError(
            f"z_min_um = {config.z_min_um:g} lies above the coverslip, which has a meaning only where n_sample, "
            "n_coverslip and n_immersion are equal; start at 0"
        )
    if psf.kind == "scalar" and (config.dipole == "fixed" or config.detection in ("polarised", "x", "y")):
        raise ConfigError("psf.kind = 'scalar' knows neither dipoles nor polarisation; set psf.kind='vectorial'")
    psf = replace(psf, dipole=config.dipole)
    match config.detection:
        case "biplane":
            return biplane(psf, config.separation_um)
        case "polarised":
            return polarisation_split(psf)
        case "x" | "y" as axis:
            return replace(psf, polarisation=axis)
    return psf


def _calibrated(arm: CrlbArm, depths: tuple[float, float]) -> Psf:
    """Read a PSF from a file, with at least the samples that these depths need."""
    psf = load_psf(file_path(arm.psf_file, "arms.psf_file"))
    return replace(
        psf,
        pupil_px=max(psf.pupil_px, pupil_samples(psf.microscope, psf.image_px, depths)),
        ring_px=max(psf.ring_px, ring_samples(psf.microscope, psf.image_px)),
    )


def _dipole(config: CrlbConfig) -> np.ndarray | None:
    return np.radians([config.polar_deg, config.azimuth_deg]) if config.dipole == "fixed" else None


@partial(jax.jit, static_argnums=6)
def _depth_bounds(psf, z_um, photons, background, camera, dipole_rad, unknown):
    return depth_bounds(psf, z_um, photons, background, camera, dipole_rad=dipole_rad, further=unknown)


def _among_neighbours(config: CrlbConfig, psf: Any, camera: Camera, density: float) -> np.ndarray:
    """Standard deviations (depths, scenes, 3) in nm."""
    n = config.neighbours
    brightest = n.photons_max if n.photons_max > 0 else config.photons
    dimmest = n.photons_min if n.photons_max > 0 else config.photons
    edges = np.linspace(config.z_min_um, config.z_max_um, n.depths + 1)
    depths = (edges[1:] + edges[:-1]) / 2
    numbers = (config.photons, config.background, density, (config.z_min_um, config.z_max_um), (dimmest, brightest))
    sizes = (n.scenes, n.count)
    std = _scene_bounds(jax.random.key(config.seed), psf, depths, numbers, camera, n.prior_um, sizes)
    return NM_PER_UM * np.asarray(std, float)


@partial(jax.jit, static_argnums=6)
def _scene_bounds(key, psf, depths, numbers, camera, prior_um, sizes):
    photons, background, density, z_range_um, photons_range = numbers

    def at(z):
        return density_bounds_um(
            key,
            psf,
            jnp.zeros(3).at[2].set(z),
            photons,
            background,
            density,
            z_range_um=z_range_um,
            n_scenes=sizes[0],
            n_neighbours=sizes[1],
            photons_range=photons_range,
            camera=camera,
            prior_um=prior_um,
        )

    return jax.vmap(at)(depths)


def _arm_bounds(config: CrlbConfig, label: str, bounds: Any, scenes: list[np.ndarray]) -> ArmBounds:
    names = (*AXES, "photons", "background", *config.unknown)
    factors = np.array([_COLUMNS[name][1] for name in names])
    averages: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "effective_nm": lambda std: np.exp(np.log(std).mean(axis=1)),
        "median_nm": lambda std: np.median(std, axis=1),
        "mean_nm": lambda std: std.mean(axis=1),
        "informative_nm": lambda std: (std**-2).mean(axis=1) ** -0.5,
    }
    by_density = {
        name: np.array([average(std).mean(axis=0) for std in scenes]).reshape(len(scenes), 3)
        for name, average in averages.items()
    }
    return ArmBounds(
        label=label,
        columns=tuple(_COLUMNS[name][0] for name in names),
        z_um=np.asarray(bounds.z_um, float),
        marginal=np.asarray(bounds.marginal, float) * factors,
        conditional=np.asarray(bounds.conditional, float) * factors,
        densities_per_um2=config.densities_per_um2,
        **by_density,
    )
