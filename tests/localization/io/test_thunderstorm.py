"""The ThunderSTORM table: round trip, header, bad input, and writing that is all or nothing."""

import errno
import os
import resource

import numpy as np
import pytest

from localization import (
    LocalizationError,
    TableWriter,
    concatenate,
    make_localizations,
    read,
    read_file,
    select,
    to_frame,
    write,
)

HEADER = (
    '"id","frame","x [nm]","y [nm]","z [nm]","intensity [photon]","offset [photon]",'
    '"uncertainty_xy [nm]","uncertainty_z [nm]","uncertainty_x [nm]","uncertainty_y [nm]","channel","score"'
)


def random_table(n, seed=0):
    rng = np.random.default_rng(seed)
    sigma_um = rng.uniform(0.005, 0.03, (2, n))
    return make_localizations(
        np.sort(rng.integers(0, 50, n)),
        *rng.uniform(-1, 40, (2, n)),
        rng.uniform(-0.5, 5, n),
        photons=rng.gamma(3, 1000, n),
        background=rng.uniform(0, 90, n),
        sigma_x_um=sigma_um[0],
        sigma_y_um=sigma_um[1],
        sigma_z_um=2 * sigma_um[0],
        channel=rng.integers(0, 3, n),
        score=rng.random(n),
    )


def assert_same(a, b, atol):
    for name, column in to_frame(a).items():
        np.testing.assert_allclose(getattr(b, str(name)), column, rtol=0, atol=atol[str(name)], err_msg=str(name))


HALF_DIGIT = dict.fromkeys(("x_um", "y_um", "z_um", "sigma_x_um", "sigma_y_um", "sigma_z_um", "score"), 0.51e-6) | {
    "photons": 0.51e-3,
    "background": 0.51e-3,
    "frame": 0,
    "channel": 0,
}


def test_round_trip(tmp_path):
    """Every column comes back to half the last digit that is written (1 pm), NaN as NaN."""
    locs = random_table(500)
    write(tmp_path / "locs.csv", locs)
    assert_same(locs, read(tmp_path / "locs.csv"), HALF_DIGIT)
    bare = make_localizations([3], [1.0], [2.0], [0.5])
    write(tmp_path / "locs.csv", bare)
    assert_same(bare, read(tmp_path / "locs.csv"), HALF_DIGIT)
    write(tmp_path / "locs.csv", select(bare, []))
    assert read(tmp_path / "locs.csv").frame.size == 0


