"""Which localizations to keep: by uncertainty, score, light, place, frame and density."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from localization.types import LocalizationError, Localizations, select

Span = tuple[float, float]
_ROWS_AT_ONCE = 200_000
_REMEDY = {"detections": "colocus link counts them", "p_channel": "colocus localize --psf a.npz b.npz tells it"}


@dataclass(frozen=True)
class Criteria:
    """What a localization must fulfil; None asks nothing.

    Bounds are inclusive. `channel` is the one to keep, `p_channel_min` how sure it must be (of a list of several
    species). `detections` is how many localizations were merged into a row (`link_blinks`). `x_um`,
    `y_um`, `z_um` are [from, to], `frames` is [first, last]. `neighbours_min` and `neighbours_max` count the other
    localizations of the whole movie within `density_radius_um` laterally, and in depth within `density_z_radius_um`
    where that is given (an ellipsoid). Density is counted after all others.

    >>> Criteria(sigma_x_um_max=0.02, z_um=(0.0, 1.5)).photons_min is None
    True
    """

    sigma_x_um_max: float | None = None
    sigma_y_um_max: float | None = None
    sigma_z_um_max: float | None = None
    score_min: float | None = None
    channel: int | None = None
    p_channel_min: float | None = None
    photons_min: float | None = None
    photons_max: float | None = None
    detections_min: float | None = None
    detections_max: float | None = None
    x_um: tuple[float, ...] | None = None
    y_um: tuple[float, ...] | None = None
    z_um: tuple[float, ...] | None = None
    frames: tuple[int, ...] | None = None
    density_radius_um: float | None = None
    density_z_radius_um: float | None = None
    neighbours_min: int | None = None
    neighbours_max: int | None = None

    def __post_init__(self):
        for name in ("x_um", "y_um", "z_um", "frames"):
            span = getattr(self, name)
            if span is not None and (len(span) != 2 or not span[0] <= span[1]):
                raise LocalizationError(f"filter: {name} = {list(span)} must be [from, to], in ascending order")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and np.isnan(value):
                raise LocalizationError(f"filter: {field.name} is NaN; give a number, or leave it out")
        counted = self.neighbours_min is not None or self.neighbours_max is not None
        if counted != (self.density_radius_um is not None):
            raise LocalizationError("filter: density needs density_radius_um with neighbours_min or neighbours_max")
        lengths = [f"sigma_{axis}_um_max" for axis in "xyz"]
        for name in ("density_radius_um", "density_z_radius_um", *lengths):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise LocalizationError(f"filter: {name} is {value}; give a positive length in um")


@dataclass(frozen=True)
class FilterReport:
    """Rows before and after, and for each criterion that was set how many of the rows left to it it removed."""

    before: int
    after: int
    removed: dict[str, int]


def filter_localizations(locs: Localizations, criteria: Criteria) -> tuple[Localizations, FilterReport]:
    """Keep the rows that fulfil all criteria, in their order; a row whose value is unknown (NaN) fails.

    Raises LocalizationError where a criterion asks for a column that no row of the table has.

    >>> from localization import make_localizations
    >>> locs = make_localizations([0, 0, 1], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], photons=[9, 90, 900])
    >>> kept, report = filter_localizations(locs, Criteria(photons_min=50.0, x_um=(0.0, 2.5)))
    >>> kept.photons, report.removed
    (array([90.]), {'photons_min': 1, 'x_um': 1})
    """
    keep = np.ones(locs.frame.size, bool)
    removed: dict[str, int] = {}

    def ask(name: str, passes: NDArray[np.bool_]) -> None:
        removed[name] = int((keep & ~passes).sum())
        keep[:] &= passes

    for axis in "xyz":
        name = f"sigma_{axis}_um_max"
        most = getattr(criteria, name)
        if most is not None:
            sigma_um = _known(locs, f"sigma_{axis}_um", name)
            ask(name, (sigma_um > 0) & (sigma_um <= most))
    if criteria.score_min is not None:
        ask("score_min", _known(locs, "score", "score_min") >= criteria.score_min)
    if criteria.channel is not None:
        ask("channel", locs.channel == criteria.channel)
    if criteria.p_channel_min is not None:
        ask("p_channel_min", _known(locs, "p_channel", "p_channel_min") >= criteria.p_channel_min)
    if criteria.photons_min is not None:
        ask("photons_min", _known(locs, "photons", "photons_min") >= criteria.photons_min)
    if criteria.photons_max is not None:
        ask("photons_max", _known(locs, "photons", "photons_max") <= criteria.photons_max)
    if criteria.detections_min is not None:
        ask("detections_min", _known(locs, "detections", "detections_min") >= criteria.detections_min)
    if criteria.detections_max is not None:
        ask("detections_max", _known(locs, "detections", "detections_max") <= criteria.detections_max)
    for name, column in (("x_um", "x_um"), ("y_um", "y_um"), ("z_um", "z_um"), ("frames", "frame")):
        span = getattr(criteria, name)
        if span is not None:
            value = getattr(locs, column)
            ask(name, (value >= span[0]) & (value <= span[1]))
    if criteria.density_radius_um is not None:
        rows = np.flatnonzero(keep)
        counted = np.full(keep.size, -1)
        counted[rows] = count_neighbours(
            select(locs, rows), radius_um=criteria.density_radius_um, z_radius_um=criteria.density_z_radius_um
        )
        if criteria.neighbours_min is not None:
            ask("neighbours_min", counted >= criteria.neighbours_min)
        if criteria.neighbours_max is not None:
            ask("neighbours_max", counted <= criteria.neighbours_max)
    return select(locs, keep), FilterReport(keep.size, int(keep.sum()), removed)


def count_neighbours(locs: Localizations, *, radius_um: float, z_radius_um: float | None = None) -> NDArray[np.int64]:
    """Count the other localizations, of all frames, within a radius of each, (n,).

    `z_radius_um` None: laterally alone; else within the ellipsoid of `radius_um` and `z_radius_um`.

    >>> from localization import make_localizations
    >>> count_neighbours(make_localizations([0, 5, 9], [1.0, 1.1, 3.0], [1, 1, 1], [0, 0, 0]), radius_um=0.2)
    array([1, 1, 0])
    """
    columns = [locs.x_um / radius_um, locs.y_um / radius_um]
    if z_radius_um is not None:
        columns.append(locs.z_um / z_radius_um)
    points = np.column_stack(columns)
    if len(points) == 0:
        return np.zeros(0, np.int64)
    tree = KDTree(points)
    parts = [
        tree.query_ball_point(points[i : i + _ROWS_AT_ONCE], 1.0, return_length=True, workers=-1)
        for i in range(0, len(points), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.int64) - 1


def _known(locs: Localizations, column: str, name: str) -> NDArray[np.float64]:
    values = locs.extras.get(column, np.full(locs.frame.size, np.nan)) if column in _REMEDY else getattr(locs, column)
    if values.size and np.isnan(values).all():
        remedy = _REMEDY.get(column, "leave the criterion out")
        raise LocalizationError(f"filter: {name} is set, but the table has no {column}; {remedy}")
    return values
