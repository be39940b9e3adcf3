"""The scene model: emitters, haze, background and a camera in photons, and how likely they make a frame.

A frame is rate = sum_k b_k N_k PSF(r - r_k) + haze + background, read by a camera. The prior of the emitters is a
Poisson process: exp(-lambda) lambda^n times a density for each one, even over the frame and the depth and log-normal
in brightness. The posterior keeps K slots, each there with a probability p_k, apart from the others; then
KL = sum [p log p + (1 - p) log(1 - p)] - sum p log lambda + lambda + sum p KL_k, with KL_k that of place and photons
(Kingman 1993, Poisson Processes, ch. 2; Kingma and Welling 2014, arXiv 1312.6114). The expectation over the slots'
presence is exact: with means p and variances p (1 - p), the likelihood's square grows by sum p (1 - p) (N PSF)^2.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nets import dlp
from nets.dlp import Ranges, Seen
from nets.dlp_types import DlpConfig, Draw, Normal, Posterior
from optics import Camera
from optics.camera import electron_variance
from optics.fits.matched_filter import Templates, local_background, propose
from optics.psf_table import PsfTable, weights
from optics.pytree import pytree, static
from optics.render import lay_stamps
from training.generator.field import field_divergence

Variables = dict[str, Any]
HAZE_LOGIT, HAZE_SIZE_STD, NOISE_STD, GAIN_STD, READ_STD = -2.0, 0.3, 0.3, 0.05, 1.0
_SURE = 4.0  # standard deviations from which a proposal is taken off the frame
_EMITTERS = ("presence", "place", "photons")
_LOG_2PI = math.log(2 * math.pi)


@dataclasses.dataclass(frozen=True)
class KlWeights:
    """How much each latent's divergence from its prior counts in the objective: 1 each is the evidence's bound."""

    presence: float = 1.0
    place: float = 1.0
    photons: float = 1.0
    haze: float = 1.0
    look: float = 1.0
    background: float = 1.0
    noise: float = 1.0


@dataclasses.dataclass(frozen=True)
class Branches:
    """Which parts of the model are there: an ablation leaves one out."""

    haze: bool = True
    background: bool = True
    noise: bool = True


@pytree
class Movie:
    """What is the same in all frames of a movie, and learned: logs of the emitters expected in a frame, of their
    photons' median and their log-normal spread, of the haze's brightness over the level, of the noise's gain over the
    camera's, of the read variance over the camera's (no less than 1 electron^2), and of the background's roughness and
    range in cells (`scene_field`)."""

    log_count: jax.Array
    log_photons: jax.Array
    log_spread: jax.Array
    log_haze: jax.Array
    log_gain: jax.Array
    log_read: jax.Array
    log_rough: jax.Array
    log_range: jax.Array


@pytree
class SceneModel:
    """What a fit is given and does not learn; `level` is the movie's median background, photons per pixel."""

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
class Components:
    """What a frame is made of, (H, W) each, photons per pixel: `emitters`, `haze`, `background`; `ambiguity`
    (photons^2), the variance that uncertain presence adds; `read_scale`, the read variance over the camera's."""

    emitters: jax.Array
    haze: jax.Array
    background: jax.Array
    ambiguity: jax.Array
    read_scale: jax.Array

    @property
    def rate(self) -> jax.Array:
        """Expected photons per pixel."""
        return self.emitters + self.haze + self.background


def see(model: SceneModel, frame: jax.Array) -> Seen:
    """Prepare one frame (H, W) in photons for the networks: its level, noise and proposals.

    Twice: the first proposals are taken off so that a smooth level can follow the background's structure, which is
    then no proposal any more.
    """
    level = local_background(frame, model.block_px)
    for last in (False, True):
        variance = photon_variance(model.camera, jnp.maximum(level, 0.0))
        proposals = propose(
            model.templates, frame - level, variance, model.ranges.pixel_um,
            capacity=model.config.slots, radius_px=model.radius_px,
        )  # fmt: skip
        sure = (proposals.significance > _SURE).astype(frame.dtype)
        drawn, _ = draw_emitters(model, proposals.xyz_um, proposals.photons, sure, frame.shape)
        if not last:
            level = smooth(frame - drawn, model.config.cell_px / 2)
    std = jnp.sqrt(variance)
    relative = (frame - drawn) / model.level - 1
    return Seen((frame - level) / std, (frame - level - drawn) / std, relative, proposals)


