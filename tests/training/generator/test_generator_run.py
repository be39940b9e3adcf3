"""A fit from a movie to a folder: movies that are refused before long work; a fit that was stopped ends like one that
was not (slow)."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from localization import LocalizationError
from made.made_generator import CONFIG, small_networks
from optics import Emitters, make_camera, render_frames, sample_camera
from optics.progress import Event
from training import CameraConfig, ConfigError, TimeLimit
from training.generator.files import load_parts
from training.generator.psf import PsfReport
from training.generator.run import fit_generator
from training.generator.start import generator_psf, psf_radius_px
from training.generator.summary import FitQuality, warnings_of

FRAMES, SIDE, SPOTS = 10, 32, 4


def movie(level: np.ndarray | float = 10.0, photons: float = 1500.0) -> np.ndarray:
    """Counts of CONFIG's camera: emitters in focus on a level."""
    rng = np.random.default_rng(0)
    pixel = CONFIG.microscope.pixel_um
    xy = rng.uniform(0.4, SIDE * pixel - 0.4, (FRAMES, SPOTS, 2))
    emitters = Emitters(
        xyz_um=jnp.asarray(np.concatenate([xy, np.zeros((FRAMES, SPOTS, 1))], axis=-1)),
        photons=jnp.full((FRAMES, SPOTS), photons),
        valid=jnp.ones((FRAMES, SPOTS), bool),
    )
    light = render_frames(generator_psf(CONFIG), emitters, (SIDE, SIDE)) if photons else 0.0
    rate = jnp.broadcast_to(light + jnp.asarray(level), (FRAMES, SIDE, SIDE))
    keys = jax.random.split(jax.random.key(0), FRAMES)
    camera = make_camera(**dataclasses.asdict(CONFIG.camera))
    return np.asarray(jax.vmap(lambda k, r: sample_camera(k, camera, r))(keys, rate)).round().astype(np.uint16)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    small_networks(monkeypatch)


def test_movies_without_emitters_are_refused_before_the_fit(tmp_path):
    """Even background, and background gradients alone: one line, and no folder."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    for level in (20.0, 10 + 60 * x + 30 * y, 15 + 80 * np.exp(-((x - 0.4) ** 2 + (y - 0.6) ** 2) / 0.2)):
        with pytest.raises(LocalizationError, match="no emitters found: .* check PSF, depths and camera"):
            fit_generator(CONFIG, movie(level, 0.0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_that_do_not_fit_the_movie(tmp_path):
    """A batch above the crops, a stamp above the crop, an offset above the frames, a folder of another's."""
    bright = movie(10.0, 0.0)
    cases = {
        "fit.batch = 50": dataclasses.replace(CONFIG, fit=dataclasses.replace(CONFIG.fit, batch=50)),
        "smaller than the PSF's stamp": dataclasses.replace(CONFIG, psf=dataclasses.replace(CONFIG.psf, stamp_px=41)),
        "camera.offset_adu": dataclasses.replace(CONFIG, camera=CameraConfig(offset_adu=500.0)),
    }
    for message, config in cases.items():
        with pytest.raises(ConfigError, match=message):
            fit_generator(config, bright, tmp_path / "run")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="already holds a run"):
        fit_generator(CONFIG, bright, tmp_path)
    with pytest.raises(ConfigError, match="not the configuration of a generator"):
        fit_generator(CONFIG, bright, tmp_path, resume=True)


def test_the_radius_is_that_of_the_core():
    """Half-alike at 1.67 sigma of a Gaussian (its autocorrelation is exp(-d^2 / 4 sigma^2)): the first pixel beyond."""
    y, x = np.mgrid[-15:16, -15:16]
    for sigma, radius in ((1.0, 2), (2.0, 4), (3.0, 6)):
        spot = np.exp(-(x**2 + y**2) / (2 * sigma**2))
        assert psf_radius_px(spot[None] / spot.sum()) == pytest.approx(radius, abs=1)


def test_a_wrong_psf_and_full_slots_are_said_plainly():
    """Words for: a PSF that does not belong, no spare slots, noise that is not the camera's."""
    model = SimpleNamespace(config=SimpleNamespace(slots=4), ranges=SimpleNamespace(z_um=(0.0, 1.0)))
    quality = FitQuality(np.full(5, 2.0), np.full(5, 2), np.ones(10), np.zeros(10), (1.0, 2.0, 3.0), (1.0, 0.0, 1.0))
    wrong = PsfReport(0.5, 0.4, 0.02, (0.0,), 0.1, 9)
    warnings = warnings_of(dataclasses.replace(CONFIG, z_max_um=1.0), model, quality, None, wrong)
    assert (
        "THE PSF DOES NOT BELONG" in warnings[0]
        and "noisier than the model" in warnings[1]
        and "depth range" in warnings[2]
    )
    full = dataclasses.replace(quality, counts=np.full(5, 4), chi2=np.ones(5))
    assert "use all 4 slots" in warnings_of(CONFIG, model, full, None, dataclasses.replace(wrong, misfit=0.05))[0]


@pytest.mark.slow
def test_a_stopped_fit_ends_like_one_that_was_not(tmp_path):
    """Past its deadline it saves and raises TimeLimit; resumed, its files hold the same numbers. A finished one is
    not fitted again."""
    frames = movie()
    whole = fit_generator(CONFIG, frames, tmp_path / "whole")
    with pytest.raises(TimeLimit, match="stopped at step 1 of 4"):
        fit_generator(CONFIG, frames, tmp_path / "cut", deadline_s=0.0)
    with pytest.raises(ConfigError, match="add --resume"):
        fit_generator(CONFIG, frames, tmp_path / "cut")
    events: list[Event] = []
    cut = fit_generator(CONFIG, frames, tmp_path / "cut", resume=True, report=events.append)
    assert next(event.done for event in events if event.stage == "step") == 2
    assert {**cut, "seconds": 0} == {**whole, "seconds": 0}
    one, two = load_parts(tmp_path / "whole"), load_parts(tmp_path / "cut")
    for a, b in zip(
        jax.tree.leaves((one.fitted, one.posteriors)), jax.tree.leaves((two.fitted, two.posteriors)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert fit_generator(CONFIG, frames, tmp_path / "cut", resume=True) == cut
    assert not (tmp_path / "cut" / "checkpoints").exists()
    assert json.loads((tmp_path / "cut" / "metrics.json").read_text())["crops"] == 8
    with pytest.raises(ConfigError, match="other settings"):
        fit_generator(dataclasses.replace(CONFIG, seed=1), frames, tmp_path / "cut", resume=True)
