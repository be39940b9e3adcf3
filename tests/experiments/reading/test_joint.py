"""The joint reader: crowded movies by the command, windows of a large frame and their seams, threads, many emitters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

import localization
from experiments import cli
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader
from experiments.reading.localize import LocalizeConfig, localize_with
from experiments.reading.spots import psf_spots
from localization import score
from optics import make_camera, make_emitters, make_microscope, make_psf, masks, render_frame
from optics.psf_io import save_psf

pytestmark = pytest.mark.slow  # each compiles the search for its own window: 20 s
PIXEL_UM, SHAPE, Z_RANGE = 0.11, (40, 44), (0.0, 0.8)
CAMERA = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.5)


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(
        na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.67, pixel_um=PIXEL_UM, focus_um=0.4
    )
    mask = masks.astigmatism(0.08, design_wavelength_um=0.67)
    return make_psf(scope, mask=mask, image_px=15, z_range_um=Z_RANGE, pixel="centre")


@pytest.fixture(scope="module")
def movie(psf):
    """Two frames of 20 emitters, 1 per um^2, over a slope of background: counts (2, 40, 44) and the true list."""
    rng = np.random.default_rng(2)
    size = np.array([SHAPE[1] * PIXEL_UM, SHAPE[0] * PIXEL_UM, 0.7])
    xyz = rng.uniform([0.3, 0.3, 0.1], size - [0.3, 0.3, 0], (2, 20, 3))
    photons = rng.uniform(3000, 9000, (2, 20))
    draw = jax.jit(lambda emitters: render_frame(psf, emitters, SHAPE))
    light = np.stack([draw(make_emitters(*part)) for part in zip(xyz, photons, strict=True)])
    expected = light + 10 + 0.2 * np.arange(SHAPE[1])
    counts = 100 + 2 * (rng.poisson(expected) + rng.normal(0, 1.5, expected.shape))
    frame = np.repeat([0, 1], 20)
    truth = localization.make_localizations(frame, *xyz.reshape(-1, 3).T, photons=photons.ravel())
    return np.round(counts).astype(np.float32), truth


@pytest.fixture(scope="module")
def spots(psf):
    return psf_spots(psf, Z_RANGE, 1e-2)


def test_the_command_reads_a_crowded_movie(psf, movie, tmp_path, capsys):
    """`colocus localize --method joint` finds 9 of 10 and at most one in twenty that is none, errors within bounds."""
    counts, truth = movie
    tifffile.imwrite(tmp_path / "movie.tif", counts.astype(np.uint16), photometric="minisblack")
    save_psf(tmp_path / "psf.npz", psf)
    text = "gain_adu_per_e = 2.0\noffset_adu = 100.0\nread_noise_e = 1.5\n"
    (tmp_path / "camera.toml").write_text(text)
    out = tmp_path / "locs.colocus.h5"
    command = ["localize", tmp_path / "movie.tif", "--model", tmp_path / "psf.npz", "--method", "joint", "--out", out]
    command += ["--camera", tmp_path / "camera.toml", "z_min_um=0", "z_max_um=0.8"]
    assert cli.main([str(part) for part in command]) == 0
    found = localization.read(out)
    result = score(found, truth, lateral_um=0.1, axial_um=0.2)
    assert result.recall > 0.9 and result.precision > 0.95
    pairs = localization.match(found, truth, lateral_um=0.1, axial_um=0.2)
    for axis in "xyz":
        error = getattr(found, f"{axis}_um")[pairs.found_index] - getattr(truth, f"{axis}_um")[pairs.truth_index]
        sigma = getattr(found, f"sigma_{axis}_um")[pairs.found_index]
        # the median of |error| / sigma is 0.67; 36 pairs tell it within 0.25
        assert abs(np.median(np.abs(error) / sigma) - 0.67) < 0.25
    assert np.all(found.score > 4)


def test_an_interrupted_movie_goes_on_to_the_same_bytes(movie, spots, tmp_path):
    """Ctrl-C in the second of three frames: the first is not read again, and the list is that of a run in one piece."""
    counts, _ = movie
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, counts[[0, 1, 0]].astype(np.uint16), photometric="minisblack")
    config = LocalizeConfig(chunk_frames=1)

    def reader():
        made = JointReader(spots, CAMERA, ClassicalConfig(z_min_um=0, z_max_um=0.8), "")
        made.group = made.batch = 1
        return made

    def stop(event):
        if event.stage == "frame" and event.done >= 2:
            raise KeyboardInterrupt

    localize_with(reader(), path, tmp_path / "whole.csv", config)
    with pytest.raises(KeyboardInterrupt):
        localize_with(reader(), path, tmp_path / "out.csv", config, report=stop)
    assert not (tmp_path / "out.csv").exists()
    events = []
    localize_with(reader(), path, tmp_path / "out.csv", config, report=events.append)
    assert events[0]["frames"] == 2
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_windows_give_what_the_whole_frame_gives(movie, spots, monkeypatch):
    """Cut into overlapping windows, the same emitters come out, each once, within a fifth of their uncertainty."""
    counts, _ = movie
    whole = JointReader(spots, CAMERA, ClassicalConfig(), "").read(counts[:1], 0)
    monkeypatch.setattr("experiments.reading.joint._LEAST_WINDOW_PX", 34)
    monkeypatch.setattr("experiments.reading.joint._CORE_PX", 16)
    cut = JointReader(spots, CAMERA, ClassicalConfig(), "").read(counts[:1], 0)
    assert cut.frame.size == whole.frame.size
    pairs = localization.match(cut, whole, lateral_um=0.05, axial_um=0.2)
    assert len(pairs.found_index) == whole.frame.size
    off = np.abs(cut.x_um[pairs.found_index] - whole.x_um[pairs.truth_index]) / whole.sigma_x_um[pairs.truth_index]
    assert np.median(off) < 0.2


def test_an_emitter_on_a_seam_is_listed_once(psf, spots, monkeypatch):
    """One emitter a frame, within 0.1 px of where two windows' cores meet, eight times: eight rows."""
    monkeypatch.setattr("experiments.reading.joint._LEAST_WINDOW_PX", 34)
    monkeypatch.setattr("experiments.reading.joint._CORE_PX", 16)
    # a rate at which noise makes none in these frames
    reader = JointReader(spots, CAMERA, ClassicalConfig(false_per_um2=1e-6), "")
    seam = reader.windows(SHAPE)[0][1].core.stop * PIXEL_UM
    rng = np.random.default_rng(3)
    xyz = np.column_stack([seam + rng.uniform(-0.01, 0.01, 8), rng.uniform(1.0, 3.4, 8), rng.uniform(0.2, 0.6, 8)])
    draw = jax.jit(lambda emitters: render_frame(psf, emitters, SHAPE))
    light = np.stack([draw(make_emitters(place[None], jnp.array([3000.0]))) for place in xyz]) + 10
    counts = 100 + 2 * (rng.poisson(light) + rng.normal(0, 1.5, light.shape))
    found = reader.read(counts, 0)
    assert found.frame.tolist() == list(range(8))
    assert np.abs(found.x_um - xyz[:, 0]).max() < 0.05


