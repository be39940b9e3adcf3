"""`colocus fabricate`: pictures and heights that read back, scores that are right at no error, and what is refused."""

import json

import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from experiments import cli
from experiments.instrument.fabricate import build_dispersion, fabricate
from experiments.instrument.fabricate_config import EtchConfig, FabricateConfig, SlmConfig
from experiments.instrument.fabricate_files import (
    read_correction_rad,
    read_height,
    read_lut_rad,
    read_picture,
    write_height,
    write_levels,
    write_picture,
)
from experiments.instrument.robustness import RobustnessConfig
from optics import masks
from optics.masks import files as mask_io
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import etch, etched_mask, regrid
from optics.masks.sampling import mask_grid, sample_mask
from training import ConfigError, MaskConfig, MicroscopeConfig, PsfConfig

OPTICS = {"na": 1.4, "magnification": 100.0, "focal_length_um": 150_000.0, "wavelength_um": 0.6}
QUICK = (
    "psf.kind=scalar",
    "psf.stamp_px=15", "psf.pupil_px=24", "psf.ring_px=6", "z_max_um=1.0", "mask.name=astigmatism", "slm.rows=600",
    "slm.columns=600", "etch.pitch_um=40", "etch.levels=8", "robustness.depths=2", "robustness.shift_percent=[5]",
    "robustness.turn_deg=[]", "robustness.magnification_percent=[]", "robustness.levels=[2,256]",
    "robustness.depth_percent=[]", "robustness.wavelength_nm=[20]", "robustness.uneven_waves=[0.05]",
    "robustness.draws=2",
)  # fmt: skip


def plate(levels=8, wrap=True):
    mask = masks.zernike([(2, 2, 0.12), (3, 1, 0.05)], design_wavelength_um=0.6, size=64)
    return etch(regrid(mask, 70, 70 / 64), fused_silica(), levels=levels, wrap=wrap, pitch_um=20.0)


@pytest.mark.parametrize("suffix", [".tif", ".csv", ".mat"])
@pytest.mark.parametrize(("levels", "wrap"), [(8, True), (None, True), (16, False)])
def test_heights_read_back_to_the_same_mask(suffix, levels, wrap, tmp_path):
    """Heights to 1e-6 um (float32, or 0.01 pm digits), pitch, wrapping and glass: at 0.6 and at 0.7 um."""
    made = plate(levels, wrap)
    path = tmp_path / f"height{suffix}"
    write_height(path, made, OPTICS)
    read = read_height(path)
    np.testing.assert_allclose(read.height_um, made.height_um, atol=1e-6)
    assert (read.wrapped, float(read.pitch_um), float(read.half_width)) == (wrap, 20.0, 70 / 64)
    if levels is not None:
        np.testing.assert_array_equal(read.level, made.level)
    for wavelength in (0.6, 0.7):
        np.testing.assert_allclose(
            etched_mask(read, wavelength).opd_um, etched_mask(made, wavelength).opd_um, atol=1e-6
        )
    assert list(tmp_path.iterdir()) == [path]


def test_the_tiff_says_its_pitch_and_the_mat_is_plain(tmp_path):
    """20 um cells are 500 a centimetre; the .mat's phase_rad loads, as any peer's mask, to the plate's mask."""
    made = plate()
    write_height(tmp_path / "h.tif", made, OPTICS)
    with tifffile.TiffFile(tmp_path / "h.tif") as file:
        tags = file.pages.first.tags
        assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == pytest.approx(500)
        assert tags["ResolutionUnit"].value == 3 and '"unit": "um"' in tags["ImageDescription"].value
        assert file.pages.first.dtype == np.float32
    write_height(tmp_path / "h.mat", made, OPTICS)
    held = scipy.io.loadmat(tmp_path / "h.mat")
    assert held["phase_rad"].shape == held["height_um"].shape == (70, 70)
    assert (held["na"].item(), held["pitch_um"].item()) == (1.4, 20.0)
    mask = mask_io.load(
        tmp_path / "h.mat", variable="phase_rad", wavelength_um=0.6, pupil_diameter_px=64.0, wrapped=True
    )
    x, y = mask_grid(50, 0.9)
    np.testing.assert_allclose(sample_mask(mask, x, y, 0.6), sample_mask(etched_mask(made), x, y, 0.6), atol=1e-9)


