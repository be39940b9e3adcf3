"""The localization table: numpy columns of equal length, and the few functions that build and cut it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

IntColumn = NDArray[np.int64]
FloatColumn = NDArray[np.float64]


class LocalizationError(ValueError):
    """A mistake in the user's input; its message says what, where and what to do, in one line.

    >>> raise LocalizationError("locs.csv: no column 'x [nm]'; write it as a ThunderSTORM table")
    Traceback (most recent call last):
    localization.types.LocalizationError: locs.csv: no column 'x [nm]'; write it as a ThunderSTORM table
    """


def one_line(error: BaseException) -> str:
    """Say what an error says in a few words, without line breaks.

    >>> one_line(ValueError("two\\n lines")), one_line(EOFError())
    ('two lines', 'EOFError')
    """
    return " ".join(str(error).split())[:120] or type(error).__name__


@dataclass(frozen=True)
class MovieFacts:
    """What a file says of the movie that it holds, or that its rows were found in; None where it says nothing.

    `pixel_um` is the camera's pixel in the sample, `frame_px` the frame's (height, width), `n_frames` the length of
    the movie, `exposure_s` the time that one frame was lit, `interval_s` that from one frame to the next.

    >>> MovieFacts(pixel_um=0.108).n_frames is None
    True
    """

    pixel_um: float | None = None
    frame_px: tuple[int, int] | None = None
    n_frames: int | None = None
    exposure_s: float | None = None
    interval_s: float | None = None


# eq=False: comparing arrays with == has no single truth value
@dataclass(frozen=True, eq=False)
class Localizations:
    """A table of n localizations; every column is a read-only (n,) array. Built by `make_localizations`.

    Frames count from 0. x points right, y down, from the outer corner of the frame's first pixel; z grows
    from the coverslip into the sample. Light is in photons; `sigma_*` are predicted standard deviations.
    What is not known is NaN. `score` is the finder's confidence, in the finder's own scale.

    `extras` are further columns of numbers, carried along by whatever keeps rows. Those that several programs know have
    one name here (`localization.io.extras`); any other keeps the label of its file, `name [unit]`. `movie` is
    what is known of the movie that the rows were found in.

    >>> locs = make_localizations(frame=[0], x_um=[1.0], y_um=[2.0], z_um=[0.5])
    >>> locs.channel, locs.score, bool(np.isnan(locs.photons[0]))
    (array([0]), array([1.]), True)
    """

    frame: IntColumn
    x_um: FloatColumn
    y_um: FloatColumn
    z_um: FloatColumn
    photons: FloatColumn
    background: FloatColumn
    sigma_x_um: FloatColumn
    sigma_y_um: FloatColumn
    sigma_z_um: FloatColumn
    channel: IntColumn
    score: FloatColumn
    extras: Mapping[str, FloatColumn] = field(default_factory=lambda: MappingProxyType({}))
    movie: MovieFacts = MovieFacts()


COLUMNS = tuple(column.name for column in fields(Localizations) if column.name not in ("extras", "movie"))
_INTEGER = ("frame", "channel")
FINITE = ("frame", "x_um", "y_um", "z_um", "channel")


def make_localizations(
    frame: ArrayLike,
    x_um: ArrayLike,
    y_um: ArrayLike,
    z_um: ArrayLike,
    *,
    photons: ArrayLike = np.nan,
    background: ArrayLike = np.nan,
    sigma_x_um: ArrayLike = np.nan,
    sigma_y_um: ArrayLike = np.nan,
    sigma_z_um: ArrayLike = np.nan,
    channel: ArrayLike = 0,
    score: ArrayLike = 1.0,
    extras: Mapping[str, ArrayLike] | None = None,
    movie: MovieFacts = MovieFacts(),
) -> Localizations:
    """Build a checked table from columns.

    `frame` (0-based), `x_um`, `y_um`, `z_um` have shape (n,); an optional column has shape (n,) or is one number for
    all rows, and so has each of `extras`. Arrays are copied, but for read-only ones of their own. Raises
    LocalizationError on unequal lengths, a frame or channel that is negative or not whole, and a position that is not
    finite.

    >>> locs = make_localizations([0, 1], [1.0, 2.0], [0.5, 0.5], [0.0, 0.1], photons=1000.0)
    >>> locs.frame.size, float(locs.photons[1])
    (2, 1000.0)
    """
    given = dict(
        frame=frame,
        x_um=x_um,
        y_um=y_um,
        z_um=z_um,
        photons=photons,
        background=background,
        sigma_x_um=sigma_x_um,
        sigma_y_um=sigma_y_um,
        sigma_z_um=sigma_z_um,
        channel=channel,
        score=score,
    )
    n_rows = np.size(np.asarray(frame))
    columns = {name: _column(name, value, n_rows) for name, value in given.items()}
    further = {name: _column(name, value, n_rows) for name, value in (extras or {}).items()}
    return Localizations(**columns, extras=MappingProxyType(further), movie=movie)


def _is_settled(value: ArrayLike) -> TypeGuard[FloatColumn]:
    """Say whether nobody can change an array any more, so that a table may hold it without a copy."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.float64
        and value.flags.owndata
        and not value.flags.writeable
    )


