"""What both ways of registering give."""

from dataclasses import dataclass

from localization.registration.transform import Floats, Transform


@dataclass(frozen=True, eq=False)
class Matched:
    """A map, the places (k, 2) where it was checked, and what is left there (k, 2) after it, um.

    `weight` (k, 2, 2) is how well each direction is known: along the one thread of a part little can be told.
    """

    transform: Transform
    control_um: Floats
    left_um: Floats
    weight: Floats
    diagnostics: dict[str, float]
    notes: tuple[str, ...]
