"""A plate's heights and an SLM's pictures on disk: what a workshop, a panel's driver and MATLAB read, and back."""

import io
import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.io
import tifffile
from PIL import Image

from optics.masks.dispersion import Dispersion, path_per_height
from optics.masks.fabrication import EtchedMask, etched_mask
from optics.whole_file import write_bytes
from training import ConfigError

HEIGHT_SUFFIXES = (".tif", ".csv", ".mat")
_FORMAT = "colocus-height-1"


def write_height(path: Path, plate: EtchedMask, optics: dict[str, float]) -> None:
    """Write a plate's heights as .tif (float32, um, pitch in the resolution tags), .csv (nm) or .mat, by suffix.

    Each carries the numbers that `read_height` needs: pitch, width, wavelength, wrapping, the glass. The .mat holds
    plain variables, `phase_rad`, `height_um`, `level`, `pitch_um` and `optics` (na, focal_length_um, ...) among them;
    as a mask, `optics.masks.load(path, variable="phase_rad", wrapped=True, ...)` reads it.
    """
    height = np.asarray(plate.height_um, dtype=float)
    numbers = _numbers(plate)
    match path.suffix.lower():
        case ".tif":
            write_bytes(path, _tiff(height, numbers))
        case ".csv":
            lines = [f"# heights in nm, row 0 at the top; {json.dumps(numbers)}"]
            lines += [",".join(f"{1e3 * value:.5f}" for value in row) for row in height]
            write_bytes(path, ("\n".join(lines) + "\n").encode())
        case ".mat":
            mask = etched_mask(plate)
            phase = 2 * np.pi / float(mask.design_wavelength_um) * np.asarray(mask.opd_um, dtype=float)
            buffer = io.BytesIO()
            variables = {
                "phase_rad": phase,
                "height_um": height,
                "level": np.asarray(plate.level, dtype=float),
                "transmission": np.asarray(plate.transmission, dtype=float),
                **{f"{name}": value for name, value in numbers.items() if value is not None},
                **optics,
            }
            scipy.io.savemat(buffer, variables, do_compression=True)
            write_bytes(path, buffer.getvalue())
        case _:
            raise ConfigError(f"{path}: heights are {', '.join(HEIGHT_SUFFIXES)}")


def _numbers(plate: EtchedMask) -> dict[str, Any]:
    glass = plate.dispersion
    return {
        "format": _FORMAT,
        "design_wavelength_um": float(plate.design_wavelength_um),
        "half_width": float(plate.half_width),
        "pitch_um": None if plate.pitch_um is None else float(plate.pitch_um),
        "wrapped": bool(plate.wrapped),
        "path_per_height": float(path_per_height(glass, plate.design_wavelength_um)),
        "n_medium": float(glass.n_medium),
        "glass": glass.kind,
        "glass_numbers": np.asarray(glass.numbers, dtype=float).tolist(),
        "glass_range_um": [float(glass.low_um), float(glass.high_um)],
    }


