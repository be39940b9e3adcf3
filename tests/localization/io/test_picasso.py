"""Picasso's two generations: lengths in pixels and in nm, told apart by `picasso_format`.

What a column means is as in `picasso.legacy` of 1.0.0a1. Files of ours opened by 0.11.3 and 1.0.0a1, and theirs read
here, agree to 3e-7 um, which is float32.
"""

import json

import h5py
import numpy as np
import pytest

from localization import LocalizationError, make_localizations, read_file, write

META = [{"Width": 32, "Height": 16, "Frames": 10, "Pixelsize": 100}]


def save(path, version=None, meta=META, **columns):
    table = np.zeros(1, [(name, "u4" if name == "frame" else "f4") for name in columns])
    for name, value in columns.items():
        table[name] = value
    with h5py.File(path, "w") as file:
        file["locs"], file["metadata"] = table, json.dumps(meta)
        if version is not None:
            file.attrs["picasso_format"], file.attrs["picasso_version"] = version, "1.0.0a1"
    return path


def test_the_new_generation_counts_in_nm(tmp_path):
    """x = 1000 nm at 100 nm pixels is 1.05 um: half a pixel more, as in pixels; widths and uncertainties in nm."""
    columns = dict(frame=3, x=1000, y=500, z=-70, photons=900, sx=120, lpx=5, lpy=6, sx_unc=2, likelihood=-9)
    found = read_file(save(tmp_path / "new.hdf5", "1.0", **columns))
    assert (found.format, found.frame_px, found.n_frames) == ("picasso-1", (16, 32), 10)
    locs = found.locs
    new = [float(c[0]) for c in (locs.x_um, locs.y_um, locs.z_um, locs.sigma_x_um, locs.sigma_y_um)]
    assert new == pytest.approx([1.05, 0.55, -0.07, 0.005, 0.006])
    wanted = {"width_x_um": 0.12, "sx_unc [nm]": 2, "log_likelihood": -9}
    assert {name: float(column[0]) for name, column in locs.extras.items()} == pytest.approx(wanted)
    pixels = columns | dict(x=10, y=5, sx=1.2, lpx=0.05, lpy=0.06, sx_unc=0.02)
    old = read_file(save(tmp_path / "old.hdf5", **pixels))
    assert old.format == "picasso"
    for name in ("x_um", "y_um", "z_um", "sigma_x_um", "sigma_y_um"):
        assert getattr(old.locs, name) == pytest.approx(getattr(locs, name))
    assert {name: float(column[0]) for name, column in old.locs.extras.items()} == pytest.approx(wanted)


def test_both_are_written(tmp_path):
    """`picasso` in pixels without the mark, `picasso-1` in nm with it; a length goes through in its unit."""
    locs = read_file(save(tmp_path / "a.hdf5", "1.0", frame=3, x=1000, y=500, lpx=5, lpy=6, area=10_000)).locs
    for name, x, lpx, area, mark in (("picasso", 10, 0.05, 1, None), ("picasso-1", 1000, 5, 10_000, "1.0")):
        assert write(tmp_path / "b.hdf5", locs, format=name)[1:] == ()  # what is said is that photons are not known
        with h5py.File(tmp_path / "b.hdf5") as file:
            row = np.asarray(file["locs"])[0]
            assert file.attrs.get("picasso_format") == mark
        assert [float(row[c]) for c in ("x", "lpx", "area")] == pytest.approx([x, lpx, area])
        found = read_file(tmp_path / "b.hdf5")
        assert (found.format, found.locs.x_um[0]) == (name, pytest.approx(1.05))


@pytest.mark.parametrize("version", ["2.0", "1", "nm", ""])
def test_an_unknown_generation_is_refused(version, tmp_path):
    """What a later Picasso means by a number is not known."""
    path = save(tmp_path / "a.hdf5", version, frame=0, x=1, y=1)
    with pytest.raises(LocalizationError, match=f"picasso_format is '{version}'; known are 1.x.*ThunderSTORM"):
        read_file(path)


def test_what_picasso_refuses_or_drops_is_said(tmp_path):
    """1.0 opens no table without lpx and lpy; both drop rows off the frame, in either unit."""
    plain = make_localizations([0, 0], [0.5, 3.3], [0.5, 0.5], [0, 0], photons=9.0)
    for name in ("picasso", "picasso-1"):
        notes = write(tmp_path / "a.hdf5", plain, format=name, pixel_um=0.1, frame_px=(16, 32))
        assert any("1.0 opens no table without lpx, lpy" in note for note in notes)
        assert any("drop 1 of 2 rows" in note for note in notes)
    table = make_localizations([0], [0.5], [0.5], [0], photons=9.0, sigma_x_um=0.01, sigma_y_um=0.01)
    assert write(tmp_path / "a.hdf5", table, format="picasso-1", pixel_um=0.1, frame_px=(16, 32)) == ()


def test_a_damaged_number_warns_of_nothing(tmp_path):
    """A signalling NaN, which a flipped bit makes, is an unknown value and no warning of numpy's."""
    path = save(tmp_path / "a.hdf5", frame=0, x=1, y=1, lpx=7)
    path.write_bytes(path.read_bytes().replace(np.float32(7).tobytes(), np.uint32(0x7FA00000).tobytes()))
    assert np.isnan(read_file(path).locs.sigma_x_um[0])


def test_depths_of_nan_throughout_are_none(tmp_path):
    """As in tables of text: z is 0, said; a single one is refused."""
    found = read_file(save(tmp_path / "a.hdf5", frame=0, x=1, y=1, z=np.nan))
    assert found.locs.z_um.tolist() == [0] and found.notes == ("column 'z' holds no depth: z is 0",)
