"""A map from what two colours' pictures have in common."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import minimize

from localization.registration.consensus import agreeing
from localization.registration.matched import Matched
from localization.registration.transform import TERMS, Floats, Transform, fitted, make_transform, refined
from localization.types import LocalizationError, Localizations

_COARSE_UM = 0.04  # pixel of the pictures in which parts are looked for
_PART_UM = 5.0  # side of a part; a field has 3 x 3 at least and 8 x 8 at most
_PART_ROWS = 40
_TOLERANCE_UM = 0.12  # of a part's shift, whose picture is smeared by turn and magnification
_AGREE_MIN, _AGREE_SHARE = 6, 0.25  # by chance, two parts in a search of 2 um are joined by four others once in 10,000
_SCALES_UM = (0.1, 0.05, 0.025)  # standard deviations of the blur under which lists are made to meet
_BROAD = 4.0  # what is smooth over so many of them is taken out: else places would drift to where there is more
_SIGNIFICANT = 6.0
_BLOCKS = 4  # parts each way that are moved by themselves at the end
_BLOCK_MAX_UM = 0.2
_RIDGE = 0.1  # of the largest curvature: what is known ten times less well than the best direction is halved
_PIXELS_MAX = 200_000_000


def match_structures(first: Localizations, second: Localizations, kind: str, search_um: float) -> Matched:
    """Find parts of the second picture in the first, and refine the map that they agree on."""
    a, b = (np.stack([locs.x_um, locs.y_um], axis=1) for locs in (first, second))
    from_um, to_um, tried = part_shifts(a, b, search_um)
    coarse, agree = agreeing(from_um, to_um, _TOLERANCE_UM)
    needed = max(_AGREE_MIN, round(_AGREE_SHARE * tried))
    if agree.sum() < needed:
        raise LocalizationError(
            f"register: of {tried} parts of the second picture {int(agree.sum())} were found in the first at shifts "
            f"that agree; {needed} are needed. Have both colours a structure in common? Raise search_um "
            f"({search_um:g}), or register by beads"
        )
    own = over_field(coarse, b)
    transform = refined(own, kind) if kind != "shift" else replace(make_transform("shift", b), amount_um=own.shift_um)
    for sigma_um in _SCALES_UM:
        view = make_view(a, sigma_um)
        points = thinned(b, sigma_um / 2)
        transform = meet(view, points, transform)
    view = make_view(a, _SCALES_UM[1])
    points = thinned(b, _SCALES_UM[1] / 2)
    significance = stands_out(view, points, transform)
    if significance < _SIGNIFICANT:
        raise LocalizationError(
            f"register: under the best map the lists meet {significance:.1f} standard deviations more often than when "
            f"moved apart, {_SIGNIFICANT:g} are needed; there is too little in common, register by beads"
        )
    control, left, known = block_shifts(view, points, transform)
    if 2 * len(left) < TERMS[kind] + 4:
        raise LocalizationError(
            f"register: only {len(left)} of {_BLOCKS**2} parts of the field can be checked by themselves; a map of "
            f"kind '{kind}' needs {TERMS[kind] // 2 + 2}: take a simpler one, or more localizations"
        )
    numbers = {"parts": float(tried), "parts_agree": float(agree.sum()), "significance": significance}
    return Matched(transform, control, left, known, numbers, ())


def over_field(coarse: Transform, b: Floats) -> Transform:
    """Write a similarity in the coordinates of the whole field of the places (n, 2)."""
    empty = make_transform("similarity", b)
    corners = empty.centre_um + empty.half_um * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]])
    return fitted(empty, corners, coarse.moved(corners))


def part_shifts(a: Floats, b: Floats, search_um: float) -> tuple[Floats, Floats, int]:
    """Find parts of b's picture in a's: centres of parts (n, 2), where they lie in a (n, 2), how many were tried."""
    from skimage.feature import match_template  # takes most of a second to load

    low = np.minimum(a.min(axis=0), b.min(axis=0)) - search_um
    size = np.ceil((np.maximum(a.max(axis=0), b.max(axis=0)) + search_um - low) / _COARSE_UM).astype(int)
    if int(size[0]) * int(size[1]) > _PIXELS_MAX:
        raise LocalizationError(
            f"register: {size[0]} x {size[1]} pixels of {1e3 * _COARSE_UM:g} nm are too many; cut the field first "
            "(colocus filter LIST --out PART 'x_um=[from,to]' 'y_um=[from,to]')"
        )
    one, other = (_sharp(_counted(xy, low, size, _COARSE_UM), 1.5) for xy in (a, b))
    reach = round(search_um / _COARSE_UM)
    start = np.floor((b.min(axis=0) - low) / _COARSE_UM).astype(int)
    span = np.ceil((b.max(axis=0) - low) / _COARSE_UM).astype(int) - start
    parts = np.clip(np.round(span * _COARSE_UM / _PART_UM), 3, 8).astype(int)
    side = span // parts
    if side.min() < 20:
        raise LocalizationError(
            f"register: the second list spans {span[0] * _COARSE_UM:.2g} x {span[1] * _COARSE_UM:.2g} um; parts of it "
            "are too small to be found again, register by beads"
        )
    rows = _counted(b, low, size, _COARSE_UM)
    found, tried = [], 0
    for k in np.ndindex(int(parts[0]), int(parts[1])):
        corner = start + np.array(k) * side
        cut = tuple(slice(int(c), int(c + s)) for c, s in zip(corner[::-1], side[::-1], strict=True))
        if rows[cut].sum() < _PART_ROWS:
            continue
        tried += 1
        wide = tuple(
            slice(max(0, s.start - reach), min(n, s.stop + reach)) for s, n in zip(cut, one.shape, strict=True)
        )
        if one[wide].std() == 0:
            continue
        match = match_template(one[wide], other[cut])
        at = np.unravel_index(int(match.argmax()), match.shape)
        offset = np.array([wide[1].start + at[1] - cut[1].start, wide[0].start + at[0] - cut[0].start])
        middle = low + (corner + side / 2) * _COARSE_UM
        found.append((middle, middle + offset * _COARSE_UM))
    pairs = np.array(found).reshape(-1, 2, 2)
    return pairs[:, 0], pairs[:, 1], tried


@dataclass(frozen=True, eq=False)
class View:
    """A picture of the first list, blurred, without what is smooth, and its slopes in x and y, each (H, W)."""

    pictures: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    low_um: Floats
    pixel_um: float

    def at(self, xy_um: Floats) -> Floats:
        """Read the picture and its slopes (1/um) at places (n, 2): (3, n); 0 outside."""
        column, row = ((xy_um - self.low_um) / self.pixel_um - 0.5).T
        values = [ndimage.map_coordinates(one, [row, column], order=1, mode="constant") for one in self.pictures]
        return np.asarray(values, np.float64)


def make_view(a: Floats, sigma_um: float) -> View:
    """Draw the first list for places to be read from, at half a standard deviation a pixel."""
    pixel = sigma_um / 2
    margin = 3 * _BROAD * sigma_um
    low = a.min(axis=0) - margin
    size = np.ceil((a.max(axis=0) + margin - low) / pixel).astype(int)
    if int(size[0]) * int(size[1]) > _PIXELS_MAX:
        raise LocalizationError(
            f"register: {size[0]} x {size[1]} pixels of {1e3 * pixel:g} nm are too many; cut the field first"
        )
    image = _sharp(_counted(a, low, size, pixel), sigma_um / pixel)
    down, across = (np.asarray(np.gradient(image, pixel, axis=axis), np.float32) for axis in (0, 1))
    return View((image, across, down), low, pixel)


def thinned(xy_um: Floats, pixel_um: float) -> tuple[Floats, Floats]:
    """Put together the rows of a pixel: mean places (n, 2), and weights (n,) that grow as the root of their number."""
    cell = np.floor((xy_um - xy_um.min(axis=0)) / pixel_um).astype(np.int64)
    key = cell[:, 0] * (int(cell[:, 1].max()) + 1) + cell[:, 1]
    _, code, count = np.unique(key, return_inverse=True, return_counts=True)
    place = np.stack([np.bincount(code, axis) for axis in xy_um.T], axis=1) / count[:, None]
    return place, np.sqrt(count)


def meet(view: View, points: tuple[Floats, Floats], transform: Transform) -> Transform:
    """Climb to the map under which the points meet the view best, from one that is nearly right."""
    place, weight = points
    fields = transform.fields(place)
    scale = 1.0 / float(weight.sum())

    def lost(amount: Floats) -> tuple[float, Floats]:
        value, *slopes = view.at(place + np.einsum("ndk,k->nd", fields, amount))
        gradient = np.einsum("dn,ndk->k", np.asarray(slopes) * weight, fields)
        return -scale * float(value @ weight), -scale * gradient

    top = max(float(np.abs(view.pictures[0]).max()), 1e-30)
    done = minimize(
        lambda amount: tuple(part / top for part in lost(amount)),
        transform.amount_um, jac=True, method="BFGS", options={"gtol": 1e-5, "maxiter": 60},
    )  # fmt: skip
    return replace(transform, amount_um=np.asarray(done.x))


def stands_out(view: View, points: tuple[Floats, Floats], transform: Transform) -> float:
    """Tell how much better the points meet than when moved by 0.4 to 1.2 um: in standard deviations of those."""
    place, weight = points
    placed = transform.moved(place)
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.concatenate([r * np.stack([np.cos(angle), np.sin(angle)], axis=1) for r in (0.4, 0.8, 1.2)])
    away = np.array([view.at(placed + by)[0] @ weight for by in ring])
    return float((view.at(placed)[0] @ weight - away.mean()) / max(float(away.std(ddof=1)), 1e-30))


def block_shifts(view: View, points: tuple[Floats, Floats], transform: Transform) -> tuple[Floats, Floats, Floats]:
    """Move blocks of the field once more, each by itself: centres (k, 2), by how much (k, 2), how well known (k, 2, 2).

    A shift is shrunk in directions of hardly any curvature, along the only thread of a block.
    """
    place, weight = points
    placed = transform.moved(place)
    low, span = placed.min(axis=0), np.maximum(np.ptp(placed, axis=0), 1e-9)
    block = np.minimum((_BLOCKS * (placed - low) / span).astype(int), _BLOCKS - 1) @ [_BLOCKS, 1]
    control, left, known = [], [], []
    for k in range(_BLOCKS**2):
        inside = block == k
        if inside.sum() < _PART_ROWS:
            continue
        part = placed[inside], weight[inside]
        shift = meet(view, part, make_transform("shift", placed[inside])).amount_um
        still = make_transform("shift", part[0])
        if (
            np.hypot(*shift) < _BLOCK_MAX_UM
            and stands_out(view, part, replace(still, amount_um=shift)) > _SIGNIFICANT / 2
        ):
            curved = curvature(view, part, shift)
            ridge = _RIDGE * float(np.linalg.eigvalsh(curved)[-1]) * np.eye(2)
            control.append(np.average(part[0], axis=0, weights=part[1]))
            left.append(np.linalg.solve(curved + ridge, curved @ shift))
            known.append(curved)
    return np.array(control).reshape(-1, 2), np.array(left).reshape(-1, 2), np.array(known).reshape(-1, 2, 2)


def curvature(view: View, points: tuple[Floats, Floats], shift_um: Floats) -> Floats:
    """Measure how sharply (2, 2) the points' meeting falls off around a shift, by differences of its slopes."""
    place, weight = points
    step = view.pixel_um
    ends = [view.at(place + shift_um + by)[1:] @ weight for by in step * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])]
    slope = np.stack([ends[1] - ends[0], ends[3] - ends[2]]) / (2 * step)
    value, axes = np.linalg.eigh((slope + slope.T) / 2)
    return (axes * np.maximum(value, 1e-3 * max(float(value[-1]), 1e-30))) @ axes.T


def _counted(xy_um: Floats, low_um: Floats, size: NDArray, pixel_um: float) -> NDArray[np.float64]:
    """Count rows per pixel, (H, W); `size` is (W, H)."""
    cell = np.floor((xy_um - low_um) / pixel_um).astype(np.int64)
    cell = cell[((cell >= 0) & (cell < size)).all(axis=1)]
    counts = np.bincount(cell[:, 1] * int(size[0]) + cell[:, 0], minlength=int(size[0]) * int(size[1]))
    return counts.reshape(int(size[1]), int(size[0])).astype(np.float64)


def _sharp(counts: NDArray[np.float64], sigma_px: float) -> NDArray[np.float32]:
    """Blur the root of counts, so that bright spots do not decide alone, and take out what is smooth."""
    root = np.sqrt(counts).astype(np.float32)
    fine, smooth = (ndimage.gaussian_filter(root, width) for width in (sigma_px, _BROAD * sigma_px))
    return np.asarray(fine - smooth, np.float32)
