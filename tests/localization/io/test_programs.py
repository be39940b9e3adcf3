"""Tables of other programs: SMAP, storm-analysis, PYME, COMET; origins, drift, frames and units by hand."""

from functools import partial

import h5py
import numpy as np
import pytest
import scipy.io

from localization import LocalizationError, make_localizations, read, read_file, write
from made.instrument_tables import make_h5r, make_sml, make_sml_5, sml

MAKERS = {"5": make_sml_5, "7": partial(make_sml_5, compressed=True), "7.3": make_sml}


def table(**more):
    # the centre of the pixel in row 2, column 5, of the seventh frame, 0.25 um above the coverslip
    return make_localizations([6], [0.55], [0.25], [0.25], photons=900.0, **more)


@pytest.mark.parametrize("version", MAKERS)
def test_smap_counts_the_first_centre_as_one(version, tmp_path):
    """xnm = 100 nm of 100 nm pixels is the first pixel's centre, 0.05 um from the corner; frames from 1."""
    found = read_file(MAKERS[version](tmp_path / "a_sml.mat"))
    locs = found.locs
    assert (found.format, found.pixel_um, found.frame_px, found.n_frames) == ("smap", 0.1, (48, 64), 20)
    assert found.locs.movie.exposure_s == pytest.approx(0.05)
    np.testing.assert_allclose(locs.x_um, [0.05, 0.6, 1.2])
    np.testing.assert_allclose(locs.y_um, [0.05, 0.3, 0.7])
    np.testing.assert_allclose(locs.z_um, [0, 0.25, -0.04])
    np.testing.assert_array_equal(locs.frame, [0, 6, 8])
    np.testing.assert_array_equal(locs.channel, [0, 1, 0])
    np.testing.assert_allclose([locs.photons, locs.background], [[900, 800, 700], [5, 6, 7]])
    np.testing.assert_allclose([locs.sigma_x_um, locs.sigma_z_um], [[0.01, 0.011, 0.012], [0.03, 0.031, 0.032]])
    assert list(locs.extras) == ["LLrel"]  # xpix says again what xnm says


@pytest.mark.parametrize("version", MAKERS)
def test_smap_counts_on_the_whole_chip(version, tmp_path):
    """A ROI that begins at column 3, row 1: taken off in the pixels of each axis; a note of it and of a mirror."""
    saved = sml(roi=[3.0, 1.0, 32.0, 16.0], cam_pixelsize_um=[0.1, 0.05], EMon=1.0, EMmirror=1.0)
    found = read_file(MAKERS[version](tmp_path / "a_sml.mat", saved))
    np.testing.assert_allclose(found.locs.x_um, np.array([0.1, 0.65, 1.25]) - 0.35)
    np.testing.assert_allclose(found.locs.y_um, np.array([0.1, 0.35, 0.75]) - 0.075)
    assert (found.frame_px, found.pixel_um) == ((16, 32), None)
    said = " ".join(found.notes)
    assert "column 3 and row 1, is taken off" in said and "mirrored" in said


def test_smap_of_several_movies(tmp_path):
    """Each row with the pixel and ROI of its own movie; `filenumber` stays."""
    saved = sml()
    saved["saveloc"]["loc"]["filenumber"] = np.array([[1.0], [2.0], [2.0]])
    file = np.zeros((2,), dtype=[("info", object)])
    file[0] = ({"cam_pixelsize_um": [0.1, 0.1], "roi": [0, 0, 9, 9]},)
    file[1] = ({"cam_pixelsize_um": [0.2, 0.2], "roi": [1, 0, 9, 9]},)
    saved["saveloc"]["file"] = file
    found = read_file(make_sml_5(tmp_path / "a_sml.mat", saved))
    np.testing.assert_allclose(found.locs.x_um, [0.1 - 0.05, 0.65 - 0.3, 1.25 - 0.3])
    np.testing.assert_array_equal(found.locs.extras["filenumber"], [1, 2, 2])
    assert found.pixel_um is None and "2 movies" in found.notes[0]


def test_smap_is_written_as_smap_loads_it(tmp_path):
    """Every field that SMAP wants, in its types; a row that it would drop is counted; the pixel has to be known."""
    path = tmp_path / "a_sml.mat"
    notes = write(
        path, table(sigma_x_um=0.03, sigma_y_um=0.04, channel=2), pixel_um=0.1, frame_px=(48, 64), n_frames=20
    )
    assert notes == ()
    saved = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    loc, info = saved["saveloc"].loc, saved["saveloc"].file.info
    wanted = dict(xnm=600, ynm=300, znm=250, frame=7, phot=900, channel=2, xnmerr=30, ynmerr=40, filenumber=1)
    assert {name: float(getattr(loc, name)) for name in wanted} == pytest.approx(wanted, rel=1e-6)
    assert float(loc.locprecnm) == pytest.approx(np.sqrt((30**2 + 40**2) / 2))
    held = scipy.io.loadmat(path)["saveloc"]["loc"][0, 0]
    assert (held["xnm"][0, 0].dtype, held["frame"][0, 0].shape) == (np.float32, (1, 1))
    assert (list(info.roi), list(info.cam_pixelsize_um)) == ([0, 0, 64, 48], [0.1, 0.1])
    assert saved["fileformat"].name == "sml"
    assert any("locprecnm is 1" in note for note in write(path, table(), pixel_um=0.1))
    assert np.isnan(read(path).sigma_x_um).all()  # and so it comes back as unknown
    wide = make_localizations([0, 1], [1, 1], [1, 1], [0, 0], sigma_x_um=[0.3, 0.01], sigma_y_um=[0.3, 0.01])
    assert any("drop 1 of 2" in note for note in write(path, wide, pixel_um=0.1))
    with pytest.raises(LocalizationError, match="give pixel_um"):
        write(path, table())


