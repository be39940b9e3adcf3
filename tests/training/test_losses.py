"""Losses against their formulas written out by hand, one emitter and one pixel at a time."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from nets import ListMaps
from optics import Emitters, make_emitters
from training.decoders.list_losses import count_loss, list_loss, mixture_loss, occupancy_loss
from training.decoders.volume import occupancy_volume, volume_loss

PIXEL = 0.1


def random_maps(seed, shape=(6, 7)):
    rng = np.random.default_rng(seed)
    return ListMaps(
        logit=jnp.asarray(rng.normal(-2, 1, shape)),
        offset_um=jnp.asarray(rng.normal(0, 0.03, (*shape, 2))),
        z_um=jnp.asarray(rng.uniform(0, 1, shape)),
        photons=jnp.asarray(rng.uniform(500, 1500, shape)),
        sigma=jnp.asarray(rng.uniform(0.5, 1.5, (*shape, 4)) * np.array([0.05, 0.05, 0.2, 300.0])),
        background=jnp.asarray(rng.uniform(5, 15, shape)),
    )


EMITTERS = make_emitters([[0.22, 0.31, 0.4], [0.55, 0.12, 0.9], [9.0, 9.0, 9.0]], [900.0, 1200.0, 1.0], [1, 1, 0])


def test_mixture_is_the_sum_over_pixels_of_weighted_normals():
    """-sum over emitters of log sum over pixels p/sum(p) times four normal densities (scipy), written as loops."""
    maps = random_maps(0)
    p = 1 / (1 + np.exp(-np.asarray(maps.logit)))
    expected = 0.0
    for e in range(2):
        x, y, z = np.asarray(EMITTERS.xyz_um[e])
        likelihood = 0.0
        for i in range(6):
            for j in range(7):
                s = np.asarray(maps.sigma[i, j])
                density = (
                    norm.pdf(x, (j + 0.5) * PIXEL + maps.offset_um[i, j, 0], s[0])
                    * norm.pdf(y, (i + 0.5) * PIXEL + maps.offset_um[i, j, 1], s[1])
                    * norm.pdf(z, maps.z_um[i, j], s[2])
                    * norm.pdf(EMITTERS.photons[e], maps.photons[i, j], s[3])
                )
                likelihood += p[i, j] / p.sum() * density
        expected -= np.log(likelihood)
    np.testing.assert_allclose(mixture_loss(maps, EMITTERS, PIXEL), expected, rtol=1e-5)


def test_count_is_the_normal_approximation():
    """-log Normal(n; sum p, sum p(1-p)) from scipy."""
    logit = random_maps(1).logit
    p = 1 / (1 + np.exp(-np.asarray(logit)))
    expected = -norm.logpdf(3, p.sum(), np.sqrt((p * (1 - p)).sum()))
    np.testing.assert_allclose(count_loss(logit, jnp.asarray(3)), expected, rtol=1e-5)


def test_occupancy_is_the_cross_entropy_of_coins():
    """Against -t log p - (1-t) log(1-p) with the emitters' own pixels marked by hand."""
    maps = random_maps(2)
    p = 1 / (1 + np.exp(-np.asarray(maps.logit)))
    target = np.zeros((6, 7))
    target[3, 2] = target[1, 5] = 1
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).sum()
    np.testing.assert_allclose(occupancy_loss(maps.logit, EMITTERS, PIXEL), expected, rtol=1e-6)


def test_list_loss_gradient_is_right():
    """Reverse mode against finite differences in float64, through every map."""
    check_grads(
        lambda maps: list_loss(maps, EMITTERS, jnp.full((6, 7), 9.0), PIXEL, occupancy_weight=0.3)[0],
        (random_maps(3),),
        order=1,
        modes=["rev"],
        eps=1e-6,
        rtol=1e-5,
    )


def test_an_empty_frame_gives_a_finite_loss_and_gradient():
    """No emitter, and a decoder that is certain of it: nothing is NaN or infinite."""
    nobody = Emitters(jnp.zeros((2, 3)), jnp.ones(2), jnp.zeros(2, bool))
    maps = random_maps(4)
    maps = ListMaps(jnp.full((6, 7), -60.0), maps.offset_um, maps.z_um, maps.photons, maps.sigma, maps.background)
    value, gradient = jax.value_and_grad(lambda m: list_loss(m, nobody, m.background, PIXEL)[0])(maps)
    assert np.isfinite(value) and all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


def test_volume_loss_is_that_of_the_published_layout():
    """KDE against scipy's Gaussian (7 taps, peak 1) and the overlap by hand."""
    rng = np.random.default_rng(5)
    prediction = rng.uniform(0, 100, (2, 12, 13, 9))
    target = (rng.uniform(size=prediction.shape) < 0.01).astype(float)
    difference = prediction - 100 * target
    peak = np.exp(-0.5 * (np.arange(7) - 3.0) ** 2).sum()
    smooth = np.stack([gaussian_filter(d, 1.0, radius=3, mode="constant") * peak**3 for d in difference])
    kde = (smooth[:, 3:-3, 3:-3] ** 2).mean()
    q = prediction / 100
    overlap = 1 - (2 * (q * target).sum() + 1) / ((q * target).sum() + (target**2).sum() + 1)
    total, parts = volume_loss(jnp.asarray(prediction), jnp.asarray(target), 100.0)
    np.testing.assert_allclose(parts["kde"], kde, rtol=1e-9)
    np.testing.assert_allclose(parts["overlap"], overlap, rtol=1e-9)
    np.testing.assert_allclose(total, kde + overlap, rtol=1e-9)


def test_a_silent_network_pays_the_kernel_for_each_emitter():
    """All-zero prediction, n inner emitters: KDE = scaling**2 * 5.570 * n / voxels, 5.570 being the kernel squared."""
    target = np.zeros((1, 30, 30, 20))
    target[0, 10, 12, 8] = target[0, 20, 15, 10] = 1
    _, parts = volume_loss(jnp.zeros(target.shape), jnp.asarray(target), 800.0)
    np.testing.assert_allclose(parts["kde"], 800**2 * 5.570 * 2 / (24 * 24 * 20), rtol=1e-3)
    np.testing.assert_allclose(parts["overlap"], 1 - 1 / 3, rtol=1e-9)


def test_occupancy_volume_marks_the_voxel_of_each_emitter():
    """x is the column, y the row, z the last axis; two in one voxel count twice, outsiders not at all."""
    emitters = make_emitters(
        [[0.25, 0.05, 1.5], [0.27, 0.02, 1.6], [0.35, 0.15, 0.1], [0.9, 0.1, 1.0], [0.1, 0.1, 2.1]], [1.0] * 5
    )
    volume = np.asarray(occupancy_volume(emitters, (2, 4, 4), PIXEL, (0.0, 2.0)))
    expected = np.zeros((2, 4, 4))
    expected[0, 2, 3] = 2
    expected[1, 3, 0] = 1
    np.testing.assert_array_equal(volume, expected)
