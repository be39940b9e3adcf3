"""A movie of two species read with a PSF for each: who is who and how surely, alone and overlapping; bad input."""

import json

import jax
import numpy as np
import pytest
import tifffile
from PIL import Image

from experiments import cli
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.colours.reader import check_species
from experiments.reading.joint import TOGETHER
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.methods import make_reader
from experiments.reading.spots import SpotTable
from localization import make_localizations, read, write
from optics import make_emitters, make_microscope, make_psf, masks, tabulate_psf
from optics.psf_io import save_psf
from optics.render import render_frame
from training import ConfigError

SIDE, PIXEL_UM, FRAMES = 44, 0.11, 6
PLACES_PX = np.array([(11.3, 11.6), (32.2, 11.7), (11.8, 32.4), (31.6, 31.9)])  # x, y
SETTINGS = ["z_min_um=-0.15", "z_max_um=0.15", "group=6"]


@pytest.fixture(scope="module")
def colours():
    """Two colours behind one astigmatic lens."""

    def psf(wavelength_um):
        scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=wavelength_um, pixel_um=PIXEL_UM)
        lens = masks.astigmatism(0.05)
        return make_psf(scope, mask=lens, image_px=11, kind="scalar", pixel="centre", z_range_um=(-0.15, 0.15))

    return psf(0.52), psf(0.75)


@pytest.fixture(scope="module")
def scene(colours, tmp_path_factory):
    """PSF files, a movie of 6 frames of 4 emitters, its true species; the last frame's first two overlap."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    species = rng.integers(0, 2, (FRAMES, 4))
    draw = jax.jit(lambda psf, emitters: render_frame(psf, emitters, (SIDE, SIDE)))
    expected = np.full((FRAMES, SIDE, SIDE), 10.0)
    for k in range(FRAMES):
        places = PLACES_PX.copy()
        if k == FRAMES - 1:
            places[1] = places[0] + 4.0
        xyz = np.column_stack([places * PIXEL_UM, rng.uniform(-0.1, 0.1, 4)])
        for number, psf in enumerate(colours):
            emitters = make_emitters(xyz, np.full(4, 6000.0), valid=species[k] == number)
            expected[k] += np.asarray(draw(psf, emitters))
    movie = folder / "movie.tif"
    tifffile.imwrite(movie, (100 + 2 * rng.poisson(expected)).astype(np.uint16))
    files = [folder / f"{name}.npz" for name in ("orange", "red")]
    for path, psf in zip(files, colours, strict=True):
        save_psf(path, psf)
    return files, movie, species


def check(locs, species):
    """24 emitters, each at its place as what it is, none else; two overlap in the last frame."""
    assert locs.frame.size == 4 * FRAMES
    for row in range(locs.frame.size):
        places = PLACES_PX.copy()
        if locs.frame[row] == FRAMES - 1:
            places[1] = places[0] + 4.0
        apart = np.hypot(*(places - np.array([locs.x_um[row], locs.y_um[row]]) / PIXEL_UM).T)
        assert apart.min() < 0.3
        assert locs.channel[row] == species[locs.frame[row], apart.argmin()]
        assert locs.extras["p_channel"][row] > 0.98


@pytest.mark.slow
def test_every_emitter_is_listed_as_what_it_is(scene, tmp_path, capsys):
    """Species, place and posterior in the file: fitted alone where it stands alone, jointly where two overlap."""
    files, movie, species = scene
    out = tmp_path / "locs.csv"
    arguments = [movie, "--psf", *files, *SETTINGS, "--gain", 2, "--offset", 100, "--out", out]
    assert cli.main(["localize", *map(str, arguments)]) == 0
    said = capsys.readouterr()
    assert TOGETHER in said.out and "fits as every species of orange.npz, red.npz" in said.err
    check(read(out), species)


@pytest.mark.slow
def test_every_frame_read_jointly_gives_the_same(scene, tmp_path, capsys):
    """PSFs of two wavelengths and method joint are species; planes are what `--planes` says."""
    files, movie, species = scene
    out = tmp_path / "locs.csv"
    arguments = [movie, "--psf", *files, "--method", "joint", *SETTINGS, "--gain", 2, "--offset", 100, "--out", out]
    assert cli.main(["localize", *map(str, arguments)]) == 0
    assert "joint fits of 2 species with orange.npz, red.npz" in capsys.readouterr().err
    check(read(out), species)
    config = LocalizeConfig(
        method="joint",
        species=tuple(map(str, files)),
        planes=("side",),
        gain_adu_per_photon=2.0,
        offset_adu=100.0,
        classical=ClassicalConfig(z_min_um=-0.15, z_max_um=0.15),
    )
    assert "joint fits of 2 planes" in make_reader(files[0], config).description


@pytest.mark.parametrize("name", ["locs.csv", "locs.colocus.h5"])
def test_species_and_posterior_survive_a_file(tmp_path, name):
    """Written and read back under their names."""
    locs = make_localizations(
        [0, 1], [1.0, 2.0], [1.0, 2.0], [0.0, 0.1], channel=[1, 0], extras={"p_channel": [0.9, 0.6]}
    )
    write(tmp_path / name, locs)
    back = read(tmp_path / name)
    assert back.channel.tolist() == [1, 0]
    np.testing.assert_allclose(back.extras["p_channel"], [0.9, 0.6])


def test_bad_input_is_one_line(scene, capsys, tmp_path):
    """One PSF for two species, the same twice, another method, no model, different stamps."""
    files, movie, _ = scene
    out = str(tmp_path / "locs.csv")
    for arguments, says in (
        (["--psf", files[0]], "--model is missing"),
        (["--psf", files[0], files[0]], "is given twice; method colour needs a PSF for each species"),
        (["--psf", *files, files[0]], "is given twice"),
        (["--psf", *files, "--method", "classical"], "method colour or joint, not classical"),
        (["--psf", *files, *SETTINGS, "blur_spread_px2=1"], "blur_spread_px2 is for a PSF of one species"),
        (["--model", files[0], "--method", "colour"], "a PSF for each species"),
    ):
        assert (
            cli.main(["localize", str(movie), *map(str, arguments), "--out", out, "--gain", "2", "--offset", "1"]) == 2
        )
        assert says in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no such run"):
        make_reader(files[0], LocalizeConfig(species=(str(files[0]), "missing.npz")))


def test_psfs_of_no_two_species_are_refused(colours, tmp_path):
    """Another camera's pixels, the same PSF under two names, Gaussian spots, and more than an image tells apart."""
    table = tabulate_psf(colours[0], (-0.1, 0.1), reach_px=0.5, tolerance=1e-2)
    with pytest.raises(ConfigError, match=r"pixels of 0.11, 0.12 um"):
        check_species([SpotTable(table, pixel, deep=True) for pixel in (0.11, 0.12)], ["a", "b"])
    with pytest.raises(ConfigError, match="a and b hold the same PSF"):
        check_species([SpotTable(table, 0.11, deep=True)] * 2, ["a", "b"])
    with pytest.raises(ConfigError, match="not by Gaussian spots"):
        check_species([SpotTable(table, 0.11, deep=False)], ["gaussian"])
    names = [tmp_path / f"{number}.npz" for number in range(9)]
    for name in names:
        save_psf(name, colours[0])
    config = LocalizeConfig(species=tuple(map(str, names)), gain_adu_per_photon=2.0, offset_adu=100.0)
    with pytest.raises(ConfigError, match="9 PSFs of species: an image tells a few apart, 8 at most"):
        make_reader(names[0], config)


