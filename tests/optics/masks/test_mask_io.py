"""Mask files: round trips, published masks, and every way a file can be wrong."""

import json
import os
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import tifffile

from optics import mask_io, masks
from optics.types import OpticsError, make_mask

DATA = Path(os.environ.get("COLOCUS_DATA", Path(__file__).parents[4] / "shared/data"))
GEOMETRY = {"focal_length_um": 1.5e5, "magnification": 100, "na": 1.45, "pitch_um": 24}
PRINTED = {"focal_length_um": 1.0e5, "magnification": 100, "na": 1.45, "pitch_um": 30}
RNG = np.random.default_rng(0)


def published(name):
    path = DATA / "ds3d-masks" / name
    if not path.exists():
        pytest.skip(f"no published masks at {path.parent} (set COLOCUS_DATA)")
    return path


def some_mask(transmission=True):
    return make_mask(
        RNG.normal(size=(15, 15)),
        transmission=RNG.uniform(0, 1, (15, 15)) if transmission else None,
        design_wavelength_um=0.67,
        half_width=1.234567,
        wrapped=True,
    )


def assert_same(a, b):
    np.testing.assert_array_equal(a.opd_um, b.opd_um)
    np.testing.assert_array_equal(a.transmission, b.transmission)
    assert float(a.half_width) == float(b.half_width) and a.wrapped == b.wrapped
    assert float(a.design_wavelength_um) == float(b.design_wavelength_um)


@pytest.mark.parametrize("suffix", [".mat", ".npz", ".npy", ".tif", ".tiff", ".MAT"])
@pytest.mark.parametrize("transmission", [False, True])
def test_what_was_saved_is_loaded_bit_for_bit(tmp_path, suffix, transmission):
    """save, then load by the path alone, returns the same mask; nothing else is left in the folder."""
    mask, path = some_mask(transmission), tmp_path / f"mask{suffix}"
    if suffix == ".npy" and transmission:
        with pytest.raises(OpticsError, match="holds no transmission"):
            mask_io.save(path, mask)
        assert not list(tmp_path.iterdir())
        return
    mask_io.save(path, mask)
    assert_same(mask_io.load(path), mask)
    assert len(list(tmp_path.iterdir())) == (2 if suffix == ".npy" else 1)
    assert_same(mask_io.load(path, turn_180=True), masks.rotate_180(mask))
    np.testing.assert_array_equal(mask_io.load(path, sign=-1).opd_um, -mask.opd_um)


def write(path, array, name="phase"):
    match path.suffix:
        case ".npy":
            np.save(path, array)
        case ".npz":
            np.savez(path, **{name: array})
        case ".tif":
            tifffile.imwrite(path, array, photometric="minisblack")
        case ".mat":
            scipy.io.savemat(path, {name: array})
        case ".mat73":
            path = path.with_suffix(".mat")
            with h5py.File(path, "w", userblock_size=512) as file:
                file[name] = array.T  # MATLAB's order on disk
                file.create_group("#refs#")
            with open(path, "r+b") as file:
                file.write(b"MATLAB 7.3 MAT-file")
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".tif", ".mat", ".mat73"])
def test_every_format_keeps_rows_and_columns(tmp_path, suffix):
    """A foreign array comes in with row 0 at the top whatever the file (v7.3 is transposed on disk)."""
    phase = RNG.uniform(-1, 1, (9, 9))
    path = write(tmp_path / f"mask{suffix}", phase)
    mask = mask_io.load(path, wavelength_um=0.6, pupil_diameter_px=6)
    np.testing.assert_allclose(mask.opd_um, phase * 0.6 / (2 * np.pi), rtol=1e-12)
    assert float(mask.half_width) == 1.5 and not mask.wrapped


def test_units_of_the_values(tmp_path):
    """Radians, turns, um and nm of the same path give the same mask."""
    opd_um = RNG.uniform(-0.1, 0.1, (8, 8))
    values = {
        "phase_rad": opd_um / 0.6 * 2 * np.pi,
        "phase_turns": opd_um / 0.6,
        "opd_um": opd_um,
        "opd_nm": opd_um * 1e3,
    }
    for kind, array in values.items():
        mask = mask_io.load(write(tmp_path / "a.npy", array), kind=kind, wavelength_um=0.6, pupil_diameter_px=8)
        np.testing.assert_allclose(mask.opd_um, opd_um, rtol=1e-12)


