"""Trained models as readers: what `localize` needs of one, and how a path becomes one."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

import nets
from experiments.reading.cameras import photometry, to_photons
from experiments.reading.network_reader import NetworkReader
from experiments.reading.spots import is_planes, is_psf
from experiments.reading.volume_reader import PUBLISHED, load_volume_config, volume_reader
from localization import Localizations
from optics import Camera, make_camera
from optics.calibrations import is_calibration
from training import ConfigError, Trained, load_trained
from training.decoders import find_kind
from training.decoders import list as list_decoder
from training.decoders.decoder import plain_identity

GAUSSIAN = "gaussian"
AUTODS = "autods"  # what names the shipped Deep-STORM networks


class Reader(Protocol):
    """What `localize` needs of a model.

    `min_frame_px` is the smallest frame side that it can read, `group` the number of frames that it likes to be given,
    a multiple of its `batch`, `context` how many frames before and after them it looks at; `identity` (JSON) all that
    decides its answers.
    """

    min_frame_px: int
    description: str
    pixel_um: float
    group: int
    batch: int
    context: int
    identity: dict[str, Any]

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (before + n + after, H, W), the n in the middle, the first of which is `first_frame`.

        Fewer frames before or after than `context` there are only at the ends of the movie. `origin_px` is the column
        and row of the first pixel in the movie's frames.
        """
        ...

    def take_tally(self) -> Counter[str]:
        """Return what was counted since the last time, such as fits that failed."""
        ...


@dataclass(frozen=True)
class Model:
    """What a path names: the folder of a run, published weights, a calibrated PSF of one plane or of several, Gaussian
    spots, shipped networks."""

    path: Path
    kind: Literal["run", "weights", "psf", "planes", "gaussian", "autods"]

    @cached_property
    def trained(self) -> Trained:
        """The run, read when it is first asked for."""
        return load_trained(run_folder(self.path))


def describe(path: Path) -> Model:
    """Say what a path names. Raises `ConfigError` where it is nothing that can be read with."""
    if path.is_dir():
        return Model(path, "run")
    if is_psf(path) or is_calibration(path):
        return Model(path, "psf")
    if is_planes(path):
        return Model(path, "planes")
    if not path.exists():
        if str(path) == GAUSSIAN:
            return Model(path, "gaussian")
        if str(path) == AUTODS:
            return Model(path, "autods")
        raise ConfigError(f"{path}: no such run or file of weights; check the name")
    if path.suffix.lower() not in nets.WEIGHT_SUFFIXES:
        raise ConfigError(
            f"{path}: neither a run's folder, weights in a {', '.join(nets.WEIGHT_SUFFIXES)}, nor a PSF "
            "(psf.npz, _3dcal.mat of SMAP, .h5 of uiPSF)"
        )
    return Model(path, "weights")


@dataclass(frozen=True)
class Reading:
    """How a network reads; None takes the model's own threshold, camera and size of pieces.

    `threshold_share` of the model's own threshold is taken: below 1 for a list that something else chooses from.
    """

    threshold: float | None = None
    camera: Camera | None = None
    batch: int = 8
    tile_px: int | None = None
    threshold_share: float = 1.0


def load_reader(
    model: Path | str,
    *,
    model_config: str = "",
    threshold: float | None = None,
    camera: Camera | None = None,
    batch: int = 8,
    tile_px: int | None = None,
) -> Reader:
    """Make the reader of a run's folder or of a file of DeepSTORM3D weights.

    Counts become photons by the run's own camera unless a `camera` is given. `model_config` (weights
    only) is a name in `PUBLISHED` or a TOML file, by default the file of the weights' name ending in .toml.
    Raises `ConfigError`, `CheckpointError` or `NetsError`, each in one line, before any long work.

    >>> load_reader("no-such-run")
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-run: no such run or file of weights; check the name
    """
    named, reading = describe(Path(model)), Reading(threshold, camera, batch, tile_px)
    if named.kind == "run":
        return run_reader(named, reading, model_config)
    if named.kind == "weights":
        return weights_reader(named, reading, model_config)
    raise ConfigError(f"{model} is a PSF, not a network: it cannot be read with method decoder")


