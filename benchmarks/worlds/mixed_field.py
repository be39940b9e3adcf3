"""Movies whose field is not alike: crowded here and sparse there, bright here and faint there, with exact truth.

Microtubules and clusters, of which every frame shows a few molecules, independent of the other frames. Density
(molecules per um2 and frame), signal over noise and background are three smooth maps that know nothing of each other;
each takes all values of its range equally often. Images are those of the vectorial microscope in focus. Molecules lie
on a grid of a sixteenth of a camera pixel, so that frames hold exactly what the truth says, without interpolation.

Signal over noise is what AutoDS (doi 10.1038/s44303-025-00123-w) means by it: brightest pixel of a lone molecule above
its background, over the standard deviation of the background's counts.
"""

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from localization import Localizations, make_localizations, to_image
from optics import Camera, Psf, make_camera, make_microscope, make_psf
from worlds.mle_cases import exact_images

Structure = Literal["microtubules", "clusters", "both"]

PHASES = 16  # places of a molecule within a pixel, each way
STAMP_PX = 21
DEPTH_UM, FOCUS_UM = 0.2, 0.3  # beyond most super-critical light, and where its image is sharpest
_SMOOTH_UM = 5.0  # scale of the maps
_NEAR_UM = 1.2  # density is made that of its map on this scale: a patch holds many such places
_TUBE_UM, _CLUSTER_UM = 0.0125, 0.06  # radius of a microtubule; standard deviation of a cluster
_UM_PER_UM2, _CLUSTERS_PER_UM2, _POINTS_PER_UM2 = 1.8, 0.7, 400  # filament length, clusters, points on them


@dataclasses.dataclass(frozen=True)
class MixedConfig:
    """A movie: `frame_px` square of pixels of `pixel_um`, `frames` long, and the ranges of its maps.

    `background_e` is per pixel. Light varies by `spread` (relative, one standard deviation) from molecule to molecule.
    """

    seed: int = 0
    structure: Structure = "both"
    frames: int = 200
    frame_px: int = 256
    pixel_um: float = 0.107
    wavelength_um: float = 0.665
    na: float = 1.49
    density_per_um2: tuple[float, float] = (0.1, 2.0)
    snr: tuple[float, float] = (2.0, 8.0)
    background_e: tuple[float, float] = (40.0, 160.0)
    spread: float = 0.1
    gain_adu_per_e: float = 2.0
    offset_adu: float = 100.0
    read_noise_e: float = 2.0

    def camera(self) -> Camera:
        """The camera that `adu` was taken with."""
        return make_camera(
            gain_adu_per_e=self.gain_adu_per_e, offset_adu=self.offset_adu, read_noise_e=self.read_noise_e
        )


