"""`colocus convert`: tables and movies in, another format out, and what is said about it."""

import dataclasses

import numpy as np
import pytest
import tifffile
import zarr

from experiments import cli
from experiments.lists.convert import ConvertConfig, convert
from localization import make_localizations, open_movie, read, read_file, write
from localization.io import FORMATS
from optics.progress import Event
from training import ConfigError

FRAMES = np.random.default_rng(0).integers(0, 4000, (7, 12, 15)).astype(np.uint16)


@pytest.fixture
def table(tmp_path):
    """A ThunderSTORM table of three rows."""
    locs = make_localizations([0, 1, 4], [1, 2, 3], [3, 2, 1], [0, 0.1, 0.2], photons=900.0, background=7.0)
    write(tmp_path / "locs.csv", locs)
    return tmp_path / "locs.csv"


def test_table_by_command(table, capsys):
    """A table goes beside its input under the new format's ending; what is lost stands in the output."""
    arguments = ["convert", str(table), "--to", "picasso", "--pixel", "110", "--frame", "64x32"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"3 localizations -> {table.with_suffix('.hdf5')}") and "nothing is known of lpx" in out
    found = read_file(table.with_suffix(".hdf5"))
    assert (found.format, found.frame_px, found.pixel_um) == ("picasso", (64, 32), pytest.approx(0.11))
    np.testing.assert_allclose(found.locs.x_um, [1, 2, 3], atol=1e-6)
    assert cli.main(["convert", str(table), "--to", "challenge", "--out", str(table.parent / "truth.csv")]) == 0
    assert "holds no background: left out" in capsys.readouterr().out


def test_the_help_names_every_format(capsys, monkeypatch):
    """From the table of formats itself, one that was put there a moment ago too."""
    monkeypatch.setitem(FORMATS, "toy", dataclasses.replace(FORMATS["challenge"], name="toy"))
    with pytest.raises(SystemExit):
        cli.main(["convert", "--help"])
    words = capsys.readouterr().out.replace(",", " ").replace(";", " ").replace(".", " ").split()
    assert set(FORMATS) <= set(words) and words.index("toy") < words.index("rapidstorm")


def test_wrong_arguments_are_one_line(table, tmp_path, capsys):
    """Each mistake ends with status 2 and one line that names the remedy."""
    for more, words in (
        ([], "--out"),
        (["--to", "vutara"], "--to vutara is not one of"),
        (["--to", "picasso"], "give pixel_um (--pixel NM)"),
        (["--to", "picasso", "--pixel", "-3"], "positive number of nm"),
        (["--to", "picasso", "--pixel", "100", "--frame", "big"], "such as 256x512"),
        (["--to", "thunderstorm"], "is the input itself"),
        (["--to", "colocus", "--frames", "1:2"], "parts of a movie"),
    ):
        assert cli.main(["convert", str(table), *more]) == 2, more
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(": loading")]
        assert len(lines) == 1 and words in lines[0], lines
    assert [file.name for file in tmp_path.iterdir()] == ["locs.csv"]


def test_movie_to_zarr_and_ome(tmp_path):
    """A part of a stack to zarr and on to OME-TIFF keeps every count and the pixel size; progress is told."""
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, photometric="minisblack")
    events = []
    config = ConvertConfig(frames=(2, None), rows=(1, 9), pixel_um=0.11)
    result = convert(tmp_path / "a.tif", tmp_path / "b.zarr", config, report=events.append)
    assert (result.rows, result.what) == (5, "frames") and events[-1] == Event("frame", 5, 5)
    assert zarr.open(tmp_path / "b.zarr")["0"].shape == (5, 8, 15)
    convert(tmp_path / "b.zarr", tmp_path / "c.ome.tif", ConvertConfig(pixel_um=0.11))
    with open_movie(tmp_path / "c.ome.tif") as movie:
        np.testing.assert_array_equal(movie.read_stored(0, 5), FRAMES[2:, 1:9])
    with tifffile.TiffFile(tmp_path / "c.ome.tif") as tif:
        assert tif.is_bigtiff and 'PhysicalSizeX="0.11"' in (tif.ome_metadata or "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "b.zarr", "c.ome.tif"]


def test_movies_need_a_name_and_lie_within(tmp_path):
    """No --out, a table's format, a foreign ending, an existing store, and parts beyond the movie are refused."""
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, photometric="minisblack")
    (tmp_path / "old.zarr").mkdir()
    for out, config, words in (
        (None, ConvertConfig(), "name the file to write"),
        ("b.zarr", ConvertConfig(to="picasso"), "is a movie"),
        ("b.avi", ConvertConfig(), "as .ome.tif or .zarr"),
        ("old.zarr", ConvertConfig(), "exists"),
        ("b.zarr", ConvertConfig(frames=(3, 8)), "frames = 3:8 does not lie"),
    ):
        with pytest.raises(ConfigError, match=words):
            convert(tmp_path / "a.tif", out and tmp_path / out, config)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "old.zarr"]


def test_every_format_to_our_own_and_back(table, tmp_path):
    """Through our exact format and back to ThunderSTORM: the same bytes."""
    convert(table, tmp_path / "a.colocus.h5")
    convert(tmp_path / "a.colocus.h5", tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes() == table.read_bytes()
    assert read(tmp_path / "a.colocus.h5").frame.tolist() == [0, 1, 4]


def test_a_table_that_counts_otherwise_by_command(tmp_path, capsys):
    """--frames-from and --origin with the pixel; what is written counts as its format does."""
    (tmp_path / "in.csv").write_text("frame,x [px],y [nm]\n0,10,200\n")
    arguments = ["convert", str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.csv")]
    assert cli.main([*arguments, "--pixel", "100"]) == 2 and "--frames-from 0" in capsys.readouterr().err
    assert cli.main([*arguments, "--pixel", "100", "--frames-from", "0", "--origin", "centre"]) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("1,1,1050.0,250.0,")
