"""The scene model's networks: published sizes, haze and level of known latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets.dlp import Dlp, cut_glimpses, draw_background, draw_haze, init_dlp, spread_cells
from nets.dlp_types import DlpConfig, parity_config
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
    deep, flat = parts(parity_config(129)), parts(parity_config(65))
    for n in (deep, flat):
        assert n["attribute_stem"] + n["attribute_trunk"] == 831_776 - 16 * 257
        assert n["feature_stem"] + n["feature_trunk"] + n["feature_heads"] == 735_364
        assert n["glimpse_decoder"] == 745_090
    assert deep["frame_stem"] == 2_784_512 and flat["frame_stem"] == 681_216
    assert deep["frame_trunk"] + deep["frame_heads"] == 2_438_676
    assert flat["frame_trunk"] + flat["frame_heads"] == 2_443_816
    assert deep["picture_decoder"] == 613_504 + 1_285_985
    assert flat["picture_decoder"] == 616_064 + 326_497


def test_spread_cells_repeats_a_straight_line():
    """Cubic B-splines reproduce straight lines up to the rim, where the cell beyond it carries the slope on."""
    cells = jnp.asarray(2.0 + 3.0 * np.arange(10))[None, :] * jnp.ones((10, 1))
    drawn = np.asarray(spread_cells(cells, (32, 32), 4.0))
    x = (np.arange(32) + 0.5) / 4 + 0.5
    np.testing.assert_allclose(drawn[10, 2:-2], (2.0 + 3.0 * x)[2:-2], rtol=1e-6)


def test_glimpses_are_cut_around_the_emitters_pixel():
    """The pixel that an emitter lies in is the glimpse's middle; beyond the rim there are zeros."""
    image = jnp.arange(20.0 * 24).reshape(20, 24)
    cut = cut_glimpses(image, jnp.array([[1.05, 0.75, 0.0], [0.02, 0.02, 0.0]]), 0.1, 8)
    assert float(cut[0, 4, 4]) == float(image[7, 10])
    assert float(cut[1, 4, 4]) == float(image[0, 0])
    assert float(jnp.abs(cut[1, :4]).max()) == 0


def test_haze_is_smooth_and_moves_with_its_particle(variables):
    """Haze has no light at spatial frequencies beyond its blur (a Gaussian's transfer), and a shift of its place by
    three pixels is a shift of the picture by three pixels."""
    look, haze = jnp.array([[0.5, -1.0]]), jnp.array([[1.0, 0.2]])
    draw = jax.jit(lambda xy: draw_haze(CONFIG, variables, look, haze, xy, (48, 48), 0.1))
    here, there = draw(jnp.array([[2.0, 2.2]])), draw(jnp.array([[2.3, 2.2]]))
    np.testing.assert_allclose(here[:, :-3], there[:, 3:], atol=1e-9)
    assert float(here.min()) >= 0 and float(here.max()) > 0
    spectrum = np.abs(np.fft.fft2(np.asarray(here)))
    assert spectrum[16, 16] < 1e-6 * spectrum[0, 0]


def test_level_starts_as_the_first_latent(variables):
    """Before training the level is exp of the first latent, spread over the cells: flat latents, flat level."""
    latents = jnp.zeros((*CONFIG.grid((20, 30)), CONFIG.background_channels)).at[..., 0].set(0.7)
    level = draw_background(CONFIG, variables, latents, (20, 30))
    assert level.shape == (20, 30)
    np.testing.assert_allclose(level, np.exp(0.7), rtol=1e-6)


def test_networks_have_finite_gradients_at_the_start(variables):
    """Every parameter of the particle networks feels the loss, and none is NaN."""
    glimpses = jax.random.normal(jax.random.key(1), (3, 8, 8, 2))

    def loss(params):
        heads, look = Dlp(CONFIG).apply({"params": params}, glimpses, method=Dlp.particles)
        return jnp.sum(heads**2) + jnp.sum(look**2)

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
