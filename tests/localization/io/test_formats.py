"""Every table format: round trip, its own units, axes, origin and frame base, and what it cannot hold."""

import dataclasses
import json
import re
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from localization import LocalizationError, TableWriter, make_localizations, read, read_file, select, to_frame, write
from localization.io import FORMATS, SUFFIXES, WRITABLE, formats, text

PIXEL_UM = 0.11
HOLDS_NOT = {  # what a format cannot hold, by its own definition (docs/formats.md)
    "challenge": ("background", "sigma_x_um", "sigma_y_um", "sigma_z_um", "score", "channel"),
    "deepstorm3d": ("photons", "background", "sigma_x_um", "sigma_y_um", "sigma_z_um", "channel"),
    "decode": ("channel",),
    "decode-csv": ("channel",),
    "comet": ("photons", "background", "sigma_x_um", "sigma_y_um", "sigma_z_um", "score", "channel"),
}


def table(n=300, seed=0, channels=3):
    rng = np.random.default_rng(seed)
    return make_localizations(
        np.sort(rng.integers(0, 50, n)),
        rng.uniform(0.2, 12, n),
        rng.uniform(0.2, 7, n),
        rng.uniform(-0.5, 3, n),
        photons=rng.gamma(3, 1000, n),
        background=rng.uniform(0, 90, n),
        sigma_x_um=rng.uniform(0.005, 0.03, n),
        sigma_y_um=rng.uniform(0.005, 0.03, n),
        sigma_z_um=rng.uniform(0.01, 0.05, n),
        channel=rng.integers(0, channels, n),
        score=rng.uniform(0.1, 0.9, n),
    )


def path_of(folder, name):
    return folder / f"locs{SUFFIXES[name]}"


@pytest.mark.parametrize("name", WRITABLE)
def test_round_trip(name, tmp_path):
    """Each column that a format holds comes back, recognised by content alone; our own file is exact."""
    locs = table(channels=1 if name in HOLDS_NOT else 3)
    path = path_of(tmp_path, name)
    notes = write(path, locs, format=name, pixel_um=PIXEL_UM, frame_px=(64, 128), n_frames=60)
    found = read_file(path)
    assert found.format == name
    for column in to_frame(locs).columns:
        back, wanted = getattr(found.locs, column), getattr(locs, column)
        if column in HOLDS_NOT.get(name, ()):
            default = {"score": 1.0, "channel": 0}.get(column, np.nan)
            np.testing.assert_array_equal(back, np.full(back.size, default), err_msg=column)
            assert column == "channel" or column in notes[0]
        elif name == "colocus":
            np.testing.assert_array_equal(back, wanted, err_msg=column)
        else:  # half the last digit that is written, or a float32 of pixels or nm
            atol = 0.51e-3 if column in ("photons", "background") else 0.51e-6
            np.testing.assert_allclose(back, wanted, rtol=1.2e-7, atol=atol, err_msg=column)
    if name.startswith("picasso"):
        assert (found.frame_px, found.n_frames, found.pixel_um) == ((64, 128), 60, pytest.approx(PIXEL_UM))


@pytest.mark.parametrize("name", FORMATS)
def test_the_table_says_what_a_format_holds(name):
    """The registry's own words against the list above, and against docs/formats.md, where each has a row."""
    lost = set(to_frame(table(1)).columns) - set(FORMATS[name].holds)
    assert lost == set(HOLDS_NOT.get(name, ()))
    assert FORMATS[name].needs_pixel == (
        name in ("picasso", "picasso-1", "decode", "decode-csv", "smap", "storm-analysis")
    )
    docs = Path(__file__).resolve().parents[3] / "docs" / "formats.md"
    row = f"| `{name}` |" if FORMATS[name].writer else f"| `{name}` (read) |"
    assert docs.read_text().count(row) == 1


