"""Settings of `localize`: which part of a movie is read, and how."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.planes.movie import check_where
from localization import MovieOptions
from training import ConfigError

Span = tuple[int, int | None]
Method = Literal["", "decoder", "classical", "joint", "decoder+joint", "autods", "patchwise", "colour"]


@dataclass(frozen=True)
class LocalizeConfig:
    """What is read and how.

    `frames`, `rows` and `columns` are (first, stop) from 0, stop None for the end: a part of the movie, in
    whose own coordinates and frame numbers the table stays. `threshold`: probability for a list decoder,
    network units for DeepSTORM3D weights; None takes 0.5, or that of the weights' settings.
    `gain_adu_per_photon` and `offset_adu` replace the run's camera, as does the path of a `camera`.toml for both
    at once. `batch` frames go through a list decoder at a time, on each device. `tile_px` cuts large frames; None
    chooses a side that keeps memory near 2 GB. `model_config` belongs to weights. What `chunk_frames` frames gave is
    kept if the job is stopped; a worker of a cluster takes `share_frames` or more at a time. `method` "decoder" reads
    with a network, "classical" fits with the PSF of `model`, each emitter by itself where nothing overlaps and jointly
    where something does (the default for a psf.npz and for "gaussian"), "joint" explains each frame as a whole with it,
    "decoder+joint" begins that at the network's list, with the PSF of the run or of the file `psf`; `classical` says
    how. "autods" reads each patch with the shipped network of its level, `autods` says how; "patchwise" (Gaussian
    spots, in focus) each patch by fits or a network, whichever was measured to be best at its density and signal.
    "colour" (the default with `species`) reads every emitter as each of `species`, the calibrated PSFs of several
    colours, of which `model` is the first: by itself where it stands alone, jointly where not; "joint" everywhere
    jointly. With "joint" PSFs of one wavelength, and any beside `planes` or a map of planes, are those of the planes of
    a movie, fitted as one; a file that holds several planes needs no others. `planes` says where they lie in the movie:
    "side" by side (also if nothing is said), one "above" the other, or the movies of the second and further planes.
    `opening` says how the movie is opened.
    """

    threshold: float | None = None
    gain_adu_per_photon: float | None = None
    offset_adu: float | None = None
    camera: str = ""
    frames: Span | None = None
    rows: Span | None = None
    columns: Span | None = None
    batch: int = 8
    tile_px: int | None = None
    model_config: str = ""
    chunk_frames: int = 200
    share_frames: int = 1000
    method: Method = ""
    psf: str = ""
    species: tuple[str, ...] = ()
    planes: tuple[str, ...] = ()
    opening: MovieOptions = MovieOptions()
    classical: ClassicalConfig = ClassicalConfig()
    autods: AutoDsConfig = AutoDsConfig()

    def __post_init__(self):
        for name in ("batch", "chunk_frames", "share_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1 frame")
        if self.camera and not (self.gain_adu_per_photon is self.offset_adu is None):
            raise ConfigError(f"camera = {self.camera} brings its own gain and offset; leave those out")
        if self.method not in get_args(Method):
            gone = "; polish is now decoder+joint" if self.method == "polish" else ""
            raise ConfigError(f"method = {self.method!r} is none of {', '.join(get_args(Method)[1:])}{gone}")
        if self.psf and self.method != "decoder+joint":
            raise ConfigError(f"psf = {self.psf} is for method decoder+joint; the others take their PSF as the model")
        check_where(self.planes)
        if self.species and self.method not in ("", "colour", "joint"):
            raise ConfigError(f"several PSFs are read with method colour or joint, not {self.method}")
        if self.method == "joint" and len(self.species) == 1:
            raise ConfigError(f"planes need a PSF each: --psf {self.species[0]} and that of the next plane")
        twice = next((path for path in self.species if self.species.count(path) > 1), None)
        if (colour := self.method == "colour" or (self.species and self.method != "joint")) and twice is not None:
            raise ConfigError(f"{twice} is given twice; method colour needs a PSF for each species")
        if colour and len(self.species) < 2:
            raise ConfigError("method colour needs a PSF for each species: --psf orange.npz red.npz")
        if self.tile_px is not None and self.tile_px < 1:
            raise ConfigError(f"tile_px = {self.tile_px} must be positive")


def parse_span(text: str) -> Span:
    """Read a part of an axis as the command line writes it. Raises `ConfigError`.

    >>> parse_span("10:20"), parse_span(":5"), parse_span("7:")
    ((10, 20), (0, 5), (7, None))
    """
    parts = re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", text)
    if parts is None:
        raise ConfigError(f"{text!r} is not a part; write first:stop, counted from 0, such as 0:100 or 50:")
    return int(parts[1] or 0), int(parts[2]) if parts[2] else None
