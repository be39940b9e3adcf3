"""Bead stacks: what is refused, how noisy they are, and where beads lie in a field."""

import jax.numpy as jnp
import numpy as np
import pytest

from optics import OpticsError, make_microscope
from optics.retrieval.beads import (
    SECOND_BEAD,
    corner_noise,
    correlation,
    crop_bead,
    find_beads,
    make_bead_stack,
    noise_ceiling,
    second_bead_px,
    sharpest_focus_um,
)

SCOPE = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
FOCUS_UM = np.linspace(-0.8, 0.8, 9)
RNG = np.random.default_rng(5)


def spot(shape, row, column, widths, light=3000.0):
    """A Gaussian spot, `widths` px wide slice by slice, of light / width^2 at its summit: (Z, H, W)."""
    y, x = np.indices(shape)
    square = (y - row) ** 2 + (x - column) ** 2
    return np.stack([light / w**2 * np.exp(-square / (2 * w**2)) for w in widths])


WIDTHS = np.hypot(1.2, 2.5 * FOCUS_UM)


def bead(size=21, row=10.0, column=10.0, light=3000.0, background=100.0, noise=2.0):
    images = background + spot((size, size), row, column, WIDTHS, light)
    return images + np.random.default_rng(3).normal(0, noise, images.shape)


def test_a_stack_keeps_what_it_is_given():
    """Counts, foci in any order and the microscope; pixels at the saturation are not usable."""
    images = bead()
    focus = np.roll(FOCUS_UM, 3)[::-1]
    stack = make_bead_stack(images, focus, SCOPE, saturation_adu=images.max())
    np.testing.assert_array_equal(stack.images, images)
    np.testing.assert_array_equal(stack.focus_um, focus)
    assert stack.microscope == SCOPE and stack.camera is None
    assert int((~stack.usable).sum()) == 1 and not bool(stack.usable.ravel()[np.argmax(images)])
    assert bool(make_bead_stack(images, focus, SCOPE).usable.all())


def changed(change):
    images = bead()
    change(images)
    return images


WRONG = {
    "not square": (np.ones((9, 21, 20)), FOCUS_UM, {}, r"not of shape \(9, 21, 20\)"),
    "one image": (np.ones((21, 21)), FOCUS_UM, {}, r"not of shape \(21, 21\)"),
    "a small crop": (bead(8), FOCUS_UM, {}, "K at least 9"),
    "a focus too few": (bead(), FOCUS_UM[1:], {}, "9 slices need as many focus positions, not 8; check START:STOP:N"),
    "two slices": (bead()[:2], FOCUS_UM[:2], {}, "2 slices do not determine a pupil"),
    "NaN": (changed(lambda i: i.__setitem__((2, 3, 4), np.nan)), FOCUS_UM, {}, "NaN or Inf; pass the camera's counts"),
    "infinite focus": (bead(), [*FOCUS_UM[:8], np.inf], {}, "focus positions must be finite"),
    "the same focus twice": (bead(), [*FOCUS_UM[:8], FOCUS_UM[0]], {}, "differ from slice to slice"),
    "nanometres": (bead(), 1e3 * FOCUS_UM, {}, "from -800 to 800 looks like nanometres; give um"),
    "saturated": (bead(), FOCUS_UM, {"saturation_adu": 104.0}, r"% of the pixels are saturated \(at 104 counts\)"),
    "a slice without light": (changed(lambda i: i.__setitem__(4, 7.0)), FOCUS_UM, {}, "no bead: slice 4 is even"),
}


@pytest.mark.parametrize("case", WRONG)
def test_stacks_that_are_refused(case):
    """One line that names the part and the remedy."""
    images, focus, options, message = WRONG[case]
    with pytest.raises(OpticsError, match=message) as caught:
        make_bead_stack(images, focus, SCOPE, **options)
    assert "\n" not in str(caught.value)