def test_smap_that_is_none(tmp_path):
    """Other MATLAB files, lists in parts and words for numbers: one line."""
    path = tmp_path / "a.mat"
    for saved, words in (
        ({"a": 1}, "without SMAP's saveloc.loc"),
        (sml(cam_pixelsize_um=np.zeros(0)), "does not say its pixel"),
    ):
        with pytest.raises(LocalizationError, match=words):
            read(make_sml_5(path, saved))
    saved = sml()
    saved["saveloc"]["loc"]["phot"] = np.zeros((0, 0))
    with pytest.raises(LocalizationError, match=r"phot has 0 rows, frame 3; a list that SMAP saved in parts"):
        read(make_sml_5(path, saved))
    with h5py.File(path, "w", userblock_size=512) as file:
        file["a"] = [1]
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    with pytest.raises(LocalizationError, match="without SMAP's saveloc.loc"):
        read(path)


def make_storm_analysis(path, finished=1, frames=((0, 0.0), (7, 0.5)), tracks=False, pixel_nm: float | None = 100.0):
    """A file as `SAH5Py` writes it: one group per frame, drift in its attributes."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"sa_type": "3D-DAOSTORM", "version": 0.1, "n_channels": 1, "analysis_finished": finished})
        file.attrs.update({"movie_l": 20, "movie_x": 64, "movie_y": 48, "movie_hash_value": "x"})
        if pixel_nm:
            file.attrs["pixel_size"] = pixel_nm
        for frame, drift_px in frames:
            group = file.create_group(f"fr_{frame}")
            group.attrs.update({"dx": drift_px, "dy": -drift_px, "dz": 0.01 * (drift_px > 0), "n_locs": 2})
            for name, values in (("x", [0.0, 5.0]), ("y", [2.0, 3.0]), ("z", [-0.1, 0.2]), ("sum", [900.0, 800.0])):
                group[name] = np.array(values)
            group["xsigma"], group["category"] = np.array([1.1, 1.2], np.float32), np.array([0, 1], np.int32)
        file.create_group("fr_9").attrs["n_locs"] = 0
        if tracks:
            group = file.create_group("tracks/tracks_0")
            group.attrs["n_tracks"] = 1
            for name, value in (("x", 1.0), ("y", 2.0), ("z", 0.1), ("frame_number", 3), ("track_length", 2),
                                ("sum", 1700.0), ("background", 12.0), ("xsigma", 2.4), ("category", 1)):  # fmt: skip
                group[name] = np.array([value])
    return path


def test_storm_analysis_adds_the_drift(tmp_path):
    """px from the first centre, z in um, dx, dy in px and dz in um added; category is channel; empty frames passed."""
    found = read_file(make_storm_analysis(tmp_path / "a.hdf5"))
    locs = found.locs
    assert (found.format, found.pixel_um, found.frame_px, found.n_frames) == ("storm-analysis", 0.1, (48, 64), 20)
    np.testing.assert_array_equal(locs.frame, [0, 0, 7, 7])
    np.testing.assert_allclose(locs.x_um, [0.05, 0.55, 0.1, 0.6])
    np.testing.assert_allclose(locs.y_um, [0.25, 0.35, 0.2, 0.3])
    np.testing.assert_allclose(locs.z_um, [-0.1, 0.2, -0.09, 0.21])
    np.testing.assert_allclose(locs.photons, [900, 800, 900, 800])
    np.testing.assert_array_equal(locs.channel, [0, 1, 0, 1])
    np.testing.assert_allclose(locs.extras["width_x_um"], [0.11, 0.12, 0.11, 0.12], rtol=1e-6)
    assert found.notes == ()


def test_storm_analysis_tracks_and_what_is_not_whole(tmp_path):
    """Tracks beside localizations are told, tracks alone are read; an unfinished analysis, no pixel, a short column."""
    path = tmp_path / "a.hdf5"
    assert "1 linked rows (tracks)" in read_file(make_storm_analysis(path, tracks=True)).notes[0]
    found = read_file(make_storm_analysis(path, frames=(), tracks=True))
    assert "linked rows (tracks) alone" in found.notes[0]
    locs = found.locs
    assert (locs.frame[0], locs.x_um[0], locs.photons[0], locs.background[0], locs.extras["detections"][0]) == (
        3, pytest.approx(0.15), 1700, 6, 2,
    )  # fmt: skip
    assert locs.extras["width_x_um"][0] == pytest.approx(0.12) and locs.channel[0] == 1
    assert "did not finish: rows reach as far as frame 9" in read_file(make_storm_analysis(path, finished=0)).notes[0]
    with pytest.raises(LocalizationError, match="does not say its pixel"):
        read(make_storm_analysis(path, pixel_nm=None))
    with h5py.File(make_storm_analysis(path), "r+") as file:
        del file["fr_7/y"]
        file["fr_7/y"] = np.zeros(3)
    with pytest.raises(LocalizationError, match="fr_7/y is not 2 numbers"):
        read(path)


def test_storm_analysis_is_written_frame_by_frame(tmp_path):
    """A group per frame with its count and no drift; rows of a frame that came apart stand together."""
    locs = make_localizations(
        [7, 0, 7], [0.55, 1, 2], [0.25, 1, 2], [0.25, 0, 0], photons=[900, 800, np.nan], channel=1
    )
    write(tmp_path / "a.hdf5", locs, format="storm-analysis", pixel_um=0.1, frame_px=(48, 64), n_frames=20)
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert {name for name in file if name.startswith("fr_")} == {"fr_0", "fr_7"}
        group = file["fr_7"]
        assert (group.attrs["n_locs"], group.attrs["dx"]) == (2, 0.0)
        np.testing.assert_allclose([group["x"][0], group["y"][0], group["z"][0], group["sum"][0]], [5, 2, 0.25, 900])
        np.testing.assert_array_equal(group["category"], [1, 1])
        assert (file.attrs["movie_x"], file.attrs["movie_y"], file.attrs["movie_l"]) == (64, 48, 20)
        assert file.attrs["pixel_size"] == pytest.approx(100) and b"<pixel_size>" in file["metadata.xml"][0]
    np.testing.assert_array_equal(read(tmp_path / "a.hdf5").frame, [0, 7, 7])


def test_pyme_adds_half_a_pixel(tmp_path):
    """h5r: nm from the first pixel's centre, tIndex from 0, -5000 is no error; .hdf: x, y, t; a pixel is needed."""
    found = read_file(make_h5r(tmp_path / "a.h5r"))
    locs = found.locs
    assert (found.format, found.pixel_um, found.frame_px) == ("pyme", 0.1, (48, 64))
    assert found.locs.movie.interval_s == pytest.approx(0.05)
    np.testing.assert_array_equal(locs.frame, [0, 4, 9])
    np.testing.assert_allclose(locs.x_um, [0.05, 0.55, 1.2845])
    np.testing.assert_allclose(locs.y_um, [0.05, 0.25, 0.127], rtol=1e-6)
    np.testing.assert_allclose(locs.sigma_x_um, [np.nan, 0.01, 0.012], rtol=1e-6)
    np.testing.assert_allclose(locs.extras["width_x_um"], [0.12, 0.121, 0.122], rtol=1e-6)
    np.testing.assert_array_equal(locs.extras["fitResults_A"], [300, 300, 300])
    assert np.isnan(locs.photons).all() and "counts of the camera" in found.notes[-1]
    rows = np.array(
        [(1.0, 3.0, 0, 900.0, 9.0, 1.0)], [(name, "f8") for name in ("x", "y", "t", "nPhotons", "error_x", "probe")]
    )
    with h5py.File(tmp_path / "b.hdf", "w") as file:
        file["Localizations"] = rows
    with pytest.raises(LocalizationError, match="first pixel's centre .* give pixel_um"):
        read(tmp_path / "b.hdf")
    locs = read(tmp_path / "b.hdf", pixel_um=0.1)
    assert (locs.x_um[0], locs.y_um[0], locs.photons[0], locs.channel[0]) == pytest.approx((0.051, 0.053, 900, 1))


def test_comet_takes_and_gives_an_array(tmp_path):
    """(n, 4) of x, y, z in nm and frame, as .npy and, by name, as text; anything else is refused."""
    path = tmp_path / "a.npy"
    assert "holds no photons" in write(path, table())[0]
    array = np.load(path)
    np.testing.assert_allclose(array, [[550, 250, 250, 6]])
    found = read_file(path)
    assert found.format == "comet" and (found.locs.x_um[0], found.locs.frame[0]) == (pytest.approx(0.55), 6)
    for name, options in (("a.csv", {"delimiter": ","}), ("b.txt", {}), ("c.txt", {"header": "x y z frame"})):
        np.savetxt(tmp_path / name, array, **options)
        assert read(tmp_path / name, format="comet").y_um[0] == pytest.approx(0.25)
    np.save(path, np.zeros((3, 5)))
    with pytest.raises(LocalizationError, match=r"an array of \(3, 5\)"):
        read(path)
    np.save(path, np.array([[1.0, 2.0, 3.0, 0.5]]))
    with pytest.raises(LocalizationError, match="whole number"):
        read(path)
    path.write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(LocalizationError, match="cannot be read"):
        read(path)
