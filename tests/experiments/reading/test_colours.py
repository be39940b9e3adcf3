"""A movie of two species read with a PSF for each: who is who, how surely, what is not listed, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

from experiments import cli
from experiments.reading.colours.reader import NOT_EXPLAINED
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.methods import make_reader
from localization import make_localizations, read, write
from optics import make_emitters, make_microscope, make_psf, masks
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


@pytest.mark.slow
def test_every_lone_emitter_is_listed_as_what_it_is(scene, tmp_path, capsys):
    """Species, place and posterior in the file; two that overlap are counted and not listed as one."""
    files, movie, species = scene
    out = tmp_path / "locs.csv"
    arguments = [movie, "--psf", *files, *SETTINGS, "--gain", 2, "--offset", 100, "--out", out]
    assert cli.main(["localize", *map(str, arguments)]) == 0
    assert NOT_EXPLAINED in capsys.readouterr().out
    locs = read(out)
    assert 4 * FRAMES - 2 <= locs.frame.size <= 4 * FRAMES
    x, y = PLACES_PX.T
    alone = 0
    for place_x, place_y in zip(locs.x_um / PIXEL_UM, locs.y_um / PIXEL_UM, strict=True):
        alone += int(np.min(np.hypot(x - place_x, y - place_y)) < 0.3)
    assert alone >= 4 * FRAMES - 2
    for row in range(locs.frame.size):
        nearest = int(np.argmin(np.hypot(x - locs.x_um[row] / PIXEL_UM, y - locs.y_um[row] / PIXEL_UM)))
        if locs.frame[row] < FRAMES - 1 or nearest > 1:
            assert locs.channel[row] == species[locs.frame[row], nearest]
            assert locs.extras["p_channel"][row] > 0.99


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
        (["--psf", files[0], files[0]], "a PSF for each species"),
        (["--psf", *files, "--method", "classical"], "method colour, or joint (planes), not classical"),
        (["--model", files[0], "--method", "colour"], "a PSF for each species"),
    ):
        assert (
            cli.main(["localize", str(movie), *map(str, arguments), "--out", out, "--gain", "2", "--offset", "1"]) == 2
        )
        assert says in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no such run"):
        make_reader(files[0], LocalizeConfig(species=(str(files[0]), "missing.npz")))


def test_psfs_of_different_pixels_are_refused(colours):
    """A species of another camera is no species of this movie."""
    from experiments.reading.classical_config import ClassicalConfig
    from experiments.reading.colours.reader import ColourReader
    from experiments.reading.spots import SpotTable
    from optics import make_camera, tabulate_psf

    table = tabulate_psf(colours[0], (-0.1, 0.1), reach_px=0.5, tolerance=1e-2)
    pair = [SpotTable(table, pixel, deep=True) for pixel in (0.11, 0.12)]
    with pytest.raises(ConfigError, match=r"pixels of 0.11, 0.12 um"):
        ColourReader(pair, make_camera(), ClassicalConfig(), "two")
    assert jnp.isfinite(table.error)
