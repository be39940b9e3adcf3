"""Smooth maps of the field: a shift, a similarity, an affine map, a polynomial of second order."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from localization.types import LocalizationError, Localizations

Kind = Literal["shift", "similarity", "affine", "quadratic"]
Floats = NDArray[np.float64]

TERMS: dict[str, int] = {"shift": 2, "similarity": 4, "affine": 6, "quadratic": 12}


@dataclass(frozen=True, eq=False)
class Transform:
    """A map of the field: x + the sum of `amount_um` (terms,) times displacement fields of unit size.

    The fields are those of `kind` in coordinates that run from -1 to 1 over `half_um` to either side of `centre_um`, so
    that an amount is a displacement near the border of the field.
    """

    kind: Kind
    amount_um: Floats
    centre_um: Floats
    half_um: float

    def moved(self, xy_um: Floats) -> Floats:
        """Map places (n, 2)."""
        return xy_um + np.einsum("ndk,k->nd", self.fields(xy_um), self.amount_um)

    def fields(self, xy_um: Floats) -> Floats:
        """Compute the displacement fields (n, 2, terms) at places (n, 2)."""
        u, v = ((xy_um - self.centre_um) / self.half_um).T
        one, zero = np.ones_like(u), np.zeros_like(u)
        if self.kind == "similarity":
            across, down = [one, zero, u, -v], [zero, one, v, u]
        else:
            powers = {"shift": [one], "affine": [one, u, v], "quadratic": [one, u, v, u * u, u * v, v * v]}[self.kind]
            across = [part for power in powers for part in (power, zero)]
            down = [part for power in powers for part in (zero, power)]
        return np.stack([np.stack(across, axis=1), np.stack(down, axis=1)], axis=1)

    @property
    def matrix(self) -> Floats:
        """The map's slope (2, 2) at the centre of the field."""
        step = self.half_um  # central differences are exact for second order
        ends = self.centre_um + step * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
        moved = self.moved(ends)
        return np.stack([moved[0] - moved[1], moved[2] - moved[3]], axis=1) / (2 * step)

    @property
    def shift_um(self) -> Floats:
        """Displacement (2,) of the centre of the field."""
        return self.moved(self.centre_um[None])[0] - self.centre_um

    @property
    def magnification(self) -> float:
        """How many times larger the field becomes, at its centre."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    @property
    def rotation_deg(self) -> float:
        """Turn from x towards y, at the centre."""
        m = self.matrix
        return float(np.degrees(np.arctan2(m[1, 0] - m[0, 1], m[0, 0] + m[1, 1])))


def make_transform(kind: str, xy_um: Floats) -> Transform:
    """Make the map of `kind` that moves nothing, over the field of the places (n, 2).

    >>> make_transform("affine", np.array([[0.0, 0.0], [8.0, 6.0]])).magnification
    1.0
    """
    if kind not in TERMS:
        raise LocalizationError(f"register: unknown map {kind!r}; use {', '.join(TERMS)}")
    low, high = xy_um.min(axis=0), xy_um.max(axis=0)
    half_um = max(float((high - low).max()) / 2, 1e-3)
    return Transform(kind, np.zeros(TERMS[kind]), (low + high) / 2, half_um)  # pyright: ignore[reportArgumentType]


def fitted(transform: Transform, from_um: Floats, to_um: Floats) -> Transform:
    """Fit the amounts of a map to pairs of places (n, 2), by least squares.

    >>> place = np.random.default_rng(0).uniform(0, 10, (9, 2))
    >>> fitted(make_transform("similarity", place), place, 1.01 * place + [0.2, 0.0]).magnification.__round__(6)
    1.01
    """
    fields = transform.fields(from_um).reshape(-1, transform.amount_um.size)
    amount = np.linalg.lstsq(fields, (to_um - from_um).ravel(), rcond=None)[0]
    return replace(transform, amount_um=amount)


def refined(transform: Transform, kind: str) -> Transform:
    """Write a map as one of more terms, "similarity" as "affine" for instance."""
    empty = replace(transform, kind=kind, amount_um=np.zeros(TERMS[kind]))
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 4)] * 2), axis=-1).reshape(-1, 2)
    places = transform.centre_um + transform.half_um * grid
    return fitted(empty, places, transform.moved(places))


def move(locs: Localizations, transform: Transform) -> Localizations:
    """Map a list's x and y; uncertainties grow with the magnification, all else stays.

    >>> from localization import make_localizations
    >>> locs = make_localizations([0, 0], [0.0, 4.0], [0.0, 4.0], [0.5, 0.5])
    >>> shift = fitted(make_transform("shift", np.eye(2)), np.zeros((1, 2)), np.array([[0.5, 0.25]]))
    >>> move(locs, shift).x_um
    array([0.5, 4.5])
    """
    x_um, y_um = transform.moved(np.stack([locs.x_um, locs.y_um], axis=1)).T.copy()
    columns = {"x_um": x_um, "y_um": y_um}
    for name in ("sigma_x_um", "sigma_y_um"):
        columns[name] = getattr(locs, name) * transform.magnification
    for column in columns.values():
        column.setflags(write=False)
    return replace(locs, **columns)
