"""`colocus design` from the command line: a tiny design, what it leaves, what it refuses."""

import json

import numpy as np
import pytest

from experiments import cli
from experiments.compare.config import load_experiment
from experiments.instrument.design import targets
from experiments.instrument.design_config import DesignConfig
from experiments.progress import Display
from experiments.settings import load_settings
from optics.masks import files as mask_io
from optics.masks.shipped import shipped_record
from training import MaskConfig, MicroscopeConfig, to_dict
from training.instrument import build_mask, build_microscope

TINY = [
    "microscope.na=1.2", "microscope.n_immersion=1.33", "microscope.focus_um=0.5", "psf.stamp_px=11",
    "psf.pixel=centre", "z_max_um=1.0", "depths=3", "n_modes=10", "starts=1", "screening=2", "iterations=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("design") / "run"
    assert cli.main(["design", *TINY, "max_range_um=0.5", "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_a_design_writes_its_folder(run):
    """Mask, settings, numbers, table and figure; nothing half-written."""
    names = {"bounds.csv", "config.json", "design.json", "design.png", "mask.mat", "mask.npz"}
    assert {path.name for path in run.iterdir()} == names
    numbers = json.loads((run / "design.json").read_text())
    assert numbers["finished"] and numbers["mask"]["path_range_um"] <= 0.5
    labels = [mask["label"] for mask in numbers["masks"]]
    assert labels == ["designed", "flat", "astigmatism", "tetrapod", "double helix"]
    ours = numbers["masks"][0]
    np.testing.assert_allclose(np.mean(ours["bounds_nm"], axis=0), list(ours["mean_nm"].values()), rtol=1e-4)
    assert all(0 < mask["crosstalk_um2"] < 10 for mask in numbers["masks"])
    assert (run / "bounds.csv").read_text().splitlines()[0] == "mask,z_um,sigma_x_nm,sigma_y_nm,sigma_z_nm"
    assert len((run / "bounds.csv").read_text().splitlines()) == 1 + 5 * 41
    assert (run / "design.png").stat().st_size > 20_000


@pytest.mark.slow
def test_the_mask_is_one_for_other_commands(run):
    """`mask = { name = "file", path = ... }` needs the path alone, and both files hold the same."""
    scope = build_microscope(MicroscopeConfig())
    built = build_mask(MaskConfig("file", path=str(run / "mask.npz")), scope)
    np.testing.assert_array_equal(built.opd_um, mask_io.load(run / "mask.mat").opd_um)


@pytest.mark.slow
def test_a_folder_in_use_is_left_alone(run, capsys):
    before = (run / "design.json").read_bytes()
    assert cli.main(["design", *TINY, "--out", str(run)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert (run / "design.json").read_bytes() == before


def test_ctrl_c_keeps_the_best_mask(tmp_path, capsys, monkeypatch):
    """Status 130, the mask and the settings written, no scores."""

    def show(self, event):
        if event.done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Display, "__call__", show)
    assert cli.main(["design", *TINY, "max_range_um=0.5", "--out", str(tmp_path / "run")]) == 130
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "mask.mat", "mask.npz"}
    assert "interrupted; the best mask so far" in capsys.readouterr().err


def test_the_preset_compares_designs_made_for_its_optics():
    """Both shipped designs build for the preset's microscope, and their depths and focus are the preset's."""
    config = load_experiment("designed")
    assert [arm.label for arm in config.arms] == ["learned", "fisher", "density-aware", "tetrapod"]
    run, scope = config.run, build_microscope(config.run.microscope)
    for arm in config.arms[1:3]:
        assert build_mask(arm.mask, scope).opd_um.shape == (128, 128)
        settings = shipped_record(arm.mask.design)["numbers"]["settings"]
        assert settings["microscope"] == to_dict(run.microscope) and not settings["free_focus"]
        assert (settings["z_min_um"], settings["z_max_um"]) == (run.scene.z_min_um, run.scene.z_max_um)
        assert run.scene.photons_min < settings["photons"] < run.scene.photons_max


@pytest.mark.slow
def test_the_preset_runs_in_small(tmp_path):
    """Every arm of the comparison, with a decoder and scenes that take seconds."""
    small = [
        "run.psf.stamp_px=15", "run.psf.pupil_px=16", "run.scene.frame_px=24", "run.scene.count_max=3",
        "run.decoder.channels=8", "run.decoder.head_channels=8", "run.decoder.dilations=[1, 2, 4]",
        "run.optimiser.steps=4", "run.optimiser.batch=4", "score.counts=[1]", "score.pair_photons=[]",
        "score.pair_background=[]", "score.pair_count=1", "score.frames=4", "score.single_frames=8",
    ]  # fmt: skip
    assert cli.main(["compare", "designed", *small, "--out", str(tmp_path / "run")]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    # each arm once for each way of reading it
    labels = [arm["label"] for arm in metrics["arms"]]
    assert labels == [label for label in ("learned", "fisher", "density-aware", "tetrapod") for _ in range(3)]


def test_depths_follow_the_range_and_neighbours_the_density():
    """One depth in 0.35 um unless said otherwise; a density adds a target with neighbours."""
    config = load_settings(DesignConfig, None, ["z_max_um=3.5"])
    alone, among = targets(config)
    assert alone.z_um.shape == (11,) and among is None
    _, among = targets(load_settings(DesignConfig, None, ["density_per_um2=0.5", "photons_max=9000.0"]))
    assert among is not None and among.neighbours is not None
    assert among.neighbours.photons_range == (0.0, 9000.0)


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("z_min_um=5.0", "z_min_um = 5.0 must be below z_max_um = 4"),
        ("z_min_um=-1.0", "lies above the coverslip"),
        ("z_max_um=4000.0", "looks like nanometres"),
        ("photons=0.0", "photons = 0 must be positive"),
        ("density_per_um2=-1.0", "density_per_um2 = -1.0 must not be negative"),
        ("starts=0", "starts = 0 must be at least 1"),
        ("max_step_um=-0.1", "limits.step_um = -0.1 must be positive"),
        ("psf.pupil_px=20", "psf.pupil_px and psf.ring_px are chosen by a design"),
        ("over_depths=best", "over_depths = 'best' must be one of"),
        ("iteration=5", "did you mean 'iterations'?"),
        ('start_masks=[{name="file", path="none.npz"}]', "none.npz: no such file"),
    ],
)
def test_settings_that_make_no_design(assignment, message, tmp_path, capsys):
    assert cli.main(["design", assignment, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("colocus: error: ") and message in error[-1]
    assert not (tmp_path / "run").exists()
