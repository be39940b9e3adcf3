"""The eighth step: all frames, in chunks that outlive a kill."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.reading.localize import localize, localize_with
from experiments.reading.methods import make_reader
from experiments.reading.remarks import remarks
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.methods import METHODS, Known
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps.choice import Choice
from experiments.reconstruction.steps.look import Look
from experiments.report.plot_style import FIXED_COLOURS, Figure, new_figure, styled
from localization import LocalizationError, read
from optics.progress import Report, silent

if TYPE_CHECKING:
    from distributed import Client

FILE = "localizations.csv"
_CHUNKS = 400  # of a movie, at most: what a kill costs is at most one of them


@dataclass(frozen=True)
class Frames(Finding):
    """All frames read: how many rows, in how many frames, in how many seconds (of the call that ended it)."""

    rows: int = 0
    frames: int = 0
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()
    shown: Any = None

    def lines(self) -> list[str]:
        """Say how many molecules were found."""
        return [
            f"{self.rows} localizations in {self.frames} frames, {self.rows / max(self.frames, 1):.1f} each",
            *self.remarks,
        ]

    def figure(self) -> Figure | None:
        """Draw how many were found in each frame, their light and their precision."""
        if self.shown is None:
            return None
        frames, found, photons, sigma_nm = self.shown
        with styled():
            drawn = new_figure(8.4, 2.4)
            course, light, precision = drawn.subplots(1, 3)
            course.plot(frames, found, color=FIXED_COLOURS[0], linewidth=0.8)
            course.set(xlabel="frame", ylabel="localizations", ylim=(0, None))
            for axes, values, label in ((light, photons, "photons"), (precision, sigma_nm, "predicted precision (nm)")):
                known = values[np.isfinite(values)]
                if known.size:
                    axes.hist(np.minimum(known, np.quantile(known, 0.99)), bins=50, color=FIXED_COLOURS[0])
                axes.set(xlabel=label)
        return drawn


def read_all(
    movie: Path,
    plan: Plan,
    seen: Look,
    known: Known,
    choice: Choice,
    folder: Path,
    *,
    report: Report = silent,
    client: "Client | None" = None,
) -> Frames:
    """Read all frames into `folder`/localizations.csv, by the workers of `client` if there is one; what is done stays.

    Raises `LocalizationError` where nothing was found in any frame.
    """
    model, config = METHODS[choice.method].settings(known)
    reader = make_reader(model, config)
    group = max(1, reader.group)
    chunk = group * max(1, -(-seen.n_frames // (group * _CHUNKS)))
    parts: dict[str, tuple[int, int | None]] = {
        name: (span[0], span[1])
        for name, span in (("frames", seen.frames), ("rows", seen.rows), ("columns", seen.columns))
    }
    config = replace(config, chunk_frames=chunk, opening=plan.opening.options(), **parts)
    out = folder / FILE
    if out.exists():  # whole, of a call that was stopped before its numbers were kept
        done, seconds, said = seen.n_frames, 0.0, ()
    else:
        if client is None:
            result = localize_with(reader, movie, out, config, report=report)
        else:
            result = localize(movie, model, out, config, client=client, report=report)
        done, seconds, said = result.frames, result.seconds, tuple(remarks(result.tally))
    locs = read(out)
    if not locs.frame.size:
        raise LocalizationError(
            f"{movie}: no molecule was found in {done} frames; look at the pictures of the steps before, and try "
            "another psf, camera or reader.threshold in plan.toml"
        )
    sigma = 1e3 * np.hypot(locs.sigma_x_um, locs.sigma_y_um) / np.sqrt(2)
    numbers = np.arange(*seen.frames)
    found = np.bincount(locs.frame - seen.frames[0], minlength=len(numbers))[: len(numbers)]
    return Frames(int(locs.frame.size), done, seconds, said, (numbers, found, locs.photons, sigma))
