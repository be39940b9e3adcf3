"""Maximum-likelihood fits: truth without noise, the bound with it, cameras, two maxima, and what must be refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from optics.bounds.fisher import crlb_std
from optics.camera import sample_camera
from optics.fits import fit as mle
from optics.fits.fit import fit_emitters
from optics.fits.input import check_input
from optics.psf import make_psf, psf_image
from optics.psf_table import evaluate, tabulate_psf
from optics.pytree import replace
from optics.types import OpticsError, make_camera, make_microscope

Z_RANGE_UM = (-0.4, 0.4)
CHUNK = 64  # one compilation for the whole file
image_of = jax.jit(jax.vmap(psf_image, (None, 0)))
bound_of = jax.jit(crlb_std)


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
    return make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=13, pupil_px=24, pixel="centre")


@pytest.fixture(scope="module")
def table(psf):
    return tabulate_psf(psf, Z_RANGE_UM, reach_px=1.0, tolerance=3e-4)


@pytest.fixture(scope="module")
def truth():
    """48 positions within half a pixel and 0.3 um of the focus."""
    return np.random.default_rng(3).uniform(-1, 1, (48, 3)) * [0.055, 0.055, 0.3]


@pytest.fixture(scope="module")
def images(psf, truth):
    return np.asarray(image_of(psf, jnp.asarray(truth)))


def noisy(images, photons, background, seed=0):
    return np.random.default_rng(seed).poisson(photons * np.maximum(images, 0) + background).astype(float)


def test_table_is_the_psf_and_its_slopes(psf, table, truth, images):
    """Images within the stated error, slopes within ten times that of forward-mode derivatives of psf_image."""
    rows = np.asarray(jax.jit(jax.vmap(lambda point: evaluate(table, point)))(jnp.asarray(truth)))
    norm = np.linalg.norm(images.reshape(48, -1), axis=1)
    errors = np.linalg.norm(rows[:, 0] - images.reshape(48, -1), axis=1) / norm
    assert errors.max() < 1.5 * float(table.error) < 4.5e-4
    slopes = jax.jit(jax.vmap(jax.jacfwd(lambda point: psf_image(psf, point).ravel())))(jnp.asarray(truth[:8]))
    for axis in range(3):
        exact = np.asarray(slopes)[..., axis]
        assert np.linalg.norm(rows[:8, axis + 1] - exact) < 3e-3 * np.linalg.norm(exact)


def test_without_noise_the_truth_comes_back(psf, table, truth, images):
    """x, y, z to 1e-6 um, photons and background to 1e-6 of themselves, from expected images and exact steps."""
    fits = fit_emitters(psf, 2000 * images[:4] + 8, table=table, exact_steps=6, tolerance=1e-9, chunk=CHUNK)
    np.testing.assert_allclose(fits.xyz_um, truth[:4], atol=1e-6)
    np.testing.assert_allclose(fits.photons, 2000, rtol=1e-6)
    np.testing.assert_allclose(fits.background, 8, rtol=1e-6)
    assert bool(fits.converged.all()) and not bool(fits.at_bound.any())
    np.testing.assert_allclose(fits.crlb_std[0], bound_of(psf, jnp.asarray(truth[0]), 2000.0, 8.0), rtol=1e-5)


def test_scatter_is_the_cramer_rao_bound(psf, table, images, truth):
    """480 noisy images: RMSE over the bound of the truth within 5 sigma (1 +- 0.16) of 1 for all five, no bias."""
    drawn = np.concatenate([noisy(images, 3000, 10, seed) for seed in range(10)])
    fits = fit_emitters(psf, drawn, table=table, chunk=CHUNK)
    std = np.asarray(jax.jit(jax.vmap(lambda point: crlb_std(psf, point, 3000.0, 10.0)))(jnp.asarray(truth)))
    found = np.column_stack([fits.xyz_um, fits.photons, fits.background]).reshape(10, 48, 5)
    errors = (found - np.column_stack([truth, np.full(48, 3000.0), np.full(48, 10.0)])) / std
    ratio = np.sqrt(np.mean(errors**2, axis=(0, 1)))
    assert (np.abs(ratio - 1) < 0.16).all(), ratio
    assert (np.abs(errors.mean(axis=(0, 1))) < 5 / np.sqrt(480)).all()
    assert bool(fits.converged.all())
    assert abs(float(fits.chi2_ratio.mean()) - 1) < 0.03
    np.testing.assert_allclose(np.asarray(fits.crlb_std).reshape(10, 48, 5).mean(axis=0), std, rtol=0.1)


def test_likelihood_is_that_of_poisson_counts(psf, table, images):
    """The log-likelihood at the estimate against scipy's Poisson law and the exact image."""
    drawn = noisy(images[:2], 3000, 10)
    fits = fit_emitters(psf, drawn, table=table, chunk=CHUNK)
    at = (
        np.asarray(fits.photons)[:, None, None] * image_of(psf, fits.xyz_um)
        + np.asarray(fits.background)[:, None, None]
    )
    expected = stats.poisson.logpmf(drawn, np.asarray(at)).sum(axis=(1, 2))
    # the table's 2e-4 of an image of norm 0.3 and 3000 photons, over the noise of 10 photons: 0.06
    np.testing.assert_allclose(fits.log_likelihood, expected, atol=0.06)


