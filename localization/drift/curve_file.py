"""Drift as a file: our own curve, other programs' tables of it, and what one of them must be told to be right.

Ours is a CSV of nm per frame, to be subtracted. Its `frame` counts like the list that it was written beside
(ThunderSTORM's from 1, Picasso's from 0), so that the two can be joined by it; `frame from 0` always counts as Colocus
does. Curves without that second column, which Colocus wrote before it had it, count from 0 if nothing else is told.

Without a header: a row for each frame from the first one on, of x, y or x, y, z, as Picasso saves it (picasso.io of
0.11.3: x and y in camera pixels, z in nm); and x, y, z, frame, in nm, the array that COMET returns (comet-smlm 1.2,
whose frames count like those of the list it was given), as text or .npy. Both programs subtract it too.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from localization.drift.correct import Drift
from localization.drift.segments import FRAMES_MAX, Floats
from localization.io.text import NM_PER_UM, split_label
from localization.types import LocalizationError, one_line

LengthUnit = Literal["nm", "um", "px"]

_FROM_0 = "frame from 0"
_UNITS = {"nm": 1 / NM_PER_UM, "um": 1.0, "µm": 1.0, "μm": 1.0}
_AXES = ("x", "y", "z")


def curve_text(drift: Drift, first_frame: int) -> str:
    """Write a drift as our CSV; `first_frame` is the number of the first frame in the list beside it.

    >>> zero = np.zeros(1)
    >>> drift = Drift(np.array([4]), zero + 0.01, zero, zero, zero, zero, np.zeros((1, 3)), "rcc", {}, ())
    >>> print(curve_text(drift, 1), end="")
    frame,frame from 0,x [nm],y [nm],z [nm]
    5,4,10.000,0.000,0.000
    """
    x, y, z = (NM_PER_UM * axis for axis in (drift.x_um, drift.y_um, drift.z_um))
    rows = zip((drift.frame + first_frame).tolist(), drift.frame.tolist(), x, y, z, strict=True)
    lines = (f"{shown},{frame},{x:.3f},{y:.3f},{z:.3f}" for shown, frame, x, y, z in rows)
    return "\n".join([f"frame,{_FROM_0},x [nm],y [nm],z [nm]", *lines, ""])


def read_drift(
    path: Path | str,
    *,
    unit: LengthUnit | None = None,
    pixel_um: float | None = None,
    first_frame: int | None = None,
) -> Drift:
    """Read a drift from our CSV, or from another program's table of it (see above).

    `unit` is that of columns which do not name theirs; in "px" x and y are multiplied by `pixel_um`, and z is in nm, as
    Picasso has it. `first_frame` is the number of the first frame where the file does not tell (0). Frames that are
    missing are drawn straight between their neighbours, which `notes` say. The errors of the curve are unknown (NaN).

    Raises LocalizationError, naming file and line, for a file that cannot be read, columns whose meaning is not known,
    a missing unit or pixel, and values that are no numbers.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "drift.txt"
    ...     bytes_written = path.write_text("0.0 0.0\\n0.5 -1.0\\n")
    ...     read_drift(path, unit="px", pixel_um=0.1).x_um
    array([0.  , 0.05])
    """
    path = Path(path)
    if unit not in (None, "nm", "um", "px"):
        raise LocalizationError(f"{path}: unit {unit!r} is not known; give 'nm', 'um' or 'px'")
    if first_frame not in (None, 0, 1):
        raise LocalizationError(f"{path}: first_frame = {first_frame} must be 0 or 1")
    labels, values = _array(path) if path.suffix.lower() == ".npy" else _text(path)
    frame, place, told_frames = _with_header(path, labels, values) if labels else _bare(path, values)
    lengths = {axis: _in_um(path, axis, said or unit, pixel_um) for axis, (_, said) in place.items()}
    notes = []
    if not told_frames:
        frame = frame - (first_frame or 0)
        if first_frame is None:
            notes.append(f"{path.name} does not say where its frames begin: counted from 0 (else --frames-from 1)")
    xyz = np.zeros((len(values), 3))
    for axis, (column, _) in place.items():
        xyz[:, _AXES.index(axis)] = column * lengths[axis]
    frame, xyz = _every_frame(path, frame, xyz, notes)
    unknown = np.full(3, np.nan)
    x_um, y_um, z_um = np.ascontiguousarray(xyz.T)
    return Drift(frame, x_um, y_um, z_um, unknown, frame.astype(np.float64), xyz, path.name, {}, tuple(notes))


def _array(path: Path) -> tuple[list[str], Floats]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LocalizationError(f"{path}: cannot be read ({one_line(error)}); save the drift again") from error
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise LocalizationError(f"{path}: holds {values.dtype} of shape {values.shape}; give a row for each frame")
    return [], _finite(path, values.astype(np.float64), range(1, len(values) + 1), "row")


def _text(path: Path) -> tuple[list[str], Floats]:
    """Read labels, none without a header, and numbers; commas, semicolons, tabs or spaces stand between them."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise LocalizationError(f"{path}: is not text; give the drift as CSV, text or .npy") from error
    except OSError as error:
        raise LocalizationError(f"{path}: cannot be read ({error.strerror}); check the name") from error
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not filled:
        raise LocalizationError(f"{path}: holds no drift; give the file that a drift correction wrote")
    separator = next((mark for mark in (",", ";", "\t") if mark in filled[0][1]), None)
    first = [part.strip().strip('"') for part in filled[0][1].split(separator)]
    labels = [] if _is_number(first[0]) else first
    rows = filled[1:] if labels else filled
    values = np.empty((len(rows), len(first)))
    for k, (number, line) in enumerate(rows):
        try:
            values[k] = [float(part) for part in line.split(separator)]
        except ValueError as error:
            raise LocalizationError(
                f"{path}: line {number} is not {len(first)} numbers: '{line[:40]}'; export the drift again"
            ) from error
    return labels, _finite(path, values, [number for number, _ in rows], "line")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _finite(path: Path, values: Floats, number: Any, what: str) -> Floats:
    if not len(values):
        raise LocalizationError(f"{path}: holds no drift; give the file that a drift correction wrote")
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        raise LocalizationError(f"{path}: {what} {number[bad[0]]} holds no finite numbers; export the drift again")
    return values


