"""Tables of text as programs and spreadsheets write them: separators, decimal commas, encodings, units, origins."""

import numpy as np
import pytest

from localization import LocalizationError, make_localizations, read, read_file, write

HEAD = ("id", "frame", "x [nm]", "y [nm]", "sigma [nm]", "intensity [photon]", "uncertainty [nm]")
ROWS = ((1, 1, 1234.5, 2345.625, 130.25, 801.5, 8.25), (2, 3, 4000.25, 3000.75, 128.5, 900.0, 7.5))


def written(path, separator, decimal=".", quote="", encoding="utf-8"):
    def number(value):
        return f"{value:.9g}".replace(".", decimal)

    lines = [separator.join(f"{quote}{label}{quote}" for label in HEAD)]
    lines += [separator.join([*map(str, row[:2]), *map(number, row[2:])]) for row in ROWS]
    path.write_bytes("".join(line + "\r\n" for line in lines).encode(encoding))
    return path


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), ("\t", "."), (";", "."), ("\t", ","), (";", ",")])
def test_every_dialect_says_the_same(separator, decimal, encoding, quote, tmp_path):
    """Tabs (ThunderSTORM's .xls), semicolons, decimal commas, byte order marks, with and without quotes."""
    found = read_file(written(tmp_path / "locs.xls", separator, decimal, quote, encoding))
    assert (found.format, found.notes) == ("thunderstorm", ())
    locs = found.locs
    assert (locs.x_um.tolist(), locs.y_um.tolist()) == ([1.2345, 4.00025], [2.345625, 3.00075])
    assert (locs.frame.tolist(), locs.photons.tolist()) == ([0, 2], [801.5, 900])
    np.testing.assert_allclose([locs.sigma_x_um, locs.extras["width_y_um"]], [[8.25e-3, 7.5e-3], [0.13025, 0.1285]])


def test_a_comma_that_may_group_thousands_is_refused(tmp_path):
    """1,234 is 1.234 or 1234; a digit more or less anywhere tells; a point among commas is no number."""
    path = tmp_path / "locs.csv"
    path.write_text("frame;x [nm];y [nm]\n1;1,234;2,345\n")
    with pytest.raises(LocalizationError, match=r"1,234 may have a decimal comma or a group of thousands; export with"):
        read(path)
    path.write_text("frame;x [nm];y [nm]\n1;1,234;2,345\n2;1,2345;2\n")
    assert read(path).x_um.tolist() == pytest.approx([0.001234, 0.0012345])
    path.write_text("frame;x [nm];y [nm]\n1;1,23;2,345\n2;1.5;2\n")
    with pytest.raises(LocalizationError, match=r"line 3: column 'x \[nm\]' is 1.5 in a table with decimal commas"):
        read(path)
    path.write_text("frame;x [nm];y [nm];chi2\n1;1.234;2;1,5\n")  # 1234 nm, groups of thousands with a point
    with pytest.raises(LocalizationError, match=r"line 2: column 'x \[nm\]' is 1.234 in a table with decimal commas"):
        read(path)
    path.write_text("frame,x [nm],y [nm]\n1,1,5,2\n")  # a decimal comma between commas is a field more
    with pytest.raises(LocalizationError, match="more fields than the header"):
        read(path)


@pytest.mark.parametrize("label", ["x [px]", "X (pix)", "x [pixels]"])
def test_pixels_are_lengths_where_the_pixel_is_given(label, tmp_path):
    """Asked for where it is not; beside a column in nm they stay an extra one."""
    path = tmp_path / "locs.csv"
    path.write_text(f"frame,{label},y [nm],uncertainty [px]\n1,12.5,300,0.25\n")
    with pytest.raises(LocalizationError, match=r"is in camera pixels; give pixel_um \(colocus convert --pixel NM\)"):
        read(path)
    locs = read(path, pixel_um=0.1)
    assert (locs.x_um[0], locs.y_um[0], locs.sigma_x_um[0]) == pytest.approx((1.25, 0.3, 0.025))
    path.write_text(f"frame,{label},x [nm],y [nm]\n1,12.5,1300,300\n")
    locs = read(path, pixel_um=0.1)
    assert locs.x_um[0] == pytest.approx(1.3) and locs.extras[label].tolist() == [12.5]


@pytest.mark.parametrize("unit", ["ADU", "counts"])
def test_camera_counts_are_no_photons(unit, tmp_path):
    """They keep their own name, photons are unknown, and a note says so."""
    (tmp_path / "locs.csv").write_text(f"frame,x [nm],y [nm],intensity [{unit}]\n1,1,2,500\n")
    found = read_file(tmp_path / "locs.csv")
    assert np.isnan(found.locs.photons[0]) and found.locs.extras[f"intensity [{unit}]"].tolist() == [500]
    assert found.notes == (f"column 'intensity [{unit}]' is in {unit}, not in ours: kept under its own name",)


def test_depths_of_nan_throughout_are_no_depths(tmp_path):
    """A 2D list with an empty or NaN column of z is one of z = 0, said; one unknown depth among others is refused."""
    path = tmp_path / "locs.csv"
    for unknown in ("NaN", ""):
        path.write_text(f"frame,x [nm],y [nm],z [nm],uncertainty_z [nm]\n1,1,2,{unknown},NaN\n1,1,2,{unknown},NaN\n")
        found = read_file(path)
        assert found.locs.z_um.tolist() == [0, 0]
        assert found.notes == ("column 'z [nm]' holds no depth: z is 0",)
    path.write_text("frame,x [nm],y [nm],z [nm]\n1,1,2,NaN\n1,1,2,5\n")
    with pytest.raises(LocalizationError, match=r"line 2: column 'z \[nm\]' is nan"):
        read(path)


