"""A simulated live-cell movie: particles that diffuse, are confined or driven through a cell, blink, bleach and blur.

Paths and light are drawn on the host, in steps shorter than the exposure; the optics turn them into frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from localization import Localizations, make_localizations
from optics import Emitters, Psf, render_frame, sample_camera
from optics.background import RandomField, sample_background
from training import CameraConfig, ConfigError, MaskConfig, MicroscopeConfig, PsfConfig
from training.instrument import build_camera, build_psf

STATES = ("brownian", "confined", "directed")


@dataclass(frozen=True)
class LiveCellConfig:
    """The cell, its particles, their light, and the microscope.

    The cell is a dome on the coverslip of half axes `cell_um` (x, y, z) in a frame of `side_px`. `shares` are those
    of Brownian, confined (a harmonic well whose scatter per axis is `well_um`) and directed (`speed_um_s`) particles,
    all of `d_um2_s`. Light is on and off for exponential times of mean `on_s` and `off_s` (0: never off) until it
    bleaches after `bleach_s` on average; `photons` is a frame's light of a particle that is on throughout. Exposure
    takes `exposure_share` of a frame, in `sub_steps` steps. Autofluorescence is a smooth random field inside
    the cell (`background` photons per pixel on average, `background_contrast`, `background_px` its correlation) on a
    floor of `floor` photons, and fades with `fade_s`.
    """

    frames: int = 200
    side_px: int = 128
    count: int = 60
    frame_s: float = 0.02
    exposure_share: float = 0.8
    sub_steps: int = 8
    cell_um: tuple[float, ...] = (6.5, 5.0, 3.0)
    shares: tuple[float, ...] = (0.6, 0.2, 0.2)
    d_um2_s: float = 0.1
    well_um: float = 0.15
    speed_um_s: float = 1.0
    photons: float = 4000.0
    on_s: float = 1.0
    off_s: float = 0.05
    bleach_s: float = 4.0
    background: float = 20.0
    background_contrast: float = 0.5
    background_px: float = 12.0
    floor: float = 5.0
    fade_s: float = 10.0
    seed: int = 0
    microscope: MicroscopeConfig = MicroscopeConfig(focus_um=1.5)
    psf: PsfConfig = PsfConfig(stamp_px=41)
    mask: MaskConfig = MaskConfig("tetrapod", range_um=3.0)
    camera: CameraConfig = CameraConfig(offset_adu=100.0, gain_adu_per_e=2.0, read_noise_e=1.5)

    def __post_init__(self):
        positive = ("frame_s", "photons", "on_s", "bleach_s", "fade_s", "well_um", "background_px")
        for name in ("frames", "side_px", "count", "sub_steps", *positive):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must be above 0")
        for name in ("d_um2_s", "speed_um_s", "off_s", "background", "background_contrast", "floor"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must not be negative")
        if not 0 < self.exposure_share <= 1:
            raise ConfigError(f"exposure_share = {self.exposure_share} must lie in (0, 1]")
        if len(self.shares) != 3 or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(
                f"shares = {list(self.shares)} must be three numbers that add up to 1: {', '.join(STATES)}"
            )
        if len(self.cell_um) != 3 or min(self.cell_um) <= 0:
            raise ConfigError(f"cell_um = {list(self.cell_um)} must be three half axes above 0")


@dataclass(frozen=True, eq=False)
class LiveCell:
    """Paths and light, and what a perfect localizer would list.

    `path_um` (frames, sub_steps, count, 3) during the exposures, `light` (frames, sub_steps, count) their photons;
    `truth` has a row per particle and frame with light, at the mean position of its photons; `track` (rows,) is
    the particle, `state` (count,) an index of `STATES`.
    """

    path_um: NDArray[np.float64]
    light: NDArray[np.float64]
    truth: Localizations
    track: NDArray[np.int64]
    state: NDArray[np.int64]


def simulate(config: LiveCellConfig) -> LiveCell:
    """Draw paths, light and truth from `config.seed`.

    >>> live = simulate(LiveCellConfig(frames=3, count=5))
    >>> live.path_um.shape, bool(live.truth.z_um.min() >= 0)
    ((3, 8, 5, 3), True)
    """
    rng = np.random.default_rng(config.seed)
    # the pause between exposures is one more step, of its own length
    shutter_s, pause_s = config.frame_s * config.exposure_share, config.frame_s * (1 - config.exposure_share)
    durations = np.tile(np.r_[np.full(config.sub_steps, shutter_s / config.sub_steps), pause_s], config.frames)
    state = rng.choice(3, config.count, p=np.array(config.shares) / sum(config.shares))
    path = _paths(rng, config, state, durations)
    on = _light(rng, config, durations)
    shape = (config.frames, config.sub_steps + 1, config.count)
    path = path.reshape(*shape, 3)[:, :-1]
    light = on.reshape(shape)[:, :-1] * config.photons / config.sub_steps
    photons = light.sum(axis=1)
    frame, track = np.nonzero(photons > 0)
    weight = light / np.maximum(photons[:, None], 1e-300)
    xyz = np.einsum("fsn,fsnk->fnk", weight, path)[frame, track]
    truth = make_localizations(frame, *xyz.T, photons=photons[frame, track])
    return LiveCell(path, light, truth, track.astype(np.int64), state.astype(np.int64))


def _inside(config: LiveCellConfig, place: NDArray) -> NDArray[np.bool_]:
    centre = np.array([config.side_px * config.microscope.pixel_um / 2] * 2 + [0.0])
    return ((((place - centre) / np.array(config.cell_um)) ** 2).sum(axis=-1) < 1) & (place[..., 2] > 0)


def _paths(rng, config: LiveCellConfig, state: NDArray, durations: NDArray) -> NDArray:
    """Positions (steps, count, 3), at the end of each step; what would leave the cell stays for a step."""
    half, centre = np.array(config.cell_um), config.side_px * config.microscope.pixel_um / 2
    place = np.empty((0, 3))
    while len(place) < config.count:  # uniform in the dome, by rejection
        drawn = rng.uniform(-1, 1, (4 * config.count, 3)) * half + [centre, centre, 0.0]
        place = np.concatenate([place, drawn[_inside(config, drawn)]])
    place = place[: config.count]
    well = place.copy()
    heading = rng.normal(size=(config.count, 3)) * [1, 1, 0.3]
    heading *= config.speed_um_s / np.linalg.norm(heading, axis=1, keepdims=True)
    confined, directed = (state == 1)[:, None], (state == 2)[:, None]
    path = np.empty((durations.size, config.count, 3))
    for k, dt in enumerate(durations):
        step = rng.normal(0, np.sqrt(2 * config.d_um2_s * dt), place.shape)
        # Ornstein-Uhlenbeck, exact for any step: relaxation D / well^2, scatter well_um
        decay = np.exp(-config.d_um2_s * dt / config.well_um**2)
        pulled = (decay - 1) * (place - well) + rng.normal(0, config.well_um * np.sqrt(1 - decay**2), place.shape)
        step = np.where(confined, pulled, step + np.where(directed, heading * dt, 0.0))
        ahead = place + step
        stays = ~_inside(config, ahead)
        heading[stays] *= -1  # a driven particle turns round at the membrane
        place = np.where(stays[:, None], place, ahead)
        path[k] = place
    return path


def _light(rng, config: LiveCellConfig, durations: NDArray) -> NDArray:
    """Share of each step (steps, count) that a particle is on: a telegraph process until it bleaches while on."""
    end = float(durations.sum())
    edges = np.r_[0.0, np.cumsum(durations)]
    on = np.zeros((durations.size, config.count))
    for n in range(config.count):
        time, lit_s, is_on = 0.0, rng.exponential(config.bleach_s), True
        if config.off_s > 0:
            is_on = rng.random() < config.on_s / (config.on_s + config.off_s)
        while time < end and lit_s > 0:
            span = rng.exponential(config.on_s if is_on else config.off_s) if config.off_s > 0 else np.inf
            if is_on:
                span = min(span, lit_s)
                lit_s -= span
                cover = np.clip(np.minimum(edges[1:], time + span) - np.maximum(edges[:-1], time), 0, None)
                on[:, n] += np.divide(cover, durations, out=np.zeros_like(cover), where=durations > 0)
            time, is_on = time + span, not is_on
    return on


@jax.jit
def _expose(key: jax.Array, psf: Psf, camera, emitters: Emitters, background: jax.Array) -> jax.Array:
    photons = render_frame(psf, emitters, (background.shape[0], background.shape[1])) + background
    return sample_camera(key, camera, photons)


def frames_adu(config: LiveCellConfig, live: LiveCell) -> Iterator[NDArray[np.uint16]]:
    """Camera frames (side_px, side_px) of a simulated movie, one at a time, rounded as a 16-bit camera does."""
    psf = build_psf(config.microscope, config.psf, config.mask, (0.0, config.cell_um[2]))
    camera = build_camera(config.camera)
    shape = (config.side_px, config.side_px)
    key_field, key_noise = jax.random.split(jax.random.key(config.seed))
    field = sample_background(
        key_field, RandomField(config.background, config.background_contrast, config.background_px), shape
    )
    glow = np.asarray(field) * _cell_outline(config)
    for f in range(config.frames):
        emitters = Emitters(
            xyz_um=jnp.asarray(live.path_um[f].reshape(-1, 3), dtype=float),
            photons=jnp.asarray(live.light[f].ravel(), dtype=float),
            valid=jnp.asarray(live.light[f].ravel() > 0),
        )
        fade = np.exp(-(f + 0.5) * config.frame_s / config.fade_s)
        background = jnp.asarray(config.floor + fade * glow, dtype=float)
        adu = _expose(jax.random.fold_in(key_noise, f), psf, camera, emitters, background)
        yield np.clip(np.round(np.asarray(adu)), 0, 65535).astype(np.uint16)


def _cell_outline(config: LiveCellConfig) -> NDArray:
    """Thickness of the cell over each pixel, in units of its largest."""
    at = (np.arange(config.side_px) + 0.5 - config.side_px / 2) * config.microscope.pixel_um
    squared = np.add.outer((at / config.cell_um[1]) ** 2, (at / config.cell_um[0]) ** 2)
    return np.sqrt(np.clip(1 - squared, 0, None))
