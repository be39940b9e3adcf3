"""Trained models as readers: camera counts in, localizations out, in pieces where a frame is large."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

import nets
from experiments.tiles import Tile, window_side
from experiments.tiles import tiles as cut
from localization import Localizations, concatenate, volume_peaks
from nets.weights import COMPACT_PSF, LARGE_PSF
from training import ConfigError, MaskConfig, build, from_dict, init_state, load_config, maps_to_localizations
from training.checkpoint import restore

LIST_TILE_PX = 512  # side of a piece for a list decoder: some 130 MB a layer for 8 frames
VOLUME_BYTES = 1e9  # of one frame's volume on the fine grid; larger frames are read in pieces


class Reader(Protocol):
    """What `localize` needs of a model. `min_frame_px` is the smallest frame side that it can read."""

    min_frame_px: int
    description: str
    pixel_um: float

    def read(self, counts: NDArray, first_frame: int) -> Localizations: ...


@dataclass(frozen=True)
class VolumeConfig:
    """What a file of DeepSTORM3D weights does not say about its network.

    Depths in um, `pixel_um` in the sample. "divide" feeds counts / `divide_by_adu`, "min_max" each frame
    stretched to [0, 1]. `threshold` in the network's units (its output ends at `scaling`); `radius` and
    `shift_fine_px` as in `localization.volume_peaks`.
    """

    z_min_um: float
    z_max_um: float
    normalisation: Literal["divide", "min_max"]
    threshold: float
    divide_by_adu: float = 250.0
    pixel_um: float = 0.11
    dilations: tuple[int, ...] = LARGE_PSF
    scaling: float = 800.0
    radius: int = 4
    shift_fine_px: float = 0.0

    def __post_init__(self):
        for name in ("pixel_um", "divide_by_adu", "threshold", "scaling", "radius"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"model config: {name} = {getattr(self, name)} must be positive")
        if not self.z_max_um > self.z_min_um:
            raise ConfigError(f"model config: z_max_um = {self.z_max_um} is not above z_min_um = {self.z_min_um}")


# The published networks (doi 10.1038/s41592-020-0853-5, parameter scripts of its code). Of the three only
# demo 2 wants the shift of two fine pixels that the published read-out adds: see `volume_peaks`.
PUBLISHED: Mapping[str, VolumeConfig] = {
    "demo2": VolumeConfig(0.0, 4.0, "divide", threshold=40.0, shift_fine_px=2.0),
    "demo3": VolumeConfig(2.0, 6.0, "min_max", threshold=80.0),
    "demo5": VolumeConfig(2.0, 6.0, "min_max", threshold=80.0, dilations=COMPACT_PSF),
}


def load_volume_config(name_or_path: str | Path) -> VolumeConfig:
    """Settings of a DeepSTORM3D network: a name in `PUBLISHED` or a TOML file. Raises `ConfigError`.

    >>> load_volume_config("demo2").z_max_um
    4.0
    """
    if str(name_or_path) in PUBLISHED:
        return PUBLISHED[str(name_or_path)]
    path = Path(name_or_path)
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{path}: neither a TOML file that can be read nor one of {', '.join(PUBLISHED)} ({error})"
        ) from error
    for field in fields(VolumeConfig):
        if field.default is MISSING and field.name not in values:
            raise ConfigError(f"{path}: no key {field.name!r}; a network's weights do not tell it, so add it")
    try:
        return from_dict(VolumeConfig, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def load_reader(
    model: Path,
    *,
    model_config: str = "",
    threshold: float | None = None,
    gain_adu_per_photon: float | None = None,
    offset_adu: float | None = None,
    batch: int = 8,
    tile_px: int | None = None,
) -> Reader:
    """The reader of a run's folder or of a file of DeepSTORM3D weights.

    Counts become photons by the run's own camera unless gain and offset are given. `model_config` (weights
    only) is a name in `PUBLISHED` or a TOML file, by default the file of the weights' name ending in .toml.
    Raises `ConfigError`, `CheckpointError` or `NetsError`, each in one line, before any long work.
    """
    if model.is_dir():
        if model_config:
            raise ConfigError(f"--model-config belongs to a file of weights; the run {model} has its own")
        return _list_reader(run_folder(model), threshold, gain_adu_per_photon, offset_adu, batch, tile_px)
    if not model.exists():
        raise ConfigError(f"{model}: no such run or file of weights; check the name")
    if model.suffix.lower() != ".npz":
        raise ConfigError(f"{model}: neither a run's folder nor weights in a .npz; convert a .pkl with numpy.savez")
    if gain_adu_per_photon is not None or offset_adu is not None:
        raise ConfigError(
            f"{model}: a DeepSTORM3D network reads counts; leave out gain and offset, its config scales them"
        )
    beside = model.with_suffix(".toml")
    if not model_config and not beside.exists():
        raise ConfigError(
            f"{model}: the weights do not say their depths and scaling; add {beside.name} beside them, "
            f"or --model-config with a TOML file or one of {', '.join(PUBLISHED)}"
        )
    config = load_volume_config(model_config or beside)
    if threshold is not None:
        config = replace(config, threshold=threshold)
    net, variables = nets.load_deepstorm3d(model, dilations=config.dilations, scaling=config.scaling)
    return VolumeReader(net, variables, config, tile_px, f"DeepSTORM3D network {model.name}")


def run_folder(folder: Path) -> Path:
    """The run itself, also where an experiment of one arm and seed is named. Raises `ConfigError`."""
    runs = sorted(path.parent for path in folder.glob("arms/*/config.json"))
    if not runs or (folder / "checkpoints").exists():
        return folder
    if len(runs) == 1:
        return runs[0]
    names = ", ".join(run.name for run in runs)
    raise ConfigError(f"{folder} holds several runs; name one: {folder / 'arms'}/ and {names}")


def _list_reader(
    folder: Path,
    threshold: float | None,
    gain_adu_per_photon: float | None,
    offset_adu: float | None,
    batch: int,
    tile_px: int | None,
) -> "ListReader":
    run = load_config(folder)
    if run.decoder.kind != "list":
        raise ConfigError(
            f"{folder}: its decoder is of kind {run.decoder.kind!r}; localize reads list decoders "
            "and files of DeepSTORM3D weights"
        )
    # Mask and calibration play no part in reading: without them, a run can be used where their files are not.
    parts = build(replace(run, mask=MaskConfig(), psf=replace(run.psf, calibration="")))
    variables = restore(folder, jax.eval_shape(lambda: init_state(parts))).variables
    camera = run.camera
    own_gain = camera.gain_adu_per_e * (camera.em_gain or 1.0) * camera.quantum_efficiency
    return ListReader(
        parts.net,
        variables,
        run.scene.frame_px,
        threshold=0.5 if threshold is None else threshold,
        gain_adu_per_photon=own_gain if gain_adu_per_photon is None else gain_adu_per_photon,
        offset_adu=camera.offset_adu if offset_adu is None else offset_adu,
        batch=batch,
        tile_px=tile_px,
        description=f"list decoder {folder}",
    )


@partial(jax.jit, static_argnums=0)
def _apply(net: Any, variables: Any, images: jax.Array) -> Any:
    return nets.apply(net, variables, images[..., None], train=False)[0]


class ListReader:
    """A list decoder, and the camera that turns counts into the photons it was trained on."""

    def __init__(
        self,
        net: nets.ListNetConfig,
        variables: nets.Variables,
        trained_px: int,
        *,
        threshold: float = 0.5,
        gain_adu_per_photon: float = 1.0,
        offset_adu: float = 0.0,
        batch: int = 8,
        tile_px: int | None = None,
        description: str = "list decoder",
    ) -> None:
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold = {threshold:g} must be a probability above 0, at most 1")
        if not (math.isfinite(gain_adu_per_photon) and gain_adu_per_photon > 0):
            raise ConfigError(f"gain = {gain_adu_per_photon:g} must be positive (counts per photon)")
        if not math.isfinite(offset_adu):
            raise ConfigError(f"offset = {offset_adu:g} must be finite (counts without light)")
        self.description = description
        field = nets.receptive_field_px(net)
        # A network trained on frames smaller than its field has learned to do with their size.
        self.min_frame_px = min(field, trained_px)
        self.pixel_um = net.pixel_um
        self._net, self._variables, self._threshold, self._batch = net, variables, threshold, batch
        self._gain, self._offset = gain_adu_per_photon, offset_adu
        self._step = 2 if net.half_resolution else 1
        self._halo = -(-(field // 2) // self._step) * self._step
        self._side = window_side(tile_px or LIST_TILE_PX, self._halo, self._step, asked=tile_px is not None)

    def read(self, counts: NDArray, first_frame: int) -> Localizations:
        """Localize counts (n, H, W), n at most the batch; frame numbers begin at `first_frame`."""
        n, height, width = counts.shape
        photons = (counts.astype(np.float32) - self._offset) / self._gain
        # Padding is what the network itself takes for "no frame here": its input's zero.
        whole = [-(-side // self._step) * self._step for side in (height, width)]
        padded = np.full((self._batch, *whole), self._net.input_offset, np.float32)
        padded[:n, :height, :width] = photons
        sides = [min(self._side, side) for side in whole]
        maps: Any = None
        for rows in cut(whole[0], sides[0], self._halo):
            for columns in cut(whole[1], sides[1], self._halo):
                piece = _apply(self._net, self._variables, padded[:, rows.window, columns.window])
                if maps is None:
                    maps = jax.tree.map(
                        lambda leaf: np.empty((self._batch, *whole, *leaf.shape[3:]), leaf.dtype), piece
                    )
                jax.tree.map(partial(_place, rows, columns), maps, piece)
        maps = jax.tree.map(lambda leaf: leaf[:n, :height, :width], maps)
        return maps_to_localizations(maps, self._net.pixel_um, first_frame=first_frame, threshold=self._threshold)


def _place(rows: Tile, columns: Tile, whole: NDArray, piece: jax.Array) -> None:
    whole[:, rows.core, columns.core] = np.asarray(piece)[:, rows.core_in_window, columns.core_in_window]


class VolumeReader:
    """A volumetric network of DeepSTORM3D: one frame at a time, a large one in overlapping pieces."""

    def __init__(
        self,
        net: nets.LocalizationNetConfig,
        variables: nets.Variables,
        config: VolumeConfig,
        tile_px: int | None = None,
        description: str = "DeepSTORM3D network",
    ) -> None:
        self.description = description
        self.min_frame_px = nets.receptive_field_px(net)
        self.pixel_um = config.pixel_um
        self._net, self._variables, self._config = net, variables, config
        # peaks look `radius` fine pixels further than the voxel itself
        self._halo = self.min_frame_px // 2 + 1 + -(-config.radius // net.upsampling)
        fitting = int(math.sqrt(VOLUME_BYTES / (4 * net.depth * net.upsampling**2)))
        self._side = window_side(tile_px or fitting, self._halo, 1, asked=tile_px is not None)

    def normalise(self, frame: NDArray) -> NDArray:
        """Counts (H, W) as the network wants them."""
        frame = frame.astype(np.float32)
        if self._config.normalisation == "divide":
            return frame / self._config.divide_by_adu
        span = frame.max() - frame.min()
        return (frame - frame.min()) / (span if span > 0 else 1.0)  # a flat frame is dark, not NaN

    def read(self, counts: NDArray, first_frame: int) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        frames = [self._read_frame(frame, first_frame + k) for k, frame in enumerate(counts)]
        return concatenate(frames)

    def _read_frame(self, counts: NDArray, number: int) -> Localizations:
        c, up = self._config, self._net.upsampling
        image = self.normalise(counts)
        height, width = image.shape
        side = self._side
        # a frame that is small one way may be longer the other for the same memory
        tall, wide = (side * side // min(other, side) for other in (width, height))
        found = []
        for rows in cut(height, min(height, tall), self._halo):
            for columns in cut(width, min(width, wide), self._halo):
                volume = _apply(self._net, self._variables, image[None, rows.window, columns.window])[0]
                locs = volume_peaks(
                    np.moveaxis(np.asarray(volume), -1, 0),
                    pixel_um=c.pixel_um,
                    z_min_um=c.z_min_um,
                    z_max_um=c.z_max_um,
                    threshold=c.threshold,
                    upsampling=up,
                    radius=c.radius,
                    shift_fine_px=c.shift_fine_px,
                    frame=number,
                    rows=(up * rows.core_in_window.start, up * rows.core_in_window.stop),
                    columns=(up * columns.core_in_window.start, up * columns.core_in_window.stop),
                )
                found.append(
                    replace(
                        locs,
                        x_um=locs.x_um + columns.window.start * c.pixel_um,
                        y_um=locs.y_um + rows.window.start * c.pixel_um,
                    )
                )
        return concatenate(found)
