"""The measured map of readers: which one is best at each density and signal to noise.

`python benchmarks/autods_map.py` measures and writes it.
"""

import functools
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.patches.levels import LEVELS

MAP_FILE = Path(str(resources.files("experiments"))) / "reading" / "autods" / "reader_map.json"
FITS = ("classical", "joint")
NETWORKS = tuple(f"level {level}" for level in LEVELS)
ENOUGH = 1.0  # points of efficiency that a reader may lack of the best and be taken for its speed
BEYOND = 1.25  # times the highest ratio of the map from which only fits are taken
AS_QUICK = 1.25  # times the least: clocks tell no more


def best_reader(readers: Mapping[str, Mapping[str, float]]) -> tuple[str, float]:
    """Name the quickest of those within `ENOUGH` of the best, and the efficiency of the best.

    Of those about as quick as that the first in the order given.

    >>> fast, slow = {"efficiency": 70.5, "cpu_s_per_frame": 0.1}, {"efficiency": 71.0, "cpu_s_per_frame": 1.0}
    >>> best_reader({"classical": fast, "joint": slow})
    ('classical', 71.0)
    """
    best = max(found["efficiency"] for found in readers.values())
    good = {name: found["cpu_s_per_frame"] for name, found in readers.items() if found["efficiency"] >= best - ENOUGH}
    return next(name for name, taken in good.items() if taken <= AS_QUICK * min(good.values())), best


@dataclass(frozen=True, eq=False)
class ReaderMap:
    """What each reader reached at densities (D,) per um2 and frame and ratios (S,) of signal to noise.

    `efficiency` and `cpu_s_per_frame` are (D, S) by reader.
    """

    density_per_um2: NDArray[np.float64]
    snr: NDArray[np.float64]
    efficiency: dict[str, NDArray[np.float64]]
    cpu_s_per_frame: dict[str, NDArray[np.float64]]

    def at(self, density_per_um2: float, snr: float) -> dict[str, dict[str, float]]:
        """Interpolate between what was measured, in the logarithm of the density; beyond it the border counts."""
        place = np.log(max(density_per_um2, 1e-9))
        down = _weights(np.log(self.density_per_um2), place)
        across = _weights(self.snr, snr)
        tables = {"efficiency": self.efficiency, "cpu_s_per_frame": self.cpu_s_per_frame}
        return {
            name: {key: float(down @ table[name] @ across) for key, table in tables.items()} for name in self.efficiency
        }

    def identity(self) -> str:
        """Return what tells this map from others."""
        tables = (self.efficiency, self.cpu_s_per_frame)
        told = [[name, table[name].tolist()] for table in tables for name in sorted(table)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def choose(self, density_per_um2: float, snr: float, among: Collection[str] = ()) -> str:
        """Name the best reader for a density and a ratio, of those `among` (empty: of all); far above the map, fits.

        >>> load_map().choose(0.1, 8.0) in (*FITS, *NETWORKS)
        True
        """
        if snr > BEYOND * self.snr[-1]:  # networks are known to fail where they were not trained
            among = [name for name in among or self.efficiency if name in FITS]
        found = self.at(density_per_um2, snr)
        return best_reader({name: one for name, one in found.items() if not among or name in among})[0]


def _weights(grid: NDArray[np.float64], value: float) -> NDArray[np.float64]:
    """What each point of a rising grid weighs in a linear interpolation."""
    return np.array([np.interp(value, grid, unit) for unit in np.eye(len(grid))])


@functools.cache
def load_map(path: Path = MAP_FILE) -> ReaderMap:
    """Load the measured map."""
    cells = json.loads(path.read_text())["numbers"]["cells"]
    density, snr = (np.unique([cell[name] for cell in cells]) for name in ("density_per_um2", "snr"))
    tables = {
        key: {
            name: np.array([cell["readers"][name][key] for cell in cells]).reshape(len(density), len(snr))
            for name in cells[0]["readers"]
        }
        for key in ("efficiency", "cpu_s_per_frame")
    }
    return ReaderMap(density, snr, **tables)
