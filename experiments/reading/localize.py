"""From a movie on disk to a localization table on disk: a few frames at a time, in chunks that outlive a kill."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from experiments.reading.chunks import Job, Parts, Share, spans
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.readers import Reader, load_reader
from experiments.settings import load_settings
from localization import Localizations, Movie, concatenate, open_movie
from training import CameraConfig, ConfigError, build_camera

Span = tuple[int, int | None]
GROUP_PX = 2**25  # pixels of the frames that are read at a time: 128 MB


@dataclass(frozen=True)
class LocalizeConfig:
    """What is read and how.

    `frames`, `rows` and `columns` are (first, stop) from 0, stop None for the end: a part of the movie, in
    whose own coordinates and frame numbers the table stays. `threshold`: probability for a list decoder,
    network units for DeepSTORM3D weights; None takes 0.5, or that of the weights' settings.
    `gain_adu_per_photon` and `offset_adu` replace the run's camera, as does the path of a `camera`.toml for both
    at once. `batch` frames go through a list decoder at a time, on each device. `tile_px` cuts large frames; None
    chooses a side that keeps memory near 2 GB. `model_config` belongs to weights. What `chunk_frames` frames gave is
    kept if the job is stopped. `method` "decoder" reads with a network, "classical" detects and fits with the PSF of
    `model` (the default for a psf.npz and for "gaussian"), "polish" fits behind the network, with the PSF of the run or
    of the file `psf`; `classical` says how.
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
    method: Literal["", "decoder", "classical", "polish"] = ""
    psf: str = ""
    classical: ClassicalConfig = ClassicalConfig()

    def __post_init__(self):
        for name in ("batch", "chunk_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1 frame")
        if self.camera and not (self.gain_adu_per_photon is self.offset_adu is None):
            raise ConfigError(f"camera = {self.camera} brings its own gain and offset; leave those out")
        if self.psf and self.method != "polish":
            raise ConfigError(f"psf = {self.psf} is for method polish; the classical method takes its PSF as the model")
        if self.tile_px is not None and self.tile_px < 1:
            raise ConfigError(f"tile_px = {self.tile_px} must be positive")


def parse_share(text: str) -> Share:
    """Read a member of a job array as the command line writes it. Raises `ConfigError`.

    >>> parse_share("2/8")
    Share(number=2, of=8)
    """
    parts = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if parts is None:
        raise ConfigError(f"{text!r} is not a share; write i/n, such as 1/4 ... 4/4")
    return Share(int(parts[1]), int(parts[2]))


@dataclass(frozen=True)
class LocalizeResult:
    """What a finished job wrote: `rows` localizations of `frames` frames at `path`, in `seconds`.

    With a share of the work, `path` is the folder of parts. `tally` is what the reader counted on its way.
    """

    path: Path
    frames: int
    rows: int
    seconds: float
    tally: Counter[str] = field(default_factory=Counter)


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
    share: Share | None = None,
    report: Callable[[dict[str, Any]], None] = lambda event: None,
) -> LocalizeResult:
    """Localize a movie with a trained model into a table, whose kind the suffix of `out` says.

    `movie` is what `localization.open_movie` reads, `model` a run's folder or a file of DeepSTORM3D weights. Frames
    are read as they are needed, so a movie may be larger than memory. What is done lies in `out`.parts, a file a chunk
    of frames; the table appears under its name when it is whole. After an error, Ctrl-C or a kill the same call goes
    on from there and gives the same bytes; so do the shares of a job array, each with its `share`, then
    `Parts.find(out).merge()`.

    `report` receives {"event": "start", "model", "frames", ...}, then {"event": "frames", "done", "total",
    "found", "seconds"} after every batch, then {"event": "end", "path", "frames", "rows", "seconds"}.

    Raises `ConfigError`, `CheckpointError`, `NetsError` or `LocalizationError`, each with one line that says
    what, where and what to do; a movie that the model cannot read is refused before the first frame.

    >>> localize("movie.tif", "no-such-run", "locs.csv")
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-run: no such run or file of weights; check the name
    """
    return localize_with(make_reader(Path(model), config), movie, out, config, share=share, report=report)


def make_reader(model: Path, config: LocalizeConfig) -> Reader:
    """The reader that a configuration asks for. Raises as `localize` does."""
    from experiments.reading.classical_reader import GAUSSIAN, classical_reader, is_psf, plain_camera, polish_reader
    from experiments.settings import load_camera

    alone = is_psf(model) or (str(model) == GAUSSIAN and not model.exists())
    method = config.method or ("classical" if alone else "decoder")
    if alone and method != "classical":
        raise ConfigError(f"{model} is a PSF, not a network: it cannot be read with method {method}")
    camera = None
    if method != "decoder":
        named = plain_camera(config.gain_adu_per_photon, config.offset_adu)
        camera = load_camera(config.camera) if config.camera else named
    settings = config.classical
    if method == "classical":
        if config.threshold is not None:
            settings = replace(settings, threshold_sigma=config.threshold)
        return classical_reader(model, camera, settings)
    counts = model.suffix.lower() == ".npz" and method == "polish"  # a network of counts: the camera is the fits' alone
    gain, offset = (None, None) if counts else (config.gain_adu_per_photon, config.offset_adu)
    if config.camera and not counts:
        gain, offset = photometry(config.camera)
    reader = load_reader(
        model,
        model_config=config.model_config,
        threshold=config.threshold,
        gain_adu_per_photon=gain,
        offset_adu=offset,
        batch=config.batch,
        tile_px=config.tile_px,
    )
    return reader if method == "decoder" else polish_reader(reader, model, config.psf, camera, settings)


