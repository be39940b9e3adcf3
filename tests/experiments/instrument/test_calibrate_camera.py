"""`colocus calibrate-camera`: files in, files out, and what is refused; the camera that other commands then use."""

import json

import numpy as np
import pytest
import tifffile

from experiments import cli
from experiments.instrument.calibrate_camera import CalibrateConfig, calibrate_camera
from experiments.reading.cameras import one_camera, photometry
from experiments.reading.localize import LocalizeConfig
from experiments.settings import load_camera, load_settings
from made.camera_frames import blinking_movie, record
from made.instrument_files import write_dax
from training import CameraConfig, ConfigError, RunConfig, from_dict


def stack(path, frames, **options):
    tifffile.imwrite(path, np.asarray(frames).astype(np.uint16), photometric="minisblack", **options)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Dark, two flats (one compressed) and a movie of one camera: 2.2 counts per electron, 100, 1.6 e."""
    place = tmp_path_factory.mktemp("frames")
    stack(place / "dark.tif", record(0.0))
    stack(place / "flat1.tif", record(60.0, seed=1), compression="zlib")
    stack(place / "flat2.tif", record(400.0, seed=2))
    stack(place / "movie.tif", blinking_movie(2.2, 100.0, read_noise_e=1.6, n_frames=80, side=128, emitters=250))
    return place


def test_dark_and_flats_make_files_that_read_back(folder, tmp_path, capsys):
    """The table on stdout, camera.toml as [run.camera], camera.npz as maps, the numbers in JSON."""
    frames = [str(folder / name) for name in ("dark.tif", "flat1.tif", "flat2.tif")]
    assert cli.main(["calibrate-camera", "--dark", frames[0], "--flat", *frames[1:], "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "gain_adu_per_e" in shown and "+-" in shown
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"camera.toml", "camera.json", "camera.png", "camera.npz", "config.json"}
    config = load_settings(CameraConfig, str(tmp_path / "camera.toml"))
    assert config.gain_adu_per_e == pytest.approx(2.2, rel=0.01)
    assert config.offset_adu == pytest.approx(100, abs=0.1)
    assert config.read_noise_e == pytest.approx(1.6, rel=0.02)
    numbers = json.loads((tmp_path / "camera.json").read_text())
    assert numbers["camera"]["gain_adu_per_e"] == config.gain_adu_per_e
    assert 0 < numbers["standard_errors"]["gain_adu_per_e"] < 0.02
    maps = load_camera(tmp_path / "camera.npz")
    assert maps.gain_adu_per_e.shape == maps.offset_adu.shape == (40, 40)
    assert float(maps.read_noise_e.mean()) == pytest.approx(1.6, rel=0.05)
    assert float(load_camera(tmp_path / "camera.toml", ["quantum_efficiency=0.8"]).quantum_efficiency) == 0.8


def test_a_movie_alone_says_what_it_cannot_tell(folder, tmp_path):
    """Its zero lies gain * read_noise^2 low, and says so; with the read noise, or a dark, all three are right."""
    movie, dark = str(folder / "movie.tif"), str(folder / "dark.tif")
    alone = calibrate_camera(CalibrateConfig(movie=movie))
    assert alone.camera.gain_adu_per_e == pytest.approx(2.2, rel=0.05)
    assert alone.camera.read_noise_e == 0 and alone.errors["read_noise_e"] is None
    assert any("does not tell read noise from offset" in warning for warning in alone.warnings)
    told = calibrate_camera(CalibrateConfig(movie=movie, read_noise_e=1.6))
    assert told.camera.offset_adu - alone.camera.offset_adu == pytest.approx(told.camera.gain_adu_per_e * 1.6**2)
    assert abs(told.camera.offset_adu - 100) < 4 * told.errors["offset_adu"]
    with_dark = calibrate_camera(CalibrateConfig(movie=movie, dark=dark))
    assert with_dark.camera.offset_adu == pytest.approx(100, abs=0.1)
    assert with_dark.camera.read_noise_e == pytest.approx(1.6, rel=0.06)
    assert with_dark.warnings == ()
    alone.write(tmp_path)
    text = (tmp_path / "camera.toml").read_text()
    assert "does not tell read noise" in text and load_settings(CameraConfig, str(tmp_path / "camera.toml"))
    # pasted below [run.camera], it is a run's camera
    assert from_dict(RunConfig, {"camera": {"gain_adu_per_e": alone.camera.gain_adu_per_e}}).camera.kind == "scmos"


def test_a_dark_of_another_exposure_is_told(tmp_path):
    write_dax(tmp_path / "dark.dax", record(0.0).astype(np.uint16), exposure_s=0.1)
    scene = blinking_movie(2.2, 100.0, read_noise_e=1.6, n_frames=80, side=128, emitters=250)
    write_dax(tmp_path / "movie.dax", scene.astype(np.uint16), exposure_s=0.03)
    config = CalibrateConfig(movie=str(tmp_path / "movie.dax"), dark=str(tmp_path / "dark.dax"))
    assert calibrate_camera(config).warnings == (
        "dark.dax says 100 ms of exposure, movie.dax 30 ms: check which is right",
    )


def test_an_emccd_is_measured_with_its_doubled_noise(tmp_path):
    """Flats of a simulated EMCCD: gain and read noise of the output amplifier, not of the multiplied light."""
    rng = np.random.default_rng(0)
    names = []
    for light in (0.0, 50.0, 200.0):
        multiplied = 100.0 * rng.gamma(rng.poisson(light, (120, 32, 32)))
        read = rng.normal(0, 40.0, multiplied.shape)
        names.append(stack(tmp_path / f"{light}.tif", np.round(200 + 0.05 * (multiplied + read))))
    found = calibrate_camera(CalibrateConfig(dark=names[0], flats=tuple(names[1:]), kind="emccd", em_gain=100.0))
    assert found.camera.gain_adu_per_e == pytest.approx(0.05, rel=0.02)
    assert found.camera.read_noise_e == pytest.approx(40.0, rel=0.03)
    found.write(tmp_path / "out")
    for name in ("camera.toml", "camera.npz"):
        loaded = load_camera(tmp_path / "out" / name)
        assert (loaded.kind, float(loaded.em_gain)) == ("emccd", 100.0)


def test_8_bit_and_cut_off_movies_are_told(tmp_path):
    """Noise of less than a count, and readings that pile up at an end, give a warning each."""
    movie = blinking_movie(0.1, 10.0, n_frames=40, side=128, emitters=0)
    tifffile.imwrite(tmp_path / "8bit.tif", movie.astype(np.uint8), photometric="minisblack")
    found = calibrate_camera(CalibrateConfig(movie=str(tmp_path / "8bit.tif")))
    assert any("8-bit" in warning for warning in found.warnings)
    bright = np.minimum(blinking_movie(2.0, 100.0, n_frames=40, side=128, emitters=100), 330)
    found = calibrate_camera(CalibrateConfig(movie=stack(tmp_path / "cut.tif", bright)))
    assert any("on the largest value, 330" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to measure the gain with"),
        ({"dark": "d.tif"}, "a dark alone tells no gain"),
        ({"flats": ("f.tif",)}, "flat frames need dark ones"),
        ({"movie": "m.tif", "dark": "d.tif", "flats": ("f.tif",)}, "not both"),
        ({"movie": "m.tif", "dark": "d.tif", "read_noise_e": 1.0}, "leave one of them out"),
        ({"movie": "m.tif", "read_noise_e": -1.0}, "read_noise_e = -1"),
        ({"movie": "m.tif", "kind": "emccd"}, "needs em_gain"),
        ({"movie": "m.tif", "em_gain": 1.0}, "belongs to kind='emccd'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, message):
    """Before any file is opened."""
    with pytest.raises(ValueError, match=message):
        CalibrateConfig(**arguments)


def test_wrong_files_are_one_line(folder, tmp_path, capsys):
    """A missing movie, a folder that is a file, and a camera file that is none."""
    (tmp_path / "file").write_text("")
    for arguments, message in (
        (["no.tif"], "no.tif: no such file"),
        ([str(folder / "movie.tif"), "--out", str(tmp_path / "file")], "is a file; name a folder"),
    ):
        assert cli.main(["calibrate-camera", *arguments]) == 2
        assert message in capsys.readouterr().err
    np.savez(tmp_path / "other.npz", mask=np.ones(3))
    with pytest.raises(ConfigError, match="not the maps of a camera"):
        load_camera(tmp_path / "other.npz")
    with pytest.raises(ConfigError, match="not the maps"):
        load_camera(stack(tmp_path / "tiff.npz", record(0.0)[:2]))


def test_localize_takes_a_camera_file(tmp_path):
    """Counts per photon and without light, an EMCCD's multiplication included; not beside --gain."""
    path = tmp_path / "camera.toml"
    path.write_text('kind = "emccd"\nem_gain = 100\ngain_adu_per_e = 0.05\noffset_adu = 90\nquantum_efficiency = 0.8\n')
    assert photometry(one_camera(str(path))) == (pytest.approx(4.0), pytest.approx(90.0))
    with pytest.raises(ConfigError, match="brings its own gain"):
        LocalizeConfig(camera=str(path), gain_adu_per_photon=1.0)
    with pytest.raises(ConfigError, match=r"name the camera\.toml"):
        one_camera("camera.npz")