def test_order_and_batch_do_not_matter(psf, table, images):
    """Permuted images give permuted fits, few images those of many, another number of images no compilation."""
    drawn = noisy(images, 3000, 10)
    fits = fit_emitters(psf, drawn, table=table, chunk=CHUNK)
    before = mle.advance_climbs._cache_size()
    order = np.random.default_rng(0).permutation(20)
    again = fit_emitters(psf, drawn[order], table=table, chunk=CHUNK)
    assert mle.advance_climbs._cache_size() == before
    np.testing.assert_allclose(again.xyz_um, fits.xyz_um[order], atol=1e-9)
    for part in np.array_split(np.arange(48), [1, 30]):
        few = fit_emitters(psf, drawn[part], table=table, chunk=CHUNK)
        np.testing.assert_allclose(few.xyz_um, fits.xyz_um[part], atol=1e-9)
    for source in (psf, table):  # of no images: the same fields, of no rows
        none = fit_emitters(source, drawn[:0], chunk=CHUNK)
        assert jax.tree.map(lambda a: (a.shape, a.dtype), none) == jax.tree.map(
            lambda a: ((0, *a.shape[1:]), a.dtype), fits
        )


def test_camera_maps_of_each_stamp(psf, table, images, truth):
    """Counts of an sCMOS camera with maps that differ between stamps: the bound with them, met within 5 sigma."""
    rng = np.random.default_rng(5)
    maps = {
        "gain_adu_per_e": rng.uniform(1.5, 2.5, images.shape),
        "offset_adu": rng.uniform(90, 110, images.shape),
        "read_noise_e": np.where(rng.uniform(size=images.shape) < 0.03, 20.0, 1.5),
    }
    camera = replace(make_camera(), **{name: jnp.asarray(value) for name, value in maps.items()})
    expected = jnp.asarray(3000 * images + 10)
    drawn = np.concatenate([sample_camera(jax.random.key(k), camera, expected) for k in range(4)])
    fits = fit_emitters(psf, drawn, table=table, chunk=CHUNK, camera=jax.tree.map(lambda a: _four(a), camera))
    by_stamp = jax.tree.map(lambda a: 0 if jnp.ndim(a) else None, camera)
    std = jax.jit(jax.vmap(lambda c, point: crlb_std(psf, point, 3000.0, 10.0, c), (by_stamp, 0)))(
        camera, jnp.asarray(truth)
    )
    errors = (np.asarray(fits.xyz_um).reshape(4, 48, 3) - truth) / np.asarray(std)[:, :3]
    assert (np.abs(np.sqrt(np.mean(errors**2, axis=(0, 1))) - 1) < 5 / np.sqrt(2 * 192)).all()