def _column(name: str, value: ArrayLike, n_rows: int) -> np.ndarray:
    required = name in ("frame", "x_um", "y_um", "z_um")
    try:
        array = value if _is_settled(value) else np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LocalizationError(f"localizations: column {name} is not numeric ({error}); pass numbers") from error
    if array.ndim == 0 and not required:
        array = np.full(n_rows, array)
    if array.ndim != 1 or array.size != n_rows:
        raise LocalizationError(
            f"localizations: column {name} has shape {array.shape}, expected ({n_rows},) as frame has; "
            "pass one value per localization"
        )
    if name in FINITE and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise LocalizationError(f"localizations: {name} of row {row} is {array[row]}; drop such rows first")
    if name in _INTEGER:
        wrong = (array != np.round(array)) | (array < 0) | (array > 2**53)  # beyond, numbers are not whole ones
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise LocalizationError(
                f"localizations: {name} of row {row} is {array[row]:g}; it must be a whole number from 0 on"
            )
        array = array.astype(np.int64)
    array.setflags(write=False)
    return array


def without_false_sigmas(locs: Localizations) -> tuple[Localizations, int]:
    """Make uncertainties unknown that are none: infinite, zero or negative. Returns the number of such rows too.

    Fits that failed leave such values in files; as a number each would be believed, as 1 / sigma^2 for instance.

    >>> locs, n_rows = without_false_sigmas(make_localizations([0, 1], [1, 2], [1, 2], [0, 0], sigma_x_um=[0, 0.01]))
    >>> locs.sigma_x_um, n_rows
    (array([ nan, 0.01]), 1)
    """
    columns, wrong = {}, np.zeros(locs.frame.size, bool)
    for name in ("sigma_x_um", "sigma_y_um", "sigma_z_um"):
        column = getattr(locs, name)
        false = ~np.isnan(column) & ~((column > 0) & np.isfinite(column))
        if false.any():
            columns[name] = np.where(false, np.nan, column)
            columns[name].setflags(write=False)
            wrong |= false
    return (replace(locs, **columns) if columns else locs), int(wrong.sum())


def select(locs: Localizations, mask: ArrayLike) -> Localizations:
    """Keep the rows that a boolean mask (n,) or an index array picks.

    Raises LocalizationError when a boolean mask has another length than the table.

    >>> locs = make_localizations([0, 1], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0])
    >>> select(locs, locs.x_um > 1.5).frame
    array([1])
    """
    rows = np.asarray(mask)
    if rows.size == 0 and rows.dtype != bool:
        rows = rows.astype(np.intp)  # an empty list is an empty choice, and numpy makes it float
    if rows.dtype == bool and rows.shape != locs.frame.shape:
        raise LocalizationError(
            f"select: the mask has shape {rows.shape}, the table {locs.frame.shape}; make it from the columns"
        )
    columns = {name: getattr(locs, name)[rows] for name in COLUMNS}
    extras = {name: column[rows] for name, column in locs.extras.items()}
    for column in (*columns.values(), *extras.values()):
        column.setflags(write=False)
    return replace(locs, **columns, extras=MappingProxyType(extras))


def concatenate(tables: Sequence[Localizations]) -> Localizations:
    """Stack tables row by row; no tables give an empty one.

    An extra column that one of them lacks is NaN in its rows; of the movie is kept what all say alike.

    >>> one = make_localizations([0], [1.0], [2.0], [3.0])
    >>> concatenate([one, one]).x_um
    array([1., 1.])
    """
    if not tables:
        return make_localizations([], [], [], [])
    columns = {name: np.concatenate([getattr(table, name) for table in tables]) for name in COLUMNS}
    labels = dict.fromkeys(label for table in tables for label in table.extras)
    extras = {
        label: np.concatenate([table.extras.get(label, np.full(table.frame.size, np.nan)) for table in tables])
        for label in labels
    }
    for column in (*columns.values(), *extras.values()):
        column.setflags(write=False)
    said = [{name.name: getattr(table.movie, name.name) for name in fields(MovieFacts)} for table in tables]
    alike = {name: value for name, value in said[0].items() if all(other[name] == value for other in said)}
    return Localizations(**columns, extras=MappingProxyType(extras), movie=MovieFacts(**alike))


def to_frame(locs: Localizations) -> pd.DataFrame:
    """Copy the table into a pandas DataFrame with the same column names and units; extra columns come last.

    >>> to_frame(make_localizations([0], [1.0], [2.0], [3.0]))[["frame", "x_um"]].to_dict("list")
    {'frame': [0], 'x_um': [1.0]}
    """
    columns = {name: np.array(getattr(locs, name)) for name in COLUMNS}
    return pd.DataFrame(columns | {name: np.array(column) for name, column in locs.extras.items()})
