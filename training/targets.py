"""Truth in the form that a volumetric decoder is compared with."""

import jax
import jax.numpy as jnp

from optics.types import Emitters


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


def occupancy_image(emitters: Emitters, shape: tuple[int, int], pixel_um: jax.Array, upsampling: int) -> jax.Array:
    """Count the emitters in each fine pixel of one frame of `shape` (H, W): (u H, u W), whatever their depth.

    Fine pixel k reaches from k to k + 1 fine pixels from the frame's outer corner; an emitter outside adds nothing.
    """
    size = (shape[0] * upsampling, shape[1] * upsampling)
    place = jnp.floor(emitters.xyz_um[:, :2] * (upsampling / pixel_um)).astype(int)
    inside = emitters.valid & jnp.all((place >= 0) & (place < jnp.array([size[1], size[0]])), axis=1)
    return jnp.zeros(size).at[place[:, 1], place[:, 0]].add(inside.astype(float), mode="drop")
