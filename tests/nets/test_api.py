"""The seam, and what every network sees."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from nets import ListNetConfig, LocalizationNetConfig, NetsError, OpticsDesignNetConfig

CONFIGS = [
    ListNetConfig(channels=8, head_channels=8, dilations=(1, 2), half_resolution=True),
    ListNetConfig(channels=8, head_channels=8, dilations=(1, 1, 3), half_resolution=False),
    LocalizationNetConfig(depth=3, channels=6, dilations=(1, 2), upsampling=4),
    LocalizationNetConfig(depth=3, channels=6, dilations=(1, 2, 1), upsampling=2),
    LocalizationNetConfig(depth=3, channels=6, dilations=(1, 2), upsampling=1),
    OpticsDesignNetConfig(depth=3, channels=6, layers=4),
]


def _first_map(output):
    return output.logit if isinstance(output, nets.ListMaps) else output.sum(-1)


def _unclipped(config):
    """A volume's clip hides dead pixels from the gradient: start from a bias inside the range."""
    variables = nets.init(jax.random.key(2), config, jnp.zeros((1, 8, 8, 1), jnp.float32))
    if isinstance(config, ListNetConfig):
        return variables
    name = max(variables["params"], key=lambda n: int(n[5:]) if n.startswith("layer") else 0)
    variables["params"][name]["bias"] += 50.0
    return variables


@pytest.mark.parametrize("config", CONFIGS)
def test_receptive_field_is_the_gradient_s_support(config, optimised):
    """The widest set of input pixels with a gradient, over all phases of an output pixel, is as stated."""
    size = 48
    variables = _unclipped(config)
    x = jax.random.uniform(jax.random.key(1), (1, size, size, 1), jnp.float32)
    up = getattr(config, "upsampling", 1)

    @jax.jit
    def gradient(x, row, column):
        return jax.grad(lambda x: _first_map(nets.apply(config, variables, x, train=False)[0])[0, row, column])(x)

    widths = []
    for phase in range(2 * up):  # a phase of the upsampling, and both halves of a half-resolution pixel
        at = up * size // 2 + phase
        rows, columns = np.nonzero(np.asarray(gradient(x, at, at))[0, :, :, 0])
        widths += [np.ptp(rows) + 1, np.ptp(columns) + 1]
    assert max(widths) == nets.receptive_field_px(config)


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[2]])
def test_init_is_a_function_of_the_key(config):
    """The same key gives the same variables, another key others."""
    x = jnp.zeros((1, 8, 8, 1), jnp.float32)
    one, same, other = (nets.init(jax.random.key(k), config, x)["params"] for k in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, same))
    assert not jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))


@pytest.mark.parametrize("config", CONFIGS)
def test_variables_do_not_depend_on_the_frame_size(config):
    """Variables made with one frame size serve another, in training and evaluation, with one structure."""
    variables = nets.init(jax.random.key(0), config, jax.ShapeDtypeStruct((4, 64, 48, 1), jnp.float32))
    x = jnp.ones((2, 6, 10, 1), jnp.float32)
    run = jax.jit(nets.apply, static_argnums=0, static_argnames="train")
    trained, state = run(config, variables, x, train=True)
    evaluated, none = run(config, variables, x, train=False)
    assert jax.tree.map(jnp.shape, trained) == jax.tree.map(jnp.shape, evaluated)
    assert none == {}
    assert jax.tree.structure({**variables, **state}) == jax.tree.structure(variables)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("config", CONFIGS[:3])
def test_a_training_gradient_lowers_for_accelerators(config, platform):
    """Forward and gradient lower for CUDA and TPU on a machine that has neither."""
    x = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    variables = nets.init(jax.random.key(0), config, x)

    def loss(variables, x):
        output, state = nets.apply(config, variables, x, train=True)
        return _first_map(output).sum(), state

    exported = jax.export.export(jax.jit(jax.grad(loss, has_aux=True)), platforms=[platform])(variables, x)
    assert exported.platforms == (platform,)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (1, 8, 8, 3), (1, 0, 8, 1)])
def test_frames_of_another_shape_are_refused(shape):
    """A missing axis, colour channels and empty frames give one line that names the shape."""
    config = CONFIGS[0]
    variables = nets.init(jax.random.key(0), config, jnp.zeros((1, 8, 8, 1), jnp.float32))
    with pytest.raises(NetsError, match=r"not \(B, H, W, 1\)"):
        nets.apply(config, variables, jnp.zeros(shape), train=False)


def test_a_foreign_config_is_refused():
    """Something that is no network's configuration is named."""
    with pytest.raises(NetsError, match="dict is not a network's configuration"):
        nets.init(jax.random.key(0), {}, jnp.zeros((1, 8, 8, 1)))  # pyright: ignore[reportArgumentType]
