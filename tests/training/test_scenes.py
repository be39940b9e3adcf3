"""Random scenes: the ranges that were asked for, in expectation, the same whichever device draws them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import WingPlan, render_frames
from training import RunConfig, build, from_dict, make_scene, sample_scene, stream
from training.config import SceneConfig
from training.scenes import frame_keys, sample_frames


def many(config, n=4000, capacity=None):
    keys = jax.random.split(jax.random.key(3), n)
    scene = make_scene(config, 0.1, capacity)
    return jax.jit(jax.vmap(lambda key: sample_scene(key, scene)))(keys)


def test_counts_are_uniform_between_their_limits():
    """Every count from 2 to 5 comes with share 1/4, to five standard errors."""
    counts = np.asarray(many(SceneConfig(count_min=2, count_max=5)).valid.sum(axis=1))
    shares = np.bincount(counts, minlength=6)[2:] / counts.size
    np.testing.assert_allclose(shares, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / counts.size))


def test_positions_fill_the_frame_less_its_margin():
    """x, y, z have the mean and variance of uniform numbers in the scene's box, and never leave it."""
    config = SceneConfig(frame_px=40, margin_um=0.5, z_min_um=1.0, z_max_um=3.0, count_max=4)
    xyz = np.asarray(many(config).xyz_um).reshape(-1, 3)
    low, high = np.array([0.5, 0.5, 1.0]), np.array([3.5, 3.5, 3.0])
    assert (xyz >= low).all() and (xyz <= high).all()
    standard_error = (high - low) / np.sqrt(12 * len(xyz))
    assert (np.abs(xyz.mean(axis=0) - (low + high) / 2) < 5 * standard_error).all()
    np.testing.assert_allclose(xyz.var(axis=0), (high - low) ** 2 / 12, rtol=0.05)


def test_gamma_photons_have_their_mean_and_shape():
    """Mean 9000 and variance mean**2/shape, to five standard errors of 16,000 draws."""
    config = SceneConfig(photons="gamma", photons_mean=9000.0, photons_shape=3.0, count_max=4)
    photons = np.asarray(many(config).photons).ravel()
    assert abs(photons.mean() - 9000) < 5 * 9000 / np.sqrt(3 * photons.size)
    np.testing.assert_allclose(photons.var(), 9000**2 / 3, rtol=0.1)


def test_capacity_does_not_change_the_emitters():
    """A larger capacity draws the same emitters first, so that comparisons stay paired."""
    config = SceneConfig(count_min=3, count_max=3)
    small, large = many(config, 50), many(config, 50, capacity=9)
    np.testing.assert_array_equal(small.xyz_um, large.xyz_um[:, :3])
    np.testing.assert_array_equal(small.photons, large.photons[:, :3])
    assert large.valid.sum() == small.valid.sum()


def test_frames_depend_on_their_number_alone():
    """Frame 3 is the same drawn alone or in a batch: what data-parallel training rests on."""
    run = from_dict(RunConfig, {"psf": {"stamp_px": 11, "pupil_px": 16}, "scene": {"frame_px": 16, "count_max": 2}})
    parts = build(run)
    key = jax.random.key(0)
    draw = jax.jit(lambda keys: stream(keys, parts.psf, parts.scene, parts.background, parts.camera))
    together, alone = draw(frame_keys(key, 0, 4)), draw(frame_keys(key, 3, 1))
    np.testing.assert_allclose(together.images[3], alone.images[0], rtol=1e-9)


def test_a_frame_holds_the_light_of_its_emitters():
    """Exact noise: frames hold the photons of their emitters, those outside the stamps as even background."""
    run = from_dict(
        RunConfig,
        {
            "microscope": {"focus_um": 0.5},
            "psf": {"stamp_px": 21, "pupil_px": 24, "pixel": "integrated"},
            "scene": {"frame_px": 24, "count_min": 1, "count_max": 1, "z_max_um": 1.0, "margin_um": 1.3}
            | {
                "photons_min": 5000.0,
                "photons_max": 5000.0,
                "background": "constant",
                "background_min": 3.0,
                "background_max": 3.0,
            },
        },
    )
    parts = build(run)
    keys = frame_keys(jax.random.key(1), 0, 64)
    frames = jax.jit(lambda keys: stream(keys, parts.psf, parts.scene, parts.background, parts.camera))(keys)
    light = render_frames(parts.psf, frames.emitters, (24, 24)).sum(axis=(1, 2))
    # margins keep the stamps inside the frame; an unstopped pupil loses nothing
    np.testing.assert_allclose(frames.background[:, 0, 0], 3.0 + (5000 - light) / 24**2, rtol=1e-3)
    expected = 5000.0 + 3.0 * 24 * 24 * jnp.ones(64)
    total = frames.images.sum(axis=(1, 2))
    assert abs(float(jnp.mean(total - expected))) < 5 * float(jnp.sqrt(expected.mean() / 64))


def test_emitters_beyond_the_frame_are_as_dense_as_those_in_it():
    """Per area, over many scenes, to five standard errors; in the band around frame and margin alone, evenly."""
    config = SceneConfig(frame_px=40, margin_um=0.5, count_min=2, count_max=6, stray="drawn")
    scene = make_scene(config, 0.1, wings=WingPlan(61, 16, 0, 0.0, 5.0))
    keys = jax.random.split(jax.random.key(5), 1500)
    shown, truth = jax.jit(jax.vmap(lambda key: sample_frames(key, scene)))(keys)
    inside = np.asarray(truth.valid).sum()
    around = np.asarray(shown.xyz_um)[:, 0, 6:][np.asarray(shown.valid)[:, 0, 6:]]
    np.testing.assert_array_equal(shown.xyz_um[:, 0, :6], truth.xyz_um)  # the frame's own come first
    off = np.abs(around[:, :2] - 2.0).max(axis=1)
    assert (off >= 2.5).all() and (off <= 2.0 + 3.1).all()
    area = 4 * (5.1**2 - 2.5**2)
    assert abs(len(around) / area - inside / 9.0) < 5 * np.sqrt(inside) / 9.0
    corner = (around[:, 0] > 4.5) & (around[:, 1] > 4.5)
    assert abs(corner.mean() - 2.6**2 / area) < 5 * np.sqrt(corner.mean() / len(around))
    assert around[:, 2].min() >= 0 and around[:, 2].max() > 4.9


@pytest.mark.slow
def test_a_scene_drawn_whole_holds_the_light_of_its_density():
    """What leaves a frame comes in from around it: on average the light of the emitters in it, less nothing.

    Three of 10,000 photons in each frame, up to its border, in a sample that goes on for ever: 30,000 photons.
    """
    scene = {"frame_px": 24, "count_min": 3, "count_max": 3, "z_max_um": 2.0, "margin_um": 0.0, "stray": "drawn"}
    light = {"photons_min": 1e4, "photons_max": 1e4, "background": "constant"}
    level = {"background_min": 5.0, "background_max": 5.0}
    psf = {"stamp_px": 15, "pupil_px": 20}
    parts = build(from_dict(RunConfig, {"microscope": {"focus_um": 1.0}, "psf": psf, "scene": scene | light | level}))
    draw = jax.jit(lambda keys: stream(keys, parts.psf, parts.scene, parts.background, parts.camera))
    images = np.asarray(draw(frame_keys(jax.random.key(1), 0, 256)).images)
    sums = images.sum(axis=(1, 2)) - 5.0 * 24**2
    assert abs(sums.mean() - 3e4) < 5 * sums.std() / np.sqrt(sums.size)
    assert sums.std() / np.sqrt(sums.size) < 0.02 * 3e4
