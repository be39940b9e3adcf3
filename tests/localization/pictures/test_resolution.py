"""Fourier ring correlation against closed forms and a plain numpy version."""

import numpy as np
import pytest
from scipy.optimize import brentq

from localization import LocalizationError, fourier_ring_correlation, frc, make_localizations, select, to_image
from localization.pictures.resolution import smooth_curve

SIDE_UM = 20.0  # the noise of a curve falls with the side of the field


def table(per_half, sigma_um, molecules=60_000, seed=0):
    """Molecules at random; `per_half` localizations of each in either half (frames 0 and 1), or Poisson-many."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, SIDE_UM, (2, molecules))
    halves = [np.full(molecules, 1)] * 2 if per_half is None else [rng.poisson(per_half, molecules) for _ in range(2)]
    frame = np.concatenate([np.full(n.sum(), k) for k, n in enumerate(halves)])
    rows = np.concatenate([np.repeat(np.arange(molecules), n) for n in halves])
    errors = rng.normal(0, sigma_um, (2, rows.size))
    return make_localizations(frame, x[rows] + errors[0], y[rows] + errors[1], np.zeros(rows.size))


SIGMA_UM = 0.02


def shared(q, pixel_um=0.01):
    """What two localizations of one molecule have in common at frequency q, drawn in pixels."""
    return np.exp(-((2 * np.pi * SIGMA_UM * q) ** 2)) * np.sinc(pixel_um * q) ** 2


REGION = ((0.0, SIDE_UM), (0.0, SIDE_UM))


def test_molecules_seen_once_in_each_half_have_the_gaussian_curve():
    """FRC(q) is the Gaussian exp(-(2 pi sigma q)^2), times the pixels' sinc^2: the curve and its crossing."""
    result = fourier_ring_correlation(table(None, SIGMA_UM), 0.01, rng=0, region_um=REGION, block_frames=1, repeats=1)
    assert np.abs(result.smoothed - shared(result.frequency_per_um))[5:].max() < 0.05
    assert result.resolution_um == pytest.approx(1 / brentq(lambda q: shared(q) - 1 / 7, 1, 40), rel=0.02)
    assert result.resolution_um == pytest.approx(2 * np.pi * SIGMA_UM / np.sqrt(np.log(7)), rel=0.03)
    assert result.reason == ""


def test_molecules_seen_a_random_number_of_times():
    """Poisson(mu) localizations per half: FRC = mu h / (1 + mu h), h as above; also for splits by row."""
    mu = 1.5
    expected = 1 / brentq(lambda q: mu * shared(q) / (1 + mu * shared(q)) - 1 / 7, 1, 40)
    locs = table(mu, SIGMA_UM)
    for options in ({"split": "random"}, {"split": "blocks", "block_frames": 1}):
        result = frc(locs, 0.01, rng=0, region_um=REGION, repeats=2, **options)
        assert result.resolution_um == pytest.approx(expected, rel=0.03)
    assert result.split_resolution_um.shape == (2,)


def test_the_curve_is_that_of_plain_transforms():
    """Ring by ring as from full complex transforms of the two windowed halves, with an odd side and a gap."""
    locs = select(table(None, 0.03, molecules=60_000), np.arange(6, 120_000))
    region = ((0.0, 2.7), (0.0, 2.5))
    result = fourier_ring_correlation(locs, 0.02, rng=0, region_um=region, block_frames=1, repeats=1)
    first = np.random.default_rng(0).permutation([0, 1])[0]
    halves = [select(locs, locs.frame == k) for k in (first, 1 - first)]

    def taper(n):  # Tukey: an eighth of the width on either side as a half cosine
        x = np.arange(n) / (n - 1)
        edge = np.minimum(x, 1 - x) / 0.125
        return np.where(edge < 1, 0.5 * (1 - np.cos(np.pi * edge)), 1.0)

    spectra = [
        np.fft.fft2(to_image(h, 0.02, region_um=region) * np.outer(taper(125), taper(135)), (135, 135)) for h in halves
    ]
    ring = np.hypot(*np.meshgrid(np.fft.fftfreq(135, 1 / 135), np.fft.fftfreq(135, 1 / 135))).round()
    for k in range(67):
        a, b = (spectrum[ring == k] for spectrum in spectra)
        plain = np.real(np.sum(a * b.conj())) / np.sqrt(np.sum(np.abs(a) ** 2) * np.sum(np.abs(b) ** 2))
        assert result.correlation[k] == pytest.approx(plain, abs=1e-4)
    assert result.frequency_per_um[1] == pytest.approx(1 / (135 * 0.02))


def test_no_crossing_says_why():
    """Equal halves never fall below the threshold; halves without a common molecule never rise above it."""
    x, y = np.random.default_rng(0).uniform(0, 2, (2, 500))
    twice = make_localizations(np.repeat([0, 1], 500), np.tile(x, 2), np.tile(y, 2), np.zeros(1000))
    above = fourier_ring_correlation(twice, 0.02, rng=0, block_frames=1, repeats=1)
    assert np.isnan(above.resolution_um) and "stays above 0.143" in above.reason and "40 nm" in above.reason
    xy = np.random.default_rng(1).uniform(0, 20, (2, 2000))
    apart = make_localizations(np.repeat([0, 1], 1000), *xy, np.zeros(2000))
    below = fourier_ring_correlation(apart, 0.02, rng=0, block_frames=1, repeats=2)
    assert np.isnan(below.resolution_um) and "no detail in common" in below.reason and np.isnan(below.spread_um)


def test_loess_reproduces_lines_and_narrows_noise():
    """A line passes unchanged, ends included; white noise shrinks."""
    line = 3.0 - 0.2 * np.arange(50)
    assert smooth_curve(line, 9) == pytest.approx(line, abs=1e-9)
    noise = np.random.default_rng(0).normal(0, 1, 400)
    assert smooth_curve(noise, 21).std() < 0.4 * noise.std()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "thirds"}, "unknown split"),
        ({"block_frames": 5}, "2 frames make one block"),
        ({"repeats": 0}, "repeats is 0"),
        ({"threshold": 1.0}, "threshold 1.0"),
        ({"pixel_um": 1e-5}, "take larger pixels"),
        ({"region_um": ((50.0, 51.0), (0.0, 1.0))}, "0 rows in the region"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, message):
    """One line that names the field."""
    locs = table(None, 0.02, molecules=200)
    with pytest.raises(LocalizationError, match=message):
        fourier_ring_correlation(locs, **{"pixel_um": 0.05, "rng": 0} | options)
