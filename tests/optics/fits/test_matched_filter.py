"""Matched filters: significance and photons against a direct sum, blindness to background, places of known spots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.fits.matched_filter import local_maxima, make_templates, propose, significance_maps

SIDE, SHAPE = 9, (30, 34)
GRID = np.arange(SIDE) - SIDE // 2


def bell(sigma_px: float) -> np.ndarray:
    """A Gaussian spot of one photon."""
    return np.exp(-0.5 * (GRID**2 + GRID[:, None] ** 2) / sigma_px**2) / (2 * np.pi * sigma_px**2)


IMAGES = np.stack([bell(1.2), bell(2.0)])
BANK = make_templates(np.array([0.0, 0.5]), IMAGES, SHAPE)
maps = jax.jit(significance_maps)


def test_significance_is_the_weighted_least_squares_estimate_over_its_error():
    """At a pixel away from the rim: photons and significance equal the direct sums over the template's pixels."""
    rng = np.random.default_rng(0)
    frame, variance = rng.normal(0, 3, SHAPE), np.full(SHAPE, 9.0)
    frame[8:17, 10:19] += 150 * IMAGES[1]
    strength, kind, photons = maps(BANK, jnp.asarray(frame), jnp.asarray(variance))
    window = frame[8:17, 10:19]
    direct = []
    for image in IMAGES:
        shape = image - image.mean()
        light = (shape * window).sum() / (shape**2).sum()
        direct.append((light * np.sqrt((shape**2).sum()) / 3, light))
    best = int(np.argmax([s for s, _ in direct]))
    assert int(kind[12, 14]) == best
    np.testing.assert_allclose(strength[12, 14], direct[best][0], rtol=1e-6)
    np.testing.assert_allclose(photons[12, 14], direct[best][1], rtol=1e-6)


def test_significance_of_noise_has_unit_variance():
    """On noise alone one template's significance is a standard normal: mean 0, variance 1 (statistics of 40 frames)."""
    bank = make_templates(np.zeros(1), IMAGES[:1], SHAPE)
    noise = 4 * jax.random.normal(jax.random.key(1), (40, *SHAPE))
    strength = jax.lax.map(lambda frame: maps(bank, frame, jnp.full(SHAPE, 16.0))[0], noise)
    inner = np.asarray(strength)[:, 6:-6, 6:-6]
    assert abs(inner.mean()) < 0.03
    assert abs(inner.var() - 1) < 0.05


def test_smooth_templates_do_not_see_a_curved_background():
    """A bump five times as wide as the spot: of what plain templates take for an emitter a fifth or less is left, and
    photons of a spot are still its photons."""
    shape, wide = (48, 50), np.arange(25) - 12
    spot = np.exp(-0.5 * (wide**2 + wide[:, None] ** 2) / 1.2**2)[None] / (2 * np.pi * 1.2**2)
    y, x = np.mgrid[: shape[0], : shape[1]]
    bump = jnp.asarray(40 * np.exp(-0.5 * ((y - 24) ** 2 + (x - 25) ** 2) / 6.0**2))
    blind, plain = (make_templates(np.zeros(1), spot, shape, smooth_px=s) for s in (1.5, None))
    seen, left = (float(maps(bank, bump, jnp.ones(shape))[2][24, 25]) for bank in (plain, blind))
    assert left < 0.2 * seen
    alone = np.zeros(shape)
    alone[12:37, 13:38] = 100 * spot[0]
    np.testing.assert_allclose(maps(blind, jnp.asarray(alone), jnp.ones(shape))[2][24, 25], 100, rtol=1e-6)


def test_proposals_are_the_emitters_strongest_first():
    """Three spots on pixel centres: three proposals at their places with their photons and depths, the rest empty."""
    frame = np.zeros(SHAPE)
    truth = [(8, 9, 0, 900.0), (20, 25, 1, 700.0), (9, 26, 0, 300.0)]
    for row, column, kind, light in truth:
        frame[row - 4 : row + 5, column - 4 : column + 5] += light * IMAGES[kind]
    found = propose(BANK, jnp.asarray(frame), jnp.full(SHAPE, 25.0), 0.1, capacity=5)
    expected = [[(c + 0.5) * 0.1, (r + 0.5) * 0.1, 0.5 * k] for r, c, k, _ in truth]
    order = np.argsort([-light * np.linalg.norm(IMAGES[k] - IMAGES[k].mean()) for _, _, k, light in truth])
    np.testing.assert_allclose(found.xyz_um[:3], np.array(expected)[order], atol=1e-9)
    np.testing.assert_allclose(found.photons[:3], np.array([t[3] for t in truth])[order], rtol=0.03)
    assert bool((jnp.diff(found.significance) <= 0).all())
    assert float(found.significance[3]) < 0.1 * float(found.significance[2])


def test_a_weak_emitter_beside_a_bright_one_comes_out_in_the_second_round():
    """Five pixels from a brighter one it is proposed with its place."""
    frame = np.zeros(SHAPE)
    frame[8:17, 8:17] += 5000 * IMAGES[0]
    frame[8:17, 13:22] += 2000 * IMAGES[0]
    found = propose(BANK, jnp.asarray(frame), jnp.full(SHAPE, 4.0), 0.1, capacity=4)
    np.testing.assert_allclose(found.xyz_um[:2, :2], [[1.25, 1.25], [1.75, 1.25]], atol=1e-9)


def test_an_empty_frame_has_no_proposals():
    """Capacity is kept, significance is 0 where there is nothing."""
    found = propose(BANK, jnp.zeros(SHAPE), jnp.ones(SHAPE), 0.1, capacity=3)
    assert float(found.significance.max()) <= 0
    assert bool(jnp.isfinite(found.xyz_um).all())


@pytest.mark.parametrize("radius", [1, 3])
def test_local_maxima(radius):
    """A value stays if no other within the square is larger: against a loop."""
    values = np.random.default_rng(2).normal(size=(12, 13))
    kept = np.asarray(local_maxima(jnp.asarray(values), radius))
    for i, j in np.ndindex(values.shape):
        around = values[max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1]
        assert kept[i, j] == (values[i, j] if values[i, j] == around.max() else 0.0)
