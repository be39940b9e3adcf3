"""Extra columns and facts of the movie: from one program's table to another's, and said where they cannot go."""

import dataclasses

import h5py
import numpy as np
import pytest

from localization import LocalizationError, MovieFacts, TableWriter, make_localizations, read_file, select, write
from localization.io import FORMATS
from localization.io.extras import EXTRAS, NATIVE

THUNDERSTORM = (
    '"id","frame","x [nm]","y [nm]","z [nm]","sigma1 [nm]","sigma2 [nm]","intensity [photon]","offset [photon]",'
    '"bkgstd [photon]","chi2","uncertainty_xy [nm]","detections","p_value","group","comment"\n'
    "1,1,1000,2000,10,130,140,800,12,5,1.05,8,3,0.25,2,good\n"
    "2,2,1100,2100,20,131,141,810,12,6,1.02,8,4,0.5,1,bad\n"
)
ROWS = np.array(
    [(0, 3, 6, 500, 1.25, 1.5, 0.1, 0.1, 9000, 7, 3), (1, 4, 7, 500, 1.0, 1.75, 0.1, 0.1, 8000, 7, 1)],
    [(name, "u4" if name in ("frame", "group", "len") else "f4")
     for name in ("frame", "x", "y", "photons", "sx", "sy", "lpx", "lpy", "net_gradient", "group", "len")],
)  # fmt: skip
PICASSO_YAML = "Width: 48\nHeight: 32\nFrames: 10\nPixelsize: 100\n"


@pytest.fixture
def thunderstorm(tmp_path):
    """A table with all columns of ThunderSTORM's, and more."""
    (tmp_path / "ts.csv").write_text(THUNDERSTORM)
    return tmp_path / "ts.csv"


@pytest.fixture
def picasso(tmp_path):
    """A table as Picasso writes it."""
    with h5py.File(tmp_path / "p_locs.hdf5", "w") as file:
        file["locs"] = ROWS
    (tmp_path / "p_locs.yaml").write_text(PICASSO_YAML)
    return tmp_path / "p_locs.hdf5"


def wanted_of(path):
    """What the two tables above say, in our names and units, by hand."""
    if path.suffix == ".csv":
        return dict(width_x_um=[0.13, 0.131], width_y_um=[0.14, 0.141], background_noise=[5, 6], chi2=[1.05, 1.02],
                    detections=[3, 4], p_value=[0.25, 0.5], group=[2, 1])  # fmt: skip
    return dict(width_x_um=[0.125, 0.1], width_y_um=[0.15, 0.175], net_gradient=[9000, 8000], group=[7, 7], len=[3, 1])


@pytest.mark.parametrize("source", ["thunderstorm", "picasso"])
@pytest.mark.parametrize("name", ["thunderstorm", "picasso", "picasso-1", "colocus"])
def test_extra_columns_go_from_program_to_program(source, name, tmp_path, request):
    """Every column of numbers arrives under the other program's name and unit, and comes back; words are said."""
    source = request.getfixturevalue(source)
    found = read_file(source, pixel_um=0.1)
    assert ["comment" in note for note in found.notes] == [True] * (source.suffix == ".csv")
    out = tmp_path / f"out{FORMATS[name].suffix}"
    notes = write(out, found.locs, format=name)
    assert not [note for note in notes if "left out" in note]
    back = read_file(out, pixel_um=0.1).locs.extras
    assert {label: pytest.approx(column, rel=1e-6) for label, column in wanted_of(source).items()} == {
        label: column.tolist() for label, column in back.items()
    }
    if name == "picasso":
        with h5py.File(out) as file:
            locs = np.asarray(file["locs"])
        assert locs["sx"] == pytest.approx([1.3, 1.31] if source.suffix == ".csv" else [1.25, 1.0])
        assert locs.dtype["group"] == "<i4"
    if name == "thunderstorm" and source.suffix == ".hdf5":
        assert out.read_text().splitlines()[0].endswith('"sigma1 [nm]","sigma2 [nm]","net_gradient","group","len"')


@pytest.mark.parametrize("name", ["challenge", "deepstorm3d", "decode", "decode-csv"])
def test_a_format_without_them_names_them_once(name, thunderstorm, tmp_path):
    """One note lists every column that is left out; DECODE keeps the group, as its identity."""
    locs = read_file(thunderstorm, pixel_um=0.1).locs
    notes = [note for note in write(tmp_path / "out", locs, format=name) if "left out" in note]
    gone = set(wanted_of(thunderstorm)) - ({"group"} if "decode" in name else set())
    assert len(notes) == 1 and all(f" {label}" in notes[0] for label in gone)
    kept = read_file(tmp_path / "out", format=name).locs.extras
    assert {label: column.tolist() for label, column in kept.items()} == ({"group": [2, 1]} if "decode" in name else {})


@pytest.mark.parametrize("name", ["thunderstorm", "picasso", "colocus"])
def test_pieces_may_differ_in_their_columns(name, tmp_path):
    """A column that one piece lacks is unknown in its rows, whichever comes first; Picasso, which drops, is told."""
    one = make_localizations([0, 1], [1, 2], [1, 2], [0, 0], extras={"chi2": [1.5, 2.5], "odd/name [au]": [7.25, 8.5]})
    other = make_localizations([2], [3], [3], [0], extras={"a,b": [4]})
    for pieces in ([one, other], [other, one]):
        path = tmp_path / f"out{FORMATS[name].suffix}"
        with TableWriter(path, format=name, pixel_um=0.1) as writer:
            for piece in pieces:
                writer.append(piece)
        found = read_file(path).locs
        if name == "picasso":
            assert not found.extras
            assert any("chi2" in note and "odd/name" in note and "a,b" in note for note in writer.notes)
            continue
        assert set(found.extras) == {"chi2", "odd/name [au]", "a,b"}
        order = np.argsort(found.frame)
        np.testing.assert_array_equal(found.extras["chi2"][order], [1.5, 2.5, np.nan])
        np.testing.assert_array_equal(found.extras["odd/name [au]"][order], [7.25, 8.5, np.nan])
        np.testing.assert_array_equal(found.extras["a,b"][order], [np.nan, np.nan, 4])


