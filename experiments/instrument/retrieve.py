"""From bead files to a calibrated PSF in a folder, with the report that says how good it is."""

import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.io

from experiments.instrument.retrieve_files import read_beads
from experiments.settings import override, read_toml
from optics import Event
from optics.masks import files as mask_io
from optics.masks.sampling import mask_grid
from optics.psf_io import save_psf
from optics.retrieval.beads import BeadStack
from optics.retrieval.retrieve import retrieve_psf
from optics.retrieval.types import Retrieval, RetrievalSettings
from optics.retrieval.undetermined import mode_names
from optics.whole_file import save_bytes, whole_files, write_text
from training import ConfigError, MicroscopeConfig, from_dict, to_dict
from training.config import CameraConfig
from training.instrument import build_camera, build_microscope


@dataclasses.dataclass(frozen=True)
class RetrieveConfig:
    """The optics, how the pupil is retrieved, and, where it is known, the camera (None: estimated)."""

    microscope: MicroscopeConfig = MicroscopeConfig()
    retrieval: RetrievalSettings = RetrievalSettings()
    camera: CameraConfig | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class RetrieveResult:
    """What a finished job wrote in `out`: the retrieval, a name for each bead, notes of the reading."""

    retrieval: Retrieval
    names: list[str]
    notes: list[str]
    out: Path


def load_config(path: str, assignments: Sequence[str], *, camera: str | None = None) -> RetrieveConfig:
    """Settings from a TOML file whose [microscope] (or whole) holds the optics. Raises `ConfigError`."""
    values = read_toml(path)
    if not {field.name for field in dataclasses.fields(RetrieveConfig)} & set(values):
        values = {"microscope": values}  # a plain scope.toml
    values = override(values, assignments)
    base = from_dict(RetrieveConfig, values)
    given = values.get("microscope", {})
    needed = [name for name in ("na", "n_immersion", "n_sample", "wavelength_um", "pixel_um") if name not in given]
    if needed:
        raise ConfigError(f"{path}: no {', '.join(needed)}; a retrieval needs the optics as they are, not defaults")
    if "focus_um" not in given:  # beads lie on the coverslip; the focus of a later experiment is its own to state
        base = dataclasses.replace(base, microscope=dataclasses.replace(base.microscope, focus_um=0.0))
    if camera is not None:
        tables = read_toml(camera)
        base = dataclasses.replace(base, camera=from_dict(CameraConfig, tables.get("camera", tables), where="camera"))
    return base


