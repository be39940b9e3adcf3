"""`colocus resolution`: Fourier ring correlation of a localization list, and the width of what a line crosses."""

import csv
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from localization import (
    LineProfile,
    Localizations,
    ProfileWidth,
    RingCorrelation,
    fourier_ring_correlation,
    line_profile,
    profile_width,
)
from localization.pictures.line_profile import ProfileModel
from localization.pictures.resolution import FRC_THRESHOLD, Split
from optics.whole_file import write_text

_NM_PER_UM = 1000.0


@dataclass(frozen=True)
class ResolutionConfig:
    """How the resolution is measured; lengths in nm and um as named, None: everything, or the default.

    `profile_um` is the line (x0, y0, x1, y1).
    """

    pixel_nm: float = 5.0
    region_um: tuple[float, float, float, float] | None = None
    split: Split = "blocks"
    block_frames: int | None = None
    repeats: int = 5
    threshold: float = FRC_THRESHOLD
    seed: int = 0
    profile_um: tuple[float, float, float, float] | None = None
    profile_width_nm: float = 200.0
    profile_bin_nm: float = 5.0
    profile_model: ProfileModel = "gaussian"


@dataclass(frozen=True, eq=False)
class Resolution:
    """The ring correlation and, where a line was given, its profile and fit."""

    rings: RingCorrelation
    profile: LineProfile | None
    width: ProfileWidth | None


def measure(locs: Localizations, config: ResolutionConfig) -> Resolution:
    """Measure what `config` asks for. Raises LocalizationError where the functions of `localization` do."""
    profile = width = None
    if config.profile_um is not None:  # first: it is quick, and a mistake in the line should not cost a transform
        x0, y0, x1, y1 = config.profile_um
        across_um, bin_um = config.profile_width_nm / _NM_PER_UM, config.profile_bin_nm / _NM_PER_UM
        profile = line_profile(locs, (x0, y0), (x1, y1), across_um, bin_um=bin_um)
        width = profile_width(profile, model=config.profile_model)
    region = None if config.region_um is None else (config.region_um[:2], config.region_um[2:])
    rings = fourier_ring_correlation(
        locs,
        config.pixel_nm / _NM_PER_UM,
        rng=config.seed,
        region_um=region,
        split=config.split,
        block_frames=config.block_frames,
        repeats=config.repeats,
        threshold=config.threshold,
    )
    return Resolution(rings, profile, width)


def table(config: ResolutionConfig, result: Resolution) -> list[str]:
    """The results as lines of text."""
    rings = result.rings
    halves = "blocks of frames" if config.split == "blocks" else "rows"
    lines = [f"Fourier ring correlation of {rings.n_rows} localizations, {config.repeats} splits by {halves}"]
    if rings.reason:
        lines.append(f"resolution   none: {rings.reason}")
    else:
        spread = "" if math.isnan(rings.spread_um) else f" +- {_NM_PER_UM * rings.spread_um:.1f} over the splits"
        lines.append(f"resolution   {_NM_PER_UM * rings.resolution_um:.1f} nm{spread}, at {rings.threshold:.4f}")
        if rings.resolution_um < 6 * rings.pixel_um:
            lines.append(f"  less than six pixels of {config.pixel_nm:g} nm: repeat with smaller ones (--pixel)")
    lines.append("  molecules that blink count as detail: link them first, or read this as a bound")
    if result.width is not None and result.profile is not None:
        width = result.width
        lines += ["", f"line profile, {result.profile.n_rows} localizations, {config.profile_model} fit"]
        lines.append(f"width        {_pair(width.fwhm_um, width.fwhm_error_um)} (full width at half maximum)")
        if math.isfinite(width.separation_um):
            lines.append(f"separation   {_pair(width.separation_um, width.separation_error_um)}")
        lines.append(f"fit          deviance {width.deviance:.1f} for {width.freedom} degrees of freedom")
    return lines


def _pair(value_um: float, error_um: float) -> str:
    return f"{_NM_PER_UM * value_um:.1f} +- {_NM_PER_UM * error_um:.1f} nm"


def write(config: ResolutionConfig, result: Resolution, out: Path) -> list[Path]:
    """Write config.json, frc.csv, profile.csv (with a line), resolution.png and, last, resolution.json."""
    from experiments.lists.resolution_figure import draw
    from experiments.report.plot_style import save_png

    rings, profile, width = result.rings, result.profile, result.width
    written = [out / "config.json", out / "frc.csv"]
    write_text(written[0], json.dumps(asdict(config), indent=2) + "\n")
    curves = np.column_stack([rings.frequency_per_um, rings.correlation, rings.smoothed])
    write_text(written[1], _csv(["frequency [1/um]", "correlation", "smoothed"], curves))
    numbers: dict[str, Any] = {
        "resolution_nm": _plain(_NM_PER_UM * rings.resolution_um),
        "spread_nm": _plain(_NM_PER_UM * rings.spread_um),
        "split_resolution_nm": [_plain(_NM_PER_UM * value) for value in rings.split_resolution_um],
        "threshold": rings.threshold,
        "reason": rings.reason,
        "localizations": rings.n_rows,
    }
    if profile is not None and width is not None:
        written.append(out / "profile.csv")
        rows = np.column_stack([_NM_PER_UM * profile.position_um, profile.count, width.fitted])
        write_text(written[-1], _csv(["position [nm]", "localizations", "fitted"], rows))
        numbers["profile"] = {
            "fwhm_nm": _NM_PER_UM * width.fwhm_um,
            "fwhm_error_nm": _NM_PER_UM * width.fwhm_error_um,
            "centre_nm": [_NM_PER_UM * float(value) for value in width.centre_um],
            "separation_nm": _plain(_NM_PER_UM * width.separation_um),
            "separation_error_nm": _plain(_NM_PER_UM * width.separation_error_um),
            "localizations": profile.n_rows,
            "deviance": width.deviance,
            "freedom": width.freedom,
        }
    save_png(draw(config, result), out / "resolution.png")
    write_text(out / "resolution.json", json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    return [*written, out / "resolution.png", out / "resolution.json"]


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _csv(header: list[str], rows: np.ndarray) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{value:.6g}" for value in row] for row in rows)
    return text.getvalue()
