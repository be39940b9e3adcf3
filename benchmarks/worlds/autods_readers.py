"""The readers that benchmarks of AutoDS compare: networks, fits, and the choice of the best for each patch."""

from typing import Any

from experiments.reading.autods.choosing import NETWORKS
from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.autods.patchwise import PatchwiseReader
from experiments.reading.autods.reader import AutoDsReader
from experiments.reading.classical import ClassicalReader
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader
from experiments.reading.spots import SpotTable, gaussian_spots
from optics import Camera


def fits_reader(name: str, spots: SpotTable, camera: Camera) -> ClassicalReader | JointReader:
    """Make a reader of fits that keeps to one thread, so that its processor seconds can be compared."""
    config = ClassicalConfig(pixel_um=spots.pixel_um)
    if name == "joint":
        made = joint = JointReader(spots, camera, config, name)
    else:
        made = ClassicalReader(spots, camera, config, name)
        joint = made.joint
    joint.threads = 1
    return made


def reader(name: str, pixel_um: float, sigma_px: float, camera: Camera) -> Any:
    """Make the reader of a name."""
    spots = gaussian_spots(sigma_px * pixel_um, pixel_um)
    if name == "joint":
        return fits_reader("joint", spots, camera)
    # nothing says the wavelength: frames stay as they are
    networks = AutoDsReader(AutoDsConfig(pixel_um=pixel_um, level=int(name.split()[1]) if name in NETWORKS else None))
    if name != "auto":
        return networks
    return PatchwiseReader(networks, {kind: fits_reader(kind, spots, camera) for kind in ("classical", "joint")})