def test_links_of_the_docs_lead_somewhere():
    """Files that docs/formats.md links to or names are there."""
    docs = Path(__file__).resolve().parents[3] / "docs" / "formats.md"
    links = re.findall(r"\]\((?!http)([^)#]+)\)", docs.read_text())
    named = re.findall(r"`((?:localization|benchmarks)/[\w/.]+)`", docs.read_text())
    assert len(links) > 5 and len(named) > 3
    assert [link for link in links if not (docs.parent / link).exists()] == []
    assert [name for name in named if not (docs.parents[1] / name).exists()] == []


def test_one_more_format_is_one_entry(tmp_path, monkeypatch):
    """A format that is put into the table is recognised, read, written, named by its ending, helped with and told."""
    rules = text.Columns(
        "a toy", {"t": ("frame", text.BARE), "x": ("x_um", text.BARE), "y": ("y_um", text.BARE)}, 0, {}
    )

    def rows(locs, before, info):
        return to_frame(locs)[["frame", "x_um", "y_um"]]

    toy = formats.Format(
        name="toy",
        recognise=lambda head: head.first_line.startswith("t,x,y"),
        read=text.reader(rules),
        writer=partial(text.Writer, head=text.header(("t", "x", "y")), rows=rows),
        suffix=".toy",
        owns_suffix=True,
        holds=("frame", "x_um", "y_um"),
    )
    monkeypatch.setitem(FORMATS, "toy", toy)
    locs = make_localizations([3], [1.5], [2.5], [0.5], photons=7.0)
    assert write(tmp_path / "a.toy", locs) == ("the format toy holds no z_um, photons: left out",)
    assert (tmp_path / "a.toy").read_text() == "t,x,y\n3,1.5,2.5\n"
    found = read_file(tmp_path / "a.toy")
    assert (found.format, found.locs.frame[0], found.locs.x_um[0]) == ("toy", 3, 1.5)
    assert "toy (.toy)" in formats.summary() and "toy" in formats.writable()
    with pytest.raises(LocalizationError, match=r"\.colocus\.h5, .* or \.toy, or name one of"):
        write(tmp_path / "a.unknown", locs)
    with pytest.raises(LocalizationError, match="'tox' is not one of .*; did you mean 'toy'?"):
        write(tmp_path / "a.toy", locs, format="tox")
    with pytest.raises(
        LocalizationError, match="choose thunderstorm, picasso, picasso-1, colocus, storm-analysis or smap$"
    ):
        write(tmp_path / "a.toy", dataclasses.replace(locs, channel=locs.channel + 1))


@pytest.mark.parametrize("name", WRITABLE)
def test_an_empty_table_is_a_file_too(name, tmp_path):
    """No rows: written, recognised, read back with no rows."""
    path = path_of(tmp_path, name)
    assert write(path, select(table(), []), format=name, pixel_um=PIXEL_UM) == ()
    assert read(path).frame.size == 0


@pytest.mark.parametrize("name", WRITABLE)
def test_the_bytes_do_not_depend_on_the_pieces(name, tmp_path):
    """Written at once, in three pieces, or again: the same bytes."""
    locs = table(channels=1)
    contents = []
    for rows in ([np.arange(300)], [np.arange(7), [], np.arange(7, 300)], [np.arange(300)]):
        path = path_of(tmp_path, name)
        with TableWriter(path, format=name, pixel_um=PIXEL_UM) as writer:
            for piece in rows:
                writer.append(select(locs, piece))
        side = path.with_suffix(".yaml")
        contents.append((path.read_bytes(), side.read_bytes() if side.exists() else b""))
    assert contents[0] == contents[1] == contents[2]
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def one(**more):
    # the centre of the pixel in row 2, column 5, of the seventh frame, 0.25 um above the coverslip
    return make_localizations([6], [5.5 * PIXEL_UM], [2.5 * PIXEL_UM], [0.25], photons=900.0, **more)