def test_threads_do_not_change_a_byte(movie, spots):
    """The same two frames by one thread and by three: every column the same bits, rows in the same order."""
    lists = []
    for threads in (1, 3):
        reader = JointReader(spots, CAMERA, ClassicalConfig(), "")
        reader.threads = threads
        lists.append(reader.read(movie[0], 0))
    for name in ("frame", "x_um", "y_um", "z_um", "photons", "background", "sigma_z_um", "score"):
        assert getattr(lists[0], name).tobytes() == getattr(lists[1], name).tobytes()


def test_no_emitter_is_dropped_for_want_of_places(movie, spots):
    """A start of more than 256 emitters, most of them nothing: all of the frame's own are listed all the same."""
    counts, truth = movie
    rng = np.random.default_rng(4)
    many = rng.uniform([0.1, 0.1, 0.1], [SHAPE[1] * PIXEL_UM - 0.1, SHAPE[0] * PIXEL_UM - 0.1, 0.7], (300, 3))
    start = localization.make_localizations(np.zeros(300), *many.T, photons=50.0 + 0 * many[:, 0])
    found = JointReader(spots, CAMERA, ClassicalConfig(), "").read(counts[:1], 0, start=start)
    result = score(found, localization.select(truth, truth.frame == 0), lateral_um=0.1, axial_um=0.2)
    assert result.recall > 0.85 and result.precision > 0.85
