"""Trained models as readers: what `localize` needs of one, and how a path becomes one."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import jax
from numpy.typing import NDArray

import nets
from experiments.reading.image_reader import ImageReader
from experiments.reading.list_reader import ListReader, check_photometry
from experiments.reading.volume_reader import PUBLISHED, VolumeConfig, VolumeReader, load_volume_config
from localization import Localizations
from training import ConfigError, MaskConfig, build, init_state, load_config
from training.checkpoint import restore

VOLUME_THRESHOLD = 0.1  # of a volume's full scale; the published networks are read at 0.05 and 0.1


class Reader(Protocol):
    """What `localize` needs of a model.

    `min_frame_px` is the smallest frame side that it can read, `group` the number of frames that it likes to be given,
    `context` how many frames before and after them it looks at; `identity` (JSON) all that decides its answers.
    """

    min_frame_px: int
    description: str
    pixel_um: float
    group: int
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
        """What was counted since the last time, such as fits that failed."""
        ...


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
        return _run_reader(run_folder(model), threshold, gain_adu_per_photon, offset_adu, batch, tile_px)
    if not model.exists():
        raise ConfigError(f"{model}: no such run or file of weights; check the name")
    if model.suffix.lower() not in nets.WEIGHT_SUFFIXES:
        raise ConfigError(f"{model}: neither a run's folder nor weights in a {', '.join(nets.WEIGHT_SUFFIXES)}")
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


def _run_reader(
    folder: Path,
    threshold: float | None,
    gain_adu_per_photon: float | None,
    offset_adu: float | None,
    batch: int,
    tile_px: int | None,
) -> Reader:
    run = load_config(folder)
    # Mask and calibration play no part in reading: without them, a run can be used where their files are not.
    parts = build(replace(run, mask=MaskConfig(), psf=replace(run.psf, calibration="")))
    variables = restore(folder, jax.eval_shape(lambda: init_state(parts))).variables
    camera = run.camera
    own_gain = camera.gain_adu_per_e * (camera.em_gain or 1.0) * camera.quantum_efficiency
    gain = own_gain if gain_adu_per_photon is None else gain_adu_per_photon
    offset = camera.offset_adu if offset_adu is None else offset_adu
    if run.decoder.kind == "list":
        return ListReader(
            parts.net,
            variables,
            run.scene.frame_px,
            threshold=0.5 if threshold is None else threshold,
            gain_adu_per_photon=gain,
            offset_adu=offset,
            batch=batch,
            tile_px=tile_px,
            description=f"list decoder {folder}",
        )
    check_photometry(gain, offset)
    if run.decoder.kind == "image":
        return ImageReader(
            parts,
            variables,
            threshold=0.5 if threshold is None else threshold,
            gain_adu_per_photon=gain,
            offset_adu=offset,
            tile_px=tile_px,
            description=f"Deep-STORM decoder {folder}",
        )
    config = VolumeConfig(
        z_min_um=run.scene.z_min_um,
        z_max_um=run.scene.z_max_um,
        normalisation="photons",
        threshold=VOLUME_THRESHOLD * parts.net.scaling if threshold is None else threshold,
        divide_by_adu=gain,
        offset_adu=offset,
        pixel_um=run.microscope.pixel_um,
        scaling=parts.net.scaling,
        radius=1,  # a voxel is a pixel wide: as far as the published four quarter pixels
    )
    smallest = min(nets.receptive_field_px(parts.net), run.scene.frame_px)
    return VolumeReader(parts.net, variables, config, tile_px, f"volumetric decoder {folder}", smallest)
