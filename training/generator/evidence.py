"""Prepare a frame for the networks, and turn their outputs into the frame's posterior."""

import jax
import jax.numpy as jnp

from nets.dlp import Dlp, DlpConfig, apply_dlp
from optics.fits.matched_filter import Proposals, local_background, propose
from optics.pytree import pytree
from training.generator.model import GeneratorModel, Variables, photon_variance, render_emitters
from training.generator.posterior import Normal, Posterior
from training.generator.surroundings import smooth

_CERTAIN = 4.0  # standard deviations from which a proposal's light is subtracted from the frame
_LOG_STD = (-6.0, 1.0)  # limits of every latent's log_std, in units of its scale


@pytree
class FrameEvidence:
    """Evidence for emitters and background in one frame: the inputs of the networks.

    `white` (H, W): the frame above its level, over the noise. `residual` (H, W): the same without the proposals'
    light. `relative` (H, W): the frame without the proposals, over the movie's level, less 1. `proposals`: K emitters
    found by matched filters.
    """

    white: jax.Array
    residual: jax.Array
    relative: jax.Array
    proposals: Proposals


def propose_emitters(model: GeneratorModel, frame: jax.Array) -> FrameEvidence:
    """Find proposals, level and noise of one frame (H, W) in photons.

    The search runs twice: the light of the first proposals is subtracted, the level is smoothed from what remains, and
    the second search no longer takes structure of the background for emitters.
    """
    level = local_background(frame, model.block_px)
    for is_last in (False, True):
        variance = photon_variance(model.camera, jnp.maximum(level, 0.0))
        proposals = propose(
            model.templates, frame - level, variance, model.ranges.pixel_um,
            capacity=model.config.slots, radius_px=model.radius_px,
        )  # fmt: skip
        certain = (proposals.significance > _CERTAIN).astype(frame.dtype)
        light, _ = render_emitters(model, proposals.xyz_um, proposals.photons, certain, frame.shape)
        if not is_last:
            level = smooth(frame - light, model.config.cell_px / 2)
    std = jnp.sqrt(variance)
    relative = (frame - light) / model.level - 1
    return FrameEvidence((frame - level) / std, (frame - level - light) / std, relative, proposals)


def encode_posterior(model: GeneratorModel, variables: Variables, evidence: FrameEvidence) -> Posterior:
    """Predict one frame's posterior by the networks."""
    config, ranges, proposals = model.config, model.ranges, evidence.proposals
    glimpses = jnp.stack(
        [
            cut_glimpses(image, proposals.xyz_um, ranges.pixel_um, config.glimpse_px)
            for image in (evidence.white, evidence.residual)
        ],
        -1,
    )
    heads, appearance = apply_dlp(config, variables, Dlp.particles, _compressed(glimpses))
    frame_maps = _compressed(jnp.stack([evidence.relative, evidence.residual], -1))[None]
    background, noise = apply_dlp(config, variables, Dlp.frame, frame_maps)
    # S^2 / 2 nats speak for an emitter, some ten against one of the many places where it could have been; another
    # twenty so that an unlearned background begins without emitters, which would not give its light back
    log_odds = jnp.clip(0.5 * proposals.significance**2 - 30.0, -6.0, 6.0)
    return Posterior(
        anchor_um=proposals.xyz_um[:, :2],
        presence=0.5 * log_odds + heads[:, 8],
        location=_location(model, proposals, heads[:, :8]),
        haze=Normal(heads[:, 9:11] + jnp.array([-2.0, 0.0]), jnp.clip(heads[:, 11:13] - 1.0, *_LOG_STD)),
        appearance=Normal(
            appearance[:, : config.features], jnp.clip(appearance[:, config.features :] - 1.0, *_LOG_STD)
        ),
        background=_shifted(_split_heads(background[0], -2.0), _log_cell_level(config, evidence.relative)),
        noise=_split_heads(noise[0], -2.0),
    )


def _location(model: GeneratorModel, proposals: Proposals, heads: jax.Array) -> Normal:
    """Return the location (K, 4) that the heads (K, 8) predict, within a span around the proposals."""
    config, ranges, pixel_um = model.config, model.ranges, model.ranges.pixel_um
    # log photons may differ from the matched filter's by a factor of e^2: its depth may be that of another template
    span = jnp.array([config.offset_px * pixel_um] * 2 + [2.0 if ranges.is_3d else 0.0, 2.0])
    start = jnp.concatenate(
        [
            jnp.zeros_like(proposals.xyz_um[:, :2]),
            ranges.depth_score(proposals.xyz_um[:, 2:]),
            jnp.log(jnp.maximum(proposals.photons, 1.0))[:, None],
        ],
        axis=1,
    )
    scale = jnp.log(jnp.array([0.2 * pixel_um, 0.2 * pixel_um, 0.3, 0.2]))
    return Normal(start + span * jnp.tanh(heads[:, :4]), scale + jnp.clip(heads[:, 4:], *_LOG_STD))


def cut_glimpses(image: jax.Array, xyz_um: jax.Array, pixel_um: float, side: int) -> jax.Array:
    """Cut squares (K, side, side) of `image` (H, W) around the pixels of `xyz_um` (K, 3); outside the image is 0."""
    corner = jnp.floor(xyz_um[:, :2] / pixel_um).astype(int) - side // 2
    padded = jnp.pad(image, side)
    return jax.vmap(lambda c: jax.lax.dynamic_slice(padded, (c[1] + side, c[0] + side), (side, side)))(corner)


def _log_cell_level(config: DlpConfig, relative: jax.Array) -> jax.Array | float:
    """Return the starting latents of a background grid: the first is the log of each cell's mean level."""
    if config.background == "code":
        return 0.0
    shape = (relative.shape[0], relative.shape[1])
    rows, columns = config.grid(shape)
    padded = jnp.pad(1 + relative, config.grid_padding(shape), mode="edge")
    mean = padded.reshape(rows, config.cell_px, columns, config.cell_px).mean(axis=(1, 3))
    first = jnp.log(jnp.clip(mean, 0.1, 10.0))
    return jnp.stack([first] + [jnp.zeros_like(first)] * (config.background_channels - 1), axis=-1)


def _shifted(normal: Normal, by: jax.Array | float) -> Normal:
    return Normal(normal.mean + by, normal.log_std)


def _split_heads(heads: jax.Array, log_std: float) -> Normal:
    """Split the last axis into mean and spread around `log_std`; a last axis of one is dropped."""
    mean, spread = jnp.split(heads, 2, axis=-1)
    spread = jnp.clip(spread + log_std, *_LOG_STD)
    return Normal(mean, spread) if mean.shape[-1] > 1 else Normal(mean[..., 0], spread[..., 0])


def _compressed(x: jax.Array) -> jax.Array:
    """Return sign(x) log(1 + |x|), so that bright emitters stay within reach of the networks' weights."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))
