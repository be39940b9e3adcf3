"""Calibrations of other programs: emitters drawn by the exact optics come back where they were drawn.

The files are written here with the layout of their programs and a spline of our own, scipy's PPoly along each axis:
astigmatism and coma, so that x is not y, left not right and up not down.
"""

import itertools
import json

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import tifffile
from scipy.interpolate import CubicSpline

from experiments import cli
from localization import read
from optics import fit_emitters, make_microscope, make_psf, masks, read_calibration, tabulate_calibration
from optics.calibrations import is_calibration
from optics.psf import psf_image
from optics.types import OpticsError

PIXEL_UM, STEP_UM, SIDE, SLICES = 0.1, 0.05, 23, 25
Z0 = 13  # the reference slice, counted from 1 as MATLAB does
images_of = jax.jit(jax.vmap(psf_image, (None, 0)))


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    plate = masks.zernike([(2, 2, 0.07), (3, 1, 0.03), (3, -1, -0.02)], design_wavelength_um=0.6, size=64)
    return make_psf(scope, mask=plate, image_px=SIDE, pupil_px=40)


@pytest.fixture(scope="module")
def stack(psf):
    """Pictures (slices, y, x): slice k, from 0, shows an emitter at -(k - Z0) steps, as SMAP counts."""
    depth = -(np.arange(SLICES) - Z0) * STEP_UM
    return np.asarray(images_of(psf, jnp.asarray(np.stack([0 * depth, 0 * depth, depth], axis=1))))


@pytest.fixture(scope="module")
def truth():
    """12 places within 0.7 px and 0.35 um of the centre, far apart in sign and size along x, y and z."""
    return np.random.default_rng(1).uniform(-1, 1, (12, 3)) * [0.07, 0.07, 0.35]


def matlab_coefficients(stack):
    """(rows, columns, slices, 64) of a not-a-knot spline, powers slowest along the slices, fastest along the rows."""
    values = np.moveaxis(stack, 0, 2)  # rows, columns, slices
    for axis in (0, 2, 4):  # each axis n becomes (n - 1, 4): PPoly has the highest power first
        pieces = CubicSpline(np.arange(values.shape[axis]), values, axis=axis, bc_type="not-a-knot").c[::-1]
        values = np.moveaxis(pieces, (0, 1), (axis + 1, axis)) if axis == 0 else _in_place(pieces, axis)
    return values.transpose(0, 2, 4, 5, 3, 1).reshape(*(n - 1 for n in np.shape(np.moveaxis(stack, 0, 2))), 64)


def _in_place(pieces, axis):
    """CubicSpline leaves (power, cell, others in order): put power behind cell, and both where the axis was."""
    return np.moveaxis(np.moveaxis(pieces, 0, axis + 1), 0, axis)


@pytest.fixture(scope="module")
def spline(stack):
    cell = np.empty(1, object)
    cell[0] = matlab_coefficients(stack / stack[Z0 - 1].sum()).astype(np.float32)
    return {"coeff": cell, "dz": 1000 * STEP_UM, "z0": float(Z0), "x0": (SIDE + 1) / 2}


@pytest.fixture(scope="module")
def smap(tmp_path_factory, spline):
    path = tmp_path_factory.mktemp("smap") / "beads_3dcal.mat"
    scipy.io.savemat(path, {"SXY": {"cspline": spline, "EMon": 0}, "parameters": {"dz": 50}})
    return path


@pytest.fixture(scope="module")
def smap_table(smap):
    return tabulate_calibration(read_calibration(smap, pixel_um=PIXEL_UM))


def assert_found(table, psf, truth, *, z_of=lambda z: z, photons=1.0):
    """Fits of exact images without noise end within 4 nm: the spline between pixels and slices is off by no more."""
    side = table.image_px
    edge = (SIDE - side) // 2
    images = np.asarray(images_of(psf, jnp.asarray(truth)))[:, edge : SIDE - edge, edge : SIDE - edge]
    fits = fit_emitters(table, 5000 * images + 10, chunk=16)
    expected = np.column_stack([truth[:, :2], z_of(truth[:, 2])])
    np.testing.assert_allclose(np.asarray(fits.xyz_um), expected, atol=0.004)
    np.testing.assert_allclose(fits.photons, 5000 * photons, rtol=0.02)


def test_smap_finds_emitters_where_they_were_drawn(smap_table, psf, stack, truth):
    """x, y and z with their order and sign; photons are those within the region at the reference slice."""
    assert float(smap_table.error) < 3e-3
    np.testing.assert_allclose(
        np.asarray(smap_table.z_range_um), [-(SLICES - 1 - Z0) * STEP_UM, Z0 * STEP_UM], atol=1e-6
    )
    assert_found(smap_table, psf, truth, photons=stack[Z0 - 1].sum())


