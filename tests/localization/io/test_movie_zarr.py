"""Zarr movies whose writing was broken off: frames that were never written are never taken for black ones."""

import shutil

import numpy as np
import pytest
import tifffile
import zarr

from experiments.lists.convert import convert
from localization import LocalizationError, MovieFacts, open_movie

FRAMES = np.random.default_rng(0).integers(1, 4000, (12, 20, 30)).astype(np.uint16)
KINDS = {
    "version 2": dict(chunks=(1, 20, 30), zarr_format=2),
    "version 3": dict(chunks=(1, 20, 30)),
    "tiles": dict(chunks=(1, 8, 16)),
    "several frames a chunk": dict(chunks=(5, 20, 16), zarr_format=2),
    "shards": dict(chunks=(1, 10, 30), shards=(4, 20, 30)),
    "chunks of two in shards": dict(chunks=(2, 20, 15), shards=(4, 20, 30)),
}


def same(path, frames, **options):
    with open_movie(path, **options) as movie:
        assert movie.shape == frames.shape
        np.testing.assert_array_equal(movie.read(0, len(frames)), frames)
        return "; ".join(movie.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_were_never_written(kind, tmp_path):
    """Of 12 frames announced 7 were written: an error that counts them, or those 7 with a line; whole, no line."""
    array = zarr.create_array(tmp_path / "a.zarr", shape=FRAMES.shape, dtype="uint16", **KINDS[kind])
    array[:7] = FRAMES[:7]
    with pytest.raises(LocalizationError, match="of 12 frames announced the last 5 were never written.*allow_cut"):
        open_movie(tmp_path / "a.zarr")
    note = same(tmp_path / "a.zarr", FRAMES[:7], allow_cut=True)
    assert note == "of 12 frames announced the last 5 were never written: 7 are read"
    array[7:] = FRAMES[7:]
    assert same(tmp_path / "a.zarr", FRAMES) == ""
    empty = zarr.create_array(tmp_path / "b.zarr", shape=FRAMES.shape, dtype="uint16", **KINDS[kind])
    assert empty.shape == FRAMES.shape
    with pytest.raises(LocalizationError, match="the last 12 were never written"):
        open_movie(tmp_path / "b.zarr", allow_cut=True)


@pytest.mark.parametrize("kind", ["version 2", "version 3", "tiles", "shards"])
def test_a_black_frame_in_the_middle_is_told(kind, tmp_path):
    """A chunk of zeros is legally left out (write_empty_chunks=False): the movie is read, with a line."""
    frames = FRAMES.copy()
    frames[4] = 0
    array = zarr.create_array(tmp_path / "a.zarr", shape=FRAMES.shape, dtype="uint16", **KINDS[kind])
    array[:] = frames
    assert same(tmp_path / "a.zarr", frames).startswith("chunks are missing in 1 of the frames, first in 4: black, or")


def test_an_ome_zarr_of_two_channels_and_a_lost_tile(tmp_path):
    """The chunks of the chosen channel count; a frame of which one tile is missing at the end is not whole."""
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    array = group.create_array("0", shape=(6, 2, 20, 30), dtype="uint16", chunks=(1, 1, 10, 30))
    array[:] = FRAMES.reshape(6, 2, 20, 30)
    group.attrs["ome"] = {"multiscales": [{"axes": [{"name": a} for a in "tcyx"], "datasets": [{"path": "0"}]}]}
    (tmp_path / "a.zarr/0/c/4/1/1/0").unlink()
    shutil.rmtree(tmp_path / "a.zarr/0/c/5/1")
    assert same(tmp_path / "a.zarr", FRAMES[::2], channel=0) == "channel 0 of 2 is read"
    with pytest.raises(LocalizationError, match="of 6 frames announced the last 2 were never written"):
        open_movie(tmp_path / "a.zarr", channel=1)
    same(tmp_path / "a.zarr", FRAMES[1:8:2], channel=1, allow_cut=True)


def test_images_beside_each_other(tmp_path):
    """A store of several images, as bioformats2raw lays them out: one is chosen as a position; one alone is read."""
    for n in (1, 2):
        root = zarr.open_group(tmp_path / f"{n}.zarr", mode="w")
        for k in range(n):
            image = root.create_group(str(k))
            image.create_array("0", shape=(6, 20, 30), dtype="uint16", chunks=(1, 20, 30))[:] = FRAMES[
                6 * k : 6 * k + 6
            ]
            image.attrs["ome"] = {"multiscales": [{"axes": [{"name": a} for a in "tyx"], "datasets": [{"path": "0"}]}]}
    same(tmp_path / "1.zarr", FRAMES[:6])
    with pytest.raises(LocalizationError, match=r"2 positions \(0, 1\); choose one with position=0"):
        open_movie(tmp_path / "2.zarr")
    assert same(tmp_path / "2.zarr", FRAMES[6:], position=1) == "position 1 of 2 (1) is read"


@pytest.mark.parametrize("ending", ["ome.tif", "zarr"])
def test_a_converted_movie_keeps_its_pixel_and_interval(ending, tmp_path):
    """From one OME file to another; a pixel that is not known is not invented."""
    said = {"axes": "TYX", "PhysicalSizeX": 108.0, "PhysicalSizeXUnit": "nm", "TimeIncrement": 20.0,
            "TimeIncrementUnit": "ms"}  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", FRAMES, ome=True, metadata=said, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", FRAMES, photometric="minisblack")
    for name, pixel_um, interval_s in (("a.ome.tif", 0.108, 0.02), ("b.tif", None, None)):
        out = tmp_path / f"from-{name[0]}.{ending}"
        convert(tmp_path / name, out)
        with open_movie(out) as movie:
            assert movie.facts == MovieFacts(pixel_um, (20, 30), 12, None, interval_s)
