"""The generator model: the expected photons of a frame and the variance of its noise, from a sample of its latents.

A frame's rate is sum_k b_k N_k PSF(r - r_k) + haze + background in photons per pixel, read by a camera. Emitter k has
N_k photons and is present (b_k = 1) or not. How probable a frame and its latents are is in `training.generator.bound`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from nets.dlp import DlpConfig
from optics import Camera
from optics.camera import electron_variance
from optics.fits.matched_filter import Templates
from optics.psf_table import PsfTable, weights
from optics.pytree import pytree, static
from optics.render import lay_stamps
from training.generator.posterior import Posterior, Ranges, Sample, posterior_mean, sample_posterior
from training.generator.surroundings import render_background, render_haze, spread_cells

Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Branches:
    """Parts of the model that are switched on; an ablation switches one off."""

    haze: bool = True
    background: bool = True
    noise: bool = True


@pytree
class MovieParameters:
    """Parameters that all frames of a movie share, learned by a fit.

    All are logarithms: `log_count` of the expected emitters per frame; `log_photons` of their median brightness and
    `log_spread` of its log-normal spread; `log_haze` of the haze's brightness over the level; `log_gain` of the
    noise's gain over the camera's; `log_read` of the read variance over the camera's (`reference_read_e2`);
    `log_rough` and `log_range` of the background field's roughness and range in cells (`training.generator.field`).
    """

    log_count: jax.Array
    log_photons: jax.Array
    log_spread: jax.Array
    log_haze: jax.Array
    log_gain: jax.Array
    log_read: jax.Array
    log_rough: jax.Array
    log_range: jax.Array


@pytree
class GeneratorModel:
    """Everything that a fit is given and does not learn; `level` is the movie's median background, photons per pixel.

    `templates` and `table` are the PSF's, for proposals and for rendering. Proposals closer than `radius_px` are one;
    the local background is measured in blocks of `block_px`.
    """

    templates: Templates
    table: PsfTable
    camera: Camera
    level: jax.Array
    config: DlpConfig = static()
    ranges: Ranges = static()
    branches: Branches = static(default=Branches())
    radius_px: int = static(default=2)
    block_px: int = static(default=24)


@pytree
class FittedModel:
    """A model with its learned parameters: the networks' `variables` and the `movie` parameters."""

    model: GeneratorModel
    variables: Variables
    movie: MovieParameters


@pytree
class Components:
    """Components of a frame, (H, W) each.

    `emitters`, `haze` and `background` are photons per pixel; `ambiguity` (photons^2) is the variance that uncertain
    presence adds; `read_scale` is the read variance over the camera's.
    """

    emitters: jax.Array
    haze: jax.Array
    background: jax.Array
    ambiguity: jax.Array
    read_scale: jax.Array

    @property
    def rate(self) -> jax.Array:
        """Expected photons per pixel."""
        return self.emitters + self.haze + self.background


def photon_variance(
    camera: Camera, rate: jax.Array, log_gain: jax.Array | float = 0.0, read_scale: jax.Array | float = 1.0
) -> jax.Array:
    """Compute the variance, in photons^2, of a frame in photons where `rate` photons are expected."""
    electrons = camera.quantum_efficiency * jnp.maximum(rate, 0.0)
    read = (camera.read_noise_e / camera.em_gain) ** 2
    shot = electron_variance(camera, electrons) - read
    return (jnp.exp(log_gain) * shot + read_scale * reference_read_e2(camera)) / camera.quantum_efficiency**2


def reference_read_e2(camera: Camera) -> jax.Array:
    """Return the read variance that `read_scale` multiplies: the camera's in photo-electrons^2, at least 1."""
    return jnp.maximum((camera.read_noise_e / camera.em_gain) ** 2, 1.0)


def render_emitters(
    model: GeneratorModel, xyz_um: jax.Array, photons: jax.Array, presence: jax.Array, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Render K emitters that are present with probability `presence`; return mean and variance of their light (H, W).

    The variance is that of presence alone: sum p (1 - p) (N PSF)^2.
    """
    table, pixel_um = model.table, model.ranges.pixel_um
    side = table.image_px
    start = jnp.round(jax.lax.stop_gradient(xyz_um[:, :2]) / pixel_um - side / 2).astype(int)
    offset = xyz_um[:, :2] - (start + side / 2) * pixel_um
    z = jnp.clip(xyz_um[:, 2], table.z_range_um[0], table.z_range_um[1])
    stamp_um = jnp.concatenate([offset, z[:, None]], axis=1)
    mixing = jax.vmap(lambda point: weights(table, point, 1)[0])(stamp_um)
    images = (mixing @ table.pictures).reshape(-1, side, side) * photons[:, None, None]
    corner = start[:, ::-1]
    mean = lay_stamps(presence[:, None, None] * images, corner, shape)
    ambiguity = lay_stamps((presence * (1 - presence))[:, None, None] * images**2, corner, shape)
    return mean, ambiguity


def compose(fitted: FittedModel, sample: Sample, shape: tuple[int, int]) -> Components:
    """Render all components of a frame of `shape` from a sample of its latents."""
    emitters, ambiguity = render_emitters(fitted.model, sample.xyz_um, sample.photons, sample.presence, shape)
    haze, background, read_scale = render_surroundings(fitted, sample, shape)
    return Components(emitters, haze, background, ambiguity, read_scale)


def expected_components(
    key: jax.Array, fitted: FittedModel, posterior: Posterior, shape: tuple[int, int], samples: int = 16
) -> Components:
    """Compute the posterior mean of a frame's components; haze and background are averaged over `samples` samples.

    Emitters are rendered at the posterior's mean. The surroundings are not: the level is not linear in its latents, and
    where the posterior leaves latents free, the level of their mean can be several per cent off the mean level, far
    more than the noise of a region.
    """
    mean = posterior_mean(fitted.model.ranges, posterior)
    emitters, ambiguity = render_emitters(fitted.model, mean.xyz_um, mean.photons, mean.presence, shape)

    def sampled(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return render_surroundings(fitted, sample_posterior(key, fitted.model.ranges, posterior), shape)

    haze, background, read_scale = (part.mean(axis=0) for part in jax.lax.map(sampled, jax.random.split(key, samples)))
    return Components(emitters, haze, background, ambiguity, read_scale)


def render_surroundings(
    fitted: FittedModel, sample: Sample, shape: tuple[int, int]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Render everything but the emitters: haze, background and read variance over the camera's, (H, W) each."""
    model, variables, movie = fitted.model, fitted.variables, fitted.movie
    config, branches, ones = model.config, model.branches, jnp.ones(shape)
    haze = ones * 0
    if branches.haze:
        amplitude = model.level * jnp.exp(movie.log_haze)
        xy_um, pixel_um = sample.xyz_um[:, :2], model.ranges.pixel_um
        haze = amplitude * render_haze(config, variables, sample.appearance, sample.haze, xy_um, shape, pixel_um)
    relative = render_background(config, variables, sample.background, shape) if branches.background else ones
    background = model.level * relative
    cell_px = float(config.cell_px)
    read_scale = (
        jnp.exp(movie.log_read) * spread_cells(jnp.exp(sample.noise), shape, cell_px) if branches.noise else ones
    )
    return haze, background, read_scale
