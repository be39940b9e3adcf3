"""NDTiff data sets: read by their index, as the package that wrote them reads them, whole or not without a word."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from localization import LocalizationError, open_movie

SET = Path(__file__).parents[2] / "made" / "ndtiff"  # its README says how it was written
FIRST, SECOND = "run_NDTiffStack.tif", "run_NDTiffStack_1.tif"
TIMES = (0, 1, 2, 4, 5, 6)


def truth(channel, times=TIMES):
    frame = 10 * np.arange(6)[:, None] + np.arange(8)
    return np.array([1000 * channel + 100 * t + frame for t in times])


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SET, tmp_path / "outer" / "run_1"))


def entries(folder):
    """Cut the index into its entries, each a list of axes, file name and eight numbers."""
    raw, at, found = (folder / "NDTiff.index").read_bytes(), 0, []
    while at < len(raw):
        (n,) = struct.unpack_from("<I", raw, at)
        axes, at = json.loads(raw[at + 4 : at + 4 + n]), at + 4 + n
        (n,) = struct.unpack_from("<I", raw, at)
        name, at = raw[at + 4 : at + 4 + n].decode(), at + 4 + n
        found.append([axes, name, list(struct.unpack_from("<8I", raw, at))])
        at += 32
    return found


def write_index(folder, found):
    raw = b""
    for axes, name, numbers in found:
        text = json.dumps(axes).encode()
        raw += struct.pack("<I", len(text)) + text + struct.pack("<I", len(name)) + name.encode()
        raw += struct.pack("<8I", *numbers)
    (folder / "NDTiff.index").write_bytes(raw)


@pytest.mark.parametrize("named", ["", "..", FIRST, SECOND, "NDTiff.index"])
def test_the_whole_set_is_read_from_any_of_its_files(named, folder):
    """One channel of both files in order of time, the later of a frame saved twice, the missing time said."""
    with open_movie(folder / named, channel=0) as movie:
        assert movie.shape == (6, 6, 8) and movie.dtype == np.uint16
        np.testing.assert_array_equal(movie.read(0, 6), truth(0))
        np.testing.assert_array_equal(movie.read(2, 4, rows=(1, 3), columns=(7, 8)), truth(0)[2:4, 1:3, 7:])
        notes = "; ".join(movie.notes)
        assert (movie.facts.pixel_um, movie.facts.exposure_s, movie.facts.interval_s) == (0.11, 0.02, 0.025)
    assert f"2 files read as one movie: {FIRST} to {SECOND}" in notes and "channel 0 of 2 (GFP) is read" in notes
    assert "1 frame was saved twice" in notes and "1 frame is missing, between time 2 and 4" in notes
    with open_movie(folder / named, channel="dapi") as movie:
        np.testing.assert_array_equal(movie.read(0, 6), truth(1))
    with pytest.raises(LocalizationError, match=r"2 channels \(GFP, DAPI\); choose one with channel=0 \(--channel 0\)"):
        open_movie(folder / named)


def test_one_file_alone(folder):
    """With alone the frames of the named file, and a line that says so."""
    held = [axes["time"] for axes, name, _ in entries(folder) if name == SECOND and axes["channel"] == "GFP"]
    with open_movie(folder / SECOND, channel=0, alone=True) as movie:
        np.testing.assert_array_equal(movie.read(0, len(held)), truth(0, sorted(held)))
        assert "read alone" in movie.notes[0]


def test_a_set_of_which_a_part_is_lost(folder):
    """A file that is gone or cut, an index that ends early: refused, or what is there with a line that says so."""
    held = sorted(axes["time"] for axes, name, _ in entries(folder) if name == FIRST and axes["channel"] == "GFP")
    (folder / SECOND).rename(folder / "elsewhere")
    with pytest.raises(LocalizationError, match=f"{SECOND}: is missing, {6 - len(set(held))} of 6 frames .*allow_cut"):
        open_movie(folder, channel=0)
    with open_movie(folder, channel=0, allow_cut=True) as movie:
        np.testing.assert_array_equal(movie.read(0, movie.shape[0]), truth(0, sorted(set(held))))
        assert any("are left out" in note for note in movie.notes)
    (folder / "elsewhere").rename(folder / SECOND)
    raw = (folder / SECOND).read_bytes()
    (folder / SECOND).write_bytes(raw[:-300])
    with pytest.raises(LocalizationError, match="is cut off, 1 of 6"):
        open_movie(folder, channel=1)
    (folder / SECOND).write_bytes(raw)
    index = (folder / "NDTiff.index").read_bytes()
    (folder / "NDTiff.index").write_bytes(index[:-5])
    with pytest.raises(LocalizationError, match="the index is cut off"):
        open_movie(folder, channel=0)
    write_index(folder, entries_before := [e for e in entries_of(index, folder) if e[1] == FIRST])
    assert entries_before
    with pytest.raises(LocalizationError, match=f"{SECOND} holds frames that the index does not name"):
        open_movie(folder, channel=0)
    with open_movie(folder, channel=0, allow_cut=True) as movie:
        assert any("does not name" in note for note in movie.notes)


def entries_of(index, folder):
    (folder / "NDTiff.index").write_bytes(index)
    return entries(folder)


def test_a_set_without_its_index(folder):
    """The pages alone do not say which frame they are: refused, or read as they were saved if wished."""
    (folder / "NDTiff.index").unlink()
    for named in (folder, folder / FIRST):
        with pytest.raises(LocalizationError, match="NDTiff.index.* is missing.*allow_cut=True"):
            open_movie(named)
        with open_movie(named, allow_cut=True) as movie:
            assert movie.shape[0] == 13 and "NDTiff.index is missing" in movie.notes[0]


def test_other_axes(folder):
    """Positions are chosen by number, channels of numbers by their names, two further axes are refused."""
    found = entries(folder)
    for entry in found:
        place = {"GFP": 0, "DAPI": 1}[entry[0]["channel"]]
        entry[0] = {"time": entry[0]["time"], "position": place}
    write_index(folder, found)
    with pytest.raises(LocalizationError, match="2 positions.*--position 0"):
        open_movie(folder)
    with open_movie(folder, position="1") as movie:
        np.testing.assert_array_equal(movie.read(0, 6), truth(1))
    for entry in found:
        entry[0] = {"time": entry[0]["time"], "z": entry[0]["position"]}
    write_index(folder, found)
    with pytest.raises(LocalizationError, match="several axes .time 6, z 2."):
        open_movie(folder)


def test_a_damaged_index(folder):
    """Colour, a file in another folder, axes that are none: one line each."""
    whole = entries(folder)
    for change, words in (
        (lambda e: e[2].__setitem__(3, 2), "colour"),
        (lambda e: e[2].__setitem__(3, 77), "unknown type"),
        (lambda e: e.__setitem__(1, "../x.tif"), "damaged index"),
        (lambda e: e.__setitem__(0, [1]), "damaged index"),
        (lambda e: e[2].__setitem__(1, 1 << 31), "missing|cut off|pixels"),
    ):
        found = json.loads(json.dumps(whole))
        for entry in found:
            change(entry)
        write_index(folder, found)
        with pytest.raises(LocalizationError, match=words) as caught:
            open_movie(folder, channel=0)
        assert "\n" not in str(caught.value)
    (folder / "NDTiff.index").write_bytes(b"")
    with pytest.raises(LocalizationError, match="does not name|names no frame"):
        open_movie(folder)


def test_two_sets_in_a_folder_stay_two(folder):
    """The folder around two data sets is asked which one is meant."""
    shutil.copytree(folder, folder.parent / "run_2")
    with pytest.raises(LocalizationError, match="2 data sets .run_1, run_2"):
        open_movie(folder.parent)
