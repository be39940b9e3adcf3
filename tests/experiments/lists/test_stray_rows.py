"""One row of a failed fit in a good list, far in x and y, z or frames: every job answers as it does without it.

Each runs within seconds and a hundred MB; a grid over the positions of these lists would take terabytes.
"""

import numpy as np
import pytest
import yaml

from experiments.lists.evaluate import EvaluateConfig, evaluate
from experiments.lists.filter import filter_list
from experiments.lists.link import LinkConfig, link
from experiments.lists.render import RenderConfig, render
from experiments.lists.resolution import ResolutionConfig, resolution
from experiments.lists.track import TrackConfig, track
from localization import (
    Criteria,
    LocalizationError,
    concatenate,
    fourier_ring_correlation,
    make_localizations,
    read_file,
    select,
    to_image,
    write,
)

N = 4000
STRAY = {"x and y": (700, 5000.0, -3000.0, 0.0), "z": (700, 2.0, 2.0, 1e4), "frame": (10**9, 2.0, 2.0, 0.0)}


@pytest.fixture(scope="module")
def good():
    """Molecules of 10 nm in 4 x 4 um, each seen some ten times in 2000 frames."""
    rng = np.random.default_rng(0)
    place = rng.uniform(0, [4, 4, 0.5], (N // 10, 3))[rng.integers(0, N // 10, N)]
    seen = place + rng.normal(0, [0.01, 0.01, 0.02], (N, 3))
    return make_localizations(np.sort(rng.integers(0, 2000, N)), *seen.T, sigma_x_um=0.01, sigma_y_um=0.01)


@pytest.fixture(params=STRAY)
def stray(request, good):
    """The good list and one row more, the last; and where it is far."""
    frame, x, y, z = STRAY[request.param]
    row = make_localizations([frame], [x], [y], [z], sigma_x_um=0.01, sigma_y_um=0.01)
    return request.param, concatenate([good, row])


@pytest.mark.parametrize("mode", ["histogram", "gaussian"])
def test_picture(good, stray, mode):
    """The picture reaches over the others alone, and a note says so; where the row lies among them, it is drawn."""
    where, locs = stray
    config = RenderConfig(pixel_nm=20.0, mode=mode)
    picture, without = render(locs, config), render(good, config)
    assert picture.density.shape == without.density.shape
    assert picture.density.sum() - without.density.sum() == pytest.approx(0 if where == "x and y" else 1, abs=0.2)
    assert ("row 4001 (x = 5000 um" in picture.lines()[-1]) == (where == "x and y") == bool(picture.notes)


def test_a_picture_of_the_whole_bounding_box_names_the_row(stray):
    """The library's picture without a region is of all rows: too large, with the row that makes it so."""
    where, locs = stray
    if where == "x and y":
        with pytest.raises(
            LocalizationError, match=r"million allowed.*; row 4001 .*colocus filter LIST --out GOOD 'x_um"
        ):
            to_image(locs, 0.01)
    else:
        assert to_image(locs, 0.02).sum() == N + 1


def test_resolution(good, stray):
    """The same rings to the bit without the row, and its blocks of frames are the good list's."""
    where, locs = stray
    config = ResolutionConfig(pixel_nm=20.0, repeats=2)
    found, without = resolution(locs, config), resolution(good, config)
    if where == "z":
        assert found.rings.n_rows == N + 1 and not found.rings.notes
    else:
        np.testing.assert_array_equal(found.rings.correlation, without.rings.correlation)
        assert "row 4001" in found.lines()[-1] and "left out" in found.lines()[-1]


def test_blocks_of_frames_take_memory_by_rows(good):
    """Half of a list 10^15 frames later: blocks are counted, not stored."""
    late = make_localizations(good.frame + 10**15 * (good.frame > 1000), good.x_um, good.y_um, good.z_um)
    rings = fourier_ring_correlation(late, 0.02, rng=0, repeats=1, block_frames=100)
    assert rings.n_rows == N


def test_links_and_tracks(good, stray):
    """The row stays alone; all others are linked as without it."""
    locs = stray[1]
    molecules, without = (link(table, LinkConfig(radius_um=0.05, gap_frames=3)).linked for table in (locs, good))
    assert molecules.locs.frame.size == without.locs.frame.size + 1
    np.testing.assert_array_equal(np.unique(molecules.molecule[:-1], return_inverse=True)[1], without.molecule)
    config = TrackConfig(max_step_um=0.05, gap_frames=3)
    found, before = track(locs, config), track(good, config)
    np.testing.assert_array_equal(found.locs.x_um, before.locs.x_um)


def test_density(good, stray):
    """The row has no neighbours, or one more for those beside it."""
    where, locs = stray
    criteria = Criteria(density_radius_um=0.03, density_z_radius_um=0.1, neighbours_min=4)
    kept, before = filter_list(locs, criteria).locs, filter_list(good, criteria).locs
    assert where == "frame" or kept.frame.size == before.frame.size


def test_scores(good, stray):
    """A row too many costs what one wrong row costs; in the truth it does not widen the box of the points at random."""
    where, locs = stray
    config = EvaluateConfig(gates_nm=((250.0, 500.0),), resamples=10)
    assert evaluate(locs, good, config).gates[0].scores["jaccard"].estimate == pytest.approx(N / (N + 1))
    found = evaluate(good, locs, config)
    chance = evaluate(good, good, config).gates[0].chance.jaccard
    assert found.gates[0].chance.jaccard == pytest.approx(chance, rel=0.1)
    assert any("row 4001" in line for line in found.lines()) == (where != "frame")


def test_picasso_frame(good, stray, tmp_path):
    """Width, Height and Frames are those of the other rows; the row is named, and every row is written."""
    where, locs = stray
    notes = write(tmp_path / "locs.hdf5", locs, pixel_um=0.1)
    said = yaml.safe_load((tmp_path / "locs.yaml").read_text())
    expected = [int(np.ceil(good.x_um.max() / 0.1)), int(np.ceil(good.y_um.max() / 0.1)), int(good.frame.max()) + 1]
    assert [said["Width"], said["Height"], said["Frames"]] == expected
    assert any("far from all others" in note for note in notes) == (where != "z")
    assert read_file(tmp_path / "locs.hdf5").locs.frame.size == N + 1


@pytest.mark.parametrize(("name", "format"), [("locs_sml.mat", "smap"), ("locs.hdf5", "storm-analysis")])
def test_frame_of_other_programs(good, stray, tmp_path, name, format):
    """SMAP's and storm-analysis' size of the movie is the good list's; every row comes back.

    Of some 200 frames: storm-analysis keeps a group for each.
    """
    found = []
    for k, locs in enumerate((good, stray[1])):
        locs = select(locs, np.r_[: N // 10, N : locs.frame.size])
        notes = write(tmp_path / f"{k}{name}", locs, format=format, pixel_um=0.1)
        found.append(read_file(tmp_path / f"{k}{name}", format=format))
    assert found[0].frame_px == found[1].frame_px and found[1].locs.frame.size == N // 10 + 1
    assert any("far from all others" in note for note in notes) == (stray[0] != "z")


def test_frames_that_a_file_or_a_number_cannot_hold(tmp_path):
    """A frame beyond what is counted exactly is refused, and one beyond Picasso's is not written as another."""
    with pytest.raises(LocalizationError, match="frame of row 0 is 1e"):
        make_localizations([1e300], [0.0], [0.0], [0.0])
    late = make_localizations([2**33], [1.0], [1.0], [0.0])
    with pytest.raises(LocalizationError, match=r"frame 8.58993e\+09, which Picasso cannot hold"):
        write(tmp_path / "locs.hdf5", late, pixel_um=0.1)
    assert not list(tmp_path.iterdir())
