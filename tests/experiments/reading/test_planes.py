"""Two planes read as one: movies drawn from the exact images of two foci, read by the command."""

import json

import jax
import numpy as np
import pytest
import tifffile

import localization
from experiments import cli
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.planes.maps import read_maps
from experiments.reading.planes.movie import PlanesMovie
from experiments.reading.planes.reader import PlanesReader
from experiments.reading.spots import psf_spots
from localization import LocalizationError, MovieOptions, make_localizations, match, open_movie, score
from optics import (
    biplane,
    make_camera,
    make_emitters,
    make_microscope,
    make_psf,
    make_split_psf,
    render_frame,
    save_psf,
    save_split_psf,
)
from training import ConfigError

PIXEL_UM, SHAPE, FRAMES, EACH = 0.11, (36, 40), 4, 6
ANGLE = np.deg2rad(0.8)
# x, y in the first plane to those in the second
TURNED = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 4.3 * PIXEL_UM], [np.sin(ANGLE), np.cos(ANGLE), -2.6 * PIXEL_UM]])
SHARES = (0.55, 0.45)
GIVEN = ["--gain", "2", "--offset", "100", "z_min_um=-0.6", "z_max_um=0.6", "model_error=0.01"]


@pytest.fixture(scope="module")
def split():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    psf = make_psf(scope, image_px=15, pupil_px=24, pixel="centre", z_range_um=(-0.9, 0.9))
    return make_split_psf(
        biplane(psf, 0.5).paths, fraction=np.array(SHARES), registration=np.array([np.eye(2, 3), TURNED])
    )


@pytest.fixture(scope="module")
def scene(split):
    """Six emitters a frame, 0.35 per um^2, without astigmatism: one plane alone does not tell above from below."""
    rng = np.random.default_rng(3)
    high = np.array([SHAPE[1] - 10, SHAPE[0] - 5]) * PIXEL_UM
    xyz = rng.uniform([0.4, 0.6, -0.5], [*high, 0.5], (FRAMES, EACH, 3))
    photons = rng.uniform(4000, 8000, (FRAMES, EACH))
    planes = []
    for path, share, affine in zip(split.paths, SHARES, np.asarray(split.registration), strict=True):
        draw = jax.jit(lambda emitters, path=path: render_frame(path, emitters, SHAPE))
        seen = np.concatenate([xyz[..., :2] @ affine[:, :2].T + affine[:, 2], xyz[..., 2:]], axis=2)
        light = np.stack([draw(make_emitters(*part)) for part in zip(seen, share * photons, strict=True)])
        planes.append(100 + 2 * rng.poisson(light + 10))
    truth = make_localizations(np.repeat(np.arange(FRAMES), EACH), *xyz.reshape(-1, 3).T, photons=photons.ravel())
    return np.array(planes, np.uint16), truth


def written(folder, name, frames):
    tifffile.imwrite(folder / name, frames, photometric="minisblack")
    return folder / name


def localized(arguments):
    out = arguments[-1]
    assert cli.main(["localize", *map(str, arguments[:-1]), "--out", str(out), *GIVEN]) == 0
    return localization.read(out)


@pytest.mark.slow
def test_planes_side_by_side_are_read_by_the_command(split, scene, tmp_path, capsys):
    """A file of both planes: 9 of 10 found, none on the wrong side of the foci, errors as large as is said."""
    planes, truth = scene
    movie = written(tmp_path, "movie.tif", np.concatenate(list(planes), axis=2))
    save_split_psf(tmp_path / "planes.npz", split)
    found = localized([movie, "--model", tmp_path / "planes.npz", tmp_path / "locs.colocus.h5"])
    assert "2 planes side by side, 36 x 40 px each" in capsys.readouterr().err
    result = score(found, truth, lateral_um=0.1, axial_um=0.2)
    assert result.recall > 0.9 and result.precision > 0.9
    pairs = match(found, truth, lateral_um=0.1, axial_um=0.2)
    for axis in "xyz":
        error = getattr(found, f"{axis}_um")[pairs.found_index] - getattr(truth, f"{axis}_um")[pairs.truth_index]
        sigma = getattr(found, f"sigma_{axis}_um")[pairs.found_index]
        # the median of |error| / sigma is 0.67; 22 pairs tell it within 0.35
        assert abs(np.median(np.abs(error) / sigma) - 0.67) < 0.35
    light = found.photons[pairs.found_index] / truth.photons[pairs.truth_index]
    assert abs(light.mean() - 1) < 0.03


@pytest.mark.slow
def test_planes_in_two_movies_with_a_registered_map(split, scene, tmp_path):
    """A PSF and a movie for each plane, and the map of `colocus register`: the same emitters."""
    planes, truth = scene
    movies = [written(tmp_path, f"plane{k}.tif", frames) for k, frames in enumerate(planes)]
    for k, psf in enumerate(split.paths):
        save_psf(tmp_path / f"psf{k}.npz", psf)
    back = np.linalg.inv(np.vstack([TURNED, [0, 0, 1]]))
    moved = back[:2, :2] - np.eye(2)
    # x + amount . (one, u, v), u and v over 2 um around 0
    amount = np.stack([back[:2, 2], 2 * moved[:, 0], 2 * moved[:, 1]]).ravel()
    told = {"map": {"kind": "affine", "amount_um": amount.tolist(), "centre_um": [0, 0], "half_um": 2.0}}
    (tmp_path / "b_register.json").write_text(json.dumps(told))
    found = localized(
        [movies[0], "--method", "joint", "--psf", tmp_path / "psf0.npz", tmp_path / "psf1.npz", "--planes", movies[1]]
        + [f"plane_map={tmp_path / 'b_register.json'}", "plane_shares=[0.55,0.45]", tmp_path / "locs.colocus.h5"]
    )
    result = score(found, truth, lateral_um=0.1, axial_um=0.2)
    assert result.recall > 0.9 and result.precision > 0.9


