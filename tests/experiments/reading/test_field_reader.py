"""A PSF that changes over the field: frames whose emitters have each the PSF of their own place, read by a command."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

import localization
from experiments import cli
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.fields.reader import FieldReader
from localization import make_localizations, match, score
from optics import (
    aberration_at,
    make_camera,
    make_field_aberration,
    make_microscope,
    make_psf,
    psf_image,
    save_field,
    save_psf,
)
from optics.pytree import replace
from training import ConfigError

PIXEL_UM, SHAPE, FIELD_PX, FRAMES = 0.11, (24, 120), 120, 2
# astigmatism that is 0.05 um rms in the middle and changes by 0.025 um from there to each side, along x
FIELD = make_field_aberration(np.array([[0.0, 0.0, 0.0]] * 5 + [[0.05, 0.025, 0.0]]))


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    return make_psf(scope, image_px=15, pupil_px=24, pixel="centre", z_range_um=(-0.4, 0.4))


@pytest.fixture(scope="module")
def scene(psf):
    """Seven emitters a frame, in rows 16 px apart: exact images, each with the aberrations of its own place."""
    rng = np.random.default_rng(4)
    own = jax.jit(lambda place, point: psf_image(replace(psf, zernike_um=aberration_at(FIELD, place)), point))
    frames, rows = [], []
    for k in range(FRAMES):
        light = np.full(SHAPE, 10.0)
        for number in range(7):
            x_px, y_px = 12 + 16 * number + rng.uniform(-2, 2), rng.uniform(10, 14)
            z_um, photons = rng.uniform(-0.25, 0.25), rng.uniform(4000, 8000)
            column, row = (int(np.floor(at)) for at in (x_px, y_px))
            point = [(x_px - column - 0.5) * PIXEL_UM, (y_px - row - 0.5) * PIXEL_UM, z_um]
            place = 2 * jnp.array([x_px, y_px]) / FIELD_PX - 1
            light[row - 7 : row + 8, column - 7 : column + 8] += photons * np.asarray(own(place, jnp.array(point)))
            rows.append((k, x_px * PIXEL_UM, y_px * PIXEL_UM, z_um, photons))
        frames.append(100 + 2 * rng.poisson(light))
    frame, x, y, z, photons = np.array(rows).T
    return np.array(frames, np.uint16), make_localizations(frame, x, y, z, photons=photons)


def rms_over_sigma(found, truth, axis):
    pairs = match(found, truth, lateral_um=0.1, axial_um=0.3)
    error = getattr(found, f"{axis}_um")[pairs.found_index] - getattr(truth, f"{axis}_um")[pairs.truth_index]
    return np.sqrt(np.mean((error / getattr(found, f"sigma_{axis}_um")[pairs.found_index]) ** 2))


@pytest.mark.slow
def test_each_window_has_the_psf_of_its_place(psf, scene, tmp_path, capsys):
    """All are found, depths within 1.6 of what is said; with the middle's PSF alone they are off by half as much again,
    and the command says by how much the PSF changes within a window.
    """
    counts, truth = scene
    tifffile.imwrite(tmp_path / "movie.tif", counts, photometric="minisblack")
    save_psf(tmp_path / "psf.npz", replace(psf, zernike_um=aberration_at(FIELD, jnp.zeros(2))))
    save_field(tmp_path / "field.npz", FIELD)
    found = {}
    for name, more in {"field": [f"field={tmp_path / 'field.npz'}", f"field_px={FIELD_PX}"], "one": []}.items():
        out = tmp_path / f"{name}.colocus.h5"
        command = ["localize", tmp_path / "movie.tif", "--model", tmp_path / "psf.npz", "--method", "joint"]
        command += ["--out", out, "--gain", 2, "--offset", 100, "z_min_um=-0.35", "z_max_um=0.35", *more]
        assert cli.main([str(part) for part in command]) == 0
        found[name] = localization.read(out)
    assert "within a window it changes by" in capsys.readouterr().err
    result = score(found["field"], truth, lateral_um=0.1, axial_um=0.3)
    assert result.recall > 0.95 and result.precision > 0.9
    off = {name: rms_over_sigma(list_, truth, "z") for name, list_ in found.items()}
    assert off["field"] < 1.6 and off["one"] > 1.5 * off["field"]


def test_the_change_within_a_window_is_measured(psf, monkeypatch):
    """No change of the aberrations: 0. Of the same field twice as wide, the change over a window is half as large."""
    monkeypatch.setattr("experiments.reading.fields.reader._DEPTHS", 2)

    def change(field, field_px):
        config = ClassicalConfig(field="f", field_px=field_px, model_error=10.0)
        return FieldReader(psf, field, field_px, (-0.1, 0.1), make_camera(), config, "").change

    even = make_field_aberration(np.array([[0.0]] * 5 + [[0.05]]))
    assert change(even, 200) < 1e-6
    narrow, wide = (change(FIELD, px) for px in (400, 800))
    assert 0.4 < wide / narrow < 0.6


def test_field_and_its_size_belong_together():
    with pytest.raises(ConfigError, match="give both"):
        ClassicalConfig(field="field.npz")
