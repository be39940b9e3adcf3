"""Where each plane sees an emitter: the maps that `colocus register` found between the planes' own lists."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.registration.transform import Transform
from training import ConfigError


def read_maps(names: str, count: int) -> NDArray[np.float64] | None:
    """Read the maps (C, 2, 3) from x, y (um) in the first plane to those in each; None where none is named.

    `names` are files FILE_register.json, a comma between two, one for each plane after the first, whose list was
    registered onto the first's. Raises `ConfigError` for another file, and a map that bends.
    """
    if not names:
        return None
    paths = [Path(name.strip()) for name in names.split(",")]
    if len(paths) != count - 1:
        raise ConfigError(f"plane_map names {len(paths)} maps for {count} planes; give one for each after the first")
    return np.stack([np.eye(2, 3), *(_inverse(path) for path in paths)])


def _inverse(path: Path) -> NDArray[np.float64]:
    """The map (2, 3) from the first list to the second, of the file of the one that lays the second onto the first."""
    if not path.is_file():
        raise ConfigError(f"plane_map = {path}: no such file; colocus register writes FILE_register.json")
    try:
        told = json.loads(path.read_text())["map"]
        amount, centre = (np.asarray(told[name], np.float64) for name in ("amount_um", "centre_um"))
        found = Transform(told["kind"], amount, centre, float(told["half_um"]))
        turn, origin = found.matrix, found.moved(np.zeros((1, 2)))[0]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"plane_map = {path}: not the _register.json of colocus register") from error
    if found.kind == "quadratic":
        raise ConfigError(f"plane_map = {path}: planes need a map without bends; register with --kind affine")
    back = np.linalg.inv(turn)
    return np.asarray(np.column_stack([back, -back @ origin]), np.float64)
