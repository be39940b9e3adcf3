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

from nets.dlp import DlpConfig, init_dlp
from optics.psf_io import save_psf
from training import CameraConfig, MicroscopeConfig, PsfConfig
from training.generator.config import GeneratorConfig
from training.generator.files import GeneratorFacts, facts_to_dict, network_arrays, posterior_arrays, write_arrays
from training.generator.fit import FitSettings
from training.generator.model import FittedModel, MovieParameters
from training.generator.posterior import Normal, Posterior
from training.generator.start import depth_range, generator_psf

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
    """Replace the networks of every configuration by ones of a few numbers."""
    monkeypatch.setattr(GeneratorConfig, "networks", lambda self: dataclasses.replace(SMALL, slots=self.slots))


def made_posterior(frames: int, config: DlpConfig) -> Posterior:
    """Make posteriors with certain emitters at (1.0, 1.5) um, 1000 photons, and (2.0, 1.0), 2000; and an empty slot."""
    rng = np.random.default_rng(0)
    rows, columns = config.grid((CROP, CROP))
    xy = np.array([[1.0, 1.5], [2.0, 1.0], [0.5, 0.5]])
    location = np.zeros((frames, SLOTS, 4))
    location[..., 3] = np.log([1000.0, 2000.0, 500.0])

    def normal(*shape: int) -> Normal:
        return Normal(jnp.asarray(0.1 * rng.normal(size=shape)), jnp.full(shape, -3.0))

    return Posterior(
        anchor_um=jnp.asarray(np.tile(xy, (frames, 1, 1))),
        presence=jnp.asarray(np.tile([6.0, 6.0, -6.0], (frames, 1))),
        location=Normal(jnp.asarray(location), jnp.full(location.shape, -5.0)),
        haze=normal(frames, SLOTS, 2),
        appearance=normal(frames, SLOTS, config.features),
        background=normal(frames, rows, columns, config.background_channels),
        noise=normal(frames, rows, columns),
    )


def write_generator(folder, config: GeneratorConfig = CONFIG, frames: int = 4) -> None:
    """Write the folder of a generator; `GeneratorConfig.networks` must be that of `small_networks`."""
    folder.mkdir(parents=True)
    sizes = config.networks()
    psf = generator_psf(config)
    zero = jnp.zeros(())
    movie = MovieParameters(jnp.log(2.0), jnp.log(1400.0), jnp.log(0.4), jnp.log(0.1), zero, zero, zero, zero)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: init_dlp(jax.random.key(0), sizes))  # traced, not compiled
    variables = jax.tree.map(lambda leaf: 0.1 * rng.normal(size=leaf.shape), shapes)
    fitted = FittedModel(None, variables, movie)  # pyright: ignore[reportArgumentType]  (the model is not stored)
    write_arrays(folder / "networks.npz", network_arrays(fitted))
    write_arrays(folder / "bank.npz", posterior_arrays(made_posterior(frames, sizes)))
    save_psf(folder / "psf.npz", psf)
    low, high = depth_range(config, psf)
    facts = GeneratorFacts(
        config=config, camera=config.camera, z_um=(low, high), level=LEVEL, radius_px=2, block_px=24,
        photons=(900.0, 1400.0, 2100.0), background=(9.0, 12.0, 15.0), counts=(2.0, 2.0, 2.0),
    )  # fmt: skip
    (folder / "generator.json").write_text(json.dumps(facts_to_dict(facts)))


@contextlib.contextmanager
def made_generator(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Make a generator in `folder`; networks stay small while it is used. The fixture of several files."""
    with pytest.MonkeyPatch.context() as patch:
        small_networks(patch)
        write_generator(folder)
        yield patch
