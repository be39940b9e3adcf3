"""Frames: stamps in their places, whatever the chunking, the batching and the emitters that are not there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.psf import make_psf, psf_image
from optics.pytree import replace
from optics.render import render_frame, render_frames, stamp_fraction
from optics.types import Emitters, make_emitters, make_mask, make_microscope

frame_of = jax.jit(render_frame, static_argnames=("shape", "chunk"))
SHAPE = (22, 31)  # not square: a swap of axes would show


def build(image_px=9):
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    return make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.05], image_px=image_px, pupil_px=16, pixel="centre")


def scene(n, seed=0, margin_um=0.3):
    """Emitters over the frame and a little beyond it."""
    rng = np.random.default_rng(seed)
    low, high = [-margin_um, -margin_um, 0], [3.1 + margin_um, 2.2 + margin_um, 0.5]
    return make_emitters(rng.uniform(low, high, (n, 3)), rng.uniform(500, 1500, n))


def by_hand(psf, emitters):
    """One stamp after the other, at its own pixel, pixel (i, j) centred at ((j + 0.5) p, (i + 0.5) p)."""
    pixel, size = float(psf.microscope.pixel_um), psf.image_px
    frame = np.zeros(SHAPE)
    image = jax.jit(psf_image)
    for xyz, photons, valid in zip(*map(np.asarray, (emitters.xyz_um, emitters.photons, emitters.valid)), strict=True):
        if not valid:
            continue
        corner = np.rint(xyz[:2] / pixel - size / 2).astype(int)  # first column and row of the stamp
        centre = (corner + size / 2) * pixel
        stamp = photons * np.asarray(image(psf, jnp.array([*(xyz[:2] - centre), xyz[2]])))
        for i in range(size):
            for j in range(size):
                row, column = corner[1] + i, corner[0] + j
                if 0 <= row < SHAPE[0] and 0 <= column < SHAPE[1]:
                    frame[row, column] += stamp[i, j]
    return frame


@pytest.mark.parametrize("image_px", [9, 8])
def test_a_frame_is_the_sum_of_its_stamps(image_px):
    """Against stamps added one by one in numpy, odd and even stamps, emitters across every border: 1e-12."""
    psf, emitters = build(image_px), scene(24)
    frame = frame_of(psf, emitters, SHAPE)
    np.testing.assert_allclose(frame, by_hand(psf, emitters), atol=1e-12 * float(frame.max()))


def test_an_emitter_at_a_pixel_centre_peaks_there():
    """The frame's origin is the outer corner of the first pixel: (x, y) = (0.75, 0.35) um is pixel (3, 7)."""
    psf = replace(build(), zernike_um=None)
    frame = frame_of(psf, make_emitters([[0.75, 0.35, 0.0]], [1.0]), SHAPE)
    assert np.unravel_index(int(jnp.argmax(frame)), SHAPE) == (3, 7)
    np.testing.assert_allclose(frame[3, 4:11], frame[3, 4:11][::-1], rtol=1e-9)


def test_chunks_change_neither_values_nor_gradients():
    """One chunk against chunks that do not divide the emitters: 1e-12, gradients 1e-9."""
    mask = make_mask(np.random.default_rng(1).normal(0, 0.03, (16, 16)), design_wavelength_um=0.6)
    psf, emitters = replace(build(), mask=mask, kind="scalar"), scene(10)

    def loss(psf, emitters, chunk):
        return jnp.sum(render_frame(psf, emitters, SHAPE, chunk=chunk) ** 2)

    value = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), allow_int=True), static_argnums=2)
    whole, (by_psf, by_emitters) = value(psf, emitters, 64)
    again, (by_psf_again, by_emitters_again) = value(psf, emitters, 4)
    assert float(again) == pytest.approx(float(whole), rel=1e-12)
    for ours, truth in (
        (by_psf_again.mask.opd_um, by_psf.mask.opd_um),
        (by_emitters_again.xyz_um, by_emitters.xyz_um),
    ):
        np.testing.assert_allclose(ours, truth, atol=1e-9 * float(jnp.abs(truth).max()))


def test_absent_emitters_give_no_light_and_no_nan():
    """Invalid ones (even NaN) and those outside the frame change neither the frame nor a gradient."""
    psf, emitters = replace(build(), kind="scalar"), scene(5, margin_um=-0.3)
    nothing = jnp.array([[jnp.nan] * 3, [0.5, 0.5, jnp.inf], [50.0, 0.5, 0.1], [1.0, -9.0, 0.1]])
    more = Emitters(
        xyz_um=jnp.concatenate([nothing[:2], emitters.xyz_um, nothing[2:]]),
        photons=jnp.concatenate([jnp.array([jnp.nan, 1e4]), emitters.photons, jnp.array([1e4, 1e4])]),
        valid=jnp.array([False, False] + [True] * 7),
    )

    def loss(psf, emitters):
        return jnp.sum(render_frame(psf, emitters, SHAPE, chunk=4) ** 2)

    value = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), allow_int=True))
    few, (by_psf_few, by_few) = value(psf, emitters)
    many, (by_psf_many, by_many) = value(psf, more)
    assert float(many) == pytest.approx(float(few), rel=1e-12)
    np.testing.assert_allclose(by_psf_many.zernike_um, by_psf_few.zernike_um, rtol=1e-9)
    np.testing.assert_allclose(by_many.xyz_um[2:7], by_few.xyz_um, rtol=1e-9)
    np.testing.assert_array_equal(by_many.xyz_um[jnp.array([0, 1, 7, 8])], 0)
    np.testing.assert_array_equal(by_many.photons[jnp.array([0, 1, 7, 8])], 0)


def test_frames_of_a_batch_are_the_frames_one_by_one():
    """A batch with full, half-empty and empty frames equals single frames."""
    psf = build()
    scenes = [scene(6, seed) for seed in range(3)]
    scenes[1] = replace(scenes[1], valid=jnp.arange(6) < 3)
    scenes[2] = replace(scenes[2], valid=jnp.zeros(6, bool))
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scenes)
    frames = jax.jit(lambda batch: render_frames(psf, batch, SHAPE, chunk=4))(batch)
    np.testing.assert_allclose(frames, jnp.stack([frame_of(psf, s, SHAPE) for s in scenes]), rtol=1e-10, atol=1e-12)
    assert not frames[2].any()


def test_a_frame_is_linear_in_photons():
    """Twice the photons, twice the frame; the gradient by photons is the stamp's sum."""
    psf, emitters = build(), scene(4, margin_um=-0.6)

    def total(photons):
        return render_frame(psf, replace(emitters, photons=photons), SHAPE).sum()

    value, slope = jax.jit(jax.value_and_grad(total))(emitters.photons)
    assert float(jnp.sum(slope * emitters.photons)) == pytest.approx(float(value), rel=1e-9)


def test_stamp_fraction_reports_the_light_outside_the_stamp():
    """It is the image's sum, at each depth; a larger stamp holds more."""
    z_um = jnp.array([0.0, 0.5, 1.0])
    fraction_of, image = jax.jit(stamp_fraction), jax.jit(psf_image)
    small, large = fraction_of(build(9), z_um), fraction_of(build(21), z_um)
    for fraction, z in zip(small, z_um, strict=True):
        assert float(fraction) == pytest.approx(float(image(build(9), jnp.array([0, 0, z])).sum()), rel=1e-9)
    assert bool((large > small).all()) and bool((large < 1).all())
