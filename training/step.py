"""One training step as one compiled function: draw scenes, render, decode, descend."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

import nets
from optics import make_wings
from optics.pytree import replace
from optics.types import Psf
from training.build import Parts
from training.colours import species_tables
from training.config import RunConfig
from training.decoders import find_kind
from training.generator.draw import generate
from training.optim import decoder_optimiser, mask_optimiser
from training.scenes import Frames, frame_keys, simulate
from training.sharding import AXIS
from training.state import TrainState

Metrics = dict[str, jax.Array]
Draw = Callable[[jax.Array, Psf], Frames]  # of keys (B,) and the PSF of the moment


def init_state(parts: Parts) -> TrainState:
    """Draw the state before the first step from the run's seed."""
    return start_state(parts.run, parts.net, parts.mask_params)


def start_state(run: RunConfig, net: nets.NetConfig, mask_params: Any) -> TrainState:
    """Draw the state before the first step of a run from its seed; `mask_params` are the starting mask's, or None."""
    key = jax.random.fold_in(jax.random.key(run.seed), 0)
    example = jnp.zeros((1, run.scene.frame_px, run.scene.frame_px, net.input_channels))
    variables = nets.init(key, net, example)
    mask_params = jax.tree.map(jnp.copy, mask_params)  # the step donates its state
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        variables=variables,
        mask_params=mask_params,
        decoder_optimiser=decoder_optimiser(run.optimiser).init(variables["params"]),
        mask_optimiser=None if run.learn is None else mask_optimiser(run.learn, run.optimiser).init(mask_params),
    )


def frames_loss(parts: Parts, variables, frames: Frames) -> tuple[jax.Array, tuple[Metrics, nets.Variables]]:
    """Return the mean loss of a batch of frames, its parts, and the variables that the network itself updates."""
    run, pixel_um = parts.run, parts.psf.microscope.pixel_um
    x = nets.network_input(parts.net, frames.images, frames.origin_px)
    output, fresh = nets.apply(parts.net, variables, x, train=True)
    loss, metrics = find_kind(run.decoder.kind).loss(run, pixel_um, output, frames)
    return loss, (metrics, fresh)


def make_train_step(
    parts: Parts, mesh: Mesh | None = None, draw: Draw | None = None
) -> Callable[[TrainState], tuple[TrainState, Metrics]]:
    """Compile the step: state -> (state, metrics). With a `mesh`, each device draws its share of the batch.

    Frame i of step k depends on the seed, k and i alone, so that any number of devices trains on the
    same frames. `draw` makes frames of keys and the PSF of the moment; without it the run's scenes are simulated, or
    come from its generator.
    """
    run, wings, tables = parts.run, None, None
    if draw is None and parts.generated is None and run.learn is None and parts.scene.wings is not None:
        # once: the mask stays as it is
        shape = (run.scene.frame_px, run.scene.frame_px)
        wings = jax.jit(make_wings, static_argnums=(1, 2))(parts.psf, parts.scene.wings, shape)
    if draw is None and run.learn is None and not isinstance(exact := parts.looks(parts.psf), Psf):
        depths = (run.scene.z_min_um, run.scene.z_max_um)
        tables = species_tables(exact, depths, parts.psf.microscope.pixel_um)

    def simulated(keys: jax.Array, psf: Psf) -> Frames:
        learned = run.learn is not None
        return simulate(
            keys,
            parts.looks(psf) if tables is None else tables,
            parts.scene,
            parts.background,
            parts.camera,
            differentiable=learned,
            field=parts.field,
            wings=wings,
        )

    def generated(keys: jax.Array, psf: Psf) -> Frames:
        assert parts.generated is not None
        learned = run.learn is not None  # the movie's background holds the light that its own mask threw away
        frames = generate(keys, parts.generated, psf, differentiable=learned, stray=learned)
        asked = frames.emitters.valid & (frames.emitters.photons >= run.scene.truth_photons_min)
        return replace(frames, emitters=replace(frames.emitters, valid=asked))

    draw = draw or (simulated if parts.generated is None else generated)
    devices = 1 if mesh is None else mesh.size
    if run.optimiser.batch % devices:
        raise ValueError(f"optimiser.batch = {run.optimiser.batch} must be a multiple of the {devices} devices")
    share = run.optimiser.batch // devices
    decoder = decoder_optimiser(run.optimiser)
    mask = None if run.learn is None else mask_optimiser(run.learn, run.optimiser)

    def loss(trainable, variables, keys):
        params, mask_params = trainable
        psf = parts.psf if run.learn is None else replace(parts.psf, mask=parts.to_mask(mask_params))
        return frames_loss(parts, {**variables, "params": params}, draw(keys, psf))

    def gradients(state: TrainState, first: jax.Array):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(run.seed), 1), state.step)
        keys = frame_keys(key, first, share)
        trainable = (state.variables["params"], state.mask_params)
        (value, (metrics, fresh)), grads = jax.value_and_grad(loss, has_aux=True)(trainable, state.variables, keys)
        return {"loss": value, **metrics}, fresh, grads

    def shared_gradients(state: TrainState):
        if mesh is None:
            return gradients(state, jnp.zeros((), jnp.int32))

        def on_device(state):
            first = jax.lax.axis_index(AXIS) * share
            return jax.lax.pmean(gradients(state, first), AXIS)

        replicated = PartitionSpec()
        return jax.shard_map(on_device, mesh=mesh, in_specs=replicated, out_specs=replicated, check_vma=False)(state)

    def step(state: TrainState) -> tuple[TrainState, Metrics]:
        metrics, fresh, (grads, mask_grads) = shared_gradients(state)
        updates, decoder_state = decoder.update(grads, state.decoder_optimiser, state.variables["params"])
        params = optax.apply_updates(state.variables["params"], updates)
        mask_params, mask_state = state.mask_params, state.mask_optimiser
        if mask is not None:
            updates, mask_state = mask.update(mask_grads, mask_state)
            mask_params = optax.apply_updates(mask_params, updates)
            metrics["mask_gradient"] = optax.tree.norm(mask_grads)
        metrics["gradient"] = optax.tree.norm(grads)
        state = TrainState(
            step=state.step + 1,
            variables={**state.variables, **fresh, "params": params},
            mask_params=mask_params,
            decoder_optimiser=decoder_state,
            mask_optimiser=mask_state,
        )
        return state, metrics

    return jax.jit(step, donate_argnums=0)
