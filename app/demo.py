"""A small simulated movie to try the page on: molecules that blink on two crossing filaments, in focus."""

from pathlib import Path

import numpy as np
import tifffile
from scipy.special import ndtr

from app.site import UPLOADS, Site

PIXEL_UM, SIDE_PX, SIGMA_UM, GAIN, OFFSET = 0.1, 64, 0.13, 2.0, 100.0
NAME = "simulated filaments.tif"


def write_demo(site: Site, frames: int = 120, seed: int = 5) -> Path:
    """Write the movie into an allowed folder, or find the one that is there. Raises `Refused`."""
    folder = site.writable(UPLOADS)
    path = folder / NAME
    if not path.exists():
        part = path.with_name(".simulated.tif")
        counts = simulate(frames, np.random.default_rng(seed))
        tags = {"spacing": 1.0, "unit": "um"}
        resolution = (1 / PIXEL_UM, 1 / PIXEL_UM)
        tifffile.imwrite(part, counts, imagej=True, resolution=resolution, metadata={**tags, "axes": "TYX"})
        part.rename(path)
    return path


def simulate(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw camera counts (frames, side, side): six molecules a frame of 800 to 2500 photons, background 8."""
    edges = np.arange(SIDE_PX + 1) * PIXEL_UM
    photons = np.full((frames, SIDE_PX, SIDE_PX), 8.0)
    for frame in photons:
        for _ in range(rng.poisson(6)):
            along, which = rng.uniform(0.7, 5.7), rng.integers(2)
            x, y = (along, 1.2 + 0.7 * along) if which else (along, 4.9 - 0.12 * (along - 3) ** 2 - 0.4 * along)
            x, y = rng.normal([x, y], 0.01)
            light = rng.uniform(800, 2500)
            down, across = (np.diff(ndtr((edges - place) / SIGMA_UM)) for place in (y, x))
            frame += light * np.outer(down, across)
    return (OFFSET + GAIN * rng.poisson(photons)).astype(np.uint16)
