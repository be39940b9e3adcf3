"""The methods of `localize`: which reader a model gets, one table of method and kind of model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.autods.patchwise import PatchwiseReader
from experiments.reading.autods.reader import AutoDsReader
from experiments.reading.cameras import one_camera, plain_camera, with_photometry
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.fit_readers import (
    classical_reader,
    colour_reader,
    decoder_joint_reader,
    joint_reader,
    of_one_colour,
    planes_reader,
    species_reader,
)
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.readers import Model, Reader, Reading, describe, run_reader, weights_reader
from experiments.settings import load_camera
from optics import Camera, make_camera
from training import ConfigError

# of a decoder's usual threshold, where a joint fit follows: a wrong proposal costs as much time as a missing one, and
# the fit's own test, not the decoder, decides what stays
PROPOSING = 0.4


def make_reader(model: Path | str, config: LocalizeConfig) -> Reader:
    """Make the reader that a configuration asks for. Raises as `localize` does."""
    named = describe(Path(model))
    method = config.method or ("colour" if config.species else DEFAULTS.get(named.kind, "decoder"))
    if (method, named.kind) not in READERS:
        if "autods" in (method, named.kind):
            raise ConfigError(f"{model} with method {method}: the shipped networks are --model autods --method autods")
        if method == "patchwise":
            raise ConfigError(f"{model}: method patchwise reads spots in focus: --model gaussian")
        if named.kind == "planes":
            raise ConfigError(f"{model} is a PSF of several planes, not for method {method}; read it with joint")
        if method in ("classical", "joint"):
            raise ConfigError(
                f"{model}: no PSF (psf.npz of colocus retrieve), run's folder, or 'gaussian'; check the name"
            )
        raise ConfigError(f"{model} is a PSF, not a network: it cannot be read with method {method}")
    if config.classical.field and method != "joint":
        raise ConfigError(f"field = {config.classical.field}: a PSF that changes over the field wants --method joint")
    return READERS[method, named.kind](named, config)


def _autods(model: Model, config: LocalizeConfig) -> Reader:
    return AutoDsReader(config.autods, config.threshold)


def _patchwise(model: Model, config: LocalizeConfig) -> Reader:
    """Fits and shipped networks; a threshold is one of fits, in standard deviations."""
    fits = {"classical": _fits(model, config), "joint": _joint(model, config)}
    pixel_um = fits["joint"].pixel_um
    networks = AutoDsConfig(pixel_um=pixel_um, sigma_um=config.classical.gaussian_sigma_um)
    return PatchwiseReader(AutoDsReader(networks), fits)


def _network(model: Model, config: LocalizeConfig, share: float = 1.0) -> Reader:
    camera = _network_camera(config, lambda: model.trained.camera)
    reading = Reading(config.threshold, camera, config.batch, config.tile_px, share)
    return run_reader(model, reading, config.model_config)


def _weights(model: Model, config: LocalizeConfig) -> Reader:
    reading = Reading(config.threshold, _network_camera(config, make_camera), tile_px=config.tile_px)
    return weights_reader(model, reading, config.model_config)


def _fits(model: Model, config: LocalizeConfig) -> Reader:
    return classical_reader(model, _fits_camera(config), _enough(config))


def _joint(model: Model, config: LocalizeConfig) -> Reader:
    if config.species:
        models = _several(config)
        fits = config.classical
        planes = config.planes or fits.plane_map or fits.plane_shares or of_one_colour(models)
        return (planes_reader if planes else species_reader)(models, _fits_camera(config), _enough(config))
    return joint_reader(model, _fits_camera(config), _enough(config))


def _planes(model: Model, config: LocalizeConfig) -> Reader:
    return planes_reader([model], _fits_camera(config), _enough(config))


def _colour(model: Model, config: LocalizeConfig) -> Reader:
    return colour_reader(_several(config), _fits_camera(config), _enough(config))


def _several(config: LocalizeConfig) -> list[Model]:
    models = [describe(Path(path)) for path in config.species]
    if wrong := [model.path for model in models if model.kind != "psf"]:
        raise ConfigError(f"{wrong[0]}: no PSF; species and planes are read with a calibrated PSF each")
    return models


def _enough(config: LocalizeConfig) -> ClassicalConfig:
    """The settings of fits, with the threshold that was asked for."""
    if config.threshold is None:
        return config.classical
    return replace(config.classical, threshold_sigma=config.threshold)


def _joint_behind_run(model: Model, config: LocalizeConfig) -> Reader:
    decoder = _network(model, config, PROPOSING)
    return decoder_joint_reader(decoder, model, config.psf, _fits_camera(config), config.classical)


def _joint_behind_weights(model: Model, config: LocalizeConfig) -> Reader:
    # a network of counts: the camera is the fits' alone
    reading = Reading(config.threshold, tile_px=config.tile_px, threshold_share=PROPOSING)
    decoder = weights_reader(model, reading, config.model_config)
    return decoder_joint_reader(decoder, model, config.psf, _fits_camera(config), config.classical)


def _fits_camera(config: LocalizeConfig) -> Camera | None:
    """The camera of fits, which may have maps; None takes the run's."""
    if config.camera:
        return load_camera(config.camera)
    return plain_camera(config.gain_adu_per_photon, config.offset_adu)


def _network_camera(config: LocalizeConfig, own: Callable[[], Camera]) -> Camera | None:
    """The camera that a network's frames are converted with, where one is named, or its gain or offset."""
    if config.camera:
        return one_camera(config.camera)
    if config.gain_adu_per_photon is config.offset_adu is None:
        return None
    return with_photometry(own(), config.gain_adu_per_photon, config.offset_adu)


READERS: dict[tuple[str, str], Callable[[Model, LocalizeConfig], Reader]] = {
    ("decoder", "run"): _network,
    ("decoder", "weights"): _weights,
    ("classical", "run"): _fits,
    ("classical", "psf"): _fits,
    ("classical", "gaussian"): _fits,
    ("joint", "run"): _joint,
    ("joint", "psf"): _joint,
    ("joint", "planes"): _planes,
    ("joint", "gaussian"): _joint,
    ("decoder+joint", "run"): _joint_behind_run,
    ("decoder+joint", "weights"): _joint_behind_weights,
    ("autods", "autods"): _autods,
    ("colour", "psf"): _colour,
    ("patchwise", "gaussian"): _patchwise,
}
DEFAULTS = {"psf": "classical", "planes": "joint", "gaussian": "classical", "autods": "autods"}
