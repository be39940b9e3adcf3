"""A generator's folder made by hand, without a fit: networks as drawn, posteriors set to numbers that tests know."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets.dlp import init_dlp
from nets.dlp_types import DlpConfig, Normal, Posterior
from optics.psf_io import save_psf
from training import CameraConfig, MicroscopeConfig, PsfConfig, to_dict
from training.generator.config import GeneratorConfig
from training.generator.files import GeneratorFacts, flat, write_arrays
from training.generator.fit import FitSettings
from training.generator.model import Movie
from training.generator.run import depth_range, generator_psf

CROP, SLOTS, LEVEL = 24, 3, 12.0
SMALL = DlpConfig(
    slots=SLOTS, glimpse_px=8, glimpse_widths=(4, 4), hidden=8, trunk_out=4, features=2, map_widths=(4,), map_last=4,
    background_channels=2, background_width=4, frame_px=CROP,
)  # fmt: skip
CONFIG = GeneratorConfig(
    microscope=MicroscopeConfig(na=1.2, n_immersion=1.33, wavelength_um=0.6, pixel_um=0.12, focus_um=0.0),
    psf=PsfConfig(stamp_px=9, pupil_px=24),
    camera=CameraConfig(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.0),
    z_max_um=0.0,
    crop_px=CROP,
    crops=12,
    held_out=0.25,
    slots=SLOTS,
    learn_psf=False,
    fit=FitSettings(steps=4, batch=2, refine_steps=2),
)


def small_networks(monkeypatch) -> None:
    """Networks of a few numbers, in place of those that a configuration asks for."""
    monkeypatch.setattr(GeneratorConfig, "networks", lambda self: dataclasses.replace(SMALL, slots=self.slots))


def made_posterior(frames: int, config: DlpConfig) -> Posterior:
    """Of each frame: one sure emitter of 1000 photons at (1.0, 1.5) um, one of 2000 at (2.0, 1.0), one that is not."""
    rng = np.random.default_rng(0)
    rows, columns = config.grid((CROP, CROP))
    xy = np.array([[1.0, 1.5], [2.0, 1.0], [0.5, 0.5]])
    place = np.zeros((frames, SLOTS, 4))
    place[..., 3] = np.log([1000.0, 2000.0, 500.0])

    def normal(*shape: int) -> Normal:
        return Normal(jnp.asarray(0.1 * rng.normal(size=shape)), jnp.full(shape, -3.0))

    return Posterior(
        anchor_um=jnp.asarray(np.tile(xy, (frames, 1, 1))),
        presence=jnp.asarray(np.tile([6.0, 6.0, -6.0], (frames, 1))),
        place=Normal(jnp.asarray(place), jnp.full(place.shape, -5.0)),
        haze=normal(frames, SLOTS, 2),
        look=normal(frames, SLOTS, config.features),
        background=normal(frames, rows, columns, config.background_channels),
        noise=normal(frames, rows, columns),
    )


def write_generator(folder, config: GeneratorConfig = CONFIG, frames: int = 4) -> None:
    """Write the folder of a generator; `GeneratorConfig.networks` must be that of `small_networks`."""
    folder.mkdir(parents=True)
    sizes = config.networks()
    psf = generator_psf(config)
    zero = jnp.zeros(())
    movie = Movie(jnp.log(2.0), jnp.log(1400.0), jnp.log(0.4), jnp.log(0.1), zero, zero, zero, zero)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: init_dlp(jax.random.key(0), sizes))  # traced, not compiled
    variables = jax.tree.map(lambda leaf: 0.1 * rng.normal(size=leaf.shape), shapes)
    write_arrays(folder / "networks.npz", {**flat(variables, "variables"), **flat(movie, "movie")})
    write_arrays(folder / "bank.npz", flat(made_posterior(frames, sizes), "bank"))
    save_psf(folder / "psf.npz", psf)
    low, high = depth_range(config, psf)
    facts = GeneratorFacts(
        config=config, camera=config.camera, z_um=(low, high), level=LEVEL, radius_px=2, block_px=24,
        photons=(900.0, 1400.0, 2100.0), background=(9.0, 12.0, 15.0), counts=(2.0, 2.0, 2.0),
    )  # fmt: skip
    (folder / "generator.json").write_text(json.dumps(to_dict(facts)))


@contextlib.contextmanager
def made_generator(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """A made generator in `folder` and networks small for as long as it is used: the fixtures of several files."""
    with pytest.MonkeyPatch.context() as patch:
        small_networks(patch)
        write_generator(folder)
        yield patch
