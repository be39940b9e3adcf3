"""Where networks start from: numbers of the declared spread, none used twice, and nothing else touched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets.dlp import DlpConfig, init_dlp
from nets.start import drawn, fan_in_spread


def test_a_layer_keeps_its_input_s_spread():
    """Unit inputs of 400 channels give outputs of unit variance, to four deviations of 2,000 samples."""
    key_kernel, key_input = jax.random.split(jax.random.key(0))
    kernel = drawn(key_kernel, {"kernel": fan_in_spread(key_kernel, (400, 50))})["kernel"]
    outputs = jax.random.normal(key_input, (40, 400)) @ kernel
    assert float(outputs.var()) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 2000))
    assert float(jnp.abs(kernel).max()) <= 2 / 0.8796 / np.sqrt(400) + 1e-6  # cut at two deviations


def test_every_number_is_of_its_own_and_only_kernels_are_drawn():
    """Two kernels of one shape differ throughout; biases and scales stay as declared."""
    start = {name: {"kernel": jnp.ones((5, 7)), "bias": jnp.full(7, 3.0)} for name in ("first", "second")}
    start["norm"] = {"scale": jnp.ones(4)}
    found = drawn(jax.random.key(1), start)
    assert bool((found["first"]["kernel"] != found["second"]["kernel"]).all())
    assert bool((found["first"]["bias"] == 3).all()) and bool((found["norm"]["scale"] == 1).all())


def test_the_scene_model_starts_from_its_declared_spreads():
    """Heads start a hundredth wide, the last layer of the background at 0, the trunk's first layer at its fan-in's."""
    params = init_dlp(jax.random.key(0), DlpConfig(slots=4))["params"]
    first = params["attribute_trunk"]["Dense_0"]["kernel"]
    assert float(params["attribute_heads"]["kernel"].std()) == pytest.approx(0.01, rel=0.15)
    assert float(jnp.abs(params["grid_out"]["kernel"]).max()) == 0
    assert float(first.std()) == pytest.approx(1 / np.sqrt(first.shape[0]), rel=0.05)
