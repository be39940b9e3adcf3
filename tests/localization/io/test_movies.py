"""Movies beyond the single stack: sets of files, one header above 4 GB, zarr, raw arrays, folders, parts, cuts."""

import os
import struct
import time
import tracemalloc

import numpy as np
import pytest
import tifffile
import zarr

from localization import LocalizationError, open_movie
from localization.io import MOVIES, MovieFormat, is_movie

FRAMES = np.random.default_rng(0).integers(0, 4000, (12, 20, 31)).astype(np.uint16)
GREY = {"photometric": "minisblack"}


def same(path, frames=FRAMES, **options):
    with open_movie(path, **options) as movie:
        assert movie.shape == frames.shape and movie.dtype == frames.dtype
        np.testing.assert_array_equal(movie.read(0, len(frames)), frames)
        return movie.notes


def ome_xml(names, n=12, image="Image:0", places=True):
    data = "".join(
        f'<TiffData FirstC="0" FirstT="{t}" FirstZ="0" IFD="{ifd}" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
        for t, (name, ifd) in enumerate(names)
    )
    sizes = f'SizeX="31" SizeY="20" SizeZ="1" SizeC="1" SizeT="{n}"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="{image}"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" {sizes}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )


def write_pages(path, frames, description=""):
    with tifffile.TiffWriter(path, bigtiff=False) as writer:
        for k, frame in enumerate(frames):
            text = description if k == 0 else None
            writer.write(frame, contiguous=False, metadata=None, description=text, **GREY)


