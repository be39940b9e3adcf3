"""The scene model's networks: what a frame shows as particles, haze and background, and back to maps.

Deep latent particles (Daniel and Tamar 2022, arXiv 2205.15821; DLPv2 2024) whose physical particle is an emitter seen
through a PSF, after PILPEL (doi 10.1101/2025.07.16.665148). The networks make latents of pictures and pictures of
latents; light, camera and priors are in `training.scene_model`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from numpy.typing import NDArray

from nets.dlp_blocks import Dense, GlimpseDecoder, PictureDecoder, Stem
from nets.dlp_types import DlpConfig, Normal, Posterior
from nets.start import drawn, fan_in_spread
from optics.fits.matched_filter import Proposals
from optics.pytree import pytree

_LOG_STD = (-6.0, 1.0)  # of every latent in units of its scale


@pytree
class Seen:
    """One frame as the networks see it: `white` and `rest` (H, W), the frame above its level and what proposals leave
    of it, both over the noise; `relative` (H, W), what they leave over the movie's level; `proposals`."""

    white: jax.Array
    rest: jax.Array
    relative: jax.Array
    proposals: Proposals


@dataclasses.dataclass(frozen=True)
class Ranges:
    """What particles may be: `pixel_um`, depths `z_um`; `deep` False where all lie in one plane.

    Depths even over the range are the normal law's of a score: Phi(score) of the way from the lowest to the highest.
    """

    pixel_um: float
    z_um: tuple[float, float]
    deep: bool

    def depth_um(self, score: jax.Array | NDArray) -> jax.Array:
        """The depth of a score, of the same shape; the middle where all lie in one plane."""
        low, high = self.z_um
        way = norm.cdf(score) if self.deep else 0.5 + 0 * score
        return low + (high - low) * jnp.asarray(way)

    def score(self, z_um: jax.Array | NDArray) -> jax.Array:
        """The score of a depth; of one at the range's end or beyond, that of 2 % inside it."""
        low, high = self.z_um
        return norm.ppf(jnp.clip((jnp.asarray(z_um) - low) / max(high - low, 1e-9), 0.02, 0.98))


