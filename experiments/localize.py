"""From a movie on disk to a localization table on disk, a batch of frames at a time."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import load_settings
from experiments.readers import load_reader
from localization import Localizations, Movie, TableWriter, open_movie
from training import CameraConfig, ConfigError, build_camera

Span = tuple[int, int | None]


@dataclass(frozen=True)
class LocalizeConfig:
    """What is read and how.

    `frames`, `rows` and `columns` are (first, stop) from 0, stop None for the end: a part of the movie, in
    whose own coordinates and frame numbers the table stays. `threshold`: probability for a list decoder,
    network units for DeepSTORM3D weights; None takes 0.5, or that of the weights' settings.
    `gain_adu_per_photon` and `offset_adu` replace the run's camera, as does the path of a `camera`.toml for both
    at once. `batch` frames go through a list decoder at a time. `tile_px` cuts large frames; None chooses a side
    that keeps memory near 2 GB. `model_config` belongs to weights.
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

    def __post_init__(self):
        if self.batch < 1:
            raise ConfigError(f"batch = {self.batch} must be at least 1 frame")
        if self.camera and not (self.gain_adu_per_photon is self.offset_adu is None):
            raise ConfigError(f"camera = {self.camera} brings its own gain and offset; leave those out")
        if self.tile_px is not None and self.tile_px < 1:
            raise ConfigError(f"tile_px = {self.tile_px} must be positive")


@dataclass(frozen=True)
class LocalizeResult:
    """What a finished job wrote: `rows` localizations of `frames` frames at `path`, in `seconds`."""

    path: Path
    frames: int
    rows: int
    seconds: float


def parse_span(text: str) -> Span:
    """Read a part of an axis as the command line writes it. Raises `ConfigError`.

    >>> parse_span("10:20"), parse_span(":5"), parse_span("7:")
    ((10, 20), (0, 5), (7, None))
    """
    parts = re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", text)
    if parts is None:
        raise ConfigError(f"{text!r} is not a part; write first:stop, counted from 0, such as 0:100 or 50:")
    return int(parts[1] or 0), int(parts[2]) if parts[2] else None


def localize(
    movie: Path | str,
    model: Path | str,
    out: Path | str,
    config: LocalizeConfig = LocalizeConfig(),
    *,
    report: Callable[[dict[str, Any]], None] = lambda event: None,
) -> LocalizeResult:
    """Localize a movie with a trained model into a ThunderSTORM table.

    `movie` is a TIFF stack or a folder of frames, `model` a run's folder (list decoder) or a file of
    DeepSTORM3D weights. Frames are read as they are needed, so a movie may be larger than memory. The table
    appears under its name when it is whole: after an error or Ctrl-C, whatever stood there before does.
    `report` receives {"event": "start", "model", "frames", ...}, then {"event": "frames", "done", "total",
    "found", "seconds"} after every batch, then {"event": "end", "path", "frames", "rows", "seconds"}.

    Raises `ConfigError`, `CheckpointError`, `NetsError` or `LocalizationError`, each with one line that says
    what, where and what to do; a movie that the model cannot read is refused before the first frame.

    >>> localize("movie.tif", "no-such-run", "locs.csv")
    Traceback (most recent call last):
    training.config.ConfigError: no-such-run: no such run or file of weights; check the name
    """
    started = time.perf_counter()
    model, out = Path(model), Path(out)
    gain, offset = photometry(config.camera) if config.camera else (config.gain_adu_per_photon, config.offset_adu)
    reader = load_reader(
        model,
        model_config=config.model_config,
        threshold=config.threshold,
        gain_adu_per_photon=gain,
        offset_adu=offset,
        batch=config.batch,
        tile_px=config.tile_px,
    )
    with open_movie(movie, min_size_px=reader.min_frame_px) as opened:
        first, stop = _part("frames", config.frames, opened.shape[0], 1)
        rows = _part("rows", config.rows, opened.shape[1], reader.min_frame_px)
        columns = _part("columns", config.columns, opened.shape[2], reader.min_frame_px)
        pixel_um, total, found = reader.pixel_um, stop - first, 0
        with TableWriter(out) as writer:
            report({"event": "start", "model": reader.description, "movie": str(movie), "frames": total})
            for begin in range(first, stop, config.batch):
                counts = _counts(opened, begin, min(begin + config.batch, stop), rows, columns)
                locs = _shifted(reader.read(counts, begin), columns[0] * pixel_um, rows[0] * pixel_um)
                writer.append(locs)
                found += locs.frame.size
                done = min(begin + config.batch, stop) - first
                seconds = time.perf_counter() - started
                report({"event": "frames", "done": done, "total": total, "found": found, "seconds": seconds})
    result = LocalizeResult(out, total, found, time.perf_counter() - started)
    report({"event": "end", "path": str(out), "frames": total, "rows": found, "seconds": result.seconds})
    return result


def photometry(path: str) -> tuple[float, float]:
    """Counts per photon, and counts without light, of the camera in a camera.toml. Raises `ConfigError`."""
    if Path(path).suffix.lower() == ".npz":
        raise ConfigError(f"{path}: a movie is read with one gain and offset; name the camera.toml beside the maps")
    config = load_settings(CameraConfig, path)
    build_camera(config)  # refuses numbers that cannot be right
    gain = config.gain_adu_per_e * (config.em_gain or 1.0)
    return gain * config.quantum_efficiency, config.offset_adu + gain * config.spurious_e


def _part(name: str, span: Span | None, size: int, least: int) -> tuple[int, int]:
    first, stop = (0, None) if span is None else span
    stop = size if stop is None else stop
    if not 0 <= first < stop <= size:
        raise ConfigError(f"{name} = {first}:{stop} does not lie in the movie, which has {size}; count from 0")
    if stop - first < least:
        raise ConfigError(f"{name} = {first}:{stop} leaves {stop - first} px of the {least} that the model needs")
    return first, stop


def _counts(movie: Movie, first: int, stop: int, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    return movie.read(first, stop)[:, slice(*rows), slice(*columns)]


def _shifted(locs: Localizations, x_um: float, y_um: float) -> Localizations:
    return replace(locs, x_um=locs.x_um + x_um, y_um=locs.y_um + y_um)
