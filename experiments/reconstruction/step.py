"""The shape of a step, and the bench on which the steps of one run stand."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from experiments.reconstruction.finding import Finding
from experiments.reconstruction.methods import Known
from experiments.reconstruction.plan import Plan
from optics.progress import Report, silent

if TYPE_CHECKING:
    from distributed import Client

F = TypeVar("F", bound=Finding)


@dataclass
class Bench:
    """What a step may take: the plan, its own `folder`, what steps before found and where, who hears of progress.

    `client` has workers of Dask, where there are any.
    """

    plan: Plan
    movie: Path
    folder: Path
    found: dict[str, Finding] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    report: Report = silent
    client: "Client | None" = None

    def take(self, name: str, kind: type[F]) -> F:
        """Return what the step `name` found."""
        finding = self.found[name]
        assert isinstance(finding, kind), f"{name} found {type(finding).__name__}, not {kind.__name__}"
        return finding


@dataclass(frozen=True)
class Step:
    """One step: its name and question, the steps it reads, the part of the plan that decides it, its work.

    `kind` is the class of its finding, `files` further files that it reads, `otherwise` how a user decides it himself.
    A step that is `resumable` finds what it left in its folder before it was stopped.
    """

    name: str
    question: str
    otherwise: str
    kind: type[Finding]
    work: Callable[[Bench], Finding]
    reads: tuple[str, ...] = ()
    settings: Callable[[Plan], Any] = lambda plan: None
    files: Callable[[Plan], tuple[str, ...]] = lambda plan: ()
    resumable: bool = False


def fingerprint(step: Step, plan: Plan, movie: dict[str, Any], before: dict[str, str]) -> str:
    """Return a hash of all that decides a step: its settings, its files, the movie, and the steps that it reads."""
    files = [_identity(Path(name)) for name in step.files(plan)]
    parts = [step.name, repr(step.settings(plan)), files, movie, [before[name] for name in step.reads]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _identity(path: Path) -> list[Any]:
    """What tells a file from another without reading it."""
    inside = sorted(path.rglob("config.json")) if path.is_dir() else [path]
    stats = [file.stat() for file in inside if file.exists()]
    return [str(path.absolute()), [(stat.st_size, stat.st_mtime_ns) for stat in stats]]


def known_of(bench: Bench) -> Known:
    """Gather what a method needs from the findings of camera and PSF."""
    from experiments.reconstruction.steps.camera import CameraFound
    from experiments.reconstruction.steps.decoder import OwnDecoder
    from experiments.reconstruction.steps.look import Look
    from experiments.reconstruction.steps.psf import PsfFound

    plan, camera, psf = bench.plan, bench.take("camera", CameraFound), bench.take("psf", PsfFound)
    own = bench.take("decoder", OwnDecoder).path(bench.folders["decoder"]) if "decoder" in bench.found else ""
    return Known(
        pixel_um=psf.pixel_um,
        camera=camera.path(bench.folders["camera"]),
        psf=psf.path(bench.folders["psf"]),
        species=psf.species,
        sigma_um=psf.sigma_um,
        z_range_um=psf.depths_um,
        stamp_px=psf.stamp_px,
        saturation_adu=bench.take("look", Look).saturated_at_adu,
        model=own or plan.reader.model,
        threshold=plan.reader.threshold,
        fits=plan.reader.fits,
    )
