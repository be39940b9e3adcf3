"""Movies: every kind of file that is read, lazily, and every kind that is refused."""

import numpy as np
import pytest
import tifffile

from localization import LocalizationError, open_movie

FRAMES = np.random.default_rng(0).integers(0, 4000, (12, 20, 31)).astype(np.uint16)
GREY = {"photometric": "minisblack"}


def write_appended(path):
    with tifffile.TiffWriter(path) as writer:
        for frame in FRAMES:
            writer.write(frame, **GREY)


WRITERS = {
    "plain": lambda path: tifffile.imwrite(path, FRAMES, metadata=None, **GREY),
    "shaped": lambda path: tifffile.imwrite(path, FRAMES, **GREY),
    "bigtiff": lambda path: tifffile.imwrite(path, FRAMES, bigtiff=True, metadata=None, **GREY),
    "big-endian": lambda path: tifffile.imwrite(path, FRAMES, byteorder=">", **GREY),
    "deflate": lambda path: tifffile.imwrite(path, FRAMES, compression="zlib", **GREY),
    "lzw": lambda path: tifffile.imwrite(path, FRAMES, compression="lzw", predictor=True, **GREY),
    "ome": lambda path: tifffile.imwrite(path, FRAMES, ome=True, metadata={"axes": "TYX"}, **GREY),
    "imagej": lambda path: tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "TYX"}),
    "imagej z": lambda path: tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "ZYX"}),
    "imagej, one header": lambda path: tifffile.imwrite(
        path, FRAMES, imagej=True, truncate=True, metadata={"axes": "TYX"}
    ),
    "shaped, one header": lambda path: tifffile.imwrite(path, FRAMES, truncate=True, **GREY),
    "appended": write_appended,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_stack_gives_the_same_frames(kind, tmp_path):
    """Plain, ImageJ, OME, BigTIFF, compressed, frame by frame: shape, type and pixels as written, float32."""
    path = tmp_path / ("movie.ome.tif" if kind == "ome" else "movie.tif")
    WRITERS[kind](path)
    with open_movie(path) as movie:
        assert movie.shape == FRAMES.shape and movie.dtype == np.uint16
        part = movie.read(3, 8)
        assert part.dtype == np.float32
        np.testing.assert_array_equal(part, FRAMES[3:8])
        assert movie.read(12, 12).shape == (0, 20, 31)
        np.testing.assert_array_equal(movie.read(0, 12), FRAMES)


def test_a_single_frame_is_a_movie_of_one(tmp_path):
    """A two-dimensional TIFF, 8-bit or signed 16-bit, is one frame."""
    for dtype in (np.uint8, np.int16):
        tifffile.imwrite(tmp_path / "one.tif", FRAMES[0].astype(dtype), **GREY)
        with open_movie(tmp_path / "one.tif") as movie:
            assert movie.shape == (1, 20, 31) and movie.dtype == dtype


def test_folder_of_frames_is_in_number_order(tmp_path):
    """1.tif, 2.tif, ..., 12.tif read in that order, and hidden or other files are passed over."""
    for k, frame in enumerate(FRAMES):
        tifffile.imwrite(tmp_path / f"{k + 1}.tif", frame, **GREY)
    (tmp_path / "._1.tif").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    with open_movie(tmp_path) as movie:
        np.testing.assert_array_equal(movie.read(0, 12), FRAMES)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_only_the_frames_that_are_read_leave_the_disk(compression, tmp_path, monkeypatch):
    """Opening and reading 2 of 200 frames takes less than 5 % of the file's bytes through the file handle."""
    path = tmp_path / "movie.tif"
    frames = np.random.default_rng(1).integers(0, 4000, (200, 64, 64)).astype(np.uint16)
    tifffile.imwrite(path, frames, compression=compression, metadata=None, **GREY)
    asked = []
    read_array, read = tifffile.FileHandle.read_array, tifffile.FileHandle.read

    def counting_read(handle, size=-1, /):
        raw = read(handle, size)
        asked.append(len(raw))
        return raw

    def counting_array(handle, *args, **kwargs):
        array = read_array(handle, *args, **kwargs)
        asked.append(array.nbytes)
        return array

    monkeypatch.setattr(tifffile.FileHandle, "read", counting_read)
    monkeypatch.setattr(tifffile.FileHandle, "read_array", counting_array)
    with open_movie(path) as movie:
        np.testing.assert_array_equal(movie.read(100, 102), frames[100:102])
    assert 2 * 64 * 64 < sum(asked) < 0.05 * path.stat().st_size


def _save(path, data, **kwargs):
    tifffile.imwrite(path, data, **kwargs)


def _mixed_pages(path):
    with tifffile.TiffWriter(path) as writer:
        writer.write(FRAMES[0], **GREY)
        writer.write(FRAMES[0, :10], **GREY)


