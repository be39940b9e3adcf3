"""Isolated emitters are held against the bound of what the frame shows of them, by a reader that expects no more."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.compare import scoring
from optics import make_camera, make_microscope, make_psf
from optics.psf import image_and_slopes, pupil_fields

PIXEL_UM, SIDE, FRAME_PX = 0.11, 13, 20


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    aberration_um = np.array([0, 0, 0, 0, 0, 0.06])
    return make_psf(scope, zernike_um=aberration_um, image_px=SIDE, pupil_px=24, pixel="centre")


def test_the_bound_of_an_emitter_counts_the_pixels_in_the_frame_alone(psf):
    """One in the middle, and one whose image is cut by two sides of the frame: the Fisher matrix summed by numpy."""
    places = np.array([[1.1, 1.12, 0.1], [0.02, 2.19, 0.1]])
    found = np.asarray(scoring.frame_bounds_um(psf, jnp.asarray(places), 2000.0, 20.0, FRAME_PX))
    for place, bound in zip(places, found, strict=True):
        first = np.round(place[:2] / PIXEL_UM - SIDE / 2).astype(int)
        within = np.append(place[:2] - (first + SIDE / 2) * PIXEL_UM, place[2])
        drawn = np.asarray(jax.jit(lambda p: image_and_slopes(psf, pupil_fields(psf), p))(jnp.asarray(within)), float)
        columns, rows = (slice(max(0, -n), min(SIDE, FRAME_PX - n)) for n in first)
        image, *by_xyz = drawn.reshape(4, SIDE, SIDE)[:, rows, columns]
        slopes = np.array([*(2000 * np.array(by_xyz)), image, np.ones_like(image)]).reshape(5, -1)
        fisher = (slopes / (2000 * image + 20).ravel()) @ slopes.T
        scale = 1 / np.sqrt(np.diag(fisher))
        inverse = np.linalg.inv(fisher * np.outer(scale, scale)) * np.outer(scale, scale)
        assert bound == pytest.approx(np.sqrt(np.diag(inverse))[:3], rel=2e-3)
    assert found[1, 0] > 1.1 * found[0, 0]  # cut off, it is known less well


def test_isolated_emitters_are_read_without_light_around_their_stamps(psf, monkeypatch):
    """They are drawn with it as an even background, whatever the scenes of crowds are."""
    monkeypatch.setattr(scoring, "learned_psf", lambda parts, state: psf)
    crowds: dict[Any, bool] = {"drawn": True, "even": False}
    for stray, crowds_have_wings in crowds.items():
        scene = scoring.SceneConfig(frame_px=FRAME_PX, z_min_um=-0.3, z_max_um=0.3, margin_um=0.2, stray=stray)
        parts: Any = SimpleNamespace(run=SimpleNamespace(scene=scene), camera=make_camera(), looks=lambda psf: psf)
        config: Any = SimpleNamespace(score=SimpleNamespace(pair_photons=()))
        readers = scoring.joint_readers(parts, None, config)
        assert readers.crowds.identity["wings"] is crowds_have_wings
        assert readers.alone.identity["wings"] is False
