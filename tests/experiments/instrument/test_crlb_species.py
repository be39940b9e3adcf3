"""`colocus crlb --species`: its table and files against the optics, and what it refuses."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cli
from optics import make_microscope, make_psf, masks
from optics.colour.bound import bhattacharyya
from optics.colour.species import make_species, species_images, species_psfs
from optics.masks import files
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import etch

SMALL = [
    "psf.stamp_px=9", "psf.kind=scalar", "psf.pixel=centre", "depths=2", "photons=[2000]", "z_max_um=0.4",
    "microscope.na=0.9", "microscope.focus_um=0.2", 'arms=[{label="own", mask={name="astigmatism", rms_um=0.05}}]',
]  # fmt: skip


@pytest.mark.slow
def test_table_and_files_hold_the_distance_of_the_optics(tmp_path, capsys):
    """The rival that is written looks, drawn by the optics, as unlike the emitter as is written; limits follow."""
    out = tmp_path / "out"
    assert cli.main(["crlb", "--species", "580,670", *SMALL, "--out", str(out)]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "580 or 670" in printed and "own" in printed and (out / "species.png").stat().st_size > 1e3
    rows = list(csv.DictReader((out / "species.csv").read_text().splitlines()))
    assert [(row["species"], row["z_um"]) for row in rows] == [(s, z) for s in ("580", "670") for z in ("0.0", "0.4")]
    for row in rows:
        limit = 0.5 + 0.5 * np.sqrt(1 - np.exp(-2 * float(row["bhattacharyya"])))
        assert float(row["limit"]) == pytest.approx(limit, rel=1e-4)
        assert 0.5 <= float(row["gaussian"]) <= limit
    scope = make_microscope(na=0.9, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, pixel_um=0.11, focus_um=0.2)
    psf = make_psf(scope, image_px=9, kind="scalar", pixel="centre")
    plate = etch(masks.astigmatism(0.05, design_wavelength_um=0.58), fused_silica())
    own, rival = species_psfs(psf, [make_species("a", 0.58), make_species("b", 0.67)], plate, z_range_um=(0.0, 0.4))
    image = 2000 * species_images(own, [[0, 0, 0.0]])[0] + 50
    other = [2000 * light for light in species_images(rival, [[0, 0, z] for z in np.linspace(0, 0.4, 41)])]
    # over depths and light alone: no nearer than the rival over all five
    nearest = min(float(bhattacharyya(image, s * o + 50)) for o in other for s in np.linspace(0.8, 1.25, 46))
    assert 0 < float(rows[0]["bhattacharyya"]) <= nearest * 1.01
    assert float(jnp.asarray(rows[0]["bhattacharyya"], float)) > 0.2 * nearest
    assert json.loads((out / "config.json").read_text())["species"] == ["580", "670"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--species", "580"], "at least two"),
        (["--species", "580,580"], "580 is given twice"),
        (["--species", "580,purple"], "purple"),
        (["--species", "580,670", "--psf", "psf.npz"], "knows one wavelength"),
        (["--species", "580,670", "z_max_um=-1"], "z_min_um"),
        (["--species", "580,6700000"], "in nm"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, arguments, says):
    assert cli.main(["crlb", *arguments, "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and says in captured.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_wrapped_mask_on_a_mirror_is_refused(tmp_path, capsys):
    """Known modulo a wave alone, it means nothing at another wavelength; etched or on a panel it does."""
    scope = make_microscope(na=0.9, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, pixel_um=0.11)
    files.save(tmp_path / "helix.npz", masks.double_helix(2.0, scope, size=64))
    arguments = ["--species", "580,670", "material=mirror", "--mask", str(tmp_path / "helix.npz")]
    assert cli.main(["crlb", *arguments, *SMALL, "--out", str(tmp_path / "out")]) == 2
    assert "wrapped at 0.58 um" in capsys.readouterr().err
