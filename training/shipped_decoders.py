"""Trained Deep-STORM networks that come with Colocus: one for each level of difficulty, with how each was made.

A network is NAME.npz, its variables under their paths, and NAME.json, the record of the run: configuration, command,
versions, scores (`python benchmarks/shipping/deepstorm.py` makes both).
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import nets
from training.config import RunConfig
from training.decoders import find_kind
from training.settings import ConfigError, from_dict

FOLDER = Path(str(resources.files("training"))) / "decoders" / "shipped"


@dataclass(frozen=True, eq=False)
class ShippedDecoder:
    """A network with what it was trained on, and the emitters that a peak must hold where Jaccard is best.

    `sigma_px` is the mean sigma, in camera pixels, of Gaussians fitted to the images it saw.
    """

    name: str
    run: RunConfig
    net: nets.NetConfig
    variables: nets.Variables
    threshold: float
    sigma_px: float


def flatten(variables: nets.Variables, prefix: str = "") -> dict[str, np.ndarray]:
    """Name every array of nested variables by its path.

    >>> flatten({"params": {"density": {"kernel": np.zeros(2)}}})
    {'params/density/kernel': array([0., 0.], dtype=float32)}
    """
    flat: dict[str, np.ndarray] = {}
    for key, value in variables.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, path + "/") if isinstance(value, dict) else {path: np.asarray(value, np.float32)}
    return flat


def unflatten(flat: dict[str, np.ndarray]) -> nets.Variables:
    """Undo `flatten`."""
    variables: nets.Variables = {}
    for path, value in flat.items():
        *folders, name = path.split("/")
        node: dict[str, Any] = variables
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = jnp.asarray(value)
    return variables


def shipped_decoders() -> list[str]:
    """Name the networks that come with the package.

    >>> "deepstorm-1" in shipped_decoders()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.npz"))


def load_shipped_decoder(name: str, folder: Path = FOLDER) -> ShippedDecoder:
    """Load a network that comes with the package. Raises `ConfigError` for an unknown name."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise ConfigError(f"no shipped decoder {name!r}; there are {', '.join(shipped_decoders()) or 'none'}")
    numbers = json.loads(path.with_suffix(".json").read_text())["numbers"]
    run = from_dict(RunConfig, numbers["run"], saved=True)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        variables = unflatten({key: arrays[key] for key in arrays.files})
    net = find_kind(run.decoder.kind).make_net(run)
    return ShippedDecoder(name, run, net, variables, numbers["threshold"], numbers["spot_sigma_px"]["mean"])
