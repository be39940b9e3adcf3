"""The scores of a localization list: what each is called in tables and figures, its unit and its decimals."""

import math
from dataclasses import dataclass

from experiments.report.numbers import NM_PER_UM


@dataclass(frozen=True)
class Metric:
    """A score: its `label`, the `unit` that it is shown in ("" for a ratio), and `factor` from files to that unit.

    `needs_z` marks those that a list without depth does not have.
    """

    label: str
    unit: str = ""
    factor: float = 1.0
    decimals: int = 3
    needs_z: bool = False

    @property
    def title(self) -> str:
        """The label with the unit in brackets."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def text(self, value: float | None, form: str = "") -> str:
        """Write a value of files in the metric's unit; "-" where there is none. `form` "+" shows the sign."""
        if value is None or not math.isfinite(value):
            return "-"
        return f"{self.factor * value:{form}.{self.decimals}f}"


def _nm(label: str, *, needs_z: bool = False) -> Metric:
    return Metric(label, "nm", NM_PER_UM, 1, needs_z)


METRICS: dict[str, Metric] = {
    "jaccard": Metric("Jaccard"),
    "precision": Metric("precision"),
    "recall": Metric("recall"),
    "rmse_xy_um": _nm("RMSE lateral"),
    "rmse_z_um": _nm("RMSE axial", needs_z=True),
    "rmse_3d_um": _nm("RMSE 3D", needs_z=True),
    "bias_x_um": _nm("bias x"),
    "bias_y_um": _nm("bias y"),
    "bias_z_um": _nm("bias z", needs_z=True),
    "efficiency_lateral": Metric("efficiency lateral", "%", 1.0, 1),
    "efficiency_axial": Metric("efficiency axial", "%", 1.0, 1, needs_z=True),
    "efficiency_3d": Metric("efficiency 3D", "%", 1.0, 1, needs_z=True),
}
# what reports and curves of a comparison show
CHIEF = ("jaccard", "precision", "recall", "rmse_xy_um", "rmse_z_um")
