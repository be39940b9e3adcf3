"""The recorded bead stacks of COLOCUS_DATA as `optics.BeadStack`s: which file, which focus, which optics.

Optics are those that each source gives; what is guessed or unknown says so in `note`. Focus grows into the sample.
"""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from optics import Microscope, make_microscope
from optics.retrieval.beads import BeadStack, crop_bead, make_bead_stack
from worlds import DATA

# no licence, or none that allows figures: numbers only
NO_LICENCE = "no licence: numbers only"
EPFL_CROP_PX, EPFL_EVERY = 35, 6


@dataclasses.dataclass(frozen=True)
class BeadSource:
    """A recorded stack: `load` gives its crops (Z, K, K), one or several, and the focus (Z,) in um."""

    load: Callable[[], tuple[list[NDArray], NDArray]]
    optics: dict[str, Any]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    peers: tuple[str, ...] = ()  # names of the stack in the file of the AutoDS3D retrieval, one per crop
    note: str = ""
    why: str = ""  # what the residual is, should the retrieval fall short of its target
    licence: str = NO_LICENCE

    def microscope(self) -> Microscope:
        return make_microscope(**self.optics)

    def stacks(self) -> list[BeadStack]:
        crops, focus_um = self.load()
        return [make_bead_stack(crop, focus_um, self.microscope()) for crop in crops]


def column_um(path: Path, name: str = "nfp_um") -> NDArray:
    with path.open() as file:
        return np.array([float(row[name]) for row in csv.DictReader(file)])


def _file(image: str, focus: str | NDArray) -> Callable[[], tuple[list[NDArray], NDArray]]:
    def load():
        focus_um = column_um(DATA / focus) if isinstance(focus, str) else focus
        return [np.asarray(tifffile.imread(DATA / image), dtype=float)], focus_um

    return load


def epfl_beads() -> tuple[list[NDArray], NDArray]:
    """The four beads of the DH field, every sixth frame, the largest crops inside their round cut-off (25 px)."""
    folder = DATA / "vipr-epfl-dh-beads"
    movie = np.asarray(tifffile.imread(folder / "rows_000-090.tif"), dtype=float)
    with (folder / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    crops, z_um = [], np.zeros(0)
    for bead in sorted({row["bead"] for row in rows}):
        of_bead = [row for row in rows if row["bead"] == bead]
        z_um = np.array([float(row["z_nm"]) for row in of_bead]) / 1000
        row, column = (round(float(of_bead[0][key]) / 100 - 0.5) for key in ("y_nm_in_this_crop", "x_nm"))
        crops.append(crop_bead(movie, (row, column), EPFL_CROP_PX)[::EPFL_EVERY])
    return crops, -z_um[::EPFL_EVERY]


_OIL_1450 = {"na": 1.45, "n_immersion": 1.518, "n_sample": 1.33, "wavelength_um": 0.67, "pixel_um": 0.11}


# What the residual images show where a stack falls short; not proven where it names a cause as possible.
_FOV_END = (
    "The residual lies on the lobes and on the fringes between them, most at the end of the scan: measured lobes reach "
    "further out and fringes have less contrast than one pupil with one Gaussian blur gives. Possible causes that the "
    "model does not have: the emission's bandwidth, and a mask 15 to 30 mm away from the Fourier plane."
)
_WHY = {
    "center": _FOV_END + " It is the brightest of the seven, with the least noise to hide this.",
    "bottomRight": _FOV_END,
    "topRight": "The weakest of the seven: most of what is left is noise; the structure is as in the others.",
}


def _fov() -> dict[str, BeadSource]:
    names = sorted(path.stem for path in (DATA / "fov-tp-beads").glob("*.tif"))
    return {
        f"fov-tp-beads/{name.split('_')[0]}": BeadSource(
            load=_file(f"fov-tp-beads/{name}.tif", np.linspace(-7.5, -3.5, 21)),
            optics=_OIL_1450,
            peers=(f"fov-tp-beads/{name}",),
            why=_WHY.get(name.split("_")[0], _FOV_END),
        )
        for name in names
    }


SOURCES: dict[str, BeadSource] = {
    "autods3d-tetrapod": BeadSource(
        load=_file("autods3d-tetrapod/bead_zstack.tif", "autods3d-tetrapod/bead_zstack_nfp_um.csv"),
        optics=_OIL_1450,
        peers=("autods3d-tetrapod",),
    ),
    "autods3d-laminb1-dh": BeadSource(
        load=_file("autods3d-laminb1-dh/bead_zscan.tif", "autods3d-laminb1-dh/bead_zscan_nfp_um.csv"),
        optics={**_OIL_1450, "na": 1.49, "wavelength_um": 0.58, "pixel_um": 0.159},
        peers=("autods3d-laminb1-dh",),
    ),
    "autods3d-insitu-astig": BeadSource(
        load=_file("autods3d-insitu-astig/bead_zstack.tif", "autods3d-insitu-astig/bead_zstack_nfp_um.csv"),
        optics=_OIL_1450,
        peers=("autods3d-insitu-astig",),
        note="the crop of 15 px cuts the PSF at both ends of the scan: its corners hold light of the bead",
    ),
    "vipr-tp-beads": BeadSource(
        load=_file("vipr-tp-beads/TP_im_80px.tif", "vipr-tp-beads/nfp_um.csv"),
        optics={**_OIL_1450, "wavelength_um": 0.605, "pixel_um": 0.16},
        settings={"polarisation": "y", "bead_diameter_um": 0.046},
        peers=("vipr-tp-beads",),
        note="one polarisation, as the authors state",
        licence="free use with reference to its author: B. Ferdman, VIPR",
    ),
    "vipr-epfl-dh-beads": BeadSource(
        load=epfl_beads,
        optics={**_OIL_1450, "na": 1.49, "pixel_um": 0.1},
        settings={"kind": "scalar"},
        peers=tuple(f"vipr-epfl-dh-beads/bead{b}" for b in (0, 1, 2, 5)),
        why="Shot noise: its makers rendered 30,000 photons a frame at about 13.5 counts each. The rest lies on the "
        "two lobes, in a measured PSF of unknown NA, wavelength and treatment before it was rendered.",
        note="rendered by its makers from one measured PSF with a round cut-off; wavelength and NA are VIPR's guess",
    ),
    "ppg3d-tp-bead": BeadSource(
        load=_file("ppg3d-tp-bead/psf_zstack.tif", "ppg3d-tp-bead/nfp_um.csv"),
        optics={"na": 1.35, "n_immersion": 1.406, "n_sample": 1.406, "wavelength_um": 0.668, "pixel_um": 0.13},
        peers=("ppg3d-tp-bead",),
        note="optics guessed: silicone objective of the same author's other scripts",
    ),
    **_fov(),
    "pyotf-bead": BeadSource(
        load=_file("pyotf-bead/bead_25x128x128.tif", 0.3 * (np.arange(25) - 12.0)),
        optics={"na": 0.85, "n_immersion": 1.0, "n_sample": 1.0, "n_coverslip": 1.0, "wavelength_um": 0.52,
                "pixel_um": 0.13},
        peers=("pyotf-bead",),
        note="the zero of the focus is not recorded: the middle slice",
        licence="Apache-2.0: D. Hoffman, pyOTF",
    ),
}  # fmt: skip
