"""Crops of a movie: which they are, in photons of which camera, and the movies that are refused."""

import dataclasses

import numpy as np
import pytest
import tifffile

from localization import LocalizationError
from made.instrument_files import write_ims
from training import CameraConfig, ConfigError
from training.generator.config import GeneratorConfig
from training.generator.crops import read_crops

CAMERA = CameraConfig(gain_adu_per_e=2.0, offset_adu=100.0)
CONFIG = GeneratorConfig(crop_px=24, crops=20, held_out=0.2, camera=CAMERA)


def movie(n_frames: int = 12, shape=(40, 52)) -> np.ndarray:
    """Counts of a level that differs over the frame, 2 a photon above 100."""
    level = 20 + 60 * np.linspace(0, 1, shape[1]) * np.ones(shape)
    return (100 + 2 * np.random.default_rng(0).poisson(level, (n_frames, *shape))).astype(np.uint16)


def test_a_movie_that_states_another_pixel_is_questioned(tmp_path):
    write_ims(tmp_path / "movie.ims", movie()[:, None], pixel_um=0.108)
    crops = read_crops(CONFIG, tmp_path / "movie.ims")
    assert crops.notes[0] == "the movie says 108 nm a pixel, the PSF 110 nm: check which is right"


def test_crops_are_the_movie_in_photons(tmp_path):
    """Each crop is the window of its frame, less offset over gain; from a file as from an array, by the seed."""
    frames = movie()
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    crops, again = read_crops(CONFIG, tmp_path / "movie.tif"), read_crops(CONFIG, frames)
    for (f, row, column), crop in zip(crops.fit_at, crops.fit, strict=True):
        np.testing.assert_allclose(crop, (frames[f, row : row + 24, column : column + 24] - 100.0) / 2, rtol=1e-6)
    np.testing.assert_array_equal(crops.fit, again.fit)
    np.testing.assert_array_equal(crops.held_out_at, again.held_out_at)
    other = read_crops(dataclasses.replace(CONFIG, seed=1), frames)
    assert not np.array_equal(other.fit_at, crops.fit_at)
    assert len(crops.fit) == 16 and len(crops.held_out) == 4 and crops.camera == CAMERA


def test_held_out_crops_come_from_other_frames():
    """No frame is learned from and held out; of a single frame no pixel is."""
    crops = read_crops(CONFIG, movie())
    assert not set(crops.fit_at[:, 0]) & set(crops.held_out_at[:, 0])
    assert len(np.unique(crops.fit_at, axis=0)) == len(crops.fit_at)
    alone = read_crops(dataclasses.replace(CONFIG, held_out=0.3), movie(1, (120, 100)))
    assert alone.fit_at[:, 2].max() + 24 <= alone.held_out_at[:, 2].min() and len(alone.held_out) > 0


@pytest.mark.parametrize("how, share", [("movie", 0.1), ("frames", 0.15)])
def test_a_camera_that_nobody_gave_is_found(how, share):
    """Without a camera the noise says gain and offset, and a note says so."""
    config = dataclasses.replace(CONFIG, camera=CameraConfig(), photometry=how)
    crops = read_crops(config, movie(24, (80, 96)))
    assert crops.camera.gain_adu_per_e == pytest.approx(2.0, rel=share)
    assert crops.camera.offset_adu == pytest.approx(100.0, abs=12)
    assert len(crops.notes) == 1 and "give it instead" in crops.notes[0]


def test_frames_stretched_one_by_one_come_back_to_photons():
    """Frames of differing brightness, each stretched to 0 ... 65535: photons to a quarter, none of the camera left."""
    level = np.linspace(10, 90, 80) * np.ones((6, 80, 80)) * np.linspace(0.6, 1.4, 6)[:, None, None]
    photons = np.random.default_rng(0).poisson(level).astype(float)
    low, high = (f(photons, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    frames = np.round(65535 * (photons - low) / (high - low)).astype(np.uint16)
    crops = read_crops(dataclasses.replace(CONFIG, camera=CameraConfig()), frames)
    truth = np.array([photons[f, r : r + 24, c : c + 24] for f, r, c in crops.fit_at])
    slope = (crops.fit.mean(axis=0) * truth.mean(axis=0)).sum() / (truth.mean(axis=0) ** 2).sum()
    assert slope == pytest.approx(1, abs=0.25) and crops.camera == CameraConfig()


def constant(n_dead: int) -> np.ndarray:
    frames = movie()
    frames[:n_dead] = 100
    return frames


@pytest.mark.parametrize(
    "changes, frames, message",
    [
        ({"crop_px": 64}, movie(), "crop_px = 64 does not fit into frames of 40 x 52 px; make it 40"),
        ({}, movie(1, (40, 40)), "too few to hold any out"),
        ({"held_out": 0.0}, movie(1, (24, 24)), "fewer than 4; give more frames"),
        ({}, constant(12), "crops are constant"),
        ({}, np.minimum(movie(), 230), "saturated"),
        ({}, np.where(np.eye(40, 52, dtype=bool), np.nan, movie()), "NaN"),
        ({"camera": CameraConfig(), "photometry": "movie"}, movie(12) * 0 + movie(1), "does not grow|no noise|slope"),
    ],
)
def test_movies_that_cannot_be_learned_from(changes, frames, message):
    """Crops too large, too few frames, constant, saturated, NaN, frames without noise: one line each, at once."""
    with pytest.raises((ConfigError, LocalizationError), match=message):
        read_crops(dataclasses.replace(CONFIG, **changes), frames)


def test_a_few_dead_frames_are_left_out():
    """Constant crops are dropped, with a note."""
    crops = read_crops(dataclasses.replace(CONFIG, held_out=0.0, crops=24), constant(2))
    assert crops.fit.std(axis=(1, 2)).min() > 0 and "constant crops were left out" in crops.notes[0]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"z_max_um": 2000.0}, "nanometres"),
        ({"z_min_um": 3.0}, "must be a finite range"),
        ({"crop_px": 8}, "crop_px = 8"),
        ({"held_out": 0.9}, "held_out = 0.9"),
        ({"slots": 0}, "slots"),
        ({"cell_px": 7}, "cell_px"),
        ({"parity": True, "crop_px": 64}, "crop_px = 64 must be 129"),
    ],
)
def test_settings_that_cannot_be(values, message):
    """A wrong number is refused where it is set, with its name."""
    with pytest.raises(ConfigError, match=message):
        GeneratorConfig(**values)