class Dlp(nn.Module):
    """The networks as one module; use it through `init_dlp`, `encode`, `draw_haze` and `draw_background`."""

    config: DlpConfig

    def setup(self):
        c = self.config
        small = nn.initializers.constant(0.01)
        self.attribute_stem = Stem(c.glimpse_widths, out=c.trunk_out)
        self.attribute_trunk = Dense((c.hidden,) * 3, first_linear=True, last_relu=True)
        # offset x, y, depth's score, log photons with their spreads, presence, haze brightness and size with theirs
        self.attribute_heads = nn.Dense(13, kernel_init=small)
        self.feature_stem = Stem(c.glimpse_widths, out=c.trunk_out, residual=c.feature_residual)
        self.feature_trunk = Dense((c.hidden,) * 3, first_linear=True, last_relu=True)
        self.feature_heads = nn.Dense(2 * c.features, kernel_init=small)
        self.glimpse_decoder = GlimpseDecoder(c.hidden, c.map_widths, c.map_last)
        if c.background == "grid":
            self.frame_stem = Stem((c.background_width,) * 2, out=c.background_width)
            self.frame_heads = nn.Conv(2 * c.background_channels + 2, (1, 1), kernel_init=small)
            self.grid_wide = nn.Conv(c.background_width, (3, 3), kernel_init=fan_in_spread)
            self.grid_fine = nn.Conv(c.background_width, (3, 3), kernel_init=fan_in_spread)
            self.grid_out = nn.Conv(1, (1, 1), kernel_init=nn.initializers.zeros)
        else:
            self.frame_stem = Stem(c.code_widths, first_size=7)
            self.frame_trunk = Dense((256, 256), last_relu=True)
            self.frame_heads = nn.Dense(2 * c.code, kernel_init=fan_in_spread)
            self.noise_heads = nn.Dense(2, kernel_init=small)
            self.picture_decoder = PictureDecoder(c.frame_px, 256, c.picture_widths)

    def particles(self, glimpses: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(N, P, P, 2) glimpses to raw heads (N, 13) and appearance (N, 2 F)."""
        heads = self.attribute_heads(self.attribute_trunk(_flat(self.attribute_stem(glimpses[..., :1]))))
        look = self.feature_heads(self.feature_trunk(_flat(self.feature_stem(glimpses[..., 1:]))))
        return heads, look

    def frame(self, maps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(B, H, W, 2) to raw heads of the background (B, h, w, 2 C) and of the noise (B, h, w, 2)."""
        c = self.config
        if c.background == "code":
            features = self.frame_trunk(_flat(self.frame_stem(maps[..., :1])))
            noise = self.noise_heads(features)
            cells = c.grid((maps.shape[1], maps.shape[2]))
            return self.frame_heads(features)[:, None, None, :], jnp.broadcast_to(
                noise[:, None, None, :], (len(maps), *cells, 2)
            )
        rows, columns = c.grid((maps.shape[1], maps.shape[2]))
        maps = jnp.pad(maps, ((0, 0), *_rim(c, (maps.shape[1], maps.shape[2])), (0, 0)), mode="edge")
        half = c.cell_px // 2  # the stem halves once more
        pooled = maps.reshape(len(maps), 2 * rows, half, 2 * columns, half, 2).mean(axis=(2, 4))
        heads = self.frame_heads(self.frame_stem(pooled))
        return heads[..., :-2], heads[..., -2:]

    def haze(self, look: jax.Array) -> jax.Array:
        """Appearance (N, F) to maps (N, G, G) in 0...1."""
        return jnp.prod(self.glimpse_decoder(look), axis=-1)

    def level(self, latents: jax.Array) -> jax.Array:
        """Grid latents (B, h, w, C) to log levels (B, h, w): the first latent, and what its surroundings add."""
        around = self.grid_fine(nn.relu(self.grid_wide(latents)))
        return latents[..., 0] + self.grid_out(nn.relu(around))[..., 0]

    def picture(self, code: jax.Array) -> jax.Array:
        """Codes (B, D) to pictures (B, side, side) in 0...1."""
        return self.picture_decoder(code)

    def everything(self, glimpses: jax.Array, maps: jax.Array) -> tuple[jax.Array, ...]:
        """All of it once, so that all parameters are made."""
        heads, look = self.particles(glimpses)
        latents, noise = self.frame(maps)
        c = self.config
        if c.background == "code":
            level = self.picture(latents[:, 0, 0, : c.code])
        else:
            level = self.level(latents[..., : c.background_channels])
        return heads, self.haze(look[:, : c.features]), noise, level


def init_dlp(key: jax.Array, config: DlpConfig) -> dict[str, Any]:
    """Draw the networks' starting variables.

    >>> shapes = jax.eval_shape(lambda key: init_dlp(key, DlpConfig(slots=2)), jax.random.key(0))
    >>> sorted(shapes)
    ['params']
    """
    glimpses = jnp.zeros((1, config.glimpse_px, config.glimpse_px, 2))
    side = config.frame_px if config.background == "code" else config.cell_px
    maps = jnp.zeros((1, side, side, 2))
    return _init(config, key, glimpses, maps)


@functools.partial(jax.jit, static_argnums=0)
def _init(config: DlpConfig, key: jax.Array, glimpses: jax.Array, maps: jax.Array) -> dict[str, Any]:
    return drawn(key, dict(Dlp(config).init(key, glimpses, maps, method=Dlp.everything)))


def _apply(config: DlpConfig, variables: dict[str, Any], method: Callable[..., Any], *inputs: jax.Array) -> Any:
    """One of the module's methods."""
    return Dlp(config).apply(variables, *inputs, method=method)


def encode(config: DlpConfig, variables: dict[str, Any], seen: Seen, ranges: Ranges) -> Posterior:
    """What the networks believe about one frame."""
    proposals, pixel_um = seen.proposals, ranges.pixel_um
    glimpses = jnp.stack(
        [cut_glimpses(m, proposals.xyz_um, pixel_um, config.glimpse_px) for m in (seen.white, seen.rest)], -1
    )
    heads, look = _apply(config, variables, Dlp.particles, _compressed(glimpses))
    raw, raw_noise = _apply(config, variables, Dlp.frame, _compressed(jnp.stack([seen.relative, seen.rest], -1))[None])
    # log photons may differ from the matched filter's by a factor of e^2: its depth may be that of another template
    span = jnp.array([config.offset_px * pixel_um] * 2 + [2.0 if ranges.deep else 0.0, 2.0])
    start = jnp.concatenate(
        [
            jnp.zeros_like(proposals.xyz_um[:, :2]),
            ranges.score(proposals.xyz_um[:, 2:]),
            jnp.log(jnp.maximum(proposals.photons, 1.0))[:, None],
        ],
        axis=1,
    )
    mean = start + span * jnp.tanh(heads[:, :4])
    scale = jnp.log(jnp.array([0.2 * pixel_um, 0.2 * pixel_um, 0.3, 0.2]))
    spread = scale + jnp.clip(heads[:, 4:8], *_LOG_STD)
    # S^2 / 2 nats speak for an emitter, some ten against one of the many places where it could have been; another
    # twenty so that an unlearned background begins without emitters, which would not give its light back
    evidence = jnp.clip(0.5 * proposals.significance**2 - 30.0, -6.0, 6.0)
    return Posterior(
        anchor_um=proposals.xyz_um[:, :2],
        presence=0.5 * evidence + heads[:, 8],
        place=Normal(mean, spread),
        haze=Normal(heads[:, 9:11] + jnp.array([-2.0, 0.0]), jnp.clip(heads[:, 11:13] - 1.0, *_LOG_STD)),
        look=Normal(look[:, : config.features], jnp.clip(look[:, config.features :] - 1.0, *_LOG_STD)),
        background=_shifted(_halves(raw[0], -2.0), _cell_level(config, seen.relative)),
        noise=_halves(raw_noise[0], -2.0),
    )


def _rim(config: DlpConfig, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """What fills frames of `shape` up to whole cells and one beyond each rim."""
    side = config.cell_px
    return [(side, cells * side - side - n) for n, cells in zip(shape, config.grid(shape), strict=True)]


def _cell_level(config: DlpConfig, relative: jax.Array) -> jax.Array | float:
    """Where the background's latents start: the log of each cell's mean level in the first of them."""
    if config.background == "code":
        return 0.0
    rows, columns = config.grid((relative.shape[0], relative.shape[1]))
    whole = jnp.pad(1 + relative, _rim(config, (relative.shape[0], relative.shape[1])), mode="edge")
    mean = whole.reshape(rows, config.cell_px, columns, config.cell_px).mean(axis=(1, 3))
    first = jnp.log(jnp.clip(mean, 0.1, 10.0))
    return jnp.stack([first] + [jnp.zeros_like(first)] * (config.background_channels - 1), axis=-1)


def _shifted(normal: Normal, by: jax.Array | float) -> Normal:
    return Normal(normal.mean + by, normal.log_std)


def _halves(raw: jax.Array, log_std: float) -> Normal:
    """Mean and spread from the two halves of the last axis; a last axis of one is dropped."""
    mean, spread = jnp.split(raw, 2, axis=-1)
    spread = jnp.clip(spread + log_std, *_LOG_STD)
    return Normal(mean, spread) if mean.shape[-1] > 1 else Normal(mean[..., 0], spread[..., 0])


def _compressed(x: jax.Array) -> jax.Array:
    """sign(x) log(1 + |x|): bright emitters stay within reach of the networks' weights."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))


def cut_glimpses(image: jax.Array, xyz_um: jax.Array, pixel_um: float, side: int) -> jax.Array:
    """Squares (K, side, side) of `image` (H, W) around the pixels that `xyz_um` (K, 3) lie in; beyond the rim 0."""
    corner = jnp.floor(xyz_um[:, :2] / pixel_um).astype(int) - side // 2
    padded = jnp.pad(image, side)
    return jax.vmap(lambda c: jax.lax.dynamic_slice(padded, (c[1] + side, c[0] + side), (side, side)))(corner)


def draw_haze(
    config: DlpConfig, variables: dict[str, Any], look: jax.Array, haze: jax.Array, xy_um: jax.Array,
    shape: tuple[int, int], pixel_um: float,
) -> jax.Array:  # fmt: skip
    """Haze (H, W), 1 where one particle's map is full: maps of appearance `look` (K, F) laid around `xy_um` (K, 2).

    A map's cells lie glimpse_px exp(haze[:, 1]) / G pixels apart, each a Gaussian with the cell's area, of `haze_px` or
    0.65 of their distance if that is more: nothing is sharper than that, and the lattice does not show. Brightness is
    sigmoid(haze[:, 0]).
    """
    maps = _apply(config, variables, Dlp.haze, look)
    count = maps.shape[-1]
    pitch = config.glimpse_px / count * jnp.exp(haze[:, 1])
    cells = (jnp.arange(count) - (count - 1) / 2) * pitch[:, None]
    width = jnp.maximum(config.haze_px, 0.65 * pitch)[:, None, None]

    def along(n: int, centre_px: jax.Array) -> jax.Array:
        distance = (jnp.arange(n) + 0.5)[:, None] - (centre_px[:, None] + cells)[:, None, :]
        bell = jnp.exp(-0.5 * (distance / width) ** 2) / (width * math.sqrt(2 * math.pi))
        return bell * pitch[:, None, None]

    y, x = along(shape[0], xy_um[:, 1] / pixel_um), along(shape[1], xy_um[:, 0] / pixel_um)
    return jnp.einsum("k,khi,kij,kwj->hw", jax.nn.sigmoid(haze[:, 0]), y, maps, x)


def draw_background(
    config: DlpConfig, variables: dict[str, Any], latents: jax.Array, shape: tuple[int, int]
) -> jax.Array:
    """The level (H, W) over the movie's, positive, of latents (h, w, C) or (1, 1, code)."""
    if config.background == "code":
        picture = _apply(config, variables, Dlp.picture, latents.reshape(1, -1))[0]
        return 2 * picture[: shape[0], : shape[1]]
    log_level = jnp.clip(_apply(config, variables, Dlp.level, latents[None])[0], -5.0, 5.0)
    return spread_cells(jnp.exp(log_level), shape, float(config.cell_px))


def spread_cells(cells: jax.Array, shape: tuple[int, int], spacing_px: float) -> jax.Array:
    """Values on a grid (h, w) of cells to pixels (H, W) by cubic B-splines: smooth, and within the values' range.

    The first and last cells lie beyond the rim, see `DlpConfig.grid`.

    >>> drawn = spread_cells(jnp.ones((4, 5)), (20, 24), 10.0)
    >>> drawn.shape, float(drawn.std().round(5))
    ((20, 24), 0.0)
    """
    rows, columns = (
        jnp.asarray(_spline(n, m, spacing_px), cells.dtype) for n, m in zip(shape, cells.shape, strict=True)
    )
    return rows @ cells @ columns.T


@functools.lru_cache(maxsize=64)
def _spline(n_px: int, n_cells: int, spacing_px: float) -> NDArray:
    """(n_px, n_cells) weights of cubic B-splines on the cells' centres, those beyond the rim laid on the last one."""
    cells = np.arange(-3, n_cells + 3)
    u = np.abs((np.arange(n_px) + 0.5)[:, None] / spacing_px + 1 - (cells + 0.5))
    weight = np.where(u < 1, 2 / 3 - u**2 + u**3 / 2, np.maximum(2 - u, 0) ** 3 / 6)
    folded = np.zeros((n_px, n_cells))
    np.add.at(folded.T, np.clip(cells, 0, n_cells - 1), weight.T)
    return folded


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1)
