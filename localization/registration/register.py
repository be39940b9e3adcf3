"""One list laid onto another: what two colours have in common, or beads that both show."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from localization.extent import without_far_rows
from localization.registration.beads import match_beads
from localization.registration.structures import match_structures
from localization.registration.transform import TERMS, Floats, Kind, Transform
from localization.types import LocalizationError, Localizations

By = Literal["structures", "beads"]
_ROWS_MIN = {"structures": 500, "beads": 3}


@dataclass(frozen=True, eq=False)
class Registration:
    """The map of the second list onto the first, and how good it is.

    `residual_um` is what is left between the two, rms in the plane: of beads from their partners, or of parts of the
    field that are each moved once more by themselves; corrected for the numbers that were fitted. `residual_error_um`
    is its standard error, `error_um` the standard error of the map itself, averaged over the field: how far registered
    places still lie off. `control_um` (k, 2) are the places of beads or parts, `left_um` (k, 2) what is left there.
    `diagnostics` holds the method's numbers, `notes` what the user should know.
    """

    transform: Transform
    by: By
    residual_um: float
    residual_error_um: float
    error_um: float
    control_um: Floats
    left_um: Floats
    diagnostics: dict[str, float]
    notes: tuple[str, ...]


def register(
    first: Localizations,
    second: Localizations,
    *,
    kind: Kind = "affine",
    by: By = "structures",
    search_um: float = 2.0,
) -> Registration:
    """Find the map that lays the second list onto the first.

    by "structures": both colours show something in common. Parts of the second picture are looked for in the first
    within `search_um`; a map that many of them agree on is then refined until the two lists meet best at every scale
    down to 25 nm. by "beads": the lists are of beads that both colours show, in one frame or many. Apply the result by
    `localization.registration.transform.move`.

    Raises LocalizationError, with the numbers, where there is no map to be trusted: too few rows, no shift that many
    parts agree on (unlike structures), too few common beads, two lists that meet no better there than elsewhere.

    >>> from localization import make_localizations
    >>> draw = np.random.default_rng(0)
    >>> bead = draw.uniform(0, 20, (30, 2))
    >>> turned = 1.01 * bead + [0.3, -0.2]
    >>> a, b = (make_localizations(np.zeros(30), *place.T, np.zeros(30)) for place in (turned, bead))
    >>> round(register(a, b, by="beads").transform.magnification, 4)
    1.01
    """
    if by not in _ROWS_MIN:
        raise LocalizationError(f"register: unknown way {by!r}; use 'structures' or 'beads'")
    if kind not in TERMS:
        raise LocalizationError(f"register: unknown map {kind!r}; use {', '.join(TERMS)}")
    if not (np.isfinite(search_um) and 0.1 <= search_um <= 20):
        raise LocalizationError(f"register: search_um is {search_um}; give a distance from 0.1 to 20 um")
    notes, places = [], []
    for name, locs in (("first", first), ("second", second)):
        if locs.frame.size < _ROWS_MIN[by]:
            raise LocalizationError(
                f"register: the {name} list has {locs.frame.size} rows; by {by} it needs {_ROWS_MIN[by]} or more"
            )
        near, far = without_far_rows(locs, ("x_um", "y_um"))
        notes += [f"of the {name} list, {note}" for note in far.note("not used to register")]
        places.append(near)
    way = match_beads if by == "beads" else match_structures
    found = way(places[0], places[1], kind, search_um)
    k, terms = len(found.left_um), TERMS[kind]
    freedom = 2 * k - terms
    weighed = float(np.einsum("ki,kij,kj->", found.left_um, found.weight, found.left_um))
    variance = weighed / float(np.trace(found.weight.mean(axis=0)) / 2) / freedom  # per axis
    residual_um = float(np.sqrt(2 * variance))
    return Registration(
        transform=found.transform,
        by=by,
        residual_um=residual_um,
        residual_error_um=residual_um / float(np.sqrt(2 * freedom)),
        error_um=float(np.sqrt(variance * terms / k)),
        control_um=found.control_um,
        left_um=found.left_um,
        diagnostics=found.diagnostics,
        notes=(*notes, *found.notes),
    )