def test_picasso_counts_pixels_from_the_first_centre(tmp_path):
    """x = column, y = row at a pixel's centre, frames from 0, lpx in px, z and lpz in nm; .yaml and /metadata."""
    path = tmp_path / "locs.hdf5"
    write(path, one(sigma_x_um=0.011, sigma_y_um=0.022, sigma_z_um=0.03, channel=2, score=0.5), pixel_um=PIXEL_UM)
    with h5py.File(path) as file:
        row, embedded = file["locs"][0], json.loads(file["metadata"][()])
    wanted = dict(frame=6, x=5, y=2, photons=900, lpx=0.1, lpy=0.2, z=250, lpz=30, channel=2, score=0.5)
    assert {name: float(row[name]) for name in row.dtype.names} == pytest.approx(wanted, rel=1e-6)
    beside = list(yaml.safe_load_all((tmp_path / "locs.yaml").read_text()))
    assert beside == embedded
    assert (beside[0]["Width"], beside[0]["Height"], beside[0]["Frames"]) == (6, 3, 7)
    assert beside[0]["Pixelsize"] == pytest.approx(110)
    (tmp_path / "locs.yaml").unlink()  # what is embedded is enough
    assert read(path).x_um[0] == pytest.approx(5.5 * PIXEL_UM)


def test_picasso_gets_no_column_of_nan(tmp_path):
    """Picasso drops rows with NaN: unknown columns are left out, single unknown values counted in a note."""
    path = tmp_path / "locs.hdf5"
    notes = write(path, one(), pixel_um=PIXEL_UM)
    with h5py.File(path) as file:
        assert set(file["locs"].dtype.names) == {"frame", "x", "y", "photons", "z"}
    assert any("lpx, lpy" in note for note in notes)
    half = make_localizations([0, 1], [1, -0.2], [1, 1], [0, 0], photons=[np.nan, 5.0])
    assert any("drop 2 of 2" in note for note in write(path, half, pixel_um=PIXEL_UM))


def test_decode_swaps_axes_and_counts_from_the_first_centre(tmp_path):
    """DECODE's x runs along rows; positions in px, z in nm, frames from 0, in its HDF5 and its CSV alike."""
    locs = one(sigma_x_um=0.011, sigma_y_um=0.022, sigma_z_um=0.03, score=0.5)
    write(tmp_path / "a.h5", locs, format="decode", pixel_um=PIXEL_UM)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_allclose(file["data/xyz"][0], [2, 5, 250], rtol=1e-6)
        np.testing.assert_allclose(file["data/xyz_sig"][0], [0.2, 0.1, 30], rtol=1e-6)
        assert file["data/frame_ix"][0] == 6 and file["data/bg_cr"].shape is None
        assert file["meta"].attrs["xy_unit"] == "px"
    write(tmp_path / "a.csv", locs, format="decode-csv", pixel_um=PIXEL_UM)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert [line[0] for line in lines[:3]] == ["#", "#", "#"]
    row = dict(zip(lines[3].split(","), lines[4].split(","), strict=True))
    assert (float(row["x"]), float(row["y"]), float(row["z"]), row["frame_ix"]) == (2.0, 5.0, 250.0, "6")


def test_decode_in_nanometres(tmp_path):
    """xy_unit nm: the first pixel's centre is still at 0, so half a pixel is added."""
    meta = '{"xy_unit": "nm", "px_size": [100.0, 120.0]}'
    text = f"# DECODE EmitterSet\n# {{}}\n# {meta}\nx,y,z,phot,frame_ix\n0,240,50,700,3\n"
    (tmp_path / "a.csv").write_text(text)
    locs = read(tmp_path / "a.csv")
    assert (locs.y_um[0], locs.x_um[0], locs.z_um[0], locs.frame[0]) == pytest.approx((0.05, 0.3, 0.05, 3))


