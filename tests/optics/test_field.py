"""Aberrations over the field: the polynomials, their gradient, and files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import (
    OpticsError,
    aberration_at,
    load_field,
    make_field_aberration,
    make_microscope,
    make_psf,
    psf_image,
    replace,
    save_field,
)

RNG = np.random.default_rng(0)
COEFFICIENTS = RNG.normal(0, 0.05, (6, 10))


def test_coefficients_are_the_polynomials_of_the_position():
    """Mode by mode against numpy's own evaluation of a polynomial in x and y, up to degree 3."""
    field = make_field_aberration(COEFFICIENTS)
    powers = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3)]  # of (x, y)
    for x, y in ((0.0, 0.0), (0.4, -0.9), (-1.0, 1.0)):
        for mode in range(6):
            table = np.zeros((4, 4))
            for (a, b), value in zip(powers, COEFFICIENTS[mode], strict=True):
                table[a, b] = value
            expected = np.polynomial.polynomial.polyval2d(x, y, table)
            np.testing.assert_allclose(aberration_at(field, jnp.array([x, y]))[mode], expected, atol=1e-15)


def test_a_psf_in_the_field_is_that_of_its_own_coefficients():
    """Astigmatism that grows along x: at x = 0.5 the image is that of half of it."""
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    psf = make_psf(scope, zernike_um=np.zeros(6), image_px=11, pupil_px=16, pixel="centre", kind="scalar")
    field = make_field_aberration([[0.0, 0.0, 0.0]] * 5 + [[0.0, 0.1, 0.0]])
    weight = jnp.asarray(RNG.normal(size=(11, 11)))
    at = jnp.array([0.0, 0.0, 0.4])

    @jax.jit
    def seen(zernike_um):
        image = psf_image(replace(psf, zernike_um=zernike_um), at)
        return jnp.sum(weight * image), image

    def in_field(coefficients):
        return seen(aberration_at(replace(field, coefficients_um=coefficients), jnp.array([0.5, -0.7])))

    expected = seen(jnp.zeros(6).at[5].set(0.05))[1]
    np.testing.assert_allclose(in_field(field.coefficients_um)[1], expected, atol=1e-15)
    slope = jax.grad(lambda c: in_field(c)[0])(field.coefficients_um)
    step = jnp.zeros((6, 3)).at[5, 1].set(1e-5)
    ahead, behind = (float(in_field(field.coefficients_um + s)[0]) for s in (step, -step))
    np.testing.assert_allclose(slope[5, 1], (ahead - behind) / 2e-5, rtol=1e-6)


def test_a_saved_field_is_read_back_exactly(tmp_path):
    """Every coefficient to the bit; a plain .npz with the array is understood too."""
    save_field(tmp_path / "f.npz", make_field_aberration(COEFFICIENTS))
    np.testing.assert_array_equal(load_field(tmp_path / "f.npz").coefficients_um, COEFFICIENTS)
    np.savez(tmp_path / "g.npz", coefficients_um=COEFFICIENTS)
    np.testing.assert_array_equal(load_field(tmp_path / "g.npz").coefficients_um, COEFFICIENTS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(6), r"must be \(modes, terms\)"),
        (np.zeros((6, 4)), "has 4 terms"),
        (np.full((2, 3), np.nan), "NaN or Inf"),
        (np.full((2, 3), 50.0), "looks like nanometres"),
    ],
)
def test_coefficients_that_cannot_be_right_are_refused(values, message, tmp_path):
    """By the builder and, with the file's name, by the reader."""
    with pytest.raises(OpticsError, match=message):
        make_field_aberration(values)
    np.savez(tmp_path / "f.npz", coefficients_um=values)
    with pytest.raises(OpticsError, match=rf"f\.npz: .*{message}"):
        load_field(tmp_path / "f.npz")


def test_files_that_are_no_field_are_named(tmp_path):
    """Missing, damaged, of something else, and a name that cannot be one."""
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04")
    np.savez(tmp_path / "other.npz", opd=np.zeros(3))
    for name, message in (("none", "no such file"), ("damaged", "not the .npz of a field"), ("other", "holds opd")):
        with pytest.raises(OpticsError, match=message):
            load_field(tmp_path / f"{name}.npz")
    with pytest.raises(OpticsError, match=r"saved as \.npz"):
        save_field(tmp_path / "f.npy", make_field_aberration(COEFFICIENTS))
