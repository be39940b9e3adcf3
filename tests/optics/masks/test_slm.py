"""An SLM's picture: orientation on unmistakable patterns, greys against brute force, and the way back to the mask."""

import numpy as np
import pytest

from optics import make_mask
from optics.masks.library import astigmatism, zernike
from optics.masks.sampling import mask_grid, sample_mask
from optics.masks.slm import grey_image, make_slm, shown_mask
from optics.types import OpticsError

DIAMETER = 60.0
TILT = zernike([(1, 1, 0.02)], design_wavelength_um=0.6, size=64)  # path grows along x


def panel(**changes):
    return make_slm(**{"shape": (80, 100), "pitch_um": 8.0, "grey_per_2pi": 200.0, **changes})


def picture(slm, mask):
    return grey_image(slm, mask, pupil_diameter_px=DIAMETER)


def back(slm, mask):
    return shown_mask(slm, picture(slm, mask), pupil_diameter_px=DIAMETER, wavelength_um=0.6)


def phasor_error(made, meant):
    """Largest difference of phase (rad) at points inside 0.9 of the pupil."""
    rng = np.random.default_rng(0)
    radius, angle = 0.9 * np.sqrt(rng.random(300)), 2 * np.pi * rng.random(300)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    ratio = np.asarray(sample_mask(made, x, y, 0.6)) / np.asarray(sample_mask(meant, x, y, 0.6))
    return np.abs(np.angle(ratio)).max()


def test_greys_are_the_phase_in_steps():
    """At the pixel's own place, by hand: 0.02 um rms of tilt, 200 greys a turn; 0 beyond the pupil."""
    slm = panel()
    got = picture(slm, TILT)
    column = np.arange(100) + 0.5 - 50
    path = 0.02 * 2 * column[:20] / 30  # mode (1, 1) of unit rms is 2 x
    greys = got[40, :]
    inside = np.abs(column) < 29
    expected = np.round(200 * (0.02 * 2 * column / 30) / 0.6).astype(int) % 200
    np.testing.assert_array_equal(greys[inside], expected[inside])
    assert (got[:8] == 0).all() and path.size == 20


@pytest.mark.parametrize(
    ("mounting", "rise"),
    [
        ({}, (0, 1)),
        ({"flip_x": True}, (0, -1)),
        ({"flip_y": True}, (0, 1)),
        ({"quarter_turns": 1}, (1, 0)),
        ({"quarter_turns": 2}, (0, -1)),
        ({"quarter_turns": 3}, (-1, 0)),
        ({"flip_x": True, "quarter_turns": 1}, (-1, 0)),
    ],
)
def test_mounting_turns_the_picture(mounting, rise):
    """A tilt that rises along x: which way (row, column) the greys rise on the panel, and back to the mask."""
    slm = panel(**mounting)
    got = picture(slm, TILT).astype(int)[35:45, 45:55]
    down, across = (np.mean((np.diff(got, axis=a) + 100) % 200 - 100) for a in (0, 1))
    assert (np.sign(np.round(down, 1)), np.sign(np.round(across, 1))) == rise
    mixed = zernike([(3, 1, 0.05), (2, -2, 0.04), (1, -1, 0.05)], design_wavelength_um=0.6, size=128)
    assert phasor_error(back(slm, mixed), mixed) < 0.06  # half a grey is 0.016, and bilinear against exact


def test_the_picture_is_the_mask_again():
    """Correction, grating, a shifted centre and a curved look-up table all come off: within half a grey level."""
    rng = np.random.default_rng(1)
    lut = 2.2 * np.pi * (np.arange(256) / 255) ** 1.2
    flatness = rng.uniform(0, 6, (80, 100))
    meant = astigmatism(0.08, design_wavelength_um=0.6, size=256)
    for changes in (
        {"correction_rad": flatness},
        {"grating_px": 7.0, "grating_rad": 0.6, "outside": "grating"},
        {"centre_px": (4, -6)},
        {"lut_rad": lut},
        {"lut_rad": -lut + 3, "flip_y": True, "quarter_turns": 3, "correction_rad": flatness, "centre_px": (-3, 2)},
    ):
        slm = panel(**changes)
        made = back(slm, meant)
        x, y = mask_grid(made.opd_um.shape[0], made.half_width)
        light = np.hypot(np.asarray(x), np.asarray(y)) < 1
        difference = np.angle(np.asarray(sample_mask(made, x, y, 0.6) / sample_mask(meant, x, y, 0.6)))[light]
        step = 2.2 * np.pi * 1.2 / 255 if "lut_rad" in changes else 2 * np.pi / 200
        assert np.abs(difference).max() < 0.51 * step + 1e-6


def test_a_correction_and_a_grating_reach_outside_the_pupil():
    """Flatness always; the grating where it is asked for."""
    flat = make_mask(np.zeros((16, 16)), design_wavelength_um=0.6)
    corrected = picture(panel(correction_rad=np.full((80, 100), np.pi)), flat)
    assert (corrected == 100).all()
    inside, everywhere = (picture(panel(grating_px=10.0, outside=o), flat) for o in ("zero", "grating"))
    assert (inside[0] == 0).all() and len(np.unique(everywhere[0])) == 10
    np.testing.assert_array_equal(inside[40, 25:75], everywhere[40, 25:75])


@pytest.mark.parametrize("grey_per_2pi", [2.0, 8.0, 205.5, 256.0])
def test_each_pixel_takes_the_nearest_grey(grey_per_2pi):
    """By brute force over the greys of one turn, phases near 2 pi included."""
    slm = panel(grey_per_2pi=grey_per_2pi)
    meant = zernike([(2, 0, 0.3)], design_wavelength_um=0.6, size=64)
    greys = np.arange(int(np.ceil(grey_per_2pi)))
    got = picture(slm, meant)
    column, row = np.meshgrid((np.arange(100) - 49.5) / 30, (np.arange(80) - 39.5) / 30)
    phase = np.angle(np.asarray(sample_mask(meant, column, row, 0.6)))
    away = np.abs(np.angle(np.exp(1j * (phase[..., None] - 2 * np.pi * greys / grey_per_2pi))))
    chosen = np.take_along_axis(away, got[..., None].astype(int), -1)[..., 0]
    inside = np.hypot(column, row) < 1
    assert (chosen[inside] <= away.min(-1)[inside] + 1e-9).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: panel(shape=(8, 8)), "at least 16"),
        (lambda: panel(pitch_um=0.0), "pitch_um"),
        (lambda: panel(grey_per_2pi=300.0), "grey_per_2pi = 300"),
        (lambda: panel(lut_rad=np.zeros(256)), "reach 2 pi"),
        (lambda: panel(lut_rad=np.linspace(0, 7, 100)), "256 grey levels"),
        (lambda: panel(correction_rad=np.zeros((3, 3))), "must fill the panel"),
        (lambda: panel(grating_px=1.0), "at least 2 pixels"),
        (lambda: grey_image(panel(), TILT, pupil_diameter_px=90.0), "does not fit the panel"),
        (
            lambda: picture(
                panel(), make_mask(np.zeros((8, 8)), transmission=np.full((8, 8), 0.5), design_wavelength_um=1)
            ),
            "phase-only",
        ),
        (
            lambda: shown_mask(panel(), np.zeros((3, 3), np.uint8), pupil_diameter_px=60, wavelength_um=0.6),
            "greys 0 to 255",
        ),
    ],
)
def test_a_panel_that_cannot_be_is_refused(call, message):
    """Each in one line with the field."""
    with pytest.raises(OpticsError, match=message):
        call()
