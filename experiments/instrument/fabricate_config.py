"""The settings of `colocus fabricate`."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from experiments.instrument.robustness import RobustnessConfig
from training import ConfigError, MaskConfig, MicroscopeConfig, PsfConfig


@dataclass(frozen=True)
class SlmConfig:
    """The panel and how it is mounted; see `optics.slm.Slm`.

    `grey_per_2pi` is the grey level of a full wave at the microscope's wavelength; `lut`, a file of 256 phases, takes
    its place. Whether the phase falls with the grey (`grey_falls`) and whether the light meets the panel mirrored
    (`flip_x`, `flip_y`) is for the instrument to say: left out, rising and not mirrored are assumed, and told.
    `correction` is the vendor's flatness picture (.bmp, .png, in which `correction_grey_per_2pi` is 2 pi; 0: as the
    panel's) or phases in a .npy or .csv.
    """

    rows: int = 1200
    columns: int = 1920
    pitch_um: float = 8.0
    grey_per_2pi: float = 255.0
    lut: str = ""
    correction: str = ""
    correction_grey_per_2pi: float = 0.0
    centre_x_px: float = 0.0
    centre_y_px: float = 0.0
    grating_px: float = 0.0
    grating_deg: float = 0.0
    grey_falls: bool | None = None
    flip_x: bool | None = None
    flip_y: bool | None = None
    quarter_turns: int = 0
    outside: Literal["zero", "grating"] = "zero"


# How a program that drives the panel turns a phase into a grey, for `--for NAME`
PROGRAMS: dict[str, dict[str, Any]] = {
    "slmsuite": {"grey_falls": True, "grey_per_2pi": 256.0},  # 0.5: a uint8 picture; phase 0 is grey 255, or 0
}


def made_for(program: str, slm: SlmConfig) -> SlmConfig:
    """Return the panel with the greys that a program of `PROGRAMS` shows. Raises `ConfigError` where they contradict.

    >>> made_for("slmsuite", SlmConfig()).grey_falls
    True
    """
    if program not in PROGRAMS:
        raise ConfigError(f"--for {program}: there are {', '.join(PROGRAMS)}")
    for name, value in PROGRAMS[program].items():
        given = getattr(slm, name)
        if given not in (value, getattr(SlmConfig(), name)):
            raise ConfigError(f"slm.{name} = {given} contradicts --for {program}, which shows {name} = {value}")
    if slm.lut:
        raise ConfigError(f"slm.lut = {slm.lut!r} contradicts --for {program}, which makes the greys of its own phases")
    return replace(slm, **PROGRAMS[program])


@dataclass(frozen=True)
class EtchConfig:
    """The plate: its cells, its levels and its glass; see `optics.fabrication.etch`.

    `levels` in one wave (0: any height); `depths_um` are the heights that a process can make, instead. `material` is
    "fused_silica" or a table of wavelength (um) and index.
    """

    pitch_um: float = 10.0
    levels: int = 16
    depths_um: tuple[float, ...] = ()
    wrap: bool = True
    material: str = "fused_silica"
    n_medium: float = 1.0


@dataclass(frozen=True)
class FabricateConfig:
    """A mask, the optics that it stands in, and what is made of it.

    `focal_length_um` is that of the 4f system's first lens and `magnification` the objective's: with the NA they give
    the pupil's size on panel and plate. `make` names what to make. The robustness is that of emitters from `z_min_um`
    to `z_max_um` with `psf`.
    """

    microscope: MicroscopeConfig = MicroscopeConfig(focus_um=2.0)
    psf: PsfConfig = PsfConfig()
    mask: MaskConfig = MaskConfig(name="tetrapod", range_um=3.0)
    focal_length_um: float = 150_000.0
    magnification: float = 100.0
    z_min_um: float = 0.0
    z_max_um: float = 3.0
    make: tuple[Literal["slm", "etch", "robustness"], ...] = ("slm", "etch", "robustness")
    slm: SlmConfig = SlmConfig()
    etch: EtchConfig = EtchConfig()
    robustness: RobustnessConfig = RobustnessConfig()

    def __post_init__(self):
        if not self.make:
            raise ConfigError("make must name slm, etch or robustness")
        if not self.z_min_um <= self.z_max_um:
            raise ConfigError(f"z_min_um = {self.z_min_um:g} must not exceed z_max_um = {self.z_max_um:g}")
