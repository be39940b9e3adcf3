"""Frames of cameras whose numbers are known: constant light, and molecules that blink."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

SIDE_PX = 40


def record(
    light, *, gain=2.2, offset=100.0, read_noise_e=1.6, frames=150, seed=0, flicker=0.0, side=SIDE_PX, top=65535
):
    """A movie of constant light (electrons per pixel), rounded and cut off at `top`; numbers may be maps."""
    rng = np.random.default_rng(seed)
    lamp = 1 + flicker * rng.normal(size=(frames, 1, 1))
    electrons = rng.poisson(light * lamp * np.ones((frames, side, side)))
    read = read_noise_e * rng.normal(size=electrons.shape)
    return np.clip(np.round(offset + gain * (electrons + read)), 0, top).astype(np.uint16)


def blinking_movie(gain, offset, **scene):
    """Molecules of 900 photons a frame that are on for about three frames, over an uneven background."""
    return np.clip(np.round(offset + gain * _blinking_electrons(**scene)), 0, 65535).astype(np.uint16)


@cache
def _blinking_electrons(
    *, read_noise_e=0.0, n_frames=60, side=96, emitters=150, sigma_px=1.5, seed=0, photons=900
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    uneven = gaussian_filter(rng.normal(size=(side, side)), 12)
    light = np.repeat((40 + 60 * (uneven - uneven.min()) / np.ptp(uneven))[None], n_frames, axis=0)
    pixel = np.arange(side)
    for _ in range(emitters):
        x, y = (np.exp(-((pixel - centre) ** 2) / (2 * sigma_px**2)) for centre in rng.uniform(0, side, 2))
        spot = photons / (2 * np.pi * sigma_px**2) * np.outer(y, x)
        on, change = False, np.where(rng.random(n_frames) < 1 / 3, 1, 0)
        for t in range(n_frames):
            on = (on and not change[t]) or (not on and rng.random() < 0.04)
            if on:
                light[t] += spot
    return rng.poisson(light) + rng.normal(0, read_noise_e, light.shape)