def test_file_holds_thunderstorm_conventions(tmp_path):
    """Quoted header, ids and frames from 1, nanometres, and the first pixel's centre at half a pixel."""
    pixel_um = 0.1
    locs = make_localizations([0], [0.5 * pixel_um], [1.5 * pixel_um], [0.25], photons=1000.0, background=12.5)
    sigma = dict(sigma_x_um=0.03, sigma_y_um=0.04, sigma_z_um=0.09)
    locs = concatenate([locs, make_localizations([4], [1.0], [1.0], [0.0], **sigma)])
    write(tmp_path / "locs.csv", locs)
    lines = (tmp_path / "locs.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[1] == "1,1,50.0,150.0,250.0,1000.0,12.5,NaN,NaN,NaN,NaN,0,1.0"
    assert lines[2].split(",")[:2] == ["2", "5"]
    assert float(lines[2].split(",")[7]) == pytest.approx(35.355, abs=1e-3)  # sqrt((30^2 + 40^2) / 2)


def test_pieces_give_the_same_file_as_the_whole(tmp_path):
    """Streaming a table in pieces, an empty one among them, writes the bytes that writing it at once does."""
    locs = random_table(100)
    write(tmp_path / "whole.csv", locs)
    with TableWriter(tmp_path / "pieces.csv") as writer:
        for rows in (np.arange(0, 40), [], np.arange(40, 100)):
            writer.append(select(locs, rows))
        assert not (tmp_path / "pieces.csv").exists()
    assert (tmp_path / "pieces.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    with pytest.raises(LocalizationError, match="closed"):
        writer.append(locs)


def test_an_interrupted_run_leaves_the_old_file_and_nothing_else(tmp_path):
    """An exception or Ctrl-C in the block removes the temporary file and keeps what was there before."""
    path = tmp_path / "locs.csv"
    path.write_text("old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), TableWriter(path) as writer:
            writer.append(random_table(10))
            raise error
    assert [file.name for file in tmp_path.iterdir()] == ["locs.csv"] and path.read_text() == "old"


@pytest.fixture
def file_size_limit():
    """Lets no file grow beyond 20 kB while the test runs, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_writing_that_fails_half_way_leaves_no_file(tmp_path, file_size_limit):
    """When the system takes no more bytes, the error is one line and the folder stays as it was."""
    for n in (300, 5000):  # fails when the rest is flushed at the end, and fails within append
        with pytest.raises(LocalizationError, match=r"locs.csv: cannot write \(File too large\)") as caught:
            write(tmp_path / "locs.csv", random_table(n))
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_full_disk_at_the_last_moment_leaves_the_old_file(tmp_path, monkeypatch):
    """A disk that is found full when the file is synced: the old table stays, the temporary one goes."""
    path = tmp_path / "locs.csv"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LocalizationError, match="No space left on device"):
        write(path, random_table(10))
    assert [file.name for file in tmp_path.iterdir()] == ["locs.csv"] and path.read_text() == "old"


def test_bad_targets_and_channels_are_refused(tmp_path):
    """A missing folder, a folder as target, and a second channel give one-line errors and no files."""
    with pytest.raises(LocalizationError, match="cannot write"):
        write(tmp_path / "nowhere" / "locs.csv", random_table(1))
    with pytest.raises(LocalizationError, match="is a folder"):
        write(tmp_path, random_table(1))
    with pytest.raises(LocalizationError, match="no channel"):
        write(tmp_path / "locs.csv", make_localizations([0], [1.0], [1.0], [0.0], channel=1), format="challenge")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("\n\n", "empty or has no header"),
        ('"id","x [nm]","y [nm]"\n1,2,3\n', "no column 'frame'"),
        ('"frame","x [nm]","z [nm]"\n1,2,3\n', r"no column 'y \[nm\]'"),
        ('"frame","x [px]","y [nm]"\n1,2,3\n', r"column 'x \[px\]' is in camera pixels; give pixel_um"),
        ('"frame","x","y [nm]"\n1,2,3\n', "unknown unit in column 'x'"),
        ("frame,x [nm],y [nm],intensity [au]\n1,2,3,4\n", r"unknown unit in column 'intensity \[au\]'"),
        ('"frame","x [nm]","y [nm]"\n1,2,3\n\n2,NaN,3\n', r"line 4: column 'x \[nm\]' is nan"),
        ('"frame","x [nm]","y [nm]"\n1,2,3\n2,,3\n', r"line 3: column 'x \[nm\]' is nan"),
        ('"frame","x [nm]","y [nm]"\n1,2,3\n1,2,abc\n', r"line 3: column 'y \[nm\]' is abc"),
        ('"frame","x [nm]","y [nm]"\n1,2,inf\n', r"line 2: column 'y \[nm\]' is inf"),
        ('"frame","x [nm]","y [nm]","score"\n1,2,3,high\n', "line 2: column 'score' is high"),
        ('"frame","x [nm]","y [nm]"\n0,2,3\n', "line 2: column 'frame' is 0"),
        ('"frame","x [nm]","y [nm]"\n1.5,2,3\n', "line 2: column 'frame' is 1.5"),
        ('"frame","x [nm]","y [nm]"\n1,2,3,4\n', "more fields than the header"),
        ('"frame","x [nm]","y [nm]"\n1,2,3,4\n2,3,4,5\n3,4,5,6\n', "more fields than the header"),
        ('"frame","x [nm]","y [nm]"\n1,2,3,4,5\n2,3,4,5,6\n', "more fields than the header|not a regular"),
        ('"frame","x [nm]","y [nm]"\n1,2,3\n1,2,3,4\n', "line 3|more fields|not a regular"),
        ('"frame","x [nm]","x [nm]"\n1,2,3\n', "appears twice"),
        ('"frame","x [nm]","x [um]","y [nm]"\n1,2,3,4\n', "mean the same"),
    ],
)
def test_bad_tables_are_refused_in_one_line(text, words, tmp_path):
    """Each bad table gives one line that names the file, the column and, where there is one, the line."""
    path = tmp_path / "locs.csv"
    path.write_text(text)
    with pytest.raises(LocalizationError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_files_that_are_no_tables_are_refused(tmp_path):
    """A missing file, a folder and a binary file."""
    with pytest.raises(LocalizationError, match="no such file"):
        read(tmp_path / "locs.csv")
    with pytest.raises(LocalizationError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "locs.csv").write_bytes(b"II*\x00\xff\xfe\x80\x81")
    with pytest.raises(LocalizationError, match="not a text file"):
        read(tmp_path / "locs.csv")


def test_reads_micrometres_byte_order_marks_and_older_names(tmp_path):
    """um columns, a BOM, spaces after commas, CRLF, and "uncertainty [nm]" for both lateral sigmas."""
    text = "\ufeffid, frame, x [um], y [µm], z [nm], uncertainty [nm], chi2\r\n1, 3, 1.5, 2.5, 100, 20, 7\r\n"
    (tmp_path / "locs.csv").write_text(text, encoding="utf-8", newline="")
    locs = read(tmp_path / "locs.csv")
    values = [float(c[0]) for c in (locs.frame, locs.x_um, locs.y_um, locs.z_um, locs.sigma_x_um, locs.sigma_y_um)]
    assert values == pytest.approx([2, 1.5, 2.5, 0.1, 0.02, 0.02])


def test_a_separator_at_the_end_of_each_line_moves_no_column(tmp_path):
    """Rows that end in a comma, with ids 1, 2, 3, which pandas would take for row numbers: read as they stand."""
    rows = "".join(f"{k},{k},{100 * k},{200 + k},{900 + k},\n" for k in (1, 2, 3))
    (tmp_path / "locs.csv").write_text("id,frame,x [nm],y [nm],intensity [photon]\n" + rows)
    locs = read(tmp_path / "locs.csv")
    np.testing.assert_array_equal(locs.frame, [0, 1, 2])
    np.testing.assert_allclose([locs.x_um, locs.y_um], [[0.1, 0.2, 0.3], [0.201, 0.202, 0.203]])
    np.testing.assert_allclose(locs.photons, [901, 902, 903])


def test_a_table_that_locan_saved(tmp_path):
    """Its names (findings/locan_thunderstorm.sh): the uncertainty along x stands under that of both axes."""
    (tmp_path / "locan.csv").write_text("frame,x [nm],y [nm],uncertainty_xy [nm],uncertainty_y\n1,100,20,5,7\n")
    found = read_file(tmp_path / "locan.csv")
    np.testing.assert_allclose((found.locs.sigma_x_um[0], found.locs.sigma_y_um[0]), (0.005, 0.007))
    assert any("Locan" in note for note in found.notes)
