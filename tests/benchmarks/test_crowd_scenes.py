"""Frames that the shipped networks learn from: those of a level are as crowded and faint as it says."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from localization.patches import difficulty_level
from training.scenes import frame_keys
from worlds.cel0 import make_spots, solve
from worlds.crowd_scenes import PIXEL_UM, crowd_scene, molecule_places, pair_of_level


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_pairs_of_a_level_lie_near_it(level):
    """The paper's rule, in its own words, says the level of what was drawn, or its neighbour at the border."""
    keys = frame_keys(jax.random.key(level), 0, 300)
    density, ratio = (np.asarray(v) for v in jax.vmap(pair_of_level, (0, None))(keys, crowd_scene(level, 42)))
    said = difficulty_level(density, ratio)
    assert np.abs(said - level).max() <= 1 and (said == level).mean() > 0.4
    assert density.min() >= 0.05 and density.max() <= (5.5 if level == 4 else 3.0)


def test_places_fill_the_frame():
    """Whatever the structure, molecules lie inside, and over many frames everywhere alike."""
    side = 42 * PIXEL_UM
    places = np.concatenate(
        [np.asarray(molecule_places(key, 60, side)) for key in frame_keys(jax.random.key(0), 0, 200)]
    )
    assert places.min() >= 0 and places.max() < side
    assert np.abs(places.mean(axis=0) / side - 0.5).max() < 0.03  # 1,200 anchors: 0.29 / sqrt(1200) is 0.008


def test_cel0_finds_a_few_molecules():
    """Two molecules on the grid without noise: nothing but their pixels and the next ones is lit, with their light."""
    spots = make_spots(14, 1.1, 4)
    truth = np.zeros((56, 56), np.float32)
    truth[20, 20], truth[30, 27] = 900.0, 700.0
    frame = spots.share @ truth @ spots.share.T
    found = solve(frame, spots, 500.0)
    near = ndimage.maximum_filter(truth, 3)
    assert not found[near == 0].any()
    for light in (900.0, 700.0):
        assert abs(found[near == light].sum() - light) < 0.1 * light  # it ends where a step changes x by 2e-4
