"""A PSF against bright emitters: aberrations that were put in are found, a wrong PSF has a misfit, light that changes
slowly under the emitters has none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import make_microscope, make_psf, masks, psf_image
from training.generator.psf import SUSPECT, BrightStamps, core_misfit, fit_aberrations

SIDE, PIXEL_UM, LEVEL, PHOTONS = 17, 0.12, 40.0, 4000.0
SCOPE = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.65, pixel_um=PIXEL_UM, focus_um=0.3)
ABERRATION_UM = np.array([0, 0, 0, 0.03, 0, -0.02, 0, 0, 0, 0, 0, 0, 0, 0, 0])


def psf(**changed):
    return make_psf(SCOPE, image_px=SIDE, pupil_px=32, kind="scalar", **changed)


def stamps(seen, n: int = 24, *, structure: float = 0.0, clean: bool = False) -> BrightStamps:
    """Emitters of 4,000 photons through `seen` at the focus, on a level of 40 with bumps of five pixels, with noise."""
    rng = np.random.default_rng(0)
    place = np.column_stack([rng.uniform(-0.06, 0.06, (n, 2)), np.full(n, 0.3)])
    light = PHOTONS * np.asarray(jax.vmap(lambda p: psf_image(seen, p))(jnp.asarray(place)))
    y, x = np.mgrid[:SIDE, :SIDE]
    at = rng.uniform(0, SIDE, (2, n, 1, 1))
    under = LEVEL + structure * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 5.0**2))
    raw = rng.poisson(light + under).astype(float)
    off = place + 0.01 * rng.normal(size=place.shape) * [1, 1, 0]
    return BrightStamps(
        light=jnp.asarray(raw - under if clean else raw), variance=jnp.asarray(light + under),
        xyz_um=jnp.asarray(off), log_photons=jnp.full(n, np.log(0.9 * PHOTONS)),
    )  # fmt: skip


def test_the_right_psf_has_no_misfit_on_structure_either():
    """Bumps as high as a fifth of the emitters' peak: a misfit of a few per cent, far from what is called suspect."""
    assert core_misfit(psf(), stamps(psf()), is_3d=False)[0] < 0.05
    assert core_misfit(psf(), stamps(psf(), structure=80.0), is_3d=False)[0] < 0.08


@pytest.mark.parametrize("wrong", ["blur", "mask"])
def test_a_psf_of_other_optics_is_a_misfit(wrong):
    """Frames of a PSF twice as wide, or of an astigmatic one out of its focus: above the limit."""
    seen = psf(blur_um=0.25) if wrong == "blur" else psf(mask=masks.astigmatism(0.15))
    misfit, std = core_misfit(psf(), stamps(seen), is_3d=False)
    assert misfit - 2 * std > SUSPECT


@pytest.mark.slow
def test_small_aberrations_are_found():
    """Astigmatism of 30 and -20 nm within 6 nm, about three deviations of 24 emitters; less misfit than before."""
    seen = psf(zernike_um=ABERRATION_UM)
    learned, report = fit_aberrations(psf(), stamps(seen, clean=True), stamps(seen), is_3d=True)
    assert learned.zernike_um is not None
    np.testing.assert_allclose(np.asarray(learned.zernike_um)[[3, 5]], [0.03, -0.02], atol=6e-3)
    assert report.misfit < 0.5 * report.misfit_before
