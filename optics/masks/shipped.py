"""Designed masks that come with the package, each with the record of how it was made."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from optics.masks.files import load
from optics.types import Microscope, OpticsError, PhaseMask

_FOLDER = resources.files("optics") / "masks" / "designs"
# What a design is tied to: another wavelength or pixel changes its image as it does that of any mask.
_TIED = ("na", "n_immersion", "n_sample")


def shipped_masks() -> list[str]:
    """Names of the designs that come with the package.

    >>> "fisher-4um" in shipped_masks()
    True
    """
    return sorted(item.name.removesuffix(".json") for item in _FOLDER.iterdir() if item.name.endswith(".json"))


def shipped_record(name: str) -> dict[str, Any]:
    """How a shipped mask was made: command, settings, versions, bounds. Raises `OpticsError` for an unknown name.

    >>> shipped_record("fisher-4um")["numbers"]["settings"]["z_max_um"]
    4.0
    """
    if name not in shipped_masks():
        raise OpticsError(f"no shipped mask {name!r}; there are {', '.join(shipped_masks()) or 'none'}")
    return json.loads((_FOLDER / f"{name}.json").read_text())


def shipped_mask(name: str, microscope: Microscope | None = None) -> PhaseMask:
    """A shipped mask. Raises `OpticsError` where it was designed for another objective or sample than `microscope`.

    >>> shipped_mask("fisher-4um").wrapped
    False
    """
    made_for = shipped_record(name)["numbers"]["settings"]["microscope"]
    for field in _TIED if microscope is not None else ():
        asked = float(getattr(microscope, field))
        if abs(asked - made_for[field]) > 1e-6:
            raise OpticsError(
                f"the shipped mask {name!r} was designed for {field} = {made_for[field]:g}, not {asked:g}; "
                "design one for this microscope: colocus design"
            )
    with resources.as_file(_FOLDER / f"{name}.npz") as path:
        return load(Path(path))
