"""`colocus generate` and `--scenes`: settings and optics, a sample's files against its labels, wrong use; slowly, a
fit, a sample and a training from the command line."""

import json

import numpy as np
import pytest
import tifffile

import nets
from experiments import cli
from experiments.compare.on_scenes import decoder_for, load_on_scenes, scenes_experiment
from experiments.compare.toml import to_toml
from experiments.generator.fit import generator_config, generator_presets
from localization import read
from made.made_generator import CONFIG, CROP, made_generator
from optics.psf_io import save_psf
from training import ConfigError, PsfConfig, RunConfig
from training.build import build_net
from training.generator.start import generator_psf


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """A made generator's folder."""
    place = tmp_path_factory.mktemp("generator") / "run"
    with made_generator(place):
        yield place


def refused(capsys, *arguments) -> str:
    """The one line of a command that must be refused."""
    assert cli.main([str(a) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith((": loading", " ..."))]
    assert len(lines) == 1 and lines[0].startswith("colocus: error: ")
    return lines[0]


@pytest.mark.parametrize("name", generator_presets())
def test_every_preset_is_a_generator(name):
    """Each file is read without error and says what it is for."""
    assert generator_config(None, name).title.startswith(name)


def test_optics_come_from_an_experiment_or_a_file(tmp_path):
    """An experiment gives microscope, mask, camera and depths; a calibration goes under a flat mask; another PSF stays
    as it is; what is said by KEY=VALUE goes before."""
    from experiments.compare.config import load_experiment

    tetrapod = load_experiment("sparse-tetrapod")
    found = generator_config("sparse-tetrapod", None, ["crops=40"])
    assert found.microscope == tetrapod.run.microscope and found.mask == tetrapod.arms[0].mask and found.crops == 40
    assert (found.z_min_um, found.z_max_um) == (tetrapod.run.scene.z_min_um, tetrapod.run.scene.z_max_um)
    assert not generator_config("sparse-tetrapod", "generator-2d").is_3d  # depths of the settings go before
    psf = generator_psf(CONFIG)
    save_psf(tmp_path / "psf.npz", psf)
    assert generator_config(str(tmp_path / "psf.npz")).psf_file == str(tmp_path / "psf.npz")
    from optics.pytree import replace

    save_psf(tmp_path / "bead.npz", replace(psf, mask=None))
    calibrated = generator_config(str(tmp_path / "bead.npz"))
    assert calibrated.psf.calibration and not calibrated.psf_file and calibrated.psf.stamp_px == 9
    assert calibrated.microscope.na == pytest.approx(1.2)


@pytest.mark.slow
def test_a_sample_is_frames_and_their_labels(generator, tmp_path, capsys):
    """Two calls with one seed write the same bytes; counts above offset hold the light that the table lists, and the
    bounds are those of its photons."""
    for name in ("a", "b"):
        assert cli.main(["generate", "sample", str(generator), "-n", "24", "--out", str(tmp_path / name), "frame_px=20",
                         "batch=8"]) == 0  # fmt: skip
    assert "24 frames with" in capsys.readouterr().out
    for name in ("frames.tif", "localizations.csv", "camera.toml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    frames, table = tifffile.imread(tmp_path / "a" / "frames.tif"), read(tmp_path / "a" / "localizations.csv")
    assert frames.shape == (24, 20, 20) and frames.dtype == np.uint16
    light = (frames.astype(float) - 100) / 2
    # light of a frame against its labels: what both say of the emitters' share, over what background the labels give
    listed = np.bincount(table.frame, table.photons, minlength=24)
    slope = np.polyfit(listed, light.sum(axis=(1, 2)), 1)[0]
    assert 0.6 < slope < 1.1  # stamps of 9 px and the frame's rim cut the rest off
    bright = table.photons > np.median(table.photons)
    assert np.median(table.sigma_x_um[bright]) < np.median(table.sigma_x_um[~bright])
    expected = 0.6 / (2 * np.pi * 1.2) / np.sqrt(table.photons)  # lambda / (2 pi NA) / sqrt(N), without background
    assert (table.sigma_x_um > 0.9 * expected).all() and (table.sigma_x_um < 4 * expected).all()
    assert (table.background > 0).all() and np.isnan(table.sigma_z_um).all()
    assert "already holds a run" in refused(capsys, "generate", "sample", generator, "--out", tmp_path / "a")


def test_an_experiment_on_scenes_is_asked_where_it_learns(generator):
    """Scores at the generator's photons and densities; its own experiment reads back from run.toml as it was."""
    from training import from_dict

    own = scenes_experiment(str(generator))
    assert own.run.scene.generator == str(generator) and own.score.pair_photons == (900.0, 1400.0, 2100.0)
    assert [arm.learn for arm in own.arms] == [False, True] and own.run.scene.frame_px == CROP
    import tomllib

    assert from_dict(type(own), tomllib.loads(to_toml(own))) == own
    changed = load_on_scenes(None, str(generator), ["run.optimiser.steps=3", "score.frames=5"])
    assert changed.run.optimiser.steps == 3 and changed.score.frames == 5 and changed.run.camera == CONFIG.camera
    with pytest.raises(ConfigError, match="microscope.na = 1.45 is not that of scene.generator"):
        load_on_scenes("tiny", str(generator), ["run.scene.frame_px=16"])
    with pytest.raises(ConfigError, match="larger than the crops of 24 px"):
        load_on_scenes("quick", str(generator), [])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["generate", "fit", "movie.tif", "--out", "x"], "--psf psf.npz"),
        (["generate", "fit", "none.tif", "generator-tiny", "--out", "x"], "none.tif: no such file"),
        (["generate", "fit", "m.tif", "tubulin-2d", "--out", "x"], "is an experiment; settings of a generator"),
        (["generate", "fit", "m.tif", "generator-tiny", "slot=3", "--out", "x"], "did you mean 'slots'?"),
        (["generate", "fit", "m.tif", "generator-tiny", "-n", "5", "--out", "x"], "-n belongs to"),
        (["generate", "sample", "no-run", "--out", "x"], "no-run is no generator"),
        (["generate", "sample", "no-run", "--out", "x", "density=-1"], "density = -1"),
        (["generate", "sample", "no-run", "--out", "x", "--psf", "p"], "--psf belongs to colocus generate fit"),
        (["generate", "draw", "x", "--out", "x"], "invalid choice: 'draw'"),
        (["train", "--out", "x"], "CONFIG (or --scenes)"),
        (["codesign", "--scenes", "no-run", "--out", "x"], "no-run is no generator"),
    ],
)
def test_wrong_use(arguments, message, capsys, tmp_path, monkeypatch):
    """One line each, before anything is written."""
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_fit_sample_and_train_from_the_command_line(tmp_path, capsys):
    """generate fit generator-tiny on a movie, its report; a sample of it; a training and a co-design on its scenes."""
    from test_generator_run import movie

    np.save(tmp_path / "movie.npy", movie())
    run, camera = tmp_path / "run", ["camera.gain_adu_per_e=2.0", "camera.offset_adu=100.0", "camera.read_noise_e=1.0"]
    assert cli.main(["generate", "fit", str(tmp_path / "movie.npy"), "generator-tiny", *camera, "--out", str(run)]) == 0
    assert "emitters a crop" in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert page.count("data:image/png") == 2 and json.loads((run / "metrics.json").read_text())["crops"] == 8
    assert cli.main(["generate", "sample", str(run), "-n", "3", "--out", str(tmp_path / "sample")]) == 0
    small = ["run.optimiser.steps=2", "run.optimiser.batch=2", "run.decoder.channels=8", "run.decoder.head_channels=8",
             "score.frames=2", "score.single_frames=2"]  # fmt: skip
    for command in ("train", "codesign"):
        out = tmp_path / command
        assert cli.main([command, *small, "--scenes", str(run), "--out", str(out)]) == 0
        assert (out / "report.html").exists()


@pytest.mark.parametrize("stamp_px", [21, 31, 61, 81, 129])
def test_the_decoder_of_a_generators_scenes_sees_the_whole_psf(stamp_px):
    """Training on them refuses one that does not, as it would for an 81 px Tetrapod behind the default decoder."""
    decoder = decoder_for(PsfConfig(stamp_px=stamp_px))
    assert nets.receptive_field_px(build_net(RunConfig(decoder=decoder))) >= stamp_px
