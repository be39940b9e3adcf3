"""Emitters of several colours: each is drawn with the PSF of its channel."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import Emitters, OpticsError, make_emitters, make_microscope, make_psf, render_frame, replace
from optics.render import check_channels, render_scenes

SHAPE = (14, 18)
XYZ_UM = [[0.42, 0.61, 0.1], [1.03, 0.74, 0.2], [0.77, 1.18, 0.3], [1.31, 0.33, 0.0]]
PHOTONS = [1000.0, 2000.0, 1500.0, 800.0]


def psf_of(wavelength_um, image_px, pixel_um=0.1):
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=wavelength_um, pixel_um=pixel_um)
    return make_psf(scope, zernike_um=[0.0, 0.0, 0.0, 0.0, 0.0, 0.04], image_px=image_px, kind="scalar", pupil_px=16)


PSFS = (psf_of(0.52, 9), psf_of(0.67, 11))
BOTH = make_emitters(XYZ_UM, PHOTONS, channel=[0, 1, 1, 0])
draw = jax.jit(render_frame, static_argnums=2)


def of_channel(number):
    return replace(BOTH, valid=BOTH.channel == number)


def test_two_colours_are_the_sum_of_one_and_the_other():
    """Stamps of different sides and wavelengths; each emitter once, in its own."""
    apart = [draw(psf, of_channel(number), SHAPE) for number, psf in enumerate(PSFS)]
    np.testing.assert_allclose(draw(PSFS, BOTH, SHAPE), apart[0] + apart[1], rtol=1e-12)
    assert not np.allclose(draw(PSFS, BOTH, SHAPE), draw(PSFS[::-1], BOTH, SHAPE), rtol=1e-3)


def test_one_psf_draws_all_whatever_their_channel():
    """To the bit: with channels, with none, alone or in a tuple of emitters of channel 0."""
    plain = Emitters(BOTH.xyz_um, BOTH.photons, BOTH.valid)
    frame = draw(PSFS[0], plain, SHAPE)
    np.testing.assert_array_equal(draw(PSFS[0], BOTH, SHAPE), frame)
    np.testing.assert_array_equal(draw(PSFS[:1], plain, SHAPE), frame)


def test_light_outside_the_stamps_is_that_of_both():
    """What falls outside the stamps adds up over the channels, frame by frame."""
    frames = jax.tree.map(lambda *leaves: jnp.stack(leaves), BOTH, of_channel(1))
    _, stray = jax.jit(render_scenes, static_argnums=2)(PSFS, frames, SHAPE)
    for number, shown in enumerate((BOTH, of_channel(1))):
        each = [
            jax.jit(render_scenes, static_argnums=2)(
                psf,
                jax.tree.map(lambda leaf: leaf[None], replace(shown, valid=shown.valid & (BOTH.channel == c))),
                SHAPE,
            )[1][0]
            for c, psf in enumerate(PSFS)
        ]
        np.testing.assert_allclose(stray[number], sum(each), rtol=1e-10)


def test_gradients_reach_both_psfs_and_all_emitters():
    """Of the optics of each channel, and of positions: against central differences."""

    def loss(psfs, xyz_um):
        return jnp.sum(render_frame(psfs, replace(BOTH, xyz_um=xyz_um), SHAPE) ** 2)

    value, slope = jax.jit(loss), jax.jit(jax.grad(loss, argnums=(0, 1)))
    by_psfs, by_xyz = slope(PSFS, BOTH.xyz_um)
    step = 1e-5
    for number in (0, 1):

        def moved(by, number=number):
            changed = replace(PSFS[number], zernike_um=PSFS[number].zernike_um.at[5].add(by))
            return tuple(changed if i == number else psf for i, psf in enumerate(PSFS))

        difference = (value(moved(step), BOTH.xyz_um) - value(moved(-step), BOTH.xyz_um)) / (2 * step)
        assert float(by_psfs[number].zernike_um[5]) == pytest.approx(float(difference), rel=1e-6)
    for emitter in range(4):
        up, down = (BOTH.xyz_um.at[emitter, 0].add(by) for by in (step, -step))
        difference = (value(PSFS, up) - value(PSFS, down)) / (2 * step)
        assert float(by_xyz[emitter, 0]) == pytest.approx(float(difference), rel=1e-6)


def test_a_channel_without_a_psf_is_refused_on_the_host_and_dark_inside_jit():
    """The message says how many PSFs there must be; an absent emitter may have any channel."""
    strange = replace(BOTH, channel=jnp.array([0, 1, 2, 0]))
    with pytest.raises(OpticsError, match="no PSF for emitters of channel 2; give 3, not 2"):
        render_frame(PSFS, strange, SHAPE)
    dark = replace(BOTH, valid=jnp.array([True, True, False, True]))
    np.testing.assert_array_equal(draw(PSFS, strange, SHAPE), draw(PSFS, dark, SHAPE))
    check_channels(PSFS, replace(strange, valid=dark.valid))


def test_psfs_that_cannot_share_a_frame_are_refused():
    """No PSF at all, or pixels of two sizes."""
    with pytest.raises(OpticsError, match="tuple is empty"):
        render_frame((), BOTH, SHAPE)
    with pytest.raises(OpticsError, match="pixels of 0.1, 0.2 um"):
        render_frame((PSFS[0], psf_of(0.6, 9, pixel_um=0.2)), BOTH, SHAPE)


@pytest.mark.parametrize("channel", [[0, 1, 2], [0, -1, 0, 0], [0.5, 0, 0, 0], [[0, 0, 0, 0]]])
def test_make_emitters_refuses_what_is_no_channel(channel):
    """Of another length or shape, negative, or no whole number."""
    with pytest.raises(OpticsError, match="channel must be 4 whole numbers from 0"):
        make_emitters(XYZ_UM, PHOTONS, channel=channel)


def test_emitters_pickled_before_there_were_colours_still_load():
    """They have no channel; reading it gives None, all of channel 0."""
    old = pickle.loads(pickle.dumps(Emitters(BOTH.xyz_um, BOTH.photons, BOTH.valid)))
    del old.__dict__["channel"]
    assert old.channel is None and len(jax.tree.leaves(old)) == 3
