"""A fitted generator in words and numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.generator.config import GeneratorConfig


@dataclass(frozen=True)
class FittedGenerator:
    """A generator in its folder `out`, and the numbers of its fit (metrics.json)."""

    config: GeneratorConfig
    metrics: dict[str, Any]
    out: Path

    def lines(self) -> list[str]:
        """Say what was learned, and what speaks against it."""
        notes = [f"- {note}" for note in self.metrics["notes"]] + [f"! {doubt}" for doubt in self.metrics["warnings"]]
        return [f"{name:20} {value}" for name, value in rows(self.metrics)] + notes

    def numbers(self) -> dict[str, Any]:
        """List what metrics.json holds."""
        return self.metrics


def rows(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Say the chief numbers of a fit: what, and how much, for a terminal or a page."""
    low, middle, high = metrics["photons"]["percentiles_2_50_98"]
    b_low, b_middle, b_high = metrics["background_percentiles_2_50_98"]
    per_crop, chi2, psf = metrics["emitters_per_crop"], metrics["chi2_per_pixel"], metrics["psf"]
    noise, z = metrics["noise"], metrics["z_um_percentiles_2_50_98"]
    held = "none held out" if chi2["held_out"] is None else f"held out {chi2['held_out']:.3f}"
    density, gain, read = metrics["emitters_per_um2"], noise["gain_over_camera"], noise["read_noise_photons"]
    found = [
        ("crops", f"{metrics['crops']}, {metrics['held_out_crops']} held out"),
        ("emitters a crop", f"{per_crop['mean']:.1f} +- {per_crop['std']:.1f} ({density:.3f} per um2)"),
        ("photons", f"{middle:.0f} (2 % below {low:.0f}, 2 % above {high:.0f})"),
        ("z, um", f"{z[1]:.2f} (2 % below {z[0]:.2f}, 2 % above {z[2]:.2f})"),
        ("background, photons", f"{b_middle:.1f} (2 % below {b_low:.1f}, 2 % above {b_high:.1f})"),
        ("noise", f"gain {gain:.3f} of the camera's, read {read:.2f} photons"),
        ("chi-square a pixel", f"fit {chi2['fit']:.3f}, {held}"),
    ]  # fmt: skip
    if psf is not None:
        found.append(
            ("PSF leaves", f"{100 * psf['misfit']:.1f} % rms of {psf['stamps']} bright emitters' light "
             f"({100 * psf['misfit_before']:.1f} % as given)")
        )  # fmt: skip
    return found
