"""Channels and positions chosen, frames that a file calls channels, pixels of other kinds, and what a file says."""

import json
import struct

import numpy as np
import pytest
import tifffile
import zarr

from experiments import cli
from experiments.instrument.calibrate_camera import CalibrateConfig, calibrate_camera
from experiments.reading.pieces.movie_job import movie_identity
from localization import LocalizationError, MovieFacts, MovieOptions, open_movie

FRAMES = np.random.default_rng(0).integers(0, 4000, (12, 20, 31)).astype(np.uint16)
GREY = {"photometric": "minisblack"}


def same(path, frames=FRAMES, **options):
    with open_movie(path, **options) as movie:
        assert movie.shape == frames.shape
        np.testing.assert_array_equal(movie.read(0, len(frames)), frames)
        return "; ".join(movie.notes)


def refused(path, words, **options):
    with pytest.raises(LocalizationError, match=words):
        open_movie(path, **options)


def imagej(path, frames, axes, **more):
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": axes}, **more)


def ome(path, frames, axes, **more):
    tifffile.imwrite(path, frames, ome=True, metadata={"axes": axes} | more, **GREY)


@pytest.mark.parametrize(("write", "axes"), [(imagej, "TCYX"), (ome, "TCYX"), (ome, "CTYX")])
def test_one_channel_of_a_stack(write, axes, tmp_path):
    """In the order of the file's pages, with channels fastest and slowest; several are refused until one is named."""
    path = tmp_path / ("a.ome.tif" if write is ome else "a.tif")
    stack = FRAMES.reshape(6, 2, 20, 31)
    write(path, stack if axes == "TCYX" else stack.swapaxes(0, 1), axes)
    refused(path, r"2 channels; choose one with channel=0 \(--channel 0\)")
    assert same(path, stack[:, 1], channel=1) == "channel 1 of 2 is read"
    same(path, stack[:, 0], channel="0")
    refused(path, "no channel 2, there are 2; channels count from 0", channel=2)
    refused(path, "no channel GFP, there are 2", channel="GFP")
    refused(path, "no position 1, there is 1", channel=0, position=1)


def test_frames_that_a_script_wrote_one_by_one_into_an_ome_file(tmp_path):
    """Each is an image of its own there: many of one frame are a movie, with a line that says so."""
    for n, name in ((12, "a.ome.tif"), (3, "b.ome.tif")):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for frame in FRAMES[:n]:
                writer.write(frame, **GREY)
    assert "names its 12 frames images of their own" in same(tmp_path / "a.ome.tif")
    refused(tmp_path / "b.ome.tif", "3 positions")


def test_channels_by_name_and_positions_of_an_ome_file(tmp_path):
    """Names are those of the description; two images in a file are two positions."""
    path = tmp_path / "a.ome.tif"
    ome(path, FRAMES.reshape(6, 2, 20, 31), "TCYX", Channel={"Name": ["GFP", "mCherry"]})
    refused(path, r"2 channels \(GFP, mCherry\)")
    assert same(path, FRAMES[1::2], channel="mcherry") == "channel 1 of 2 (mCherry) is read"
    with tifffile.TiffWriter(tmp_path / "b.ome.tif", ome=True) as writer:
        for name, frames in (("left", FRAMES[:5]), ("right", FRAMES[5:])):
            writer.write(frames, metadata={"axes": "TYX", "Name": name}, **GREY)
    refused(tmp_path / "b.ome.tif", r"2 positions \(left, right\); choose one with position=0")
    same(tmp_path / "b.ome.tif", FRAMES[5:], position="right")
    same(tmp_path / "b.ome.tif", FRAMES[:5], position=0)