def test_wrapping_is_seen_in_the_jumps(tmp_path):
    """A wrapped ramp is seen as wrapped, the ramp with its edge against 0 is not; an argument decides."""
    ramp = np.zeros((32, 32))
    ramp[4:28, 4:28] = np.linspace(4, 12, 24)
    optics = {"wavelength_um": 0.6, "pupil_diameter_px": 24}
    assert not mask_io.load(write(tmp_path / "a.npy", ramp), **optics).wrapped
    wrapped = write(tmp_path / "b.npy", np.angle(np.exp(1j * ramp)))
    assert mask_io.load(wrapped, **optics).wrapped
    assert not mask_io.load(wrapped, wrapped=False, **optics).wrapped


def test_the_pupil_is_set_by_the_geometry():
    """2 f NA / sqrt(M^2 - NA^2) / pitch: 181.3 px for the published set-up, and half_width = 329 / 181.27."""
    diameter = mask_io.pupil_diameter_px(**GEOMETRY)
    np.testing.assert_allclose(diameter, 2 * 1.5e5 * 1.45 / np.sqrt(1e4 - 1.45**2) / 24, rtol=1e-12)
    assert round(diameter, 1) == 181.3 and round(mask_io.pupil_diameter_px(**PRINTED), 1) == 96.7


@pytest.mark.parametrize(
    "name, variable, optics, wavelength_um, support_px",
    [
        ("mask_tetrapod", "mask_tetra_model", GEOMETRY, 0.58, 165),
        ("mask_learned", "mask_circ_model", GEOMETRY, 0.58, 165),
        ("mask_tetrapod_printed", "mask_tetra_reut", PRINTED, 0.67, 89),
    ],
)
def test_published_masks_load(name, variable, optics, wavelength_um, support_px):
    """.mat equals .npy; the support is the circle of n_sample = 1.33 within a pixel; all are wrapped."""
    matlab = mask_io.load(
        published(f"{name}.mat"), variable=variable, wavelength_um=wavelength_um, turn_180=True, **optics
    )
    numpy = mask_io.load(published(f"{name}.npy"), wavelength_um=wavelength_um, turn_180=True, **optics)
    # the .npy is float32
    np.testing.assert_allclose(matlab.opd_um, numpy.opd_um, atol=1e-6)
    source = scipy.io.loadmat(published(f"{name}.mat"))[variable]
    np.testing.assert_allclose(matlab.opd_um[::-1, ::-1], source * wavelength_um / (2 * np.pi), rtol=1e-12)
    assert matlab.wrapped and numpy.wrapped
    rows = np.flatnonzero((np.asarray(matlab.opd_um) != 0).any(axis=1))
    assert np.ptp(rows) + 1 == support_px
    # their angular grid is stretched by N / (N - 1)
    size = source.shape[0]
    circle_px = 1.33 / 1.45 * size / float(matlab.half_width) * (size - 1) / size
    assert abs(support_px - circle_px) < 1
    x, y = masks.mask_grid(size, matlab.half_width)
    radius = np.hypot(x, y)[np.asarray(matlab.opd_um) != 0].max()
    assert abs(radius - 1.33 / 1.45) < 2 * float(matlab.half_width) / size


def test_the_turn_matters_for_the_learned_mask_alone():
    """mask_tetrapod is even under 180 degrees, mask_learned is not: a wrong turn hides in the first."""
    changed = {}
    for name in ("mask_tetrapod", "mask_learned"):
        mask = mask_io.load(published(f"{name}.npy"), wavelength_um=0.58, **GEOMETRY)
        phasor = jnp.exp(2j * jnp.pi * (mask.opd_um - masks.rotate_180(mask).opd_um) / 0.58)
        changed[name] = float(jnp.abs(phasor - 1).max())
    assert changed["mask_tetrapod"] < 1e-3 and changed["mask_learned"] > 1


