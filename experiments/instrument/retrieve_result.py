"""A retrieved PSF: in words, as numbers, as tables and masks, and in a folder with its report."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.io

from experiments.instrument.retrieve_config import RetrieveConfig
from experiments.instrument.retrieve_report import write_report
from optics.masks import files as mask_io
from optics.masks.sampling import mask_grid
from optics.psf_io import save_psf
from optics.retrieval.beads import BeadStack
from optics.retrieval.types import Retrieval
from optics.retrieval.undetermined import mode_names
from optics.whole_file import whole_files, write_bytes, write_text
from training import to_dict


@dataclasses.dataclass(frozen=True, eq=False)
class RetrieveResult:
    """The retrieval, the beads that it is from, a name for each, and notes of the reading."""

    config: RetrieveConfig
    retrieval: Retrieval
    stacks: list[BeadStack]
    names: list[str]
    notes: list[str]

    def lines(self) -> list[str]:
        """Say one line a bead, then the findings."""
        width = max(4, *(len(name) for name in self.names))
        lines = [f"{'bead':{width}}  correlation: mean  worst  ceiling   chi2  focus offset (um)"]
        r = self.retrieval
        for name, bead in zip(self.names, r.beads, strict=True):
            lines.append(
                f"{name:{width}}  {bead.correlation.mean():17.4f}  {bead.correlation.min():.4f}"
                f"  {bead.ceiling.mean():.4f}  {bead.chi2.mean():5.2f}  {bead.focus_offset_um:+17.3f}"
            )
        lines.append("")
        lines.append(f"blur {1000 * float(r.psf.blur_um):.0f} nm (sigma), retrieved in {r.seconds:.0f} s")  # pyright: ignore
        return [*lines, *(f"- {note}" for note in [*self.notes, *r.notes])]

    def numbers(self) -> dict[str, Any]:
        """List what metrics.json holds: beads, pupil, Zernike modes, notes."""
        r = self.retrieval
        beads = []
        for name, bead in zip(self.names, r.beads, strict=True):
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
        return {"beads": beads, "pupil": pupil, "zernike": modes, "notes": [*self.notes, *r.notes]}

    def slices(self) -> pd.DataFrame:
        """List one row a slice and bead: focus, signal, background, correlation, ceiling, chi2."""
        parts = []
        for name, bead, stack in zip(self.names, self.retrieval.beads, self.stacks, strict=True):
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

    def write(self, out: Path) -> list[Path]:
        """Write psf.npz, masks, run.toml, tables, figures and report.html; old ones are replaced when all are whole."""
        with whole_files(out, last="config.json") as part:
            metrics = self.numbers()
            save_psf(part / "psf.npz", self.retrieval.psf, {"beads": self.names, **metrics["pupil"]})
            mask = self.retrieval.psf.aberration
            assert mask is not None  # a retrieved pupil always is one
            mask_io.save(part / "mask.npz", mask)
            _write_peer_mask(part / "mask.mat", self.retrieval)
            write_text(part / "slices.csv", self.slices().to_csv(index=False, float_format="%.6g"))
            write_text(part / "metrics.json", json.dumps(metrics, indent=1) + "\n")
            write_text(part / "run.toml", run_toml(self.config, self.retrieval, out))
            write_report(self.retrieval, self.names, self.notes, self.stacks, self.config.microscope, part)
            values = to_dict(self.config)
            for name in ("crop_px", "beads_max"):  # of the reading, not of the instrument
                del values[name]
            write_text(part / "config.json", json.dumps(values, indent=2) + "\n")
        names = ("report.html", "psf.npz", "mask.npz", "mask.mat", "run.toml", "metrics.json", "slices.csv")
        return [out / name for name in names]


def run_toml(config: RetrieveConfig, retrieval: Retrieval, out: Path) -> str:
    """Write an experiment on this instrument: decoders for the PSF as it is, and with a phase learned on top of it."""
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


def _write_peer_mask(path: Path, retrieval: Retrieval) -> None:
    """Write the phase as DeepSTORM3D, VIPR and AutoDS3D use it: radians, turned by 180 degrees, 0 outside the NA."""
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
    write_bytes(path, buffer.getvalue())
