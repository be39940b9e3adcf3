"""The volumetric networks against what was published about them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from nets import LocalizationNetConfig, NetsError, OpticsDesignNetConfig
from nets import strips as strips_module
from nets.strips import localize_in_strips
from nets.volumetric import LocalizationNet


def _parameters(config):
    frames = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
    return nets.count_parameters(jax.eval_shape(lambda k: nets.init(k, config, frames), jax.random.key(0)))


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LocalizationNetConfig(depth=121), 612_703),
        (LocalizationNetConfig(depth=81), 435_743),
        (LocalizationNetConfig(depth=81, dilations=(1, 1, 2, 4, 1, 1)), 435_743),
        (LocalizationNetConfig(depth=51), 342_923),
        (OpticsDesignNetConfig(depth=51), 305_141),
    ],
)
def test_parameter_counts_are_the_published_ones(config, parameters):
    """Kernels, biases, and the norms' scale and bias; running statistics do not count."""
    assert _parameters(config) == parameters


@pytest.mark.parametrize(
    ("config", "width"),
    [
        (LocalizationNetConfig(depth=5), 68),
        (LocalizationNetConfig(depth=5, dilations=(1, 1, 2, 4, 1, 1)), 24),
        (OpticsDesignNetConfig(depth=5), 19),
    ],
)
def test_receptive_fields_are_the_published_ones(config, width):
    """68 and 24 pixels with the upsampled tail, 19 for the design network."""
    assert nets.receptive_field_px(config) == width


def _random_statistics(config, key):
    """Variables whose norms do something, as after training."""
    variables = nets.init(key, config, jnp.zeros((1, 8, 8, 1), jnp.float32))
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(key, len(leaves))
    moved = [leaf + 0.3 * jax.random.uniform(k, leaf.shape, leaf.dtype) for leaf, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)


@pytest.mark.parametrize("upsampling", [2, 4])
@pytest.mark.parametrize(("shape", "rows"), [((2, 9, 7, 1), 8), ((1, 5, 12, 1), 44), ((1, 11, 6, 1), 6)])
def test_strips_give_the_module_s_output(upsampling, shape, rows, monkeypatch):
    """Strips with halos, a last strip that overlaps, padded channels and phases: equal to the whole maps."""
    monkeypatch.setattr(strips_module, "STRIP_ROWS", rows)
    config = LocalizationNetConfig(depth=5, channels=6, upsampling=upsampling, dilations=(1, 2), scaling=1e9)
    variables = _random_statistics(config, jax.random.key(1))
    x = jax.random.normal(jax.random.key(2), shape, jnp.float32)
    want = jax.jit(lambda v, x: LocalizationNet(config).apply(v, x, train=False))(variables, x)
    got = jax.jit(lambda v, x: localize_in_strips(config, v, x))(variables, x)
    assert np.abs(want).max() > 1
    # five layers in a row, each with a few roundings of 6e-8 of its largest sum
    np.testing.assert_allclose(got, want, atol=2e-6 * float(np.abs(want).max()))


def test_output_is_clipped_to_the_scaling():
    """No voxel is below 0 or above `scaling`, and both ends are reached."""
    config = LocalizationNetConfig(depth=4, channels=4, dilations=(1, 1), scaling=0.05)
    variables = _random_statistics(config, jax.random.key(3))
    last = variables["params"]["layer6"]  # of depth 4 -> 4: half of its outputs one way, half the other
    last["kernel"], last["bias"] = (
        last["kernel"] * jnp.array([[[[9.0, -9.0, 9.0, -9.0]]]], jnp.float32),
        last["bias"] * 0,
    )
    x = jax.random.normal(jax.random.key(4), (1, 9, 9, 1), jnp.float32)
    volume, _ = jax.jit(lambda x: nets.apply(config, variables, x, train=False))(x)
    assert volume.shape == (1, 36, 36, 4)
    assert volume.min() == 0 and volume.max() == np.float32(0.05)


def test_training_moves_the_running_statistics_towards_the_batch():
    """One step with momentum 0.9 moves the input's running mean a tenth of the way to the batch's mean."""
    config = OpticsDesignNetConfig(depth=2, channels=4, layers=2)
    x = 7.0 + jax.random.normal(jax.random.key(0), (4, 8, 8, 1), jnp.float32)
    variables = nets.init(jax.random.key(0), config, x)
    _, state = jax.jit(lambda x: nets.apply(config, variables, x, train=True))(x)
    moved = state["batch_stats"]["norm"]["mean"]
    np.testing.assert_allclose(moved, 0.1 * np.mean(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: LocalizationNetConfig(depth=0), "depth"),
        (lambda: LocalizationNetConfig(depth=3, upsampling=3), "upsampling"),
        (lambda: LocalizationNetConfig(depth=3, dilations=(1,)), "dilations"),
        (lambda: OpticsDesignNetConfig(depth=3, scaling=-1.0), "scaling"),
    ],
)
def test_a_config_that_cannot_be_right_is_refused(make, field):
    """The error names the field."""
    with pytest.raises(NetsError, match=field):
        make()