@pytest.mark.slow
def test_windows_of_planes_give_what_the_whole_gives(split, scene, monkeypatch):
    """Cut into windows, each plane's part where its map says: the same emitters, each once."""
    monkeypatch.setattr("experiments.reading.joint._LEAST_WINDOW_PX", 34)
    monkeypatch.setattr("experiments.reading.joint._CORE_PX", 12)
    planes, truth = scene
    spots = [psf_spots(path, (-0.6, 0.6), 1e-2) for path in split.paths]
    camera = make_camera(gain_adu_per_e=2.0, offset_adu=100.0)
    reader = PlanesReader(spots, split, camera, ClassicalConfig(model_error=0.01), "")
    assert len(reader.windows(SHAPE)) > 1
    found = reader.read(np.concatenate(list(planes), axis=1), 0)
    result = score(found, truth, lateral_um=0.1, axial_um=0.2)
    assert result.recall > 0.9 and result.precision > 0.9


def test_a_part_of_planes_is_read_in_all_of_them(tmp_path):
    """Side by side, stacked, and in two movies: rows and columns count in a plane, the planes one below the other."""
    numbers = np.arange(2 * 3 * 8 * 10, dtype=np.uint16).reshape(2, 3, 8, 10)
    files = {
        ("side",): written(tmp_path, "side.tif", np.concatenate(list(numbers), axis=2)),
        ("above",): written(tmp_path, "above.tif", np.concatenate(list(numbers), axis=1)),
        (str(written(tmp_path, "b.tif", numbers[1])),): written(tmp_path, "a.tif", numbers[0]),
    }
    for where, file in files.items():
        with open_movie(file) as movie, PlanesMovie(movie, where, 2, MovieOptions(), 4) as planes:
            assert planes.shape == (3, 8, 10)
            part = planes.read(1, 3, rows=(2, 7), columns=(4, 9))
        np.testing.assert_array_equal(part, np.concatenate([frames[1:3, 2:7, 4:9] for frames in numbers], axis=1))


def test_a_map_is_turned_around(tmp_path):
    """The file lays the second list onto the first; an emitter of the first is found in the second."""
    told = {"kind": "similarity", "amount_um": [0.2, -0.1, 0.02, 0.03], "centre_um": [3.0, 2.0], "half_um": 4.0}
    (tmp_path / "r.json").write_text(json.dumps({"map": told}))
    maps = read_maps(str(tmp_path / "r.json"), 2)
    second = np.array([5.0, 1.0])
    u, v = (second - [3.0, 2.0]) / 4
    first = second + [0.2 + 0.02 * u - 0.03 * v, -0.1 + 0.02 * v + 0.03 * u]
    assert maps is not None
    np.testing.assert_allclose(maps[1] @ [*first, 1.0], second, atol=1e-12)


def test_what_does_not_fit_together_is_one_line(split, scene, tmp_path, capsys):
    """Each message names what and where, and says what to do; nothing is written."""
    planes, _ = scene
    movie = written(tmp_path, "movie.tif", np.concatenate(list(planes), axis=2))
    odd = written(tmp_path, "odd.tif", planes[0][:, :, :39])
    save_split_psf(tmp_path / "planes.npz", split)
    save_psf(tmp_path / "psf.npz", split.paths[0])
    both, one = ["--model", tmp_path / "planes.npz"], ["--model", tmp_path / "psf.npz"]
    cases = [
        ([odd, *both], "39 columns are not 2 planes side by side"),
        ([movie, *both, "--planes", "side", odd], "write side, above, or the movies"),
        ([movie, *both, "--planes", odd], "planes are recorded together"),
        ([movie, *both, "--planes", movie, movie], "name one for each further plane"),
        ([movie, *both, "--method", "classical"], "a PSF of several planes, not for method classical"),
        ([movie, *both, "focus_um=0.2"], "each PSF of"),
        ([movie, *one, "--method", "joint", "--planes", "side"], "is for a PSF of several planes"),
        ([movie, "--method", "joint", "--psf", *["psf.npz"] * 2, "plane_map=none.json"], "no such"),
    ]
    for arguments, message in cases:
        out = tmp_path / "locs.csv"
        assert cli.main(["localize", *map(str, arguments), "--out", str(out), *GIVEN]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert message in lines[-1] and "Traceback" not in "".join(lines)
        assert not out.exists()


def test_maps_that_cannot_be_used(tmp_path):
    """A bent map, a foreign file, too few."""
    (tmp_path / "r.json").write_text(json.dumps({"map": {"kind": "quadratic", "amount_um": [0.0] * 12} | {}}))
    bent = {"kind": "quadratic", "amount_um": [0.0] * 12, "centre_um": [0, 0], "half_um": 1.0}
    (tmp_path / "bent.json").write_text(json.dumps({"map": bent}))
    for name, count, message in (("r", 2, "not the _register"), ("bent", 2, "--kind affine"), ("bent", 3, "names 1")):
        with pytest.raises(ConfigError, match=message):
            read_maps(str(tmp_path / f"{name}.json"), count)


def test_a_movie_too_small_for_its_planes_is_refused(tmp_path):
    with open_movie(written(tmp_path, "m.tif", np.zeros((2, 20, 20), np.uint16))) as movie:
        with pytest.raises(LocalizationError, match="planes of 20 x 10 px"):
            PlanesMovie(movie, (), 2, MovieOptions(), 15)
