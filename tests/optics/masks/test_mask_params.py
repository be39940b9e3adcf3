"""Parametrisations of a learned mask: units, round trips, starts from masks, gradients."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import mask_io, masks
from optics.masks.params import PixelPhase, SmoothPhase, ZernikePhase, init_params, to_mask, unwrap
from optics.pytree import replace
from optics.types import OpticsError, make_mask, make_microscope

DATA = Path(os.environ.get("COLOCUS_DATA", Path(__file__).parents[4] / "shared/data"))
KINDS = [
    PixelPhase(size=24),
    PixelPhase(size=24, wrapped=True),
    ZernikePhase(n_modes=15, size=48),
    ZernikePhase(n_modes=15, order="noll", size=48),
    SmoothPhase(n_cosines=5, size=48),
]


def names(config):
    return f"{type(config).__name__}-{getattr(config, 'order', getattr(config, 'wrapped', ''))}"


def wrapped_copy(mask):
    turns = mask.opd_um / mask.design_wavelength_um
    return replace(mask, opd_um=mask.design_wavelength_um * (turns - jnp.round(turns)), wrapped=True)


def in_pupil(mask):
    x, y = masks.mask_grid(mask.opd_um.shape[0], mask.half_width)
    return np.asarray(np.hypot(x, y) < 1)


@pytest.mark.parametrize("config", KINDS, ids=names)
def test_zero_parameters_are_a_flat_mask(config):
    """Every kind starts at the flat mask, and its mask has the config's wavelength and wrapping."""
    mask = to_mask(config, init_params(config))
    assert float(jnp.abs(mask.opd_um).max()) == 0 and float(mask.transmission.min()) == 1
    assert mask.wrapped == getattr(config, "wrapped", False)
    assert float(mask.design_wavelength_um) == float(config.design_wavelength_um)


@pytest.mark.parametrize("config", KINDS, ids=names)
def test_parameters_survive_the_round_trip(config):
    """params -> mask -> params is the identity (SmoothPhase: of the mask, as cosines overlap in the disc)."""
    params = 0.3 * jnp.asarray(np.random.default_rng(0).normal(size=config.params_shape()))
    mask = to_mask(config, params)
    back = init_params(config, mask)
    if isinstance(config, SmoothPhase):
        error = np.asarray(to_mask(config, back).opd_um - mask.opd_um)[in_pupil(mask)]
        assert np.abs(error).max() < 0.02 * np.abs(mask.opd_um).max()
    else:
        np.testing.assert_allclose(back, params, atol=1e-9)


def test_a_parameter_is_a_radian():
    """A pixel of 1 is 1 rad; a mode of 1 is 1 rad rms over the pupil (Zernike) or the square (cosine)."""
    wavelength_um = masks.LABEL_WAVELENGTH_UM
    for config in KINDS:
        shape = config.params_shape()
        params = jnp.zeros(shape).at[(3,) * len(shape)].set(1.0)
        mask = to_mask(config, params)
        phase = np.asarray(mask.opd_um) * 2 * np.pi / wavelength_um
        if isinstance(config, PixelPhase):
            assert abs(phase[3, 3] - 1) < 1e-12 and np.count_nonzero(phase) == 1
        else:
            over = in_pupil(mask) if isinstance(config, ZernikePhase) else slice(None)
            assert abs(np.sqrt(np.mean(phase[over] ** 2)) - 1) < 0.02


def test_zernike_orders_are_told_apart():
    """Index 5 is (2, 2) in OSA order and in Noll order (counted from 1, so parameter 5); index 3 differs."""
    osa, noll = ZernikePhase(n_modes=6), ZernikePhase(n_modes=6, order="noll")
    assert osa.modes()[5] == noll.modes()[5] == (2, 2)
    assert osa.modes()[3] == (2, -2) and noll.modes()[3] == (2, 0)
    mask = masks.zernike([(2, 0, 0.05), (2, -2, -0.02)])
    rad = 2 * np.pi / masks.LABEL_WAVELENGTH_UM
    np.testing.assert_allclose(init_params(osa, mask), rad * np.array([0, 0, 0, -0.02, 0.05, 0]), atol=1e-3)
    np.testing.assert_allclose(init_params(noll, mask), rad * np.array([0, 0, 0, 0.05, -0.02, 0]), atol=1e-3)


def test_smooth_masks_are_the_cosine_series_they_claim():
    """Entry (k, l) is 2 cos(pi k v) cos(pi l u) at cell centres; rows follow k, columns l."""
    mask = to_mask(SmoothPhase(n_cosines=4, size=20), jnp.zeros((4, 4)).at[1, 2].set(1.0))
    at = (np.arange(20) + 0.5) / 20
    want = 2 * np.outer(np.cos(np.pi * at), np.cos(2 * np.pi * at)) * masks.LABEL_WAVELENGTH_UM / (2 * np.pi)
    np.testing.assert_allclose(mask.opd_um, want, atol=1e-12)


