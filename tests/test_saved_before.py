"""What an earlier version saved is read as it was, and what it stopped goes on (`made/before`, made at 318203a)."""

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.compare.config import load_experiment
from experiments.compare.folder import claim
from experiments.reading.chunks import Job, Parts, parts_folder
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.localize import LocalizeConfig, localize, make_reader
from localization import read
from made.made_generator import CONFIG, CROP, small_networks
from optics import masks, psf_image
from optics.masks import files as mask_io
from optics.psf_io import read_psf
from training import ConfigError, fit, load_config
from training.generator.draw import generate_scene
from training.generator.files import load_generator
from training.generator.run import fit_generator

BEFORE = Path(__file__).parent / "made" / "before"
NUMBERS = json.loads((BEFORE / "numbers.json").read_text())
ROUNDING = (
    1e-9  # of float64 on another processor: a few hundred operations deep, an ulp of 2e-16 each, and cancellation
)


@pytest.fixture
def unpack(tmp_path):
    """A function that unpacks a folder's archive and gives the folder."""

    def folder(name):
        shutil.unpack_archive(BEFORE / f"{name}.zip", tmp_path / name)
        return tmp_path / name

    return folder


def test_a_psf_gives_the_image_that_it_gave():
    psf, notes = read_psf(BEFORE / "psf.npz")
    image, before = psf_image(psf, jnp.array([0.03, -0.05, 0.4])), np.array(NUMBERS["psf"])
    assert notes == {"made": "before"} and image.shape == (21, 21)
    np.testing.assert_allclose(image, before, atol=ROUNDING * before.max(), rtol=0)


def test_a_mask_is_what_it_was():
    expected = masks.astigmatism(0.05, design_wavelength_um=0.6)
    np.testing.assert_allclose(mask_io.load(BEFORE / "mask.npz").opd_um, expected.opd_um[::8, ::8], atol=1e-12)


def test_a_stopped_run_takes_the_step_that_it_would_have_taken(unpack):
    """Configuration, checkpoint with a learned mask, log: its last step has the numbers of the old code."""
    folder, events = unpack("run"), []
    state = fit(load_config(folder), folder, resume=True, report=events.append)
    assert int(state.step) == 3 and len(events) == 1
    *_, earlier, last = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    assert list(last) == list(earlier) == list(NUMBERS["next_step"])
    for name, value in NUMBERS["next_step"].items():
        if name not in ("event", "seconds"):
            assert last[name] == pytest.approx(value, rel=1e3 * ROUNDING), (
                name
            )  # gradients of networks, Adam's quotient


def test_a_stopped_localize_ends_with_the_list_that_it_began(unpack, tmp_path):
    """What was done is kept to the byte, what was not is added; a job is known by the same settings as then."""
    out, movie = tmp_path / "locs.csv", tmp_path / "movie.tif"
    shutil.copy(BEFORE / "movie.tif", movie)
    shutil.copytree(BEFORE / "locs.csv.parts", parts_folder(out))
    job = parts_folder(out) / "job.json"
    held = json.loads(job.read_text())
    os.utime(movie, ns=(held["identity"]["movie"]["modified_ns"],) * 2)
    held["identity"]["movie"]["path"] = str(movie.resolve())  # the one thing that is elsewhere in a clone
    held["identity"]["versions"] |= {name: version(name) for name in ("colocus", "jax", "numpy")}
    spans = tuple((first, stop) for first, stop in held["spans"])
    job.write_text(json.dumps({**held, "key": Job(held["identity"], spans).key}))
    config = LocalizeConfig(batch=2, chunk_frames=2, threshold=0.97)
    result = localize(movie, unpack("reader"), out, config)
    before = (BEFORE / "list.csv").read_bytes().splitlines()
    done = sum(int(line.split(b",")[1]) <= 4 for line in before[1:])  # of the first two chunks; frames from 1
    now = out.read_bytes().splitlines()
    assert result.rows == NUMBERS["rows"] and 0 < done < result.rows
    assert now[: 1 + done] == before[: 1 + done]
    old, new = read(BEFORE / "list.csv"), read(out)
    for name in ("frame", "x_um", "y_um", "z_um", "photons", "score"):
        # on another processor a network's float32 sums differ by 1e-6 or so of a position or of the photons
        atol = 1e-4 if name.endswith("_um") else 1e-3
        np.testing.assert_allclose(getattr(new, name), getattr(old, name), atol=atol, rtol=1e-4, err_msg=name)


def test_fits_that_were_begun_otherwise_are_refused(tmp_path):
    """Parts of fits as an earlier version made them are not finished by another way of fitting: one line says so."""
    fits = ClassicalConfig(z_min_um=0.0, z_max_um=0.4)
    config = LocalizeConfig(gain_adu_per_photon=2.0, offset_adu=100.0, classical=fits)
    Parts.begin(tmp_path / "locs.csv", Job({"model": NUMBERS["classical"]}, ((0, 5),)))
    now = make_reader(BEFORE / "psf.npz", config).identity
    with pytest.raises(ConfigError, match="holds the parts of another job"):
        Parts.begin(tmp_path / "locs.csv", Job({"model": now}, ((0, 5),)))


def test_a_generator_draws_what_it_drew(monkeypatch):
    small_networks(monkeypatch)
    emitters = generate_scene(jax.random.key(7), load_generator(BEFORE / "generator", CROP)).emitters
    kept = np.asarray(emitters.valid)
    np.testing.assert_allclose(np.asarray(emitters.xyz_um)[kept], NUMBERS["drawn_um"], atol=1e3 * ROUNDING)
    np.testing.assert_allclose(np.asarray(emitters.photons)[kept], NUMBERS["drawn_photons"], rtol=1e3 * ROUNDING)


def test_folders_know_whose_they_are(tmp_path):
    """A generator's and an experiment's: the same settings go on, others are refused with what differs."""
    movie = np.arange(24.0).reshape(2, 3, 4)
    shutil.copytree(BEFORE / "generator", tmp_path / "generator")
    assert fit_generator(CONFIG, movie, tmp_path / "generator", resume=True) == {"finished": "before"}
    with pytest.raises(ConfigError, match=r"other settings \(movie.sum\)"):
        fit_generator(CONFIG, movie + 1, tmp_path / "generator", resume=True)
    shutil.copytree(BEFORE / "experiment", tmp_path / "experiment")
    as_then = ["run.decoder.read_out=peaks", "run.optimiser.method=adam", "score.threshold=0.5"]  # defaults of then
    claim(load_experiment("tiny", as_then), tmp_path / "experiment", resume=True)
    with pytest.raises(ConfigError, match=r"other settings \(run.seed\)"):
        claim(load_experiment("tiny", [*as_then, "run.seed=5"]), tmp_path / "experiment", resume=True)
