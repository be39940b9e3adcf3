"""A trained run read back: what a reader, a score or a figure needs of it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax

import nets
from optics import Camera, Psf
from optics.masks import params as mask_params
from optics.pytree import replace
from training.build import Parts, build, trained_net
from training.checkpoint import restore
from training.config import RunConfig
from training.instrument import build_camera, build_family
from training.run_folder import load_config
from training.state import TrainState
from training.step import start_state


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained run: its configuration, its network with the newest variables, its camera.

    `psf` is built when it is first asked for: reading with the network alone needs neither the mask's file nor the
    calibration's, which may be elsewhere.
    """

    run: RunConfig
    net: nets.NetConfig
    variables: nets.Variables
    camera: Camera
    state: TrainState

    @property
    def z_range_um(self) -> tuple[float, float]:
        """The depths that the run was trained on."""
        return self.run.scene.z_min_um, self.run.scene.z_max_um

    @cached_property
    def psf(self) -> Psf:
        """The PSF, with the mask that it learned. Raises as `build` does."""
        return learned_psf(build(self.run), self.state)


def load_trained(folder: Path | str) -> Trained:
    """Read a trained run: its configuration once, its newest checkpoint once.

    Raises `ConfigError` for a folder that is no run, `CheckpointError` for one without a checkpoint.

    >>> load_trained("no-such-run")
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-run is not a run: it has no config.json; name a run's folder
    """
    folder = Path(folder)
    run = load_config(folder)
    net = trained_net(run)
    state = restore(folder, jax.eval_shape(lambda: start_state(run, net, _mask_params(run))))
    return Trained(run, net, state.variables, build_camera(run.camera), state)


def load_run(folder: Path | str) -> tuple[RunConfig, TrainState]:
    """Read a trained run back: its configuration and its newest state, the mask's parameters included."""
    trained = load_trained(folder)
    return trained.run, trained.state


def learned_psf(parts: Parts, state: TrainState | None) -> Psf:
    """Return the PSF of a run, with its learned mask in place; a run that learns none needs no `state`."""
    if parts.run.learn is None:
        return parts.psf
    assert state is not None, "a learned mask is in the state of its run"
    return replace(parts.psf, mask=parts.to_mask(state.mask_params))


def _mask_params(run: RunConfig) -> Any:
    """Parameters of the shape of the run's: those of a flat mask, which needs no file."""
    return run.learn and mask_params.init_params(build_family(run.learn, run.microscope.wavelength_um))
