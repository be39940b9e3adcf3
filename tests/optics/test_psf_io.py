"""A calibrated PSF in a file: read back exactly whatever it holds, and what is refused."""

import os

import jax
import numpy as np
import pytest

from optics import OpticsError, make_mask, make_microscope, make_psf, masks
from optics.psf_io import load_psf, read_psf, save_psf

SCOPE = make_microscope(
    na=1.4,
    n_immersion=1.515,
    n_coverslip=1.52,
    n_sample=1.36,
    wavelength_um=0.6,
    pixel_um=0.1,
    focus_um=0.7,
    iris_na=1.3,
)
RNG = np.random.default_rng(0)
PLATE = make_mask(
    RNG.normal(size=(8, 8)), transmission=RNG.random((8, 8)), half_width=0.9, design_wavelength_um=0.6, wrapped=True
)
PSFS = {
    "bare": {},
    "mask": {"mask": masks.astigmatism(0.05, size=8)},
    "aberration": {"aberration": PLATE, "blur_um": 0.09},
    "both": {"mask": PLATE, "aberration": masks.flat(size=8)},
    "zernike": {"zernike_um": RNG.normal(size=7), "image_px": 13},
    "scalar": {"kind": "scalar", "blur_um": 0.0},
    "fixed dipole": {"dipole": "fixed", "pixel": "centre"},
    "polarised": {"polarisation": "y", "pupil_px": 18, "ring_px": 3},
}


@pytest.mark.parametrize("name", PSFS)
def test_a_psf_comes_back_exactly(name, tmp_path):
    """Every number to the bit, every kind, and the notes that travel with it."""
    psf = make_psf(SCOPE, **PSFS[name])
    save_psf(tmp_path / "psf.npz", psf, {"beads": ["a", "b"], "misfit": 0.25})
    found, notes = read_psf(tmp_path / "psf.npz")
    assert jax.tree.structure(found) == jax.tree.structure(psf)  # kinds, sizes, what is None
    for ours, theirs in zip(jax.tree.leaves(psf), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
    assert notes == {"beads": ["a", "b"], "misfit": 0.25}
    assert [path.name for path in tmp_path.iterdir()] == ["psf.npz"]


def broken(path, kind):
    save_psf(path, make_psf(SCOPE))
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-60])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("psf")
    elif kind == "an array":
        with path.open("wb") as file:
            np.save(file, np.zeros((8, 8)))
    elif kind == "a mask":
        masks.save(path, PLATE)
    else:
        with np.load(path) as file:
            arrays = dict(file)
        if kind == "a part lost":
            del arrays["microscope.na"]
        else:
            arrays["header"] = np.array(str(arrays["header"]).replace("colocus-psf-1", "colocus-psf-9"))
        np.savez(path, **arrays)


@pytest.mark.parametrize(
    "kind, message",
    [
        ("missing", "no such file; a calibrated PSF is the psf.npz of `colocus retrieve`"),
        ("truncated", "not a PSF saved by Colocus"),
        ("empty", "not a PSF saved by Colocus"),
        ("text", "not a PSF saved by Colocus"),
        ("an array", "not a PSF saved by Colocus"),
        ("a mask", "not a PSF saved by Colocus .*it holds .*opd_um"),
        ("a part lost", "not a PSF saved by Colocus .*'na'"),
        ("newer", "format colocus-psf-9 is not colocus-psf-1; update Colocus"),
    ],
)
def test_files_that_hold_no_psf(kind, message, tmp_path):
    """One line that names the file."""
    path = tmp_path / "psf.npz"
    broken(path, kind)
    with pytest.raises(OpticsError, match=message) as caught:
        load_psf(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_places_that_take_no_psf(tmp_path):
    """Another suffix, a folder that is not there or closed: nothing is left behind."""
    psf = make_psf(SCOPE)
    with pytest.raises(OpticsError, match="psf.mat: a Psf is saved as .npz"):
        save_psf(tmp_path / "psf.mat", psf)
    with pytest.raises(OpticsError, match="cannot be written: No such file or directory"):
        save_psf(tmp_path / "absent" / "psf.npz", psf)
    (tmp_path / "taken.npz").mkdir()
    with pytest.raises(OpticsError, match="cannot be written"):
        save_psf(tmp_path / "taken.npz", psf)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.npz"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OpticsError, match="cannot be written: Permission denied"):
        save_psf(tmp_path / "psf.npz", make_psf(SCOPE))
    tmp_path.chmod(0o700)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """The new one is written beside it and takes its place when whole."""
    path = tmp_path / "psf.npz"
    save_psf(path, make_psf(SCOPE), {"which": "old"})

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OpticsError, match="psf.npz: cannot be written: No space left on device"):
        save_psf(path, make_psf(SCOPE), {"which": "new"})
    assert read_psf(path)[1] == {"which": "old"} and len(list(tmp_path.iterdir())) == 1