def micromanager_set(folder, described=True):
    """Three files as Micro-Manager writes them: the first describes all, the others point to it."""
    names = ["a_MMStack_Pos0.ome.tif", "a_MMStack_Pos0_1.ome.tif", "a_MMStack_Pos0_2.ome.tif"]
    places = [(names[k // 5], k % 5) for k in range(12)]
    for k, name in enumerate(names):
        only = f'<OME><BinaryOnly MetadataFile="{names[0]}" UUID="urn:uuid:0"/></OME>'
        text = (ome_xml(places) if k == 0 else f'<?xml version="1.0"?>{only}') if described else ""
        write_pages(folder / name, FRAMES[5 * k : 5 * k + 5], text)
    return [folder / name for name in names]


@pytest.mark.parametrize("described", [True, False])
def test_micromanager_set(described, tmp_path):
    """The files in which a movie goes on are read with it, with a description and, after a crash, without."""
    files = micromanager_set(tmp_path, described)
    assert "3 files read as one movie" in same(files[0])[0]
    assert "3 files" in same(tmp_path)[0]  # the folder of the set
    if described:
        assert any("is a part of the movie" in note for note in same(files[1]))


def test_micromanager_set_with_a_lost_file(tmp_path):
    """A file that is gone is an error that names it, or, if wished, what stands before it."""
    files = micromanager_set(tmp_path)
    files[1].unlink()
    with pytest.raises(LocalizationError, match="_1.ome.tif is missing"):
        open_movie(files[0])
    assert any("5 are read" in note for note in same(files[0], FRAMES[:5], allow_cut=True))
    (tmp_path / "b").mkdir()
    files = micromanager_set(tmp_path / "b", described=False)
    files[1].unlink()
    with pytest.raises(LocalizationError, match="number 1 before it is missing"):
        open_movie(files[0])


def test_micromanager_file_cut_in_the_middle(tmp_path):
    """What follows a gap is left out, for its frames have lost their numbers."""
    for described in (True, False):
        (folder := tmp_path / str(described)).mkdir()
        files = micromanager_set(folder, described)
        with tifffile.TiffFile(files[1]) as tif:
            inside = tif.pages[3].dataoffsets[0] + 40
        os.truncate(files[1], inside)
        with pytest.raises(LocalizationError, match="_1.ome.tif: truncated, it ends after frame 2"):
            open_movie(files[0])
        notes = same(files[0], FRAMES[:8], allow_cut=True)
        assert any("_1.ome.tif is cut off: its first 3 frames" in note for note in notes)


def test_two_movies_side_by_side_stay_two(tmp_path):
    """cell.ome.tif and cell_1.ome.tif that each describe all their planes are not one movie."""
    for name in ("cell.ome.tif", "cell_1.ome.tif"):
        write_pages(tmp_path / name, FRAMES, ome_xml([(name, k) for k in range(12)]))
    assert same(tmp_path / "cell.ome.tif") == ()


def test_ome_pages_in_another_order(tmp_path):
    """Where the description gives each plane its page, that order holds."""
    path = tmp_path / "movie.ome.tif"
    write_pages(path, FRAMES, ome_xml([("movie.ome.tif", 11 - k) for k in range(12)]))
    same(path, FRAMES[::-1].copy())


def test_stopped_acquisition(tmp_path):
    """Fewer frames than the description announces: an error, or what is there."""
    path = tmp_path / "movie.ome.tif"
    write_pages(path, FRAMES[:8], ome_xml([("movie.ome.tif", k) for k in range(8)], n=12))
    with pytest.raises(LocalizationError, match="frame 8 is not there of the 12"):
        open_movie(path)
    same(path, FRAMES[:8], allow_cut=True)


def sparse_imagej(path, n_frames, side=512):
    """An ImageJ stack above 4 GB: one header, the frames back to back; all zeros but one, which is returned."""
    tifffile.imwrite(path, np.zeros((1, side, side), np.uint16), byteorder=">", metadata=None, **GREY,
                     description=f"ImageJ=1.54f\nimages={n_frames}\nframes={n_frames}\nloop=false\n")  # fmt: skip
    with tifffile.TiffFile(path) as tif:
        start = tif.pages.first.dataoffsets[0]
    frame_bytes = 2 * side * side
    marked = n_frames - 3
    frame = np.random.default_rng(1).integers(0, 60000, (side, side)).astype(np.uint16)
    with open(path, "rb+") as file:
        file.truncate(start + n_frames * frame_bytes)
        file.seek(start + marked * frame_bytes)
        file.write(frame.astype(">u2").tobytes())
    return marked, frame


def test_imagej_above_4_gb(tmp_path):
    """12,000 frames behind one header: opened at once, read by place, with little memory."""
    path = tmp_path / "movie.tif"
    marked, frame = sparse_imagej(path, 12_000)
    assert path.stat().st_size > 6e9
    started = time.perf_counter()
    with open_movie(path) as movie:
        assert time.perf_counter() - started < 1
        assert movie.shape == (12_000, 512, 512)
        np.testing.assert_array_equal(movie.read(marked - 1, marked + 1)[1], frame)
        np.testing.assert_array_equal(
            movie.read(marked, marked + 1, rows=(3, 9), columns=(100, 200))[0], frame[3:9, 100:200]
        )


def sparse_bigtiff(path, n_frames, side):
    """A BigTIFF with a header before every frame, as cameras stream it, of which only the headers are on disk."""
    frame_bytes = 2 * side * side
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 16, 1, 0),
            (277, 3, 1, 1), (278, 4, 1, side), (279, 16, 1, frame_bytes)]  # fmt: skip
    header_bytes = 8 + 20 * len(tags) + 8
    with open(path, "wb") as file:
        file.write(b"II" + struct.pack("<HHHQ", 43, 8, 0, 16))
        for k in range(n_frames):
            at = 16 + k * (header_bytes + frame_bytes)
            entries = b"".join(
                struct.pack("<HHQQ", tag, kind, count, at + header_bytes if tag == 273 else value)
                for tag, kind, count, value in tags
            )
            following = at + header_bytes + frame_bytes if k < n_frames - 1 else 0
            file.seek(at)
            file.write(struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", following))
            file.write(struct.pack("<H", k % 60000))  # the first pixel says which frame it is
        file.truncate(16 + n_frames * (header_bytes + frame_bytes))


def test_many_pages_open_at_once_and_leave_memory_flat(tmp_path):
    """30,000 headers over a gigabyte: opened without a walk, a pass of 8,000 frames keeps less than 1 MB."""
    path = tmp_path / "movie.btf"
    sparse_bigtiff(path, 30_000, 128)
    started = time.perf_counter()
    with open_movie(path) as movie:
        assert time.perf_counter() - started < 1
        assert movie.shape == (30_000, 128, 128)
        assert movie.read(29_999, 30_000)[0, 0, 0] == 29_999
        movie.read(0, 50)
        tracemalloc.start()
        for k in range(0, 8000, 50):
            assert movie.read(k, k + 50)[-1, 0, 0] == k + 49
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept < 1e6


def test_stray_page_among_even_ones_is_found(tmp_path):
    """Pages at even distances but for one that points elsewhere are walked one by one, so that none is lost."""
    path = tmp_path / "movie.tif"
    write_pages(path, np.repeat(FRAMES, 6, axis=0))
    same(path, np.repeat(FRAMES, 6, axis=0))
    raw = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        offsets = [page.offset for page in tif.pages]
    entries = struct.unpack_from("<H", raw, offsets[40])[0]
    struct.pack_into("<I", raw, offsets[40] + 2 + 12 * entries, offsets[43])  # two frames fall out of the chain
    path.write_bytes(raw)
    with open_movie(path) as movie:
        assert movie.shape[0] in (70, 72)  # 72 where the look at some headers misses it: all pixels are still there
    struct.pack_into("<I", raw, offsets[3] + 2 + 12 * struct.unpack_from("<H", raw, offsets[3])[0], offsets[1])
    path.write_bytes(raw)
    with pytest.raises(LocalizationError, match="circle"):
        open_movie(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_stack_cut_off(compression, tmp_path):
    """A file that ends early is refused with a remedy; with allow_cut its whole frames are read, with a note."""
    path = tmp_path / "movie.tif"
    with tifffile.TiffWriter(path) as writer:
        for frame in FRAMES:
            writer.write(frame, contiguous=False, metadata=None, compression=compression, **GREY)
    with tifffile.TiffFile(path) as tif:
        inside = tif.pages[7].dataoffsets[0] + 40
    os.truncate(path, inside)
    with pytest.raises(LocalizationError, match="truncated, it ends after frame 6; .*allow_cut=True"):
        open_movie(path)
    assert same(path, FRAMES[:7], allow_cut=True) == ("movie.tif is cut off: its first 7 frames are read",)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr(zarr_format, tmp_path):
    """Arrays of version 2 and 3, in chunks of several frames; OME groups with axes of length 1; channels refused."""
    array = zarr.create_array(tmp_path / "a.zarr", shape=FRAMES.shape, dtype="uint16", chunks=(5, 8, 31),
                              zarr_format=zarr_format)  # fmt: skip
    array[:] = FRAMES
    same(tmp_path / "a.zarr")
    with open_movie(tmp_path / "a.zarr") as movie:
        np.testing.assert_array_equal(movie.read(4, 9, rows=(2, 10), columns=(1, 3)), FRAMES[4:9, 2:10, 1:3])
    for name, axes, shape in (("b", "tczyx", (12, 1, 1, 20, 31)), ("c", "tcyx", (6, 2, 20, 31))):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w", zarr_format=zarr_format)
        group.create_array("0", shape=shape, dtype="uint16", chunks=(1, *shape[1:]))[:] = FRAMES.reshape(shape)
        scales = [{"axes": [{"name": axis} for axis in axes], "datasets": [{"path": "0"}]}]
        group.attrs.update({"ome": {"multiscales": scales}} if zarr_format == 3 else {"multiscales": scales})
    same(tmp_path / "b.zarr")
    with pytest.raises(LocalizationError, match=r"2 channels; choose one with channel=0 \(--channel 0\)"):
        open_movie(tmp_path / "c.zarr")
    assert same(tmp_path / "c.zarr", FRAMES[1::2], channel=1) == ("channel 1 of 2 is read",)
    with pytest.raises(LocalizationError, match="no channel 2, there are 2; channels count from 0"):
        open_movie(tmp_path / "c.zarr", channel=2)


def test_raw_with_yaml_and_npy(tmp_path):
    """Picasso's .raw in both byte orders, .npy of three and two dimensions, and what is wrong with either."""
    for order in "<>":
        (tmp_path / "m.raw").write_bytes(FRAMES.astype(f"{order}u2").tobytes())
        text = f"Byte Order: '{order}'\nData Type: uint16\nFrames: 12\nHeight: 20\nWidth: 31\n"
        (tmp_path / "m.yaml").write_text(text + "Camera: !!python/tuple [1, 2]\n")
        same(tmp_path / "m.raw")
    os.truncate(tmp_path / "m.raw", 20 * 31 * 2 * 5 + 7)
    with pytest.raises(LocalizationError, match="announces 12 frames and holds 5"):
        open_movie(tmp_path / "m.raw")
    assert "first 5" in same(tmp_path / "m.raw", FRAMES[:5], allow_cut=True)[0]
    (tmp_path / "m.yaml").write_text("Frames: 12\nHeight: 20\n")
    with pytest.raises(LocalizationError, match="'Width'"):
        open_movie(tmp_path / "m.raw")
    (tmp_path / "m.yaml").unlink()
    with pytest.raises(LocalizationError, match="m.yaml is missing"):
        open_movie(tmp_path / "m.raw")
    np.save(tmp_path / "m.npy", FRAMES)
    same(tmp_path / "m.npy")
    np.save(tmp_path / "m.npy", FRAMES[0])
    same(tmp_path / "m.npy", FRAMES[:1])
    for bad in (FRAMES + 0.5, np.asfortranarray(FRAMES), FRAMES[None]):
        np.save(tmp_path / "m.npy", bad)
        with pytest.raises(LocalizationError, match="float64|by columns|shape"):
            open_movie(tmp_path / "m.npy")


def folder_of(path, names):
    path.mkdir()
    for k, name in enumerate(names):
        tifffile.imwrite(path / name, FRAMES[k], **GREY)
    return path


def test_folders_with_gaps_and_doubles(tmp_path):
    """Missing numbers are told, an even step is not; the same number twice, two names, two channels are refused."""
    notes = same(folder_of(tmp_path / "a", [f"f{k}.tif" for k in (1, 2, 3, 7, 8, 10)]), FRAMES[:6])
    assert notes[0].startswith("4 frames are missing from the numbers of the files, first between f3.tif and f7.tif")
    assert same(folder_of(tmp_path / "b", [f"f{k}.tif" for k in (0, 5, 10)]), FRAMES[:3]) == ()
    assert same(folder_of(tmp_path / "c", [f"img_{k:09}_Default_000.tif" for k in range(12)])) == ()
    bad = {
        "d": (["1.tif", "01.tif"], "same number"),
        "e": (["a1.tif", "b1.tif"], "different names"),
        "f": (["img_000000000_red_000.tif", "img_000000000_green_000.tif"], r"2 channels \(green, red\); choose one"),
    }
    for name, (files, words) in bad.items():
        with pytest.raises(LocalizationError, match=words):
            open_movie(folder_of(tmp_path / name, files))
    assert same(tmp_path / "f", FRAMES[:1], channel="red") == ("channel 1 of 2 (red) is read",)


def test_parts_of_frames(tmp_path):
    """Rows and columns of plain and compressed stacks and of folders are those of the whole; wrong ones are errors."""
    tifffile.imwrite(tmp_path / "a.tif", FRAMES, **GREY)
    tifffile.imwrite(tmp_path / "b.tif", FRAMES, compression="zlib", tile=(16, 16), **GREY)
    folder_of(tmp_path / "c", [f"{k}.tif" for k in range(12)])
    for name in ("a.tif", "b.tif", "c"):
        with open_movie(tmp_path / name) as movie:
            part = movie.read(2, 5, rows=(3, 11), columns=(30, 31))
            np.testing.assert_array_equal(part, FRAMES[2:5, 3:11, 30:31])
            assert movie.read_stored(2, 5).dtype == np.uint16
            with pytest.raises(LocalizationError, match="rows 5 to 21 wanted, the movie has 20"):
                movie.read(0, 1, rows=(5, 21))


def test_one_more_kind_of_movie_is_one_entry(tmp_path, monkeypatch):
    """A kind that is put into the table is recognised, opened and told from a table."""
    path = tmp_path / "movie.toy"
    path.write_text("toy")
    assert not is_movie(path)
    toy = MovieFormat(
        "toy", lambda path: path.suffix == ".toy", lambda path, options: MOVIES["npy"].open(array, options)
    )
    array = tmp_path / "a.npy"
    np.save(array, np.zeros((2, 3, 4), np.uint8))
    monkeypatch.setitem(MOVIES, "toy", toy)
    assert is_movie(path)
    with open_movie(path) as movie:
        assert movie.shape == (2, 3, 4)
