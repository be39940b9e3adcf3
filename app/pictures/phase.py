"""A phase mask as a picture: its phase inside the pupil, wrapped, in colours that close in a circle."""

import json
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from app.pictures.png import png
from app.site import Refused

_SIDE_PX = 256
_LARGEST = 1 << 26  # bytes of a snapshot


def phase_png(opd_um: NDArray, wavelength_um: float, half_width: float = 1.0) -> bytes:
    """Draw an optical path (P, P) in um as phase, clear outside the NA; its mean phase, which no camera sees, is 0."""
    x = ((np.arange(_SIDE_PX) + 0.5) / _SIDE_PX * 2 - 1) * min(half_width, 1.0)
    cell = np.clip(((x / half_width + 1) / 2 * len(opd_um)).astype(int), 0, len(opd_um) - 1)
    field = np.exp(2j * np.pi / wavelength_um * np.asarray(opd_um, float)[np.ix_(cell, cell)])
    inside = np.hypot(*np.meshgrid(x, x)) <= 1
    wrapped = np.angle(field * np.conj(field[inside].mean() or 1))
    colour = (255 * colormaps["twilight_shifted"](wrapped / (2 * np.pi) + 0.5)).astype(np.uint8)
    colour[~inside, 3] = 0
    return png(colour)


def snapshot_png(path: Path) -> bytes:
    """Draw a snapshot of a mask that is learned, `masks/step_*.npy` of an arm. Raises `Refused` for what is none."""
    try:
        if path.parent.name != "masks" or path.suffix != ".npy" or path.stat().st_size > _LARGEST:
            raise Refused("no snapshot of a mask")
        config = json.loads((path.parents[1] / "config.json").read_text())
        opd_um = np.load(path, allow_pickle=False)
        if opd_um.ndim != 2 or opd_um.shape[0] != opd_um.shape[1]:
            raise ValueError
        return phase_png(opd_um, float(config["microscope"]["wavelength_um"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        raise Refused("no snapshot of a mask") from None
