"""The step before the test: a network of the movie's own, where the method is one that trains it."""

from dataclasses import dataclass
from pathlib import Path

from experiments.reading.autods3d import RUN, AutoDs3dConfig, own_decoder
from experiments.reading.localize_config import LocalizeConfig
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.methods import AUTODS3D, Known
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps.choice import Choice
from experiments.reconstruction.steps.look import Look
from optics.progress import Report, silent


@dataclass(frozen=True)
class OwnDecoder(Finding):
    """Whether a network was `trained`, in how many `steps`; seconds that the joint fit of all frames would take, and
    those of training and of reading with the network; what was `said` before."""

    trained: bool = False
    steps: int = 0
    joint_s: float | None = None
    training_s: float | None = None
    reading_s: float | None = None
    said: tuple[str, ...] = ()

    def path(self, folder: Path) -> str:
        """Return the run's folder in that of the step, a model to read with; "" where there is none."""
        return str(folder / RUN) if self.trained else ""

    def lines(self) -> list[str]:
        """Say what was trained and what it was said to cost, or that nothing was."""
        return list(self.said) if self.trained else ["no network is trained: the method needs none of the movie's own"]


def train_decoder(
    movie: Path, plan: Plan, seen: Look, known: Known, choice: Choice, folder: Path, report: Report = silent
) -> OwnDecoder:
    """Train a network for this movie in `folder`, where the method asks for one, or go on; the cost is said before."""
    if choice.method != AUTODS3D:
        return OwnDecoder()
    reading = LocalizeConfig(
        camera=known.camera,
        frames=(seen.frames[0], seen.frames[1]),
        rows=(seen.rows[0], seen.rows[1]),
        columns=(seen.columns[0], seen.columns[1]),
        opening=plan.opening.options(),
        classical=known.fit_settings(),
    )
    config = AutoDs3dConfig(reading=reading, minutes=plan.reader.training_minutes)
    planned, _ = own_decoder(movie, known.psf, folder, config, report)
    return OwnDecoder(
        trained=True,
        steps=planned.run.optimiser.steps,
        joint_s=planned.joint_s,
        training_s=planned.training_s,
        reading_s=planned.reading_s,
        said=tuple(planned.lines()),
    )
