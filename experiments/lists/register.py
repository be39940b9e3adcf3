"""`colocus register`: a second colour's list laid onto the first, an overlay of both, and how good the map is."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.lists.render import RenderConfig, brightness, with_bars
from experiments.report.numbers import NM_PER_UM, plain
from experiments.report.plot_style import FIXED_COLOURS, Figure, new_figure, save_png, styled
from localization import Localizations, Registration, concatenate, move, register, table_region_um, to_image, write
from localization.extent import without_far_rows
from localization.registration.transform import Kind
from optics.progress import Event, Report, silent
from optics.whole_file import whole_file, write_text
from training import ConfigError

_ARROW_PART = 0.1  # of the field: the longest arrow of the figure
_SIDE_MAX_PX = 6000  # of the overlay: its pixels grow where the field is larger


@dataclass(frozen=True)
class RegisterConfig:
    """How two colours are registered; see `localization.register`. `pixel_nm` is the overlay's pixel."""

    kind: Kind = "affine"
    search_um: float = 2.0
    pixel_nm: float = 10.0


@dataclass(frozen=True, eq=False)
class TwoColours:
    """The lists of two colours, and lists of beads that both show, where there are any."""

    first: Localizations
    second: Localizations
    beads: tuple[Localizations, Localizations] | None = None


