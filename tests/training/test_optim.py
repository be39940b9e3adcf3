"""Muon against its definition: hidden kernels step along the nearest orthogonal matrix, all else as Adam."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from made.tiny import TINY, tiny_run
from training import RunConfig, build, from_dict, init_state, to_dict
from training.config import OptimiserConfig
from training.optim import decoder_optimiser, hidden_kernels, warm_cosine

STEPS = OptimiserConfig(steps=10, warmup_steps=2, clip_norm=1e9)


def test_hidden_kernels_step_along_an_orthogonal_matrix():
    """The first step of a 3 x 3 kernel, 16 to 24 channels: U V' of its gradient by LAPACK's SVD, up to Muon's 30 %.

    Its quintic leaves singular values between 0.7 and 1.2, so the product with the SVD's factor is near diagonal.
    """
    gradient = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3, 16, 24)))
    params = {"kernel": jnp.zeros_like(gradient)}
    optimiser = decoder_optimiser(STEPS)
    step: Any
    step, _ = optimiser.update({"kernel": gradient}, optimiser.init(params), params)
    u, _, v = np.linalg.svd(np.asarray(gradient).reshape(-1, 24), full_matrices=False)
    rate = warm_cosine(STEPS.kernel_learning_rate, 10, 2)(0)
    turned = u.T @ -np.asarray(step["kernel"]).reshape(-1, 24) @ v.T / rate
    np.testing.assert_allclose(turned, np.eye(24), atol=0.35)
    np.testing.assert_allclose(turned - np.diag(np.diag(turned)), 0, atol=1e-6)


def test_all_else_steps_as_adam_does():
    """A bias, a kernel that sees one channel and one that says ten: the steps of Adam with Nesterov's momentum."""
    rng = np.random.default_rng(1)
    params = {"bias": jnp.zeros(20), "first": jnp.zeros((3, 3, 1, 20)), "last": jnp.zeros((1, 1, 20, 10))}
    ours, adam = decoder_optimiser(STEPS), optax.nadam(warm_cosine(STEPS.learning_rate, 10, 2))
    one: Any
    other: Any
    states = ours.init(params), adam.init(params)
    for _ in range(3):
        gradient = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
        one, mine = ours.update(gradient, states[0], params)
        other, theirs = adam.update(gradient, states[1], params)
        states = mine, theirs
        for name in params:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-9)


def test_the_trunk_is_moved_by_muon():
    """Of a list decoder of 16 channels: trunk, head and unfolding; not its stem of 4 channels, skip and output."""
    decoder = {**TINY["decoder"], "channels": 16, "head_channels": 16}
    params = init_state(build(tiny_run(decoder=decoder))).variables["params"]
    marked = hidden_kernels(params)
    chosen = {name for name, layer in marked.items() if layer["kernel"] is not None}
    assert chosen == {"trunk0", "trunk1", "unfold", "head"}
    assert all(layer["bias"] is None for layer in marked.values())


@pytest.mark.parametrize(("table", "name", "then"), [("decoder", "read_out", "peaks"), ("optimiser", "method", "adam")])
def test_what_was_saved_without_a_name_means_what_it_meant(table, name, then):
    """A saved run that lacks a younger setting gets what was done before there was one; a new one the default."""
    saved = to_dict(tiny_run())
    assert saved[table].pop(name) != then
    assert getattr(getattr(from_dict(RunConfig, saved, saved=True), table), name) == then
    assert getattr(getattr(from_dict(RunConfig, saved), table), name) != then
