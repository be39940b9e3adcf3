"""`colocus resolution`: ring correlation and decorrelation of a localization list, and the width along a line."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report.numbers import NM_PER_UM, csv_text, plain
from experiments.report.plot_style import FIXED_COLOURS, LEARNED_COLOURS, Figure, new_figure, save_png, styled
from localization import (
    Decorrelation,
    LineProfile,
    Localizations,
    ProfileWidth,
    RingCorrelation,
    decorrelation,
    fourier_ring_correlation,
    line_profile,
    profile_width,
    table_region_um,
    to_image,
)
from localization.extent import without_far_rows
from localization.pictures.line_profile import ProfileModel
from localization.pictures.resolution import FRC_THRESHOLD, Split
from optics.progress import Event, Report, silent
from optics.whole_file import write_text


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
    """The ring correlation, the decorrelation of the whole picture and, where a line was given, its profile and fit."""

    config: ResolutionConfig
    rings: RingCorrelation
    detail: Decorrelation
    profile: LineProfile | None
    width: ProfileWidth | None

    def lines(self) -> list[str]:
        """Say the resolution and, where a line was given, the width along it."""
        config, rings = self.config, self.rings
        halves = "blocks of frames" if config.split == "blocks" else "rows"
        lines = [f"Fourier ring correlation of {rings.n_rows} localizations, {config.repeats} splits by {halves}"]
        if rings.reason:
            lines.append(f"resolution   none: {rings.reason}")
        else:
            spread = "" if math.isnan(rings.spread_um) else f" +- {NM_PER_UM * rings.spread_um:.1f} over the splits"
            lines.append(f"resolution   {NM_PER_UM * rings.resolution_um:.1f} nm{spread}, at {rings.threshold:.4f}")
            if rings.resolution_um < 6 * rings.pixel_um:
                lines.append(f"  less than six pixels of {config.pixel_nm:g} nm: repeat with smaller ones (--pixel)")
        lines.append("  molecules that blink count as detail: link them first, or read this as a bound")
        detail = self.detail
        text = f"none: {detail.reason}" if detail.reason else f"{NM_PER_UM * detail.resolution_um:.1f} nm"
        lines.append(f"decorrelation  {text}, of one picture of all localizations")
        lines += [f"note: {note}" for note in rings.notes]
        if self.width is not None and self.profile is not None:
            width = self.width
            lines += ["", f"line profile, {self.profile.n_rows} localizations, {config.profile_model} fit"]
            lines.append(f"width        {_pair(width.fwhm_um, width.fwhm_error_um)} (full width at half maximum)")
            if math.isfinite(width.separation_um):
                lines.append(f"separation   {_pair(width.separation_um, width.separation_error_um)}")
            lines.append(f"fit          deviance {width.deviance:.1f} for {width.freedom} degrees of freedom")
        return lines

    def numbers(self) -> dict[str, Any]:
        """List resolution, its spread over the splits and the profile's widths, in nm; None where there is none."""
        rings, profile, width = self.rings, self.profile, self.width
        numbers: dict[str, Any] = {
            "resolution_nm": NM_PER_UM * rings.resolution_um,
            "spread_nm": NM_PER_UM * rings.spread_um,
            "split_resolution_nm": [NM_PER_UM * value for value in rings.split_resolution_um],
            "threshold": rings.threshold,
            "reason": rings.reason,
            "localizations": rings.n_rows,
            "notes": list(rings.notes),
            "decorrelation_nm": NM_PER_UM * self.detail.resolution_um,
            "decorrelation_height": self.detail.height,
            "decorrelation_reason": self.detail.reason,
        }
        if profile is not None and width is not None:
            numbers["profile"] = {
                "fwhm_nm": NM_PER_UM * width.fwhm_um,
                "fwhm_error_nm": NM_PER_UM * width.fwhm_error_um,
                "centre_nm": [NM_PER_UM * float(value) for value in width.centre_um],
                "separation_nm": NM_PER_UM * width.separation_um,
                "separation_error_nm": NM_PER_UM * width.separation_error_um,
                "localizations": profile.n_rows,
                "deviance": width.deviance,
                "freedom": width.freedom,
            }
        return plain(numbers)

    def figure(self) -> Figure:
        """Draw correlation against frequency with its threshold; counts along the line with their fit."""
        with styled():
            figure = new_figure(12.4 if self.profile is not None else 8.4, 3.0)
            panels = figure.subplots(1, 3 if self.profile is not None else 2, squeeze=False)[0]
            _draw_rings(panels[0], self.rings)
            _draw_detail(panels[1], self.detail)
            if self.profile is not None and self.width is not None:
                _draw_profile(panels[2], self.profile, self.width)
        return figure

    def write(self, out: Path) -> list[Path]:
        """Write config.json, frc.csv, decorrelation.csv, profile.csv (of a line), resolution.png and, last, .json."""
        rings, profile, width = self.rings, self.profile, self.width
        written = [out / "config.json", out / "frc.csv", out / "decorrelation.csv"]
        write_text(written[0], json.dumps(asdict(self.config), indent=2) + "\n")
        curves = np.column_stack([rings.frequency_per_um, rings.correlation, rings.smoothed])
        write_text(written[1], _csv(["frequency [1/um]", "correlation", "smoothed"], curves))
        detail = np.column_stack([self.detail.frequency_per_um, self.detail.curve, self.detail.filtered])
        write_text(written[2], _csv(["frequency [1/um]", "decorrelation", "filtered"], detail))
        if profile is not None and width is not None:
            written.append(out / "profile.csv")
            rows = np.column_stack([NM_PER_UM * profile.position_um, profile.count, width.fitted])
            write_text(written[-1], _csv(["position [nm]", "localizations", "fitted"], rows))
        save_png(self.figure(), out / "resolution.png")
        write_text(out / "resolution.json", json.dumps(self.numbers(), indent=1, allow_nan=False) + "\n")
        return [*written, out / "resolution.png", out / "resolution.json"]


