"""A comparison of several species: who was taken for whom, counted and drawn; what cannot be run is one line."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cli
from experiments.compare.config import arm_run, load_experiment
from experiments.compare.confusions import draw_confusion, species_lines, species_table
from experiments.compare.scoring import GATES, HEADLINE, joint_readers, make_reading
from experiments.compare.species import confusion, std_um, summarised, told
from localization import make_localizations
from localization.io import read
from optics import crlb_std_um, make_microscope, make_psf, masks, replace
from optics.colour.species import make_species, species_psfs
from optics.masks import files as mask_io
from training import build, emitters_to_localizations, load_run
from training.evaluate import scored_frames

SMALL = (
    *("run.psf.stamp_px=11", "run.psf.kind=scalar", "run.psf.pixel=centre", "run.microscope.na=1.0"),
    *("run.scene.frame_px=16", "run.scene.count_max=2", "run.decoder.dilations=[1,2]", "learn.n_modes=6"),
    *("run.optimiser.steps=60", "score.frames=2", "score.single_frames=2", "score.counts=[1]"),
    *("score.pair_photons=[]", "score.pair_background=[]", "score.pair_count=1", "score.threshold=0.001"),
)


def test_pairs_inside_the_gate_are_counted_by_species():
    """Four true emitters: one read rightly, one as the other species, one too far off, one not found."""
    truth = make_localizations([0, 0, 1, 1], [1, 3, 1, 3], [1, 1, 1, 1], [0, 0, 0, 0], channel=[0, 1, 1, 0])
    found = make_localizations([0, 0, 1], [1.05, 3.05, 1.6], [1, 1, 1], [0, 0, 0], channel=[0, 0, 1])
    assert confusion(found, truth, 2, GATES[HEADLINE]) == [[1, 0], [1, 0]]


def cells(counts):
    cell = {"name": "count 1", "count": 1, "photons": [1000.0, 1000.0], "confusion": counts}
    return cell | summarised([cell, cell])


def test_seeds_add_up_and_the_interval_is_wilsons():
    """46 of 50, twice: 92 of 100, whose Wilson interval is (0.850, 0.959) by its formula."""
    summed = cells([[24, 1], [3, 22]])
    assert summed["confusion"] == [[48, 2], [6, 44]]
    n, p, z = 100, 0.92, 1.959964
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    np.testing.assert_allclose([summed["species"][key] for key in ("estimate", "low", "high")], [p, low, high])
    assert told(np.zeros((2, 2), int))["estimate"] is None
    assert summarised([{"name": "of one colour"}]) == {}


def test_the_figure_shows_shares_of_each_species():
    """Rows are what an emitter is; a species of which none was found has no number."""
    arms = [{"label": "plate", "reading": "decoder", "cells": [cells([[9, 1], [0, 0]])]}]
    summary = {"arms": arms, "readings": ["decoder"]}
    (axes,) = draw_confusion(summary, ("580", "670")).axes
    assert [text.get_text() for text in axes.texts] == ["90", "10", "–", "–"]
    assert "90.0 % (" in species_lines(summary)[-1] and "90.0 % (" in species_table(summary)
    plain = {"arms": [{"label": "a", "reading": "decoder", "cells": [{"name": "count 1"}]}], "readings": ["decoder"]}
    assert species_lines(plain) == [] and species_table(plain) == ""


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["codesign", "tiny", "--species", "580,580"], "580 is given twice"),
        (["compare", "tiny", "--species", "580,670"], "mask 'tetrapod': what it does to species"),
        (["codesign", "tiny", "--species", "580,purple"], "species 'purple' is none of"),
    ],
)
def test_what_cannot_be_run_is_one_line(arguments, said, tmp_path, capsys):
    assert cli.main([*arguments, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("colocus: error: ") and said in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_species_of_one_line_has_the_bound_of_its_psf():
    """On a mirror a species is the microscope at its wavelength: `crlb_std_um` there."""
    scopes = [
        make_microscope(na=1.0, n_immersion=1.33, n_sample=1.33, wavelength_um=w, pixel_um=0.1) for w in (0.6, 0.7)
    ]
    mask = masks.astigmatism(0.08, design_wavelength_um=0.6, size=32)
    size = {"image_px": 11, "pupil_px": 24, "kind": "scalar", "pixel": "centre"}
    (red,) = species_psfs(make_psf(scopes[0], **size), [make_species("red", 0.7)], mask)
    plain = replace(make_psf(scopes[1], **size), mask=replace(mask, design_wavelength_um=jnp.asarray(0.7)))
    at = jnp.array([0.02, -0.03, 0.2])
    expected = jax.jit(crlb_std_um)(plain, at, 1000.0, 10.0)
    np.testing.assert_allclose(jax.jit(std_um)(red, at, 1000.0, 10.0), expected, rtol=1e-6)


@pytest.mark.slow
def test_joint_fits_of_a_comparison_take_the_images_of_every_species():
    """Bright, alone, and 150 nm apart in colour: all emitters of six frames are found, each as what it is."""
    text = ["run.species=['550','700']", "run.material=silica", *SMALL, "score.read=['joint']"]
    config = load_experiment("tiny", text)
    parts = build(arm_run(config, config.arms[0], 0))
    read_frames, _ = make_reading("joint", parts, None, None, joint_readers(parts, None, config))
    frames = scored_frames(parts, None, dataclasses.replace(config.run.scene, count_min=1, count_max=1), 8, 6)
    truth = emitters_to_localizations(frames.emitters)
    counts = np.array(confusion(read_frames(frames), truth, 2, GATES[HEADLINE]))
    assert np.trace(counts) == counts.sum() == 6 and set(truth.channel.tolist()) == {0, 1}


@pytest.mark.slow
def test_a_plate_for_two_colours_is_learned_from_the_command_line(tmp_path, capsys):
    """`codesign --species`: the learned plate, scores with the confusion, and a list that names the species."""
    out = tmp_path / "run"
    assert cli.main(["codesign", "tiny", "--species", "550,700", *SMALL, "--out", str(out)]) == 0
    assert "species read rightly" in capsys.readouterr().out
    (cell,) = json.loads((out / "metrics.json").read_text())["arms"][0]["cells"]
    assert np.sum(cell["confusion"]) == cell["species"]["pairs"]
    assert (out / "figures" / "confusion.png").exists() and "Who is taken for whom" in (out / "report.html").read_text()
    run, state = load_run(out / "arms" / "learned-seed0")
    assert run.species == ("550", "700") and state.variables["params"]["out"]["kernel"].shape[-1] == 12
    assert mask_io.load(out / "mask.npz").opd_um.shape[0] > 1
    movie, locs = tmp_path / "movie.npy", tmp_path / "locs.csv"
    spot = 9000 * np.exp(-((np.arange(16) - 8) ** 2) / 4)
    np.save(movie, np.random.default_rng(0).poisson(50 + spot[:, None] * spot / 9000, (2, 16, 16)).astype(np.uint16))
    arguments = ["localize", str(movie), "--model", str(out / "arms" / "learned-seed0"), "--threshold", "0.001"]
    assert cli.main([*arguments, "--out", str(locs)]) == 0
    found = read(locs)
    assert found.frame.size and set(found.channel.tolist()) <= {0, 1}
    assert 0.5 <= found.extras["p_channel"].min() <= found.extras["p_channel"].max() <= 1
    assert cli.main([*arguments, "--method", "joint", "--out", str(tmp_path / "joint.csv")]) == 2
    assert "read it by --method decoder" in capsys.readouterr().err
    one = ["--method", "decoder+joint", "--psf", str(tmp_path / "one.npz")]
    assert cli.main([*arguments, *one, "--out", str(tmp_path / "both.csv")]) == 2
    assert "tells 2 species apart" in capsys.readouterr().err
