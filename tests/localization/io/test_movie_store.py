"""Zarr movies that lie in no folder: read by address, by the chunks of the store, and never taken for whole."""

import functools
import http.server
import threading

import numpy as np
import pytest
import zarr

from experiments.reading.pieces.movie_job import movie_identity
from localization import LocalizationError, open_movie
from localization.io.movies.read_ahead import ReadAhead
from localization.io.movies.store import StoreUrl

fsspec = pytest.importorskip("fsspec")
FRAMES = np.random.default_rng(0).integers(1, 4000, (45, 20, 30)).astype(np.uint16)
# sockets of aiohttp, which close when the loop that fsspec keeps ends with the process
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def write(store, frames=FRAMES, **options):
    """An OME-Zarr image in which `frames` are written, of as many as FRAMES has."""
    group = zarr.open_group(store, mode="w")
    array = group.create_array("0", shape=FRAMES.shape, dtype="uint16", **options)
    array[: len(frames)] = frames
    scale = {"coordinateTransformations": [{"type": "scale", "scale": [0.02, 0.11, 0.11]}], "path": "0"}
    axes = [{"name": "t", "unit": "second"}, *({"name": a, "unit": "micrometer"} for a in "yx")]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [scale]}]}


@pytest.fixture(params=["memory", "http"])
def address(request, tmp_path):
    """A store in memory, and one that a server of this machine hands out: how to write to it, and its address."""
    if request.param == "memory":
        url = f"memory://{tmp_path.name}/a.zarr"
        yield zarr.storage.FsspecStore.from_url(url), url
        return
    pytest.importorskip("aiohttp")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "a.zarr", f"http://127.0.0.1:{server.server_port}/a.zarr"
        server.shutdown()


def test_an_ome_zarr_is_read_by_its_address(address):
    """Whole, in pieces that do not fit its chunks, a part of every frame; with its pixel and interval."""
    store, url = address
    write(store, chunks=(4, 10, 30))
    with open_movie(url) as movie:
        assert movie.shape == FRAMES.shape and (movie.facts.pixel_um, movie.facts.interval_s) == (0.11, 0.02)
        np.testing.assert_array_equal(movie.read(0, 45), FRAMES)
        for start in range(0, 45, 7):
            stop = min(start + 7, 45)
            np.testing.assert_array_equal(
                movie.read(start, stop, rows=(3, 12), columns=(5, 29)), FRAMES[start:stop, 3:12, 5:29]
            )
        np.testing.assert_array_equal(movie.read(2, 3), FRAMES[2:3])
        assert movie_identity(movie)["path"] == url


def test_what_was_not_written_or_is_not_there_is_one_line(address):
    store, url = address
    write(store, FRAMES[:30], chunks=(4, 20, 30))
    with pytest.raises(LocalizationError, match="the last of 45 frames announced was never written.*finish the upload"):
        open_movie(url)
    with pytest.raises(LocalizationError, match="not a zarr array") as error:
        open_movie(url.replace("a.zarr", "b.zarr"))
    assert "\n" not in str(error.value)


def test_an_address_nobody_knows():
    with pytest.raises(LocalizationError, match="^nonsense://host/a.zarr: cannot be opened"):
        open_movie("nonsense://host/a.zarr")
    assert str(StoreUrl.of("gs:/bucket/a.zarr")) == "gs://bucket/a.zarr"


def test_each_run_of_frames_is_read_once_and_the_next_beforehand():
    """In order, across borders, backwards; whole runs alone are asked of the store."""
    asked = []

    def read(start, stop, rows, columns):
        asked.append((start, stop))
        return FRAMES[start:stop, rows, columns]

    ahead, everything = ReadAhead(read, 45, 10, 2), (slice(0, 20), slice(0, 30))
    for start in range(0, 45, 3):
        np.testing.assert_array_equal(ahead.block(start, min(start + 3, 45), *everything), FRAMES[start : start + 3])
    assert asked == [(0, 10), (10, 20), (20, 30), (30, 40), (40, 45)]
    np.testing.assert_array_equal(ahead.block(8, 12, *everything), FRAMES[8:12])
    ahead.block(0, 1, *everything)
    asked.clear()
    ahead.block(0, 4, *everything)
    ahead.block(4, 12, *everything)
    ahead.close()
    assert (0, 10) not in asked and all(start % 10 == 0 for start, _ in asked)
    large = ReadAhead(read, 45, 10, 1 << 30)
    np.testing.assert_array_equal(large.block(8, 12, *everything), FRAMES[8:12])
    assert asked[-1] == (8, 12)
    large.close()
