"""The simulated experiment that judges generators: what it calls true is true, and what it hides stays hidden."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scene_realism

from optics import psf_image
from worlds import scene_gather, scene_sources, scene_world

pytestmark = pytest.mark.slow  # the simulated experiment of the scene benchmarks

SIDE = 24


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules, a small world in focus, and a few of its frames."""
    world = scene_world.make_world("2d", frame_px=SIDE, stamp_px=11)
    frames = scene_world.draw_many(3, world, 6, scene_world.Cell(1, 1), batch=6)
    return SimpleNamespace(
        world=scene_world, gather=scene_gather, realism=scene_realism, sources=scene_sources, small=world, frames=frames
    )


def test_light_is_that_of_the_true_psf_at_the_true_places(bench):
    """Every emitter drawn anew by `psf_image`, laid on its stamp by plain numpy, adds up to the frames' light."""
    world, frames, kind = bench.small, bench.frames, bench.small.kind
    image = jax.jit(psf_image)
    for k in range(len(frames.adu)):
        canvas = np.zeros((SIDE + 22, SIDE + 22))
        for slot in np.flatnonzero(np.asarray(frames.emitters.valid[k])):
            x, y, z = np.asarray(frames.emitters.xyz_um[k, slot])
            column, row = int(x // kind.pixel_um), int(y // kind.pixel_um)
            inside = jnp.array([x - (column + 0.5) * kind.pixel_um, y - (row + 0.5) * kind.pixel_um, z])
            stamp = np.asarray(image(world.psf, inside)) * float(frames.emitters.photons[k, slot])
            canvas[row + 6 : row + 17, column + 6 : column + 17] += stamp
        np.testing.assert_allclose(frames.light[k], canvas[11:-11, 11:-11], atol=1e-6 * canvas.max() + 1e-9)


def test_counts_have_the_mean_and_variance_that_the_truth_says(bench):
    """One scene read 600 times: mean and variance are those of its light, background and its part of the chip."""
    scene, camera = jax.tree.map(lambda leaf: leaf[0], (bench.frames, bench.frames.camera))
    rate = scene.light + scene.background
    from optics import sample_camera

    keys = jax.random.split(jax.random.key(8), 600)
    read = np.asarray(jax.jit(jax.vmap(lambda key: jnp.round(sample_camera(key, camera, rate))))(keys))
    electrons = np.asarray(camera.quantum_efficiency * rate)
    mean = np.asarray(camera.offset_adu) + np.asarray(camera.gain_adu_per_e) * electrons
    variance = np.asarray(camera.gain_adu_per_e) ** 2 * (electrons + np.asarray(camera.read_noise_e) ** 2) + 1 / 12
    z = (read.mean(axis=0) - mean) / np.sqrt(variance / 600)
    assert abs(z.mean()) < 4 / SIDE and 0.9 < z.std() < 1.1
    assert np.mean(read.var(axis=0) / variance) == pytest.approx(1.0, abs=0.01)
    # and the frame that was drawn with the scene is one such reading
    chi2 = np.mean((np.asarray(scene.adu) - mean) ** 2 / variance)
    assert chi2 == pytest.approx(1.0, abs=4 * np.sqrt(2) / SIDE)


def test_frames_follow_from_their_keys(bench):
    """The same seed draws the same frame in a batch of another make-up; another seed draws another."""
    again = bench.world.draw_many(3, bench.small, 2, bench.world.Cell(1, 1), batch=6)
    np.testing.assert_array_equal(again.adu, bench.frames.adu[:2])
    other = bench.world.draw_many(4, bench.small, 2, bench.world.Cell(1, 1), batch=6)
    assert not np.array_equal(other.adu, again.adu)


def test_cells_differ_in_what_they_are_named_for(bench):
    """Of the same seed, twice the photons are twice the light; strength moves the background alone, never below 0."""
    draw = bench.world.draw_many
    dim, strong = (draw(3, bench.small, 6, bench.world.Cell(*cell), batch=6) for cell in ((1, 0), (2, 1)))
    base = bench.frames
    np.testing.assert_allclose(base.emitters.photons, 2 * dim.emitters.photons, rtol=1e-6)
    np.testing.assert_allclose(base.light, 2 * dim.light, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(base.emitters.xyz_um, strong.emitters.xyz_um)
    assert strong.background.std() > 2 * base.background.std()
    assert strong.background.min() > 0


def test_what_the_model_is_told_is_not_the_truth(bench):
    """PSF and camera of the laboratory's belief are off by a few per cent: small, and no less than promised."""
    world, point = bench.small, jnp.array([0.0, 0.0, 0.3])
    true, believed = (np.asarray(jax.jit(psf_image)(psf, point)) for psf in (world.psf, world.psf_believed))
    assert 0.03 < np.linalg.norm(true - believed) / np.linalg.norm(true) < 0.2
    assert np.asarray(world.chip.read_noise_e).std() > 0.3
    assert np.asarray(world.chip.read_noise_e).mean() > 1.3 * float(world.camera.read_noise_e)
    waves = np.linalg.norm(bench.world.ABERRATION_UM) / bench.world.WAVELENGTH_UM
    assert 0.02 < waves < 0.03


def test_background_is_broader_than_the_psf(bench):
    """Less than a hundredth of the background's power is finer than 7 pixels, where an emitter has much of its own."""
    around = np.asarray(bench.frames.background)
    window = np.hanning(SIDE)[:, None] * np.hanning(SIDE)
    power = np.mean(np.abs(np.fft.fft2((around - around.mean(axis=(1, 2), keepdims=True)) * window)) ** 2, axis=0)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE))
    assert power[frequency > 0.15].sum() < 0.01 * power.sum()