def test_workbooks_are_named(tmp_path):
    """Excel's own files, old and new, are no tables of text: the remedy is its export."""
    import zipfile

    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99))
    with zipfile.ZipFile(tmp_path / "new.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    for name in ("old.xls", "new.xlsx"):
        with pytest.raises(LocalizationError, match="a workbook of Excel; save the sheet as CSV"):
            read(tmp_path / name)


# as export_thunderstorm of Picasso 0.11.3 and 1.0.0a1 writes it: frames and ids from 0, centres at 0, no row in frame 0
OF_PICASSO = (
    "id,frame,x [nm],y [nm],z [nm],sigma1 [nm],sigma2 [nm],intensity [photon],offset [photon],bkgstd [photon],"
    "uncertainty_xy [nm]\n0,1,1000.0,500.0,-264.8592,120.0,130.0,881,5,0,11.0\n1,2,2000.0,780.4,-9.3,1,1,699,5,0,11.0\n"
)


@pytest.mark.parametrize("flat", [False, True])
def test_thunderstorm_of_picasso_is_known(flat, tmp_path):
    """Frames from 0 and half a pixel more, by its header and ids; the pixel is asked for."""
    path = tmp_path / "locs.csv"
    lines = OF_PICASSO
    if flat:
        lines = (
            lines.replace("z [nm],sigma1 [nm],sigma2", "sigma").replace("-264.8592,120.0,", "").replace("-9.3,1,", "")
        )
    path.write_text(lines)
    with pytest.raises(LocalizationError, match="written by Picasso.*; give pixel_um"):
        read(path)
    found = read_file(path, pixel_um=0.1)
    assert "written by Picasso" in found.notes[0]
    assert (found.locs.frame.tolist(), found.locs.x_um.tolist()) == ([1, 2], pytest.approx([1.05, 2.05]))
    assert found.locs.y_um[0] == pytest.approx(0.55)
    told = read(path, frames_from=1, origin="corner")
    assert (told.frame.tolist(), told.x_um.tolist()) == ([0, 1], pytest.approx([1.0, 2.0]))


def test_a_table_that_may_be_of_either_says_so(tmp_path):
    """One sign of Picasso alone: read as ThunderSTORM's, with a note that names the options."""
    path = tmp_path / "locs.csv"
    path.write_text(OF_PICASSO.replace("\n0,1", "\n7,1"))
    found = read_file(path)
    assert found.locs.frame.tolist() == [0, 1] and "--frames-from 0 --origin centre" in found.notes[0]
    told = read_file(path, pixel_um=0.1, frames_from=0, origin="centre")
    assert told.notes == () and told.locs.frame.tolist() == [1, 2] and told.locs.x_um[0] == pytest.approx(1.05)
    quoted = OF_PICASSO.replace("id,", '"id",', 1)
    path.write_text(quoted)
    assert read_file(path).notes == () and read(path).frame.tolist() == [0, 1]


def test_who_counts_otherwise_says_so(tmp_path):
    """frames_from and origin for any ThunderSTORM table; a row in frame 0 names them; formats that say it refuse."""
    path = tmp_path / "locs.csv"
    path.write_text("frame,x [nm],y [nm]\n0,100,200\n")
    with pytest.raises(LocalizationError, match=r"line 2: column 'frame' is 0; .*--frames-from 0"):
        read(path)
    assert read(path, frames_from=0).x_um.tolist() == [0.1]
    assert read(path, frames_from=0, origin="centre", pixel_um=0.1).x_um.tolist() == pytest.approx([0.15])
    with pytest.raises(LocalizationError, match="frames_from = 2 must be 0 or 1"):
        read(path, frames_from=2)
    with pytest.raises(LocalizationError, match="positions count from the first pixel's centre; give pixel_um"):
        read(path, frames_from=0, origin="centre")
    (tmp_path / "other.csv").write_text("Channel,Frame,X (nm),Y (nm),Photons\n0,1,100,200,3\n")
    other = read(tmp_path / "other.csv", frames_from=1, origin="centre", pixel_um=0.1)
    assert (other.frame[0], other.x_um[0]) == (0, pytest.approx(0.15))
    write(tmp_path / "ours.colocus.h5", other)
    with pytest.raises(LocalizationError, match="the format colocus says how it counts"):
        read(tmp_path / "ours.colocus.h5", frames_from=0)


def test_frames_told_alone_leave_the_doubt_about_the_origin(tmp_path):
    path = tmp_path / "export.csv"
    header = "id,frame,x [nm],y [nm],sigma [nm],intensity [photon],offset [photon],bkgstd [photon],uncertainty_xy [nm]"
    path.write_text(header + "\n0,0,1000,2000,130,900,10,3,12\n")
    with pytest.raises(LocalizationError, match="--frames-from 0; .*--origin centre too"):
        read_file(path, pixel_um=0.1)
    found = read_file(path, pixel_um=0.1, frames_from=0)
    assert found.locs.x_um.tolist() == [1.0]
    assert any("from the corner; else say --frames-from 0 --origin centre" in note for note in found.notes)
    found = read_file(path, pixel_um=0.1, frames_from=0, origin="centre")
    assert found.locs.x_um.tolist() == pytest.approx([1.05]) and not found.notes


@pytest.mark.parametrize("format", ["picasso", "picasso-1", "decode"])
def test_another_pixel_than_the_file_s_own_is_said(format, tmp_path):
    path = tmp_path / "locs.h5"
    write(
        path, make_localizations([0], [1.05], [2.05], [0.0]), format=format, pixel_um=0.1, frame_px=(9, 9), n_frames=1
    )
    assert not any("pixel of" in note for note in read_file(path, pixel_um=0.1).notes)
    assert any("a pixel of 100 nm: 110 nm is taken" in note for note in read_file(path, pixel_um=0.11).notes)
