"""Plates that come with Colocus, learned for colour, each with the record of how it was made."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from optics.colour.design import etched_plate
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import EtchedMask
from optics.masks.files import load
from optics.types import OpticsError

FOLDER = resources.files("optics") / "colour" / "plates"


def shipped_plates() -> list[str]:
    """Names of the plates that come with Colocus.

    >>> "orange-red-2um" in shipped_plates()
    True
    """
    return sorted(item.name.removesuffix(".json") for item in FOLDER.iterdir() if item.name.endswith(".json"))


def plate_record(name: str) -> dict[str, Any]:
    """How a plate was made: command, optics, species, target. Raises `OpticsError` for an unknown name.

    >>> plate_record("orange-red-2um")["numbers"]["species"]
    ['580', '670']
    """
    if name not in shipped_plates():
        raise OpticsError(f"no plate {name!r}; there are {', '.join(shipped_plates()) or 'none'}")
    return json.loads((FOLDER / f"{name}.json").read_text())


def shipped_plate(name: str) -> EtchedMask:
    """A plate that comes with Colocus: heights of fused silica in air, several waves of them.

    Raises `OpticsError` for an unknown name.

    >>> shipped_plate("orange-red-2um").wrapped
    True
    """
    walls = plate_record(name)["numbers"]["walls"]
    with resources.as_file(FOLDER / f"{name}.npz") as path:
        return etched_plate(load(Path(path)), fused_silica(), walls)
