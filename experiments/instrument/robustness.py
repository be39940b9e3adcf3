"""How much precision a mask loses when it is not quite as meant: rows, a table and a figure."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np

from experiments.report.plot_style import Figure, new_figure
from optics import PhaseMask, Psf, replace
from optics.design.robustness import image_correlation, mask_scores, misaligned, strehl, uneven
from optics.masks.dispersion import Dispersion
from optics.masks.fabrication import etch, etched_mask
from optics.progress import Event, Report, silent
from training import ConfigError


@dataclass(frozen=True)
class RobustnessConfig:
    """How far a mask is taken from what is meant, and what its emitters are.

    Emitters of `photons` on `background` photons per pixel at `depths` places of the depth range. Each list holds
    sizes of one error; those with a sign are tried both ways: `shift_percent` of the pupil's radius along x and y,
    `turn_deg`, `magnification_percent`, `depth_percent` of the etched height, `wavelength_nm` of the light. `levels`
    are counts of etched levels in one wave. `uneven_waves` are rms errors of the surface, means over `draws`.
    """

    photons: float = 3500.0
    background: float = 50.0
    depths: int = 7
    shift_percent: tuple[float, ...] = (1.0, 2.0, 5.0)
    turn_deg: tuple[float, ...] = (1.0, 3.0, 10.0)
    magnification_percent: tuple[float, ...] = (1.0, 2.0, 5.0)
    levels: tuple[int, ...] = (2, 4, 8, 16, 256)
    wavelength_nm: tuple[float, ...] = (10.0, 20.0, 40.0)
    depth_percent: tuple[float, ...] = (1.0, 3.0, 5.0)
    uneven_waves: tuple[float, ...] = (0.02, 0.05, 0.1)
    draws: int = 3
    seed: int = 0

    def __post_init__(self):
        if self.depths < 1 or self.draws < 1:
            raise ConfigError("robustness.depths and robustness.draws must be at least 1")
        if not (self.photons > 0 and self.background >= 0):
            raise ConfigError(f"robustness.photons = {self.photons:g} must be positive, background not negative")
        if any(n < 2 for n in self.levels):
            raise ConfigError(f"robustness.levels = {self.levels} must be at least 2 each")


@dataclass(frozen=True)
class RobustnessRow:
    """One error of the mask: its size, and what is left. Losses are relative to the mask as meant, bounds in um.

    `mean_bound_um` is the mean over depths and axes. `correlation` is that of the pictures with those of the mask as
    meant, mean over depths, `worst_correlation` the least. `strehl` is the share of light that goes where it is meant.
    """

    error: str
    size: float
    unit: str
    bound_x_um: float
    bound_y_um: float
    bound_z_um: float
    mean_bound_um: float
    loss: float
    correlation: float
    worst_correlation: float
    strehl: float


UNITS = {
    "as meant": "",
    "shift x": "% of radius",
    "shift y": "% of radius",
    "turn": "degrees",
    "magnification": "%",
    "levels": "levels",
    "etch depth": "%",
    "wavelength": "nm",
    "uneven": "waves rms",
}


def measure_robustness(
    psf: Psf, dispersion: Dispersion, z_range_um: tuple[float, float], config: RobustnessConfig, report: Report = silent
) -> list[RobustnessRow]:
    """Score the mask of `psf` as meant, and with each error of `config`.

    `dispersion` is the material of the mask, for its levels, depth and wavelength. Several draws of an uneven surface
    are one row.
    """
    meant = psf.mask
    assert meant is not None  # a PSF without a mask has nothing to be made
    z_um = jnp.linspace(z_range_um[0], z_range_um[1], config.depths)

    @jax.jit
    def scores(mask: PhaseMask, wavelength_um: jax.Array):
        seen = replace(psf, mask=mask, microscope=replace(psf.microscope, wavelength_um=wavelength_um))
        return mask_scores(seen, z_um, config.photons, config.background)

    cases = list(_cases(psf, dispersion, config))
    nominal, picture = None, None
    rows: list[RobustnessRow] = []
    for number, (error, size, mask, wavelength_um) in enumerate(cases):
        report(Event(f"{error}:", number, len(cases)))
        bound, image = scores(mask, jnp.asarray(wavelength_um, dtype=meant.opd_um.dtype))
        by_axis = np.asarray(bound, dtype=float).mean(axis=0)
        nominal = by_axis.mean() if nominal is None else nominal
        picture = image if picture is None else picture
        alike = np.asarray(image_correlation(image, picture))
        rows.append(
            RobustnessRow(
                error=error,
                size=size,
                unit=UNITS[error],
                bound_x_um=float(by_axis[0]),
                bound_y_um=float(by_axis[1]),
                bound_z_um=float(by_axis[2]),
                mean_bound_um=float(by_axis.mean()),
                loss=float(by_axis.mean() / nominal - 1),
                correlation=float(alike.mean()),
                worst_correlation=float(alike.min()),
                # at the wavelength in use, against the phase that was meant
                strehl=float(strehl(_in_radians_of(mask, wavelength_um, meant), meant)),
            )
        )
    return _mean_of_draws(rows)


def _cases(psf: Psf, dispersion: Dispersion, config: RobustnessConfig) -> Iterator[tuple[str, float, PhaseMask, float]]:
    """Every error: its name, its size, the mask, and the light's wavelength."""
    meant = psf.mask
    assert meant is not None
    wavelength = float(psf.microscope.wavelength_um)
    plate = etch(meant, dispersion)
    yield "as meant", 0.0, meant, wavelength
    for percent in _both(config.shift_percent):
        yield "shift x", percent, misaligned(meant, shift=(percent / 100, 0.0)), wavelength
    for percent in _both(config.shift_percent):
        yield "shift y", percent, misaligned(meant, shift=(0.0, percent / 100)), wavelength
    for degrees in _both(config.turn_deg):
        yield "turn", degrees, misaligned(meant, rotation_rad=np.deg2rad(degrees)), wavelength
    for percent in _both(config.magnification_percent):
        yield "magnification", percent, misaligned(meant, magnification=1 + percent / 100), wavelength
    for levels in config.levels:
        yield "levels", levels, etched_mask(etch(meant, dispersion, levels=levels, wrap=True)), wavelength
    for percent in _both(config.depth_percent):
        yield "etch depth", percent, etched_mask(plate, wavelength, depth_error=percent / 100), wavelength
    for nm in _both(config.wavelength_nm):
        light = wavelength + nm / 1000
        yield "wavelength", nm, etched_mask(plate, light), light
    for waves in config.uneven_waves:
        for key in jax.random.split(jax.random.key(config.seed), config.draws):
            yield "uneven", waves, uneven(key, meant, waves * wavelength), wavelength