@dataclasses.dataclass(frozen=True, eq=False)
class MixedMovie:
    """`adu` (frames, H, W) in counts, its `truth`, and the maps (H, W) that it was drawn from.

    `density_per_um2` is what is asked for, per frame; `patches` counts what was drawn. The truth's z is 0
    throughout: the table is one of 2D. `peak_share` is the share of a
    molecule's light in its brightest pixel, averaged over its place in the pixel.
    """

    config: MixedConfig
    adu: NDArray[np.uint16]
    truth: Localizations
    density_per_um2: NDArray[np.float64]
    snr: NDArray[np.float64]
    background_e: NDArray[np.float64]
    peak_share: float

    def patches(self, side_px: int) -> dict[str, NDArray[np.float64]]:
        """True means of patches of `side_px`, (rows, columns) each; the last ones may be smaller.

        `density_per_um2` counts the molecules that lie in a patch, per frame; `snr` is the mean over them (over the
        map, where there are none), `background_e` that over pixels.
        """
        n = -(-self.config.frame_px // side_px)
        row, column = (np.minimum((at / self.config.pixel_um / side_px).astype(int), n - 1) for at in self._places())
        patch = row * n + column
        count = np.bincount(patch, minlength=n * n).reshape(n, n)
        of_molecule = self.truth.extras["snr"]
        summed = np.bincount(patch, of_molecule, minlength=n * n).reshape(n, n)
        edges = np.arange(n) * side_px
        pixels = _patch_sums(np.ones_like(self.snr), edges)
        area_um2 = pixels * self.config.pixel_um**2
        plain = _patch_sums(self.snr, edges) / pixels
        return {
            "density_per_um2": count / area_um2 / self.config.frames,
            "snr": np.where(count > 0, summed / np.maximum(count, 1), plain),
            "background_e": _patch_sums(self.background_e, edges) / pixels,
        }

    def picture(self, upsampling: int = 8) -> NDArray[np.float32]:
        """The truth as a picture: molecules per fine pixel, summed over frames, (H, W) times `upsampling`."""
        side_um = self.config.frame_px * self.config.pixel_um
        region = ((0.0, side_um), (0.0, side_um))
        return to_image(self.truth, self.config.pixel_um / upsampling, region_um=region)

    def _places(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.truth.y_um, self.truth.x_um


def mixed_movie(config: MixedConfig = MixedConfig()) -> MixedMovie:
    """Draw a movie; the same config is the same movie."""
    rng = np.random.default_rng(config.seed)
    side, pixel = config.frame_px, config.pixel_um
    scale_px = _SMOOTH_UM / pixel
    density, snr, background = (
        smooth_map(rng, side, scale_px, ends) for ends in (config.density_per_um2, config.snr, config.background_e)
    )
    points = structure_points(rng, config)
    rate = _rates(points, density, config)
    stamps = psf_stamps(config)
    share = float(stamps.max(axis=(1, 2)).mean())
    at = np.floor(points / pixel).astype(int)
    noise = np.sqrt(background + config.read_noise_e**2)[at[:, 1], at[:, 0]]
    photons = snr[at[:, 1], at[:, 0]] * noise / share
    stamps = stamps.astype(np.float32)
    adu = np.empty((config.frames, side, side), np.uint16)
    shown, light = [], []
    for number in range(config.frames):
        on = np.flatnonzero(rng.random(len(points)) < rate)
        bright = photons[on] * np.maximum(1 + config.spread * rng.standard_normal(on.size), 0.2)
        expected = background + _drawn(points[on], bright, stamps, side, pixel)
        counts = config.gain_adu_per_e * (
            rng.poisson(expected) + config.read_noise_e * rng.standard_normal((side, side))
        )
        adu[number] = np.clip(np.rint(counts + config.offset_adu), 0, 65535)
        shown.append(on)
        light.append(bright)
    row = np.concatenate(shown)
    x_um, y_um = points[row].T
    behind, noisy = background[at[row, 1], at[row, 0]], noise[row]
    truth = make_localizations(
        np.repeat(np.arange(config.frames), [on.size for on in shown]), x_um, y_um, np.zeros(row.size),
        photons=np.concatenate(light), background=behind, extras={"snr": np.concatenate(light) * share / noisy},
    )  # fmt: skip
    return MixedMovie(config, adu, truth, density, snr, background, share)


def smooth_map(rng: np.random.Generator, side: int, scale_px: float, ends: tuple[float, float]) -> NDArray[np.float64]:
    """A smooth map (side, side) in which every value between the two `ends` is equally frequent."""
    margin = int(2 * scale_px)
    field = ndimage.gaussian_filter(rng.standard_normal((side + 2 * margin,) * 2), scale_px / 2, mode="wrap")
    field = field[margin : margin + side, margin : margin + side]
    rank = np.empty(field.size)
    rank[np.argsort(field, axis=None)] = np.linspace(0, 1, field.size)
    return ends[0] + (ends[1] - ends[0]) * rank.reshape(side, side)


def structure_points(rng: np.random.Generator, config: MixedConfig) -> NDArray[np.float64]:
    """Places (n, 2), x and y in um, of all molecules: on the grid of `PHASES` a pixel, inside the field."""
    side_um = config.frame_px * config.pixel_um
    area = side_um**2
    parts = {"microtubules": (1.0, 0.0), "clusters": (0.0, 1.0), "both": (0.6, 0.4)}[config.structure]
    places = []
    if parts[0]:
        n = round(parts[0] * _POINTS_PER_UM2 * area)
        length = 1.3 * side_um
        paths = [_filament(rng, side_um, length) for _ in range(max(1, round(_UM_PER_UM2 * area / side_um)))]
        chosen = np.array(paths)[rng.integers(0, len(paths), n), rng.integers(0, len(paths[0]), n)]
        across = rng.uniform(-1, 1, n)[:, None] * _TUBE_UM
        places.append(chosen[:, :2] + across * chosen[:, 2:])
    if parts[1]:
        n = round(parts[1] * _POINTS_PER_UM2 * area)
        centres = rng.uniform(0, side_um, (max(1, round(_CLUSTERS_PER_UM2 * area)), 2))
        places.append(centres[rng.integers(0, len(centres), n)] + _CLUSTER_UM * rng.standard_normal((n, 2)))
    step = config.pixel_um / PHASES
    points = (np.floor(np.concatenate(places) / step) + 0.5) * step
    return points[((points > 0) & (points < side_um)).all(axis=1)]


def _filament(rng: np.random.Generator, side_um: float, length_um: float) -> NDArray[np.float64]:
    """A path (n, 4) that bends slowly: x, y and the direction across it."""
    step = 0.02
    n = round(length_um / step)
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, np.sqrt(step / 15.0), n))  # persistence of 30 um in 2D
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    path = np.cumsum(step * along, axis=0)
    path += rng.uniform(0, side_um, 2) - path[n // 2]
    return np.concatenate([path, along[:, ::-1] * [-1, 1]], axis=1)


def _rates(points: NDArray, density: NDArray, config: MixedConfig) -> NDArray[np.float64]:
    """The chance of each molecule to shine in a frame, such that the density around it is that of the map."""
    at = np.floor(points / config.pixel_um).astype(int)
    count = np.zeros_like(density)
    np.add.at(count, (at[:, 1], at[:, 0]), 1.0)
    near = ndimage.gaussian_filter(count, _NEAR_UM / config.pixel_um, mode="reflect")
    wanted = density * config.pixel_um**2  # a pixel's share
    return np.minimum((wanted / np.maximum(near, 1e-3))[at[:, 1], at[:, 0]], 0.2)


def mixed_psf(config: MixedConfig) -> Psf:
    """The microscope's images; molecules are at `DEPTH_UM`, in focus."""
    scope = make_microscope(
        na=config.na, n_immersion=1.518, n_sample=1.33, wavelength_um=config.wavelength_um, pixel_um=config.pixel_um,
        focus_um=FOCUS_UM,
    )  # fmt: skip
    return make_psf(scope, image_px=STAMP_PX)


@functools.cache
def _stamps(pixel_um: float, wavelength_um: float, na: float) -> NDArray[np.float64]:
    config = MixedConfig(pixel_um=pixel_um, wavelength_um=wavelength_um, na=na)
    inside = ((np.arange(PHASES) + 0.5) / PHASES - 0.5) * pixel_um
    y, x = np.meshgrid(inside, inside, indexing="ij")
    places = np.stack([x.ravel(), y.ravel(), np.full(x.size, DEPTH_UM)], axis=1)
    return np.maximum(np.asarray(exact_images(mixed_psf(config), jnp.asarray(places)), np.float64), 0)


def psf_stamps(config: MixedConfig) -> NDArray[np.float64]:
    """Images (PHASES**2, STAMP_PX, STAMP_PX) of one photon, by place in the pixel, row by row."""
    return _stamps(config.pixel_um, config.wavelength_um, config.na)


def _drawn(points: NDArray, photons: NDArray, stamps: NDArray, side: int, pixel: float) -> NDArray[np.float64]:
    fine = np.floor(points / (pixel / PHASES)).astype(int)
    cell, phase = fine // PHASES, fine % PHASES
    half = STAMP_PX // 2
    reach = np.arange(STAMP_PX)
    wide = side + 2 * half
    rows, columns = cell[:, 1, None] + reach, cell[:, 0, None] + reach  # in the frame with a margin of half a stamp
    index = (rows[:, :, None] * wide + columns[:, None, :]).ravel()
    light = photons[:, None, None] * stamps[phase[:, 1] * PHASES + phase[:, 0]]
    image = np.bincount(index, light.ravel(), minlength=wide * wide).reshape(wide, wide).astype(np.float64, copy=False)
    return image[half : half + side, half : half + side]


def _patch_sums(image: NDArray, edges: NDArray) -> NDArray[np.float64]:
    return np.add.reduceat(np.add.reduceat(image, edges, axis=0), edges, axis=1)