def test_coefficients_are_the_pictures(smap, stack):
    """At the slices themselves the images are those that were calibrated, to float32's 1e-7 of the brightest."""
    calibration = read_calibration(smap, pixel_um=PIXEL_UM)
    slices = np.array([0, 1, 12, SLICES - 1])
    points = np.stack([0.0 * slices, 0.0 * slices, -(slices - Z0) * STEP_UM], axis=1)
    edge = (SIDE - calibration.image_px) // 2
    pictures = stack[slices][:, edge : SIDE - edge, edge : SIDE - edge].reshape(4, -1) / stack[Z0 - 1].sum()
    np.testing.assert_allclose(calibration.images(points), pictures, atol=1e-6 * pictures.max())


def test_file_without_smap_and_scaled_depths(tmp_path, spline, psf, truth):
    """fit3Dcspline alone writes `cspline`, older files an array for coeff; z_scale multiplies the depths."""
    path = tmp_path / "alone_3dcal.mat"
    scipy.io.savemat(path, {"cspline": spline | {"coeff": spline["coeff"][0]}})
    table = tabulate_calibration(read_calibration(path, pixel_um=PIXEL_UM, z_scale=-0.8))
    assert_found(table, psf, truth, z_of=lambda z: -0.8 * z, photons=psf_sum(psf))


def psf_sum(psf) -> float:
    """Light of the picture at the reference slice, one step above the focus."""
    return float(np.asarray(images_of(psf, jnp.array([[0.0, 0.0, STEP_UM]]))).sum())


def test_matlab_73(tmp_path, spline, smap):
    """The same file saved as 7.3 (HDF5, axes turned round, cells as references) gives the same coefficients."""
    path = tmp_path / "new_3dcal.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        stored = file.create_dataset("#refs#/a", data=spline["coeff"][0].T)
        group = file.create_group("SXY/cspline")
        group.create_dataset("coeff", data=np.array([[stored.ref]], dtype=h5py.ref_dtype))
        for name in ("dz", "z0", "x0"):
            group[name] = np.array([[spline[name]]])
    assert is_calibration(path)
    new, old = (read_calibration(file, pixel_um=PIXEL_UM) for file in (path, smap))
    np.testing.assert_array_equal(new.cells, old.cells)
    assert (new.centre_px, new.z_first_um, new.z_step_um) == (old.centre_px, old.z_first_um, old.z_step_um)


def test_several_splines_are_asked_for(tmp_path, spline):
    """Two channels in a cell, or places of the field: never one of them silently."""
    both = np.empty(2, object)
    both[0], both[1] = spline["coeff"][0], 2 * spline["coeff"][0]
    path = tmp_path / "two_3dcal.mat"
    scipy.io.savemat(path, {"SXY": {"cspline": spline | {"coeff": both}}})
    with pytest.raises(OpticsError, match="holds 2 splines.*calibration_part=0"):
        read_calibration(path, pixel_um=PIXEL_UM)
    second = read_calibration(path, pixel_um=PIXEL_UM, part=1)
    np.testing.assert_allclose(second.cells, 2 * read_calibration(path, pixel_um=PIXEL_UM, part=0).cells)
    places = np.zeros((2,), dtype=[("cspline", object)])
    for place in places:
        place["cspline"] = spline
    scipy.io.savemat(path, {"SXY": places})
    with pytest.raises(OpticsError, match="holds 2 splines"):
        read_calibration(path, pixel_um=PIXEL_UM)


def write_uipsf(path, voxels, **more):
    settings = {"pixel_size": {"x": PIXEL_UM, "y": PIXEL_UM, "z": STEP_UM}, "channeltype": "single"}
    with h5py.File(path, "w") as file:
        file.attrs["params"] = json.dumps(settings)
        for name, value in {"I_model": voxels, "pos": np.zeros((3, 3)), **more}.items():
            file[f"res/{name}"] = value
    return path


def test_uipsf_of_beads(tmp_path, psf, truth):
    """Slices in the stage's order, the middle one z = 0; an arbitrary scale and offset are taken out."""
    depth = -(np.arange(SLICES) - (SLICES - 1) / 2) * STEP_UM
    voxels = np.asarray(images_of(psf, jnp.asarray(np.stack([0 * depth, 0 * depth, depth], axis=1))))
    path = write_uipsf(tmp_path / "beads.h5", (7.0 * voxels + 0.3).astype(np.float32))
    calibration = read_calibration(path)
    assert calibration.pixel_um == PIXEL_UM
    assert_found(tabulate_calibration(calibration), psf, truth, photons=np.median((voxels - voxels.min()).sum((1, 2))))


