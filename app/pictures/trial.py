"""The frame that a run was tested on: as it is, redrawn, and what is left of it; and what was found in it."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.pictures.png import png, stretched
from app.site import Refused
from experiments.reconstruction.questions import step_folder

KINDS = ("frame", "redrawn", "left")
_GREY = 128
_REACH = 5.0  # standard deviations, from blue to red


def trial_file(run: Path) -> Path:
    """Name the file in which the test step keeps its frame."""
    return run / step_folder("test") / "frame.npz"


@dataclass(frozen=True)
class Spots:
    """What was found in a frame of (height, width): places in px and photons, each (n,).

    Photons are NaN where a network read, which tells none.
    """

    height: int
    width: int
    x_px: NDArray
    y_px: NDArray
    photons: NDArray

    def kept(self, least: float | None) -> NDArray[np.bool_]:
        """Ask of each whether it has so many photons, (n,); all with None. What is not known is no more, as in filters.

        >>> Spots(9, 9, np.zeros(3), np.zeros(3), np.array([5.0, np.nan, 9.0])).kept(6.0).tolist()
        [False, False, True]
        """
        return np.ones(self.photons.size, bool) if least is None else self.photons >= least


def spots(run: Path) -> Spots:
    """Read what was found. Raises `Refused` where the step has not been, or was done before it kept its frame."""
    arrays = _read(run, ("frame", "x_px", "y_px", "photons"))
    height, width = arrays["frame"].shape
    return Spots(height, width, arrays["x_px"], arrays["y_px"], arrays["photons"])


def trial_png(run: Path, kind: str) -> bytes:
    """Draw the frame, it redrawn on the same scale, or what is left, in standard deviations of the noise.

    Where it was not redrawn, as the light there is not known, it is grey.
    """
    if kind not in KINDS:
        raise Refused(f"no picture {kind!r}; there are {', '.join(KINDS)}", 400)
    arrays = _read(run, ("frame", kind))
    if kind == "left":
        from matplotlib import colormaps  # not before it is needed: the first page is quick

        share = np.clip(arrays["left"] / (2 * _REACH) + 0.5, 0, 1)
        pixels = (255 * colormaps["RdBu_r"](share)[..., :3]).astype(np.uint8)
    else:
        low, high = np.quantile(arrays["frame"], [0.01, 0.999])
        pixels = stretched(np.nan_to_num(arrays[kind]), float(low), float(high))
    pixels[np.isnan(arrays[kind])] = _GREY
    return png(pixels)


def _read(run: Path, names: tuple[str, ...]) -> dict[str, NDArray]:
    try:
        # opened here: of a file that is cut off, NumPy would leave it open
        with trial_file(run).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise Refused("no test frame in this folder yet") from None
