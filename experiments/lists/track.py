"""`colocus track`: tracks of a list's particles and their diffusion, as tables, numbers and a figure."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.report.numbers import NM_PER_UM
from experiments.report.plot_style import FIXED_COLOURS, Figure, new_figure, save_png, styled
from localization import (
    Diffusion,
    LocalizationError,
    Localizations,
    MovieFacts,
    compare_facts,
    diffusion,
    find_tracks,
    select,
    to_frame,
)
from optics.progress import Event, Report, silent
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


@dataclass(frozen=True, eq=False)
class Tracks:
    """Rows of tracks that are long enough, the track of each, every track's length, and the diffusion (or None)."""

    config: TrackConfig
    locs: Localizations
    track: NDArray[np.integer]
    length: NDArray[np.integer]
    diffusion: Diffusion | None

    def lines(self) -> list[str]:
        """Say how many tracks there are and how fast their particles diffuse."""
        least, found = self.config.min_length, self.diffusion
        lines = [
            f"{self.length.sum()} localizations, {self.length.size} tracks, {(self.length >= least).sum()} of "
            f"{least} localizations or more"
        ]
        if found is not None:
            errors = ", ".join(f"{NM_PER_UM * error:.0f}" for error in found.noise_um)
            lines.append(
                f"D = {found.pooled_um2_s:.4g} um^2/s (95 %: {found.low_um2_s:.4g} to {found.high_um2_s:.4g}), "
                f"localization error {errors} nm in {', '.join('xyz'[: len(found.noise_um)])}"
            )
            if found.step_frames != 1:
                time_ms = 1e3 * found.step_frames * (self.config.frame_s or 0)
                lines.append(f"note: from steps of {found.step_frames:.3g} frames, {time_ms:.4g} ms each")
        frame_s = self.config.frame_s
        if frame_s is not None:
            meant = MovieFacts(exposure_s=self.config.exposure_share * frame_s, interval_s=frame_s)
            lines += [f"note: {line}" for line in compare_facts(self.locs.movie, meant, of="you", says="the list")]
        return lines

    def numbers(self) -> dict[str, Any]:
        """List settings, number and median length of the tracks, and the diffusion coefficient (um^2/s)."""
        numbers: dict[str, Any] = {
            "settings": dataclasses.asdict(self.config),
            "tracks": int(self.length.size),
            "median_length": float(np.median(self.length)),
        }
        if self.diffusion is not None:
            found = self.diffusion
            numbers["d_um2_s"] = {"pooled": found.pooled_um2_s, "low": found.low_um2_s, "high": found.high_um2_s}
            numbers["noise_um"] = found.noise_um.tolist()
            numbers["step_frames"] = found.step_frames
        return numbers

    def figure(self) -> Figure:
        """Draw up to 2000 paths, coloured by start, beside the histogram of D (without it, of lengths)."""
        return _figure(self.locs, self.track, self.diffusion)

    def write(self, out: Path) -> list[Path]:
        """Write tracks to a CSV file `out`, or to a folder with tracks.json, tracks.png and diffusion.csv beside."""
        check_name(out)
        alone = _is_table(out)
        table = to_frame(self.locs).assign(track=self.track)
        written = [out if alone else out / "tracks.csv"]
        write_text(written[0], table.iloc[np.lexsort((self.locs.frame, self.track))].to_csv(index=False))
        if alone:
            return written
        write_text(out / "tracks.json", json.dumps(self.numbers(), indent=2) + "\n")
        save_png(self.figure(), out / "tracks.png")
        written += [out / "tracks.json", out / "tracks.png"]
        if self.diffusion is not None:
            d = self.diffusion
            columns = {"track": d.track, "steps": d.steps, "d_um2_s": d.d_um2_s, "error": d.d_error_um2_s}
            write_text(out / "diffusion.csv", pd.DataFrame(columns).to_csv(index=False))
            written.append(out / "diffusion.csv")
        return written


def track(locs: Localizations, config: TrackConfig = TrackConfig(), report: Report = silent) -> Tracks:
    """Link a localization list into tracks and, where `config` has the time per frame, measure their diffusion.

    Raises `LocalizationError` and `ConfigError`.

    >>> from localization import make_localizations
    >>> track(make_localizations([0, 1, 2], [1.0, 1.1, 1.2], [1.0] * 3, [0.0] * 3)).lines()
    ['3 localizations, 1 tracks, 1 of 3 localizations or more']
    """
    if config.min_length < 1:
        raise ConfigError(f"min_length = {config.min_length} must be at least 1")
    if locs.frame.size == 0:
        raise LocalizationError("track: the table is empty; there is nothing to track")
    apart = np.diff(np.unique(locs.frame))
    if config.frame_s is not None and apart.size and apart.min() > config.gap_frames + 1:
        raise LocalizationError(
            f"track: the frames that hold localizations are {apart.min()} or more apart, so that nothing can be linked "
            f"with gap_frames = {config.gap_frames}; give {apart.min() - 1} (--gap {apart.min() - 1})"
        )
    links = dataclasses.asdict(config)
    for name in ("min_length", "frame_s", "exposure_share"):
        del links[name]

    def linked(done: int, total: int) -> None:
        report(Event("crowded localizations linked:", done, total))

    of_row = find_tracks(locs, **links, report=linked)
    length = np.bincount(of_row)
    long_enough = length >= config.min_length
    number = np.where(long_enough, np.cumsum(long_enough) - 1, -1)
    keep = long_enough[of_row]
    kept, of_row = select(locs, keep), number[of_row[keep]]
    found = None
    if config.frame_s is not None and of_row.size:
        axes = "xy" if np.ptp(kept.z_um) == 0 else "xyz"
        found = diffusion(kept, of_row, frame_s=config.frame_s, exposure_share=config.exposure_share, axes=axes)
    return Tracks(config, kept, of_row, length, found)


def _is_table(out: Path) -> bool:
    return out.suffix.lower() == ".csv"


def check_name(out: Path) -> None:
    """Raise `ConfigError` where `out` is a folder named .csv, or a file of another name."""
    if _is_table(out) and out.is_dir() or not _is_table(out) and out.is_file():
        raise ConfigError(f"{out}: name a .csv file for the table alone, or a folder")


def _figure(locs: Localizations, track: NDArray, found: Diffusion | None) -> Figure:
    import matplotlib  # not before it is needed
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    with styled():
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
