"""Movies of instruments: every pixel, a region, the facts, and what a file announces and does not hold."""

import base64
import importlib
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from localization import LocalizationError, open_movie
from made.instrument_files import (
    write_czi,
    write_dax,
    write_dcimg,
    write_ims,
    write_lif,
    write_nd2,
    write_sif,
    write_stk,
)

FRAMES = np.random.default_rng(0).integers(90, 4000, (6, 9, 13)).astype(np.uint16)
# frames of (time, channel, y, x) as pylibCZIrw 6.1 wrote them (tests/made/czi_by_pylibczirw.py)
CZI = (7 * np.arange(3 * 2 * 4 * 5) + 90).astype(np.uint16).reshape(3, 2, 4, 5)
CZI_FILES = json.loads((Path(__file__).parent / "czi_by_pylibczirw.json").read_text())


def same(path, frames=FRAMES, facts=(None, None, None), **options):
    """Read all, and a region, and the facts (pixel in um, exposure and interval in s); return the notes."""
    with open_movie(path, **options) as movie:
        assert movie.shape == frames.shape
        np.testing.assert_array_equal(movie.read(0, len(frames)), frames)
        np.testing.assert_array_equal(movie.read_stored(1, 2, rows=(1, 4), columns=(2, 5)), frames[1:2, 1:4, 2:5])
        assert movie.facts.frame_px == frames.shape[1:] and movie.facts.n_frames == len(frames)
        assert (movie.facts.pixel_um, movie.facts.exposure_s, movie.facts.interval_s) == tuple(
            fact if fact is None else pytest.approx(fact, rel=1e-6) for fact in facts
        )
        return movie.notes


def refused(path, *words, **options):
    with pytest.raises(LocalizationError) as caught:
        open_movie(path, **options).close()
    message = str(caught.value)
    assert "\n" not in message and str(path.name) in message
    assert all(word in message for word in words), message


def czi(folder, name):
    path = folder / f"{name}.czi"
    path.write_bytes(zlib.decompress(base64.b85decode(CZI_FILES[name])))
    return path


def test_nd2(tmp_path):
    pytest.importorskip("nd2", reason="the extra colocus[instruments] is not installed")
    write_nd2(tmp_path / "a.nd2", FRAMES)
    assert same(tmp_path / "a.nd2", facts=(0.108, 0.03, 0.033)) == ()
    write_nd2(tmp_path / "packed.nd2", FRAMES, packed=True)
    same(tmp_path / "packed.nd2", facts=(0.108, 0.03, 0.033))
    write_nd2(tmp_path / "bare.nd2", FRAMES, pixel_um=0.0, exposure_ms=0.0, period_ms=0.0)
    same(tmp_path / "bare.nd2")


def test_nd2_frames_that_never_came_are_said_and_not_black(tmp_path):
    nd2 = pytest.importorskip("nd2", reason="the extra colocus[instruments] is not installed")
    path = tmp_path / "gap.nd2"
    write_nd2(path, FRAMES, leave_out=[3], announced=8)
    with nd2.ND2File(path) as file:
        assert file.sizes["T"] == 8 and not file.read_frame(3).any() and not file.read_frame(7).any()
    refused(path, "announces 8 frames and holds 5", "frames 3, 6 to 7", "--allow-cut")
    (note,) = same(path, FRAMES[[0, 1, 2, 4, 5]], (0.108, 0.03, 0.033), allow_cut=True)
    assert "holds 5 of the 8 frames" in note and "frames 3, 6 to 7" in note


def test_nd2_of_several_channels_or_planes(tmp_path):
    pytest.importorskip("nd2", reason="the extra colocus[instruments] is not installed")
    write_nd2(tmp_path / "two.nd2", FRAMES, channels=2)
    refused(tmp_path / "two.nd2", "2 channels (C0, C1)", "--channel 0")
    assert same(tmp_path / "two.nd2", FRAMES[1::2], (0.108, 0.03, 0.033), channel=1) == ("channel 1 of 2 (C1) is read",)
    write_nd2(tmp_path / "planes.nd2", FRAMES, z=2)
    refused(tmp_path / "planes.nd2", "time 3, z 2")