def _four(leaf):
    return jnp.tile(leaf, (4, 1, 1)) if jnp.ndim(leaf) else leaf


def test_emccd_under_each_stamp_is_taken(psf, images):
    """Maps of an EMCCD that differ between images are checked and kept, as those of an sCMOS are."""
    camera = make_camera(kind="emccd", em_gain=100.0)
    own = replace(camera, offset_adu=jnp.arange(2.0)[:, None, None] + jnp.zeros((2, 13, 13)))
    stamps, shared = check_input(psf.image_px, 100 * images[:2], None, own, None)
    assert shared.kind == stamps.camera.kind == "emccd"
    assert np.unique(np.asarray(stamps.camera.offset_adu)).tolist() == [0.0, 1.0]


@pytest.mark.slow  # the EMCCD's likelihood takes long to compile
def test_multiplied_light_fits_as_well_as_its_likelihood_allows(psf, table, images, truth):
    """EMCCD counts: unbiased, and a scatter between that of its bound and 20 % more."""
    camera = make_camera(kind="emccd", em_gain=100.0, gain_adu_per_e=0.1, offset_adu=200.0, read_noise_e=30.0)
    drawn = np.asarray(sample_camera(jax.random.key(1), camera, jnp.asarray(3000 * images[:32] + 10)))
    fits = fit_emitters(psf, drawn, table=table, camera=camera, chunk=32)
    std = jax.jit(jax.vmap(lambda point: crlb_std(psf, point, 3000.0, 10.0, camera)))(jnp.asarray(truth[:32]))
    errors = (np.asarray(fits.xyz_um) - truth[:32]) / np.asarray(std)[:, :3]
    assert 0.6 < np.sqrt(np.mean(errors**2)) < 1.4
    assert bool(fits.converged.all())


def test_two_depths_that_look_alike_are_told(psf):
    """A PSF symmetric about its focus cannot tell z from -z: the rival lies within 0.01 of the winner."""
    plain = replace(psf, zernike_um=jnp.zeros(6))
    image = np.asarray(image_of(plain, jnp.array([[0.02, 0.01, 0.3]])))
    table = tabulate_psf(plain, Z_RANGE_UM, reach_px=0.5)
    fits = fit_emitters(plain, 2000 * image + 5, table=table, chunk=CHUNK)
    assert float(fits.rival_gap[0]) < 0.01
    assert abs(abs(float(fits.xyz_um[0, 2])) - 0.3) < 0.01


def test_one_depth_has_no_rival(psf, table, images):
    """Bright astigmatic spots: no second place within 20 units."""
    fits = fit_emitters(psf, noisy(images, 5000, 5), table=table, chunk=CHUNK)
    assert np.isinf(fits.rival_gap).all()


def test_empty_stamp_ends_at_its_limits(psf, table):
    """Background alone, noisy or flat, and no light at all: finite numbers, few photons."""
    empty = np.stack([np.random.default_rng(0).poisson(20.0, (13, 13)), np.full((13, 13), 20), np.zeros((13, 13))])
    fits = fit_emitters(psf, empty.astype(float), table=table, chunk=CHUNK)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in (fits.xyz_um, fits.photons, fits.background, fits.crlb_std))
    assert (np.asarray(fits.photons) < 5 * np.asarray(fits.crlb_std)[:, 3]).all()
    assert bool(fits.at_bound[1:].all())
    assert fits.background[1] == pytest.approx(20, rel=0.01)


