"""A small generator model with one posterior of three emitters, set to numbers that tests know."""

import jax
import jax.numpy as jnp
import numpy as np

from nets.dlp import DlpConfig, init_dlp
from optics import make_camera, make_microscope, make_psf, tabulate_psf
from optics.fits.matched_filter import choose_depths, make_templates
from training.generator.model import FittedModel, GeneratorModel, MovieParameters
from training.generator.posterior import Normal, Posterior, Ranges

SHAPE, PIXEL_UM = (24, 26), 0.1
PSF = make_psf(
    make_microscope(na=0.9, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM),
    image_px=11, pupil_px=16, kind="scalar",
)  # fmt: skip
CONFIG = DlpConfig(
    slots=3, glimpse_px=8, glimpse_widths=(4, 4), hidden=8, trunk_out=4, features=2, map_widths=(4,), map_last=4
)
CAMERA = make_camera(read_noise_e=2.0)


def _model() -> GeneratorModel:
    table = tabulate_psf(PSF, (0.0, 0.4), reach_px=0.75)
    return GeneratorModel(
        templates=make_templates(*choose_depths(table), SHAPE),
        table=table,
        camera=CAMERA,
        level=jnp.asarray(20.0),
        config=CONFIG,
        ranges=Ranges(PIXEL_UM, (0.0, 0.4), True),
    )


def _posterior() -> Posterior:
    """Make a posterior of three emitters with latents that are not zero."""
    rng = np.random.default_rng(0)
    cells = CONFIG.grid(SHAPE)

    def normal(*shape: int) -> Normal:
        return Normal(jnp.asarray(0.3 * rng.normal(size=shape)), jnp.asarray(-1.0 + 0.1 * rng.normal(size=shape)))

    location = np.array([[0.01, 0.02, 0.1, 6.5], [-0.02, 0.0, 0.2, 7.0], [0.0, -0.01, 0.3, 6.0]])
    return Posterior(
        anchor_um=jnp.array([[0.8, 0.9], [1.7, 1.2], [1.2, 1.8]]),
        presence=jnp.array([1.0, -0.5, 2.0]),
        location=Normal(jnp.asarray(location), jnp.asarray(np.log([[0.01, 0.012, 0.03, 0.05]] * 3))),
        haze=normal(3, 2),
        appearance=normal(3, 2),
        background=normal(*cells, CONFIG.background_channels),
        noise=normal(*cells),
    )


MODEL = _model()
MOVIE = MovieParameters(
    *(jnp.asarray(v) for v in (np.log(2.5), np.log(800.0), np.log(0.5), -0.3, 0.04, 0.2, -0.5, 1.0))
)
FITTED = FittedModel(MODEL, init_dlp(jax.random.key(0), CONFIG), MOVIE)
POSTERIOR = _posterior()
