"""The plan of a reconstruction: everything that decides it, in one file that a person can read and change."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from experiments.lists.drift import DriftConfig
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.localize_config import Span, parse_span
from experiments.reconstruction.methods import AUTO, METHODS
from experiments.reconstruction.regions import Region, parse_region
from experiments.settings import override, read_toml
from localization import Criteria, MovieOptions
from optics.retrieval.types import RetrievalSettings
from training import ConfigError, MicroscopeConfig, from_dict
from training.settings import OneOf, check

_SPANS = ("frames", "rows", "columns")


@dataclass(frozen=True)
class OpticsPlan:
    """The microscope. `pixel_um` is the camera's pixel in the sample, `focus_um` how deep the movie's focus lies.

    What is left out: `pixel_um` is taken from the movie's own tags, else 0.1; the others matter only in three
    dimensions, where `na` and `wavelength_um` must be given.
    """

    pixel_um: float | None = None
    na: float | None = None
    wavelength_um: float | None = None
    n_immersion: float = 1.518
    n_sample: float = 1.33
    focus_um: float | None = None

    def __post_init__(self):
        for name in ("pixel_um", "na", "wavelength_um", "n_immersion", "n_sample"):
            value = getattr(self, name)
            check(value is None or value > 0, f"optics.{name}", value, "must be positive")

    def microscope(self, pixel_um: float, focus_um: float) -> MicroscopeConfig:
        """Return the optics of a retrieval. Raises `ConfigError` where a number is missing."""
        missing = [name for name in ("na", "wavelength_um") if getattr(self, name) is None]
        if missing:
            raise ConfigError(f"optics.{missing[0]} is missing: beads need it; add optics.{missing[0]}=... or --optics")
        values = {key: value for key, value in dataclasses.asdict(self).items() if value is not None}
        return from_dict(MicroscopeConfig, values | {"pixel_um": pixel_um, "focus_um": focus_um})


@dataclass(frozen=True)
class CameraPlan:
    """The camera: a `file` of colocus calibrate-camera, or gain and offset; left out, the movie tells them."""

    file: str = ""
    gain_adu_per_photon: float | None = None
    offset_adu: float | None = None
    read_noise_e: float | None = None

    def __post_init__(self):
        given = (self.gain_adu_per_photon is not None, self.offset_adu is not None)
        if given[0] != given[1] or (self.file and given[0]):
            raise ConfigError("camera: give gain_adu_per_photon and offset_adu, or file alone")
        check(self.gain_adu_per_photon is None or self.gain_adu_per_photon > 0, "camera.gain_adu_per_photon",
              self.gain_adu_per_photon, "must be positive, counts per photon")  # fmt: skip


@dataclass(frozen=True)
class PsfPlan:
    """What one molecule looks like: a `file`, stacks of `beads` with their `focus`, or (2D) a width `sigma_um`.

    With files of more `species` beside `file`, one of each further colour, every molecule is told to be of one of them.
    `focus` is START:STOP:N in um or a CSV. `direction` "as given" trusts its sign, "reversed" turns it round, "both"
    retrieves both ways and takes the better. `crop_px` finds beads in whole fields. Depths are `z_min_um` to
    `z_max_um`, by default those that the stack reaches in the movie.
    """

    file: str = ""
    species: tuple[str, ...] = ()
    beads: tuple[str, ...] = ()
    focus: str | None = None
    direction: Literal["as given", "reversed", "both"] = "both"
    crop_px: int | None = None
    sigma_um: float | None = None
    z_min_um: float | None = None
    z_max_um: float | None = None
    retrieval: RetrievalSettings = RetrievalSettings()

    def __post_init__(self):
        if bool(self.file) + bool(self.beads) + (self.sigma_um is not None) > 1:
            raise ConfigError("psf: give one of file, beads and sigma_um")
        if self.species and not self.file:
            raise ConfigError("psf.species are PSFs beside psf.file; give that too, as --psf orange.npz red.npz")
        if self.beads and not self.focus:
            raise ConfigError("psf.focus is missing: where the stack's slices were focused, as --focus START:STOP:N")


@dataclass(frozen=True)
class ReaderPlan:
    """How frames are read: a `method` ("auto" chooses), a trained `model`, a `threshold`, the settings of `fits`.

    Method "autods3d" trains a network first, for `training_minutes`.
    """

    method: Annotated[str, OneOf(lambda: [AUTO, *METHODS])] = AUTO
    model: str = ""
    threshold: float | None = None
    fits: ClassicalConfig = ClassicalConfig()
    training_minutes: float = 60.0

    def __post_init__(self):
        check(self.training_minutes > 0, "reader.training_minutes", self.training_minutes, "must be positive")


@dataclass(frozen=True)
class PicturePlan:
    """The picture: its pixel (None: half the precision, 5 nm or more), its mode, the pixel of the ring correlation."""

    pixel_nm: float | None = None
    mode: Literal["histogram", "gaussian"] = "gaussian"
    frc_pixel_nm: float = 5.0


@dataclass(frozen=True)
class OpeningPlan:
    """How the movie is opened: one of several channels or positions by number or name, cut files, this file alone."""

    channel: str = ""
    position: str = ""
    allow_cut: bool = False
    alone: bool = False

    def options(self) -> MovieOptions:
        """Return them as `open_movie` takes them."""
        return MovieOptions(self.channel or None, self.position or None, self.allow_cut, self.alone)


@dataclass(frozen=True)
class Plan:
    """A whole reconstruction. `frames`, `rows` and `columns` are parts of the movie as FIRST:STOP ("" for all).

    `test_frames` are read first, to see how well and how fast; `patch_um` is the side of the patches in which density
    and light are told; `drift_frames` the fewest frames that drift is looked for in. `sparse` is a rectangle in which
    molecules lie apart ("": everywhere), from which their width and light are taken, `leave_out` are rectangles whose
    molecules are not listed: each as "COLUMNS ROWS NAME" in pixels of the movie, such as "10:41 8:64 bright corner".
    """

    movie: str = ""
    frames: str = ""
    rows: str = ""
    columns: str = ""
    sparse: str = ""
    leave_out: tuple[str, ...] = ()
    patch_um: float = 8.0
    test_frames: int = 4
    drift_frames: int = 200
    optics: OpticsPlan = OpticsPlan()
    camera: CameraPlan = CameraPlan()
    psf: PsfPlan = PsfPlan()
    reader: ReaderPlan = ReaderPlan()
    drift: DriftConfig = DriftConfig()
    filters: Criteria = Criteria()
    picture: PicturePlan = PicturePlan()
    opening: OpeningPlan = OpeningPlan()

    def __post_init__(self):
        check(self.patch_um > 0, "patch_um", self.patch_um, "must be positive")
        check(self.test_frames >= 2, "test_frames", self.test_frames, "must be at least 2")
        self.spans()
        self.regions()

    def spans(self) -> dict[str, Span | None]:
        """Return frames, rows and columns as numbers; None for all. Raises `ConfigError`."""
        return {name: parse_span(text) if (text := getattr(self, name)) else None for name in _SPANS}

    def regions(self) -> tuple[Region | None, tuple[Region, ...]]:
        """Return the sparse rectangle, None for everywhere, and those to be left out. Raises `ConfigError`."""
        sparse = parse_region(self.sparse, "sparse") if self.sparse else None
        return sparse, tuple(parse_region(text, "leave_out") for text in self.leave_out)


def load_plan(source: str | Path | None, assignments: Sequence[str] = (), given: Mapping[str, Any] = {}) -> Plan:
    """Read a plan: a TOML file (None: the defaults), then what is `given`, then KEY=VALUE. Raises `ConfigError`.

    >>> load_plan(None, ["reader.method=joint", "frames=0:100"]).spans()["frames"]
    (0, 100)
    """
    values = {} if source is None else read_toml(str(source))
    try:
        return from_dict(Plan, override(_laid_over(values, given), assignments), saved=True)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}" if source and not assignments else str(error)) from error


def _laid_over(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in given.items():
        below = merged.get(key)
        merged[key] = (
            _laid_over(below if isinstance(below, Mapping) else {}, value) if isinstance(value, Mapping) else value
        )
    return merged


def plan_toml(plan: Plan) -> str:
    """Write a plan as TOML, which `load_plan` reads: what was decided, and in comments what is left to the steps.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "plan.toml"
    >>> _ = path.write_text(plan_toml(Plan("movie.tif", test_frames=6)))
    >>> load_plan(path) == Plan("movie.tif", test_frames=6)
    True
    """
    head = [
        "# The plan of a reconstruction. Change it and go on: colocus reconstruct --out RUN --resume",
        "# A step is done again where what it was told or found has changed; what is left out, the steps find out.",
    ]
    return "\n".join([*head, *_table(plan, "")]) + "\n"


def _table(values: Any, name: str) -> list[str]:
    plain, tables = [], []
    for item in dataclasses.fields(values):
        value = getattr(values, item.name)
        if dataclasses.is_dataclass(value):
            tables += _table(value, f"{name}.{item.name}" if name else item.name)
        elif value is None:
            plain.append(f"# {item.name} =")
        else:
            plain.append(f"{item.name} = {json.dumps(value, ensure_ascii=False)}")
    return [*(["", f"[{name}]"] if name else []), *plain, *tables]
