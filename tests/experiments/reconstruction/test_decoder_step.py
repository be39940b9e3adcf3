"""A network of the movie's own: only where the method asks for it, then what the frames are read with."""

from pathlib import Path

import pytest

from experiments.reading.autods3d import TrainingPlan
from experiments.reconstruction.methods import METHODS, Known
from experiments.reconstruction.plan import Plan, load_plan
from experiments.reconstruction.steps.choice import Choice
from experiments.reconstruction.steps.decoder import OwnDecoder, train_decoder
from experiments.reconstruction.steps.look import Look
from made.tiny import tiny_run
from training import ConfigError

DEEP = Known(pixel_um=0.11, camera="camera.toml", psf="psf.npz", z_range_um=(0.0, 2.0))
SEEN = Look(frames=(0, 9), rows=(0, 40), columns=(4, 44))


def test_other_methods_train_nothing(tmp_path):
    """And the step says so."""
    found = train_decoder(Path("movie.tif"), Plan(), SEEN, DEEP, Choice("joint"), tmp_path)
    assert found == OwnDecoder() and found.path(tmp_path) == "" and "no network is trained" in found.lines()[0]


def test_the_method_is_handed_what_was_found(tmp_path, monkeypatch):
    """Its part of the movie, camera, PSF, depths and minutes; the run then is the model of the method."""
    handed = {}

    def trained(movie, psf, out, config, report):
        handed.update(movie=movie, psf=psf, out=out, config=config)
        return TrainingPlan(tiny_run(), 9, 900.0, 60.0, 30.0), out / "training"

    monkeypatch.setattr("experiments.reconstruction.steps.decoder.own_decoder", trained)
    plan = load_plan(None, ["reader.method=autods3d", "reader.training_minutes=7"])
    found = train_decoder(Path("movie.tif"), plan, SEEN, DEEP, Choice("autods3d"), tmp_path)
    config = handed["config"]
    assert (handed["psf"], config.minutes, config.reading.camera) == ("psf.npz", 7, "camera.toml")
    assert (config.reading.frames, config.reading.rows, config.reading.columns) == ((0, 9), (0, 40), (4, 44))
    assert config.reading.classical.z_range_um() == (0.0, 2.0)
    assert (found.steps, found.training_s) == (tiny_run().optimiser.steps, 60.0)
    assert "the decoder is 10.0 times faster" in found.lines()
    model, _ = METHODS["autods3d"].settings(Known(0.11, "camera.toml", model=found.path(tmp_path)))
    assert model == str(tmp_path / "training")


def test_flat_movies_cannot_have_it():
    """Without a PSF in depth there is nothing to draw frames with."""
    assert "--beads" in METHODS["autods3d"].refused(Known(pixel_um=0.1, camera="camera.toml", sigma_um=0.13))
    assert METHODS["autods3d"].refused(DEEP) == ""
    with pytest.raises(ConfigError, match="reader.training_minutes"):
        load_plan(None, ["reader.training_minutes=0"])
