"""The volumetric decoder of DeepSTORM3D: occupied voxels to come near, and peaks of its volume."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import localization
import nets
from localization import Localizations
from nets.weights import LARGE_PSF
from optics.types import Emitters
from training.config import RunConfig
from training.decoders.decoder import Core, Decoder, Metrics, ReadOut, Tiling, check_single_frames, smooth
from training.scenes import Frames
from training.settings import ConfigError

THRESHOLD = 0.1  # of a volume's full scale; the published networks are read at 0.05 and 0.1
VOLUME_BYTES = 1e9  # of one frame's volume on the fine grid; larger frames are read in pieces


@dataclass(frozen=True)
class VolumeConfig:
    """What a file of DeepSTORM3D weights does not say about its network.

    Depths in um, `pixel_um` in the sample. "divide" feeds counts / `divide_by_adu`, "min_max" each frame
    stretched to [0, 1], "photons" (counts - `offset_adu`) / `divide_by_adu`. `threshold` in the network's units (its
    output ends at `scaling`); `radius` and `shift_fine_px` as in `localization.volume_peaks`.
    """

    z_min_um: float
    z_max_um: float
    normalisation: Literal["divide", "min_max", "photons"]
    threshold: float
    divide_by_adu: float = 250.0
    pixel_um: float = 0.11
    dilations: tuple[int, ...] = LARGE_PSF
    scaling: float = 800.0
    radius: int = 4
    shift_fine_px: float = 0.0
    offset_adu: float = 0.0

    def __post_init__(self):
        for name in ("pixel_um", "divide_by_adu", "threshold", "scaling", "radius"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"model config: {name} = {getattr(self, name)} must be positive")
        if not self.z_max_um > self.z_min_um:
            raise ConfigError(f"model config: z_max_um = {self.z_max_um} is not above z_min_um = {self.z_min_um}")


def occupancy_volume(
    emitters: Emitters,
    shape: tuple[int, int, int],
    pixel_um: jax.Array,
    z_range_um: tuple[float, float],
    upsampling: int = 1,
) -> jax.Array:
    """Count the emitters in each voxel of one frame: (H, W, D), z on the last axis.

    Voxels are pixel_um / upsampling wide and (z_max - z_min) / D deep; an emitter outside adds nothing.
    """
    height, width, depth = shape
    low, high = z_range_um
    scale = jnp.stack([upsampling / pixel_um, upsampling / pixel_um, jnp.asarray(depth / (high - low))])
    voxel = jnp.floor((emitters.xyz_um - jnp.array([0.0, 0.0, low])) * scale).astype(int)
    inside = emitters.valid & jnp.all((voxel >= 0) & (voxel < jnp.array([width, height, depth])), axis=1)
    index = (voxel[:, 1], voxel[:, 0], voxel[:, 2])
    return jnp.zeros(shape).at[index].add(inside.astype(float), mode="drop")


def volume_loss(prediction: jax.Array, target: jax.Array, scaling: float) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return DeepSTORM3D's loss: KDE distance plus overlap (Nehme et al. 2020, doi 10.1038/s41592-020-0853-5).

    `prediction` (B, H, W, D) in 0...scaling, `target` (B, H, W, D) occupied voxels. KDE: mean square of the
    difference from `scaling * target` after a Gaussian of sigma 1 voxel (7 taps, peak 1; no padding in x, y).
    Overlap: 1 - (2 sum(q t) + 1) / (sum(q t) + sum(t**2) + 1) with q = prediction / scaling.
    """
    taps = jnp.exp(-0.5 * (jnp.arange(7, dtype=prediction.dtype) - 3) ** 2)
    difference = prediction - scaling * target
    for axis, padding in ((1, "VALID"), (2, "VALID"), (3, "SAME")):
        difference = smooth(difference, taps, axis, padding)
    kde = jnp.mean(difference**2)
    shared = jnp.sum(prediction * target) / scaling
    overlap = 1 - (2 * shared + 1) / (shared + jnp.sum(target**2) + 1)
    return kde + overlap, {"kde": kde, "overlap": overlap}


def make_net(run: RunConfig) -> nets.OpticsDesignNetConfig:
    """Make the network's configuration."""
    check_single_frames(run)
    return nets.OpticsDesignNetConfig(depth=run.decoder.depth_voxels, scaling=run.decoder.scaling)


def loss(run: RunConfig, pixel_um: jax.Array, output: Any, frames: Frames) -> tuple[jax.Array, Metrics]:
    """Return the mean loss of a batch and its parts."""
    shape = (run.scene.frame_px, run.scene.frame_px, run.decoder.depth_voxels)
    z_range = (run.scene.z_min_um, run.scene.z_max_um)
    target = jax.vmap(lambda emitters: occupancy_volume(emitters, shape, pixel_um, z_range))(frames.emitters)
    return volume_loss(output, target, run.decoder.scaling)


def run_config(run: RunConfig, threshold: float, gain_adu_per_photon: float = 1.0, offset_adu: float = 0.0):
    """Say of a run's own network what a `VolumeConfig` says of a published one."""
    return VolumeConfig(
        z_min_um=run.scene.z_min_um,
        z_max_um=run.scene.z_max_um,
        normalisation="photons",
        threshold=threshold,
        divide_by_adu=gain_adu_per_photon,
        offset_adu=offset_adu,
        pixel_um=run.microscope.pixel_um,
        scaling=run.decoder.scaling,
        radius=1,  # a voxel is a pixel wide: as far as the published four quarter pixels
    )


def identity(run: RunConfig, threshold: float, gain_adu_per_photon: float, offset_adu: float) -> dict[str, Any]:
    """Name all that decides how a run's network is read."""
    return {"reading": repr(run_config(run, threshold, gain_adu_per_photon, offset_adu))}


def read_volumes(config: VolumeConfig, fine: int, pixel_um: float) -> ReadOut:
    """Return the function that reads volumes (B, u H, u W, D), u = `fine`."""

    def read(output: Any, *, first_frame: int = 0, core: Core | None = None) -> Localizations:
        rows, columns = (None, None) if core is None else [(fine * c.start, fine * c.stop) for c in core]
        found = [
            localization.volume_peaks(
                np.moveaxis(np.asarray(volume), -1, 0),
                pixel_um=pixel_um,
                z_min_um=config.z_min_um,
                z_max_um=config.z_max_um,
                threshold=config.threshold,
                upsampling=fine,
                radius=config.radius,
                shift_fine_px=config.shift_fine_px,
                frame=first_frame + k,
                rows=rows,
                columns=columns,
            )
            for k, volume in enumerate(output)
        ]
        return localization.concatenate(found)

    return read


def read_out(run: RunConfig, pixel_um: float, threshold: float, share_borders: bool = True) -> ReadOut:
    """Return the function that reads volumes of a run's network; `threshold` in the network's units."""
    return read_volumes(run_config(run, threshold), 1, pixel_um)


def volume_tiling(net: Any, radius: int) -> Tiling:
    """Cut frames into pieces whose volume fits in memory; peaks look `radius` fine pixels further than a voxel."""
    fine = getattr(net, "upsampling", 1)
    halo = net.receptive_field_px // 2 + 1 + -(-radius // fine)
    fitting = int(math.sqrt(VOLUME_BYTES / (4 * net.depth * fine**2)))
    return Tiling(halo, fitting, fine=fine, together=False)


VOLUME = Decoder(
    make_net,
    loss,
    read_out,
    lambda net: volume_tiling(net, 1),
    threshold=lambda run: THRESHOLD,
    full_scale=lambda run: run.decoder.scaling,
    identity=identity,
    label="volumetric decoder",
)