def test_a_movie_whose_frames_are_called_channels(tmp_path, capsys):
    """A script that names no axes saves for ImageJ, and zarr likewise, many channels of one frame: these are frames."""
    tifffile.imwrite(tmp_path / "script.tif", FRAMES, imagej=True)
    assert b"channels=12" in (tmp_path / "script.tif").read_bytes()
    assert "names its 12 frames channels" in same(tmp_path / "script.tif")
    same(tmp_path / "script.tif", FRAMES[3:4], channel=3)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", shape=FRAMES.shape, dtype="uint16", chunks=(1, 20, 31))[:] = FRAMES
    group.attrs["ome"] = {"multiscales": [{"axes": [{"name": a} for a in "cyx"], "datasets": [{"path": "0"}]}]}
    assert "names its 12 frames channels" in same(tmp_path / "a.zarr")
    imagej(tmp_path / "three.tif", FRAMES[:3], "CYX")
    refused(tmp_path / "three.tif", "3 channels; choose one")
    assert (
        cli.main(["convert", str(tmp_path / "three.tif"), "--channel", "2", "--out", str(tmp_path / "o.ome.tif")]) == 0
    )
    assert "channel 2 of 3 is read" in capsys.readouterr().out
    same(tmp_path / "o.ome.tif", FRAMES[2:3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_kept_as_floating_point(dtype, tmp_path):
    """Whole counts in a float file are read with a line; a fraction is refused, where it is in the middle when read."""
    counts = FRAMES.astype(dtype) - 100
    tifffile.imwrite(tmp_path / "a.tif", counts, **GREY)
    np.save(tmp_path / "a.npy", counts)
    for name in ("a.tif", "a.npy"):
        assert f"pixels are {np.dtype(dtype)}: read as whole counts" in same(tmp_path / name, counts)
    with open_movie(tmp_path / "a.tif") as movie:
        assert movie.dtype == np.int32 and movie.read_stored(0, 2).dtype == np.int32
    for bad in (0.25, np.nan, 1e12):
        counts[4, 3, 2] = bad
        tifffile.imwrite(tmp_path / "b.tif", counts, **GREY)
        with open_movie(tmp_path / "b.tif") as movie:
            np.testing.assert_array_equal(movie.read(0, 4), counts[:4])
            with pytest.raises(LocalizationError, match="not whole numbers .* in frame 4.*without scaling"):
                movie.read(3, 6)


def test_palette_images_are_read_as_their_indices(tmp_path):
    """8-bit stacks with a colour table for looking at: of grey, and one whose colours do not rise."""
    frames = (FRAMES % 256).astype(np.uint8)
    grey = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    for name, table, words in (("g", grey, "a palette of 256 colours of grey"), ("r", grey[:, ::-1], "do not rise")):
        tifffile.imwrite(tmp_path / f"{name}.tif", frames, photometric="palette", colormap=table)
        note = same(tmp_path / f"{name}.tif", frames)
        assert words in note and "its indices are read" in note
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((3, 8, 8, 3), np.uint8), photometric="rgb")
    refused(tmp_path / "c.tif", "colour")


def test_what_ome_and_imagej_say_of_pixel_and_time(tmp_path):
    """Pixel, exposure, interval in the units of the description; what is not said, or in pixels, is not known."""
    plane = {"ExposureTime": [20.0] * 12, "ExposureTimeUnit": ["ms"] * 12, "DeltaT": [0.025 * k for k in range(12)]}
    ome(tmp_path / "a.ome.tif", FRAMES, "TYX", PhysicalSizeX=108.0, PhysicalSizeXUnit="nm", Plane=plane)
    ome(tmp_path / "b.ome.tif", FRAMES, "TYX", PhysicalSizeX=0.11, TimeIncrement=50.0, TimeIncrementUnit="ms")
    imagej_facts = {"unit": "um", "finterval": 0.03}
    tifffile.imwrite(tmp_path / "c.tif", FRAMES, imagej=True, resolution=(1 / 0.16, 1 / 0.16),
                     metadata={"axes": "TYX"} | imagej_facts)  # fmt: skip
    tifffile.imwrite(tmp_path / "d.tif", FRAMES, imagej=True, resolution=(72, 72), metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "e.tif", FRAMES, resolution=(72, 72), **GREY)
    expected = {
        "a.ome.tif": (0.108, 0.02, 0.025), "b.ome.tif": (0.11, None, 0.05), "c.tif": (0.16, None, 0.03),
        "d.tif": (None, None, None), "e.tif": (None, None, None),
    }  # fmt: skip
    for name, (pixel_um, exposure_s, interval_s) in expected.items():
        with open_movie(tmp_path / name) as movie:
            assert movie.facts == MovieFacts(
                pixel_um and pytest.approx(pixel_um, rel=1e-6), (20, 31), 12, exposure_s,
                interval_s and pytest.approx(interval_s),
            ), name  # fmt: skip


def test_what_micromanager_says_in_its_tags(tmp_path):
    """Tag 51123 of each page, and the description of the whole behind the header of the file."""
    path = tmp_path / "a_MMStack_Pos0.ome.tif"
    with tifffile.TiffWriter(path, ome=False) as writer:
        for k, frame in enumerate(FRAMES):
            about = json.dumps({"PixelSizeUm": 0.107, "Exposure-ms": 30.0, "ElapsedTime-ms": 7.0 + 31.0 * k}) + "\0"
            tag = (51123, 2, len(about), about, True)
            writer.write(frame, contiguous=False, metadata=None, extratags=[tag], **GREY)
    with open_movie(path) as movie:
        assert movie.facts == MovieFacts(0.107, (20, 31), 12, 0.03, pytest.approx(0.031))


def test_a_page_of_another_kind_of_number_is_not_read_as_the_first(tmp_path):
    """Float pages among whole ones of as many bytes: refused, not read as bits."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for k in range(3):
            frame = np.full((8, 9), 7, np.float32 if k == 1 else np.uint32)
            writer.write(frame, contiguous=False, metadata=None, **GREY)
    refused(tmp_path / "a.tif", "unequal shape or type")


def stk(path, frames):
    """Write MetaMorph's stack: one page whose strip goes on for all frames, and tag UIC2 with a row for each."""
    n = len(frames)
    description = b'<MetaData><prop id="Exposure Time" type="int" value="50 msec"/></MetaData>\0'
    pixels_at = 8
    uic2_at = pixels_at + frames.nbytes
    uic1_at = uic2_at + 24 * n
    about_at = uic1_at + 8 * 3
    ifd_at = about_at + 16 + 8 + len(description)
    days = 2_460_000  # julian
    uic2 = b"".join(struct.pack("<6I", 1, 1, days, 1000 + 60 * k, days, 1000 + 60 * k) for k in range(n))
    uic1 = struct.pack("<6I", 2, 1, 4, about_at, 6, about_at + 8)
    about = struct.pack("<2I", 16, 100) + struct.pack("<2I", 16, 100) + struct.pack("<I", 2) + b"um\0\0"
    tags = [
        (256, 4, 1, 31), (257, 4, 1, 20), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (270, 2, len(description), about_at + 24), (273, 4, 1, pixels_at), (277, 3, 1, 1), (278, 4, 1, 20),
        (279, 4, 1, 2 * 31 * 20), (33628, 4, 3, uic1_at), (33629, 5, n, uic2_at),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", ifd_at)
    path.write_bytes(
        head + frames.tobytes() + uic2 + uic1 + about + description
        + struct.pack("<H", len(tags)) + entries + bytes(4)
    )  # fmt: skip


def test_metamorph_stack(tmp_path):
    """All frames behind one header, and what the tags say of the exposure and of the times of the frames."""
    stk(tmp_path / "a.stk", FRAMES)
    same(tmp_path / "a.stk")
    with open_movie(tmp_path / "a.stk") as movie:
        assert (movie.facts.exposure_s, movie.facts.interval_s) == (0.05, pytest.approx(0.06))


def test_axes_that_are_fewer_frames_than_the_file_holds(tmp_path):
    """A damaged description does not leave frames out in silence."""
    imagej(tmp_path / "a.tif", FRAMES.reshape(6, 2, 20, 31), "TCYX")
    raw = (tmp_path / "a.tif").read_bytes()
    assert raw.count(b"frames=6") == 1
    (tmp_path / "a.tif").write_bytes(raw.replace(b"frames=6", b"frames=x"))
    refused(tmp_path / "a.tif", "its axes are 2 frames, the file holds 12", channel=1)


def test_what_is_chosen_reaches_the_jobs(tmp_path):
    """A camera is measured from the chosen channel; a list of one channel is not gone on with for another."""
    rng = np.random.default_rng(1)
    for name, mean in (("dark", 100), ("flat", 500)):
        counts = np.stack([rng.normal(mean, 3, (60, 16, 16)), 2 * rng.poisson(mean - 100, (60, 16, 16)) + 100], 1)
        imagej(tmp_path / f"{name}.tif", np.rint(counts).astype(np.uint16), "TCYX")
    names = str(tmp_path / "dark.tif"), (str(tmp_path / "flat.tif"),)
    measured = calibrate_camera(CalibrateConfig(dark=names[0], flats=names[1], opening=MovieOptions(channel=1)))
    assert measured.camera.gain_adu_per_e == pytest.approx(2, rel=0.1)  # 15360 readings: 3 sigma are 4 %
    assert "dark.tif: channel 1 of 2 is read" in measured.warnings
    with open_movie(names[0], channel=0) as one, open_movie(names[0], channel=1) as other:
        assert movie_identity(one) != movie_identity(other)
