"""Crowds seen by two paths, by an EMCCD; what an emitter is worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.camera import sample_camera
from optics.fits import explain
from optics.fits.crowd import make_crowd_model, make_frame, make_paths, no_emitters
from optics.fits.crowd_fit import fit_crowd
from optics.fits.crowd_search import make_bank
from optics.multipath import biplane, make_split_psf, split_image
from optics.psf import make_psf
from optics.psf_table import tabulate_psf
from optics.pytree import replace
from optics.types import OpticsError, make_camera, make_microscope

SHAPE, PIXEL_UM, Z_RANGE = (32, 34), 0.11, (-0.4, 0.4)
CAMERA = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.2)
XYZ = np.array([[1.2, 1.4, -0.2], [1.75, 1.6, 0.25], [2.6, 2.2, 0.05]])
PHOTONS = np.array([4000.0, 5000.0, 3000.0])


@pytest.fixture(scope="module")
def split():
    """Two foci, the second turned by 0.6 degrees and shifted by 3.4 and -1.7 pixels."""
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    psf = make_psf(scope, image_px=13, pupil_px=24, pixel="centre", z_range_um=(-0.8, 0.8))
    two = biplane(psf, 0.5, 0.55)
    angle = np.deg2rad(0.6)
    turned = [[np.cos(angle), -np.sin(angle), 3.4 * PIXEL_UM], [np.sin(angle), np.cos(angle), -1.7 * PIXEL_UM]]
    return make_split_psf(two.paths, fraction=two.fraction, registration=[np.eye(2, 3), turned])


@pytest.fixture(scope="module")
def paths(split):
    return make_paths(split, [tabulate_psf(path, Z_RANGE, reach_px=1.0, tolerance=1e-3) for path in split.paths])


@pytest.fixture(scope="module")
def lights(split):
    """Photons (3, 64, 34) that both paths expect of each emitter: exact images in frames of a stamp's own grid."""
    every = np.zeros((3, 2, SHAPE[0] + 40, SHAPE[1] + 40))
    draw = jax.jit(split_image)
    for frames, xyz, photons in zip(every, XYZ, PHOTONS, strict=True):
        for number, affine in enumerate(np.asarray(split.registration)):
            # each path's own stamp, so that its place is whole pixels
            seen = affine @ [*xyz[:2], 1.0]
            first = np.round(seen / PIXEL_UM - 6.5).astype(int)
            back = np.linalg.solve(affine[:, :2], seen - (first + 6.5) * PIXEL_UM - affine[:, 2])
            image = np.asarray(draw(split, jnp.asarray([*back, xyz[2]])))[number]
            frames[number, 20 + first[1] : 33 + first[1], 20 + first[0] : 33 + first[0]] += photons * image
    return every[:, :, 20:-20, 20:-20].reshape(3, -1, SHAPE[1])


@pytest.fixture(scope="module")
def expected(lights):
    return lights.sum(axis=0)


def started(model, frame, off):
    crowd = no_emitters(model, frame, 4)
    return replace(
        crowd,
        xyz_um=crowd.xyz_um.at[:3].set(XYZ + off),
        photons=crowd.photons.at[:3].set(PHOTONS * 0.8),
        present=jnp.arange(4) < 3,
    )


@pytest.fixture(scope="module")
def fit():
    return jax.jit(fit_crowd)


@pytest.mark.slow
def test_two_paths_are_fitted_as_one(paths, expected, fit):
    """From exact images with shift, turn and unequal shares: positions within 2 nm, photons within 1 %."""
    model = make_crowd_model(paths, CAMERA, PIXEL_UM, SHAPE)
    frame = make_frame(CAMERA, 100 + 2 * jnp.asarray(expected + 20), jnp.ones(expected.shape, bool))
    found = fit(model, frame, started(model, frame, [0.03, -0.04, 0.08]), 30, 1e-4)
    assert np.abs(np.asarray(found.crowd.xyz_um[:3]) - XYZ).max() < 2e-3
    np.testing.assert_allclose(found.crowd.photons[:3], PHOTONS, rtol=0.01)


@pytest.mark.slow
def test_worth_is_what_the_frame_loses(paths, lights, fit):
    """Half its square is the loss of likelihood and evidence when the emitter is left out and all else is fitted anew.

    The third is made ten times dimmer for that: of a bright one the refit follows further than a straight line.
    """
    model = make_crowd_model(paths, CAMERA, PIXEL_UM, SHAPE)
    counts = np.random.default_rng(1).poisson(lights[0] + lights[1] + 0.1 * lights[2] + 20.0)
    frame = make_frame(CAMERA, 100.0 + 2 * jnp.asarray(counts), jnp.ones(counts.shape, bool))
    start = started(model, frame, 0.0)
    found = fit(model, frame, replace(start, photons=start.photons.at[2].set(300.0)), 30, 1e-4)
    left = fit(model, frame, replace(found.crowd, present=jnp.arange(4) < 2), 30, 1e-4)
    loss = float(left.crowd.misfit + left.evidence - found.crowd.misfit - found.evidence)
    assert float(found.worth[2]) ** 2 / 2 == pytest.approx(loss, rel=0.25)


def test_paths_need_tables_of_one_kind(split, paths):
    """The message says what differs."""
    with pytest.raises(OpticsError, match="1 tables for 2 paths"):
        make_paths(split, [paths[0].table])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scmos", "emccd"])
def test_two_paths_are_searched_as_one(paths, expected, kind):
    """Nothing given, also behind the multiplication of an EMCCD: the three emitters within 60, 60, 120 nm, no other."""
    camera = CAMERA
    if kind == "emccd":
        camera = make_camera(
            kind="emccd", gain_adu_per_e=0.1, em_gain=100.0, offset_adu=100.0, read_noise_e=30.0, spurious_e=0.01
        )
    model, bank = make_crowd_model(paths, camera, PIXEL_UM, SHAPE), make_bank(paths, SHAPE)
    adu = sample_camera(jax.random.key(2), camera, jnp.asarray(expected + 20))
    frame = make_frame(camera, adu, jnp.ones(expected.shape, bool))
    (found,) = explain.search_frames(model, bank, jax.tree.map(lambda leaf: leaf[None], frame))
    assert len(found.crowd.photons) == 3
    apart = np.abs(np.asarray(found.crowd.xyz_um)[:, None] - XYZ) / [0.06, 0.06, 0.12]
    assert (apart.max(axis=2).min(axis=1) < 1).all()
