"""Losses against their formulas written out by hand, one emitter and one pixel at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm

from nets import ListMaps
from optics import Emitters, make_emitters
from training.decoders.list_losses import (
    LOSSES,
    claim_loss,
    count_loss,
    list_loss,
    mixture_loss,
    occupancy_loss,
    transport_loss,
    transport_plan,
)
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


def test_focal_occupancy_and_claim_of_the_true_pixel():
    """The focal weight is the distance from the truth; the claim is four normal densities of the emitter's pixel."""
    maps = random_maps(2)
    p = 1 / (1 + np.exp(-np.asarray(maps.logit)))
    focal = -p * np.log(1 - p)
    claim = 0.0
    for e, (i, j) in enumerate(((3, 2), (1, 5))):
        focal[i, j] = -(1 - p[i, j]) * np.log(p[i, j])
        place = ((j + 0.5) * PIXEL + maps.offset_um[i, j, 0], (i + 0.5) * PIXEL + maps.offset_um[i, j, 1])
        mean = np.array([*place, maps.z_um[i, j], maps.photons[i, j]])
        truth = np.array([*EMITTERS.xyz_um[e], EMITTERS.photons[e]])
        claim -= norm.logpdf(truth, mean, np.asarray(maps.sigma[i, j])).sum()
    np.testing.assert_allclose(occupancy_loss(maps.logit, EMITTERS, PIXEL, focal=True), focal.sum(), rtol=1e-6)
    np.testing.assert_allclose(claim_loss(maps, EMITTERS, PIXEL), claim, rtol=1e-6)


def test_a_hard_plan_is_the_best_assignment():
    """Hardly any entropy: scipy's assignment of emitters to pixels; an absent emitter gets none."""
    rng = np.random.default_rng(8)  # the next best assignment costs 0.27 more, 27 times the softness
    cost, empty = rng.uniform(0, 20, (4, 30)), rng.uniform(0, 3, 30)
    cost[1] = cost[0] + rng.uniform(0, 0.5, 30)  # two that want the same pixel
    plan = np.asarray(transport_plan(jnp.asarray(cost), jnp.array([1, 1, 1, 0], bool), jnp.asarray(empty), 0.01))
    rows, columns = linear_sum_assignment(cost[:3] - empty)
    expected = np.zeros((4, 30))
    expected[rows, columns] = 1
    np.testing.assert_allclose(plan, expected, atol=1e-3)


def test_a_soft_plan_scales_rows_and_columns():
    """Against plain scaling of the kernel, 2,000 rounds: emitters are explained once, no pixel gives more than one."""
    rng = np.random.default_rng(7)
    cost, empty = rng.uniform(0, 6, (3, 12)), rng.uniform(0, 3, 12)
    kernel = np.exp(-np.vstack([cost, empty]))
    u, target = np.ones(4), np.array([1, 1, 1, 9])
    for _ in range(2000):
        v = 1 / (u @ kernel)
        u = target / (kernel @ v)
    plan = np.asarray(transport_plan(jnp.asarray(cost), jnp.ones(3, bool), jnp.asarray(empty)))
    np.testing.assert_allclose(plan, (u[:, None] * kernel * v)[:3], atol=1e-3)  # of 20 rounds
    np.testing.assert_allclose(plan.sum(axis=1), 1, atol=1e-3)
    assert plan.sum(axis=0).max() < 1 + 1e-3


def test_transport_costs_what_its_plan_costs():
    """Two far emitters whose own pixels alone claim them: their costs there, and of all others to be empty."""
    maps = random_maps(8)
    sharp = ListMaps(maps.logit, 0 * maps.offset_um, maps.z_um, maps.photons, maps.sigma * 0.2, maps.background)
    i, j = np.array([3, 1]), np.array([2, 5])
    place = np.stack([(j + 0.5) * PIXEL, (i + 0.5) * PIXEL, maps.z_um[i, j]], axis=1)
    emitters = make_emitters(place, np.asarray(maps.photons[i, j]))
    p = np.asarray(jax.nn.sigmoid(maps.logit))
    claim = np.log(np.asarray(sharp.sigma[i, j])).sum() + 2 * 2 * np.log(2 * np.pi)
    expected = claim - np.log(p[i, j]).sum() - np.log(1 - p).sum() + np.log(1 - p[i, j]).sum()
    np.testing.assert_allclose(transport_loss(sharp, emitters, PIXEL), expected, rtol=1e-3)


@pytest.mark.parametrize("loss", ["mixture", "direct"])
def test_list_loss_gradient_is_right(loss):
    """Reverse mode against finite differences in float64, through every map."""
    check_grads(
        lambda maps: list_loss(maps, EMITTERS, jnp.full((6, 7), 9.0), PIXEL, loss=loss, occupancy_weight=0.3)[0],
        (random_maps(3),),
        order=1,
        modes=["rev"],
        eps=1e-6,
        rtol=1e-5,
    )


@pytest.mark.parametrize("loss", list(LOSSES))
def test_an_empty_frame_gives_a_finite_loss_and_gradient(loss):
    """No emitter, and a decoder that is certain of it: nothing is NaN or infinite."""
    nobody = Emitters(jnp.zeros((2, 3)), jnp.ones(2), jnp.zeros(2, bool))
    maps = random_maps(4)
    maps = ListMaps(jnp.full((6, 7), -60.0), maps.offset_um, maps.z_um, maps.photons, maps.sigma, maps.background)
    value, gradient = jax.value_and_grad(lambda m: list_loss(m, nobody, m.background, PIXEL, loss=loss)[0])(maps)
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