def test_correlation_of_a_known_field(bench):
    """A log-normal field of contrast 0.4 and 6 pixels, white noise on top, is tuned back to its numbers."""
    from optics.background import RandomField

    keys = jax.random.split(jax.random.key(1), 150)
    field = np.asarray(jax.vmap(lambda key: RandomField(1.0, 0.4, 6.0).sample(key, (40, 40)))(keys))
    noisy = field - 1 + 0.3 * np.random.default_rng(0).normal(size=field.shape)
    contrast, length = bench.sources.correlation(noisy)
    assert contrast == pytest.approx(0.4, rel=0.1)
    assert length == pytest.approx(6.0, rel=0.1)


def test_gap_that_is_closed(bench):
    """Rows made by hand: (a) finds 1 emitter of 4 in each frame, (c) 2, (d) 3, so that half of the gap is closed."""

    def row(arm: str, found: int) -> dict:
        frames = {
            "threshold": [0.5],
            "found": [[found]] * 8,
            "pairs": [[found]] * 8,
            "truth": [4] * 8,
        }
        return {"arm": arm, "seed": 0, "cells": [{"hard": hard, "frames": frames} for hard in (True, False)]}

    labels = {a: [row(a, k)] for a, k in (("naive", 1), ("tuned", 2), ("generated", 2), ("oracle", 3))}
    numbers = bench.gather.closed(labels, "hard", resamples=5)
    assert numbers["closed"] == pytest.approx(0.5)
    assert numbers["generated_less_naive"] == [0.25, 0.25, 0.25]


def test_measures_of_realism_on_what_is_known(bench):
    """White noise has a flat spectrum of its variance; doubled it is 6.02 dB off; a shift of a normal law has the ROC
    area Phi(shift / sqrt 2), and the mean distance of its quantiles is the shift."""
    rng = np.random.default_rng(2)
    white = 3.0 * rng.normal(size=(200, 20, 20))
    np.testing.assert_allclose(bench.realism.power_spectrum(white), 9.0, rtol=0.1)
    assert bench.realism.compare_spectra(white, 2 * white)["rms_db"] == pytest.approx(6.02, abs=0.01)
    assert bench.realism.compare_histograms(white, white + 1.5)["distance_over_std"] == pytest.approx(0.5, abs=0.01)
    zero, one = rng.normal(size=4000), rng.normal(size=4000) + 1.0
    assert bench.realism.roc_area(zero, one) == pytest.approx(0.7602, abs=0.02)
    assert bench.realism.roc_area(zero, zero) == pytest.approx(0.5, abs=1e-9)
