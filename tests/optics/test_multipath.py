"""Split paths: where the light goes, where each path sees the emitter, and what information they carry together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.bounds.fisher import bound_std, fisher_matrix, information
from optics.multipath import biplane, make_split_psf, polarisation_split, split_image
from optics.psf import make_psf, psf_image
from optics.pytree import replace
from optics.types import OpticsError, make_camera, make_microscope

XYZ_UM = jnp.array([0.05, -0.03, 0.2])
image_of, images_of, matrix_of = jax.jit(psf_image), jax.jit(split_image), jax.jit(fisher_matrix)


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
    return make_psf(scope, image_px=11, pupil_px=24, ring_px=0, pixel="centre")


def test_biplane_is_two_foci_that_share_the_light(psf):
    """Each plane is the refocused image times its share; focus is measured like depth in a matched medium."""
    first, second = images_of(biplane(psf, 0.6, 0.3), XYZ_UM)
    for image, share, side in ((first, 0.3, -0.3), (second, 0.7, 0.3)):
        moved = XYZ_UM.at[2].add(-side)  # the emitter seen from its own focal plane
        np.testing.assert_allclose(image, share * image_of(psf, moved), atol=1e-14)


def test_polarised_paths_sum_to_the_whole(psf):
    """The images of the two arms add up to that of the PSF that detects both."""
    both = image_of(psf, XYZ_UM)
    np.testing.assert_allclose(images_of(polarisation_split(psf), XYZ_UM).sum(axis=0), both, atol=1e-14)


def test_registration_moves_and_turns(psf):
    """A shift by whole pixels moves the picture; a quarter turn of the registration turns the positions."""
    pixel = float(psf.microscope.pixel_um)
    there = make_split_psf([psf, psf], shift_um=[[0, 0], [2 * pixel, -pixel]])
    still, moved = images_of(there, XYZ_UM)
    np.testing.assert_allclose(moved[:-1, 2:], still[1:, :-2], atol=1e-14)
    quarter = make_split_psf([psf, psf], registration=[[[1, 0, 0], [0, 1, 0]], [[0, -1, 0.01], [1, 0, 0.02]]])
    turned = images_of(quarter, XYZ_UM)[1]
    expected = 0.5 * image_of(psf, jnp.array([0.03 + 0.01, 0.05 + 0.02, 0.2]))
    np.testing.assert_allclose(turned, expected, atol=1e-14)


def test_information_adds_over_paths(psf):
    """F of a biplane is the sum of those of its planes with their share of the photons, to 1e-9."""
    pair, camera = biplane(psf, 0.5, 0.4), make_camera(read_noise_e=1.5, quantum_efficiency=0.8)
    whole = matrix_of(pair, XYZ_UM, 900.0, 7.0, camera)
    parts = jnp.zeros((5, 5))
    for path, share in zip(pair.paths, pair.fraction, strict=True):
        by_share = jnp.diag(jnp.array([1, 1, 1, share, 1]))  # photons of the path: share x photons
        parts = parts + by_share @ matrix_of(path, XYZ_UM, share * 900.0, 7.0, camera) @ by_share
    np.testing.assert_allclose(whole, parts, rtol=1e-9, atol=1e-9)


def test_a_biplane_tells_the_side_of_the_focus(psf):
    """In focus a clear pupil says nothing of z; two planes do, and x and y cost less than a factor of two."""
    focus = jnp.array([0.01, 0.02, 0.0])
    alone, pair = (np.asarray(bound_std(matrix_of(p, focus, 2000.0, 5.0))) for p in (psf, biplane(psf, 0.6)))
    assert pair[2] < 0.1 < alone[2]
    assert (pair[:2] < 2 * alone[:2]).all()


def test_background_of_each_path(psf):
    """A level per path is what makes the variance; the same level for all equals one number."""
    pair = biplane(psf, 0.6)
    one, each = matrix_of(pair, XYZ_UM, 900.0, 7.0), matrix_of(pair, XYZ_UM, 900.0, jnp.array([7.0, 7.0]))
    np.testing.assert_allclose(one, each, rtol=1e-12)
    images = np.asarray(images_of(pair, XYZ_UM))
    flat = float(matrix_of(pair, XYZ_UM, 900.0, jnp.array([3.0, 30.0]))[4, 4])
    expected = np.sum(1 / (900 * images + np.array([3.0, 30.0])[:, None, None]))
    assert flat == pytest.approx(expected, rel=1e-12)
    assert information(jnp.ones((1, 2, 3, 3)), jnp.full((2, 3, 3), 2.0)).tolist() == [[9.0]]


def test_even_shares_by_default(psf):
    """Paths that compete for light share it; two polarisations do not compete."""
    x, y = replace(psf, polarisation="x"), replace(psf, polarisation="y")
    assert make_split_psf([psf, psf]).fraction.tolist() == [0.5, 0.5]
    assert make_split_psf([x, y]).fraction.tolist() == [1.0, 1.0]
    assert make_split_psf([x, y, x, y]).fraction.tolist() == [0.5] * 4


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fraction": [0.7, 0.7]}, "adds up to more than the light"),
        ({"fraction": [0.5]}, "fraction must be 2 numbers"),
        ({"shift_um": [0.1, 0.1]}, r"shift_um must have shape \(2, 2\)"),
        ({"registration": np.full((2, 2, 3), np.nan)}, "registration must be finite"),
        ({"shift_um": np.zeros((2, 2)), "registration": np.zeros((2, 2, 3))}, "give one of them"),
    ],
)
def test_paths_that_cannot_be(psf, options, message):
    """Each wrong argument is one line that names it."""
    with pytest.raises(OpticsError, match=message):
        make_split_psf([psf, psf], **options)


def test_paths_that_do_not_fit(psf):
    """No path, stamps of two sizes, a polariser split again."""
    with pytest.raises(OpticsError, match="at least one Psf"):
        make_split_psf([])
    with pytest.raises(OpticsError, match="image_px must agree"):
        make_split_psf([psf, replace(psf, image_px=13)])
    with pytest.raises(OpticsError, match="no two polarisations"):
        polarisation_split(replace(psf, polarisation="x"))
