"""The uneven movies: frames hold what their truth says, and maps are what patches count."""

import numpy as np
import pytest

from worlds.mixed_field import MixedConfig, mixed_movie, psf_stamps, smooth_map


@pytest.fixture(scope="module")
def movie():
    return mixed_movie(MixedConfig(seed=3, frames=60, frame_px=128))


def test_frames_hold_the_light_of_the_truth(movie):
    """Counts less offset and background, over the gain, sum to the molecules' photons (less what stamps cut off and
    what leaves the field), within the shot noise of the whole movie."""
    config = movie.config
    light = (movie.adu.astype(float) - config.offset_adu).sum() / config.gain_adu_per_e
    light -= config.frames * movie.background_e.sum()
    noise = np.sqrt(config.frames * (movie.background_e + config.read_noise_e**2).sum())
    inside = psf_stamps(config).sum(axis=(1, 2)).mean() * movie.truth.photons.sum()
    side = config.frame_px * config.pixel_um
    lost = 4 * 0.2 / side  # molecules within 0.2 um of a border lose up to half
    assert inside * (1 - lost) - 5 * noise < light < inside + 5 * noise


def test_a_lone_molecule_is_where_the_truth_has_it():
    """The mean of many frames with few molecules: the centre of mass of the light is that of the truth."""
    one = mixed_movie(MixedConfig(seed=1, frames=150, frame_px=64, density_per_um2=(0.02, 0.04), snr=(30.0, 40.0)))
    config, half = one.config, 9
    y_px, x_px = (at / config.pixel_um for at in (one.truth.y_um, one.truth.x_um))
    away = []
    for k, frame in enumerate(one.truth.frame):
        same = (one.truth.frame == frame) & (np.arange(x_px.size) != k)
        row, column = int(y_px[k]), int(x_px[k])
        alone = not same.any() or np.hypot(x_px[same] - x_px[k], y_px[same] - y_px[k]).min() > 2.5 * half
        if alone and half <= row < 64 - half and half <= column < 64 - half:
            part = (slice(row - half, row + half + 1), slice(column - half, column + half + 1))
            stamp = (one.adu[frame][part] - config.offset_adu) / config.gain_adu_per_e - one.background_e[part]
            grid = np.arange(-half, half + 1) + 0.5
            away.append(
                [
                    stamp.sum(0) @ grid / stamp.sum() - x_px[k] + column,
                    stamp.sum(1) @ grid / stamp.sum() - y_px[k] + row,
                ]
            )
    away = np.array(away)
    assert len(away) > 20
    assert (np.abs(away.mean(axis=0)) < 4 * away.std(axis=0) / np.sqrt(len(away))).all()


def test_patches_count_the_truth_and_follow_the_maps(movie):
    """Density per patch, counted by hand in one; over all patches it follows the map that it was drawn from."""
    config, side = movie.config, 32
    patches = movie.patches(side)
    size = side * config.pixel_um
    inside = (movie.truth.x_um >= size) & (movie.truth.x_um < 2 * size) & (movie.truth.y_um < size)
    assert patches["density_per_um2"][0, 1] == pytest.approx(inside.sum() / size**2 / config.frames)
    assert patches["snr"][0, 1] == pytest.approx(movie.truth.extras["snr"][inside].mean())
    asked = movie.density_per_um2.reshape(4, side, 4, side).mean(axis=(1, 3))
    assert np.median(np.abs(patches["density_per_um2"] / asked - 1)) < 0.2
    wanted = movie.snr.reshape(4, side, 4, side).mean(axis=(1, 3))
    assert np.median(np.abs(patches["snr"] / wanted - 1)) < 0.1
    assert movie.picture(8).sum() == movie.truth.frame.size


def test_maps_take_all_values_equally_often():
    """By construction: quantiles of the map are those of a uniform distribution."""
    field = smooth_map(np.random.default_rng(0), 50, 12.0, (2.0, 8.0))
    np.testing.assert_allclose(np.quantile(field, [0, 0.25, 0.5, 1]), [2.0, 3.5, 5.0, 8.0], atol=0.01)