def retrieve(
    paths: list[Path],
    focus: str | None,
    config: RetrieveConfig,
    out: Path,
    *,
    crop_px: int | None = None,
    beads_max: int = 4,
    report: Callable[[dict[str, Any]], None] = lambda event: None,
) -> RetrieveResult:
    """Retrieve the PSF from bead files and write psf.npz, masks, tables, figures and report.html into `out`.

    `focus` is START:STOP:N in um or a CSV; `crop_px` finds beads in whole fields and crops them, the `beads_max`
    brightest of each. `report` receives the events of `optics.retrieve_psf`. Files in `out` are
    replaced when all new ones are whole. Raises `ConfigError`, `LocalizationError` or `OpticsError`, in one line,
    before the long work where the input is at fault.
    """
    from experiments.instrument.retrieve_report import write_report  # matplotlib

    scope = build_microscope(config.microscope)
    camera = None if config.camera is None else build_camera(config.camera)
    stacks, names, notes = read_beads(paths, focus, scope, camera, crop_px=crop_px, beads_max=beads_max)
    with whole_files(out, last="config.json") as part:

        def pass_on(event: Event) -> None:
            report(
                {"event": "retrieve", "stage": event.stage, "step": event.done, "steps": event.total, **event.numbers}
            )

        retrieval = retrieve_psf(stacks, config.retrieval, report=pass_on)
        result = RetrieveResult(retrieval, names, notes, out)
        metrics = numbers(result)
        save_psf(part / "psf.npz", retrieval.psf, {"beads": names, **metrics["pupil"]})
        mask = retrieval.psf.aberration
        assert mask is not None  # a retrieved pupil always is one
        mask_io.save(part / "mask.npz", mask)
        _write_peer_mask(part / "mask.mat", retrieval)
        write_text(part / "slices.csv", slice_table(result, stacks).to_csv(index=False, float_format="%.6g"))
        write_text(part / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        write_text(part / "run.toml", run_toml(config, retrieval, out))
        write_report(result, stacks, config, part)
        write_text(part / "config.json", json.dumps({**to_dict(config), "focus": focus}, indent=2) + "\n")
    return result


def numbers(result: RetrieveResult) -> dict[str, Any]:
    """What metrics.json holds."""
    r = result.retrieval
    beads = []
    for name, bead in zip(result.names, r.beads, strict=True):
        gap = bead.ceiling - bead.correlation
        beads.append(
            {
                "name": name,
                "mean_correlation": float(bead.correlation.mean()),
                "worst_correlation": float(bead.correlation.min()),
                "mean_noise_ceiling": float(bead.ceiling.mean()),
                "mean_below_ceiling": float(gap.mean()),
                "worst_below_ceiling": float(gap.max()),
                "mean_chi2": float(bead.chi2.mean()),
                "focus_offset_um": bead.focus_offset_um,
                "xy_um": [float(v) for v in bead.xy_um],
                "tilt": [float(v) for v in bead.tilt],
                "noise_gain_adu": bead.noise.gain_adu,
                "noise_model_error": bead.noise.model_error,
            }
        )
    pupil = {
        "blur_um": float(r.psf.blur_um),  # pyright: ignore[reportArgumentType]
        "focus_offset_um": [bead.focus_offset_um for bead in r.beads],
        "step_error": r.step_error,
        "super_critical_share": r.super_critical_share,
        "zernike_rest_rad": r.zernike_rest_rad,
        "twin_misfit": r.twin_misfit,
        "seconds": r.seconds,
    }
    modes = [
        {"n": n, "m": m, "rms_rad": float(value)}
        for (n, m), value in zip(mode_names(len(r.zernike_rad)), r.zernike_rad, strict=True)
    ]
    return {"beads": beads, "pupil": pupil, "zernike": modes, "notes": [*result.notes, *r.notes]}


def slice_table(result: RetrieveResult, stacks: Sequence[BeadStack]) -> pd.DataFrame:
    """One row a slice and bead: focus, signal, background, correlation, ceiling, chi2."""
    parts = []
    for name, bead, stack in zip(result.names, result.retrieval.beads, stacks, strict=True):
        parts.append(
            pd.DataFrame(
                {
                    "bead": name,
                    "focus_um": np.asarray(stack.focus_um),
                    "signal_adu": bead.signal_adu,
                    "background_adu": bead.background_adu,
                    "correlation": bead.correlation,
                    "noise_ceiling": bead.ceiling,
                    "chi2": bead.chi2,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _write_peer_mask(path: Path, retrieval: Retrieval) -> None:
    """The phase as DeepSTORM3D, VIPR and AutoDS3D use it: radians, turned by 180 degrees, 0 outside the NA."""
    cells = len(retrieval.phase_rad)
    inside = np.hypot(*(np.asarray(u) for u in mask_grid(cells))) <= 1
    scope = retrieval.psf.microscope
    contents = {
        "maskRec": np.where(inside, retrieval.phase_rad, 0.0)[::-1, ::-1],
        "amplitude": np.where(inside, retrieval.amplitude, 0.0)[::-1, ::-1],
        "pupil_diameter_px": float(cells),
        "NA": float(scope.na),
        "wavelength_um": float(scope.wavelength_um),
        "blur_sigma_um": float(retrieval.psf.blur_um),  # pyright: ignore[reportArgumentType]
        "orientation": "for exp(-i k r) models: turned by 180 degrees; pupil_diameter_px is the full NA",
    }
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, contents, do_compression=True)
    save_bytes(path, buffer.getvalue())


def run_toml(config: RetrieveConfig, retrieval: Retrieval, out: Path) -> str:
    """An experiment on this instrument: `colocus compare run.toml` trains a decoder for the PSF as it is, and one
    with a phase learned on top of it."""
    scope = dataclasses.asdict(config.microscope)
    lines = [f"{key} = {json.dumps(value)}" for key, value in scope.items() if value is not None]
    size = retrieval.psf.image_px
    offset = retrieval.beads[0].focus_offset_um
    kind = "" if retrieval.psf.kind == "vectorial" else f'kind = "{retrieval.psf.kind}"\n'
    return (
        "# The instrument as its beads show it. Set focus_um, the scenes and the camera to your experiment's:\n"
        f"# a stage reading r focuses at r (1 {retrieval.step_error:+.4f}) {offset:+.4f} um.\n"
        'title = "Decoders for a calibrated instrument"\nreference = "calibrated"\n\n'
        "[run.microscope]\n" + "\n".join(lines) + "\n\n"
        f"[run.psf]\ncalibration = {json.dumps(str((out / 'psf.npz').absolute()))}\n{kind}"
        f'stamp_px = {size if size % 2 else size - 1}\npixel = "integrated"  # as retrieved; "centre" trains faster\n\n'
        "[run.scene]\nz_min_um = 0.0\nz_max_um = 2.0\n\n"
        '[learn]\nparametrisation = "smooth"\n\n'
        '[[arms]]\nlabel = "calibrated"\nmask = { name = "flat" }\n\n'
        '[[arms]]\nlabel = "learned-on-top"\nmask = { name = "flat" }\nlearn = true\n'
    )


def table(result: RetrieveResult) -> list[str]:
    """What is printed: one line a bead, then the findings."""
    width = max(4, *(len(name) for name in result.names))
    lines = [f"{'bead':{width}}  correlation: mean  worst  ceiling   chi2  focus offset (um)"]
    for name, bead in zip(result.names, result.retrieval.beads, strict=True):
        lines.append(
            f"{name:{width}}  {bead.correlation.mean():17.4f}  {bead.correlation.min():.4f}  {bead.ceiling.mean():.4f}"
            f"  {bead.chi2.mean():5.2f}  {bead.focus_offset_um:+17.3f}"
        )
    r = result.retrieval
    lines.append("")
    lines.append(f"blur {1000 * float(r.psf.blur_um):.0f} nm (sigma), retrieved in {r.seconds:.0f} s")  # pyright: ignore
    return [*lines, *(f"- {note}" for note in [*result.notes, *r.notes])]
