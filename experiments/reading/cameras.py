"""Which camera turns a movie's counts into photons: the run's own, one in a file, or a gain and an offset."""

import math
from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.settings import load_camera
from localization import LocalizationError
from optics import Camera, adu_to_photons, make_camera
from optics.camera import adu_per_photon
from optics.pytree import replace
from training import ConfigError

_MAPS = ("gain_adu_per_e", "offset_adu", "read_noise_e", "quantum_efficiency")


def one_camera(path: str) -> Camera:
    """Read the camera in a camera.toml, whose numbers hold for all pixels. Raises `ConfigError`."""
    if Path(path).suffix.lower() == ".npz":
        raise ConfigError(f"{path}: a movie is read with one gain and offset; name the camera.toml beside the maps")
    return load_camera(path)


def plain_camera(gain_adu_per_photon: float | None, offset_adu: float | None) -> Camera | None:
    """Make a camera of a gain and an offset; None where neither is given. `ConfigError` for one without the other."""
    if gain_adu_per_photon is None and offset_adu is None:
        return None
    if gain_adu_per_photon is None or offset_adu is None:
        raise ConfigError("fits need gain and offset both: give --gain and --offset, or --camera")
    return make_camera(gain_adu_per_e=gain_adu_per_photon, offset_adu=offset_adu)


def with_photometry(camera: Camera, gain_adu_per_photon: float | None, offset_adu: float | None) -> Camera:
    """Replace what a camera says of counts per photon, or of counts without light. Raises `ConfigError`."""
    if gain_adu_per_photon is None and offset_adu is None:
        return camera
    own_gain, own_offset = photometry(camera)
    gain = own_gain if gain_adu_per_photon is None else gain_adu_per_photon
    offset = own_offset if offset_adu is None else offset_adu
    if not (math.isfinite(gain) and gain > 0):
        raise ConfigError(f"gain = {gain:g} must be positive (counts per photon)")
    if not math.isfinite(offset):
        raise ConfigError(f"offset = {offset:g} must be finite (counts without light)")
    return make_camera(gain_adu_per_e=gain, offset_adu=offset)


def photometry(camera: Camera) -> tuple[float, float]:
    """Return counts per photon, and counts without light, spurious charge included, as they were written.

    >>> photometry(make_camera(gain_adu_per_e=0.37, offset_adu=100.1, quantum_efficiency=0.5))
    (0.185, 100.1)
    """
    # the shortest decimal of a number in single precision is the one that it was made of
    plain = jax.tree.map(lambda leaf: float(str(np.asarray(leaf)[()])), camera)
    dark = plain.offset_adu + plain.gain_adu_per_e * plain.em_gain * plain.spurious_e
    return float(adu_per_photon(plain)), dark


def to_photons(camera: Camera, counts: NDArray) -> NDArray:
    """Convert counts to photons per pixel in single precision, as networks take them."""
    return np.asarray(adu_to_photons(camera, counts), np.float32)


def camera_part(camera: Camera, origin_px: tuple[int, int], shape: tuple[int, ...]) -> Camera:
    """Cut the camera's maps to a part of its frames that begins at `origin_px` (column, row)."""
    (column, row), maps = origin_px, {}
    for name in _MAPS:
        whole = np.asarray(getattr(camera, name))
        if whole.ndim == 2:
            maps[name] = whole[row : row + shape[0], column : column + shape[1]]
            if maps[name].shape != tuple(shape):
                raise LocalizationError(
                    f"camera: {name} is a map of {whole.shape[0]} x {whole.shape[1]} px, too small for the frames; "
                    "measure the whole field that the movie shows"
                )
    return replace(camera, **maps)