Place = dict[str, tuple[Floats, str | None]]  # axis: its column, and the unit that it names


def _with_header(path: Path, labels: list[str], values: Floats) -> tuple[Floats, Place, bool]:
    """Find frames, axes and their units by name, and tell whether the frames' count is known."""
    named = {split_label(label): values[:, k] for k, label in enumerate(labels)}
    place: Place = {name: (column, unit) for (name, unit), column in named.items() if name in _AXES}
    frames = {name: column for (name, _), column in named.items() if name in ("frame", _FROM_0)}
    list_of_spots = [label for label in labels if split_label(label)[0] in ("intensity", "photons")]
    if list_of_spots:
        raise LocalizationError(
            f"{path}: is a localization list (it has '{list_of_spots[0]}'); give the drift, such as FILE_drift.csv"
        )
    missing = [name for name in ("frame", "x", "y") if name not in {*frames, *place}]
    if missing:
        raise LocalizationError(
            f"{path}: no column '{missing[0]}' among {', '.join(labels)[:60]}; name the columns frame, x [nm], y [nm]"
        )
    if _FROM_0 in frames:
        return frames[_FROM_0], place, True
    return frames["frame"], place, False


def _bare(path: Path, values: Floats) -> tuple[Floats, Place, bool]:
    """Tell by their number what columns without names are."""
    rows, columns = values.shape
    if columns in (2, 3):
        place: Place = {axis: (values[:, k], None) for k, axis in enumerate(_AXES[:columns])}
        return np.arange(rows, dtype=np.float64), place, True  # the first row is the first frame's
    if columns == 4 and (values[:, 3] == np.arange(rows) + values[0, 3]).all():
        return values[:, 3], {axis: (values[:, k], "nm") for k, axis in enumerate(_AXES)}, False
    raise LocalizationError(
        f"{path}: {columns} columns without names; known are x y, x y z (a row for each frame) and x y z frame: "
        "else name them in a first line, frame,x [nm],y [nm],z [nm]"
    )


def _in_um(path: Path, axis: str, unit: str | None, pixel_um: float | None) -> float:
    if unit == "px":
        if axis == "z":
            return 1 / NM_PER_UM
        if pixel_um is None:
            raise LocalizationError(f"{path}: the drift is in pixels; give the camera's pixel (--camera-pixel NM)")
        if not (np.isfinite(pixel_um) and pixel_um > 0):
            raise LocalizationError(f"{path}: the camera's pixel is {pixel_um} um; give a positive length")
        return pixel_um
    if unit is None:
        raise LocalizationError(f"{path}: does not name the unit of {axis}; give it (--unit nm, um, or px as Picasso)")
    if unit not in _UNITS:
        raise LocalizationError(f"{path}: {axis} is in {unit!r}; name it in nm, um or px")
    return _UNITS[unit]


def _every_frame(path: Path, frame: Floats, xyz: Floats, notes: list[str]) -> tuple[Any, Floats]:
    """Bring the rows in order, and draw frames that are missing straight between their neighbours."""
    if (frame != np.round(frame)).any() or frame.min() < 0:
        raise LocalizationError(f"{path}: a frame is negative or not whole; see --frames-from")
    if np.ptp(frame) >= FRAMES_MAX:
        raise LocalizationError(f"{path}: frames {frame.min():g} to {frame.max():g} are too many; are these times?")
    order = np.argsort(frame, kind="stable")
    known, xyz = frame[order].astype(np.int64), xyz[order]
    again = np.flatnonzero(np.diff(known) == 0)
    if again.size:
        raise LocalizationError(f"{path}: two rows for frame {known[again[0]]}; keep one for each frame")
    every = np.arange(known[0], known[-1] + 1)
    if every.size > known.size:
        notes.append(
            f"{path.name} has {known.size} of the frames {known[0]} to {known[-1]}: it is drawn straight between them"
        )
        xyz = np.stack([np.interp(every, known, axis) for axis in xyz.T], axis=1)
    return every, xyz