def resolution(
    locs: Localizations, config: ResolutionConfig = ResolutionConfig(), report: Report = silent
) -> Resolution:
    """Measure ring correlation and decorrelation of a list and, along the line of `config`, the width of what it meets.

    Raises `LocalizationError` for a list that is too small or too short.

    >>> from localization import make_localizations
    >>> resolution(make_localizations([], [], [], []))
    Traceback (most recent call last):
    localization.types.LocalizationError: ...
    """
    report(Event("correlating"))
    profile = width = None
    if config.profile_um is not None:  # first: it is quick, and a mistake in the line should not cost a transform
        x0, y0, x1, y1 = config.profile_um
        across_um, bin_um = config.profile_width_nm / NM_PER_UM, config.profile_bin_nm / NM_PER_UM
        profile = line_profile(locs, (x0, y0), (x1, y1), across_um, bin_um=bin_um)
        width = profile_width(profile, model=config.profile_model)
    region = None if config.region_um is None else (config.region_um[:2], config.region_um[2:])
    rings = fourier_ring_correlation(
        locs,
        config.pixel_nm / NM_PER_UM,
        rng=config.seed,
        region_um=region,
        split=config.split,
        block_frames=config.block_frames,
        repeats=config.repeats,
        threshold=config.threshold,
    )
    report(Event("decorrelating"))
    near, _ = without_far_rows(locs, ("x_um", "y_um"))
    pixel_um = config.pixel_nm / NM_PER_UM
    picture = to_image(locs, pixel_um, region_um=table_region_um(near, pixel_um) if region is None else region)
    return Resolution(config, rings, decorrelation(picture, pixel_um), profile, width)


def _pair(value_um: float, error_um: float) -> str:
    return f"{NM_PER_UM * value_um:.1f} +- {NM_PER_UM * error_um:.1f} nm"


def _draw_rings(axes, rings: RingCorrelation) -> None:
    axes.plot(rings.frequency_per_um, rings.correlation, color="0.75", linewidth=0.8, label="rings")
    axes.plot(rings.frequency_per_um, rings.smoothed, color=FIXED_COLOURS[0], label="smoothed")
    axes.axhline(rings.threshold, color="black", linewidth=0.8, linestyle="--", label=f"{rings.threshold:.3f}")
    if math.isfinite(rings.resolution_um):
        at = 1.0 / rings.resolution_um
        axes.plot([at], [rings.threshold], "o", color=LEARNED_COLOURS[0])
        axes.annotate(
            f"{NM_PER_UM * rings.resolution_um:.1f} nm",
            (at, rings.threshold),
            textcoords="offset points",
            xytext=(6, 8),
            color=LEARNED_COLOURS[0],
        )
    axes.set_xlim(0, rings.frequency_per_um[-1])
    axes.set_ylim(min(-0.05, float(rings.smoothed.min())), 1.05)
    axes.set_xlabel("spatial frequency (1/µm)")
    axes.set_ylabel("Fourier ring correlation")
    axes.legend(loc="upper right")


def _draw_detail(axes, detail: Decorrelation) -> None:
    axes.plot(detail.frequency_per_um, detail.curve, color="0.75", label="picture")
    if not detail.reason:
        axes.plot(detail.frequency_per_um, detail.filtered, color=FIXED_COLOURS[1], label="finest detail")
        axes.axvline(detail.cutoff_per_um, color=LEARNED_COLOURS[0], linewidth=0.8, linestyle="--")
        axes.annotate(
            f"{NM_PER_UM * detail.resolution_um:.1f} nm",
            (detail.cutoff_per_um, 0.02),
            textcoords="offset points",
            xytext=(6, 4),
            color=LEARNED_COLOURS[0],
        )
    axes.set_xlim(0, detail.frequency_per_um[-1])
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("spatial frequency (1/µm)")
    axes.set_ylabel("decorrelation")
    axes.legend(loc="upper right")


def _draw_profile(axes, profile: LineProfile, width: ProfileWidth) -> None:
    x_nm, bin_nm = NM_PER_UM * profile.position_um, NM_PER_UM * profile.bin_um
    axes.bar(x_nm, profile.count, width=bin_nm, color="0.8", label="counted")
    axes.plot(x_nm, width.fitted, color=LEARNED_COLOURS[0], label=f"fit, {NM_PER_UM * width.fwhm_um:.1f} nm wide")
    axes.set_xlim(0, x_nm[-1] + bin_nm / 2)
    axes.set_ylim(0, 1.25 * max(1, int(profile.count.max())))
    axes.set_xlabel("position along the line (nm)")
    axes.set_ylabel(f"localizations per {bin_nm:.3g} nm")
    axes.legend(loc="upper right")


def _csv(head: list[str], rows: np.ndarray) -> str:
    return csv_text(head, ([f"{value:.6g}" for value in row] for row in rows))