def test_the_table_carries_what_is_known_of_its_movie(picasso, tmp_path):
    """Pixel, frame size and length go from Picasso's file to Picasso's file, and, with times, through our own."""
    locs = read_file(picasso).locs
    assert locs.movie == MovieFacts(pixel_um=0.1, frame_px=(32, 48), n_frames=10)
    write(tmp_path / "out.hdf5", select(locs, [1]))
    assert read_file(tmp_path / "out.hdf5").locs.movie == locs.movie
    facts = dataclasses.replace(locs.movie, exposure_s=0.025, interval_s=0.026)
    write(tmp_path / "out.colocus.h5", dataclasses.replace(locs, movie=facts))
    assert read_file(tmp_path / "out.colocus.h5").locs.movie == facts
    write(tmp_path / "other.hdf5", locs, pixel_um=0.2)  # what is given goes first
    assert read_file(tmp_path / "other.hdf5").pixel_um == pytest.approx(0.2)


def test_pieces_of_two_movies_are_refused(picasso, tmp_path):
    """Two pixels, or two frame sizes, in one file would be told as one; a given one decides."""
    locs = read_file(picasso).locs
    other = dataclasses.replace(locs, movie=MovieFacts(pixel_um=0.2))
    with pytest.raises(LocalizationError, match=r"different movies, pixel_um = 0.1 and 0.2"):
        with TableWriter(tmp_path / "out.hdf5") as writer:
            writer.append(locs)
            writer.append(other)
    assert not (tmp_path / "out.hdf5").exists()
    with TableWriter(tmp_path / "out.hdf5", pixel_um=0.1) as writer:
        writer.append(locs)
        writer.append(other)
    assert read_file(tmp_path / "out.hdf5").locs.frame.size == 4


def test_columns_of_which_nothing_is_known_are_not_written(tmp_path):
    """PYME drops every row of a table with a column of NaN, napari-storm believes widths of NaN."""
    write(tmp_path / "a.csv", make_localizations([0], [1.0], [2.0], [0.5], photons=9, extras={"chi2": [np.nan]}))
    assert (tmp_path / "a.csv").read_text() == (
        '"id","frame","x [nm]","y [nm]","z [nm]","intensity [photon]","channel","score"\n'
        "1,1,1000.0,2000.0,500.0,9.0,0,1.0\n"
    )
    write(tmp_path / "b.csv", make_localizations([0, 1], [1, 2], [1, 2], [0, 0], sigma_x_um=[0.01, np.nan]))
    assert '"uncertainty_x [nm]"' in (tmp_path / "b.csv").read_text()
    assert "uncertainty_xy" not in (tmp_path / "b.csv").read_text()


@pytest.mark.parametrize("name", [name for name, format in FORMATS.items() if format.writer])
def test_a_position_that_is_not_finite_is_never_written(name, tmp_path):
    """Every format refuses it, names the row, and leaves no file."""
    good = make_localizations([0, 1], [1.0, 2.0], [1.0, 2.0], [0.0, 0.0])
    bad = dataclasses.replace(good, y_um=np.array([1.0, np.nan]))
    with pytest.raises(LocalizationError, match="y_um of row 3 is nan"):
        with TableWriter(tmp_path / "out", format=name, pixel_um=0.1) as writer:
            writer.append(good)
            writer.append(bad)
    assert list(tmp_path.iterdir()) == []


def test_names_of_extra_columns_are_known():
    """Whatever a format calls by its own name is one of the shared names, but for DECODE's own columns."""
    for format, native in NATIVE.items():
        assert set(native) <= set(EXTRAS) or format == "decode"
        assert len(set(native.values())) == len(native)


@pytest.mark.parametrize("name", ["thunderstorm", "picasso", "colocus"])
def test_an_uncertainty_that_is_none_is_unknown_in_and_out(name, tmp_path):
    """Infinite, zero and negative uncertainties are not written as numbers and not read as numbers; both say so."""
    wrong = make_localizations([0, 1, 2, 3], [1] * 4, [1] * 4, [0] * 4, sigma_x_um=[0, -0.01, np.inf, 0.02])
    path = tmp_path / f"out{FORMATS[name].suffix}"
    assert any("in 3 rows: unknown" in note for note in write(path, wrong, pixel_um=0.1))
    found = read_file(path)
    np.testing.assert_allclose(found.locs.sigma_x_um, [np.nan, np.nan, np.nan, 0.02], rtol=1e-6)
    assert found.notes == ()
    (tmp_path / "in.csv").write_text("frame,x [nm],y [nm],uncertainty_xy [nm]\n1,1,1,0\n1,1,1,Infinity\n1,1,1,9\n")
    found = read_file(tmp_path / "in.csv")
    np.testing.assert_allclose(found.locs.sigma_y_um, [np.nan, np.nan, 0.009])
    assert found.notes == ("uncertainties that are infinite, zero or negative, in 2 rows: unknown",)
