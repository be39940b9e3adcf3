"""`colocus render` and `colocus resolution`: files as other programs read them, tables, and what is refused."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from experiments import cli
from experiments.lists.render import RenderConfig, brightness, depth_colours, nice_length_um, render
from localization import make_localizations, read, to_image, write


@pytest.fixture(scope="module")
def locs(tmp_path_factory):
    """Two crossing wires, 20 nm wide, one at z = 0.2 um and one at 0.8; each molecule seen in two frames."""
    rng = np.random.default_rng(0)
    n = 4000
    along, aside = rng.uniform(0, 3, n), np.where(np.arange(n) % 2, 1.0, 2.0)
    x, y = np.where(np.arange(n) % 2, along, aside), np.where(np.arange(n) % 2, aside, along)
    z = np.where(np.arange(n) % 2, 0.2, 0.8)
    table = make_localizations(
        np.repeat([0, 1], n), np.tile(x, 2) + rng.normal(0, 0.01, 2 * n), np.tile(y, 2) + rng.normal(0, 0.01, 2 * n),
        np.tile(z, 2), sigma_x_um=0.01, sigma_y_um=0.01,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("locs") / "locs.csv"
    write(path, table)
    return path


def colocus(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("mode", ["histogram", "gaussian"])
def test_a_tiff_holds_the_numbers_and_their_scale(locs, tmp_path, capsys, mode):
    """float32 as `to_image` gives it, with the resolution and unit that ImageJ reads."""
    out = tmp_path / "picture.tif"
    assert colocus("render", locs, "--out", out, "--pixel", 20, "--mode", mode, "--region", "0,3,0,3") == 0
    assert "150 x 150 pixels of 20 nm" in capsys.readouterr().out
    expected = to_image(read(locs), 0.02, mode=mode, region_um=((0, 3), (0, 3)))
    with tifffile.TiffFile(out) as file:
        page = file.pages[0]
        assert file.is_imagej and np.array_equal(page.asarray(), expected)
        assert file.imagej_metadata["unit"] == "um"
        numerator, denominator = page.tags["XResolution"].value
        assert denominator / numerator == pytest.approx(0.02, rel=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.tif"]


def test_depth_in_a_tiff_and_in_colour(locs, tmp_path):
    """The TIFF's second channel is the mean z; in the PNG the two wires have the two ends' colours."""
    assert colocus("render", locs, "--out", tmp_path / "d.tif", "--depth", "--pixel", 20, "--region", "0,3,0,3") == 0
    stack = tifffile.imread(tmp_path / "d.tif")
    assert stack.shape == (2, 150, 150)
    lit = stack[0] > 0
    assert np.isnan(stack[1][~lit]).all()
    assert stack[1][50, 10:40][lit[50, 10:40]] == pytest.approx(0.2, abs=1e-4)
    assert stack[1][10:40, 100][lit[10:40, 100]] == pytest.approx(0.8, abs=1e-4)
    assert colocus("render", locs, "--out", tmp_path / "d.png", "--depth", "--pixel", 20, "--region", "0,3,0,3") == 0
    picture = np.asarray(Image.open(tmp_path / "d.png")).astype(float)
    scale = 4  # a small picture is enlarged
    assert picture.shape[0] > 150 * scale and picture.shape[1] > 150 * scale
    near, far = (picture[area].sum(axis=(0, 1)) for area in (np.s_[196:208, 40:160], np.s_[40:160, 396:408]))
    ends = depth_colours(np.array([0.0, 1.0]))
    for colour, end in ((near, ends[0]), (far, ends[1])):
        assert colour / colour.max() == pytest.approx(end / end.max(), abs=0.05)


def test_channels_have_a_colour_each_and_a_page_of_the_tiff(tmp_path, capsys):
    """Two crossing wires of two species: each in its colour, both where they cross; the pages sum to the rows."""
    along = np.linspace(0.05, 2.95, 300)
    channel = np.repeat([0, 1], 300)
    x, y = np.concatenate([along, np.full(300, 1.01)]), np.concatenate([np.full(300, 2.01), along])
    table = make_localizations(0 * channel, x, y, 0 * x, channel=channel)
    write(tmp_path / "two.csv", table)
    given = ["--channels", "--pixel", 20, "--region", "0,3,0,3", "--out"]
    assert colocus("render", tmp_path / "two.csv", *given, tmp_path / "c.tif") == 0
    assert "channels: 300 in 0, 300 in 1" in capsys.readouterr().out
    pages = tifffile.imread(tmp_path / "c.tif")
    assert pages.shape == (2, 150, 150) and pages.sum(axis=(1, 2)).tolist() == [300, 300]
    assert colocus("render", tmp_path / "two.csv", *given, tmp_path / "c.png") == 0
    picture = np.asarray(Image.open(tmp_path / "c.png"))[:600, :600].astype(
        int
    )  # a small picture is enlarged four times
    one, other, both = picture[402, 100], picture[100, 202], picture[402, 202]
    # orange and sky blue
    assert one / one.max() == pytest.approx([1, 0.69, 0], abs=0.01)
    assert other / other.max() == pytest.approx([0.37, 0.77, 1], abs=0.01)
    assert (both >= np.maximum(one, other)).all() and not picture[100, 100].any()
    assert colocus("render", tmp_path / "two.csv", *given, tmp_path / "d.png", "--depth") == 2
    assert "depth and channels are both drawn as colours" in capsys.readouterr().err


def test_brightness_bars_and_empty_pictures(tmp_path):
    """The quantile is drawn white, bars have round lengths, an empty table is a black picture."""
    image = np.linspace(0, 100, 10_001, dtype=np.float32).reshape(73, 137)
    light = brightness(image, 0.9, 1.0)
    assert light.max() == 1 and np.mean(light == 1) == pytest.approx(0.1, abs=0.01)
    assert [nice_length_um(value) for value in (0.99, 1.0, 4.9, 73.0)] == pytest.approx([0.5, 1.0, 2.0, 50.0])
    none = make_localizations([], [], [], [])
    picture = render(none, RenderConfig(depth=True))
    picture.write(tmp_path / "none.png")
    assert picture.lines()[1] == "0 of 0 localizations in the picture"
    assert np.asarray(Image.open(tmp_path / "none.png"))[:400, :400].max() == 0


def test_resolution_and_profile_are_printed_drawn_and_written(locs, tmp_path, capsys):
    """The wire's width, the ring correlation's value, all files; a line's ends as numbers."""
    out = tmp_path / "resolution"
    line = ["--profile", "0.5,0.9:0.5,1.1", "--width", 800, "--bin", 4]
    assert colocus("resolution", locs, "--out", out, "--pixel", 10, "--split", "random", *line) == 0
    shown = capsys.readouterr().out
    assert "resolution " in shown and "nm +-" in shown and "link" in shown
    numbers = json.loads((out / "resolution.json").read_text())
    assert 20 < numbers["resolution_nm"] < 120 and numbers["reason"] == ""
    assert numbers["profile"]["fwhm_nm"] == pytest.approx(23.5, rel=0.1)
    assert numbers["profile"]["separation_nm"] is None
    names = {path.name for path in out.iterdir()}
    assert names == {"config.json", "resolution.json", "resolution.png", "frc.csv", "decorrelation.csv", "profile.csv"}
    assert (out / "profile.csv").read_text().startswith("position [nm],localizations,fitted\n2,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["render", "--out", "a.jpg"], "unknown kind of picture"),
        (["render", "--out", "a.tif", "--pixel", "0.001"], "take larger pixels or a smaller region"),
        (["render", "--out", "a.tif", "--region", "0,3"], "--region is '0,3'; give 4 numbers"),
        (["render", "--out", "a.png", "--gamma", "0"], "gamma 0"),
        (["render", "--out", "a.png", "--depth", "--z", "5,6,7"], "--z is"),
        (["resolution", "--profile", "1,2"], "--profile is"),
        (["resolution", "--out", "a"], "2 frames make one block"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(locs, tmp_path, monkeypatch, capsys, arguments, message):
    """Exit status 2, a line that says what, and no file."""
    monkeypatch.chdir(tmp_path)
    if message.startswith("2 frames"):
        arguments = [*arguments, "--block-frames", "2"]
    assert colocus(arguments[0], locs, *arguments[1:]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(": loading")]
    assert len(lines) == 1 and message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_gaussians_of_a_list_without_uncertainty_are_refused_by_name_of_the_option(tmp_path, capsys):
    """No warning about empty medians before it, and the option that helps is the command's own."""
    write(tmp_path / "locs.csv", make_localizations([0, 1], [1.0, 2.0], [1.0, 2.0], [0.0, 0.0]))
    assert colocus("render", tmp_path / "locs.csv", "--out", tmp_path / "a.png", "--mode", "gaussian") == 2
    assert "--sigma NM" in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
