"""Readers and movies for the benchmarks of a cluster; its workers import them from here."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from localization import make_localizations


class NullReader:
    """Finds one molecule in the first of every group of frames, after `pause_s`: what is left is book-keeping."""

    min_frame_px, description, pixel_um, batch, context = 1, "nothing", 0.1, 1, 0

    def __init__(self, group: int = 200, pause_s: float = 0.0) -> None:
        self.group, self.pause_s, self.identity = group, pause_s, {"group": group}

    def take_tally(self) -> Counter[str]:
        return Counter()

    def read(self, counts, first_frame, before=0, after=0, origin_px=(0, 0)):
        time.sleep(self.pause_s)
        return make_localizations([first_frame], [0.1], [0.1], [0.0])


class NotingReader(NullReader):
    """Appends the number of the first of every group of frames to a file, as it begins to read."""

    def __init__(self, notes: str, group: int, pause_s: float = 0.0) -> None:
        super().__init__(group, pause_s)
        self.notes = notes

    def read(self, counts, first_frame, before=0, after=0, origin_px=(0, 0)):
        with open(self.notes, "a") as file:
            file.write(f"{first_frame}\n")
        return super().read(counts, first_frame, before, after, origin_px)


def small_decoder() -> Any:
    """A list decoder of 8 channels, untrained, of whose pixels few are listed: 7 in a frame of 128 x 128."""
    import jax
    import jax.numpy as jnp

    import nets
    from experiments.reading.readers import Reading, list_reader

    net = nets.ListNetConfig(channels=8, head_channels=8, dilations=(1, 1))
    variables = nets.init(jax.random.key(0), net, jnp.zeros((1, 16, 16, 1)))
    out = variables["params"]["out"]
    out["kernel"] = out["kernel"].at[..., 0].multiply(12.0)
    out["bias"] = out["bias"].at[0].add(-20.0)
    return list_reader(net, variables, 64, Reading(threshold=0.5))


def spots_movie(path: Path, n: int, side: int, spots: int = 20) -> None:
    """A TIFF stack of n frames, 100 different ones over and over: noise with spots."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-4:5, -4:5]
    spot = 400 * np.exp(-(x**2 + y**2) / 4)
    block = rng.poisson(60, (100, side, side)).astype(np.uint16)
    for frame in block:
        for row, column in rng.integers(8, side - 8, (spots, 2)):
            frame[row - 4 : row + 5, column - 4 : column + 5] += rng.poisson(spot).astype(np.uint16)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        parts = (block[k % 100] for k in range(n))
        writer.write(parts, shape=(n, side, side), dtype=np.uint16, photometric="minisblack", contiguous=True)


def empty_movie(path: Path, n: int, side: int) -> None:
    """A .npy of n frames that is a hole in the disk: it reads as zeros."""
    np.lib.format.open_memmap(path, "w+", np.uint16, (n, side, side)).flush()


def peak_memory_gb() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def processor_s() -> float:
    """Processor seconds of this process."""
    return time.process_time()
