"""Cut crops of a movie in photons, for a generator to learn from: numpy in, numpy out."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from localization import MovieFacts, MovieOptions, compare_facts, open_movie
from localization.camera.frame_noise import estimate_frame_noise, is_stretched
from localization.camera.photometry import estimate_gain_offset
from localization.types import LocalizationError
from optics import adu_to_photons, make_camera
from training.config import CameraConfig
from training.generator.config import GeneratorConfig, has_camera
from training.settings import ConfigError

_SUCCESSIVE = 8  # least frames whose differences show the noise
_CAMERA_FRAMES = 48  # that the camera is estimated from
_SATURATED = 1e-3  # share of pixels at the largest value from which frames are saturated
_LEAST_CROPS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Crops:
    """Squares of a movie in photons: `fit` (F, P, P) and `held_out` (G, P, P) from other frames, float32.

    `fit_at` (F, 3) and `held_out_at` (G, 3) have the frame, row and column where each begins. `camera` describes the
    noise of the crops; `notes` are lines on how it was found and what was left out.
    """

    fit: NDArray[np.float32]
    held_out: NDArray[np.float32]
    fit_at: NDArray[np.int64]
    held_out_at: NDArray[np.int64]
    camera: CameraConfig
    notes: tuple[str, ...]


class _Frames(Protocol):
    shape: tuple[int, int, int]
    notes: tuple[str, ...]
    facts: MovieFacts

    def read(self, start: int, stop: int, *, rows: Any = None, columns: Any = None) -> NDArray: ...


class _Array:
    """An array (frames, height, width) with the interface of a movie."""

    notes: tuple[str, ...] = ()
    facts = MovieFacts()

    def __init__(self, frames: NDArray):
        if frames.ndim != 3 or 0 in frames.shape:
            raise LocalizationError(f"the movie has shape {frames.shape}; pass (frames, height, width)")
        self._frames = frames
        self.shape = (frames.shape[0], frames.shape[1], frames.shape[2])

    def read(self, start: int, stop: int, *, rows=None, columns=None) -> NDArray:
        part = self._frames[start:stop, slice(*(rows or (None,))), slice(*(columns or (None,)))]
        return np.asarray(part, np.float32)


@contextmanager
def _opened(movie: Path | str | NDArray, options: MovieOptions) -> Iterator[_Frames]:
    if isinstance(movie, np.ndarray):
        yield _Array(movie)
    else:
        with open_movie(movie, **options.given()) as opened:
            yield opened


def read_crops(config: GeneratorConfig, movie: Path | str | NDArray) -> Crops:
    """Cut crops of a movie (a file that `localization.open_movie` reads, or an array (T, H, W)), chosen by the seed.

    Only the frames that are needed are read. Held-out crops come from frames of their own, or from a band of columns of
    their own in a movie that is too short. Raises `ConfigError` or `LocalizationError` for crops larger than the frame,
    too few frames, frames that are constant, saturated or hold NaN, and a camera that cannot be found.

    >>> rng = np.random.default_rng(0)
    >>> movie = 100 + rng.poisson(np.linspace(20, 60, 40), (12, 40, 40))
    >>> config = GeneratorConfig(crop_px=24, crops=12, camera=CameraConfig(offset_adu=100.0))
    >>> read_crops(config, movie).fit.shape
    (11, 24, 24)
    """
    with _opened(movie, config.opening) as frames:
        differ = compare_facts(frames.facts, MovieFacts(config.microscope.pixel_um), of="the PSF")
        said, (fit_at, held_out_at) = (*frames.notes, *differ), _choose(config, frames.shape)
        side = config.crop_px
        counts = _cut(frames, np.concatenate([fit_at, held_out_at]), side)
        alive, notes = _check_counts(counts, side)
        camera, affine, more = _camera(config, frames, np.unique(np.concatenate([fit_at, held_out_at])[:, 0]))
    at = np.concatenate([fit_at, held_out_at])
    photons = _to_photons(counts, camera, affine, at[:, 0])
    is_fit = np.arange(len(at)) < len(fit_at)
    keep, rest = alive & is_fit, alive & ~is_fit
    if keep.sum() < _LEAST_CROPS:
        raise ConfigError(f"{keep.sum()} crops are left of {len(fit_at)}; at least {_LEAST_CROPS} are needed")
    camera = CameraConfig() if affine is not None else camera
    return Crops(photons[keep], photons[rest], at[keep], at[rest], camera, (*said, *notes, *more))


def _choose(config: GeneratorConfig, shape: tuple[int, int, int]) -> tuple[NDArray, NDArray]:
    """Choose frame, row and column of the crops to fit (F, 3) and of those held out (G, 3)."""
    n_frames, height, width = shape
    side, rng = config.crop_px, np.random.default_rng(config.seed)
    if side > min(height, width):
        raise ConfigError(
            f"crop_px = {side} does not fit into frames of {height} x {width} px; make it {min(height, width)} or less"
        )
    wanted = round(config.held_out * config.crops)
    held_frames = round(config.held_out * n_frames) or (1 if wanted and n_frames >= 4 else 0)
    order = rng.permutation(n_frames)
    if wanted == 0:
        fit = _spread(rng, order, (height, width), side, config.crops)
        return _check_enough(fit, shape, side), np.zeros((0, 3), int)
    if held_frames:
        fit = _spread(rng, order[held_frames:], (height, width), side, config.crops - wanted)
        return _check_enough(fit, shape, side), _spread(rng, order[:held_frames], (height, width), side, wanted)
    band = max(side, round(config.held_out * width))
    if width - band < side:
        raise ConfigError(
            f"{n_frames} frame(s) of {height} x {width} px are too few to hold any out with crop_px = {side}; make "
            f"crop_px {width // 2} or less, give more frames, or set held_out=0"
        )
    fit = _spread(rng, order, (height, width - band), side, config.crops - wanted)
    held_out = _spread(rng, order, (height, band), side, wanted)
    return _check_enough(fit, shape, side), held_out + np.array([0, 0, width - band])


def _check_enough(at: NDArray, shape: tuple[int, int, int], side: int) -> NDArray:
    if len(at) < _LEAST_CROPS:
        raise ConfigError(
            f"{shape[0]} frame(s) of {shape[1]} x {shape[2]} px give {len(at)} crops of {side} px to learn from, fewer "
            f"than {_LEAST_CROPS}; give more frames or make crop_px smaller"
        )
    return at


def _spread(rng: np.random.Generator, frames: NDArray, shape: tuple[int, int], side: int, count: int) -> NDArray:
    """Choose up to `count` crops in frames of `shape`: at most one, anywhere, in each cell of half a crop."""
    cells = [1 + int(2 * (n - side) / side) for n in shape]
    all_cells = np.stack(np.meshgrid(frames, *map(np.arange, cells), indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = rng.permutation(all_cells)[:count]
    free = np.array(shape) - side + 1
    corner = np.floor((chosen[:, 1:] + rng.random((len(chosen), 2))) / cells * free).astype(int)
    at = np.column_stack([chosen[:, 0], corner])
    return at[np.argsort(at[:, 0], kind="stable")]


def _cut(frames: _Frames, at: NDArray, side: int) -> NDArray[np.float32]:
    crops = [frames.read(f, f + 1, rows=(r, r + side), columns=(c, c + side))[0] for f, r, c in at.tolist()]
    return np.stack(crops).astype(np.float32)


def _check_counts(counts: NDArray, side: int) -> tuple[NDArray, list[str]]:
    """Return which crops are not constant, with notes; refuse a movie that cannot be learned from."""
    if not np.isfinite(counts).all():
        raise LocalizationError("the movie holds NaN or Inf; pass what the camera gave")
    alive = counts.max(axis=(1, 2)) > counts.min(axis=(1, 2))
    if np.count_nonzero(alive) < max(1, len(alive) / 2):
        raise LocalizationError(
            f"{np.count_nonzero(~alive)} of {len(alive)} crops are constant: the movie shows nothing there; "
            "check the file, or cut its frames to where the sample is"
        )
    notes = [f"{np.count_nonzero(~alive)} constant crops were left out."] if not alive.all() else []
    # a frame that was stretched to a range has one such pixel anyway, which does not count
    highest = np.maximum((counts == counts.max()).sum(axis=(1, 2)) - 1, 0)[alive]
    share = float(highest.mean() / side**2)
    if share > _SATURATED:
        raise LocalizationError(
            f"{100 * share:.2g} % of the pixels are at the largest value, {counts.max():g}: the frames are saturated; "
            "record them with less light or gain"
        )
    return alive, notes


def _camera(
    config: GeneratorConfig, frames: _Frames, used: NDArray
) -> tuple[CameraConfig, tuple[NDArray, NDArray] | None, list[str]]:
    """Find the movie's camera; or a gain and an offset per frame where each frame was stretched to a range."""
    kind = config.photometry
    if kind == "auto" and has_camera(config):
        kind = "camera"
    if kind == "camera":
        return config.camera, None, []
    chosen = np.unique(used[np.linspace(0, len(used) - 1, min(_CAMERA_FRAMES, len(used))).astype(int)])
    sampled = np.concatenate([frames.read(int(f), int(f) + 1) for f in chosen])
    stretched = is_stretched(sampled)
    if kind == "auto":
        kind = "movie" if frames.shape[0] >= _SUCCESSIVE and not stretched else "frames"
    if kind == "movie":
        first = max(0, (frames.shape[0] - _CAMERA_FRAMES) // 2)
        found = estimate_gain_offset(frames.read(first, min(first + _CAMERA_FRAMES, frames.shape[0])))
        how, error = "between successive frames", found.gain_error
    elif not stretched:
        found = estimate_frame_noise(sampled)
        how, error = "within frames", found.gain_error
    else:
        gain, offset = np.ones(frames.shape[0]), np.zeros(frames.shape[0])
        for f in used.tolist():
            line = estimate_frame_noise(frames.read(f, f + 1))
            gain[f], offset[f] = line.gain_adu_per_photon, line.offset_adu
        note = f"Frames were stretched to one range: photons from each frame's own noise ({len(used)} frames)."
        return CameraConfig(), (gain, offset), [note]
    gain, offset = found.gain_adu_per_photon, found.offset_adu
    note = (
        f"Camera from the noise {how}: {gain:.4g} +- {error:.2g} counts a photon above {offset:.4g}; "
        "where it is known, give it instead (camera.gain_adu_per_e, camera.offset_adu)."
    )
    return CameraConfig(gain_adu_per_e=gain, offset_adu=offset), None, [note]


def _to_photons(
    counts: NDArray, camera: CameraConfig, affine: tuple[NDArray, NDArray] | None, frame: NDArray
) -> NDArray[np.float32]:
    if affine is not None:
        gain, offset = (part[frame][:, None, None] for part in affine)
        return ((counts - offset) / gain).astype(np.float32)
    built = make_camera(**dataclasses.asdict(camera))
    return np.asarray(adu_to_photons(built, counts.astype(np.float64)), np.float32)
