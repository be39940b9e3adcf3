"""A mask as a spatial light modulator shows it: a grey picture for the panel, and the mask that a picture is.

The way back, `shown_mask`, leads to a `PhaseMask`, so that bounds and images can be computed for what the panel shows
instead of for what was meant. Host functions.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.masks.fabrication import nearest_step
from optics.masks.sampling import sample_mask
from optics.pytree import pytree, static
from optics.types import OpticsError, PhaseMask, make_mask

# one program, where each of its steps would be compiled for itself
_sample = jax.jit(sample_mask)


@pytree
class Slm:
    """A phase-only spatial light modulator: (rows, columns) pixels of `pitch_um`, and how it is mounted.

    Grey g of an 8-bit panel shows 2 pi g / `grey_per_2pi` at the wavelength in use, falling from the last grey of a
    turn where `grey_falls`, or `lut_rad` (256,) where that is not a line. Which it is decides the sign of all phases.
    `correction_rad` (rows, columns) is added to every picture (flatness). The pattern is turned by `quarter_turns` of
    90 degrees (from x towards y), after `flip_x` mirrored its columns and `flip_y` its rows; the pupil's centre lies
    `centre_px` (x, y) from the panel's. `grating_px` is the period of a blaze along `grating_rad` from x, 0 for none;
    `fill_pupil` confines it to the pupil.
    """

    pitch_um: jax.Array
    grey_per_2pi: jax.Array
    lut_rad: jax.Array | None
    correction_rad: jax.Array | None
    centre_px: jax.Array
    grating_px: jax.Array
    grating_rad: jax.Array
    shape: tuple[int, int] = static()
    grey_falls: bool = static(default=False)
    flip_x: bool = static(default=False)
    flip_y: bool = static(default=False)
    quarter_turns: int = static(default=0)
    outside: Literal["zero", "grating"] = static(default="zero")


def make_slm(
    *,
    shape: tuple[int, int],
    pitch_um: float,
    grey_per_2pi: float = 255.0,
    lut_rad: ArrayLike | None = None,
    correction_rad: ArrayLike | None = None,
    centre_px: tuple[float, float] = (0.0, 0.0),
    grating_px: float = 0.0,
    grating_rad: float = 0.0,
    grey_falls: bool = False,
    flip_x: bool = False,
    flip_y: bool = False,
    quarter_turns: int = 0,
    outside: Literal["zero", "grating"] = "zero",
) -> Slm:
    """Build an `Slm`, checking each field; `OpticsError` names the one that cannot be right.

    >>> make_slm(shape=(1200, 1920), pitch_um=8.0, grey_per_2pi=205).shape
    (1200, 1920)
    """
    rows, columns = shape
    if not (isinstance(rows, int) and isinstance(columns, int) and min(shape) >= 16):
        raise OpticsError(f"slm shape = {shape} must be whole numbers (rows, columns) of at least 16 pixels")
    if not 0 < pitch_um < 1000:
        raise OpticsError(f"slm pitch_um = {pitch_um:g} must be a pixel's width in um")
    if not 2 <= grey_per_2pi <= 256:
        raise OpticsError(
            f"grey_per_2pi = {grey_per_2pi:g} must lie between 2 and 256: the panel needs 8 bits for 2 pi"
        )
    if grey_falls and lut_rad is not None:
        raise OpticsError("lut_rad says itself whether the phase falls with the grey; leave grey_falls out")
    table = None if lut_rad is None else np.asarray(lut_rad, dtype=float)
    if table is not None:
        if table.shape != (256,) or not np.isfinite(table).all():
            raise OpticsError(f"lut_rad must hold the phase of 256 grey levels, not shape {table.shape}")
        if not ((np.diff(table) >= 0).all() or (np.diff(table) <= 0).all()) or np.ptp(table) < 2 * np.pi * 0.9:
            raise OpticsError("lut_rad must rise or fall throughout and reach 2 pi; unwrap the measured phase first")
    flatness = None if correction_rad is None else np.asarray(correction_rad, dtype=float)
    if flatness is not None and (flatness.shape != tuple(shape) or not np.isfinite(flatness).all()):
        raise OpticsError(f"correction_rad of shape {flatness.shape} must fill the panel {tuple(shape)}, without NaN")
    if not (np.isfinite(grating_px) and (grating_px == 0 or abs(grating_px) >= 2)):
        raise OpticsError(f"grating_px = {grating_px:g} must be 0 or a period of at least 2 pixels")
    if outside not in ("zero", "grating"):
        raise OpticsError(f"outside = {outside!r} must be 'zero' or 'grating'")
    return Slm(
        pitch_um=jnp.asarray(pitch_um, dtype=float),
        grey_per_2pi=jnp.asarray(grey_per_2pi, dtype=float),
        lut_rad=None if table is None else jnp.asarray(table),
        correction_rad=None if flatness is None else jnp.asarray(flatness),
        centre_px=jnp.asarray(centre_px, dtype=float),
        grating_px=jnp.asarray(grating_px, dtype=float),
        grating_rad=jnp.asarray(grating_rad, dtype=float),
        shape=(rows, columns),
        grey_falls=grey_falls,
        flip_x=flip_x,
        flip_y=flip_y,
        quarter_turns=quarter_turns % 4,
        outside=outside,
    )


def grey_image(slm: Slm, mask: PhaseMask, *, pupil_diameter_px: float) -> np.ndarray:
    """The picture (rows, columns), uint8, that makes the panel show a mask at the mask's design wavelength.

    `pupil_diameter_px` is the diameter of the NA on the panel (`optics.mask_io.pupil_diameter_px`). The phase of
    the mask (0 beyond the NA), the grating and the correction are added, taken modulo 2 pi, and each pixel gets the
    grey whose phase is nearest. A constant phase, which nobody sees, is not removed.
    Raises `OpticsError` for a pupil that the panel does not hold, or a mask with a transmission below 1 inside it.

    >>> from optics.masks.library import astigmatism
    >>> panel = make_slm(shape=(64, 80), pitch_um=8.0, grey_per_2pi=200)
    >>> picture = grey_image(panel, astigmatism(0.1, size=64), pupil_diameter_px=50.0)
    >>> picture.shape, picture.dtype, bool(picture.max() < 200)
    ((64, 80), dtype('uint8'), True)
    """
    column, row = _panel_px(slm)
    across = np.hypot(column, row) / (pupil_diameter_px / 2)
    _check_pupil(slm, pupil_diameter_px)
    x, y = _to_mask(slm, column, row)
    phasor = np.asarray(_sample(mask, x * 2 / pupil_diameter_px, y * 2 / pupil_diameter_px, mask.design_wavelength_um))
    inside = across <= 1
    if (np.abs(phasor[inside]) < 1 - 1e-3).any():
        raise OpticsError(
            "the mask has a transmission below 1, which a phase-only SLM cannot show; give its phase alone"
        )
    phase = np.where(inside, np.angle(phasor), 0.0) + _added_rad(slm, column, row, inside)
    return nearest_step(np.mod(phase, 2 * np.pi), _grey_rad(slm), 2 * np.pi).astype(np.uint8)


def shown_mask(slm: Slm, picture: ArrayLike, *, pupil_diameter_px: float, wavelength_um: float) -> PhaseMask:
    """The mask that a picture (rows, columns) of grey levels is: the panel's phase less correction and grating.

    In the mask's own orientation, wrapped at `wavelength_um`, on the square of panel pixels that holds the pupil.
    Exact where `centre_px` are whole numbers and rows and columns even; else to the nearest pixel.
    Raises `OpticsError` for a picture of another shape or of greys that the panel does not have.

    >>> from optics.masks.library import astigmatism
    >>> panel = make_slm(shape=(64, 80), pitch_um=8.0, grey_per_2pi=200)
    >>> meant = astigmatism(0.1, size=64)
    >>> picture = grey_image(panel, meant, pupil_diameter_px=50.0)
    >>> shown_mask(panel, picture, pupil_diameter_px=50.0, wavelength_um=0.6).wrapped
    True
    """
    grey = np.asarray(picture)
    if grey.shape != slm.shape or grey.dtype.kind not in "ui" or grey.min() < 0 or grey.max() > 255:
        raise OpticsError(f"the picture must hold greys 0 to 255 on the panel's {slm.shape}, not {grey.shape}")
    _check_pupil(slm, pupil_diameter_px)
    size = 2 * int(np.ceil(pupil_diameter_px / 2 + 1))
    table = _grey_rad(slm, every=True)
    column, row = _panel_px(slm)
    inside = np.hypot(column, row) <= pupil_diameter_px / 2
    phase = table[grey] - _added_rad(slm, column, row, inside)
    # the square's cells, in the mask's axes; where each lies on the panel, the picture was turned and mirrored to
    cell = np.arange(size) - (size - 1) / 2
    across, down = _to_panel(slm, *np.meshgrid(cell, cell))
    rows, columns = slm.shape
    i = np.floor(down + float(slm.centre_px[1]) + rows / 2).astype(int).clip(0, rows - 1)
    j = np.floor(across + float(slm.centre_px[0]) + columns / 2).astype(int).clip(0, columns - 1)
    turns = phase[i, j] / (2 * np.pi)
    return make_mask(
        wavelength_um * (turns - np.round(turns)),
        half_width=size / pupil_diameter_px,
        design_wavelength_um=wavelength_um,
        wrapped=True,
    )


def _check_pupil(slm: Slm, pupil_diameter_px: float) -> None:
    room = [side - 2 * abs(float(shift)) for side, shift in zip(slm.shape[::-1], slm.centre_px, strict=True)]
    if not 8 <= pupil_diameter_px <= min(room):
        raise OpticsError(
            f"the pupil of {pupil_diameter_px:.1f} pixels does not fit the panel, where {min(room):g} are left around "
            "its centre; check pitch, focal length and magnification"
        )


def _panel_px(slm: Slm) -> tuple[np.ndarray, np.ndarray]:
    """(column, row) of every pixel's centre from the pupil's centre, each (rows, columns)."""
    rows, columns = slm.shape
    column = np.arange(columns) + 0.5 - columns / 2 - float(slm.centre_px[0])
    row = np.arange(rows) + 0.5 - rows / 2 - float(slm.centre_px[1])
    across, down = np.meshgrid(column, row)
    return across, down


def _to_panel(slm: Slm, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the mask's axes to the panel's: mirrored, then turned from x towards y."""
    x, y = (-x if slm.flip_x else x), (-y if slm.flip_y else y)
    for _ in range(slm.quarter_turns):
        x, y = -y, x
    return x, y