def _tiff(height: np.ndarray, numbers: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pitch = numbers["pitch_um"]
    tags: dict[str, Any] = {}
    if pitch is not None:
        tags = {"resolution": (1e4 / pitch, 1e4 / pitch), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        buffer,
        height.astype(np.float32),
        photometric="minisblack",
        description=json.dumps({"unit": "um", **numbers}),
        metadata=None,
        **tags,
    )
    return buffer.getvalue()


def read_height(path: Path | str) -> EtchedMask:
    """The plate in a file of `write_height`. Raises `ConfigError` for any other file.

    The transmission comes back from a .mat alone; a .tif or .csv is of a clear plate.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        match path.suffix.lower():
            case ".tif":
                with tifffile.TiffFile(path) as file:
                    height = file.asarray().astype(float)
                    numbers = json.loads(file.pages.first.description)
            case ".csv":
                head, _, body = path.read_text().partition("\n")
                numbers = json.loads(head[head.index("{") :])
                height = np.loadtxt(io.StringIO(body), delimiter=",", ndmin=2) * 1e-3
            case ".mat":
                held = scipy.io.loadmat(path, simplify_cells=True)
                numbers, height = held, np.asarray(held["height_um"], dtype=float)
            case _:
                raise ConfigError(f"{path}: heights are {', '.join(HEIGHT_SUFFIXES)}")
        if numbers["format"] != _FORMAT:
            raise KeyError("format")
        return _plate(height, numbers)
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, tifffile.TiffFileError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not a height map that `colocus fabricate` wrote ({error!r})") from error


def _plate(height: np.ndarray, numbers: dict[str, Any]) -> EtchedMask:
    def leaf(value: Any) -> Any:
        return jnp.asarray(value, dtype=float)

    low, high = numbers["glass_range_um"]
    glass = Dispersion(
        leaf(numbers["glass_numbers"]), leaf(numbers["n_medium"]), leaf(low), leaf(high), numbers["glass"]
    )
    pitch = numbers.get("pitch_um")
    heights, level = np.unique(height, return_inverse=True)
    return EtchedMask(
        height_um=leaf(height),
        level=jnp.asarray(
            numbers.get("level", level.reshape(height.shape) if heights.size <= 256 else -np.ones(height.shape))
        ).astype(int),
        transmission=leaf(numbers.get("transmission", np.ones(height.shape))),
        half_width=leaf(numbers["half_width"]),
        design_wavelength_um=leaf(numbers["design_wavelength_um"]),
        dispersion=glass,
        pitch_um=None if pitch is None else leaf(pitch),
        wrapped=bool(numbers["wrapped"]),
    )


def write_levels(path: Path, plate: EtchedMask) -> None:
    """Write which etched level each cell has, as an 8- or 16-bit grey PNG: the picture that a writer of masks takes."""
    level = np.asarray(plate.level)
    if level.min() < 0:
        raise ConfigError(f"{path}: the plate is not quantised, so that it has no levels")
    wide = level.max() > 255
    _write_image(path, level.astype(np.uint16 if wide else np.uint8))


def write_picture(path: Path, grey: np.ndarray) -> None:
    """Write an SLM's picture (rows, columns), uint8, as an 8-bit grey .png or .bmp."""
    _write_image(path, np.asarray(grey, dtype=np.uint8))


def _write_image(path: Path, grey: np.ndarray) -> None:
    kinds = {".png": "PNG", ".bmp": "BMP"}
    if path.suffix.lower() not in kinds:
        raise ConfigError(f"{path}: pictures are .png or .bmp")
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format=kinds[path.suffix.lower()])
    write_bytes(path, buffer.getvalue())


def read_picture(path: Path | str) -> np.ndarray:
    """An 8-bit grey picture (rows, columns), uint8: .png or .bmp, palettes of greys included.

    Raises `ConfigError` for a file that is missing or unreadable, or holds colours or more bits.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            if image.mode == "P" or image.mode == "RGB":
                colours = np.asarray(image.convert("RGB"))
                if (colours != colours[..., :1]).any():
                    raise ConfigError(f"{path}: a colour picture; give 8-bit grey levels")
                return colours[..., 0].copy()
            if image.mode not in ("L", "1"):
                raise ConfigError(f"{path}: a picture of mode {image.mode}; give 8-bit grey levels")
            return np.asarray(image.convert("L"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, SyntaxError) as error:
        raise ConfigError(f"{path}: not a picture that can be read ({error})") from error


def read_correction_rad(path: Path | str, grey_per_2pi: float) -> np.ndarray:
    """An SLM's flatness correction in radians: a vendor's grey picture, or phases in a .npy or .csv.

    `grey_per_2pi` is the grey that the vendor's picture counts as 2 pi at the wavelength in use.
    """
    path = Path(path)
    if path.suffix.lower() in (".png", ".bmp"):
        return read_picture(path) * (2 * math.pi / grey_per_2pi)
    return read_numbers(path)


def read_numbers(path: Path | str) -> np.ndarray:
    """The numbers in a .npy, or in text with commas or blanks between them, # before comments; 2-D.

    Raises `ConfigError` for a file that is missing or holds anything else.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            numbers = np.load(path, allow_pickle=False)
        else:
            text = path.read_text().replace(",", " ").replace(";", " ")
            numbers = np.loadtxt(io.StringIO(text), ndmin=2)
        numbers = np.asarray(numbers, dtype=float)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a table of numbers ({error})") from error
    if numbers.size == 0 or not np.isfinite(numbers).all():
        raise ConfigError(f"{path}: holds no numbers, or NaN or Inf")
    return np.atleast_2d(numbers)


def read_lut_rad(path: Path | str) -> np.ndarray:
    """An SLM's look-up table: 256 rows of phase in radians, or of grey and phase, in any order of greys."""
    numbers = read_numbers(path)
    if numbers.shape == (1, 256):
        return numbers[0]
    if numbers.shape == (256, 1):
        return numbers[:, 0]
    if numbers.shape == (256, 2) and sorted(numbers[:, 0]) == list(range(256)):
        return numbers[np.argsort(numbers[:, 0]), 1]
    raise ConfigError(f"{path}: of shape {numbers.shape}; a look-up table has 256 rows, phase or grey and phase (rad)")
