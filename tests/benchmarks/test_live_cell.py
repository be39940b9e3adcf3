"""The simulated live-cell movie: its motion, light and frames against closed forms."""

import dataclasses

import numpy as np
import pytest

from training import CameraConfig, ConfigError, MaskConfig, PsfConfig
from worlds.live_cell import LiveCellConfig, frames_adu, simulate

LASTING = dict(off_s=0.0, bleach_s=1e9, cell_um=(500.0, 500.0, 500.0))


def displacement(live, lag):
    """Mean square displacement per axis of the exposures' first steps, over a lag in frames."""
    place = live.path_um[:, 0]
    return ((place[lag:] - place[:-lag]) ** 2).mean(axis=(0, 1))


def test_brownian_particles_diffuse_as_they_should():
    """Mean square displacement per axis 2 D t at two lags, far from the membrane."""
    config = LiveCellConfig(frames=60, count=400, shares=(1.0, 0.0, 0.0), d_um2_s=0.2, **LASTING)
    live = simulate(config)
    for lag in (1, 5):
        expected = 2 * 0.2 * lag * config.frame_s
        np.testing.assert_allclose(displacement(live, lag), expected, rtol=0.06)


def test_confined_particles_stay_in_their_well():
    """Long after its start a confined particle scatters by well_um around its place, and goes no further."""
    config = LiveCellConfig(frames=150, count=300, frame_s=0.1, shares=(0.0, 1.0, 0.0), d_um2_s=0.2, **LASTING)
    late = simulate(config).path_um[100:, 0]
    # the mean over time of a well's own scatter: as for any path, less what its mean takes with it
    assert late.std(axis=0).mean() == pytest.approx(config.well_um, rel=0.05)
    saturated = displacement(simulate(config), 80)
    np.testing.assert_allclose(saturated, 2 * config.well_um**2, rtol=0.08)


def test_directed_particles_move_at_their_speed():
    """Without diffusion a driven particle covers speed times time."""
    config = LiveCellConfig(frames=20, count=50, shares=(0.0, 0.0, 1.0), d_um2_s=0.0, speed_um_s=2.0, **LASTING)
    live = simulate(config)
    way = np.linalg.norm(live.path_um[10, 0] - live.path_um[0, 0], axis=1)
    inside = live.path_um[:, 0, :, 2].min(axis=0) > 1.0  # those that never met the coverslip
    np.testing.assert_allclose(way[inside], 2.0 * 10 * config.frame_s, rtol=1e-9)


def test_particles_stay_inside_the_cell():
    """No position leaves the dome."""
    config = LiveCellConfig(frames=100, count=100, d_um2_s=2.0, speed_um_s=5.0)
    place = simulate(config).path_um - np.array([64 * 0.11, 64 * 0.11, 0.0])
    assert ((place / np.array(config.cell_um)) ** 2).sum(axis=-1).max() < 1 and place[..., 2].min() > 0


def test_light_blinks_and_bleaches():
    """On for the share on / (on + off) before bleaching; the light left falls as the lit time's exponential."""
    config = LiveCellConfig(frames=400, count=400, on_s=0.2, off_s=0.1, bleach_s=1e9)
    assert (simulate(config).light > 0).mean() == pytest.approx(0.2 / 0.3, abs=0.05)
    steady = simulate(dataclasses.replace(config, off_s=0.0, bleach_s=2.0))
    lit = steady.light.sum(axis=(1, 2)) / (config.photons * config.count)
    expected = np.exp(-(np.arange(400) + 0.4) * config.frame_s / 2.0)
    np.testing.assert_allclose(lit, expected, atol=0.06)


def test_truth_is_the_mean_of_the_light():
    """A row's position is that of its photons' mean, and rows are as many as particles with light."""
    live = simulate(LiveCellConfig(frames=30, count=20, on_s=0.1, off_s=0.05))
    photons = live.light.sum(axis=1)
    assert live.truth.frame.size == (photons > 0).sum() == live.track.size
    row = 37
    f, n = live.truth.frame[row], live.track[row]
    mean = np.average(live.path_um[f, :, n], axis=0, weights=live.light[f, :, n])
    np.testing.assert_allclose([live.truth.x_um[row], live.truth.y_um[row], live.truth.z_um[row]], mean)
    assert live.truth.photons[row] == pytest.approx(photons[f, n])


def test_frames_hold_the_light_that_was_drawn():
    """The frames' sum is the particles' light inside the stamps, background and offset included, within noise."""
    config = LiveCellConfig(
        frames=2,
        side_px=48,
        count=4,
        sub_steps=2,
        cell_um=(1.5, 1.5, 1.0),
        photons=20_000.0,
        background=0.0,
        floor=2.0,
        psf=PsfConfig(stamp_px=21, kind="scalar", pupil_px=16, ring_px=3),
        mask=MaskConfig("flat"),
        camera=CameraConfig(offset_adu=100.0, gain_adu_per_e=2.0),
    )
    live = simulate(config)
    for f, adu in enumerate(frames_adu(config, live)):
        photons = (adu.astype(float) - 100).sum() / 2 - 2.0 * 48 * 48
        light = live.light[f].sum()
        assert adu.dtype == np.uint16 and adu.shape == (48, 48)
        assert 0.8 * light < photons < 1.02 * light


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": 0}, "frames = 0"),
        ({"shares": (0.5, 0.6, 0.2)}, "add up to 1"),
        ({"exposure_share": 0.0}, "exposure_share = 0.0"),
        ({"cell_um": (1.0, 1.0)}, "three half axes"),
        ({"d_um2_s": -1.0}, "d_um2_s = -1.0"),
    ],
)
def test_wrong_settings_are_named(values, message):
    """Settings that make no sense are refused by name."""
    with pytest.raises(ConfigError, match=message):
        LiveCellConfig(**values)
