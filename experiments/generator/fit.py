"""`colocus generate fit`: what a movie, a PSF and settings ask for, and all that is written of a fitted generator."""

import dataclasses
import tomllib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from experiments.compare.config import load_experiment
from experiments.compare.on_scenes import scenes_experiment
from experiments.compare.toml import to_toml
from experiments.settings import override, presets, read_toml
from optics.masks import files as mask_io
from optics.psf_io import load_psf
from optics.whole_file import write_text
from training import CameraConfig, ConfigError, MaskConfig, MicroscopeConfig, from_dict, to_dict
from training.generator.config import GeneratorConfig
from training.generator.run import fit_generator

Event = dict[str, Any]


def generator_presets() -> list[str]:
    """Names of the generators' settings that come with Colocus."""
    folder = resources.files("experiments") / "generator" / "settings"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def read_settings(name_or_path: str | None) -> dict[str, Any]:
    """The settings in a TOML file, or in the preset of that name (None: `generator`). Raises `ConfigError`."""
    name = name_or_path or "generator"
    if name in generator_presets():
        return tomllib.loads((resources.files("experiments") / "generator" / "settings" / f"{name}.toml").read_text())
    if name in presets():
        raise ConfigError(f"{name!r} is an experiment; settings of a generator: {', '.join(generator_presets())}")
    if not Path(name).is_file():
        raise ConfigError(f"{name!r} is neither a file nor one of {', '.join(generator_presets())}")
    return read_toml(name)


def generator_config(
    psf: str | None, settings: str | None = None, assignments: Sequence[str] = (), camera: str | None = None
) -> GeneratorConfig:
    """A generator's configuration: settings (a preset or TOML), under them the optics that `psf` says.

    `psf` is the psf.npz of `colocus retrieve`, any other saved `Psf`, or an experiment (a preset or TOML file), whose
    first arm's mask is the microscope's; without it the settings have the optics. `camera` is a camera.toml. What
    `assignments` say goes before all. Raises `ConfigError`, `OpticsError`.

    >>> generator_config("tubulin-2d", "generator-2d", ["crops=100"]).crops
    100
    """
    values = read_settings(settings)
    if psf is not None:
        values = {**values, **_optics(psf, {k for k in values if k.startswith("z_")})}
    if camera is not None:
        values["camera"] = to_dict(from_dict(CameraConfig, read_toml(camera)))
    return from_dict(GeneratorConfig, override(values, assignments))


def _optics(psf: str, said: set[str]) -> dict[str, Any]:
    if psf.endswith(".npz"):
        return _saved_optics(psf)
    experiment = load_experiment(psf)
    run = experiment.run
    mask = experiment.arms[0].mask if experiment.arms else run.mask
    found: dict[str, Any] = {"microscope": run.microscope, "psf": run.psf, "mask": mask, "camera": run.camera}
    depths = {} if said else {"z_min_um": run.scene.z_min_um, "z_max_um": run.scene.z_max_um}
    return {name: to_dict(part) for name, part in found.items()} | depths


def _saved_optics(path: str) -> dict[str, Any]:
    """Optics of a file: a calibration takes a mask on top, any other PSF stays as it is."""
    psf = load_psf(path)
    scope = {f.name: float(getattr(psf.microscope, f.name)) for f in dataclasses.fields(MicroscopeConfig)}
    stamp = psf.image_px - 1 + psf.image_px % 2
    drawn: dict[str, Any] = {"kind": psf.kind, "stamp_px": stamp, "pixel": psf.pixel}
    where = str(Path(path).absolute())
    if psf.mask is None and psf.zernike_um is None and psf.dipole == "free":
        return {"microscope": scope, "psf": {**drawn, "calibration": where}, "mask": to_dict(MaskConfig())}
    return {"microscope": scope, "psf": drawn, "psf_file": where}


def fit(
    movie: Path,
    config: GeneratorConfig,
    out: Path,
    *,
    resume: bool = False,
    report: Callable[[Event], None] = lambda event: None,
    deadline_s: float | None = None,
) -> dict[str, Any]:
    """Fit a generator to a movie and write its folder, panels and report included; returns metrics.json.

    Raises as `training.fit_generator` does.
    """
    metrics = fit_generator(config, movie, out, resume=resume, report=report, deadline_s=deadline_s)
    mask = load_psf(out / "psf.npz").mask
    if config.psf_file and mask is not None:
        mask_io.save(out / "mask.npz", mask)
    head = "# Decoders on this generator's scenes: colocus train | codesign | compare run.toml --out DIR\n"
    write_text(out / "run.toml", head + to_toml(scenes_experiment(str(out))))
    report({"event": "stage", "stage": "drawing"})
    from experiments.generator.report import write_report  # matplotlib

    write_report(config, metrics, out)
    return metrics


def table(metrics: dict[str, Any]) -> list[str]:
    """What is printed of a fit."""
    low, middle, high = metrics["photons"]["percentiles_2_50_98"]
    b_low, b_middle, b_high = metrics["background_percentiles_2_50_98"]
    per_crop, chi2, psf = metrics["emitters_per_crop"], metrics["chi2_per_pixel"], metrics["psf"]
    noise, z = metrics["noise"], metrics["z_um_percentiles_2_50_98"]
    held = "none held out" if chi2["held_out"] is None else f"held out {chi2['held_out']:.3f}"
    density, gain, read = metrics["emitters_per_um2"], noise["gain_over_camera"], noise["read_noise_photons"]
    rows = [
        ("crops", f"{metrics['crops']}, {metrics['held_out_crops']} held out"),
        ("emitters a crop", f"{per_crop['mean']:.1f} +- {per_crop['std']:.1f} ({density:.3f} per um2)"),
        ("photons", f"{middle:.0f} (2 % below {low:.0f}, 2 % above {high:.0f})"),
        ("z, um", f"{z[1]:.2f} (2 % below {z[0]:.2f}, 2 % above {z[2]:.2f})"),
        ("background, photons", f"{b_middle:.1f} (2 % below {b_low:.1f}, 2 % above {b_high:.1f})"),
        ("noise", f"gain {gain:.3f} of the camera's, read {read:.2f} photons"),
        ("chi-square a pixel", f"fit {chi2['fit']:.3f}, {held}"),
    ]  # fmt: skip
    if psf is not None:
        rows.append(
            ("PSF leaves", f"{100 * psf['misfit']:.1f} % rms of {psf['stamps']} bright emitters' light "
             f"({100 * psf['misfit_before']:.1f} % as given)")
        )  # fmt: skip
    lines = [f"{name:20} {value}" for name, value in rows]
    lines += [f"- {note}" for note in metrics["notes"]]
    return lines + [f"! {warning}" for warning in metrics["warnings"]]
