"""From a path to a reader: what is read of a run, how often, and what tells its jobs apart."""

import json
import pathlib

import numpy as np
import orbax.checkpoint as ocp
import pytest
import tifffile

import localization
import training.instrument
from experiments.reading import LocalizeConfig, load_reader, localize, make_reader, read_frames
from experiments.reading.chunks import Job, Parts, parts_folder
from experiments.reading.readers import Reading, trained_reader
from localization import LocalizationError
from made.tiny import LEARN, TINY, tiny_run
from training import ConfigError, build, init_state, load_run, load_trained
from training.checkpoint import Checkpoints
from training.run_folder import RunFolder

CAMERA = {"gain_adu_per_e": 0.37, "offset_adu": 100.1, "quantum_efficiency": 0.9, "read_noise_e": 1.5}


def save_run(folder, **changes):
    """A run that was not trained, its decoder made eager."""
    run = tiny_run(**{"camera": CAMERA, **changes})
    state = init_state(build(run))
    if run.decoder.kind == "list":
        out = state.variables["params"]["out"]
        out["bias"] = out["bias"].at[0].set(1.0)
    RunFolder(folder, run).begin()
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, state)
    checkpoints.close()
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("models") / "run", **LEARN)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).poisson(130.0, (5, 16, 16)).astype(np.uint16)


def test_a_run_whose_list_is_fitted_is_read_once(learned, monkeypatch):
    """One read of its config.json, one PSF built, one checkpoint restored."""
    counts = dict.fromkeys(("config", "psf", "checkpoint"), 0)

    def counted(name, call, when=lambda *given: True):
        def wrapper(*given, **named):
            counts[name] += when(*given)
            return call(*given, **named)

        return wrapper

    text = counted("config", pathlib.Path.read_text, lambda path, *_: path.name == "config.json")
    monkeypatch.setattr(pathlib.Path, "read_text", text)
    monkeypatch.setattr(training.instrument, "make_psf", counted("psf", training.instrument.make_psf))
    restore = counted("checkpoint", ocp.CheckpointManager.restore)
    monkeypatch.setattr(ocp.CheckpointManager, "restore", restore)
    make_reader(learned, LocalizeConfig(method="decoder+joint"))
    assert counts == {"config": 1, "psf": 1, "checkpoint": 1}
    load_reader(learned)
    assert counts == {"config": 2, "psf": 1, "checkpoint": 2}  # a network alone needs no PSF


def test_a_trained_run_has_the_mask_that_it_learned(learned):
    """`load_trained` gives what `load_run` and `build` give in pieces."""
    trained, (run, state) = load_trained(learned), load_run(learned)
    parts = build(run)
    assert trained.run == run and trained.net == parts.net and trained.z_range_um == (0.0, 1.0)
    np.testing.assert_array_equal(trained.psf.mask.opd_um, parts.to_mask(state.mask_params).opd_um)
    np.testing.assert_array_equal(trained.camera.offset_adu, parts.camera.offset_adu)


def test_frames_in_memory_give_the_list_of_the_file(learned, frames, tmp_path):
    """`read_frames` by path and by reader, and `localize` of the same frames; a part keeps the whole's numbers."""
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    localize(tmp_path / "movie.tif", learned, tmp_path / "locs.csv")
    written = localization.read(tmp_path / "locs.csv")
    events = []
    for model in (learned, str(learned), load_reader(learned)):
        found = read_frames(frames, model, report=events.append)
        assert found.frame.size == written.frame.size > 0
        np.testing.assert_allclose(found.x_um, written.x_um, atol=1e-6)
    assert [event.done for event in events] == [5, 5, 5]
    part = read_frames(frames, learned, LocalizeConfig(frames=(3, 4)))
    assert set(part.frame) == {3}
    with pytest.raises(LocalizationError, match=r"frames: shape \(16, 16\) is not"):
        read_frames(frames[0], learned)
    with pytest.raises(ConfigError, match="frames = 4:9"):
        read_frames(frames, learned, LocalizeConfig(frames=(4, 9)))


VOLUME = {"decoder": {"kind": "volume", "depth_voxels": 4}, "psf": {**TINY["psf"]}}
IMAGE = {"decoder": {"kind": "image", "upsampling": 4, "width": 0.1}}


def test_jobs_are_told_apart_as_they_always_were(tmp_path):
    """What a stopped job wrote before readers took cameras is what a reader says of itself now."""
    gain, offset = 0.37 * 1.0 * 0.9, 100.1
    photometry = {"gain_adu_per_photon": gain, "offset_adu": offset}
    peaks = save_run(tmp_path / "peaks", **LEARN, decoder={**TINY["decoder"], "read_out": "peaks"})
    network = load_reader(peaks).identity["network"]
    assert load_reader(peaks).identity == {
        "network": network, "threshold": 0.5, **photometry, "batch": 8, "tile_px": 512
    }  # fmt: skip
    image = load_reader(save_run(tmp_path / "image", **IMAGE)).identity
    assert image == {"network": image["network"], "threshold": 0.5, "tile_px": 256, **photometry}
    volume = load_reader(save_run(tmp_path / "volume", **VOLUME)).identity
    assert volume["reading"] == (
        "VolumeConfig(z_min_um=0.0, z_max_um=1.0, normalisation='photons', threshold=10.0, "
        f"divide_by_adu={gain!r}, pixel_um=0.11, dilations=(1, 1, 2, 4, 8, 16), scaling=100.0, radius=1, "
        f"shift_fine_px=0.0, offset_adu={offset!r})"
    )
    assert set(volume) == {"network", "reading", "tile_px"}


def test_a_stopped_job_goes_on_where_a_gain_lost_digits(tmp_path):
    """A gain of more digits than single precision holds is the same gain; another is another job."""
    job = Job({"model": {"gain_adu_per_photon": 0.12345678901, "threshold": 0.5}}, ((0, 5),))
    Parts.begin(tmp_path / "locs.csv", job)
    text = json.loads((parts_folder(tmp_path / "locs.csv") / "job.json").read_text())
    same = Job({"model": {"gain_adu_per_photon": float(np.float32(0.12345678901)), "threshold": 0.5}}, ((0, 5),))
    assert Parts.begin(tmp_path / "locs.csv", same).job.key == text["key"]
    other = Job({"model": {"gain_adu_per_photon": 0.1235, "threshold": 0.5}}, ((0, 5),))
    with pytest.raises(ConfigError, match="gain_adu_per_photon = 0.12345678901, here 0.1235"):
        Parts.begin(tmp_path / "locs.csv", other)
    with pytest.raises(ConfigError, match="of other frames"):
        Parts.begin(tmp_path / "locs.csv", Job(job.identity, ((0, 4), (4, 5))))


def test_a_reader_of_a_run_that_was_read_already(learned, frames):
    """`trained_reader` is `load_reader` without the path."""
    one, other = trained_reader(load_trained(learned), Reading()), load_reader(learned)
    assert one.identity == other.identity
    np.testing.assert_array_equal(one.read(frames, 0).x_um, other.read(frames, 0).x_um)
