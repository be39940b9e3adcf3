"""Wings: the light around the stamps, against stamps that are wide enough to hold it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import (
    make_emitters,
    make_microscope,
    make_psf,
    make_wings,
    plan_wings,
    psf_image,
    render_frames,
    render_scenes,
    render_wings,
    stamp_side,
)
from optics.masks import astigmatism
from optics.pytree import replace

SCOPE = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, pixel_um=0.11, focus_um=1.0)
DEPTHS = (0.0, 2.0)
SHAPE = (24, 24)
SMALL = make_psf(SCOPE, mask=astigmatism(0.1), image_px=25, pixel="centre", z_range_um=DEPTHS)
# the same with a stamp wide enough for all that a frame shows, and a pupil fine enough for it
WIDE = make_psf(SCOPE, mask=astigmatism(0.1), image_px=63, pixel="centre", z_range_um=DEPTHS)
PLACES = [[1.3, 1.19, 0.7], [0.6, 2.0, 1.9], [-0.9, 1.0, 1.4], [3.4, -0.7, 0.3]]


def frame_of(*emitters):
    places, photons = (jnp.array(values) for values in zip(*emitters, strict=True))
    return jax.tree.map(lambda leaf: leaf[None], make_emitters(places, photons))


@pytest.fixture(scope="module")
def wings():
    return jax.jit(make_wings, static_argnums=(1, 2))(SMALL, plan_wings(SMALL, SHAPE, DEPTHS), SHAPE)


def test_stamps_and_wings_are_the_wide_picture(wings):
    """Against stamps of 63 px computed whole: what differs, on cells of 4 px, is below 1 % of the light."""
    light = jax.jit(lambda emitters: render_frames(SMALL, emitters, SHAPE) + render_wings(wings, emitters, 0.11)[0])
    whole = jax.jit(lambda emitters: render_frames(WIDE, emitters, SHAPE))
    for place in PLACES:
        emitters = frame_of((place, 1.0))
        off = np.asarray(light(emitters) - whole(emitters))[0].reshape(6, 4, 6, 4).sum(axis=(1, 3))
        assert np.abs(off).sum() < 0.01, place


def test_an_emitter_without_a_stamp_is_the_wide_picture_too(wings):
    """Those beyond the frame may be drawn by the table alone, on its cells: as above."""
    whole = jax.jit(lambda emitters: render_frames(WIDE, emitters, SHAPE))
    for place in PLACES[2:]:
        emitters = frame_of((place, 1.0))
        drawn, _ = render_wings(wings, emitters, 0.11, jnp.array([False]))
        off = np.asarray(drawn - whole(emitters))[0].reshape(6, 4, 6, 4).sum(axis=(1, 3))
        assert np.abs(off).sum() < 0.01, place


def test_no_light_is_lost(wings):
    """Stamp, wings and what goes beyond add up to the emitter: an unstopped pupil passes all (5e-3: samplings)."""
    emitters = frame_of((PLACES[0], 1000.0))
    stamps, stray = jax.jit(lambda e: render_scenes(SMALL, e, SHAPE))(emitters)
    around, beyond = render_wings(wings, emitters, 0.11)
    assert wings.side_px == 49
    # a picture of twice the frame's width covers the frame from everywhere inside it
    shown = jax.jit(lambda e: render_frames(WIDE, e, SHAPE))(emitters).sum()
    image = jax.jit(psf_image)(WIDE, jnp.array([0.0, 0.0, PLACES[0][2]]))
    held = 1000 * image[7:56, 7:56].sum()
    np.testing.assert_allclose(stamps.sum() + around.sum(), shown, rtol=5e-3)
    np.testing.assert_allclose(held + beyond[0], 1000.0, rtol=1e-3)
    assert float(stray[0]) > float(beyond[0]) > 0


def test_one_field_carries_the_same_light():
    """The cheap table of one field holds the light of the exact one, to 1 % of the emitter's.

    On the coverslip to 8 %: total reflection turns phases that one field does not have.
    """
    exact, cheap = (
        jax.jit(make_wings, static_argnums=(1, 2))(SMALL, plan_wings(SMALL, SHAPE, DEPTHS, fields=fields), SHAPE)
        for fields in ("all", "one")
    )
    held = [4 * np.asarray(wings.table[:, 0, 0, 0].sum(axis=(1, 2))) for wings in (exact, cheap)]
    same = np.interp(np.linspace(0, 1, held[1].size), np.linspace(0, 1, held[0].size), held[0])
    assert (np.abs(held[1] - same) < np.where(np.arange(same.size) == 0, 0.08, 0.01)).all()


def test_a_stamp_side_holds_its_share_and_no_smaller_one_does():
    """Against wide images summed in squares."""
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    psf = make_psf(scope, kind="scalar", pixel="centre", image_px=81)
    side = stamp_side(psf, (-0.5, 0.5), 0.9)
    depths = [jnp.array([0.0, 0.0, z]) for z in np.linspace(-0.5, 0.5, 5)]
    images = np.stack([np.asarray(jax.jit(psf_image)(psf, point)) for point in depths])
    held = [images[:, 40 - h : 41 + h, 40 - h : 41 + h].sum(axis=(1, 2)).min() for h in (side // 2 - 1, side // 2)]
    assert held[0] < 0.9 <= held[1]
    assert stamp_side(psf, (-0.5, 0.5), 0.999, most_px=31) == 31


def test_wings_have_the_gradient_of_the_mask():
    """Forward differences of the light that comes into a frame, by the strength of an aberration."""
    plan = plan_wings(SMALL, SHAPE, DEPTHS, fields="one")
    emitters = frame_of((PLACES[2], 1.0), (PLACES[3], 2.0))

    def light(strength):
        psf = replace(SMALL, zernike_um=strength * jnp.eye(6)[4])
        return render_wings(make_wings(psf, plan, SHAPE), emitters, 0.11)[0][0, :8, :8].sum()

    value, slope = jax.jit(jax.value_and_grad(light))(0.05)
    step = 1e-4
    np.testing.assert_allclose(
        slope, (jax.jit(light)(0.05 + step) - jax.jit(light)(0.05 - step)) / (2 * step), rtol=1e-4
    )
    assert value > 0
