"""AutoDS3D's way for a movie: what is seen, what is planned and decided, and a whole run of it."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
import tifffile

import localization
from experiments.reading.autods3d import (
    AutoDs3dConfig,
    TrainingPlan,
    autods3d,
    measure_speed,
    pixel_estimates,
    plan_training,
)
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.localize_config import LocalizeConfig
from made.tiny import tiny_run
from optics import make_camera, make_emitters, make_microscope, make_psf, masks, render_scenes, save_psf
from training import ConfigError, RunConfig, from_dict, to_dict

GAIN, OFFSET, BACKGROUND, PIXEL = 2.0, 100.0, 15.0, 0.12
DEPTHS = (0.0, 0.8)


def small_psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL, focus_um=0.4)
    return make_psf(scope, aberration=masks.astigmatism(0.06, size=32), image_px=15, pupil_px=24, kind="scalar")


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """A calibrated PSF, a movie of 8 frames with four molecules each, and how it is read."""
    folder, psf = tmp_path_factory.mktemp("autods3d"), small_psf()
    save_psf(folder / "psf.npz", psf)
    rng, frames = np.random.default_rng(0), []
    draw = jax.jit(lambda emitters: render_scenes(psf, emitters, (36, 36))[0])
    for _ in range(8):
        xyz = np.column_stack([[1.1, 1.1, 3.2, 3.2], [1.1, 3.2, 1.1, 3.2], rng.uniform(0.1, 0.7, 4)])
        xyz[:, :2] += rng.uniform(-0.1, 0.1, (4, 2))
        one = make_emitters(xyz, rng.uniform(4000, 6000, 4))
        light = np.asarray(draw(jax.tree.map(lambda leaf: leaf[None], one)))[0] + BACKGROUND
        frames.append(OFFSET + GAIN * rng.poisson(light))
    counts = np.stack(frames).astype(np.uint16)
    tifffile.imwrite(folder / "movie.tif", counts, photometric="minisblack")
    classical = ClassicalConfig(z_min_um=DEPTHS[0], z_max_um=DEPTHS[1])
    reading = LocalizeConfig(gain_adu_per_photon=GAIN, offset_adu=OFFSET, classical=classical)
    return folder, counts, reading


def test_the_decision_is_that_of_the_numbers():
    """Worth it where training and reading take less than the joint fit; from how many frames on, by hand."""
    plan = TrainingPlan(tiny_run(), frames=1000, joint_s=500.0, training_s=600.0, reading_s=100.0)
    assert not plan.worth_it and plan.worth_from == 1500  # 600 s, over 0.4 s that a frame saves
    assert plan.lines()[-1] == "the joint fit is 1.4 times faster; the decoder would be from 1,500 frames on"
    longer = replace(plan, frames=4000, joint_s=2000.0, reading_s=400.0)
    assert longer.worth_it and longer.lines()[-1] == "the decoder is 2.0 times faster"
    never = replace(plan, reading_s=600.0)
    assert never.worth_from is None and "would never be" in never.lines()[-1]
    kept = from_dict(RunConfig, json.loads(json.dumps(plan.numbers()))["run"], saved=True)
    assert to_dict(kept) == to_dict(plan.run)


def test_pixels_tell_light_and_darkness(movie):
    """The published way in photons: both ranges hold the truth of the simulated movie."""
    _, counts, _ = movie
    camera = make_camera(gain_adu_per_e=GAIN, offset_adu=OFFSET)
    still = np.concatenate([counts, np.random.default_rng(1).poisson(BACKGROUND, (200, 36, 36)) * GAIN + OFFSET])
    photons, background, read_noise_e = pixel_estimates(still, small_psf(), DEPTHS, camera)
    assert photons[0] < 4000 and photons[1] > 5000
    assert background[0] < BACKGROUND < background[1] and read_noise_e < 2


@pytest.mark.parametrize(("change", "words"), [({"steps": 0}, "steps = 0"), ({"minutes": -1.0}, "minutes = -1.0")])
def test_wrong_settings_are_refused(change, words):
    """In one line that names the field."""
    with pytest.raises(ConfigError, match=words):
        AutoDs3dConfig(**change)


def test_depths_and_camera_must_be_known(movie):
    """Neither a psf.npz nor a movie says them."""
    folder, _, reading = movie
    for left_out, words in ((replace(reading, classical=ClassicalConfig()), "z_min_um"),
                            (replace(reading, gain_adu_per_photon=None, offset_adu=None), "camera")):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            plan_training(folder / "movie.tif", folder / "psf.npz", AutoDs3dConfig(reading=left_out))


@pytest.mark.slow
def test_the_speed_is_that_of_a_step_and_a_frame():
    """Seconds without the compiling, which takes longer than ten of them."""
    step_s, frame_s = measure_speed(tiny_run(), (16, 16))
    assert 0 < frame_s < 10 and 0 < step_s < 10


@pytest.mark.slow
def test_a_movie_gets_a_decoder_of_its_own(movie, tmp_path, monkeypatch):
    """Plan, training and list: settings hold what the movie was drawn with, the same call goes on, others do not."""
    folder, _, reading = movie
    monkeypatch.setattr("experiments.reading.autods3d.measure_speed", lambda run, shape: (2.0, 0.5))
    config = AutoDs3dConfig(reading=reading, look_frames=4, channels=4, planes=8, frame_px=24, steps=3, batch=2)
    said = []
    files = (folder / "movie.tif", folder / "psf.npz", tmp_path / "run")
    result = autods3d(*files, config, lambda event: said.append(event))
    scene, camera = result.plan.run.scene, result.plan.run.camera
    assert scene.photons_min < 4200 and scene.photons_max > 5800
    assert scene.background_min < BACKGROUND < scene.background_max
    assert (scene.z_min_um, scene.z_max_um) == DEPTHS and scene.count_max >= 2
    assert (camera.gain_adu_per_e, camera.offset_adu) == (GAIN, OFFSET)
    told = next(k for k, event in enumerate(said) if "joint fit of all" in str(event.numbers.get("text")))
    assert all(event.stage != "step" for event in said[:told])  # the time is said before the training
    assert localization.read(result.localized.path).frame.size == result.localized.rows
    before = (tmp_path / "run" / "plan.json").read_bytes()
    assert (result.plan.training_s, result.plan.reading_s) == (6.0, 4.0)
    again = autods3d(*files, config)
    assert (tmp_path / "run" / "plan.json").read_bytes() == before and again.localized.rows == result.localized.rows
    with pytest.raises(ConfigError, match="another movie, PSF or setting"):
        autods3d(*files, replace(config, steps=4))