def _to_mask(slm: Slm, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(slm.quarter_turns):
        x, y = y, -x
    return (-x if slm.flip_x else x), (-y if slm.flip_y else y)


def _added_rad(slm: Slm, column: np.ndarray, row: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Grating and correction (rows, columns) in radians."""
    added = np.zeros(slm.shape) if slm.correction_rad is None else np.asarray(slm.correction_rad, dtype=float)
    period, angle = float(slm.grating_px), float(slm.grating_rad)
    if period == 0:
        return added
    blaze = 2 * np.pi * (column * np.cos(angle) + row * np.sin(angle)) / period
    return added + (blaze if slm.outside == "grating" else np.where(inside, blaze, 0.0))


def _grey_rad(slm: Slm, *, every: bool = False) -> np.ndarray:
    """Phase of each grey; without `every` only of the first that fill one turn, so that no picture jumps beyond it."""
    if slm.lut_rad is None:
        steps = np.arange(256)
        if slm.grey_falls:
            steps = np.ceil(float(slm.grey_per_2pi)) - 1 - steps
        table = 2 * np.pi * steps / float(slm.grey_per_2pi)
    else:
        table = np.asarray(slm.lut_rad, dtype=float)
    if every:
        return table
    first = np.abs(table - table[0]) < 2 * np.pi - 1e-9
    return table[: int(first.sum())]
