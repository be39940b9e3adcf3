"""AutoDS3D's decoder: a Gaussian blob for each emitter, as high as it is bright, and the peaks of the volume.

Network, blobs and read-out are those of the article (npj Imaging 2025, doi 10.1038/s44303-025-00123-w): voxels a
camera pixel wide, blobs of sigma 0.65 voxel in boxes of 5 x 5 x 5, the mean squared error.
"""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nets
from localization import Localizations
from optics.types import Emitters
from training.config import RunConfig, SceneConfig
from training.decoders.decoder import Core, Decoder, Metrics, ReadOut, check_single_frames
from training.decoders.volume import read_volumes, run_config, volume_tiling
from training.scenes import Frames

RADIUS = 2  # voxels: half-side of a blob's box, and of the cube that a peak rules
THRESHOLD = 0.05  # of full scale: the published 40 of 800


def brightest_photons(scene: SceneConfig) -> float:
    """Return the photons of an emitter whose blob reaches full scale.

    >>> brightest_photons(SceneConfig(photons_max=2e4))
    20000.0
    """
    if scene.photons == "uniform":
        return scene.photons_max
    return scene.photons_mean * (1 + 3 / math.sqrt(scene.photons_shape))  # of a gamma distribution hardly one in 100


def blob_volume(
    emitters: Emitters,
    shape: tuple[int, int, int],
    pixel_um: jax.Array | float,
    z_range_um: tuple[float, float],
    photons_full: float,
    sigma_voxels: float = 0.65,
) -> jax.Array:
    """Draw the emitters of one frame as blobs: (H, W, D), z on the last axis, 1 for `photons_full` at a voxel's centre.

    Voxels are `pixel_um` wide and (z_max - z_min) / D deep. An emitter fills the 5 x 5 x 5 voxels around its own with
    exp(-r^2 / (2 sigma^2)), r in voxels from where it is to their centres, times its photons over `photons_full`.
    Blobs add; what lies outside is left out, and so is an emitter outside.

    >>> one = Emitters(jnp.array([[0.25, 0.35, 0.5]]), jnp.array([500.0]), jnp.array([True]))
    >>> volume = blob_volume(one, (5, 5, 5), 0.1, (0.0, 1.0), 1000.0)
    >>> float(volume[3, 2, 2])
    0.5
    """
    height, width, depth = shape
    low, high = z_range_um
    scale = jnp.stack([1 / jnp.asarray(pixel_um), 1 / jnp.asarray(pixel_um), jnp.asarray(depth / (high - low))])
    place = (emitters.xyz_um - jnp.array([0.0, 0.0, low])) * scale
    voxel = jnp.floor(place).astype(int)
    inside = emitters.valid & jnp.all((voxel >= 0) & (voxel < jnp.array([width, height, depth])), axis=1)
    box = jnp.arange(-RADIUS, RADIUS + 1)
    profile = jnp.exp(-0.5 * ((box - (place - voxel - 0.5)[..., None]) / sigma_voxels) ** 2)  # (N, 3, 5)
    x, y, z = profile[:, 0], profile[:, 1], profile[:, 2]
    light = jnp.where(inside, emitters.photons / photons_full, 0.0)
    blobs = light[:, None, None, None] * y[:, :, None, None] * x[:, None, :, None] * z[:, None, None, :]
    column, row, plane = (voxel[:, axis, None] + box + RADIUS for axis in range(3))
    index = (row[:, :, None, None], column[:, None, :, None], plane[:, None, None, :])
    padded = jnp.zeros(tuple(n + 2 * RADIUS for n in shape)).at[index].add(blobs, mode="drop")
    return padded[RADIUS:-RADIUS, RADIUS:-RADIUS, RADIUS:-RADIUS]


def make_net(run: RunConfig) -> nets.LocalizationNetConfig:
    """Make the network's configuration."""
    check_single_frames(run)
    d = run.decoder
    return nets.LocalizationNetConfig(
        depth=d.depth_voxels,
        dilations=d.dilations,
        upsampling=1,
        scaling=d.scaling,
        channels=d.channels,
        level_layers=2,
    )


def loss(run: RunConfig, pixel_um: jax.Array, output: Any, frames: Frames) -> tuple[jax.Array, Metrics]:
    """Return the mean squared distance of a batch from its blobs, in units of the output."""
    d, scene = run.decoder, run.scene
    shape, z_range = (scene.frame_px, scene.frame_px, d.depth_voxels), (scene.z_min_um, scene.z_max_um)
    full = brightest_photons(scene)
    target = jax.vmap(lambda e: blob_volume(e, shape, pixel_um, z_range, full, d.blob_sigma_voxels))(frames.emitters)
    distance = jnp.mean((output - d.scaling * target) ** 2)
    return distance, {"distance": distance}


def read_out(run: RunConfig, pixel_um: float, threshold: float, share_borders: bool = True) -> ReadOut:
    """Return the function that reads volumes of a run's network; `threshold` in the network's units.

    Positions are centres of mass of 5 x 5 x 5 voxels around a peak, photons what a blob of the peak's height in its
    voxel has where the emitter lies in it.
    """
    d, scene = run.decoder, run.scene
    volumes = read_volumes(replace(run_config(run, threshold), radius=RADIUS), 1, pixel_um)
    size_um = np.array([pixel_um, pixel_um, (scene.z_max_um - scene.z_min_um) / d.depth_voxels])
    photons_a_unit = brightest_photons(scene) / d.scaling

    def read(output: Any, *, first_frame: int = 0, core: Core | None = None) -> Localizations:
        locs = volumes(output, first_frame=first_frame, core=core)
        place = np.stack([locs.x_um, locs.y_um, locs.z_um - scene.z_min_um], axis=1) / size_um
        off = place - np.floor(place) - 0.5  # of the peak's own voxel, or of the next one as far from it
        return replace(
            locs, photons=locs.score * photons_a_unit * np.exp(0.5 * np.sum(off**2, axis=1) / d.blob_sigma_voxels**2)
        )

    return read


def identity(run: RunConfig, threshold: float, gain_adu_per_photon: float, offset_adu: float) -> dict[str, Any]:
    """Name all that decides how a run's network is read."""
    config = replace(run_config(run, threshold, gain_adu_per_photon, offset_adu), radius=RADIUS)
    return {"reading": repr(config), "blobs": [run.decoder.blob_sigma_voxels, brightest_photons(run.scene)]}


BLOBS = Decoder(
    make_net,
    loss,
    read_out,
    lambda net: volume_tiling(net, RADIUS),
    threshold=lambda run: THRESHOLD,
    full_scale=lambda run: run.decoder.scaling,
    identity=identity,
    label="decoder of blobs",
)
