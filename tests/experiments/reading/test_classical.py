"""Fits without a network: every emitter of sparse scenes at its bound, and neighbours read jointly."""

import dataclasses
import os
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from scipy.special import ndtr

import localization
from experiments import cli
from experiments.reading.cameras import camera_part
from experiments.reading.classical import ALONE, ClassicalReader
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.decoder_joint import DecoderJointReader
from experiments.reading.fit_readers import classical_reader
from experiments.reading.fits import EmitterFitter, unfitted
from experiments.reading.joint import TOGETHER, JointReader
from experiments.reading.localize import LocalizeConfig, localize, make_reader
from experiments.reading.readers import Model
from experiments.reading.remarks import remarks
from experiments.reading.spots import gaussian_spots, psf_spots
from localization import LocalizationError, make_localizations, match, score
from optics import make_camera, make_emitters, make_microscope, make_psf, masks, render_frame
from optics.fits.matched_filter import local_background as background
from optics.psf_io import save_psf
from optics.pytree import replace
from training import ConfigError

PIXEL_UM, SIDE, FRAMES = 0.11, 40, 12
Z_RANGE = (0.0, 0.8)
CAMERA = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.5)
CONFIG = ClassicalConfig(group=FRAMES)


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(
        na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.67, pixel_um=PIXEL_UM, focus_um=0.4
    )
    mask = masks.astigmatism(0.08, design_wavelength_um=0.67)
    return make_psf(scope, mask=mask, image_px=21, z_range_um=Z_RANGE, pixel="centre")


@pytest.fixture(scope="module")
def spots(psf):
    return psf_spots(psf, Z_RANGE, 1e-2)  # as the command tabulates it: one set of compiled programs


_render = jax.jit(lambda psf, emitters: render_frame(psf, emitters, (SIDE, SIDE)))


def record(rng, expected):
    """Counts of frames of expected photons (F, H, W), drawn by numpy: Poisson light, Gaussian read noise."""
    read = rng.normal(0, float(CAMERA.read_noise_e), expected.shape)
    return np.round(100 + 2 * (rng.poisson(expected) + read)).astype(np.float32)


@pytest.fixture(scope="module")
def scene(psf):
    """Two emitters a frame at least 1.5 um apart, background 15 photons: counts and truth."""
    rng = np.random.default_rng(5)
    margin, high = 0.8, SIDE * PIXEL_UM - 0.8
    frames, rows = [], []
    for k in range(FRAMES):
        while True:
            xyz = rng.uniform([margin, margin, 0.05], [high, high, 0.75], (2, 3))
            if np.linalg.norm(xyz[0, :2] - xyz[1, :2]) > 1.5:
                break
        photons = rng.uniform(2000, 5000, 2)
        frames.append(np.asarray(_render(psf, make_emitters(xyz, photons))) + 15)
        rows += [(k, *one, light) for one, light in zip(xyz, photons, strict=True)]
    frame, x, y, z, light = np.array(rows).T
    return record(rng, np.array(frames)), make_localizations(frame, x, y, z, photons=light)


@pytest.fixture(scope="module")
def found(spots, scene):
    reader = ClassicalReader(spots, CAMERA, CONFIG, "test")
    return reader.read(scene[0], 0), reader


def test_sparse_emitters_are_all_found_at_the_bound(found, scene):
    """Jaccard index above 0.95, and errors that the reported bounds explain: ratio 1 within its statistical error."""
    locs, _ = found
    assert score(locs, scene[1]).jaccard > 0.95
    pairs = match(locs, scene[1])
    for axis in "xyz":
        error = getattr(locs, f"{axis}_um")[pairs.found_index] - getattr(scene[1], f"{axis}_um")[pairs.truth_index]
        ratio = np.sqrt(np.mean((error / getattr(locs, f"sigma_{axis}_um")[pairs.found_index]) ** 2))
        assert 0.7 < ratio < 1.4  # 24 emitters: 0.14 is one standard error
    light = locs.photons[pairs.found_index] / scene[1].photons[pairs.truth_index]
    assert abs(light.mean() - 1) < 0.03
    assert abs(np.mean(locs.background) - 15) < 1


def test_nothing_is_found_in_noise(found):
    """Twelve frames of background: at five sigmas less than one false spot is expected."""
    empty = record(np.random.default_rng(6), np.full((FRAMES, SIDE, SIDE), 15.0))
    assert found[1].read(empty, 0).frame.size <= 1


