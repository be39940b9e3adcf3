"""What drawn scenes follow: number, place, depth and brightness of their emitters, by statistics of many draws."""

import jax
import numpy as np
import pytest
import scipy.stats

from made.made_generator import CONFIG, CROP, made_generator
from training.generator.draw import DrawSettings, generate_scene
from training.generator.files import load_generator

DRAWS, SIDE_UM = 2000, CROP * CONFIG.microscope.pixel_um
OWN_UM = np.array([[1.0, 1.5], [2.0, 1.0]])  # of the made posterior's two sure emitters
RARE = 1e-4  # a right generator fails one of these tests in ten thousand keys; the keys are fixed
many = jax.jit(lambda keys, generator: jax.vmap(lambda key: generate_scene(key, generator))(keys))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A made generator's folder, its networks small for the whole file."""
    place = tmp_path_factory.mktemp("generator") / "run"
    with made_generator(place):
        yield place


def drawn(folder, **settings):
    """Emitters (N, 3) and photons (N,) of many scenes of the crop's size, and how many each scene has."""
    generator = load_generator(folder, CROP, DrawSettings(**settings))
    emitters = many(jax.random.split(jax.random.key(7), DRAWS), generator).emitters
    kept = np.asarray(emitters.valid)
    return np.asarray(emitters.xyz_um)[kept], np.asarray(emitters.photons)[kept], kept.sum(axis=1)


def test_emitters_anywhere_fill_the_frame_evenly(folder):
    """x and y even over the frame and independent; their number Poisson about the two that are found per frame."""
    xyz, _, count = drawn(folder, places="even")
    for axis in (0, 1):
        assert scipy.stats.kstest(xyz[:, axis] / SIDE_UM, "uniform").pvalue > RARE
    assert scipy.stats.spearmanr(xyz[:, 0], xyz[:, 1]).pvalue > RARE
    expected = DRAWS * scipy.stats.poisson.pmf(np.arange(6), 2.0)
    observed = np.bincount(np.minimum(count, 6), minlength=7)
    assert scipy.stats.chisquare(observed, [*expected, DRAWS - expected.sum()]).pvalue > RARE


def test_emitters_near_are_near_the_frames_own_in_all_eight_turns(folder):
    """Each of two sure emitters, in each turn and mirror of the crop, is met as often as the others.

    The third, with a probability of 0.25 %, takes its share of 0.12 %.
    """
    xyz, _, count = drawn(folder, places="near", jitter_um=0.01)
    xyz = xyz[(np.cumsum(count) - count)[count > 0]]  # the first of each scene: all of a scene are turned alike
    places = []
    for x, y in OWN_UM:
        for a in (x, SIDE_UM - x):
            for b in (y, SIDE_UM - y):
                places += [(a, b), (b, a)]
    distance = np.linalg.norm(xyz[:, None, :2] - np.array(places), axis=-1)
    near = distance.min(axis=1) < 0.01 * 6 + 0.007 * 5  # jitter, and the posterior's own width
    assert scipy.stats.binomtest(int((~near).sum()), len(near), 0.0025 / 2).pvalue > RARE
    met = np.bincount(distance[near].argmin(axis=1), minlength=len(places))
    assert scipy.stats.chisquare(met).pvalue > RARE


def test_brightness_is_the_movies_and_scales(folder):
    """Log photons are the two found ones, each as often, with their jitter; `brightness` multiplies them."""
    _, photons, _ = drawn(folder, places="even")
    _, brighter, _ = drawn(folder, places="even", brightness=3.0)
    upper = np.log(photons) > np.log(np.sqrt(1000.0 * 2000.0))
    assert scipy.stats.binomtest(int(upper.sum()), len(upper)).pvalue > RARE
    normal = (np.log(photons) - np.where(upper, np.log(2000.0), np.log(1000.0))) / 0.15
    # the halves overlap by 1 % at 2.3 deviations: the spread is known to 3 %
    assert normal.std() == pytest.approx(1.0, abs=0.04)
    np.testing.assert_allclose(brighter, 3 * photons, rtol=1e-6)