def run_folder(folder: Path) -> Path:
    """Find the run itself, also where an experiment of one arm and seed is named. Raises `ConfigError`."""
    runs = sorted(path.parent for path in folder.glob("arms/*/config.json"))
    if not runs or (folder / "checkpoints").exists():
        return folder
    if len(runs) == 1:
        return runs[0]
    names = ", ".join(run.name for run in runs)
    raise ConfigError(f"{folder} holds several runs; name one: {folder / 'arms'}/ and {names}")


def run_reader(model: Model, reading: Reading, model_config: str = "") -> NetworkReader:
    """Make the reader of a run, of whatever kind its decoder is."""
    if model_config:
        raise ConfigError(f"--model-config belongs to a file of weights; the run {model.path} has its own")
    return trained_reader(model.trained, reading, str(run_folder(model.path)))


def trained_reader(trained: Trained, reading: Reading = Reading(), name: str = "") -> NetworkReader:
    """Make the reader of a trained run that was read already."""
    run, net = trained.run, trained.net
    decoder = find_kind(run.decoder.kind)
    camera = trained.camera if reading.camera is None else reading.camera
    threshold = reading.threshold
    if threshold is None:
        threshold = reading.threshold_share * decoder.threshold(run) * decoder.full_scale(run)
    return NetworkReader(
        net,
        trained.variables,
        partial(to_photons, camera),
        decoder.tiling(net),
        decoder.read_out(run, run.microscope.pixel_um, threshold, True),
        pixel_um=run.microscope.pixel_um,
        # A network trained on frames smaller than its field has learned to do with their size.
        min_frame_px=min(net.receptive_field_px, run.scene.frame_px),
        identity=decoder.identity(run, threshold, *photometry(camera)),
        batch=reading.batch,
        tile_px=reading.tile_px,
        description=f"{decoder.label} {name}".strip(),
    )


def list_reader(
    net: nets.ListNetConfig, variables: nets.Variables, trained_px: int, reading: Reading = Reading()
) -> NetworkReader:
    """Make the reader of a list decoder without a run, trained on frames of `trained_px` pixels a side."""
    camera = make_camera() if reading.camera is None else reading.camera
    threshold = 0.5 if reading.threshold is None else reading.threshold
    return NetworkReader(
        net,
        variables,
        partial(to_photons, camera),
        list_decoder.tiling(net),
        list_decoder.read_out(None, net.pixel_um, threshold),
        pixel_um=net.pixel_um,
        min_frame_px=min(net.receptive_field_px, trained_px),
        identity=plain_identity(threshold, *photometry(camera)),
        batch=reading.batch,
        tile_px=reading.tile_px,
        description="list decoder",
    )


def weights_reader(model: Model, reading: Reading, model_config: str = "") -> NetworkReader:
    """Make the reader of published weights, with their settings."""
    if reading.camera is not None:
        raise ConfigError(
            f"{model.path}: a DeepSTORM3D network reads counts; leave out gain and offset, its config scales them"
        )
    beside = model.path.with_suffix(".toml")
    if not model_config and not beside.exists():
        raise ConfigError(
            f"{model.path}: the weights do not say their depths and scaling; add {beside.name} beside them, "
            f"or --model-config with a TOML file or one of {', '.join(PUBLISHED)}"
        )
    config = load_volume_config(model_config or beside)
    threshold = reading.threshold_share * config.threshold if reading.threshold is None else reading.threshold
    config = replace(config, threshold=threshold)
    net, variables = nets.load_deepstorm3d(model.path, dilations=config.dilations, scaling=config.scaling)
    return volume_reader(net, variables, config, reading.tile_px, f"DeepSTORM3D network {model.path.name}")
