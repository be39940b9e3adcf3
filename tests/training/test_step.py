"""The compiled step: it learns, it moves the mask, and the number of devices does not change it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from made.tiny import LEARN, TINY, tiny_run
from optics.pytree import replace
from training import build, init_state, make_train_step
from training.scenes import frame_keys, simulate
from training.sharding import make_mesh
from training.step import frames_loss


def run_steps(parts, n, mesh=None):
    state, step, losses = init_state(parts), make_train_step(parts, mesh), []
    for _ in range(n):
        state, metrics = step(state)
        losses.append(float(metrics["loss"]))
    return state, losses


@pytest.mark.slow
def test_two_devices_train_like_one():
    """Same frames, same gradient: states after three steps agree, mask included.

    To 1e-7 absolute: Adam turns the rounding of a gradient that is zero (the mask's piston) into a step.
    """
    parts = build(tiny_run(**LEARN))
    one, _ = run_steps(parts, 3)
    two, _ = run_steps(parts, 3, make_mesh(jax.devices()[:2]))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_a_batch_that_does_not_divide_is_refused():
    """Three frames on two devices: an error that names the field, before compiling."""
    parts = build(tiny_run(optimiser={**TINY["optimiser"], "batch": 3}))
    with pytest.raises(ValueError, match="optimiser.batch = 3"):
        make_train_step(parts, make_mesh(jax.devices()[:2]))


def test_frames_may_come_from_elsewhere():
    """A source of one's own is given the batch's keys and the PSF with the mask of the moment, and is what is learned.

    Traced, not run: the step of a run whose own scene is missing.
    """
    run = tiny_run(**LEARN)
    whole = build(run)
    parts = dataclasses.replace(whole, scene=None, background=None)
    asked = []

    def draw(keys, psf):
        asked.append((keys.shape, jnp.shape(psf.mask.opd_um), isinstance(psf.mask.opd_um, jax.core.Tracer)))
        return simulate(keys, psf, whole.scene, whole.background, whole.camera, differentiable=True)

    state = jax.eval_shape(lambda: init_state(whole))
    moved, metrics = jax.eval_shape(make_train_step(parts, draw=draw), state)
    assert asked == [((run.optimiser.batch,), whole.psf.mask.opd_um.shape, True)]
    assert "mixture" in metrics and "mask_gradient" in metrics
    assert jax.tree.structure(moved) == jax.tree.structure(state)


def test_a_fixed_mask_has_no_parameters_and_a_learned_one_moves():
    """Without `learn` nothing of the mask is trained; with it every step changes it."""
    fixed, _ = run_steps(build(tiny_run()), 1)
    assert fixed.mask_params is None and fixed.mask_optimiser is None
    parts = build(tiny_run(**LEARN))
    moved, _ = run_steps(parts, 2)
    assert float(jnp.abs(moved.mask_params - parts.mask_params).max()) > 1e-3


def test_loss_falls():
    """Forty steps on the tiny problem lower the loss by more than its scatter."""
    parts = build(tiny_run(optimiser={**TINY["optimiser"], "steps": 40, "warmup_steps": 5, "learning_rate": 3e-3}))
    _, losses = run_steps(parts, 40)
    assert np.mean(losses[-8:]) < np.mean(losses[:4]) - 2 * np.std(losses[-8:])


def test_mask_gradient_is_that_of_finite_differences():
    """The co-design loss, camera noise included, by one mask parameter: central differences in float64."""
    parts = build(tiny_run(**LEARN))
    state = init_state(parts)
    keys = frame_keys(jax.random.key(5), 0, 2)

    @jax.jit
    def loss(mask_params):
        psf = replace(parts.psf, mask=parts.to_mask(mask_params))
        frames = simulate(keys, psf, parts.scene, parts.background, parts.camera, differentiable=True)
        return frames_loss(parts, state.variables, frames)[0]

    gradient = jax.grad(loss)(parts.mask_params)
    for index in (3, 5):
        step = jnp.zeros_like(parts.mask_params).at[index].set(1e-5)
        difference = (loss(parts.mask_params + step) - loss(parts.mask_params - step)) / 2e-5
        np.testing.assert_allclose(gradient[index], difference, rtol=1e-4)


def test_step_compiles_once():
    """Ten steps, one trace."""
    parts = build(tiny_run())
    state, step = init_state(parts), make_train_step(parts)
    for _ in range(10):
        state, _ = step(state)
    assert step._cache_size() == 1


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_step_lowers_for_accelerators(platform):
    """The co-design step lowers for TPU and CUDA on a machine that has neither."""
    parts = build(tiny_run(**LEARN))
    shapes = jax.eval_shape(lambda: init_state(parts))
    exported = jax.export.export(make_train_step(parts), platforms=[platform])(shapes)
    text = exported.mlir_module()
    assert exported.platforms == (platform,)
    assert "HIGHEST" in text


@pytest.mark.slow
def test_volume_decoder_trains():
    """The KDE and overlap loss with DeepSTORM3D's optics-design network: finite, and its batch norms move."""
    decoder = {"kind": "volume", "depth_voxels": 5}
    parts = build(tiny_run(decoder=decoder, psf={"stamp_px": 11, "pupil_px": 16}, **LEARN))
    before = init_state(parts)
    after, losses = run_steps(parts, 2)
    assert np.isfinite(losses).all()
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), before.variables, after.variables)
    assert min(jax.tree.leaves(moved["batch_stats"])) > 0


def test_mesh_has_one_axis():
    """`make_mesh` takes all devices by default."""
    mesh = make_mesh()
    assert isinstance(mesh, Mesh) and mesh.size == len(jax.devices())
