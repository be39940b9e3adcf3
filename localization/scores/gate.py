"""The gate: how near a found emitter must be to a true one to count as it."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from localization.types import LocalizationError

MatchMode = Literal["gated", "deepstorm3d"]
# Match radius of the published evaluation code (Nehme et al. 2020, doi 10.1038/s41592-020-0853-5)
DEEPSTORM3D_BALL_UM = 0.1
_NM_PER_UM = 1000.0


@dataclass(frozen=True)
class Gate:
    """How near is near, as `match` takes it: `match(found, truth, **gate)`.

    mode "gated": a cylinder (lateral distance < `lateral_um` and axial distance < `axial_um`), or, when `ball_um` is
    given, a ball (3D distance < `ball_um`); all strict. `axial_um=None` leaves z out, for tables that do not know it;
    the ball is then a disc. mode "deepstorm3d" assigns first and cuts at `ball_um` (0.1 um when None) afterwards.
    Raises LocalizationError for a distance that is not positive and for an unknown mode.

    >>> Gate().name, Gate(ball_um=0.1).name, Gate(0.25, None).name, sorted(dict(**Gate(0.25, None)))
    ('250/500 nm', '100 nm ball', '250 nm', ['axial_um'])
    """

    lateral_um: float = 0.25
    axial_um: float | None = 0.5
    ball_um: float | None = None
    mode: MatchMode = "gated"

    def __post_init__(self):
        if self.mode not in ("gated", "deepstorm3d"):
            raise LocalizationError(f"match: unknown mode {self.mode!r}; use 'gated' or 'deepstorm3d'")
        used = {"lateral_um": self.lateral_um, "axial_um": self.axial_um}
        if self.ball_um is not None or self.mode == "deepstorm3d":
            used = {"ball_um": self.ball_um}
        for name, value_um in used.items():
            if value_um is not None and not (np.isfinite(value_um) and value_um > 0):
                raise LocalizationError(f"match: {name} is {value_um}; give a positive distance in um")

    @property
    def flat(self) -> bool:
        """Whether z is left out."""
        return self.axial_um is None

    @property
    def radius_um(self) -> float:
        """Radius of the ball where there is one, of the cylinder else."""
        if self.ball_um is not None:
            return self.ball_um
        return DEEPSTORM3D_BALL_UM if self.mode == "deepstorm3d" else self.lateral_um

    @property
    def name(self) -> str:
        """What to call it in a table: its sizes in nm."""
        radius = f"{self.radius_um * _NM_PER_UM:g}"
        if self.ball_um is not None or self.mode == "deepstorm3d":
            return f"{radius} nm {'disc' if self.axial_um is None else 'ball'}"
        return f"{radius} nm" if self.axial_um is None else f"{radius}/{self.axial_um * _NM_PER_UM:g} nm"

    def keys(self) -> Iterator[str]:
        """Name the keywords in which this gate differs from the default one."""
        return (field.name for field in fields(self) if getattr(self, field.name) != field.default)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)