def smooth(image: jax.Array, sigma_px: float) -> jax.Array:
    """Gaussian blur; at the rim of what is there."""
    rows, columns = (jnp.asarray(_blur(n, sigma_px), image.dtype) for n in image.shape)
    return rows @ image @ columns.T


def white_share(shape: tuple[int, int], sigma_px: float) -> NDArray:
    """Share (H, W) of white noise's variance that is left where `smooth` of an image is taken off it."""
    rows, columns = (_blur(n, sigma_px) for n in shape)
    own = np.outer(np.diag(rows), np.diag(columns))
    return 1 - 2 * own + np.outer((rows**2).sum(axis=1), (columns**2).sum(axis=1))


def _blur(n: int, sigma_px: float) -> NDArray:
    bell = np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / sigma_px) ** 2)
    return bell / bell.sum(axis=1, keepdims=True)


def photon_variance(
    camera: Camera, rate: jax.Array, log_gain: jax.Array | float = 0.0, read_scale: jax.Array | float = 1.0
) -> jax.Array:
    """Variance of a frame, converted to photons, where `rate` photons are expected."""
    electrons = camera.quantum_efficiency * jnp.maximum(rate, 0.0)
    read = (camera.read_noise_e / camera.em_gain) ** 2
    shot = electron_variance(camera, electrons) - read
    return (jnp.exp(log_gain) * shot + read_scale * least_read_e2(camera)) / camera.quantum_efficiency**2


def least_read_e2(camera: Camera) -> jax.Array:
    """The camera's read variance in photo-electrons^2, or 1 where it is less: what `read_scale` multiplies."""
    return jnp.maximum((camera.read_noise_e / camera.em_gain) ** 2, 1.0)