def test_nd2_whose_chunks_lie_elsewhere(tmp_path):
    pytest.importorskip("nd2", reason="the extra colocus[instruments] is not installed")
    path = tmp_path / "a.nd2"
    write_nd2(path, FRAMES)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    refused(path, "broken off")
    path.write_bytes(whole.replace(b"ImageDataSeq|2!", b"ImageDataSeq|7!", 1))  # the chunk; its entry in the map stays
    with open_movie(path) as movie, pytest.raises(LocalizationError, match="frame 2 is not where the map says"):
        movie.read(0, 6)


@pytest.mark.parametrize("name", ["plain", "zstd0", "zstd1"])
def test_czi(tmp_path, name):
    assert same(czi(tmp_path, name), CZI[:, 0], (0.108, None, None)) == ()


def test_czi_of_channels_and_gaps(tmp_path):
    two = czi(tmp_path, "two channels")
    refused(two, "2 channels (dye 0, dye 1)", "--channel 0")
    same(two, CZI[:, 1], (0.108, None, None), channel="dye 1")
    gap = czi(tmp_path, "gap")
    refused(gap, "announces 3 frames and holds 2 (missing: frame 1)")
    assert "left out: frame 1" in same(gap, CZI[[0, 2], 0], (0.108, None, None), allow_cut=True)[0]


@pytest.mark.parametrize("compression", [0, 4, 5])
def test_czi_in_every_packing(tmp_path, compression):
    write_czi(tmp_path / "a.czi", FRAMES, compression=compression)
    same(tmp_path / "a.czi", facts=(0.108, None, None))


def test_czi_cut_off(tmp_path):
    path = tmp_path / "a.czi"
    write_czi(path, FRAMES)
    path.write_bytes(path.read_bytes()[:-700])
    refused(path, "directory")
    path.write_bytes(path.read_bytes()[:2000])
    refused(path, "directory of its frames is missing")


def test_a_czi_whose_parts_disagree_says_so(tmp_path):
    """A directory of fewer frames than it has entries for is refused; metadata that are not in their place are told."""
    path = tmp_path / "a.czi"
    write_czi(path, FRAMES)
    whole = path.read_bytes()
    at = whole.index(b"ZISRAWDIRECTORY") + 32
    (n,) = struct.unpack_from("<i", whole, at)
    assert n == len(FRAMES)
    path.write_bytes(whole[:at] + struct.pack("<i", n - 1) + whole[at + 4 :])
    refused(path, "directory of frames is damaged")
    path.write_bytes(whole.replace(b"ZISRAWMETADATA", b"zISRAWMETADATA"))
    with open_movie(path) as movie:
        assert any("metadata are not where it says" in note for note in movie.notes)


def test_czi_exposure(tmp_path):
    path = czi(tmp_path, "plain")
    comment = b"<Comment>pylibCZIrw generated</Comment>"
    said = b"<ExposureTime>3e+07</ExposureTime>".ljust(len(comment))  # nanoseconds
    path.write_bytes(path.read_bytes().replace(comment, said))
    same(path, CZI[:, 0], (0.108, 0.03, None))