@pytest.mark.parametrize("config", KINDS, ids=names)
def test_gradients_reach_the_parameters(config):
    """A loss of the sampled phasor has the gradient of central differences, jitted, in float64."""
    rng = np.random.default_rng(1)
    x, y = jnp.asarray(rng.uniform(-0.7, 0.7, (2, 30)))
    weight = jnp.asarray(rng.normal(size=30) + 1j * rng.normal(size=30))
    params = 0.3 * jnp.asarray(rng.normal(size=config.params_shape()))

    @jax.jit
    def loss(params):
        return jnp.abs((weight * masks.sample_mask(to_mask(config, params), x, y, 0.6)).sum()) ** 2

    way = jnp.asarray(rng.normal(size=params.shape))
    slope = (loss(params + 1e-6 * way) - loss(params - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose((jax.grad(loss)(params) * way).sum(), slope, rtol=1e-6)


def test_float32_parameters_give_a_float32_mask():
    """Nothing is promoted on the way from float32 parameters to the mask."""
    for config in KINDS:
        if isinstance(config, PixelPhase):
            assert to_mask(config, jnp.zeros((24, 24), jnp.float32)).opd_um.dtype == jnp.float32


def test_unwrapping_returns_the_surface():
    """A wrapped astigmatism of 8 waves peak to valley comes back up to a constant of whole waves."""
    smooth = masks.zernike([(2, 2, 0.8), (3, 1, 0.2)], design_wavelength_um=0.6, size=128)
    got = unwrap(wrapped_copy(smooth))
    assert not got.wrapped
    difference = np.asarray(got.opd_um - smooth.opd_um)[in_pupil(smooth)] / 0.6
    np.testing.assert_allclose(difference, np.round(difference[0]), atol=1e-9)


def test_a_wrapped_start_is_projected_through_its_path():
    """Zernike amplitudes of a wrapped 8-wave surface equal those of the surface (piston apart)."""
    smooth = masks.zernike([(2, 2, 0.8), (3, 1, 0.2)], design_wavelength_um=0.6, size=128)
    config = ZernikePhase(n_modes=10, design_wavelength_um=0.6)
    got = init_params(config, wrapped_copy(smooth))
    want = np.zeros(10)
    want[[5, 8]] = 2 * np.pi * np.array([0.8, 0.2]) / 0.6
    np.testing.assert_allclose(got[1:], want[1:], atol=5e-3)


def test_vortices_have_no_smooth_path_but_pixels_keep_them():
    """A double helix is refused by the smooth kinds, by name of the remedy, and kept by wrapped pixels."""
    scope = make_microscope(na=1.35, n_immersion=1.518, n_sample=1.4, wavelength_um=0.6, pixel_um=0.1)
    helix = masks.double_helix(2.0, scope, size=96)
    for config in (ZernikePhase(n_modes=10), SmoothPhase(n_cosines=4), PixelPhase(size=96)):
        with pytest.raises(OpticsError, match=r"vortices .* PixelPhase\(wrapped=True\)"):
            init_params(config, helix)
    config = PixelPhase(size=96, wrapped=True, design_wavelength_um=0.6)
    np.testing.assert_allclose(to_mask(config, init_params(config, helix)).opd_um, helix.opd_um, atol=1e-12)


def test_pixels_take_a_mask_of_another_size_and_width():
    """A smaller, wider mask is interpolated onto the pixels: same phase at the same place."""
    mask = masks.zernike([(2, 2, 0.05)], size=200)
    wide = make_mask(mask.opd_um, design_wavelength_um=0.6, half_width=1.5)
    config = PixelPhase(size=64, half_width=1.2)
    got = to_mask(config, init_params(config, wide))
    x, y = np.random.default_rng(2).uniform(-0.8, 0.8, (2, 100))
    np.testing.assert_allclose(masks.sample_path_um(got, x, y), masks.sample_path_um(wide, x, y), atol=1e-3)


def test_the_published_tetrapod_is_a_zernike_sum():
    """Unwrapped and fitted with 45 modes on the full NA, the published mask is matched to 0.1 rad rms."""
    path = DATA / "ds3d-masks/mask_tetrapod.npy"
    if not path.exists():
        pytest.skip(f"no published masks at {path.parent} (set COLOCUS_DATA)")
    mask = mask_io.load(
        path,
        wavelength_um=0.58,
        focal_length_um=1.5e5,
        magnification=100,
        na=1.45,
        pitch_um=24,
        turn_180=True,
    )
    config = ZernikePhase(n_modes=45, design_wavelength_um=0.58, size=256)
    fitted = to_mask(config, init_params(config, mask))
    x, y = masks.mask_grid(329, mask.half_width)
    support = np.asarray(mask.opd_um) != 0
    x, y = x[support], y[support]
    ratio = masks.sample_mask(mask, x, y, 0.58) / masks.sample_mask(fitted, x, y, 0.58)
    error = np.angle(np.asarray(ratio) * np.exp(-1j * np.angle(np.mean(np.asarray(ratio)))))
    assert np.sqrt(np.mean(error**2)) < 0.1


def test_what_cannot_be_a_start_is_refused():
    """A transmission, another design wavelength of a wrapped mask, and wrong shapes raise OpticsError."""
    dark = make_mask(np.zeros((8, 8)), transmission=np.full((8, 8), 0.5), design_wavelength_um=0.6)
    with pytest.raises(OpticsError, match="transmission"):
        init_params(PixelPhase(size=8), dark)
    with pytest.raises(OpticsError, match="wrapped at 0.7"):
        init_params(
            PixelPhase(size=8, wrapped=True),
            make_mask(np.zeros((8, 8)), design_wavelength_um=0.7, wrapped=True),
        )
    with pytest.raises(OpticsError, match=r"shape \(3,\), not \(6,\)"):
        to_mask(ZernikePhase(n_modes=6), jnp.zeros(3))