def test_a_slice_that_is_mostly_saturated_is_refused():
    """Its line of signal and background would rest on nothing, though of a long scan it is but a small part."""
    images = np.concatenate([bead()] * 23)
    images[100] = 5000 + np.arange(441.0).reshape(21, 21)
    with pytest.raises(OpticsError, match="slice 100 is saturated in 100 % of its pixels"):
        make_bead_stack(images, np.linspace(-1, 1, len(images)), SCOPE, saturation_adu=4095.0)


def test_the_corners_tell_level_and_noise():
    """Against the drawn ones; a tilted background is not noise, and light in the middle is not seen."""
    rng = np.random.default_rng(0)
    images = 50 + rng.normal(0, [[[1.0]], [[4.0]]], (2, 101, 101)) + np.linspace(0, 40, 101)[:, None]
    images[:, 40:60, 40:60] += 1e4
    mean, noise = corner_noise(images)
    np.testing.assert_allclose(mean, 70, atol=0.5)
    # the ramp itself has 10 rows of 0.4 counts in a corner: 1.15 counts rms
    np.testing.assert_allclose(noise, np.hypot([1.0, 4.0], 0.4 * np.sqrt((100 - 1) / 12)), rtol=0.08)


def test_the_smallest_corner_is_three_pixels():
    """Corners of 3 x 3 in a stamp of 9: mean and sample deviation by hand."""
    images = np.zeros((1, 9, 9))
    images[0, :3, :3] = np.arange(9.0).reshape(3, 3)
    mean, noise = corner_noise(images)
    assert mean[0] == pytest.approx(1.0) and noise[0] == pytest.approx(np.sqrt(np.var(np.arange(9.0), ddof=1) / 4))


def test_the_ceiling_is_what_a_perfect_model_reaches():
    """Correlation of noisy slices with the truth: the noise of 400 pixels in the corners is known to 4 %."""
    truth = spot((101, 101), 50, 50, [4.0, 8.0, 12.0], light=6000.0)
    noisy = truth + np.random.default_rng(1).normal(0, 3, truth.shape)
    ceiling = noise_ceiling(noisy)
    share = 1 - ceiling**2  # of the variance that is noise
    assert share.max() > 0.05
    np.testing.assert_allclose(correlation(noisy, truth) ** 2, 1 - share, atol=3 * 0.07 * share.max())
    even = noise_ceiling(np.zeros((2, 9, 9)) + np.random.default_rng(2).normal(size=(2, 9, 9)))
    assert np.isfinite(even).all()


def test_correlation_is_pearson_s():
    """Against numpy's; indifferent to level and scale."""
    a, b = RNG.normal(size=(2, 4, 9, 9))
    expected = [np.corrcoef(p.ravel(), q.ravel())[0, 1] for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlation(a, 3 * b + 7), expected, rtol=1e-12)


def test_the_sharpest_focus_is_where_the_spot_is_small():
    """Within a tenth of a micrometre, also away from the middle of the scan and in any order of the slices."""
    for centre in (-0.4, 0.0, 0.3):
        images = 100 + spot((31, 31), 15, 15, np.hypot(1.2, 3 * (FOCUS_UM - centre)))
        images += np.random.default_rng(1).normal(0, 1.0, images.shape)
        order = np.random.default_rng(2).permutation(9)
        stack = make_bead_stack(images[order], FOCUS_UM[order], SCOPE)
        assert sharpest_focus_um(stack) == pytest.approx(centre, abs=0.1)


@pytest.mark.parametrize("noise", [0.5, 5.0])
def test_one_bead_does_not_repeat_itself(noise):
    """A spot, and two lobes that turn with the focus, as of a double helix."""
    assert second_bead_px(bead(31, 15, 15, noise=noise))[0] < SECOND_BEAD
    angle = np.pi / 2 * FOCUS_UM / 0.8
    lobes = 0.0
    for sign in (-1, 1):
        at = 20 + 6 * sign * np.stack([np.sin(angle), np.cos(angle)])
        turning = [spot((41, 41), *at[:, z], [1.8])[0] for z in range(9)]
        lobes = lobes + np.stack(turning)
    lobes = 100 + lobes + np.random.default_rng(3).normal(0, noise, lobes.shape)
    assert second_bead_px(lobes)[0] < SECOND_BEAD