def test_lif(tmp_path):
    pytest.importorskip("liffile", reason="the extra colocus[instruments] is not installed")
    facts = (0.108, 0.03, 0.04)
    write_lif(tmp_path / "a.lif", [FRAMES])
    assert same(tmp_path / "a.lif", facts=facts) == ()
    write_lif(tmp_path / "b.lif", [FRAMES, FRAMES[:4] + 1])
    refused(tmp_path / "b.lif", "2 positions (Series000, Series001)", "--position 0")
    same(tmp_path / "b.lif", FRAMES[:4] + 1, facts, position="Series001")
    write_lif(tmp_path / "c.lif", [FRAMES.reshape(3, 2, 9, 13)], channels=2)
    refused(tmp_path / "c.lif", "2 channels", "--channel 0")
    same(tmp_path / "c.lif", FRAMES[1::2], facts, channel=1)
    (tmp_path / "cut.lif").write_bytes((tmp_path / "a.lif").read_bytes()[:-300])
    refused(tmp_path / "cut.lif", "announces 6 frames and holds 4")
    same(tmp_path / "cut.lif", FRAMES[:4], facts, allow_cut=True)


@pytest.mark.parametrize("big_endian", [False, True])
def test_dax_in_the_byte_order_of_its_inf(tmp_path, big_endian):
    path = tmp_path / "a.dax"
    write_dax(path, FRAMES, big_endian=big_endian)
    same(path, facts=(None, 0.02, 0.025))


def test_dax_without_its_description(tmp_path):
    path = tmp_path / "a.dax"
    write_dax(path, FRAMES, announced=9)
    refused(path, "announces 9 frames and holds 6", "--allow-cut")
    text = path.with_suffix(".inf").read_text()
    path.with_suffix(".inf").write_text(text.replace("little endian", ""))
    with pytest.raises(LocalizationError, match="no line like 'data type = 16 bit integers"):
        open_movie(path)
    path.with_suffix(".inf").unlink()
    refused(path, "a.inf is missing")


def test_sif(tmp_path):
    path = tmp_path / "a.sif"
    write_sif(path, FRAMES)
    same(path, facts=(None, 0.03, 0.032))
    whole = path.read_bytes()
    path.write_bytes(whole[: -8 - 4 * 117 * 2 - 1])
    refused(path, "announces 6 frames and holds 3")
    same(path, FRAMES[:3], (None, 0.03, 0.032), allow_cut=True)
    path.write_bytes(whole[:430])
    refused(path, "ends within the times")
    path.write_bytes(whole[:200])
    refused(path, "announces no image")
    write_sif(path, FRAMES / 2)
    refused(path, "not whole numbers")
    path.write_bytes(whole[:-12] + b"\x01\x00\x80\x7f" + whole[-8:])  # a NaN at which processors complain
    refused(path, "not whole numbers (nan in frame 5)")


@pytest.mark.parametrize("version", [0x7, 0x1000000, 0x2000000])
def test_dcimg_puts_the_four_pixels_back(tmp_path, version):
    path = tmp_path / "a.dcimg"
    write_dcimg(
        path, FRAMES, version=version, y0=1020
    )  # of 0x1000000, line 1023 is row 3 of a frame that begins at 1020
    assert same(path, facts=(None, None, 0.01)) == ()
    raw = np.fromfile(path, np.uint16)
    assert not np.array_equal(raw[432 : 432 + FRAMES[0].size], FRAMES[0].ravel())  # where they lie is something else


def test_dcimg_of_the_whole_sensor_and_of_padded_rows(tmp_path):
    path = tmp_path / "a.dcimg"
    tall = np.random.default_rng(1).integers(90, 4000, (2, 1030, 6)).astype(np.uint16)
    write_dcimg(path, tall)
    with open_movie(path) as movie:
        np.testing.assert_array_equal(movie.read(0, 2), tall)
        np.testing.assert_array_equal(movie.read(0, 2, rows=(1023, 1024), columns=(1, 6)), tall[:, 1023:1024, 1:])
    write_dcimg(path, FRAMES, row_bytes=32, kept=False)
    same(path, facts=(None, None, 0.01))
    write_dcimg(path, FRAMES.astype(np.uint8), row_bytes=16, y0=1020)
    same(path, FRAMES.astype(np.uint8), (None, None, 0.01))
    write_dcimg(path, FRAMES, y0=2044, binning=1)  # line 1023 is not in the picture
    same(path, facts=(None, None, 0.01))


