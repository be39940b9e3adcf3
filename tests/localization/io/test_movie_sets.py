"""A movie in several plain TIFF files: joined where the names are certain to mean one, told of where they may."""

import numpy as np
import pytest
import tifffile

from localization import LocalizationError, open_movie

FRAMES = np.random.default_rng(0).integers(0, 4000, (14, 20, 31)).astype(np.uint16)
NAMES = {
    "Andor Solis": ("cell.tif", "cell_X2.tif", "cell_X3.tif"),
    "PCO Camware": ("cell.tif", "cell@0001.tif", "cell@0002.tif"),
}


def write(folder, names, lengths=(5, 5, 4), frames=FRAMES):
    folder.mkdir(exist_ok=True)
    ends = np.cumsum(lengths)
    for name, n, end in zip(names, lengths, ends, strict=True):
        tifffile.imwrite(folder / name, frames[end - n : end], photometric="minisblack", metadata=None)
    return folder


def same(path, frames=FRAMES, **options):
    with open_movie(path, **options) as movie:
        assert movie.shape == frames.shape
        np.testing.assert_array_equal(movie.read(0, len(frames)), frames)
        return "; ".join(movie.notes)


@pytest.mark.parametrize("program", NAMES)
def test_files_in_which_a_program_goes_on(program, tmp_path):
    """The whole movie from any of its files or its folder, with a line that names them; one alone where asked for."""
    names = NAMES[program]
    folder = write(tmp_path / "a", names)
    said = f"3 files read as one movie: {names[0]} to {names[2]}"
    assert same(folder / names[0]) == said and same(folder) == said
    assert f"{names[1]} is a part of the movie that cell.tif begins" in same(folder / names[1])
    assert same(folder / names[0], FRAMES[:5], alone=True) == ""
    assert same(folder / names[1], FRAMES[5:10], alone=True) == ""
    (folder / names[1]).unlink()
    with pytest.raises(LocalizationError, match="before it is missing; copy the whole set, or read cell.tif by itself"):
        open_movie(folder / names[0])
    assert same(folder / names[0], FRAMES[:5], alone=True) == ""
    rest = write(tmp_path / "b", names[1:], (5, 4), FRAMES[5:])
    with pytest.raises(LocalizationError, match="cell.tif, with which the movie begins, is missing; .*allow_cut"):
        open_movie(rest)
    assert "cell.tif, with which the movie begins, is missing" in same(rest, FRAMES[5:], allow_cut=True)


def test_a_file_of_the_set_cut_off(tmp_path):
    """What follows a file that ends early is left out, if that is wished at all."""
    folder = write(tmp_path / "a", NAMES["Andor Solis"])
    whole = (folder / "cell_X2.tif").read_bytes()
    (folder / "cell_X2.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LocalizationError, match="cell_X2.tif: truncated"):
        open_movie(folder / "cell.tif")
    with open_movie(folder / "cell.tif", allow_cut=True) as movie:
        assert 5 <= movie.shape[0] < 10 and any("what follows cell_X2.tif is left out" in n for n in movie.notes)
        np.testing.assert_array_equal(movie.read(0, movie.shape[0]), FRAMES[: movie.shape[0]])


def test_names_of_one_movie_and_frames_of_two(tmp_path):
    """cell_X2.tif of other lengths or another size is another movie, and is said to lie there."""
    folder = write(tmp_path / "a", ("cell.tif", "cell_X2.tif", "cell_X3.tif"), (4, 6, 4))
    assert "cell_X2.tif is not read with it" in same(folder / "cell.tif", FRAMES[:4])
    assert "cell.tif lies beside it and is another movie" in same(folder / "cell_X2.tif", FRAMES[4:10])
    folder = write(tmp_path / "b", ("cell.tif",), (5,))
    tifffile.imwrite(folder / "cell_X2.tif", FRAMES[:5, :9], photometric="minisblack")
    assert "cell_X2.tif is not read with it" in same(folder / "cell.tif", FRAMES[:5])


def test_stacks_that_are_numbered(tmp_path):
    """A number may count files or cells: a file says what lies beside it, its folder is read as one movie."""
    names = [f"cell_{k:04}.tif" for k in (1, 2, 3)]
    folder = write(tmp_path / "a", names)
    note = same(folder / names[0], FRAMES[:5])
    assert note == (
        "cell_0002.tif and 1 more beside it are not read with it; to read all as one movie, give their folder"
    )
    assert same(folder / names[0], FRAMES[:5], alone=True) == ""
    assert same(folder) == "3 files read as one movie: cell_0001.tif to cell_0003.tif"
    write(folder, ["cell_0005.tif"], (5,))
    with pytest.raises(LocalizationError, match="files are missing from the numbers.*allow_cut"):
        open_movie(folder)
    single = write(tmp_path / "b", [f"f{k}.tif" for k in range(14)], [1] * 14)
    assert "f1.tif and 12 more beside it" in same(single / "f0.tif", FRAMES[:1])
    assert same(single) == ""


def test_a_long_movie_is_joined_in_number_order(tmp_path):
    """Ten stacks and more: 10 after 9, not after 1."""
    folder = write(tmp_path / "a", [f"{k}.tif" for k in range(1, 13)], [2] * 12, np.tile(FRAMES, (2, 1, 1)))
    same(folder, np.tile(FRAMES, (2, 1, 1))[:24])