@pytest.mark.parametrize("step, light", [((9, 4), 3000.0), ((-3, 11), 1500.0)])
def test_a_second_bead_is_found_and_where(step, light):
    """Its displacement to a pixel, either way round; two equal beads repeat themselves by half."""
    row, column = 15 - step[1] / 2, 15 - step[0] / 2
    images = bead(31, row, column) + spot((31, 31), row + step[1], column + step[0], WIDTHS, light)
    strength, found = second_bead_px(images)
    assert strength > SECOND_BEAD
    nearer = min(np.abs(np.subtract(found, sign * np.array(step))).max() for sign in (1, -1))
    assert nearer <= 1
    if light == 3000.0:
        assert strength == pytest.approx(0.5, abs=0.1)


def field(*places, shape=(120, 140), noise=2.0):
    images = np.full((9, *shape), 100.0)
    for row, column, light in places:
        images += spot(shape, row, column, WIDTHS, light)
    return images + np.random.default_rng(4).normal(0, noise, images.shape)


def test_beads_of_a_field_are_found_brightest_first():
    """Isolated ones to a pixel; those at the border and close pairs are named and left out."""
    places = [(30, 40, 2000.0), (80, 100, 4000.0), (5, 110, 3000.0), (90, 30, 3000.0), (98, 42, 3000.0)]
    centres, notes = find_beads(field(*places), 21)
    np.testing.assert_allclose(centres, [(80, 100), (30, 40)], atol=1)
    assert len(notes) == 3
    border = [note for note in notes if "nearer than 10 px to the border" in note]
    close = [note for note in notes if "has a neighbour within 21 px" in note]
    assert len(border) == 1 and len(close) == 2 and "row 5, column 1" in border[0]


def test_a_bead_may_touch_the_border_with_its_crop():
    """The last place at which a crop fits is used, and can be cropped."""
    centres, _ = find_beads(field((10, 129, 4000.0)), 21)
    assert crop_bead(np.zeros((2, 120, 140)), centres[0], 21).shape == (2, 21, 21)
    with pytest.raises(OpticsError, match="nearer than 10 px to the border"):
        find_beads(field((8, 129, 4000.0)), 21)


def test_a_field_without_noise_holds_one_bead_where_there_is_one():
    """A bead between two pixels has two equal ones at its summit: they are not a pair of beads."""
    images = np.full((9, 60, 60), 100.0) + spot((60, 60), 29.5, 30.5, WIDTHS)
    centres, notes = find_beads(images, 21)
    assert len(centres) == 1 and notes == []
    np.testing.assert_allclose(centres[0], (29.5, 30.5), atol=1)


def test_fields_that_hold_no_bead():
    """Noise alone, a sloping background, one that is smaller than the crop."""
    noise = field()
    with pytest.raises(OpticsError, match="no usable bead in the field"):
        find_beads(noise, 21)
    with pytest.raises(OpticsError, match="no usable bead in the field"):
        find_beads(noise + np.linspace(0, 50, 140), 21)
    with pytest.raises(OpticsError, match=r"at least 21 px is needed, not of shape \(9, 20, 60\)"):
        find_beads(np.zeros((9, 20, 60)), 21)


def test_a_crop_is_centred_and_stays_inside():
    """The pixel asked for is in the middle; a crop that leaves the field is refused."""
    images = np.arange(2 * 30 * 40.0).reshape(2, 30, 40)
    assert crop_bead(images, (12, 20), 9)[1, 4, 4] == images[1, 12, 20]
    with pytest.raises(OpticsError, match=r"around row 3, column 20 leaves the field \(30 x 40 px\)"):
        crop_bead(images, (3, 20), 9)
    assert jnp.asarray(crop_bead(images, (4, 35), 9)).shape == (2, 9, 9)
