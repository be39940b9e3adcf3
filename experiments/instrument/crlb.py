"""`colocus crlb`: the precision that a PSF allows, through depth and among neighbours, for one or several masks."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.instrument.crlb_config import CrlbArm, CrlbConfig
from optics import Camera, Psf, SplitPsf, biplane, density_bounds_um, depth_bounds, polarisation_split, replace
from optics.psf import pupil_samples, ring_samples
from optics.psf_io import load_psf
from optics.whole_file import write_text
from training import ConfigError, build_camera, to_dict
from training.instrument import build_psf, file_path

Event = dict[str, Any]
AXES = ("x", "y", "z")
_NM = 1e3
# parameter: (name with its unit in files and tables, factor from the optics' unit)
_COLUMNS = {
    "x": ("x_nm", _NM),
    "y": ("y_nm", _NM),
    "z": ("z_nm", _NM),
    "photons": ("photons", 1.0),
    "background": ("background", 1.0),
    "polar": ("polar_deg", 180 / np.pi),
    "azimuth": ("azimuth_deg", 180 / np.pi),
    "wavelength": ("wavelength_nm", _NM),
}


@dataclasses.dataclass(frozen=True)
class ArmBounds:
    """Bounds of one mask: (Z, J) through depth in the units of `columns`, and among neighbours (D, 3) in nm.

    `effective_nm` is the geometric mean over scenes, `median_nm` and `mean_nm` other averages of the same standard
    deviations and `informative_nm` 1 / sqrt(mean of 1 / variance); each is averaged over the depths.
    """

    label: str
    columns: tuple[str, ...]
    z_um: np.ndarray
    marginal: np.ndarray
    conditional: np.ndarray
    densities_per_um2: tuple[float, ...]
    effective_nm: np.ndarray
    median_nm: np.ndarray
    mean_nm: np.ndarray
    informative_nm: np.ndarray


def compute(config: CrlbConfig, report: Callable[[Event], None] = lambda event: None) -> list[ArmBounds]:
    """The bounds of every mask. Raises `ConfigError` or `OpticsError` before the first of them is computed.

    `report` is given an event per piece of work: {"event": "crlb", "arm", "what", "done", "total"}.
    """
    camera = build_camera(config.camera)
    psfs = {arm.label: arm_psf(config, arm) for arm in config.arms}
    total = len(psfs) * (1 + len(config.densities_per_um2))
    results = []
    done = 0

    def tell(label: str, what: str) -> None:
        report({"event": "crlb", "arm": label, "what": what, "done": done, "total": total})

    for label, psf in psfs.items():
        tell(label, "bounds through depth")
        z = np.linspace(config.z_min_um, config.z_max_um, config.depths)
        bounds = _depth_bounds(psf, z, config.photons, config.background, camera, _dipole(config), config.unknown)
        done += 1
        scenes = []
        for density in config.densities_per_um2:
            tell(label, f"{density:g} emitters per um2")
            scenes.append(_among_neighbours(config, psf, camera, density))
            done += 1
        results.append(_arm_bounds(config, label, bounds, scenes))
    return results


def arm_psf(config: CrlbConfig, arm: CrlbArm) -> Psf | SplitPsf:
    """The PSF of one arm, or its paths; raises `ConfigError` or `OpticsError` naming what cannot be."""
    half = config.separation_um / 2 if config.detection == "biplane" else 0.0
    depths = (config.z_min_um - half, config.z_max_um + half)
    psf = _calibrated(arm, depths) if arm.psf_file else build_psf(config.microscope, config.psf, arm.mask, depths)
    scope = psf.microscope
    if config.z_min_um < 0 and not float(scope.n_sample) == float(scope.n_immersion) == float(scope.n_coverslip):
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
    """A PSF from a file, with at least the samples that these depths need."""
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
    return _NM * np.asarray(std, float)


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


def table(results: list[ArmBounds]) -> list[str]:
    """The bounds as lines of text: per depth, marginal and conditional; then against density."""
    lines = ["Smallest standard deviation; in brackets with all other parameters known."]
    wanted = [k for k, name in enumerate(results[0].columns) if name not in ("photons", "background")]
    width = max(12, max(len(result.label) for result in results) + 1)
    for result in results:
        head = "".join(f"{_label(result.columns[k]):>18}" for k in wanted)
        lines += ["", f"{result.label:<{width}}{'z (um)':>8}{head}"]
        rows = [(f"{z:.2f}", result.marginal[i], result.conditional[i]) for i, z in enumerate(result.z_um)]
        rows.append(("mean", result.marginal.mean(axis=0), result.conditional.mean(axis=0)))
        for name, marginal, conditional in rows:
            cells = "".join(f"{_number(marginal[k]):>9}{'(' + _number(conditional[k]) + ')':>9}" for k in wanted)
            lines.append(f"{'':<{width}}{name:>8}{cells}")
    if results[0].densities_per_um2:
        lines += ["", "Among neighbours, effective x / y / z (nm), mean over a few depths:", ""]
        lines.append(f"{'per um2':<{width}}" + "".join(f"{result.label:>24}" for result in results))
        for i, density in enumerate(results[0].densities_per_um2):
            cells = (" / ".join(_number(v) for v in result.effective_nm[i]) for result in results)
            lines.append(f"{density:<{width}g}" + "".join(f"{cell:>24}" for cell in cells))
    return lines


def _label(column: str) -> str:
    name, _, unit = column.rpartition("_")
    return f"{name} ({unit})" if name else column


def _number(value: float) -> str:
    return "inf" if not np.isfinite(value) else f"{value:.1f}" if value < 1e4 else f"{value:.1e}"


def write(config: CrlbConfig, results: list[ArmBounds], out: Path) -> None:
    """Write config.json, crlb.csv (a row per mask and depth), neighbours.csv (per density), crlb.json, crlb.png."""
    from experiments.instrument.crlb_figure import draw
    from experiments.report.plot_style import save_png

    write_text(out / "config.json", json.dumps(to_dict(config), indent=2) + "\n")
    columns = results[0].columns
    head = ["mask", "z_um", *(f"sigma_{c}" for c in columns), *(f"conditional_sigma_{c}" for c in columns)]
    rows = [
        [result.label, *_plain([z]), *_plain(result.marginal[i]), *_plain(result.conditional[i])]
        for result in results
        for i, z in enumerate(result.z_um)
    ]
    _write_csv(out / "crlb.csv", head, rows)
    averages = ("effective", "median", "mean", "informative")
    if results[0].densities_per_um2:
        head = ["mask", "density_per_um2", *(f"{average}_sigma_{axis}_nm" for average in averages for axis in AXES)]
        rows = [
            [result.label, density, *(v for a in averages for v in _plain(getattr(result, f"{a}_nm")[i]))]
            for result in results
            for i, density in enumerate(result.densities_per_um2)
        ]
        _write_csv(out / "neighbours.csv", head, rows)
    arms = [
        {
            "label": result.label,
            "columns": list(columns),
            "z_um": _plain(result.z_um),
            "marginal": [_plain(row) for row in result.marginal],
            "conditional": [_plain(row) for row in result.conditional],
            "densities_per_um2": list(result.densities_per_um2),
            **{f"{a}_nm": [_plain(row) for row in getattr(result, f"{a}_nm")] for a in averages},
        }
        for result in results
    ]
    write_text(out / "crlb.json", json.dumps({"arms": arms}, indent=1) + "\n")
    save_png(draw(results), out / "crlb.png")


def _plain(values: Any) -> list[float | None]:
    """Numbers for a file, to six digits; None where a bound is infinite, which JSON has no number for."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]


def _write_csv(path: Path, head: list[str], rows: list[list[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([["inf" if value is None else value for value in row] for row in rows])
    write_text(path, text.getvalue())