def _both(sizes: tuple[float, ...]) -> list[float]:
    return sorted({sign * abs(size) for size in sizes for sign in (-1, 1)})


def _in_radians_of(mask: PhaseMask, wavelength_um: float, meant: PhaseMask) -> PhaseMask:
    """The mask whose phase at the design wavelength is that of `mask` at `wavelength_um`."""
    design = meant.design_wavelength_um
    return replace(mask, opd_um=mask.opd_um * design / wavelength_um, design_wavelength_um=design)


def _mean_of_draws(rows: list[RobustnessRow]) -> list[RobustnessRow]:
    grouped: dict[tuple[str, float], list[RobustnessRow]] = {}
    for row in rows:
        grouped.setdefault((row.error, row.size), []).append(row)
    mean = []
    for (error, size), held in grouped.items():
        numbers = {
            name: float(np.mean([getattr(row, name) for row in held]))
            for name, value in asdict(held[0]).items()
            if isinstance(value, float) and name not in ("size", "worst_correlation")
        }
        worst = min(row.worst_correlation for row in held)
        mean.append(RobustnessRow(error=error, size=size, unit=held[0].unit, worst_correlation=worst, **numbers))
    return mean


def robustness_table(rows: list[RobustnessRow]) -> list[str]:
    """Write lines for a terminal: bounds in nm, what is lost, and how alike the pictures are."""
    heads = "".join(f"{head:>{width}}" for head, width in (("x", 7), ("y", 7), ("z", 7), ("mean", 7)))
    lines = [f"{'error of the mask':28}{heads} nm{'loss':>9}{'alike':>8}{'worst':>8}{'strehl':>8}"]
    for row in rows:
        name = f"{row.error} {row.size:+g} {row.unit}" if row.unit not in ("", "levels", "waves rms") else row.error
        name = f"{row.size:g} {row.unit}" if row.error == "levels" else name
        name = f"uneven {row.size:g} {row.unit}" if row.error == "uneven" else name
        bounds = "".join(f"{1e3 * b:7.2f}" for b in (row.bound_x_um, row.bound_y_um, row.bound_z_um, row.mean_bound_um))
        lines.append(
            f"{name:28}{bounds}   {100 * row.loss:+8.1f}%{row.correlation:8.4f}{row.worst_correlation:8.4f}"
            f"{row.strehl:8.3f}"
        )
    return lines


def robustness_figure(rows: list[RobustnessRow]) -> Figure:
    """Draw the loss of the mean bound above, likeness of the pictures below, a column for each error."""
    panels = [
        ("shift (% of radius)", {"shift x": "along x", "shift y": "along y"}),
        ("turn (degrees)", {"turn": ""}),
        ("magnification (%)", {"magnification": ""}),
        ("etched levels in a wave", {"levels": ""}),
        ("etch depth (%)", {"etch depth": ""}),
        ("wavelength (nm)", {"wavelength": ""}),
        ("uneven surface (waves rms)", {"uneven": ""}),
    ]
    panels = [panel for panel in panels if any(row.error in panel[1] for row in rows)]
    drawn = new_figure(1.75 * max(len(panels), 2), 4.0)
    axes = drawn.subplots(2, len(panels), sharex="col", sharey="row", squeeze=False)
    for column, (label, errors) in enumerate(panels):
        for (name, legend), colour, marker in zip(errors.items(), ("#0072B2", "#D55E00"), "os", strict=False):
            held = [row for row in rows if row.error == name]
            if name != "levels":
                # the mask as meant lies at no error
                held = sorted([*held, *(row for row in rows if row.error == "as meant")], key=lambda row: row.size)
            sizes = [row.size for row in held]
            style = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1.2, "label": legend or None}
            axes[0, column].plot(sizes, [100 * row.loss for row in held], **style)
            axes[1, column].plot(sizes, [row.correlation for row in held], **style)
        if "levels" in errors:
            axes[1, column].set_xscale("log", base=2)
            axes[1, column].set_xticks([row.size for row in rows if row.error == "levels"])
            axes[1, column].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes[1, column].minorticks_off()
        if len(errors) > 1:
            axes[0, column].legend(fontsize=7, frameon=False)
        axes[1, column].set_xlabel(label, fontsize=8)
    for axis in axes.flat:
        axis.grid(True, color="#DDDDDD", linewidth=0.6)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("mean bound lost (%)", fontsize=8)
    axes[1, 0].set_ylabel("correlation of pictures", fontsize=8)
    return drawn