def test_challenge_and_deepstorm3d_files(tmp_path):
    """Nanometres from the outer corner, frames from 1; DeepSTORM3D's z counts from z_zero, its light is confidence."""
    write(tmp_path / "a.csv", one(), format="challenge")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines == ["Ground-truth,frame,xnano,ynano,znano,intensity", "1,7,605.0,275.0,250.0,900.0"]
    (tmp_path / "b.csv").write_text("1, 7, 605, 275, 250, 900\n")
    assert read(tmp_path / "b.csv", format="challenge").photons[0] == 900
    write(tmp_path / "a.csv", one(score=126.0), format="deepstorm3d", z_zero_um=-1.0)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines == ["frame,x [nm],y [nm],z [nm],intensity [au]", "7,605.0,275.0,1250.0,126.0"]
    back = read(tmp_path / "a.csv", z_zero_um=-1.0)
    assert (back.z_um[0], back.score[0]) == (0.25, 126.0) and np.isnan(back.photons[0])
    assert "lower end" in read_file(tmp_path / "a.csv").notes[0]


def test_the_name_says_the_format(tmp_path):
    """.csv, .hdf5 and .colocus.h5 speak for themselves; another ending is asked about, a channel may be refused."""
    for name, format in (("a.csv", "thunderstorm"), ("a.hdf5", "picasso"), ("a.colocus.h5", "colocus")):
        write(tmp_path / name, one(), pixel_um=PIXEL_UM)
        assert read_file(tmp_path / name).format == format
    with pytest.raises(LocalizationError, match="does not tell the format"):
        write(tmp_path / "a.h5", one())
    with pytest.raises(LocalizationError, match="'vutara' is not one of"):
        write(tmp_path / "a.h5", one(), format="vutara")
    with pytest.raises(LocalizationError, match="'smlm' is not one of"):
        write(tmp_path / "a.h5", one(), format="smlm")
    with pytest.raises(LocalizationError, match="counts in pixels; give pixel_um"):
        write(tmp_path / "b.hdf5", one())
    with pytest.raises(LocalizationError, match="pixel_um = -1"):
        write(tmp_path / "b.hdf5", one(), pixel_um=-1)
    for format in HOLDS_NOT:
        with pytest.raises(LocalizationError, match="no channel"):
            write(tmp_path / "b", one(channel=1), format=format, pixel_um=PIXEL_UM)
    assert not (tmp_path / "b").exists()


def _h5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name] = data


LOCS = np.zeros(2, [("frame", "u4"), ("x", "f4"), ("y", "f4")])
NAN_ROW = np.array([(0, np.nan, 1)], LOCS.dtype)
BAD_HDF5 = {
    "no pixel": (lambda p: _h5(p, locs=LOCS), "no pixel size"),
    "foreign": (lambda p: _h5(p, cake=[1]), "no known kind .it holds cake"),
    "group": (lambda p: _h5(p, **{"locs/a": [1]}), "a group"),
    "plain": (lambda p: _h5(p, locs=[1, 2]), "named columns"),
    "no y": (lambda p: _h5(p, locs=LOCS[["frame", "x"]]), "no column 'y'"),
    "nan": (lambda p: _h5(p, locs=NAN_ROW, metadata='[{"Pixelsize": 100}]'), "row 0 is nan"),
    "cut": (lambda p: (_h5(p, locs=LOCS), p.write_bytes(p.read_bytes()[:900])), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_HDF5)
def test_bad_hdf5_is_refused_in_one_line(kind, tmp_path):
    """Each gives one line with the file's name and what is wrong."""
    path = tmp_path / "locs.hdf5"
    make, words = BAD_HDF5[kind]
    make(path)
    with pytest.raises(LocalizationError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_an_interrupted_hdf5_leaves_the_old_one(tmp_path):
    """An exception in the block keeps table and side file as they were, and nothing else."""
    path = tmp_path / "locs.hdf5"
    write(path, table(10), pixel_um=PIXEL_UM)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt), TableWriter(path, pixel_um=PIXEL_UM) as writer:
        writer.append(table(20))
        raise KeyboardInterrupt
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
