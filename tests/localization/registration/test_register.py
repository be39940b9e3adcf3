"""Two colours whose map is known: shift, turn, magnification; and pairs that have none."""

import numpy as np
import pytest

from localization import LocalizationError, make_localizations, move, register
from localization.registration.transform import fitted, make_transform, refined

SIDE_UM = 15.0


def threads(rng, count):
    """Points along threads that bend slowly."""
    steps = int(1.3 * SIDE_UM / 0.02)
    angle = rng.uniform(0, 2 * np.pi, (count, 1)) + np.cumsum(rng.normal(0, np.sqrt(0.02 / 15), (count, steps)), axis=1)
    path = np.cumsum(0.02 * np.stack([np.cos(angle), np.sin(angle)], axis=-1), axis=1)
    path += rng.uniform(0, SIDE_UM, (count, 1, 2)) - path[:, steps // 2, None]
    points = path.reshape(-1, 2)
    return points[((points > 0) & (points < SIDE_UM)).all(axis=1)]


def seen(rng, points, rows):
    return points[rng.integers(0, len(points), rows)] + rng.normal(0, 0.015, (rows, 2))


def table(xy):
    return make_localizations(np.arange(len(xy)) // 50, *xy.T, np.zeros(len(xy)))


def turned(xy, shift=(0.35, -0.5), degrees=0.6, magnification=1.01):
    """The truth, by complex numbers."""
    middle = SIDE_UM / 2 * (1 + 1j)
    place = (xy[:, 0] + 1j * xy[:, 1] - middle) * magnification * np.exp(1j * np.radians(degrees))
    place += middle + complex(*shift)
    return np.stack([place.real, place.imag], axis=1)


def off_nm(found, xy):
    return 1e3 * float(np.sqrt(((found.transform.moved(xy) - turned(xy)) ** 2).sum(axis=1).mean()))


@pytest.mark.parametrize("kind", ["affine", "quadratic"])
def test_structures_give_back_shift_turn_and_magnification(kind):
    """Threads seen in both colours, a third of the second colour's on threads of its own: the map is the true one to a
    few nanometres (molecules scatter by 15), and no farther off than twice what it says of itself."""
    rng = np.random.default_rng(1)
    common, own = threads(rng, 16), threads(rng, 8)
    second = np.concatenate([seen(rng, common, 8000), seen(rng, own, 4000)])
    found = register(table(turned(seen(rng, common, 10000))), table(second), kind=kind)
    assert off_nm(found, second) < 4 and off_nm(found, second) < 2e3 * found.error_um
    assert found.transform.rotation_deg == pytest.approx(0.6, abs=0.03)
    assert found.transform.magnification == pytest.approx(1.01, abs=5e-4)
    assert 0 < found.residual_error_um < found.residual_um < 0.02


def test_beads_leave_what_their_scatter_says():
    """60 beads in 20 frames, a fifth missing from either list: what is left over is the scatter of two mean places,
    sqrt(2) sqrt(2 / 20) 8 nm, and the map is off by sqrt(6 / 2 pairs) of that."""
    rng = np.random.default_rng(5)
    place = rng.uniform(0, SIDE_UM, (60, 2))
    lists = []
    for where in (turned(place), place):
        kept = where[rng.random(60) < 0.8]
        frames = [kept + rng.normal(0, 0.008, kept.shape) for _ in range(20)]
        frame = np.repeat(np.arange(20), len(kept))
        lists.append(make_localizations(frame, *np.concatenate(frames).T, np.zeros(frame.size)))
    found = register(*lists, by="beads")
    expected_um = np.sqrt(2) * np.sqrt(2 / 20) * 0.008
    assert found.residual_um == pytest.approx(expected_um, abs=4 * found.residual_error_um)
    assert found.error_um == pytest.approx(found.residual_um * np.sqrt(3 / len(found.left_um)), rel=1e-9)
    assert off_nm(found, place) < 3e3 * found.error_um


@pytest.mark.parametrize("seed", [0, 1])
def test_unlike_structures_are_refused(seed):
    """Two cells' threads that have nothing to do with each other: no map, rather than a wrong one."""
    rng = np.random.default_rng(seed)
    with pytest.raises(LocalizationError, match="Have both colours a structure in common"):
        register(*(table(seen(rng, threads(rng, 16), 8000)) for _ in range(2)))


def test_too_little_is_refused():
    rng = np.random.default_rng(0)
    few = [table(rng.uniform(0, SIDE_UM, (n, 2))) for n in (60, 50, 4)]
    with pytest.raises(LocalizationError, match="the first list has 60 rows; by structures it needs 500"):
        register(few[0], few[1])
    with pytest.raises(LocalizationError, match="no map within 2 um brings 6 beads"):
        register(few[0], few[1], by="beads")
    with pytest.raises(LocalizationError, match="60 and 4 beads; a map of kind 'affine' needs 6"):
        register(few[0], few[2], by="beads")
    with pytest.raises(LocalizationError, match="search_um is 0"):
        register(few[0], few[1], by="beads", search_um=0.0)
    with pytest.raises(LocalizationError, match="unknown map 'cubic'; use shift, similarity"):
        register(few[0], few[1], kind="cubic")  # pyright: ignore[reportArgumentType]


def test_maps_are_what_their_numbers_say():
    """A fitted similarity is the complex factor it was made from, the same as an affine map, and moves a list's rows;
    uncertainties grow with it."""
    rng = np.random.default_rng(0)
    place = rng.uniform(0, SIDE_UM, (12, 2))
    similar = fitted(make_transform("similarity", place), place, turned(place, magnification=1.2))
    assert (similar.magnification, similar.rotation_deg) == (pytest.approx(1.2), pytest.approx(0.6))
    for kind in ("affine", "quadratic"):
        np.testing.assert_allclose(refined(similar, kind).moved(place), similar.moved(place), rtol=1e-12)
    moved = move(make_localizations(np.zeros(12), *place.T, np.ones(12), sigma_x_um=0.01), similar)
    np.testing.assert_allclose([moved.x_um, moved.y_um], turned(place, magnification=1.2).T)
    assert moved.sigma_x_um[0] == pytest.approx(0.012) and moved.z_um[0] == 1