@pytest.mark.slow
def test_one_command_from_the_movie_to_a_picture_in_colours(scene, tmp_path, capsys):
    """`reconstruct --psf orange.npz red.npz`: who is who, frames redrawn in both colours down to the noise, colours."""
    files, movie, species = scene
    given = [f"psf.{name}" for name in SETTINGS[:2]]
    settings = ["camera.gain_adu_per_photon=2", "camera.offset_adu=100", "reader.fits.group=6", "optics.focus_um=0"]
    out = tmp_path / "run"
    command = ["reconstruct", movie, "--out", out, *settings, "--psf", *files, *given]
    assert cli.main([str(part) for part in command]) == 0, capsys.readouterr().err
    check(read(out / "localizations.csv"), species)
    said = capsys.readouterr().out + (out / "report.html").read_text()
    assert "from orange.npz, red.npz" in said and "every one of 2 colours" in said
    assert json.loads((out / "findings.json").read_text())["test"]["left_over"] < 1.1
    picture = np.asarray(Image.open(out / "picture.png").convert("RGB"), int)
    assert np.abs(picture - picture.mean(axis=-1, keepdims=True)).max() > 50  # not grey
    wrong = [*command[:2], "--out", tmp_path / "no", "--psf", *files, *given, "--method", "autods3d"]
    assert cli.main([str(part) for part in wrong]) == 2
    assert "does not tell colours apart" in capsys.readouterr().err
