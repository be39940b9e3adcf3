"""The PSF in three dimensions, from stacks of beads: which way the stage ran, and how deep molecules may lie."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.instrument.retrieve import retrieve
from experiments.instrument.retrieve_config import RetrieveConfig
from experiments.instrument.retrieve_files import read_focus
from experiments.instrument.retrieve_result import RetrieveResult
from experiments.reconstruction.plan import Plan
from localization import open_movie
from optics.progress import Report, silent
from optics.psf_io import load_psf, save_psf
from optics.pytree import replace
from training import ConfigError

FOLDER, FILE = "beads", "psf.npz"
_BETTER = 0.97  # the twin's unexplained part over the one given, below which the reversed direction is tried in full

_POOR = 0.9  # correlation of slices and model below which something is wrong: real stacks reach 0.95 and more


@dataclass(frozen=True)
class Retrieved:
    """A PSF retrieved for a movie: its file, focus and depths, the mean correlation of slices and model, notes."""

    file: Path
    focus_um: float
    z_range_um: tuple[float, float]
    correlation: float
    source: str
    notes: tuple[str, ...]


def retrieve_beads(plan: Plan, pixel_um: float, folder: Path, report: Report = silent) -> Retrieved:
    """Retrieve the PSF from the plan's beads, with its report in `folder`/beads and, for the movie's focus, psf.npz.

    Where the plan leaves the direction of the stage open, the retrieval's own test of the reversed stack decides
    whether that is retrieved too; the better of the two is kept.
    """
    focus = {name: _positions(name, plan) for name in plan.psf.beads}
    kept, notes = _best_way(plan, pixel_um, folder, report)
    reversed_ = kept.config.focus != plan.psf.focus
    result = kept.retrieval
    offset, scale = result.beads[0].focus_offset_um, 1 + result.step_error
    readings = np.concatenate(list(focus.values())) * (-1 if reversed_ else 1)
    reached = (float(readings.min()) * scale + offset, float(readings.max()) * scale + offset)
    focus_um = plan.optics.focus_um
    if focus_um is None:
        focus_um = max(0.0, reached[1])
        notes.append(
            f"nothing tells how deep the movie's focus lies: taken as {focus_um:.2f} um, so that the stack covers all "
            "depths above the coverslip; z shifts with optics.focus_um"
        )
    z_range = depths_um(plan, focus_um, reached)
    kept.write(folder / FOLDER)
    (folder / FOLDER / "run.toml").unlink()  # it names the folder that this one is only made in
    psf = load_psf(folder / FOLDER / FILE)
    psf = replace(psf, microscope=replace(psf.microscope, focus_um=0 * psf.microscope.focus_um + focus_um))
    save_psf(folder / FILE, psf, {"beads": kept.names, "focus_um": focus_um})
    correlation = float(np.mean([bead.correlation.mean() for bead in result.beads]))
    if correlation < _POOR:
        notes.append(
            f"the retrieved PSF explains the slices poorly (correlation {correlation:.3f}): is the stack of this "
            "microscope, with these na, wavelength_um, pixel_um and focus positions?"
        )
    slices = sum(len(bead.correlation) for bead in result.beads)
    source = f"retrieved from {len(result.beads)} bead(s), {slices} slices, correlation {correlation:.4f}"
    return Retrieved(folder / FILE, focus_um, z_range, correlation, source, (*notes, *kept.notes))


def _positions(name: str, plan: Plan) -> np.ndarray:
    with open_movie(name) as movie:
        return read_focus(plan.psf.focus, movie.shape[0], Path(name).name)


def _best_way(plan: Plan, pixel_um: float, folder: Path, report: Report) -> tuple[RetrieveResult, list[str]]:
    """The retrieval in the direction that explains more, and what was compared."""
    scope = plan.optics.microscope(pixel_um, 0.0)  # beads lie on the coverslip
    config = RetrieveConfig(scope, plan.psf.retrieval, focus=plan.psf.focus, crop_px=plan.psf.crop_px)
    beads = list(plan.psf.beads)
    turned = dataclasses.replace(config, focus=_turned(plan, folder))
    if plan.psf.direction == "reversed":
        return retrieve(beads, turned, report), ["the stage is taken the other way round, as the plan says"]
    forward = retrieve(beads, config, report)
    # the reversed fit descends only as far as the first stage does
    first_stage = [misfit for stage, _, _, misfit in forward.retrieval.history if stage == "find"][-1]
    ratio = forward.retrieval.twin_misfit / max(first_stage, 1e-12)
    if plan.psf.direction == "as given" or ratio > 1 / _BETTER:
        said = (
            "as given"
            if plan.psf.direction == "as given"
            else f"reversed, it leaves {ratio:.2f} times as much unexplained"
        )
        return forward, [f"direction of the stage: {said}"]
    backward = retrieve(beads, turned, report)
    both = [float(np.mean([bead.chi2.mean() for bead in way.retrieval.beads])) for way in (forward, backward)]
    said = f"direction of the stage: chi-square {both[0]:.3g} as given, {both[1]:.3g} reversed"
    if both[1] < _BETTER * both[0]:
        return backward, [f"{said}; the reversed one is taken"]
    doubt = "" if both[0] < _BETTER * both[1] else "; beads do not tell, check that focus grows into the sample"
    return forward, [said + doubt]


def _turned(plan: Plan, folder: Path) -> str:
    """The plan's focus positions with the other sign, as a file that a retrieval reads."""
    positions = [_positions(name, plan) for name in plan.psf.beads]
    if any(len(other) != len(positions[0]) or np.any(other != positions[0]) for other in positions):
        raise ConfigError("psf.direction = 'reversed' needs stacks of the same focus positions; give one stack")
    path = folder / "focus_reversed.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["focus_um", *(repr(float(-value)) for value in positions[0])]) + "\n")
    return str(path)


def depths_um(plan: Plan, focus_um: float, reached_um: tuple[float, float] | None) -> tuple[float, float]:
    """Return the depths that molecules may have: the plan's, else those whose defocus the stack has shown.

    A bead on the coverslip with the focus at f looks as a molecule does at the depth that lies f below the movie's
    focus, so a stack from f0 to f1 shows focus - f1 to focus - f0; depths begin at the coverslip. Raises `ConfigError`.
    """
    low, high = plan.psf.z_min_um, plan.psf.z_max_um
    if reached_um is not None:
        low = max(0.0, focus_um - reached_um[1]) if low is None else low
        high = focus_um - reached_um[0] if high is None else high
    if low is None or high is None:
        raise ConfigError("psf.z_min_um, psf.z_max_um: a PSF does not say how deep molecules lie; give both, in um")
    if not low < high:
        raise ConfigError(f"psf.z_min_um = {low:g} is not below psf.z_max_um = {high:g}; is optics.focus_um right?")
    return float(low), float(high)