@dataclass(frozen=True, eq=False)
class Registered:
    """The second list on the first, and the map; once written, what the list's format cannot hold."""

    config: RegisterConfig
    colours: TwoColours
    moved: Localizations
    registration: Registration
    lost: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say the map and how far it is to be trusted."""
        found = self.registration
        dx, dy = NM_PER_UM * found.transform.shift_um
        what = "pairs of beads" if found.by == "beads" else "parts of the field"
        lines = [
            f"{self.config.kind} map by {found.by}: shift {dx:.1f}, {dy:.1f} nm (x, y, at the centre), "
            f"turn {found.transform.rotation_deg:.3f} degrees, magnification {found.transform.magnification:.5f}",
            f"residual     {_pair(found.residual_um, found.residual_error_um)}, rms of {len(found.left_um)} {what}",
            f"of the map   {NM_PER_UM * found.error_um:.1f} nm, its standard error over the field",
        ]
        return [*lines, *(f"note: {note}" for note in (*found.notes, *self.lost))]

    def numbers(self) -> dict[str, Any]:
        """List settings, the map, its residual and its errors (nm)."""
        found, transform = self.registration, self.registration.transform
        return plain(
            {
                "settings": dataclasses.asdict(self.config),
                "by": found.by,
                "shift_nm": NM_PER_UM * transform.shift_um,
                "rotation_deg": transform.rotation_deg,
                "magnification": transform.magnification,
                "residual_nm": NM_PER_UM * found.residual_um,
                "residual_error_nm": NM_PER_UM * found.residual_error_um,
                "error_nm": NM_PER_UM * found.error_um,
                "map": {
                    "kind": transform.kind,
                    "amount_um": transform.amount_um,
                    "centre_um": transform.centre_um,
                    "half_um": transform.half_um,
                },
                "control_um": found.control_um,
                "left_nm": NM_PER_UM * found.left_um,
                "diagnostics": found.diagnostics,
                "notes": list(found.notes),
            }
        )

    def overlay(self, *, moved: bool = True) -> tuple[NDArray[np.uint8], float]:
        """Draw both lists (H, W, 3), the first green, the second magenta, both white; and the side of a pixel, um.

        The two are told apart by colour-blind eyes (Wong 2011, doi 10.1038/nmeth.1618).
        """
        first, second = self.colours.first, self.moved if moved else self.colours.second
        near, _ = without_far_rows(concatenate([first, self.moved]), ("x_um", "y_um"))
        span = max(float(np.ptp(near.x_um)), float(np.ptp(near.y_um)))
        pixel_um = max(self.config.pixel_nm / NM_PER_UM, span / _SIDE_MAX_PX)
        region = table_region_um(near, pixel_um)
        default = RenderConfig()
        green, magenta = (
            brightness(to_image(locs, pixel_um, region_um=region), default.saturate, default.gamma)
            for locs in (first, second)
        )
        return (255 * np.stack([magenta, green, magenta], axis=-1)).astype(np.uint8), pixel_um

    def figure(self) -> Figure:
        """Draw the overlay before and after, and what is left as arrows over the field."""
        found = self.registration
        with styled():
            figure = new_figure(10.0, 3.6)
            panels = figure.subplots(1, 3)
            for axes, moved, title in zip(panels, (False, True), ("before", "registered"), strict=False):
                picture, pixel_um = self.overlay(moved=moved)
                step = max(1, max(picture.shape) // 900)
                side_um = (picture.shape[1] * pixel_um, picture.shape[0] * pixel_um)
                axes.imshow(_coarser(picture, step), extent=(0, side_um[0], side_um[1], 0))
                axes.set(title=title, xlabel="µm")
                axes.grid(False)
            arrows = panels[2]
            longest = max(float(np.hypot(*found.left_um.T).max()), 1e-9)
            field_um = max(float(np.ptp(found.control_um, axis=0).max()), 1e-9)
            arrows.quiver(
                *found.control_um.T, *found.left_um.T, angles="xy", scale_units="xy", color=FIXED_COLOURS[0],
                scale=longest / (_ARROW_PART * field_um),
            )  # fmt: skip
            arrows.set(title=f"left over, at most {NM_PER_UM * longest:.0f} nm", xlabel="x (µm)", ylabel="y (µm)")
            arrows.set_aspect("equal")
            arrows.margins(0.15)
            arrows.invert_yaxis()
        return figure

    def write(self, out: Path) -> list[Path]:
        """Write the moved list to `out`, with OUT_overlay.png, OUT_register.png and .json beside it."""
        check_name(out)
        self.lost[:] = write(out, self.moved)
        overlay = out.with_name(f"{out.stem}_overlay.png")
        picture, pixel_um = self.overlay()
        with whole_file(overlay) as part:
            with_bars(picture, pixel_um, words="first green, second magenta").save(part, format="PNG")
        drawn, numbers = (out.with_name(f"{out.stem}_register{suffix}") for suffix in (".png", ".json"))
        save_png(self.figure(), drawn)
        write_text(numbers, json.dumps(self.numbers(), indent=1, allow_nan=False) + "\n")
        return [out, overlay, drawn, numbers]


def register_colours(
    colours: TwoColours, config: RegisterConfig = RegisterConfig(), report: Report = silent
) -> Registered:
    """Lay the second list onto the first: by beads where there are lists of them, by common structures otherwise.

    Raises `LocalizationError` where there is no map to be trusted.

    >>> from localization import make_localizations
    >>> empty = make_localizations([], [], [], [])
    >>> register_colours(TwoColours(empty, empty))
    Traceback (most recent call last):
    localization.types.LocalizationError: ...
    """
    if not config.pixel_nm > 0:
        raise ConfigError(f"pixel_nm is {config.pixel_nm:g}; give a positive length")
    report(Event("registering"))
    pair = colours.beads if colours.beads is not None else (colours.first, colours.second)
    by = "structures" if colours.beads is None else "beads"
    found = register(*pair, kind=config.kind, by=by, search_um=config.search_um)
    return Registered(config, colours, move(colours.second, found.transform), found)


def check_name(out: Path) -> None:
    """Raise `ConfigError` where `out` is a folder, not the name of a table."""
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name the list to write, such as {out / 'registered.csv'}")


def _coarser(picture: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Take the brightest of `step` x `step` pixels, so that thin structures stay."""
    height, width = (n // step * step for n in picture.shape[:2])
    return picture[:height, :width].reshape(height // step, step, width // step, step, 3).max(axis=(1, 3))


def _pair(value_um: float, error_um: float) -> str:
    return f"{NM_PER_UM * value_um:.1f} +- {NM_PER_UM * error_um:.1f} nm"