def test_pixels_left_out(psf, table, images, truth):
    """Saturated pixels are refused, or left out by their limit; hidden ones, even NaN, do not matter."""
    counts = noisy(images[:4], 60000, 10)
    clipped = np.minimum(counts, 1000)
    clean = fit_emitters(psf, counts, table=table, chunk=CHUNK)
    fits = fit_emitters(psf, clipped, table=table, saturation_adu=1000, chunk=CHUNK)
    assert (np.abs(np.asarray(fits.xyz_um) - truth[:4]) < 5 * np.asarray(fits.crlb_std)[:, :3] + 1e-4).all()
    assert (np.asarray(fits.crlb_std)[:, 3] > np.asarray(clean.crlb_std)[:, 3]).all()
    with pytest.raises(OpticsError, match=r"4 of 4 .*converter's limit.*saturation_adu"):
        fit_emitters(psf, np.full((4, 13, 13), 65535, np.uint16), table=table)
    valid = np.ones(counts.shape, bool)
    valid[:, 0, :] = False
    dirty = np.where(valid, counts, np.nan)
    fits = fit_emitters(psf, dirty, table=table, valid=valid, chunk=CHUNK)
    assert (np.abs(fits.xyz_um - clean.xyz_um) < clean.crlb_std[:, :3]).all()


def test_given_start_is_used(psf, table, images):
    """From starting points near the answer the same maximum, without a search."""
    drawn = noisy(images[:8], 3000, 10)
    fits = fit_emitters(psf, drawn, table=table, chunk=CHUNK, tolerance=1e-6)
    near = np.column_stack([np.asarray(fits.xyz_um) + 0.01, np.full(8, 2500.0), np.full(8, 12.0)])
    again = fit_emitters(psf, drawn, table=table, init=near, chunk=CHUNK, tolerance=1e-6)
    np.testing.assert_allclose(again.xyz_um, fits.xyz_um, atol=1e-6)


def test_a_table_may_come_in_place_of_the_psf(psf, table, images):
    """The same fits to the bit; what only a Psf can do is refused."""
    drawn = noisy(images[:4], 3000, 10)
    with_psf = fit_emitters(psf, drawn, table=table, chunk=CHUNK)
    jax.tree.map(np.testing.assert_array_equal, fit_emitters(table, drawn, chunk=CHUNK), with_psf)
    with pytest.raises(OpticsError, match="exact_steps = 3 needs the Psf itself"):
        fit_emitters(table, drawn, exact_steps=3)
    with pytest.raises(OpticsError, match="given two tables"):
        fit_emitters(table, drawn, table=table)
    with pytest.raises(OpticsError, match="differs from the table's"):
        fit_emitters(table, drawn, z_range_um=(-0.3, 0.4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.full((2, 13, 13), np.nan)}, "2 of 2 images .the first: 0. hold NaN"),
        ({"images": np.zeros((2, 11, 11))}, r"images must be \(N, 13, 13\)"),
        ({"images": np.full((1, 13, 13), -1.0)}, "negative photons; pass the camera"),
        ({"table": None}, "z_range_um is missing"),
        ({"table": None, "z_range_um": (0.4, -0.4)}, "must rise"),
        ({"table": None, "z_range_um": (-400.0, 400.0)}, "looks like nanometres"),
        ({"table": None, "z_range_um": 0.4}, "must be two depths"),
        ({"z_range_um": (-0.3, 0.4)}, "differs from the table's"),
        ({"init": np.zeros((1, 3))}, r"init must be finite .*\(2, 5\)"),
        ({"init": np.zeros((2, 5))}, "photons >= 1"),
        ({"valid": np.zeros((2, 13, 13))}, "image 0 has fewer than 9 pixels"),
        ({"valid": np.ones((2, 13))}, "valid must have the shape"),
        ({"camera": make_camera(offset_adu=np.zeros((5, 5)))}, r"camera.offset_adu must be a number, \(13, 13\)"),
        ({"starts": 0}, "starts >= 1"),
    ],
)
def test_bad_input_is_named(psf, table, change, message):
    """One line that names the argument and the remedy, before any long work."""
    given = {"images": np.ones((2, 13, 13)), "table": table, **change}
    with pytest.raises(OpticsError, match=message):
        fit_emitters(psf, given.pop("images"), **given)


def test_depths_above_the_coverslip_are_refused():
    """Where the indices differ, z < 0 is no place for an emitter."""
    scope = make_microscope(na=1.2, n_immersion=1.5, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
    with pytest.raises(OpticsError, match="start at 0 where the indices differ"):
        tabulate_psf(make_psf(scope, image_px=13), (-0.2, 0.4))
