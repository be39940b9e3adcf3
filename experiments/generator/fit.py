"""`colocus generate fit`: what a movie, a PSF and settings ask for, and all that is written of a fitted generator."""

import dataclasses
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from experiments.compare.config import load_experiment
from experiments.compare.on_scenes import scenes_experiment
from experiments.compare.toml import to_toml
from experiments.generator.result import FittedGenerator
from experiments.settings import override, presets, read_toml
from optics.masks import files as mask_io
from optics.progress import Event, Report, silent
from optics.psf_io import load_psf
from optics.whole_file import write_text
from training import CameraConfig, ConfigError, MaskConfig, MicroscopeConfig, from_dict, to_dict
from training.generator.config import GeneratorConfig
from training.generator.run import fit_generator


def generator_presets() -> list[str]:
    """Name the generators' settings that come with Colocus."""
    folder = resources.files("experiments") / "generator" / "settings"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def read_settings(name_or_path: str | None) -> dict[str, Any]:
    """Read the settings in a TOML file, or in the preset of that name (None: `generator`). Raises `ConfigError`."""
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
    """Read a generator's configuration: settings (a preset or TOML), under them the optics that `psf` says.

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


def _optics(psf: str, depth_keys: set[str]) -> dict[str, Any]:
    if psf.endswith(".npz"):
        return _saved_optics(psf)
    experiment = load_experiment(psf)
    run = experiment.run
    mask = experiment.arms[0].mask if experiment.arms else run.mask
    found: dict[str, Any] = {"microscope": run.microscope, "psf": run.psf, "mask": mask, "camera": run.camera}
    depths = {} if depth_keys else {"z_min_um": run.scene.z_min_um, "z_max_um": run.scene.z_max_um}
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


def generate_fit(
    movie: Path | str,
    out: Path | str,
    config: GeneratorConfig,
    report: Report = silent,
    *,
    resume: bool = False,
    deadline_s: float | None = None,
) -> FittedGenerator:
    """Learn a generator of scenes from a movie and write its folder `out`, panels and report included.

    With `resume` it goes on where it was stopped; past `deadline_s` (of `time.monotonic`) it raises `TimeLimit`.
    Raises as `training.fit_generator` does.
    """
    out = Path(out)
    metrics = fit_generator(config, Path(movie), out, resume=resume, report=report, deadline_s=deadline_s)
    mask = load_psf(out / "psf.npz").mask
    if config.psf_file and mask is not None:
        mask_io.save(out / "mask.npz", mask)
    head = "# Decoders on this generator's scenes: colocus train | codesign | compare run.toml --out DIR\n"
    write_text(out / "run.toml", head + to_toml(scenes_experiment(str(out))))
    report(Event("drawing"))
    from experiments.generator.report import write_report  # not before it is needed

    write_report(config, metrics, out)
    return FittedGenerator(config, metrics, out)
