"""Files of drift against hand-made truth: rows, signs, units and the frames' count, ours of before and others'."""

import numpy as np
import pytest

from localization import Drift, LocalizationError, apply_drift, make_localizations, read_drift
from localization.drift.curve_file import curve_text

X, Y, Z = np.array([0.01, 0.02, 0.04]), np.array([-0.03, 0.0, 0.03]), np.array([0.1, 0.2, 0.3])


def drift(first=4):
    return Drift(np.arange(first, first + 3), X, Y, Z, np.zeros(3), np.zeros(3), np.zeros((3, 3)), "rcc", {}, ())


def same(found, first):
    np.testing.assert_array_equal(found.frame, np.arange(first, first + 3))
    for got, put in ((found.x_um, X), (found.y_um, Y), (found.z_um, Z)):
        np.testing.assert_allclose(got, put, rtol=0, atol=1e-12)


@pytest.mark.parametrize("first_frame", [0, 1])
def test_our_curve_counts_like_its_list_and_comes_back(tmp_path, first_frame):
    """`frame` is that of the list beside it, and what is read back counts from 0 whatever the list did."""
    path = tmp_path / "a_drift.csv"
    path.write_text(curve_text(drift(), first_frame))
    assert path.read_text().splitlines()[1] == f"{4 + first_frame},4,10.000,-30.000,100.000"
    found = read_drift(path)
    same(found, 4)
    assert found.notes == () and np.isnan(found.error_um).all()


def test_curves_of_before_count_from_0(tmp_path):
    """The header without the second column of frames counts from 0, and says so: others may write the same header."""
    path = tmp_path / "a_drift.csv"
    path.write_text("frame,x [nm],y [nm],z [nm]\n4,10.000,-30.000,100.000\n5,20.0,0.0,200.0\n6,40.0,30.0,300.0\n")
    found = read_drift(path)
    same(found, 4)
    assert "counted from 0 (else --frames-from 1)" in found.notes[0]
    same(read_drift(path, first_frame=1), 3)


@pytest.mark.parametrize("columns", [2, 3])
def test_picasso_drift_is_in_its_pixels_and_subtracted(tmp_path, columns):
    """As numpy.savetxt writes Picasso's table: a row for each frame, x and y in px of 130 nm, z in nm."""
    table = np.stack([X / 0.13, Y / 0.13, Z * 1e3], axis=1)[:, :columns]
    np.savetxt(tmp_path / "p_drift.txt", table, newline="\r\n")
    found = read_drift(tmp_path / "p_drift.txt", unit="px", pixel_um=0.13)
    if columns == 3:
        same(found, 0)
    else:
        np.testing.assert_allclose(found.y_um, Y, atol=1e-12)
        assert (found.z_um == 0).all()
    locs = make_localizations([0, 1, 2], 1 + X, 2 + Y, 3 * np.ones(3))  # where molecules at (1, 2) were seen
    np.testing.assert_allclose(apply_drift(locs, found).x_um, 1.0, atol=1e-12)
    np.testing.assert_allclose(apply_drift(locs, found).y_um, 2.0, atol=1e-12)


@pytest.mark.parametrize("kind", ["npy", "txt", "csv"])
def test_comet_drift_is_in_nm_with_frames_last(tmp_path, kind):
    """The array that COMET returns, x, y, z, frame; its frames are those of its input, from 1 in ThunderSTORM's."""
    table = np.stack([X * 1e3, Y * 1e3, Z * 1e3, [1, 2, 3]], axis=1)
    path = tmp_path / f"comet.{kind}"
    np.save(path, table) if kind == "npy" else np.savetxt(path, table, delimiter="," if kind == "csv" else " ")
    same(read_drift(path, first_frame=1), 0)
    found = read_drift(path)
    same(found, 1)
    assert "counted from 0" in found.notes[0]


def test_other_headers_units_and_missing_frames(tmp_path):
    """Columns by name in any order, in um, with semicolons; a missing frame is drawn between its neighbours."""
    path = tmp_path / "own.csv"
    path.write_text('"y [um]";"frame";"x [um]"\n0.03;6;0.04\n-0.03;4;0.01\n')
    found = read_drift(path, first_frame=0)
    np.testing.assert_array_equal(found.frame, [4, 5, 6])
    np.testing.assert_allclose(found.x_um, [0.01, 0.025, 0.04])
    np.testing.assert_allclose(found.y_um, [-0.03, 0.0, 0.03], atol=1e-12)
    assert "2 of the frames 4 to 6" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "holds no drift"),
        ("frame,x [nm],y [nm]\n", {}, "holds no drift"),
        ("1 2\n3 x\n", {"unit": "nm"}, "line 2 is not 2 numbers"),
        ("1 2\n3 nan\n", {"unit": "nm"}, "line 2 holds no finite"),
        ("1 2\n", {}, "does not name the unit of x"),
        ("1 2\n", {"unit": "px"}, "--camera-pixel"),
        ("1 2\n", {"unit": "px", "pixel_um": -1.0}, "pixel is -1.0"),
        ("1 2 3 4\n", {"first_frame": 2}, "first_frame = 2"),
        ("1 2 3 4 5\n", {}, "5 columns without names"),
        ("1 2.5 0 7.5\n2 2.5 0 7.5\n", {}, "4 columns without names"),
        ("frame,x [mm],y [mm]\n0,1,2\n", {}, "x is in 'mm'"),
        ("frame,y [nm]\n0,1\n", {}, "no column 'x'"),
        ("frame,x [nm],y [nm]\n3,1,2\n3,1,2\n", {}, "two rows for frame 3"),
        ("frame,x [nm],y [nm]\n0,1,2\n", {"first_frame": 1}, "negative"),
        ("frame,x [nm],y [nm]\n3,1,2\n1e12,1,2\n", {}, "too many"),
        ("1 2\n", {"unit": "mm"}, "unit 'mm'"),
    ],
)
def test_what_cannot_be_known_is_asked_for(tmp_path, text, options, message):
    """One line that names the file and what is missing, never a guess."""
    path = tmp_path / "drift.txt"
    path.write_text(text)
    with pytest.raises(LocalizationError, match=message) as error:
        read_drift(path, **options)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_text(tmp_path):
    """A missing file, a damaged array and a picture are named."""
    (tmp_path / "a.npy").write_bytes(b"nothing")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x01")
    np.save(tmp_path / "c.npy", np.zeros(5))
    for name, message in (("a.npy", "cannot be read"), ("b.txt", "is not text"), ("c.npy", "shape"), ("d", "cannot")):
        with pytest.raises(LocalizationError, match=message):
            read_drift(tmp_path / name)


def test_a_localization_list_is_no_drift(tmp_path):
    path = tmp_path / "locs.csv"
    path.write_text('"id","frame","x [nm]","y [nm]","intensity [photon]"\n1,1,1000,2000,900\n2,2,1000,2000,900\n')
    with pytest.raises(LocalizationError, match="is a localization list"):
        read_drift(path)
