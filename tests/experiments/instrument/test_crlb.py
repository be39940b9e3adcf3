"""`colocus crlb`: its table, files and figure, and what it refuses."""

import csv
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cli
from experiments.instrument import crlb
from experiments.instrument.crlb_config import CrlbConfig
from optics import crlb_std_um, make_microscope, make_psf, masks
from optics.masks import files as mask_io
from optics.progress import Event
from optics.psf_io import save_psf
from optics.whole_file import leftovers
from training import ConfigError, MaskConfig, from_dict
from training.instrument import build_psf

SMALL = [
    "psf.stamp_px=11", "psf.pupil_px=12", "psf.ring_px=3", "depths=3", "neighbours.scenes=2", "neighbours.count=2",
    "neighbours.depths=1", "neighbours.densities_per_um2=[0.0, 5.0]",
    'arms=[{label="own", mask={name="astigmatism"}}]',
]  # fmt: skip


def run(tmp_path, capsys, *extra):
    out = tmp_path / "out"
    status = cli.main(["crlb", *SMALL, *extra, "--out", str(out)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err, out


@pytest.mark.slow
def test_table_files_and_figure(tmp_path, capsys):
    """Two masks, one from a file: the numbers printed and written are those of optics; the figure is there."""
    path = tmp_path / "mine.npz"
    mask_io.save(path, masks.astigmatism(0.09, design_wavelength_um=0.58))
    status, printed, error, out = run(tmp_path, capsys, "--mask", str(path))
    assert status == 0, error
    rows = list(csv.DictReader((out / "crlb.csv").read_text().splitlines()))
    assert [(row["mask"], row["z_um"]) for row in rows] == [
        (m, z) for m in ("own", "mine") for z in ("0.3", "1.8", "3.3")
    ]
    config = from_dict(CrlbConfig, json.loads((out / "config.json").read_text()))
    assert [arm.label for arm in config.arms] == ["own", "mine"]
    psf = build_psf(config.microscope, config.psf, MaskConfig("astigmatism"), (config.z_min_um, config.z_max_um))
    expected = 1e3 * np.asarray(crlb_std_um(psf, jnp.array([0.0, 0.0, 1.8]), config.photons, config.background))
    written = [float(rows[1][f"sigma_{axis}_nm"]) for axis in "xyz"]
    np.testing.assert_allclose(written, expected, rtol=1e-4)
    assert all(f"{value:.1f}" in printed for value in written)
    arms = json.loads((out / "crlb.json").read_text())["arms"]
    for arm in arms:
        marginal, conditional = np.array(arm["marginal"]), np.array(arm["conditional"])
        assert (marginal >= conditional * (1 - 1e-6)).all()
        effective = np.array(arm["effective_nm"])
        assert effective.shape == (2, 3) and (effective[1] > effective[0]).all()
        assert (np.array(arm["informative_nm"]) <= effective * (1 + 1e-6)).all()
        assert (effective <= np.array(arm["mean_nm"]) * (1 + 1e-6)).all()
    density = list(csv.DictReader((out / "neighbours.csv").read_text().splitlines()))
    assert [row["density_per_um2"] for row in density] == ["0.0", "5.0"] * 2
    assert (out / "crlb.png").read_bytes().endswith(b"IEND\xaeB`\x82")
    assert not list(leftovers(out))


def test_a_calibrated_psf_brings_its_own_microscope(tmp_path, capsys, monkeypatch):
    """--psf FILE takes the place of the default masks, sampled for the depths, in matched media also above z = 0."""
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    psf = make_psf(scope, image_px=9, zernike_um=[0, 0, 0, 0, 0, 0.05], pupil_px=8)
    save_psf(tmp_path / "scope1.npz", psf)
    seen = []

    def none_computed(config, report):
        seen.append(config)
        return SimpleNamespace(lines=list, write=lambda out: [out])

    monkeypatch.setattr(crlb, "crlb", none_computed)
    command = ["crlb", "z_min_um=-0.3", "z_max_um=0.3", "--psf", str(tmp_path / "scope1.npz"), "--out", str(tmp_path)]
    assert cli.main(command) == 0
    (arm,) = seen[0].arms
    assert arm.label == "scope1"
    loaded = crlb.arm_psf(seen[0], arm)
    np.testing.assert_array_equal(loaded.zernike_um, psf.zernike_um)
    assert loaded.microscope == psf.microscope
    assert loaded.pupil_px == make_psf(scope, image_px=9, z_range_um=(-0.3, 0.3)).pupil_px > psf.pupil_px
    monkeypatch.undo()
    capsys.readouterr()
    assert cli.main([part.replace("scope1", "none") for part in command]) == 2
    assert "no such file" in capsys.readouterr().err


def test_an_angle_of_a_fixed_dipole_on_two_paths():
    """Further parameters have columns of their own; without neighbours there is no such table."""
    settings = {
        "psf": {"stamp_px": 9, "pupil_px": 12, "ring_px": 3},
        "arms": [{"label": "clear"}],
        "depths": 2,
        "detection": "polarised",
        "dipole": "fixed",
        "unknown": ["polar"],
    }
    seen = []
    found = crlb.crlb(from_dict(CrlbConfig, settings), seen.append)
    (result,) = found.arms
    assert result.columns == ("x_nm", "y_nm", "z_nm", "photons", "background", "polar_deg")
    assert result.marginal.shape == (2, 6) and np.isfinite(result.marginal).all()
    lines = found.lines()
    assert "polar (deg)" in lines[2] and not any("neighbours" in line for line in lines)
    assert seen == [Event("clear, bounds through depth:", 0, 1)]


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("detection=biplane", "set neighbours.densities_per_um2=[]"),
        ("photons=0.0", "photons = 0.0 must be positive"),
        ("z_min_um=-1.0", "lies above the coverslip"),
        ("z_max_um=3300.0", "looks like nanometres"),
        ("depths=1", "depths = 1 must be at least 2"),
        ("photon=3", "did you mean 'photons'"),
        ("neighbours.scenes=0", "neighbours.scenes = 0 must be at least 1"),
        ("arms=[]", "must be masks with different labels"),
        ("arms=[{}]", "every mask needs a label"),
        ("missing.toml", "is neither a file nor a preset"),
        ("psf.kind=scalar detection=x", "set psf.kind='vectorial'"),
    ],
)
def test_settings_that_cannot_be_computed(tmp_path, capsys, assignment, message):
    """One line that names the setting, and nothing written."""
    status, printed, error, out = run(tmp_path, capsys, *assignment.split())
    assert (status, printed) == (2, "") and message in error
    assert not out.exists()


def test_a_file_in_the_way(tmp_path, capsys):
    """--out that is a file is refused before anything is computed, as are two settings files."""
    (tmp_path / "out").write_text("mine")
    assert "is a file; name a folder" in run(tmp_path, capsys)[2]
    assert "one settings file at a time" in run(tmp_path, capsys, "a.toml", "b.toml")[2]


def test_an_angle_without_a_dipole_is_refused():
    """unknown=['polar'] needs dipole='fixed'."""
    with pytest.raises(ConfigError, match="unknown = .*dipole='fixed'"):
        from_dict(CrlbConfig, {"unknown": ["polar"]})
