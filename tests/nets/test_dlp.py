"""The networks of deep latent particles: published sizes, gradients at the start, sizes that cannot be."""

import jax
import jax.numpy as jnp
import pytest

from nets.dlp import Dlp, DlpConfig, apply_dlp, init_dlp, parity_config
from nets.errors import NetsError

CONFIG = DlpConfig(
    slots=3, glimpse_px=8, glimpse_widths=(4, 4), hidden=8, trunk_out=4, features=2, map_widths=(4,), map_last=4
)


@pytest.fixture(scope="module")
def variables():
    """The small networks as they are drawn."""
    return init_dlp(jax.random.key(0), CONFIG)


def parts(config: DlpConfig) -> dict[str, int]:
    """Parameters of each part."""
    made = jax.eval_shape(lambda key: init_dlp(key, config), jax.random.key(0))["params"]
    return {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in made.items()}


def test_parity_has_the_published_sizes():
    """Parameters of the published layout, counted from its layer list: attribute trunk without its 16 heads, feature
    encoder, glimpse decoder, background encoder's convolutions and its perceptron, background decoder; 3D and 2D."""
    in_3d, in_2d = parts(parity_config(129)), parts(parity_config(65))
    for n in (in_3d, in_2d):
        assert n["attribute_stem"] + n["attribute_trunk"] == 831_776 - 16 * 257
        assert n["feature_stem"] + n["feature_trunk"] + n["feature_heads"] == 735_364
        assert n["glimpse_decoder"] == 745_090
    assert in_3d["frame_stem"] == 2_784_512 and in_2d["frame_stem"] == 681_216
    assert in_3d["frame_trunk"] + in_3d["frame_heads"] == 2_438_676
    assert in_2d["frame_trunk"] + in_2d["frame_heads"] == 2_443_816
    assert in_3d["picture_decoder"] == 613_504 + 1_285_985
    assert in_2d["picture_decoder"] == 616_064 + 326_497


def test_networks_have_finite_gradients_at_the_start(variables):
    """Every parameter of the particle networks feels the loss, and none is NaN."""
    glimpses = jax.random.normal(jax.random.key(1), (3, 8, 8, 2))

    def loss(params):
        heads, appearance = apply_dlp(CONFIG, {"params": params}, Dlp.particles, glimpses)
        return jnp.sum(heads**2) + jnp.sum(appearance**2)

    grads = jax.jit(jax.grad(loss))(variables["params"])
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads))
    assert float(jnp.abs(grads["attribute_heads"]["kernel"]).max()) > 0


@pytest.mark.parametrize(
    "wrong", [{"glimpse_px": 10, "glimpse_widths": (8, 16, 32)}, {"cell_px": 7}, {"slots": 0}, {"haze_px": 0.2}]
)
def test_sizes_that_cannot_be(wrong):
    """Each is refused with its name."""
    with pytest.raises(NetsError, match=next(iter(wrong))):
        DlpConfig(**wrong)