def test_uipsf_in_situ(tmp_path, psf):
    """Slices rise with the emitter's depth from zoffset (in z-pixels) above the coverslip."""
    depth = (3 + np.arange(SLICES)) * STEP_UM
    voxels = np.asarray(images_of(psf, jnp.asarray(np.stack([0 * depth, 0 * depth, depth], axis=1))))
    path = write_uipsf(tmp_path / "situ.h5", voxels, zoffset=np.complex64(3.0), stagepos=0.5)
    calibration = read_calibration(path)
    np.testing.assert_allclose(calibration.z_range_um, (depth[0], depth[-1]))
    lit = voxels - voxels.min()
    scale = np.median(lit.sum(axis=(1, 2)))
    points = np.array([[0.0, 0.0, depth[0]], [0.0, 0.0, depth[20]]])
    edge = (SIDE - calibration.image_px) // 2
    inner = lit[[0, 20], edge : SIDE - edge, edge : SIDE - edge].reshape(2, -1) / scale
    np.testing.assert_allclose(calibration.images(points), inner, atol=1e-12)


def test_localize_reads_a_movie_with_a_calibration(tmp_path, smap, psf, capsys):
    """Three emitters in two frames of counts, by the command: within 30 nm of where they were drawn, z within 60."""
    places = [(0, 1.53, 2.31, 0.2), (0, 3.42, 1.27, -0.25), (1, 2.66, 3.38, 0.05)]
    frames = np.full((2, 48, 48), 10.0)
    for frame, x, y, z in places:
        column, row = (int(place / PIXEL_UM) for place in (x, y))
        beside = np.array([[x - (column + 0.5) * PIXEL_UM, y - (row + 0.5) * PIXEL_UM, z]])
        half = SIDE // 2
        frames[frame, row - half : row + half + 1, column - half : column + half + 1] += (
            2000 * np.asarray(images_of(psf, jnp.asarray(beside)))[0]
        )
    counts = np.random.default_rng(0).poisson(frames) + 100
    tifffile.imwrite(tmp_path / "movie.tif", counts.astype(np.uint16), photometric="minisblack")
    arguments = ["localize", str(tmp_path / "movie.tif"), "--model", str(smap), "--out", str(tmp_path / "locs.csv")]
    camera = ["--gain", "1", "--offset", "100"]
    assert cli.main([*arguments, *camera]) == 2
    assert "pixel_um=0.1" in capsys.readouterr().err
    assert cli.main([*arguments, *camera, f"pixel_um={PIXEL_UM}"]) == 0
    locs = read(tmp_path / "locs.csv")
    assert len(locs.frame) == 3
    for frame, x, y, z in places:
        row = np.argmin(np.hypot(locs.x_um - x, locs.y_um - y) + 10 * (locs.frame != frame))
        assert abs(locs.x_um[row] - x) < 0.03 and abs(locs.y_um[row] - y) < 0.03 and abs(locs.z_um[row] - z) < 0.06


BROKEN = {
    "no_dz": lambda spline: {name: value for name, value in spline.items() if name != "dz"},
    "nan": lambda spline: spline | {"coeff": spline["coeff"][0] * np.nan},
    "flat": lambda spline: spline | {"coeff": np.zeros((5, 5))},
    "text": lambda spline: spline | {"dz": "fifty"},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_files_are_named(tmp_path, spline, fault):
    path = tmp_path / "broken_3dcal.mat"
    scipy.io.savemat(path, {"SXY": {"cspline": BROKEN[fault](spline)}})
    with pytest.raises(OpticsError, match="broken_3dcal.mat: ") as caught:
        read_calibration(path, pixel_um=PIXEL_UM)
    assert "\n" not in str(caught.value)


def test_cut_files_are_no_calibrations(tmp_path, smap):
    """A file cut anywhere is refused in one line."""
    whole = smap.read_bytes()
    for share in (0.0, 0.001, 0.5, 0.99):
        path = tmp_path / "cut_3dcal.mat"
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(OpticsError, match="cut_3dcal.mat: "):
            read_calibration(path, pixel_um=PIXEL_UM)


def test_depths_beyond_the_slices_are_refused(smap):
    calibration = read_calibration(smap, pixel_um=PIXEL_UM)
    for low, high in itertools.pairwise((-3.0, 0.0, 3.0)):
        with pytest.raises(OpticsError, match="leaves what was calibrated: -0.55 to 0.65 um"):
            tabulate_calibration(calibration, (low, high))