def draw_emitters(
    model: SceneModel, xyz_um: jax.Array, photons: jax.Array, presence: jax.Array, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Expected light (H, W) of K emitters, there with `presence`, and the variance of it that their presence brings."""
    table, pixel_um = model.table, model.ranges.pixel_um
    side = table.image_px
    start = jnp.round(jax.lax.stop_gradient(xyz_um[:, :2]) / pixel_um - side / 2).astype(int)
    offset = xyz_um[:, :2] - (start + side / 2) * pixel_um
    z = jnp.clip(xyz_um[:, 2], table.z_range_um[0], table.z_range_um[1])
    local = jnp.concatenate([offset, z[:, None]], axis=1)
    mixing = jax.vmap(lambda point: weights(table, point)[0])(local)
    images = (mixing @ table.pictures).reshape(-1, side, side) * photons[:, None, None]
    first = start[:, ::-1]
    light = lay_stamps(presence[:, None, None] * images, first, shape)
    ambiguity = lay_stamps((presence * (1 - presence))[:, None, None] * images**2, first, shape)
    return light, ambiguity


def sample_posterior(key: jax.Array, model: SceneModel, posterior: Posterior) -> Draw:
    """One draw of everything that a frame's posterior is unsure of; presence stays a probability."""
    parts = _uncertain(posterior)
    sizes = [part.mean.size for part in parts]
    # all numbers at once: five generators take five seconds of processor to compile, in every program that draws
    numbers = jnp.split(jax.random.normal(key, (sum(sizes),), parts[0].mean.dtype), np.cumsum(sizes)[:-1])
    drawn = (
        part.mean + jnp.exp(part.log_std) * number.reshape(part.mean.shape)
        for part, number in zip(parts, numbers, strict=True)
    )
    return _draw(model, posterior, *drawn)


def posterior_mean(model: SceneModel, posterior: Posterior) -> Draw:
    """The draw at the middle of the posterior."""
    return _draw(model, posterior, *(part.mean for part in _uncertain(posterior)))


def _uncertain(posterior: Posterior) -> tuple[Normal, ...]:
    return posterior.place, posterior.haze, posterior.look, posterior.background, posterior.noise


def _draw(
    model: SceneModel,
    posterior: Posterior,
    place: jax.Array,
    haze: jax.Array,
    look: jax.Array,
    background: jax.Array,
    noise: jax.Array,
) -> Draw:
    return Draw(
        xyz_um=jnp.concatenate([posterior.anchor_um + place[:, :2], model.ranges.depth_um(place[:, 2:3])], axis=1),
        photons=jnp.exp(jnp.clip(place[:, 3], 0.0, 16.0)),
        presence=jax.nn.sigmoid(posterior.presence),
        haze=haze,
        look=look,
        background=background,
        noise=noise,
    )


def compose(model: SceneModel, variables: Variables, movie: Movie, draw: Draw, shape: tuple[int, int]) -> Components:
    """What a draw looks like, in photons."""
    light, ambiguity = draw_emitters(model, draw.xyz_um, draw.photons, draw.presence, shape)
    haze, background, read_scale = surroundings(model, variables, movie, draw, shape)
    return Components(light, haze, background, ambiguity, read_scale)


def expected_parts(
    key: jax.Array, model: SceneModel, variables: Variables, movie: Movie, posterior: Posterior, shape: tuple[int, int],
    draws: int = 16,
) -> Components:  # fmt: skip
    """What a posterior expects: emitters at its middle, amid the mean of what `draws` of it have around them.

    The level is not linear in its latents: where a posterior leaves some of them free, what their middle draws can lie
    several per cent beside the mean, far more than the noise of a region.
    """
    middle = posterior_mean(model, posterior)
    light, ambiguity = draw_emitters(model, middle.xyz_um, middle.photons, middle.presence, shape)

    def around(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return surroundings(model, variables, movie, sample_posterior(key, model, posterior), shape)

    found = jax.lax.map(around, jax.random.split(key, draws))
    haze, background, read_scale = (part.mean(axis=0) for part in found)
    return Components(light, haze, background, ambiguity, read_scale)


def surroundings(
    model: SceneModel, variables: Variables, movie: Movie, draw: Draw, shape: tuple[int, int]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Haze, background and read variance over the camera's, (H, W) each: all but the emitters."""
    c, there, flat = model.config, model.branches, jnp.ones(shape)
    haze = background = flat * 0
    if there.haze:
        amplitude = model.level * jnp.exp(movie.log_haze)
        xy_um, pixel_um = draw.xyz_um[:, :2], model.ranges.pixel_um
        haze = amplitude * dlp.draw_haze(c, variables, draw.look, draw.haze, xy_um, shape, pixel_um)
    relative = dlp.draw_background(c, variables, draw.background, shape) if there.background else flat
    background = model.level * relative
    spacing = float(c.cell_px)
    read_scale = (
        jnp.exp(movie.log_read) * dlp.spread_cells(jnp.exp(draw.noise), shape, spacing) if there.noise else flat
    )
    return haze, background, read_scale


def log_likelihood(model: SceneModel, movie: Movie, frame: jax.Array, parts: Components) -> jax.Array:
    """Log-likelihood of a frame (H, W) in photons, summed: Gaussian noise of the camera's variance at the rate."""
    variance = photon_variance(model.camera, parts.rate, movie.log_gain, parts.read_scale)
    square = (frame - parts.rate) ** 2 + parts.ambiguity
    return -0.5 * jnp.sum(square / variance + jnp.log(variance) + _LOG_2PI)


def divergences(model: SceneModel, movie: Movie, posterior: Posterior, shape: tuple[int, int]) -> dict[str, jax.Array]:
    """Divergence of each latent from its prior, in nats a frame; see the formulas at the top."""
    log_p, log_q = jax.nn.log_sigmoid(posterior.presence), jax.nn.log_sigmoid(-posterior.presence)
    p = jnp.exp(log_p)
    entropy = p * log_p + jnp.exp(log_q) * log_q
    presence = jnp.sum(entropy - p * movie.log_count) + jnp.exp(movie.log_count)
    side_um = [n * model.ranges.pixel_um for n in shape]
    sharp = -0.5 * (_LOG_2PI + 1) - posterior.place.log_std  # minus the entropy of each coordinate
    place = sharp[:, 0] + sharp[:, 1] + math.log(side_um[0] * side_um[1])
    if model.ranges.deep:
        place = place + _gaussian_kl(posterior.place.mean[:, 2], posterior.place.log_std[:, 2], 0.0, 0.0)
    photons = _gaussian_kl(
        posterior.place.mean[:, 3], posterior.place.log_std[:, 3], movie.log_photons, movie.log_spread
    )
    haze = _gaussian_kl(
        posterior.haze.mean,
        posterior.haze.log_std,
        jnp.array([HAZE_LOGIT, 0.0]),
        jnp.log(jnp.array([1.0, HAZE_SIZE_STD])),
    )
    found = {
        "presence": presence,
        "place": jnp.sum(p * place),
        "photons": jnp.sum(p * photons),
        "haze": haze.sum(),
        "look": _gaussian_kl(posterior.look.mean, posterior.look.log_std, 0.0, 0.0).sum(),
        "background": _background_kl(model, movie, posterior.background),
        "noise": _gaussian_kl(posterior.noise.mean, posterior.noise.log_std, 0.0, math.log(NOISE_STD)).sum(),
    }
    off = {
        "haze": not model.branches.haze,
        "look": not model.branches.haze,
        "background": not model.branches.background,
    }
    off["noise"] = not model.branches.noise
    return {name: jnp.zeros(()) if off.get(name) else value for name, value in found.items()}


def _background_kl(model: SceneModel, movie: Movie, background: Normal) -> jax.Array:
    """Of a grid, the first latent is the log level, a random field; the others, and a code, are independent."""
    if model.config.background == "code":
        return _gaussian_kl(background.mean, background.log_std, 0.0, 0.0).sum()
    level = field_divergence(background.mean[..., 0], background.log_std[..., 0], movie.log_rough, movie.log_range)
    return level + _gaussian_kl(background.mean[..., 1:], background.log_std[..., 1:], 0.0, 0.0).sum()


def _gaussian_kl(mean: jax.Array, log_std: jax.Array, mean_0: Any, log_std_0: Any) -> jax.Array:
    """KL(N(mean, std^2) | N(mean_0, std_0^2)), element by element."""
    ratio = jnp.exp(2 * (log_std - log_std_0))
    return 0.5 * (ratio + (mean - mean_0) ** 2 * jnp.exp(-2 * jnp.asarray(log_std_0)) - 1) + log_std_0 - log_std


def frame_loss(
    key: jax.Array,
    model: SceneModel,
    variables: Variables,
    movie: Movie,
    frame: jax.Array,
    posterior: Posterior,
    kl_weights: KlWeights,
    warm: jax.Array | float = 1.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Minus the evidence's lower bound of one frame, nats; and its parts.

    `warm` (0...1) scales the divergences of haze, background and noise, which learn first. Those of emitters always
    count: where an emitter costs nothing it takes what the background has not learned yet, and does not give it back.
    """
    draw = sample_posterior(key, model, posterior)
    parts = compose(model, variables, movie, draw, (frame.shape[0], frame.shape[1]))
    likelihood = log_likelihood(model, movie, frame, parts)
    costs = divergences(model, movie, posterior, (frame.shape[0], frame.shape[1]))
    weights_of = {name: getattr(kl_weights, name) * (1.0 if name in _EMITTERS else warm) for name in costs}
    cost = sum(weights_of[name] * value for name, value in costs.items())
    return cost - likelihood, {"likelihood": likelihood, **costs, "emitters": draw.presence.sum()}


def movie_loss(movie: Movie) -> jax.Array:
    """Minus the log prior of what a movie's frames share."""
    return noise_prior(movie.log_gain, movie.log_read)


def noise_prior(log_gain: jax.Array, log_read: jax.Array) -> jax.Array:
    """Minus the log prior of a movie's noise: a gain is known to some per cent, read noise to a factor."""
    return 0.5 * (log_gain / GAIN_STD) ** 2 + 0.5 * (log_read / READ_STD) ** 2