def test_two_that_overlap_are_told_apart(psf, found):
    """0.7 um apart, one at twice the light: both are found, and neither pulls the other by three of its bounds."""
    emitters = make_emitters([[1.9, 2.1, 0.3], [2.6, 2.1, 0.5]], [3000.0, 6000.0])
    rng = np.random.default_rng(7)
    expected = np.asarray(_render(psf, emitters)) + 15
    locs = found[1].read(record(rng, np.repeat(expected[None], FRAMES, axis=0)), 0)
    assert np.bincount(locs.frame, minlength=FRAMES).tolist() == [2] * FRAMES
    near, bright = (locs.x_um < 2.25), (locs.x_um > 2.25)
    for mask, x_um, light in ((near, 1.9, 3000), (bright, 2.6, 6000)):
        error = locs.x_um[mask] - x_um
        assert abs(error.mean()) < 3 * locs.sigma_x_um[mask].mean()
        assert abs(locs.photons[mask].mean() / light - 1) < 0.05


def test_what_way_frames_went_is_told(found, scene):
    """Two emitters a frame, most of them more than a stamp apart or not: every frame is counted once."""
    reader = found[1]
    reader.take_tally()
    reader.read(scene[0], 0)
    tally = reader.take_tally()
    assert tally[ALONE] + tally[TOGETHER] == FRAMES and tally[ALONE] > 0


def test_pixels_without_a_number_and_a_lost_frame(found, scene):
    """NaN beside one emitter, Inf elsewhere, a whole frame of NaN: finite rows, those of other frames unchanged."""
    counts, (before, reader) = scene[0].copy(), found
    row, column = (int(at / PIXEL_UM) for at in (before.y_um[0], before.x_um[0]))
    counts[0, row, column + 1] = np.nan
    counts[1, 0, 0] = np.inf
    counts[2] = np.nan
    reader.take_tally()
    locs = reader.read(counts, 0)
    assert all(np.isfinite(getattr(locs, name)).all() for name in ("x_um", "y_um", "z_um", "photons", "sigma_z_um"))
    assert f"{2 + SIDE**2} pixels without a number, left out" in remarks(reader.take_tally())
    assert 2 not in locs.frame and {0, 1} <= set(locs.frame)
    rest, same = (localization.select(table, table.frame > 2) for table in (locs, before))
    np.testing.assert_allclose(rest.x_um, same.x_um, atol=1e-4)


def test_saturated_pixels_are_left_out(found, scene):
    """Counts that end at 255 as an 8-bit camera's do: the emitters are where they were, and the tally says so."""
    reader = found[1]
    reader.take_tally()
    locs = reader.read(np.minimum(scene[0], 255), 0)
    assert any("saturated" in line for line in remarks(reader.take_tally()))
    pairs = match(locs, scene[1])
    assert pairs.found_index.size >= 0.8 * scene[1].frame.size
    light = locs.photons[pairs.found_index] / scene[1].photons[pairs.truth_index]
    assert abs(np.median(light) - 1) < 0.1  # where 255 are taken for the light itself, half of it is missing


def test_a_gain_off_by_two_is_said(spots, scene):
    """Half the true gain: photons are counted twice, the noise does not follow, and the factor is told."""
    reader = ClassicalReader(spots, replace(CAMERA, gain_adu_per_e=jnp.asarray(1.0)), CONFIG, "half")
    reader.read(scene[0][:4], 0)
    (line,) = [line for line in remarks(reader.take_tally()) if "noise" in line]
    assert 1.6 < float(line.split(" times")[0].split()[-1]) < 2.4


def test_a_psf_of_other_optics_is_said(psf, found):
    """Bright emitters drawn with a trefoil in place of astigmatism: much of their light is not explained."""
    other = replace(psf, mask=masks.zernike([(3, 3, 0.1)], design_wavelength_um=0.67))
    emitters = make_emitters([[2.2, 2.1, 0.1]], [20000.0])
    expected = np.asarray(_render(other, emitters)) + 15
    found[1].take_tally()
    found[1].read(record(np.random.default_rng(10), np.repeat(expected[None], 2, axis=0)), 0)
    lines = remarks(found[1].take_tally())
    assert any(line.startswith("the PSF leaves") for line in lines), lines


def test_emitters_beyond_the_depths_are_said(psf, found):
    """Emitters 0.3 um above the deepest that is fitted end there; they are listed, and a line says how many."""
    rng = np.random.default_rng(11)
    far = [make_emitters([[*rng.uniform(1.5, 2.9, 2), 1.1]], [6000.0]) for _ in range(FRAMES)]
    expected = np.stack([np.asarray(_render(psf, one)) for one in far]) + 15
    found[1].take_tally()
    found[1].read(record(rng, expected), 0)
    assert any("at an end of the depths" in line for line in remarks(found[1].take_tally()))


