"""The list decoder: ranges, shapes, what it sees, and that it learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from nets import ListNetConfig, NetsError
from nets.blocks import depth_to_space, nearest_upsample, space_to_depth

# one compilation per configuration and shape
run = jax.jit(nets.apply, static_argnums=0, static_argnames="train")
SMALL = ListNetConfig(channels=8, head_channels=8, dilations=(1, 2), z_min_um=-1.0, z_max_um=3.0)
FULL = dataclasses.replace(SMALL, half_resolution=False)


def _frames(shape, scale=100.0):
    return scale * jax.random.uniform(jax.random.key(5), shape, jnp.float32)


def _variables(config):
    return nets.init(jax.random.key(0), config, _frames((1, 8, 8, 1)))


@pytest.mark.parametrize("config", [SMALL, FULL])
@pytest.mark.parametrize("shape", [(2, 12, 16, 1), (1, 13, 9, 1), (1, 1, 1, 1)])
def test_maps_have_the_frames_shape(config, shape):
    """Every map has one value per input pixel, for even, odd and single-pixel frames."""
    maps, state = run(config, _variables(config), _frames(shape), train=True)
    assert state == {}
    assert maps.logit.shape == maps.z_um.shape == maps.photons.shape == maps.background.shape == shape[:3]
    assert maps.offset_um.shape == (*shape[:3], 2)
    assert maps.sigma.shape == (*shape[:3], 4)


@pytest.mark.parametrize("config", [SMALL, FULL])
def test_odd_frames_agree_with_even_ones(config):
    """Cutting a frame's last row and column changes nothing further away than the receptive field."""
    variables, x = _variables(config), _frames((1, 32, 32, 1))
    whole, _ = run(config, variables, x, train=False)
    cut, _ = run(config, variables, x[:, :31, :31], train=False)
    keep = 31 - nets.receptive_field_px(config) // 2 - 1
    # depths below 1 um behind a dozen layers, each rounded to 6e-8: compiled for another shape, sums have another order
    np.testing.assert_allclose(whole.z_um[:, :keep, :keep], cut.z_um[:, :keep, :keep], atol=1e-6)


def test_outputs_stay_in_their_ranges():
    """However large the inputs, positions, photons, sigmas and background stay where the config says."""
    config = SMALL
    maps, _ = run(config, _variables(config), _frames((2, 16, 16, 1), scale=1e7), train=False)
    assert np.abs(maps.offset_um).max() <= config.pixel_um * (1 + 1e-6)
    assert maps.z_um.min() >= -1.0 - 0.4 - 1e-5 and maps.z_um.max() <= 3.0 + 0.4 + 1e-5  # 1.2 x half the range
    assert maps.photons.min() >= 0 and maps.photons.max() <= config.photons_max
    assert maps.sigma.min() > 0
    assert maps.background.min() >= 0 and maps.background.max() <= config.background_max
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(maps))


def test_an_untrained_net_expects_few_emitters():
    """At the start the expected number of emitters in a 64 x 64 frame is a handful, not hundreds."""
    maps, _ = run(SMALL, _variables(SMALL), _frames((1, 64, 64, 1)), train=False)
    assert 2 < float(jax.nn.sigmoid(maps.logit).sum()) < 50


@pytest.mark.parametrize("transform", ["linear", "sqrt"])
def test_offset_and_scale_are_those_of_the_input(transform):
    """Photons with offset and scale give what their normalised values give without."""
    config = dataclasses.replace(SMALL, input_offset=30.0, input_scale=8.0, input_transform=transform)
    plain = dataclasses.replace(config, input_offset=0.0, input_scale=1.0)
    variables, x = _variables(config), _frames((1, 16, 16, 1))
    got, _ = run(config, variables, x, train=False)
    want, _ = run(plain, variables, (x - 30) / 8, train=False)
    # (x - 30) / 8 here and inside the program: an ulp of 1e-7 at the input, through a dozen layers
    np.testing.assert_allclose(got.photons, want.photons, rtol=1e-5)


@pytest.mark.parametrize("transform", ["linear", "sqrt"])
def test_gradient_by_the_frame_is_finite_at_the_offset(transform):
    """A frame exactly at the offset (the transform's 0) passes a finite, non-zero gradient to the optics."""
    config = dataclasses.replace(SMALL, input_transform=transform)
    variables = _variables(config)
    x = jnp.full((1, 8, 8, 1), config.input_offset, jnp.float32)
    g = jax.jit(jax.grad(lambda x: nets.apply(config, variables, x, train=True)[0].z_um.sum()))(x)
    assert np.isfinite(g).all() and np.abs(g).max() > 0


@pytest.mark.parametrize("config", [SMALL, FULL])
def test_gradient_by_the_parameters_is_the_difference_quotient(config):
    """Along a random direction in parameter space, in float64, to 1e-6."""
    with jax.enable_x64(True):
        x = jnp.asarray(_frames((2, 8, 8, 1)), jnp.float64)
        params = nets.init(jax.random.key(0), config, x)["params"]
        leaves, tree = jax.tree.flatten(params)
        rng = np.random.default_rng(0)
        direction = jax.tree.unflatten(tree, [rng.normal(size=leaf.shape) for leaf in leaves])

        start, _ = nets.apply(config, {"params": params}, x, train=True)
        sizes = [float(jnp.abs(leaf).mean()) for leaf in jax.tree.leaves(start)]  # every map counts alike

        @jax.jit
        def loss(params):
            maps, _ = nets.apply(config, {"params": params}, x, train=True)
            return sum((leaf / s).mean() for leaf, s in zip(jax.tree.leaves(maps), sizes, strict=True))

        slope = jax.tree.map(lambda g, d: (g * d).sum(), jax.jit(jax.grad(loss))(params), direction)
        step = 1e-6
        ahead, behind = (loss(jax.tree.map(lambda p, d, s=s: p + s * d, params, direction)) for s in (step, -step))
        assert float(ahead - behind) / (2 * step) == pytest.approx(float(sum(jax.tree.leaves(slope))), rel=1e-6)


def test_space_and_depth_are_inverse():
    """Folding pixels into channels and back is the identity, and keeps 2 x 2 blocks together."""
    x = jnp.arange(2 * 4 * 6 * 3, dtype=jnp.float32).reshape(2, 4, 6, 3)
    folded = space_to_depth(x)
    np.testing.assert_array_equal(depth_to_space(folded), x)
    np.testing.assert_array_equal(folded[0, 1, 2].reshape(2, 2, 3), x[0, 2:4, 4:6])
    np.testing.assert_array_equal(nearest_upsample(x), np.repeat(np.repeat(x, 2, 1), 2, 2))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pixel_um", 0.0),
        ("photons_max", -1.0),
        ("input_scale", 0.0),
        ("channels", 0),
        ("z_max_um", -2.0),
        ("dilations", ()),
        ("dilations", (1, 0)),
        ("input_transform", "log"),
        ("sigma_max", float("nan")),
    ],
)
def test_a_config_that_cannot_be_right_is_refused(field, value):
    """The error names the field."""
    with pytest.raises(NetsError, match=field):
        dataclasses.replace(SMALL, **{field: value})