def test_a_gain_of_a_multiplication_is_questioned(tmp_path, folder, capsys):
    """An EMCCD (300 times, 0.2 counts per electron) measured as a plain camera: gain 120 = 2 x 300 x 0.2, and asked."""
    rng = np.random.default_rng(0)
    for name, light in (("dark", 0.0), ("flat", 30.0)):
        electrons = rng.gamma(np.maximum(rng.poisson(light, (150, 40, 40)), 1e-9), 300.0)
        stack(
            tmp_path / f"{name}.tif", np.round(100 + 0.2 * (electrons + rng.normal(0, 50.0, electrons.shape))).clip(0)
        )
    frames = [
        "--dark",
        str(tmp_path / "dark.tif"),
        "--flat",
        str(tmp_path / "flat.tif"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.main(["calibrate-camera", *frames]) == 0
    shown = capsys.readouterr().out
    assert "that of no camera without multiplication" in shown and "--em-gain 300" in shown
    assert json.loads((tmp_path / "out" / "camera.json").read_text())["camera"]["gain_adu_per_e"] > 100
    assert cli.main(["calibrate-camera", *frames, "--em-gain", "300"]) == 0
    assert "without multiplication" not in capsys.readouterr().out
    plain = [str(folder / name) for name in ("dark.tif", "flat1.tif", "flat2.tif")]
    assert not any(
        "without multiplication" in text
        for text in calibrate_camera(CalibrateConfig(dark=plain[0], flats=tuple(plain[1:]))).warnings
    )
