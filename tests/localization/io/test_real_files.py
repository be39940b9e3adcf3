"""Real files of other programs: what they hold, and that positions fall on the light in the images beside them."""

import numpy as np
import pandas as pd
import pytest

from localization import LocalizationError, open_movie, read, read_file


def offsets_px(frames, locs, pixel_um, half=3):
    """Position minus centroid of the light around it, for spots without a neighbour; (n, 2) as x, y."""
    found = []
    for k, image in enumerate(frames):
        xy = np.stack([locs.x_um, locs.y_um], 1)[locs.frame == k] / pixel_um
        for x, y in xy:
            near = np.hypot(*(xy - (x, y)).T) < 2.5 * half
            i, j = int(y), int(x)
            inside = half <= i < image.shape[0] - half and half <= j < image.shape[1] - half
            if near.sum() > 1 or not inside:
                continue
            window = image[i - half : i + half + 1, j - half : j + half + 1].astype(float)
            light = np.maximum(window - np.percentile(window, 40), 0)
            rows, columns = np.mgrid[i - half : i + half + 1, j - half : j + half + 1] + 0.5
            found.append((x - (columns * light).sum() / light.sum(), y - (rows * light).sum() / light.sum()))
    return np.array(found)


def test_picasso_movie_and_table(data_folder):
    """Picasso's simulated .raw and its table: 564 rows, and positions on the spots to a hundredth of a pixel."""
    folder = data_folder("picasso-sim")
    found = read_file(folder / "testdata_locs.hdf5")
    assert (found.format, found.locs.frame.size, found.pixel_um, found.frame_px) == ("picasso", 564, 0.13, (32, 32))
    assert found.locs.photons[0] == pytest.approx(5788.1953) and found.locs.background[0] == pytest.approx(249.22217)
    assert found.locs.sigma_x_um[0] == pytest.approx(0.01806209 * 0.13)
    with open_movie(folder / "testdata.raw") as movie:
        assert movie.shape == (100, 32, 32) and movie.dtype == np.uint16
        frames = movie.read(0, 100)
    offsets = offsets_px(frames, found.locs, 0.13)
    assert len(offsets) >= 25 and np.abs(np.median(offsets, axis=0)).max() < 0.01  # half a pixel would be 0.5


def test_picasso_molecules_without_side_file(data_folder):
    """Linked molecules carry mean frames, which are rounded down with a note; without a pixel size it is asked for."""
    path = data_folder("picasso-egfr") / "egfr_mols.hdf5"
    with pytest.raises(LocalizationError, match="give pixel_um"):
        read(path)
    found = read_file(path, pixel_um=0.13)
    assert found.locs.frame.size == 4230 and found.locs.frame[0] == 8908 and "rounded down" in found.notes[0]
    assert found.locs.x_um[0] == pytest.approx((296.68414 + 0.5) * 0.13)


def test_challenge_truth_lies_on_the_light(data_folder):
    """The 2013 challenge's truth: frame 20 counted from 1, positions from the outer corner, on the spots."""
    folder = data_folder("thunderstorm-tubulins1")
    found = read_file(folder / "tubulins1_00020.csv")
    assert found.format == "challenge" and found.locs.frame.size == 49 and set(found.locs.frame) == {19}
    with open_movie(folder / "tubulins1_00020.tif") as movie:
        image = movie.read(0, 1)[0]
    offsets = offsets_px([np.zeros((1, 1))] * 19 + [image], found.locs, 0.15)
    assert len(offsets) > 20 and np.abs(np.median(offsets, axis=0)).max() < 0.1


def test_rapidstorm_counts_from_the_first_centre(data_folder):
    """rapidSTORM's list with half a pixel added lies on the spots of the movie; its frames count from 0."""
    folder = data_folder("locan-dstorm")
    path = folder / "rapidSTORM_from_images.txt"
    with pytest.raises(LocalizationError, match="give pixel_um"):
        read(path)
    found = read_file(path, pixel_um=0.1335)
    assert found.format == "rapidstorm" and found.locs.frame.size == 12 and "A/D count" in found.notes[0]
    assert found.locs.x_um[0] == pytest.approx(11.1351 + 0.06675)
    with open_movie(folder / "images.tif") as movie:
        offsets = offsets_px(movie.read(0, 5), found.locs, 0.1335)
    assert len(offsets) == 4 and np.abs(offsets).max() < 0.15


FORMATS = {
    "Elyra_dstorm_data.txt": ("elyra", 15, dict(frame=0, x_um=15.8506, photons=472, sigma_x_um=0.0086)),
    "Nanoimager_dstorm_data.csv": ("nanoimager", 14, dict(frame=1548, x_um=40.918949219, background=0.8485)),
    "SMLM_dstorm_data.smlm": ("smlm", 10, dict(frame=0, photons=13324.79980469)),
    "Thunderstorm_dstorm_data.csv": ("thunderstorm", 19, dict(frame=2000, sigma_x_um=0.02293255)),
    "decode_dstorm_data.h5": (
        "decode", 96,
        dict(frame=294, x_um=(138.89474 + 0.5) * 0.117, y_um=(-0.14920829 + 0.5) * 0.127, z_um=0.111926346),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_small_real_lists(name, data_folder):
    """Each real list is recognised; its first row is what stands in the file, in our units."""
    format, rows, first = FORMATS[name]
    found = read_file(data_folder("locan-dstorm") / "formats" / name)
    assert (found.format, found.locs.frame.size) == (format, rows)
    for column, value in first.items():
        assert getattr(found.locs, column)[0] == pytest.approx(value, rel=1e-6), column


def test_a_list_of_no_known_format_is_refused(data_folder):
    """Locan's own text example names neither unit nor known columns."""
    with pytest.raises(LocalizationError, match="no column 'x"):
        read(data_folder("locan-dstorm") / "formats" / "five_blobs_3D.txt")


def test_deepstorm3d_counts_from_the_corner(data_folder, tmp_path):
    """The original network's answers, put into its CSV as its own code does, come out on the truth."""
    folder = data_folder("ds3d-sim-reference")
    found = pd.read_csv(folder / "original_network_localizations_demo2.csv")
    truth = pd.read_csv(folder / "truth_demo2.csv")
    # EliasNehme/DeepSTORM3D, helper_utils.xyz_to_nm: half of the field's fine pixels is added, z counts from zmin
    columns = {
        "frame": found.image + 1,
        "x [nm]": 1000 * (found.x_um + 2 * 121 * 0.0275),
        "y [nm]": 1000 * (found.y_um + 2 * 121 * 0.0275),
        "z [nm]": 1000 * found.z_um,
        "intensity [au]": found.confidence,
    }
    pd.DataFrame(columns).to_csv(tmp_path / "locs.csv", index=False)
    table = read_file(tmp_path / "locs.csv")
    assert table.format == "deepstorm3d"
    centre_um = 60.5 * 0.11  # the truth counts from the centre of pixel 60 (its README)
    errors = []
    for k in range(found.shape[0]):
        same_frame = truth[truth.iloc[:, 0] == table.locs.frame[k]].to_numpy()
        shift = np.array([table.locs.x_um[k], table.locs.y_um[k]]) - centre_um - same_frame[:, 1:3]
        nearest = shift[np.argmin(np.hypot(*shift.T))]
        if np.hypot(*nearest) < 0.1:
            errors.append(nearest)
    assert len(errors) > 20 and np.abs(np.mean(errors, axis=0)).max() < 0.015  # half a pixel would be 0.055
