"""Bounds between species: against sums over counts, another optimiser, and a reader that must not beat them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import ndtr

from optics import make_camera
from optics.colour.bound import (
    accuracy_gaussian,
    accuracy_limit,
    bhattacharyya,
    chernoff,
    counts_of,
    least_favourable,
    species_bounds,
)
from optics.colour.classify import classify_emitters, decide
from optics.psf_table import tabulate_images
from optics.pytree import replace
from optics.types import OpticsError

SIDE, PIXEL_UM = 9, 0.1


def spots(points, width_px):
    """Gaussian spots that widen with z, integrated over pixels: (N, 81)."""
    edges = np.arange(SIDE + 1) - SIDE / 2
    sigma = width_px * (1 + 0.25 * points[:, 2])[:, None]
    x, y = (np.diff(ndtr((edges - points[:, k, None] / PIXEL_UM) / sigma)) for k in (0, 1))
    return (y[:, :, None] * x[:, None, :]).reshape(len(points), -1)


@pytest.fixture(scope="module")
def tables():
    """Two species: widths of 1.0 to 1.25 and of 1.3 to 1.625 px over depth, which do not overlap."""
    return [
        tabulate_images(
            lambda points, w=width: spots(points, w), (0.0, 1.0), image_px=SIDE, pixel_um=PIXEL_UM, degrees=(12, 6)
        )
        for width in (1.0, 1.3)
    ]


def test_the_distances_are_those_of_poisson_counts():
    """-log sum sqrt(p q) and the maximum of -log sum p^s q^(1-s), summed over two pixels' counts."""
    a, b = np.array([4.0, 9.0]), np.array([6.0, 3.0])
    n = np.arange(80)
    laws = [[stats.poisson.pmf(n, mean) for mean in means] for means in (a, b)]

    def integral(s):
        return np.prod([np.sum(p**s * q ** (1 - s)) for p, q in zip(*laws, strict=True)])

    two = jnp.asarray(a[None]), jnp.asarray(b[None])
    assert float(bhattacharyya(*two)) == pytest.approx(-np.log(integral(0.5)), rel=1e-9)
    best = optimize.minimize_scalar(lambda s: np.log(integral(s)), bounds=(0, 1), method="bounded").fun  # pyright: ignore
    assert float(chernoff(*two)) == pytest.approx(-best, rel=1e-4)
    joint = [np.outer(*law) for law in laws]
    right = np.maximum(*joint).sum() / 2  # the best reader of all
    distance = float(bhattacharyya(*two))
    assert 1 - np.exp(-float(chernoff(*two))) / 2 <= right <= float(accuracy_limit(distance))
    assert float(accuracy_gaussian(distance)) == pytest.approx(right, abs=0.01)


def test_the_rival_is_the_one_that_another_optimiser_finds(tables):
    """scipy over the exact spots from several depths; the same species twice: 50 %; what is known is not moved."""
    z, light, level = 0.2, 2000.0, 10.0
    image = light * spots(np.array([[0, 0, z]]), 1.0)[0] + level
    find = jax.jit(least_favourable)
    start = jnp.array([0.0, 0.0, z, light, level])

    def residual(p):
        return (np.sqrt(image) - np.sqrt(p[3] * light * spots(p[None, :3], 1.3)[0] + p[4] * level)) / np.sqrt(2)

    low, high = [-0.15, -0.15, 0, 1e-3, 1e-3], [0.15, 0.15, 1, 9, 9]
    starts = ([0.0, 0.0, depth, 1.0, 1.0] for depth in (0.05, 0.5))
    least = min(2 * optimize.least_squares(residual, p, bounds=(low, high), xtol=1e-10).cost for p in starts)
    found = find(tables[1], jnp.asarray(image.reshape(SIDE, SIDE)), start, None, jnp.zeros(5, bool))
    assert float(found.distance) == pytest.approx(least, rel=5e-3)

    theirs = light * spots(np.array([[0, 0, z]]), 1.3)[0] + level
    alike = find(tables[1], jnp.asarray(theirs.reshape(SIDE, SIDE)), start, None, jnp.zeros(5, bool))
    assert float(accuracy_limit(alike.distance)) == pytest.approx(0.5, abs=1e-2)  # the table is off by 1e-3
    known = find(tables[1], jnp.asarray(image.reshape(SIDE, SIDE)), start, None, jnp.ones(5, bool))
    assert float(known.distance) == pytest.approx(np.sum((np.sqrt(image) - np.sqrt(theirs)) ** 2) / 2, rel=1e-2)


