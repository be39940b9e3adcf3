"""Patches: the cut, the levels, and features against movies whose density and brightness are known."""

import numpy as np
import pytest
from scipy.special import erf

from localization import LocalizationError
from localization.patches import cut_patches, difficulty_level, notebook_level, patch_features

PIXEL_UM, SIGMA_PX = 0.107, 1.166


def simulated(rng, density_per_um2, snr, frames=50, side=84, background=100.0, read=6.0):
    """Frames of pixel-integrated Gaussian spots; `snr` is the mean brightest pixel over the background's noise."""

    def share(offset):
        return 0.5 * (erf((offset + 0.5) / (2**0.5 * SIGMA_PX)) - erf((offset - 0.5) / (2**0.5 * SIGMA_PX)))

    offsets = share(np.linspace(-0.5, 0.5, 401))
    photons = snr * np.hypot(np.sqrt(background), read) / offsets.mean() ** 2
    pixels, movie = np.arange(side) + 0.5, []
    for _ in range(frames):
        n = rng.poisson(density_per_um2 * (side * PIXEL_UM) ** 2)
        x, y = rng.uniform(0, side, (2, n, 1))
        light = (rng.normal(photons, 0.15 * photons, (n, 1)) * share(pixels - y)).T @ share(pixels - x)
        movie.append(rng.poisson(light + background) + rng.normal(0, read, (side, side)))
    return np.array(movie)


@pytest.mark.parametrize("density, snr", [(0.3, 3.0), (1.0, 8.0), (2.0, 2.0), (2.0, 8.0)])
def test_density_and_ratio_are_those_simulated_where_peaks_saturate(density, snr):
    """Against the numbers that the frames were made with: 20 % and 15 %, five sigmas of 50 frames of one patch."""
    movie = simulated(np.random.default_rng(3), density, snr)
    found = patch_features(movie, cut_patches(movie.shape[1:], PIXEL_UM), PIXEL_UM)
    assert found.density_per_um2[0, 0] == pytest.approx(density, rel=0.2)
    assert found.snr[0, 0] == pytest.approx(snr, rel=0.15)
    assert found.width_px == pytest.approx(np.hypot(SIGMA_PX, 12**-0.5), rel=0.1)
    assert abs(int(found.level[0, 0]) - int(difficulty_level(density, snr))) <= 1
    assert found.seen.all()
    if density == 2.0:
        assert found.counted_per_um2[0, 0] < 0.5 * density  # why the published count is not enough


def test_still_emitters_are_counted():
    """What does not blink has no fluctuation: its peaks are counted, and it is not called empty."""
    rng = np.random.default_rng(0)
    frame = simulated(rng, 0.3, 20.0, frames=1, read=0.0)[0]
    movie = frame + rng.normal(0, 10.0, (20, *frame.shape))
    found = patch_features(movie, cut_patches(frame.shape, PIXEL_UM), PIXEL_UM)
    assert found.density_per_um2[0, 0] == pytest.approx(0.3, rel=0.35)  # 24 emitters, Poisson
    assert not found.empty.any()


def test_nothing_gives_nothing_and_no_nan():
    """A constant movie, one of noise, one of a single frame, one of zeros."""
    noise = np.random.default_rng(1).normal(100, 5, (20, 70, 90))
    for movie in (np.full((15, 70, 90), 7.0), noise, noise[:1], np.zeros((2, 70, 90))):
        found = patch_features(movie, cut_patches((70, 90), 0.1), 0.1)
        numbers = (found.density_per_um2, found.snr, found.noise, found.peak, found.counted_snr, found.width_px)
        assert all(np.isfinite(n).all() for n in numbers)
        assert found.seen.mean() < 0.2
    constant = patch_features(np.full((15, 70, 90), 7.0), cut_patches((70, 90), 0.1), 0.1)
    assert constant.empty.all() and (constant.level == 0).all()


def test_patches_cover_the_frame_once():
    """Every pixel is in one patch; the published cut lost 4 rows and 4 columns of this frame."""
    patches = cut_patches((484, 540), 0.107)
    covered = np.zeros((484, 540), int)
    for _, _, rows, columns in patches.each():
        covered[rows, columns] += 1
        assert 6.5 <= 0.107 * (rows.stop - rows.start) <= 14.9
    assert (covered == 1).all()
    image = np.random.default_rng(0).normal(size=(484, 540))
    r, c, rows, columns = list(patches.each())[-1]
    assert patches.mean(image)[r, c] == pytest.approx(image[rows, columns].mean())
    assert patches.largest(image)[r, c] == image[rows, columns].max()
    assert cut_patches((20, 30), 0.1).shape == (1, 1)


def test_levels():
    """The table of the paper on its own four points, monotone between; the notebook's rule where it differs."""
    assert list(difficulty_level([0.5, 1, 1.5, 2], [8, 6, 4, 2])) == [1, 2, 3, 4]
    grid = difficulty_level(np.linspace(0, 3, 31)[:, None], np.linspace(0, 12, 41))
    assert (np.diff(grid, axis=0) >= 0).all() and (np.diff(grid, axis=1) <= 0).all()
    assert list(notebook_level([0.5, 2.0, 2.0], [31.0, 31.0, 3.0])) == [1, 3, 4]


def test_errors_say_what_to_do():
    """A patch of an unknown size, frames of another shape, NaN."""
    with pytest.raises(LocalizationError, match="6.5 to 14.9"):
        cut_patches((50, 50), 0.1, 3.0)
    patches = cut_patches((70, 70), 0.1)
    with pytest.raises(LocalizationError, match="shape"):
        patch_features(np.zeros((2, 60, 70)), patches, 0.1)
    with pytest.raises(LocalizationError, match="NaN"):
        patch_features(np.full((2, 70, 70), np.nan), patches, 0.1)