def test_dcimg_that_was_cut_or_dropped_frames(tmp_path):
    path = tmp_path / "a.dcimg"
    write_dcimg(path, FRAMES, dropped=2)
    (note,) = same(path, facts=(None, None, 0.05 / 7))
    assert "counted 8 frames" in note and "2 were dropped" in note
    write_dcimg(path, FRAMES)
    path.write_bytes(path.read_bytes()[:-40])
    refused(path, "announces 6 frames and holds 5", "--allow-cut")
    same(path, FRAMES[:5], (None, None, 0.01), allow_cut=True)
    path.write_bytes(path.read_bytes()[:300])
    refused(path, "truncated in its header")


def test_stk(tmp_path):
    write_stk(tmp_path / "a.stk", FRAMES)
    same(tmp_path / "a.stk", facts=(0.108, 0.03, 0.04))


def test_ims(tmp_path):
    path = tmp_path / "a.ims"
    write_ims(path, FRAMES[:, None])
    assert same(path, facts=(0.108, None, 0.05)) == ()
    both = np.stack([FRAMES, FRAMES + 1], 1)
    write_ims(path, both, unwritten=[4], leave_out=[2])
    refused(path, "2 channels (dye 0, dye 1)", "--channel 0")
    refused(path, "announces 6 frames and holds 4", "frames 2, 4", channel=1)
    notes = same(path, FRAMES[[0, 1, 3, 5]] + 1, (0.108, None, 0.05), channel="dye 1", allow_cut=True)
    assert "left out: frames 2, 4" in notes[1]


def test_ims_packed_by_a_filter_that_is_not_there(tmp_path):
    import h5py

    path = tmp_path / "a.ims"
    write_ims(path, FRAMES[:, None])
    with h5py.File(path, "a") as file:
        group = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"]
        del group["Data"]
        made = {"compression": 32004, "allow_unknown_filter": True, "chunks": (1, 16, 16)}  # LZ4
        group.create_dataset("Data", (1, 16, 16), np.uint16, **made)
    refused(path, "HDF5 filter 32004", "gzip")


def test_a_planes_movie_of_ims(tmp_path):
    import h5py

    path = tmp_path / "a.ims"
    write_ims(path, FRAMES[:1, None])
    with h5py.File(path, "a") as file:
        channel = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"]
        channel.attrs["ImageSizeZ"] = np.array([b"6"], "S1")
        del channel["Data"]
        channel.create_dataset("Data", data=np.pad(FRAMES, ((0, 2), (0, 7), (0, 3))), chunks=(8, 16, 16))
    same(path, facts=(0.108, None, None))


@pytest.mark.parametrize("ending, package", [("nd2", "nd2"), ("lif", "liffile")])
def test_without_the_extra_the_kind_is_named_and_the_command(tmp_path, monkeypatch, ending, package):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    path = tmp_path / f"a.{ending}"
    path.write_bytes(struct.pack("<I", 0x0ABECEDA) if ending == "nd2" else b"p\0\0\0")
    monkeypatch.setattr(importlib, "import_module", missing)
    refused(path, "pip install 'colocus[instruments]'", package, ending.upper())


def test_a_file_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    write_czi(tmp_path / "a.czi", FRAMES)

    def no(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("localization.io.movies.instruments.czi.os.open", no)
    refused(tmp_path / "a.czi", "Permission denied")


@pytest.mark.parametrize("ending", ["nd2", "czi", "lif", "sif", "dcimg", "ims", "dax"])
@pytest.mark.parametrize("content", [b"", b"not at all", bytes(range(256)) * 40])
def test_a_foreign_file_is_one_line(tmp_path, ending, content):
    if ending in ("nd2", "lif"):
        pytest.importorskip(ending if ending == "nd2" else "liffile")
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    refused(path)
