"""What the pages offer as movies: against what the reader of movies recognises, and nothing that it refuses at once."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from app.folders import kind, listing, numbered
from app.pages.look import spoken_size
from app.site import Refused, Site
from localization import open_movie
from localization.io.movies import recognise

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(tmp_path):
    (tmp_path / "open").mkdir()
    return Site.make([tmp_path / "open"])


def names(site, place=None):
    folders, files = listing(site, place or site.folders[0])
    return [path.name for path in folders], [path.name for path in files]


def test_a_file_is_listed_where_the_reader_takes_its_name_for_a_movies(site):
    """Of every ending that the formats' page names; a kind that is added later and forgotten here is found by it."""
    endings = set(re.findall(r"\.[a-z]\w{1,6}\b", (ROOT / "docs" / "formats.md").read_text()))
    assert {".dax", ".dcimg", ".ims", ".sif", ".nd2", ".txt"} <= endings
    for ending in endings:
        (site.folders[0] / f"m{ending}").touch()
    known = {ending for ending in endings if recognise(Path(f"no-such-file{ending}"))}
    assert set(names(site)[1]) == {f"m{ending}" for ending in known}


def test_arrays_that_are_no_frames_are_not_offered(site):
    """A mask, a table and a layer of a network are .npy files too; one that is damaged is, and says so when opened."""
    place = site.folders[0]
    for name, array in {
        "mask": np.zeros((9, 9)), "layer": np.zeros((1, 4, 9, 9)), "table": np.zeros((5, 4)), "profile": np.zeros(5),
        "frames": np.zeros((2, 9, 9), np.uint16), "frame": np.zeros((9, 9), np.uint16),
    }.items():  # fmt: skip
        np.save(place / f"{name}.npy", array)
    (place / "damaged.npy").write_bytes(b"no array")
    assert names(site)[1] == ["damaged.npy", "frame.npy", "frames.npy"]


def test_a_folder_of_frames_is_offered_as_one_movie(site):
    """Ten files of one frame each are one movie of ten frames to the reader; a single file is none."""
    place = site.folders[0] / "frames"
    place.mkdir()
    for k in range(10):
        tifffile.imwrite(place / f"img_{k:03d}.tif", np.full((8, 9), k, np.uint16), photometric="minisblack")
    (place / "notes.txt").touch()
    files = listing(site, place)[1]
    with open_movie(place) as movie:
        assert numbered(files) == 10 and spoken_size(movie.shape) == "10 frames of 8 rows and 9 columns"
    assert numbered(files[:1]) == numbered([place / "cell_1.tif", place / "beads_2.tif"]) == 0
    for name, what in (("ndtiff", "NDTiff.index"), ("store.zarr", ".zarray"), ("run", "plan.toml"), ("other", "x.txt")):
        (site.folders[0] / name).mkdir()
        (site.folders[0] / name / what).touch()
    said = {folder.name: kind(folder) for folder in listing(site, site.folders[0])[0]}
    assert said == {"frames": "folder", "ndtiff": "movie", "store.zarr": "movie", "run": "run", "other": "folder"}


def test_links_that_lead_outside_and_hidden_names_are_not_listed(site, tmp_path):
    (tmp_path / "secret.tif").touch()
    (tmp_path / "folder").mkdir()
    place = site.folders[0]
    for name, target in (("a.tif", "secret.tif"), ("b", "folder"), ("broken.tif", "none.tif")):
        (place / name).symlink_to(tmp_path / target)
    (place / ".hidden.tif").touch()
    (place / "B.TIF").touch()
    (place / "inside.tif").symlink_to(place / "B.TIF")
    assert names(site) == ([], ["B.TIF", "inside.tif"])
    with pytest.raises(Refused, match="cannot be read"):
        listing(site, place / "none")