def test_frames_smaller_than_a_stamp(spots, scene):
    """Frames of 18 pixels, the stamp has 21: an emitter in the middle is found as in the whole frame."""
    truth = scene[1]
    inner = (np.abs(truth.x_um - 2.2) < 1.0) & (np.abs(truth.y_um - 2.2) < 1.0)
    assert inner.any()
    first = np.flatnonzero(inner)[0]
    corner = [int(at / PIXEL_UM) - 9 for at in (truth.x_um[first], truth.y_um[first])]
    frame = int(truth.frame[first])
    counts = scene[0][frame : frame + 1, corner[1] : corner[1] + 18, corner[0] : corner[0] + 18]
    locs = ClassicalReader(spots, CAMERA, CONFIG, "small").read(counts, 0)
    off = np.hypot(
        locs.x_um - truth.x_um[first] + corner[0] * PIXEL_UM, locs.y_um - truth.y_um[first] + corner[1] * PIXEL_UM
    )
    assert off.min() < 0.03


def test_a_stopped_job_ends_with_the_same_bytes(psf, scene, tmp_path):
    """Ctrl-C after the first of three chunks; the same call goes on and writes what an undisturbed one writes."""
    save_psf(tmp_path / "psf.npz", psf)
    tifffile.imwrite(tmp_path / "movie.tif", scene[0][:6].astype(np.uint16), photometric="minisblack")
    fits = ClassicalConfig(z_min_um=0.0, z_max_um=0.8, group=FRAMES)
    config = LocalizeConfig(gain_adu_per_photon=2.0, offset_adu=100.0, chunk_frames=2, classical=fits)

    def stop(event):
        if event.stage == "frame" and event.done > 2:
            raise KeyboardInterrupt

    job = tmp_path / "movie.tif", tmp_path / "psf.npz"
    with pytest.raises(KeyboardInterrupt):
        localize(*job, tmp_path / "stopped.csv", config, report=stop)
    assert len(list((tmp_path / "stopped.csv.parts").glob("frames_*.npz"))) == 1
    localize(*job, tmp_path / "stopped.csv", config)
    localize(*job, tmp_path / "whole.csv", config)
    assert (tmp_path / "stopped.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_decoders_list_is_where_the_joint_fit_begins(spots, scene):
    """A list off by 60 nm, half of it without light, with a false row and one missing: ends as what is there."""
    counts, truth = scene
    rng, n = np.random.default_rng(8), 8

    class Coarse:
        min_frame_px, description, pixel_um, group, batch, context, identity = 16, "coarse", PIXEL_UM, 12, 12, 0, {}

        def take_tally(self):
            return Counter()

        def read(self, counts, first_frame, before=0, after=0, origin_px=(0, 0)):
            rows = np.arange(1, n)
            off = rng.normal(0, 0.06, (3, rows.size))
            light = np.where(rows % 2, truth.photons[rows], np.nan)
            frame, at = truth.frame[rows], [getattr(truth, f"{axis}_um")[rows] for axis in "xyz"]
            listed = make_localizations(frame, *(one + by for one, by in zip(at, off, strict=True)), photons=light)
            return localization.concatenate([listed, make_localizations([3], [0.6], [0.6], [0.4], score=0.5)])

    reader = DecoderJointReader(Coarse(), JointReader(spots, CAMERA, CONFIG, "joint"))
    locs = reader.read(counts[: n // 2], 0)
    assert reader.take_tally()[TOGETHER] == n // 2
    true = localization.select(truth, truth.frame < n // 2)
    assert score(locs, true, lateral_um=0.1, axial_um=0.2).jaccard == 1
    pairs = match(locs, true)
    error = locs.x_um[pairs.found_index] - true.x_um[pairs.truth_index]
    assert np.sqrt(np.mean((error / locs.sigma_x_um[pairs.found_index]) ** 2)) < 1.8  # 8 of them


def test_gaussian_spots_are_found_without_a_psf():
    """Spots painted by the error function, of a width 15 % off: unbiased positions, photons, and z = 0."""
    rng = np.random.default_rng(9)
    edges = np.arange(SIDE + 1) * 0.1
    truth, frames = [], np.full((FRAMES, SIDE, SIDE), 10.0)
    for k in range(FRAMES):
        for quarter in rng.permutation(4)[:2]:
            x, y = rng.uniform(0.5, 1.5, 2) + 2.0 * np.array([quarter % 2, quarter // 2])
            gx, gy = (np.diff(ndtr((edges - centre) / 0.15)) for centre in (x, y))
            frames[k] += 1500 * np.outer(gy, gx)
            truth.append((k, x, y, 0))
    truth = make_localizations(*np.array(truth).T)
    reader = ClassicalReader(gaussian_spots(0.13, 0.1), CAMERA, CONFIG, "gaussian")
    locs = reader.read(record(rng, frames), 0)
    assert score(locs, truth).jaccard > 0.95 and not locs.z_um.any() and np.isnan(locs.sigma_z_um).all()
    pairs = match(locs, truth)
    error = locs.x_um[pairs.found_index] - truth.x_um[pairs.truth_index]
    assert np.sqrt(np.mean((error / locs.sigma_x_um[pairs.found_index]) ** 2)) < 1.4
    assert abs(locs.photons.mean() / 1500 - 1) < 0.02


def test_the_table_of_gaussian_spots_is_the_error_function():
    spots, u = gaussian_spots(0.13, 0.1), 0.4
    emitter = unfitted(np.array([0]), np.array([[1.43, 1.58, u, 1e3, 0]]))
    drawn = EmitterFitter(spots, CAMERA).draw(emitter, (1, 30, 30))
    edges = np.arange(31) * 0.1
    gx, gy = (np.diff(ndtr((edges - centre) / (0.13 * 1.7**u))) for centre in (1.43, 1.58))
    assert np.abs(drawn[0] - 1000 * np.outer(gy, gx))[9:21, 9:21].max() < 2e-3 * drawn.max()


def test_background_of_a_slope_with_spots():
    """A level that doubles over the frame is followed; a few bright spots do not raise it."""
    y, x = np.mgrid[:96, :96]
    level = 20 + 20 * x / 96
    frame = level.copy()
    frame[20:26, 30:36] += 500
    got = np.asarray(background(jnp.asarray(frame), 24))
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(got - level)[inner].max() < 1.5


def test_camera_maps_are_cut_like_the_frames():
    maps = np.arange(12.0).reshape(3, 4) + 1
    camera = make_camera(gain_adu_per_e=maps, offset_adu=100.0)
    np.testing.assert_array_equal(camera_part(camera, (1, 2), (1, 3)).gain_adu_per_e, [[10, 11, 12]])
    with pytest.raises(LocalizationError, match="gain_adu_per_e is a map of 3 x 4 px, too small"):
        camera_part(camera, (2, 0), (3, 4))


def test_the_command_localizes_with_a_psf_file(psf, scene, tmp_path, capsys, monkeypatch):
    """`colocus localize` with a psf.npz: the list of the reader, and one line for what is missing."""
    monkeypatch.chdir(tmp_path)
    save_psf("psf.npz", psf)
    tifffile.imwrite("movie.tif", scene[0].astype(np.uint16), photometric="minisblack")
    base = ["localize", "movie.tif", "--model", "psf.npz", "--out", "locs.csv"]
    photometry = ["--gain", "2", "--offset", "100", "read_noise_e=1.5"]
    wrong = {
        "does not tell the camera": ["z_min_um=0.0", "z_max_um=0.8"],
        "z_min_um, z_max_um": photometry,
        "unknown key 'threshold'": ["threshold=3"],
        "gain and offset both": ["--gain", "2", "z_max_um=0.8"],
        "is for method decoder+joint": ["--psf", "psf.npz"],
        "polish is now decoder+joint": ["--method", "polish"],
        "cannot be read with method decoder+joint": ["--method", "decoder+joint"],
        "looks like nanometres": [*photometry, "z_min_um=0.0", "z_max_um=800.0"],
    }
    for message, arguments in wrong.items():
        assert cli.main([*base, *arguments]) == 2
        assert message in capsys.readouterr().err
    assert cli.main([*base, *photometry, "z_min_um=0.0", "z_max_um=0.8", "--frames", "0:3"]) == 0
    assert score(localization.read("locs.csv"), localization.select(scene[1], scene[1].frame < 3)).jaccard > 0.8
    assert sorted(os.listdir()) == ["locs.csv", "movie.tif", "psf.npz"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"group": 0}, "group = 0 must be at least 1"),
        ({"threshold_sigma": 0.0}, "threshold_sigma = 0.0 must be positive"),
        ({"stamp_px": 3}, "stamp_px = 3 must be at least 7"),
        ({"model_error": -0.1}, "model_error = -0.1 must be at least 0"),
    ],
)
def test_settings_that_cannot_be_right(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(ClassicalConfig(), **change)


def test_models_that_have_no_psf(tmp_path):
    (tmp_path / "weights.npz").write_bytes(b"no zip")
    with pytest.raises(ConfigError, match="no PSF"):
        classical_reader(Model(tmp_path / "weights.npz", "weights"), CAMERA, ClassicalConfig())
    with pytest.raises(ConfigError, match="gaussian_sigma_um is missing"):
        make_reader(
            tmp_path.__class__("gaussian"),
            LocalizeConfig(gain_adu_per_photon=1.0, offset_adu=0.0),
        )
    with pytest.raises(ConfigError, match="lengths in the sample in um"):
        gaussian_spots(65.0, 0.1)