def localize_with(
    reader: Reader,
    movie: Path | str,
    out: Path | str,
    config: LocalizeConfig = LocalizeConfig(),
    *,
    share: Share | None = None,
    report: Callable[[dict[str, Any]], None] = lambda event: None,
) -> LocalizeResult:
    """`localize` with a reader that is there already: of `config` only frames, rows, columns and chunks count."""
    started, out = time.perf_counter(), Path(out)
    with open_movie(movie, min_size_px=reader.min_frame_px) as opened:
        cut = [
            _part("frames", config.frames, opened.shape[0], 1),
            _part("rows", config.rows, opened.shape[1], reader.min_frame_px),
            _part("columns", config.columns, opened.shape[2], reader.min_frame_px),
        ]
        identity = {
            "movie": movie_identity(opened),
            "part": dict(zip(("frames", "rows", "columns"), map(list, cut), strict=True)),
            "model": reader.identity,
            "pixel_um": reader.pixel_um,
            "versions": {name: version(name) for name in ("colocus", "jax", "numpy")} | {"on": jax.default_backend()},
        }
        parts = Parts.begin(out, Job(identity, spans(*cut[0], config.chunk_frames)))
        missing = parts.missing()
        mine = missing if share is None else [k for k in share.pick(len(parts.job.spans)) if k in set(missing)]
        total = sum(stop - first for first, stop in (parts.job.spans[k] for k in mine))
        report({"event": "start", "model": reader.description, "movie": str(movie), "frames": total})
        done, found, tally = 0, 0, Counter[str]()
        try:
            for index in mine:
                tables, counted = [], Counter[str]()
                for n, locs in _read(opened, reader, parts.job.spans[index], cut, counted):
                    tables.append(locs)
                    done, found = done + n, found + locs.frame.size
                    seconds = time.perf_counter() - started
                    report({"event": "frames", "done": done, "total": total, "found": found, "seconds": seconds})
                parts.write(index, concatenate(tables), counted)
                tally += counted
        except BaseException:
            if share is None:
                parts.abandon()
            raise
    path, frames = (out, cut[0][1] - cut[0][0]) if share is None else (parts.folder, total)
    if share is None:
        found, tally = parts.merge()
    result = LocalizeResult(path, frames, found, time.perf_counter() - started, tally)
    report({"event": "end", "path": str(path), "frames": frames, "rows": found, "seconds": result.seconds})
    return result


def _read(
    movie: Movie, reader: Reader, span: tuple[int, int], cut: list[tuple[int, int]], tally: Counter[str]
) -> Iterator[tuple[int, Localizations]]:
    """A chunk, group by group, while the next frames are read from the disk: frames done, and their list."""
    (_, rows, columns), (first, stop) = cut, span

    # of large frames fewer at a time: two groups of them are in memory
    group = min(reader.group, max(1, GROUP_PX // ((rows[1] - rows[0]) * (columns[1] - columns[0]))))

    def load(begin: int) -> tuple[np.ndarray, int, int]:
        end = min(begin + group, stop)
        # neighbours in time beyond the chunk, and beyond the part that was asked for, are what the movie has there
        low, high = max(begin - reader.context, 0), min(end + reader.context, movie.shape[0])
        return movie.read(low, high, rows=rows, columns=columns), begin - low, high - end

    begins = range(first, stop, group)
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(load, first)
        for begin in begins:
            counts, before, after = coming.result()
            if begin != begins[-1]:
                coming = ahead.submit(load, begin + group)
            locs = reader.read(counts, begin, before, after, (columns[0], rows[0]))
            tally += reader.take_tally()
            yield len(counts) - before - after, _shifted(locs, columns[0] * reader.pixel_um, rows[0] * reader.pixel_um)


def movie_identity(movie: Movie) -> dict[str, Any]:
    """What tells a movie from another without reading it: name, size and time of its file, shape and type."""
    path = movie.path.resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    newest, size = max(stat.st_mtime_ns for stat in stats), sum(stat.st_size for stat in stats)
    return {
        "path": str(path),
        "files": len(files),
        "bytes": size,
        "modified_ns": newest,
        "shape": list(movie.shape),
        "type": str(movie.dtype),
    }


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


def _shifted(locs: Localizations, x_um: float, y_um: float) -> Localizations:
    return replace(locs, x_um=locs.x_um + x_um, y_um=locs.y_um + y_um)
