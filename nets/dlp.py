"""Networks of deep latent particles: frames to latents of emitters, haze and background, and latents to maps.

Deep latent particles (Daniel and Tamar 2022, arXiv 2205.15821; DLPv2 2024), whose particle is an emitter seen through
a PSF, after PILPEL (doi 10.1101/2025.07.16.665148). Here are the networks alone: `training.generator.evidence` prepares
their inputs and turns their outputs into a posterior, `training.generator.surroundings` turns their maps into light.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.dlp_blocks import Dense, GlimpseDecoder, PictureDecoder, Stem
from nets.errors import NetsError
from nets.start import drawn, fan_in_spread


@dataclasses.dataclass(frozen=True)
class DlpConfig:
    """Sizes of the networks for frames of at most `slots` emitters.

    The networks see each proposed emitter in a square of `glimpse_px` pixels (a glimpse); the emitter lies within
    `offset_px` pixels of its proposal in x and y. Haze is blurred by a Gaussian of `haze_px` pixels and `background`
    "grid" has cells of `cell_px` pixels, so that neither can imitate a PSF. `background` "code" is the published
    decoder: `code` numbers describe the whole frame of `frame_px` pixels. The defaults run on two cores;
    `parity_config` has the published sizes.
    """

    slots: int = 25
    glimpse_px: int = 24
    glimpse_widths: tuple[int, ...] = (8, 16, 32)
    feature_residual: bool = True
    hidden: int = 64
    trunk_out: int = 16
    features: int = 6
    map_widths: tuple[int, ...] = (8,)
    map_last: int = 8
    haze_px: float = 2.5
    offset_px: float = 1.5
    background: Literal["grid", "code"] = "grid"
    cell_px: int = 6
    background_channels: int = 4
    background_width: int = 24
    frame_px: int = 129
    code: int = 10
    code_widths: tuple[int, ...] = (32, 64, 128, 256)
    picture_widths: tuple[int, ...] = (256, 128, 64)

    def __post_init__(self):
        for name in ("slots", "features", "hidden", "background_channels", "code", "frame_px"):
            if getattr(self, name) < 1:
                raise NetsError(f"{name}: {getattr(self, name)} must be at least 1")
        halved = 2 ** (len(self.glimpse_widths) - 1)  # the stem halves the glimpse so often
        if self.glimpse_px < 8 or self.glimpse_px % halved:
            raise NetsError(f"glimpse_px: {self.glimpse_px} must be at least 8 and a multiple of {halved}")
        if self.cell_px < 4 or self.cell_px % 2:
            raise NetsError(f"cell_px: {self.cell_px} must be even, at least 4")
        if not 0.5 <= self.offset_px <= 4 or not self.haze_px >= 1:
            raise NetsError(f"offset_px: {self.offset_px} must be 0.5 to 4, haze_px: {self.haze_px} at least 1")

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return rows and columns of the background's cells for frames of `shape` (H, W).

        One cell lies beyond each side, so that a slope continues over the edge.
        """
        return -(-shape[0] // self.cell_px) + 2, -(-shape[1] // self.cell_px) + 2

    def grid_padding(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the padding (before, after) of rows and columns that fills frames of `shape` up to whole cells."""
        side = self.cell_px
        return [(side, cells * side - side - n) for n, cells in zip(shape, self.grid(shape), strict=True)]


def parity_config(frame_px: int = 129) -> DlpConfig:
    """Return the published sizes: 3D (129 px, 25 emitters) or 2D (65 px, 36 emitters).

    Raises `NetsError` for any other `frame_px`.

    >>> parity_config(65).slots
    36
    """
    if frame_px not in (129, 65):
        raise NetsError(f"frame_px: {frame_px}; the published networks are for 129 px (3D) and 65 px (2D)")
    is_3d = frame_px == 129
    return DlpConfig(
        slots=25 if is_3d else 36,
        glimpse_px=32,
        glimpse_widths=(16, 32, 64),
        feature_residual=False,
        hidden=256,
        trunk_out=32,
        features=10,
        map_widths=(32, 64, 64),
        map_last=32,
        haze_px=5.0,
        background="code",
        frame_px=frame_px,
        code=10 if is_3d else 20,
        code_widths=(32, 64, 128, 256) if is_3d else (32, 64, 128),
        picture_widths=(256, 128, 64) if is_3d else (128, 64),
    )


class Dlp(nn.Module):
    """All networks of a generator as one module; use it through `init_dlp` and `apply_dlp`."""

    config: DlpConfig

    def setup(self):
        c = self.config
        small = nn.initializers.constant(0.01)
        self.attribute_stem = Stem(c.glimpse_widths, out=c.trunk_out)
        self.attribute_trunk = Dense((c.hidden,) * 3, first_linear=True, last_relu=True)
        # mean and log_std of x, y, depth score and log photons (8), presence (1), haze brightness and size (4)
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
        """Map glimpses (N, P, P, 2) to raw emitter heads (N, 13) and appearance heads (N, 2 F)."""
        heads = self.attribute_heads(self.attribute_trunk(_flat(self.attribute_stem(glimpses[..., :1]))))
        appearance = self.feature_heads(self.feature_trunk(_flat(self.feature_stem(glimpses[..., 1:]))))
        return heads, appearance

    def frame(self, maps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map frames (B, H, W, 2) to raw background heads (B, h, w, 2 C) and noise heads (B, h, w, 2)."""
        c = self.config
        if c.background == "code":
            features = self.frame_trunk(_flat(self.frame_stem(maps[..., :1])))
            noise = self.noise_heads(features)
            cells = c.grid((maps.shape[1], maps.shape[2]))
            return self.frame_heads(features)[:, None, None, :], jnp.broadcast_to(
                noise[:, None, None, :], (len(maps), *cells, 2)
            )
        rows, columns = c.grid((maps.shape[1], maps.shape[2]))
        maps = jnp.pad(maps, ((0, 0), *c.grid_padding((maps.shape[1], maps.shape[2])), (0, 0)), mode="edge")
        half = c.cell_px // 2  # the stem halves the other half
        pooled = maps.reshape(len(maps), 2 * rows, half, 2 * columns, half, 2).mean(axis=(2, 4))
        heads = self.frame_heads(self.frame_stem(pooled))
        return heads[..., :-2], heads[..., -2:]

    def haze(self, appearance: jax.Array) -> jax.Array:
        """Map appearances (N, F) to brightness maps (N, G, G) in 0...1."""
        return jnp.prod(self.glimpse_decoder(appearance), axis=-1)

    def level(self, latents: jax.Array) -> jax.Array:
        """Map grid latents (B, h, w, C) to log levels (B, h, w): the first latent plus a learned correction."""
        features = self.grid_fine(nn.relu(self.grid_wide(latents)))
        return latents[..., 0] + self.grid_out(nn.relu(features))[..., 0]

    def picture(self, code: jax.Array) -> jax.Array:
        """Map codes (B, D) to pictures (B, side, side) in 0...1."""
        return self.picture_decoder(code)

    def everything(self, glimpses: jax.Array, maps: jax.Array) -> tuple[jax.Array, ...]:
        """Call every network once, so that initialisation makes all parameters."""
        heads, appearance = self.particles(glimpses)
        latents, noise = self.frame(maps)
        c = self.config
        if c.background == "code":
            level = self.picture(latents[:, 0, 0, : c.code])
        else:
            level = self.level(latents[..., : c.background_channels])
        return heads, self.haze(appearance[:, : c.features]), noise, level


def init_dlp(key: jax.Array, config: DlpConfig) -> dict[str, Any]:
    """Draw the starting variables of all networks.

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


def apply_dlp(config: DlpConfig, variables: dict[str, Any], method: Callable[..., Any], *inputs: jax.Array) -> Any:
    """Apply one network of the module, such as `Dlp.haze`, to `inputs`.

    >>> config = DlpConfig(slots=2, map_widths=(4,), map_last=4, hidden=8)
    >>> variables = init_dlp(jax.random.key(0), config)
    >>> apply_dlp(config, variables, Dlp.haze, jnp.zeros((2, config.features))).shape
    (2, 8, 8)
    """
    return Dlp(config).apply(variables, *inputs, method=method)


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1)