def _cut(keep):
    def write(path):
        tifffile.imwrite(path, FRAMES, metadata=None, **GREY)
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])

    return write


def _cut_imagej(path):
    WRITERS["imagej, one header"](path)
    path.write_bytes(path.read_bytes()[:-3000])


def _cut_shaped(path):
    WRITERS["shaped, one header"](path)
    path.write_bytes(path.read_bytes()[:-3000])


def _folder(path, files):
    path.mkdir()
    for name, data in files.items():
        tifffile.imwrite(path / name, data, **GREY)


BAD = {
    "missing": (lambda p: None, "no such file"),
    "empty file": (lambda p: p.write_bytes(b""), "the file is empty"),
    "text": (lambda p: p.write_text("not a movie"), "not a TIFF"),
    "header only": (lambda p: p.write_bytes(b"II*\0\x08\0\0\0"), "0 frames"),
    "cut at 5 %": (_cut(0.05), "truncated|damaged|0 frames"),
    "cut at half": (_cut(0.5), "truncated"),
    "cut at 99 %": (_cut(0.99), "truncated"),
    "cut imagej": (_cut_imagej, "truncated, it announces 12 frames"),
    "cut shaped": (_cut_shaped, "truncated"),
    "channels": (
        lambda p: _save(p, FRAMES[:3], imagej=True, metadata={"axes": "CYX"}),
        r"3 channels; choose one with channel=0 \(--channel 0\)",
    ),
    "rgb": (lambda p: _save(p, np.zeros((3, 8, 8, 3), np.uint8), photometric="rgb"), "colour"),
    "float": (
        lambda p: _save(p, np.full((3, 8, 8), 0.5, np.float32), **GREY),
        "float32 that are not whole numbers .0.5 in frame 0.*; convert the movie to uint16",
    ),
    "complex": (
        lambda p: _save(p, np.zeros((3, 8, 8), np.complex64), **GREY),
        "complex64; convert the movie",
    ),
    "mixed shapes": (_mixed_pages, "unequal shape"),
    "two channels": (
        lambda p: _save(p, np.zeros((3, 2, 8, 8), np.uint16), imagej=True, metadata={"axes": "TCYX"}),
        "2 channels; choose one",
    ),
    "z stacks": (
        lambda p: _save(p, np.zeros((3, 2, 8, 8), np.uint16), imagej=True, metadata={"axes": "TZYX"}),
        "several axes .time 3, z 2.",
    ),
    "empty folder": (lambda p: p.mkdir(), "holds no .tif"),
    "mixed folder": (lambda p: _folder(p, {"1.tif": FRAMES[0], "2.tif": FRAMES[0, :9]}), "2.tif: .*1.tif is"),
    "folder of unequal stacks": (
        lambda p: _folder(p, {"1.tif": FRAMES[:4], "2.tif": FRAMES[:9], "3.tif": FRAMES[:4]}),
        "2.tif: 9 frames, but 1.tif has 4; name the one",
    ),
    "folder of frames and a stack": (
        lambda p: _folder(p, {"1.tif": FRAMES[0], "2.tif": FRAMES}),
        "2.tif: holds 12 frames|unequal",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_movies_are_refused_in_one_line(kind, tmp_path, capfd):
    """Each bad movie gives one line that names the file and the trouble, and nothing else on the terminal."""
    write, words = BAD[kind]
    path = tmp_path / "movie.tif"
    write(path)
    with pytest.raises(LocalizationError, match=words) as caught:
        open_movie(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_small_movie_and_bad_ranges_are_refused(tmp_path):
    """A side below min_size_px and frames outside the movie are errors; a side equal to it is not."""
    path = tmp_path / "movie.tif"
    WRITERS["plain"](path)
    with pytest.raises(LocalizationError, match="20 x 31 px are smaller than the 21 px"):
        open_movie(path, min_size_px=21)
    with open_movie(path, min_size_px=20) as movie:
        for start, stop in ((0, 13), (-1, 2), (5, 4)):
            with pytest.raises(LocalizationError, match="the movie has 12"):
                movie.read(start, stop)


def test_damage_inside_a_compressed_frame_names_the_frame(tmp_path):
    """Zeroed bytes in the middle of a deflate stream are found when that frame is read, and only then."""
    path = tmp_path / "movie.tif"
    WRITERS["deflate"](path)
    with tifffile.TiffFile(path) as tif:
        start = tif.pages[7].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[start : start + 200] = bytes(200)
    path.write_bytes(raw)
    with open_movie(path) as movie:
        np.testing.assert_array_equal(movie.read(0, 7), FRAMES[:7])
        with pytest.raises(LocalizationError, match="frame 7 cannot be read"):
            movie.read(6, 9)
