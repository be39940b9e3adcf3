"""Tables of instruments: N-STORM, Vutara, ONI, Leica, Abbelight, Elyra; each row against the numbers it was made of."""

import numpy as np
import pytest

from localization import LocalizationError, read, read_file
from made.instrument_tables import LEICA, LEICA_ROWS, NSTORM, NSTORM_5, VUTARA, make_tables


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One small file of every format."""
    return make_tables(tmp_path_factory.mktemp("tables"))


def put(folder, content, name="a.txt"):
    path = folder / name
    path.write_text(content, encoding="latin-1", newline="")
    return path


def test_nstorm_reads_what_is_corrected_most(files, tmp_path):
    """Xwc, Ywc, Zwc of the older header; X stays beside; frames from 1; 0 accuracy is unknown; Length is detections."""
    found = read_file(files["nstorm"])
    locs = found.locs
    assert found.format == "nstorm"
    np.testing.assert_allclose(locs.x_um, [1.011, 3.011, 0.511])
    np.testing.assert_allclose(locs.y_um, [2.021, 4.021, 0.621])
    np.testing.assert_allclose(locs.z_um, [0.091, -0.059, -0.009])
    np.testing.assert_array_equal(locs.frame, [0, 4, 6])
    np.testing.assert_allclose(locs.photons, [950.5, 850, 750])
    np.testing.assert_allclose(locs.sigma_x_um, [0.0125, np.nan, 0.014])
    np.testing.assert_array_equal(locs.channel, [647, 561, 647])
    np.testing.assert_array_equal(locs.extras["detections"], [1, 3, 1])
    np.testing.assert_array_equal(locs.extras["X"], [1000, 3000, 500])
    said = " ".join(found.notes)
    assert "Xwc, Ywc, Zwc (corrected for drift and colour)" in said and "1 rows are linked" in said
    assert "nothing is added" in said
    without = "\n".join("\t".join(line.split("\t")[:20]) for line in NSTORM.splitlines())
    np.testing.assert_allclose(read(put(tmp_path, without)).x_um, [1.01, 3.01, 0.51])
    header, rows = NSTORM.split("\n", 1)
    for ending in (header, header + "\t"):  # a tab at the end of each row, and of the header
        path = put(tmp_path, ending + "\n" + rows.replace("\n", "\t\n"))
        np.testing.assert_allclose(read(path).x_um, [1.011, 3.011, 0.511])


def test_nstorm_of_the_newer_header(files):
    """Empty Xwc gives way to Xc; channels by name are numbered; lines that end twice; counts are no photons."""
    found = read_file(files["nstorm-5"])
    assert found.format == "nstorm"
    np.testing.assert_allclose(found.locs.x_um, [1.01, 3.01])
    np.testing.assert_allclose(found.locs.z_um, [0.09, -0.06])
    np.testing.assert_array_equal(found.locs.frame, [0, 4])
    np.testing.assert_array_equal(found.locs.channel, [0, 1])
    np.testing.assert_array_equal(found.locs.extras["Area"], [700, 701])
    assert np.isnan(found.locs.photons).all()
    said = " ".join(found.notes)
    assert "channels: 0 = 647, 1 = Z Rejected" in said and "Xc, Yc, Zc (corrected for drift)" in said
    assert "Area is in counts" in said


def test_vutara(files, tmp_path):
    """Frames from 0 within a cycle, image-ID over several; probes are channels; no precision where it says 0."""
    found = read_file(files["vutara"])
    locs = found.locs
    assert found.format == "vutara"
    np.testing.assert_array_equal(locs.frame, [0, 8])
    np.testing.assert_array_equal(locs.channel, [0, 1])
    np.testing.assert_allclose([locs.x_um, locs.y_um, locs.z_um], [[1.0005, 3], [2, 4], [-0.1, 0.25]])
    np.testing.assert_allclose(locs.photons, [900, 800])
    np.testing.assert_allclose(locs.sigma_y_um, [0.011, np.nan])
    np.testing.assert_allclose(locs.extras["chi2"], [1.5, 1.6])
    np.testing.assert_array_equal(locs.extras["valid"], [1, 0])
    said = " ".join(found.notes)
    assert "several of z-step: frames are image-ID" in said and "1 of 2 rows are marked as not valid" in said
    one_cycle = put(tmp_path, VUTARA.replace("8,0,0,1,3,", "8,0,0,0,3,"))
    np.testing.assert_array_equal(read(one_cycle).frame, [0, 3])


def test_oni_full_export(files):
    """X (nm) beside X (pix): the nm count, the pixel follows; widths in um; Channel as it is, frames from 0."""
    found = read_file(files["oni"])
    locs = found.locs
    assert found.format == "nanoimager" and found.pixel_um == pytest.approx(0.117)
    np.testing.assert_array_equal(locs.frame, [0, 4])
    np.testing.assert_array_equal(locs.channel, [0, 1])
    np.testing.assert_allclose([locs.x_um, locs.y_um, locs.z_um], [[11.7, 23.4], [5.85, 1.17], [0.12, -0.03]])
    np.testing.assert_allclose(locs.sigma_x_um, [0.00936, 0.01053])
    np.testing.assert_allclose(locs.sigma_y_um, [0.00819, np.nan])
    np.testing.assert_allclose(locs.extras["width_x_um"], [1.2 * 0.117, 1.1 * 0.117])
    np.testing.assert_allclose(locs.extras["p-value"], [0.97, 0.5])
    np.testing.assert_allclose(locs.extras["X (pix)"], [100, 200])


@pytest.mark.parametrize("binary", [False, True])
def test_leica(files, tmp_path, binary):
    """Pixels, so the pixel is asked for; a z of 1e36 is none; a second stack goes on counting frames."""
    path = files["gsdim"]
    if binary:
        path = tmp_path / "events.bin"
        kinds = ["<f4" if "float" in word else "<u4" for word in LEICA.split(",")]
        np.array(list(LEICA_ROWS), np.dtype([(str(k), kind) for k, kind in enumerate(kinds)])).tofile(path)
        put(tmp_path, LEICA + "\n", "events.bin.desc")
    with pytest.raises(LocalizationError, match="counts in pixels .* give pixel_um"):
        read(path)
    found = read_file(path, pixel_um=0.1)
    locs = found.locs
    assert found.format == "gsdim"
    np.testing.assert_array_equal(locs.frame, [1, 5 + 1])
    np.testing.assert_allclose([locs.x_um, locs.y_um, locs.z_um], [[1.05, 6.4], [2.025, 1.2], [-0.1205, 0.04]])
    np.testing.assert_allclose(locs.photons, [900.5, 700])
    assert list(locs.extras) == ["n_raw"]
    said = " ".join(found.notes)
    assert "1 of 3 rows have no z" in said and "2 stacks" in said and "unit is not published" in said


def test_abbelight(files):
    """ThunderSTORM's layout with more columns: none of them is lost, two of them are widths."""
    found = read_file(files["abbelight"])
    locs = found.locs
    assert found.format == "abbelight" and "ThunderSTORM's" in found.notes[0]
    np.testing.assert_array_equal(locs.frame, [0, 4])
    np.testing.assert_allclose([locs.x_um, locs.y_um, locs.z_um], [[1, 3], [2, 4], [0.1, -0.05]])
    np.testing.assert_allclose(locs.sigma_y_um, [0.01, 0.011])
    np.testing.assert_allclose(locs.extras["width_x_um"], [0.15, 0.151])
    np.testing.assert_allclose(locs.extras["width_y_um"], [0.13, 0.131])
    np.testing.assert_array_equal(locs.extras["detections"], [1, 3])
    np.testing.assert_allclose(locs.extras["ratio_demixing"], [0.25, 0.26])
    assert {"intDemixing [photon]", "amplitude [photon]"} <= set(locs.extras)


