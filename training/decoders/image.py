"""Deep-STORM's decoder: a picture of the emitters' density to come near, and its peaks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import localization
import nets
from localization import Localizations
from optics.types import Emitters
from training.config import RunConfig
from training.decoders.decoder import Core, Decoder, Metrics, ReadOut, Tiling, check_single_frames, smooth
from training.scenes import Frames

GAIN = 2.0  # mass of the kernel that the network's own spikes are blurred with; an emitter's mass in the target is
HEAT = GAIN * nets.DeepStormConfig.SPIKE  # of its output
TILE_PX = 256


def occupancy_image(emitters: Emitters, shape: tuple[int, int], pixel_um: jax.Array, upsampling: int) -> jax.Array:
    """Count the emitters in each fine pixel of one frame of `shape` (H, W): (u H, u W), whatever their depth.

    Fine pixel k reaches from k to k + 1 fine pixels from the frame's outer corner; an emitter outside adds nothing.
    """
    size = (shape[0] * upsampling, shape[1] * upsampling)
    place = jnp.floor(emitters.xyz_um[:, :2] * (upsampling / pixel_um)).astype(int)
    inside = emitters.valid & jnp.all((place >= 0) & (place < jnp.array([size[1], size[0]])), axis=1)
    return jnp.zeros(size).at[place[:, 1], place[:, 0]].add(inside.astype(float), mode="drop")


def image_loss(prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return Deep-STORM's loss: squared distance of blurred densities, plus sparsity.

    `prediction` (B, H, W), `target` (B, H, W) emitters in each fine pixel: the mean of (2 g * prediction -
    100 g * target)**2 and of abs(prediction), g a Gaussian of 7 x 7 taps, sigma 1 fine pixel and sum 1 (Nehme et al.
    2018, doi 10.1364/OPTICA.5.000458, and its code).
    """
    taps = jnp.exp(-0.5 * (jnp.arange(7, dtype=prediction.dtype) - 3) ** 2)
    difference = GAIN * prediction - HEAT * target
    for axis in (1, 2):
        difference = smooth(difference, taps / taps.sum(), axis, "SAME")
    distance, sparsity = jnp.mean(difference**2), jnp.mean(jnp.abs(prediction))
    return distance + sparsity, {"distance": distance, "sparsity": sparsity}


def make_net(run: RunConfig) -> nets.DeepStormConfig:
    """Make the network's configuration."""
    check_single_frames(run)
    d = run.decoder
    return nets.DeepStormConfig(variant=d.variant, upsampling=d.upsampling, width=d.width)


def loss(run: RunConfig, pixel_um: jax.Array, output: Any, frames: Frames) -> tuple[jax.Array, Metrics]:
    """Return the mean loss of a batch and its parts."""
    side = (run.scene.frame_px, run.scene.frame_px)
    target = jax.vmap(lambda e: occupancy_image(e, side, pixel_um, run.decoder.upsampling))(frames.emitters)
    rim = (target.shape[1] - output.shape[1]) // 2  # what the "quick" network leaves out
    target = target[:, rim : target.shape[1] - rim, rim : target.shape[2] - rim]
    return image_loss(output, target)


def read_out(run: RunConfig, pixel_um: float, threshold: float, share_borders: bool = True) -> ReadOut:
    """Return the function that reads densities; a peak must hold `threshold` emitters.

    An image has no depth: its emitters are put in the middle of the scene's.
    """

    def read(output: Any, *, first_frame: int = 0, core: Core | None = None) -> Localizations:
        assert core is None  # pictures are put together before they are read
        return localization.image_peaks(
            np.asarray(output),
            pixel_um=pixel_um,
            upsampling=run.decoder.upsampling,
            threshold=threshold,
            z_um=0.5 * (run.scene.z_min_um + run.scene.z_max_um),
            first_frame=first_frame,
        )

    return read


def tiling(net: nets.DeepStormConfig) -> Tiling:
    """Cut frames into pieces, with what is pooled together in the whole pooled together in them."""
    step = net.frame_multiple
    halo = -(-(net.receptive_field_px // 2 + 1) // step) * step
    return Tiling(halo, TILE_PX, step, fine=net.upsampling)


# an image needs the core of an in-focus PSF, not all of its rings
IMAGE = Decoder(make_net, loss, read_out, tiling, sees_stamp=False, label="Deep-STORM decoder")