def test_a_camera_takes_what_its_noise_takes():
    """Read noise: its square more counts; an EMCCD: half the counts, so half the distance."""
    assert float(counts_of(make_camera(read_noise_e=3.0, quantum_efficiency=0.5), 10.0)) == pytest.approx(14.0)
    emccd = make_camera(kind="emccd", em_gain=100.0)
    images = jnp.full((2, 2), 4.0), jnp.full((2, 2), 9.0)
    halved = bhattacharyya(*(counts_of(emccd, image) for image in images))
    assert float(halved) == pytest.approx(float(bhattacharyya(*images)) / 2)


def test_the_posterior_is_bayes_and_bad_input_is_named(tables):
    """Two equal likelihoods share; a prior multiplies."""
    channel, posterior, lead = decide(np.log([[0.2, 0.1], [0.2, 0.7], [0.6, 0.2]]))
    assert channel.tolist() == [2, 1]
    np.testing.assert_allclose(posterior[:, 1], [0.1, 0.7, 0.2])
    np.testing.assert_allclose(lead, np.log([3, 3.5]))
    images = np.full((1, SIDE, SIDE), 10.0)
    for arguments, says in (((tables[:1], images), "at least two"), ((tables, images), "positive numbers")):
        with pytest.raises(OpticsError, match=says):
            classify_emitters(*arguments, prior=None if len(arguments[0]) < 2 else [1, 0])
    for call, says in (
        (lambda: species_bounds(tables, [2.0], [100.0], 1.0), "outside"),
        (lambda: species_bounds(tables, [0.5], [0.0], 1.0), "photons"),
        (lambda: species_bounds(tables[:1], [0.5], [10.0], 1.0), "two tables"),
    ):
        with pytest.raises(OpticsError, match=says):
            call()


@pytest.mark.slow
def test_the_ends_of_a_table_of_single_precision_are_inside(tables):
    """0.1 in 32 bits is not 0.1: the ends that the user named are not refused."""
    single = [replace(table, z_range_um=jnp.asarray([0.1, 0.9], "float32")) for table in tables]
    assert species_bounds(single, [0.1, 0.9], [1000.0], 10.0).limit.shape == (2, 2, 2, 1)


@pytest.mark.slow
def test_no_reader_beats_the_bound_of_its_pair(tables):
    """1000 images of an emitter and of its rival: the likelihood-ratio reader against limit and expectation.

    The rival, at the end of its depths, has a nearer neighbour of its own among the other species: its share is the
    Gaussian one of that pair, to 3 standard errors and the 2 points by which photon counts are not Gaussian.
    """
    z, light, level, n = 0.9, 3000.0, 5.0, 1000
    bounds = species_bounds(tables, [0.0, z], [light], level)
    rival = np.asarray(bounds.rival[0, 1, 1, 0])
    assert abs(rival[2]) < 1e-3  # the narrowest of the wider ones
    rng = np.random.default_rng(0)
    means = [
        light * spots(np.array([[0, 0, z]]), 1.0)[0] + level,
        rival[3] * spots(rival[None, :3], 1.3)[0] + rival[4],
    ]
    right = []
    for species, mean in enumerate(means):
        read = classify_emitters(tables, rng.poisson(mean, (n, SIDE**2)).reshape(n, SIDE, SIDE))
        right.append(np.mean(np.asarray(read.channel) == species))
    error = np.sqrt(0.25 / n)
    assert np.mean(right) < float(bounds.limit[0, 1, 1, 0]) + 3 * error / np.sqrt(2)
    assert right[1] == pytest.approx(float(bounds.gaussian[1, 0, 0, 0]), abs=3 * error + 0.02)
