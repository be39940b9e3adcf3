"""The settings of `colocus retrieve`."""

import dataclasses
from collections.abc import Sequence

from experiments.settings import override, read_toml
from localization import MovieOptions
from optics.retrieval.types import RetrievalSettings
from training import CameraConfig, ConfigError, MicroscopeConfig, from_dict


@dataclasses.dataclass(frozen=True)
class RetrieveConfig:
    """The optics, how the pupil is retrieved, and, where it is known, the camera (None: estimated).

    `focus` are the focus positions of the slices: START:STOP:N in um, or a CSV of one a line. `crop_px` finds isolated
    beads in whole fields and crops them, the `beads_max` brightest of each. `opening` says how files are opened.
    """

    microscope: MicroscopeConfig = MicroscopeConfig()
    retrieval: RetrievalSettings = RetrievalSettings()
    camera: CameraConfig | None = None
    focus: str | None = None
    crop_px: int | None = None
    beads_max: int = 4
    opening: MovieOptions = MovieOptions()


def load_config(path: str, assignments: Sequence[str], *, camera: str | None = None) -> RetrieveConfig:
    """Read settings from a TOML file whose [microscope] (or whole) holds the optics. Raises `ConfigError`."""
    values = read_toml(path)
    if not {field.name for field in dataclasses.fields(RetrieveConfig)} & set(values):
        values = {"microscope": values}  # a plain scope.toml
    values = override(values, assignments)
    base = from_dict(RetrieveConfig, values)
    given = values.get("microscope", {})
    needed = [name for name in ("na", "n_immersion", "n_sample", "wavelength_um", "pixel_um") if name not in given]
    if needed:
        raise ConfigError(f"{path}: no {', '.join(needed)}; a retrieval needs the optics as they are, not defaults")
    if "focus_um" not in given:  # beads lie on the coverslip; the focus of a later experiment is its own to state
        base = dataclasses.replace(base, microscope=dataclasses.replace(base.microscope, focus_um=0.0))
    if camera is not None:
        tables = read_toml(camera)
        base = dataclasses.replace(base, camera=from_dict(CameraConfig, tables.get("camera", tables), where="camera"))
    return base