def test_elyra_grouped(files):
    """Number Frames is detections, said in a note; channels from 1 become channels from 0."""
    found = read_file(files["elyra"])
    assert found.format == "elyra" and "1 rows are grouped" in found.notes[0]
    np.testing.assert_array_equal(found.locs.frame, [0, 6])
    np.testing.assert_array_equal(found.locs.extras["detections"], [1, 4])
    np.testing.assert_array_equal(found.locs.channel, [0, 1])
    np.testing.assert_allclose(found.locs.x_um, [1, 3])
    np.testing.assert_allclose(found.locs.extras["Frames Missing"], [0, 1])


BAD = {
    "no Y": ("Lateral Localization Accuracy\tFrame\tX\n12\t1\t100\n", "no column 'Y'"),
    "word": (NSTORM.replace("\t1011\t", "\tabout\t"), "line 2: column 'Xwc' is about, not a number"),
    "frame 0": (NSTORM_5.replace("647\t1\t0\t800", "647\t0\t0\t800"), "frames are whole and start at 1"),
    "half frame": (VUTARA.replace("8,0,0,1,3,", "8.5,0,0,1,3,"), "is 8.5; frames are whole"),
    "more fields": (VUTARA.replace("10,11,30", "10,11,30,7"), "more fields|not a regular CSV"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_tables_are_refused_in_one_line(kind, tmp_path):
    """One line that names the file, the line or column, and what is wrong."""
    content, words = BAD[kind]
    path = put(tmp_path, content)
    with pytest.raises(LocalizationError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["nstorm", "vutara", "oni", "elyra"])
def test_where_the_first_pixel_begins_is_said_to_be_unknown(files, name):
    assert any("does not say where its first pixel begins" in note for note in read_file(files[name]).notes)