OPTICS = {"wavelength_um": 0.6, "pupil_diameter_px": 6}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".tif", ".mat", ".mat73"])
@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((4, 5)), r"shape \(4, 5\)"),
        (np.zeros((2, 4, 4)), r"shape \(2, 4, 4\)"),
        (np.full((4, 4), np.nan), "16 NaN or Inf"),
        (np.diag([np.inf, 1, 1, 1.0]), "1 NaN or Inf"),
        (np.ones((4, 4), complex), "complex"),
        (np.ones((4, 4), np.uint8), "integers"),
    ],
    ids=["oblong", "3-D", "nan", "inf", "complex", "grey"],
)
def test_wrong_arrays_are_refused(tmp_path, suffix, array, words):
    """Oblong, 3-D, NaN, Inf, complex and grey-level data raise one line with the file and what is wrong."""
    path = write(tmp_path / f"mask{suffix}", array)
    with pytest.raises(OpticsError, match=words) as caught:
        mask_io.load(path, **OPTICS)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_one_dimensional_arrays_are_refused(tmp_path):
    """A vector is no mask (in .npy: MATLAB has no vectors)."""
    with pytest.raises(OpticsError, match=r"shape \(16,\)"):
        mask_io.load(write(tmp_path / "mask.npy", np.zeros(16)), **OPTICS)


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_variables_are_asked_for_by_name(tmp_path, suffix):
    """A wrong name lists those present; several and none named asks for one; the right name loads."""
    path = tmp_path / f"two{suffix}"
    arrays = {"first": np.zeros((4, 4)), "second": np.ones((4, 4))}
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        scipy.io.savemat(path, arrays)
    with pytest.raises(OpticsError, match=r"no variable 'third'; .*first \(4, 4\), second \(4, 4\)"):
        mask_io.load(path, variable="third", **OPTICS)
    with pytest.raises(OpticsError, match=r"variable=.*first \(4, 4\), second \(4, 4\)"):
        mask_io.load(path, **OPTICS)
    loaded = mask_io.load(path, variable="second", **OPTICS)
    np.testing.assert_allclose(loaded.opd_um, 0.6 / (2 * np.pi))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("mask.png", b"", "unknown suffix '.png'"),
        ("mask.mat", b"not a mat file", "not a readable .mat"),
        ("mask.npy", b"\x93NUMPY\x01\x00", "not a readable .npy"),
        ("mask.npz", b"PK", "not a readable .npz"),
        ("mask.tif", b"II*\x00\x08", "not a readable .tif"),
        ("mask.tif", b"", "not a readable .tif"),
        ("mask.mat", b"", "not a readable .mat"),
    ],
)
def test_broken_files_are_refused(tmp_path, name, content, words):
    """Foreign, truncated and empty files raise one line that names the file."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OpticsError, match=words) as caught:
        mask_io.load(tmp_path / name, **OPTICS)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"pupil_diameter_px": 6}, "give wavelength_um"),
        ({"wavelength_um": 0.6}, "needs na, magnification, focal_length_um, pitch_um"),
        ({"wavelength_um": 0.6, "na": 1.4, "pitch_um": 20}, "needs magnification, focal_length_um"),
        ({**OPTICS, "na": 1.4}, "not both"),
        ({**OPTICS, "kind": "height"}, "kind = 'height'"),
        ({**OPTICS, "sign": 0}, "sign = 0"),
        ({**OPTICS, "pupil_diameter_px": -1}, "pupil_diameter_px = -1"),
        ({**OPTICS, "variable": "x"}, "nameless"),
        ({**OPTICS, "wavelength_um": -0.6}, "design_wavelength_um"),
    ],
)
def test_missing_or_impossible_optics_are_named(tmp_path, arguments, words):
    """The message names the number that is missing, doubled or cannot be."""
    with pytest.raises(OpticsError, match=words):
        mask_io.load(write(tmp_path / "mask.npy", np.zeros((6, 6))), **arguments)


def test_missing_files_and_folders(tmp_path):
    """Loading from and saving to nowhere say so and name the path."""
    with pytest.raises(OpticsError, match="gone.npy: no such file"):
        mask_io.load(tmp_path / "gone.npy", **OPTICS)
    with pytest.raises(OpticsError, match="cannot be written: No such file"):
        mask_io.save(tmp_path / "no" / "mask.npz", some_mask())
    with pytest.raises(OpticsError, match="unknown suffix"):
        mask_io.save(tmp_path / "mask.txt", some_mask())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    """A full disk while saving keeps the previous mask and removes the half-written one."""
    path, mask = tmp_path / "mask.npz", some_mask()
    mask_io.save(path, mask)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mask_io.os, "replace", full)
    with pytest.raises(OpticsError, match="mask.npz: cannot be written: No space left on device"):
        mask_io.save(path, some_mask())
    assert [p.name for p in tmp_path.iterdir()] == ["mask.npz"]
    assert_same(mask_io.load(path), mask)


def test_a_saved_mask_refuses_other_optics_and_other_arrays(tmp_path):
    """Its own numbers are in it: given ones are an error, and so is a .npy replaced under its .json."""
    path = tmp_path / "mask.npy"
    mask_io.save(path, some_mask(transmission=False))
    with pytest.raises(OpticsError, match="leave out wavelength_um, pupil_diameter_px"):
        mask_io.load(path, **OPTICS)
    np.save(path, np.zeros((15, 15)))
    with pytest.raises(OpticsError, match=r"not the array that mask\.json"):
        mask_io.load(path)
    path.with_suffix(".json").write_text(json.dumps({"note": "mine"}))
    assert mask_io.load(path, **OPTICS).opd_um.shape == (15, 15)
