"""`colocus crlb`: the precision that a PSF allows, through depth and among neighbours, for one or several masks."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from optics import (
    Camera,
    Psf,
    SplitPsf,
    biplane,
    density_bounds_um,
    depth_bounds,
    polarisation_split,
    replace,
)
from training import CameraConfig, ConfigError, MaskConfig, MicroscopeConfig, PsfConfig, build_camera, to_dict
from training.build import build_psf
from training.loop import write_text

Event = dict[str, Any]
AXES = ("x", "y", "z")
_NM = 1e3
_DENSITIES = (0.0, 0.1, 0.3, 1.0, 2.0)
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


def _check(condition: bool, field: str, value: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{field} = {value!r} {remedy}")


@dataclasses.dataclass(frozen=True)
class CrlbArm:
    """One mask of the comparison; `label` names it in tables and figures."""

    label: str = ""
    mask: MaskConfig = MaskConfig()

    def __post_init__(self):
        if not self.label:
            raise ConfigError("arms: every mask needs a label, like {label='mine', mask={name='file', path='m.npz'}}")


@dataclasses.dataclass(frozen=True)
class NeighbourConfig:
    """Scenes with neighbours: at each of `densities_per_um2` ([]: leave this part out), at `depths` depths.

    Left open, the densities are 0 to 2 per um**2 where the model knows them (one image of a free dipole).
    `scenes` random ones, whose `count` nearest neighbours are emitters of their own, uniform over the depth range
    and in brightness from `photons_min` to `photons_max` (0: as bright as the emitter); those beyond are background.
    `prior_um` is what is known of each position beforehand. See `optics.density_bounds_um`.
    """

    densities_per_um2: tuple[float, ...] | None = None
    depths: int = 5
    scenes: int = 64
    count: int = 12
    photons_min: float = 0.0
    photons_max: float = 0.0
    prior_um: float = 0.5

    def __post_init__(self):
        for name in ("depths", "scenes", "count"):
            _check(getattr(self, name) >= 1, f"neighbours.{name}", getattr(self, name), "must be at least 1")
        good = all(density >= 0 for density in self.densities_per_um2 or ())
        _check(good, "neighbours.densities_per_um2", self.densities_per_um2, "must not be negative")
        _check(self.prior_um > 0, "neighbours.prior_um", self.prior_um, "must be positive")
        _check(
            0 <= self.photons_min <= self.photons_max,
            "neighbours.photons_min",
            self.photons_min,
            "must lie between 0 and neighbours.photons_max",
        )


@dataclasses.dataclass(frozen=True)
class CrlbConfig:
    """What `colocus crlb` computes: bounds of an emitter of `photons` on `background` photons per pixel.

    At `depths` depths from `z_min_um` to `z_max_um`, for every mask of `arms`. `detection` "biplane" has two foci
    `separation_um` apart, "polarised" the images of both polarisations, "x" and "y" one of them. A "fixed" `dipole`
    points along `polar_deg` (from the optical axis) and `azimuth_deg`; `unknown` are parameters to be estimated beside
    position, photons and background: "polar", "azimuth", "wavelength".
    """

    microscope: MicroscopeConfig = MicroscopeConfig()
    psf: PsfConfig = PsfConfig()
    camera: CameraConfig = CameraConfig()
    arms: tuple[CrlbArm, ...] = (
        CrlbArm("clear pupil", MaskConfig("flat")),
        CrlbArm("astigmatism", MaskConfig("astigmatism")),
        CrlbArm("tetrapod", MaskConfig("tetrapod", range_um=3.0)),
    )
    photons: float = 3500.0
    background: float = 50.0
    z_min_um: float = 0.3
    z_max_um: float = 3.3
    depths: int = 13
    detection: Literal["single", "biplane", "polarised", "x", "y"] = "single"
    separation_um: float = 0.8
    dipole: Literal["free", "fixed"] = "free"
    polar_deg: float = 45.0
    azimuth_deg: float = 0.0
    unknown: tuple[Literal["polar", "azimuth", "wavelength"], ...] = ()
    neighbours: NeighbourConfig = NeighbourConfig()
    seed: int = 0

    def __post_init__(self):
        labels = [arm.label for arm in self.arms]
        _check(bool(labels) and len(set(labels)) == len(labels), "arms", labels, "must be masks with different labels")
        _check(self.photons > 0, "photons", self.photons, "must be positive")
        _check(self.background >= 0, "background", self.background, "must not be negative")
        _check(self.depths >= 2, "depths", self.depths, "must be at least 2")
        _check(self.z_min_um < self.z_max_um, "z_min_um", self.z_min_um, f"must be below z_max_um = {self.z_max_um:g}")
        _check(
            max(abs(self.z_min_um), abs(self.z_max_um)) <= 100,
            "z_max_um",
            self.z_max_um,
            "looks like nanometres; give um",
        )
        _check(self.separation_um > 0, "separation_um", self.separation_um, "must be positive")
        if self.dipole == "free" and {"polar", "azimuth"} & set(self.unknown):
            raise ConfigError(f"unknown = {self.unknown} holds angles, which only dipole='fixed' has")
        if self.neighbours.densities_per_um2 and not self.knows_neighbours:
            raise ConfigError(
                "neighbours are computed for one image of free dipoles; with dipole='fixed' or two paths set "
                "neighbours.densities_per_um2=[]"
            )
        m = self.microscope
        matched = m.n_sample == m.n_immersion and m.n_coverslip in (None, m.n_sample)
        if self.z_min_um < 0 and not matched:
            raise ConfigError(
                f"z_min_um = {self.z_min_um:g} lies above the coverslip, which has a meaning only where n_sample, "
                "n_coverslip and n_immersion are equal; start at 0"
            )

    @property
    def knows_neighbours(self) -> bool:
        """Whether bounds among neighbours are defined: one image of free dipoles."""
        return self.dipole == "free" and self.detection not in ("biplane", "polarised")

    @property
    def densities_per_um2(self) -> tuple[float, ...]:
        """The densities to be computed."""
        asked = self.neighbours.densities_per_um2
        return asked if asked is not None else _DENSITIES if self.knows_neighbours else ()


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
    psfs = {arm.label: _arm_psf(config, arm) for arm in config.arms}
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


def _arm_psf(config: CrlbConfig, arm: CrlbArm) -> Psf | SplitPsf:
    half = config.separation_um / 2 if config.detection == "biplane" else 0.0
    depths = (config.z_min_um - half, config.z_max_um + half)
    psf = build_psf(config.microscope, config.psf, arm.mask, depths)
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
    from experiments.crlb_figure import draw
    from experiments.plot_style import save_png

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