def test_pictures_are_kept_to_the_grey(tmp_path):
    """PNG and BMP, 8 bits without a scale; vendors' palette BMPs are read; levels go to PNG."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (30, 50), dtype=np.uint8)
    for suffix in (".png", ".bmp"):
        write_picture(tmp_path / f"p{suffix}", grey)
        np.testing.assert_array_equal(read_picture(tmp_path / f"p{suffix}"), grey)
        np.testing.assert_allclose(read_correction_rad(tmp_path / f"p{suffix}", 200.0), grey * (2 * np.pi / 200))
    with Image.fromarray(grey) as image:
        image.convert("P").save(tmp_path / "palette.bmp")
    np.testing.assert_array_equal(read_picture(tmp_path / "palette.bmp"), grey)
    write_levels(tmp_path / "levels.png", plate())
    np.testing.assert_array_equal(read_picture(tmp_path / "levels.png"), plate().level)
    np.save(tmp_path / "flat.npy", grey / 100)
    np.testing.assert_array_equal(read_correction_rad(tmp_path / "flat.npy", 1.0), grey / 100)


def test_look_up_tables_are_read_in_either_form(tmp_path):
    """256 phases, or greys in any order with their phases; commas or blanks, comments."""
    phases = np.linspace(0, 7, 256)
    (tmp_path / "one.txt").write_text("# rad\n" + "\n".join(map(str, phases)))
    np.testing.assert_allclose(read_lut_rad(tmp_path / "one.txt"), phases)
    rows = [f"{g}, {p}" for g, p in enumerate(phases)][::-1]
    (tmp_path / "two.csv").write_text("\n".join(rows))
    np.testing.assert_allclose(read_lut_rad(tmp_path / "two.csv"), phases)
    (tmp_path / "bad.csv").write_text("1,2\n3,4")
    with pytest.raises(ConfigError, match="256 rows"):
        read_lut_rad(tmp_path / "bad.csv")


@pytest.mark.slow
def test_the_command_makes_everything(tmp_path, capsys):
    """Files, table and scores; the made masks load again; no error is no loss, 256 levels nearly none, 2 much."""
    assert cli.main(["fabricate", *QUICK, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "as meant" in shown and "1 % of the pupil's radius is 21.8 um" in shown
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "config.json", "fabricate.json", "slm.png", "slm.bmp", "slm_mask.npz", "height.tif", "height_nm.csv",
        "height.mat", "levels.png", "etched_mask.npz", "robustness.csv", "robustness.png", "robustness.json",
    }  # fmt: skip
    facts = json.loads((tmp_path / "fabricate.json").read_text())
    assert facts["slm"]["pupil_diameter_px"] == pytest.approx(543.8, abs=0.1)
    assert facts["slm"]["strehl"] > 0.9999 and facts["etch"]["strehl"] == pytest.approx(np.sinc(1 / 8) ** 2, abs=0.02)
    np.testing.assert_array_equal(read_picture(tmp_path / "slm.png"), read_picture(tmp_path / "slm.bmp"))
    for name in ("slm_mask.npz", "etched_mask.npz"):
        assert masks.load(tmp_path / name).wrapped
    rows = {(row["error"], row["size"]): row for row in json.loads((tmp_path / "robustness.json").read_text())["rows"]}
    assert rows["as meant", 0.0]["loss"] == 0 and rows["as meant", 0.0]["correlation"] == pytest.approx(1)
    assert abs(rows["levels", 256]["loss"]) < 0.005 and rows["levels", 256]["strehl"] > 0.999
    assert rows["levels", 2]["correlation"] < 0.95 and rows["levels", 2]["strehl"] < 0.6
    # a symmetric mask does not know which way it was moved
    assert rows["shift x", 5.0]["mean_bound_um"] == pytest.approx(rows["shift x", -5.0]["mean_bound_um"], rel=1e-3)
    assert ("uneven", 0.05) in rows and len(rows) == 1 + 4 + 2 + 2 + 1


def test_one_device_alone(tmp_path):
    """`make` takes what is asked for; a mask from a file keeps its path when the wavelength is another."""
    masks.save(tmp_path / "mask.npz", masks.astigmatism(0.07, design_wavelength_um=0.5, size=64))
    config = FabricateConfig(
        microscope=MicroscopeConfig(focus_um=0.5),
        psf=PsfConfig(stamp_px=15),
        mask=MaskConfig("file", path=str(tmp_path / "mask.npz")),
        make=("etch",),
        etch=EtchConfig(pitch_um=50.0, levels=0, wrap=False),
    )
    made = fabricate(config)
    assert made.picture is None and made.rows == [] and made.etched is not None
    assert float(made.meant.design_wavelength_um) == pytest.approx(0.58)
    assert made.facts["etch"]["levels"] is None and made.facts["etch"]["strehl"] > 0.9999


def test_a_glass_from_a_table(tmp_path):
    """Wavelength in um and index in two columns."""
    (tmp_path / "glass.csv").write_text("0.5,1.46\n0.7,1.45\n")
    glass = build_dispersion(EtchConfig(material=str(tmp_path / "glass.csv")))
    assert glass.kind == "table" and float(glass.numbers[1, 0]) == pytest.approx(1.46)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: FabricateConfig(make=()), "make must name"),
        (lambda p: FabricateConfig(z_min_um=2.0, z_max_um=1.0), "must not exceed"),
        (lambda p: RobustnessConfig(levels=(1,)), "at least 2"),
        (lambda p: RobustnessConfig(depths=0), "at least 1"),
        (lambda p: read_picture(p / "none.png"), "no such file"),
        (lambda p: read_picture(p / "text.png"), "not a picture"),
        (lambda p: read_picture(p / "colour.png"), "colour picture"),
        (lambda p: read_height(p / "none.tif"), "no such file"),
        (lambda p: read_height(p / "text.csv"), "not a height map"),
        (lambda p: read_height(p / "text.png"), "heights are"),
        (lambda p: write_height(p / "h.txt", plate(), OPTICS), "heights are"),
        (lambda p: write_levels(p / "l.png", plate(None)), "not quantised"),
        (lambda p: build_dispersion(EtchConfig(material="quartz")), "quartz: no such file"),
        (lambda p: fabricate(FabricateConfig(make=("etch",), etch=EtchConfig(pitch_um=1000))), "use finer ones"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message, tmp_path):
    """Each in one line."""
    for name in ("text.png", "text.csv"):
        (tmp_path / name).write_text("hello")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(ConfigError, match=message):
        call(tmp_path)


def test_two_settings_files_are_refused(tmp_path, capsys):
    """And an output that is a file."""
    (tmp_path / "file").write_text("")
    for arguments, message in (
        (["a.toml", "b.toml"], "one settings file"),
        (["--out", str(tmp_path / "file")], "is a file"),
    ):
        assert cli.main(["fabricate", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_greys_that_fall_show_the_same_phase(tmp_path, capsys):
    """slmsuite 0.5 takes a grey g as the phase (255 - g) / 256 of a turn: by that rule the picture is the mask."""
    arguments = ["fabricate", "--out", str(tmp_path), *QUICK, 'make=["slm"]']
    assert cli.main([*arguments, "--for", "slmsuite"]) == 0
    note = capsys.readouterr().out
    assert "assumed that the panel is not mirrored left to right" in note and "rises with the grey" not in note
    picture = read_picture(tmp_path / "slm.png")
    phase = 2 * np.pi * (255 - picture) / 256
    rising = fabricate(settings({"make": ("slm",)}, grey_per_2pi=256.0, grey_falls=False)).picture
    assert rising is not None and rising.max() > 100
    # half a grey either way: the falling picture is 255 less the rising one, where rounding does not tie
    away = np.angle(np.exp(1j * (phase - 2 * np.pi * rising / 256.0)))
    assert np.abs(away).max() < 2 * np.pi / 256 + 1e-9 and np.abs(away).mean() < 1e-3
    numbers = json.loads((tmp_path / "fabricate.json").read_text())["slm"]
    assert numbers["grey_falls"] and numbers["assumed"] == ["flip_x", "flip_y"]
    assert numbers["strehl"] > 0.999


def test_what_is_assumed_of_a_panel_is_told(tmp_path, capsys):
    """Nothing said: rising, not mirrored, with how to find out; all said: no note. A contradiction is refused."""
    arguments = ["fabricate", "--out", str(tmp_path), *QUICK, 'make=["slm"]']
    assert cli.main(arguments) == 0
    assert "slm.grey_falls=false slm.flip_x=false slm.flip_y=false, or true" in capsys.readouterr().out
    assert cli.main([*arguments, "slm.grey_falls=false", "slm.flip_x=true", "slm.flip_y=false"]) == 0
    assert "note:" not in capsys.readouterr().out
    assert cli.main([*arguments, "slm.grey_falls=false", "--for", "slmsuite"]) == 2
    assert "slm.grey_falls = False contradicts --for slmsuite" in capsys.readouterr().err
    assert cli.main([*arguments, "--for", "other"]) == 2
    assert "there are slmsuite" in capsys.readouterr().err


def settings(changes, **panel):
    """The quick settings with a panel of their own."""
    return FabricateConfig(
        mask=MaskConfig(name="astigmatism"), slm=SlmConfig(rows=600, columns=600, **panel), z_max_um=1.0, **changes
    )
