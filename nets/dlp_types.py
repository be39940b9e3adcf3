"""What the scene model is made of: its sizes, and what it believes about one frame."""

import dataclasses
from typing import Literal

import jax

from nets.errors import NetsError
from optics.pytree import pytree


@dataclasses.dataclass(frozen=True)
class DlpConfig:
    """Sizes of a scene model of `slots` particles a frame; see `nets.dlp`.

    Each particle is looked at in a glimpse of `glimpse_px` pixels; it may move `offset_px` from its proposal across
    and, through a 3D PSF, over the whole depth. Haze around particles is blurred by a Gaussian of `haze_px` pixels,
    which the background's cells of `cell_px` (`background` "grid") are coarser than: neither can imitate a PSF.
    `background` "code" is the published one instead: one code of `code` numbers for the whole frame of `frame_px`.
    The defaults fit two cores; `parity_config` has the published sizes.
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
        halved = 2 ** (len(self.glimpse_widths) - 1)  # by its stem
        if self.glimpse_px < 8 or self.glimpse_px % halved:
            raise NetsError(f"glimpse_px: {self.glimpse_px} must be at least 8 and a multiple of {halved}")
        if self.cell_px < 4 or self.cell_px % 2:
            raise NetsError(f"cell_px: {self.cell_px} must be even, at least 4")
        if not 0.5 <= self.offset_px <= 4 or not self.haze_px >= 1:
            raise NetsError(f"offset_px: {self.offset_px} must be 0.5 to 4, haze_px: {self.haze_px} at least 1")

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Cells of the background's grid over frames of `shape` (H, W), with one more beyond each rim: slopes go on."""
        return -(-shape[0] // self.cell_px) + 2, -(-shape[1] // self.cell_px) + 2


def parity_config(frame_px: int = 129) -> DlpConfig:
    """The published layout: 3D (129 px, 25 particles) or 2D (65 px, 36 particles).

    >>> parity_config(65).slots
    36
    """
    if frame_px not in (129, 65):
        raise NetsError(f"frame_px: {frame_px}; the published networks are for 129 px (3D) and 65 px (2D)")
    deep = frame_px == 129
    return DlpConfig(
        slots=25 if deep else 36,
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
        code=10 if deep else 20,
        code_widths=(32, 64, 128, 256) if deep else (32, 64, 128),
        picture_widths=(256, 128, 64) if deep else (128, 64),
    )


@pytree
class Normal:
    """Independent Gaussians: `mean` and `log_std`, of one shape."""

    mean: jax.Array
    log_std: jax.Array


@pytree
class Posterior:
    """What is believed about one frame, K particles: every leaf but `anchor_um` may be refined by descent.

    `anchor_um` (K, 2): x and y of the proposals. `presence` (K,): logit that there is an emitter. `place` (K, 4):
    x and y from the anchor (um), the depth's score (`Ranges.depth_um`), log photons. `haze` (K, 2): logit of its
    brightness, log of its size; `look` (K, F) its appearance. `background` (h, w, C), or (1, 1, code): latents of the
    level. `noise` (h, w): log of the read variance over the camera's, on the grid's cells.
    """

    anchor_um: jax.Array
    presence: jax.Array
    place: Normal
    haze: Normal
    look: Normal
    background: Normal
    noise: Normal


@pytree
class Draw:
    """One draw from a `Posterior`: `xyz_um` (K, 3), `photons` (K,), `presence` (K,) probabilities, and the latents."""

    xyz_um: jax.Array
    photons: jax.Array
    presence: jax.Array
    haze: jax.Array
    look: jax.Array
    background: jax.Array
    noise: jax.Array
