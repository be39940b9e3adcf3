"""`colocus track`: tracks of a table's particles and their diffusion, as tables, numbers and a figure."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from experiments.report.plot_style import FIXED_COLOURS, STYLE, new_figure, save_png
from localization import Diffusion, LocalizationError, Localizations, diffusion, find_tracks, select, to_frame
from optics.whole_file import write_text
from training import ConfigError


@dataclass(frozen=True)
class TrackConfig:
    """How particles are linked, and the times that their diffusion needs; see `localization.find_tracks`, `diffusion`.

    Tracks of fewer than `min_length` localizations are left out of what is written. Without `frame_s` no diffusion
    is computed.
    """

    max_step_um: float = 0.5
    max_step_z_um: float | None = None
    gap_frames: int = 1
    max_gap_step_um: float | None = None
    min_length: int = 3
    frame_s: float | None = None
    exposure_share: float = 1.0


def track_file(
    locs: Localizations,
    config: TrackConfig,
    out: Path,
    *,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Track a table into `out`: a CSV file, or a folder of tracks.csv, tracks.json, tracks.png and, with the time
    per frame, diffusion.csv. Returns lines that say what was found. Raises LocalizationError and ConfigError.
    """
    alone = out.suffix.lower() == ".csv"
    if alone and out.is_dir() or not alone and out.is_file():
        raise ConfigError(f"{out}: name a .csv file for the table alone, or a folder")
    if config.min_length < 1:
        raise ConfigError(f"min_length = {config.min_length} must be at least 1")
    if locs.frame.size == 0:
        raise LocalizationError("track: the table is empty; there is nothing to track")
    links = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for name in ("min_length", "frame_s", "exposure_share"):
        del links[name]
    track = find_tracks(locs, **links, report=report)
    length = np.bincount(track)
    keep = length[track] >= config.min_length
    number = np.full(length.size, -1)
    number[length >= config.min_length] = np.arange((length >= config.min_length).sum())
    kept, track = select(locs, keep), number[track[keep]]
    lines = [
        f"{locs.frame.size} localizations, {length.size} tracks, {(length >= config.min_length).sum()} of "
        f"{config.min_length} localizations or more",
    ]
    found = None
    if config.frame_s is not None and track.size:
        axes = "xy" if np.ptp(kept.z_um) == 0 else "xyz"
        found = diffusion(kept, track, frame_s=config.frame_s, exposure_share=config.exposure_share, axes=axes)
        lines.append(
            f"D = {found.pooled_um2_s:.4g} um^2/s (95 %: {found.low_um2_s:.4g} to {found.high_um2_s:.4g}), "
            f"localization error {', '.join(f'{1e3 * e:.0f}' for e in found.noise_um)} nm in {', '.join(axes)}"
        )
    table = to_frame(kept).assign(track=track)
    table = table.iloc[np.lexsort((kept.frame, track))]
    path = out if alone else out / "tracks.csv"
    write_text(path, table.to_csv(index=False))
    written = [path]
    if not alone:
        written += _write_folder(config, out, length, track, kept, found)
    return [*lines, "", "wrote " + ", ".join(map(str, written))]


def _write_folder(config: TrackConfig, out: Path, length: NDArray, track: NDArray, locs: Localizations, found):
    numbers = {
        "settings": dataclasses.asdict(config),
        "tracks": int(length.size),
        "median_length": float(np.median(length)),
    }
    if found is not None:
        numbers["d_um2_s"] = {"pooled": found.pooled_um2_s, "low": found.low_um2_s, "high": found.high_um2_s}
        numbers["noise_um"] = found.noise_um.tolist()
        columns = {"track": found.track, "steps": found.steps, "d_um2_s": found.d_um2_s, "error": found.d_error_um2_s}
        write_text(out / "diffusion.csv", pd.DataFrame(columns).to_csv(index=False))
    write_text(out / "tracks.json", json.dumps(numbers, indent=2) + "\n")
    save_png(track_figure(locs, track, found), out / "tracks.png")
    return [out / "tracks.json", out / "tracks.png", *([out / "diffusion.csv"] if found is not None else [])]


def track_figure(locs: Localizations, track: NDArray, found: Diffusion | None):
    """Paths of up to 2000 tracks, coloured by start, beside the histogram of D (without it, of lengths)."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(7.2, 3.4)
        paths, histogram = figure.subplots(1, 2, width_ratios=(1.2, 1))
        order = np.lexsort((locs.frame, track))
        bounds = np.flatnonzero(np.r_[True, np.diff(track[order]) != 0, True]) if track.size else np.zeros(1, int)
        colours = matplotlib.colormaps["viridis"]
        last = max(1, int(locs.frame.max())) if track.size else 1
        for a, b in list(zip(bounds[:-1], bounds[1:], strict=True))[:2000]:
            rows = order[a:b]
            paths.plot(locs.x_um[rows], locs.y_um[rows], color=colours(locs.frame[rows[0]] / last), linewidth=0.7)
        paths.set(xlabel="x (um)", ylabel="y (um)", aspect="equal")
        paths.invert_yaxis()  # y points down, as in the frames
        scale = Normalize(0, last)
        figure.colorbar(ScalarMappable(scale, colours), ax=paths, label="first frame")
        if found is not None and np.isfinite(found.d_um2_s).any():
            d = found.d_um2_s[found.d_um2_s > 0]
            histogram.hist(np.log10(d), bins=40, color=FIXED_COLOURS[0])
            histogram.axvline(np.log10(max(found.pooled_um2_s, 1e-9)), color="black", label="all steps together")
            histogram.set(xlabel="log10 of D (um^2/s)", ylabel="tracks")
            histogram.legend()
        else:
            histogram.hist(np.bincount(track) if track.size else [], bins=40, color=FIXED_COLOURS[0])
            scale_y = "log" if track.size else "linear"  # without tracks nothing is positive
            histogram.set(xlabel="localizations per track", ylabel="tracks", yscale=scale_y)
    return figure
