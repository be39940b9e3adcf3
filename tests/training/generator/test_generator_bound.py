"""The evidence bound: divergences in closed form, presence by enumeration, likelihood against scipy, gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from made.made_model import FITTED, MODEL, MOVIE, PIXEL_UM, POSTERIOR, SHAPE
from optics.pytree import replace
from training.generator.bound import KlWeights, divergences, frame_loss, log_likelihood
from training.generator.field import field_divergence
from training.generator.model import Branches, Components, FittedModel, compose
from training.generator.posterior import Normal, Ranges, posterior_mean

divergences_of = jax.jit(divergences, static_argnames="shape")
frame_of_means = jax.jit(lambda fitted: compose(fitted, posterior_mean(MODEL.ranges, POSTERIOR), SHAPE))


@jax.jit
def loss_of(key, fitted, frame, posterior):
    return frame_loss(key, fitted, frame, posterior, KlWeights())[0]


def kl(mean, std, mean_0, std_0):
    """KL of Gaussians, element by element, by integration over nine deviations."""
    u = np.linspace(-9, 9, 2001)
    q, x = stats.norm.pdf(u), mean + std * u[(...,) + (None,) * np.ndim(mean)]
    q = q[(...,) + (None,) * np.ndim(mean)]
    log_ratio = stats.norm(mean, std).logpdf(x) - stats.norm(mean_0, std_0).logpdf(x)
    return np.trapezoid(q * log_ratio, u, axis=0)


def test_even_depths_are_normal_scores():
    """Depths of normal scores are even over the range (all ten tenths within four deviations), a depth's score leads
    back to it, and a score's cost is that of its depth against an even law, by integration over depth."""
    ranges = Ranges(0.1, (-0.5, 1.5), True)
    depth = np.asarray(ranges.depth_um(jax.random.normal(jax.random.key(0), (20_000,))))
    counts = np.histogram(depth, np.linspace(-0.5, 1.5, 11))[0]
    assert np.abs(counts - 2000).max() < 4 * np.sqrt(2000)
    inside = np.linspace(-0.4, 1.4, 7)
    np.testing.assert_allclose(np.asarray(ranges.depth_um(ranges.depth_score(inside))), inside, atol=1e-6)
    assert np.all(np.isfinite(np.asarray(ranges.depth_score(np.array([-9.0, -0.5, 1.5, 9.0])))))
    mean, std = 0.8, 0.4
    z = np.linspace(-0.5, 1.5, 200_001)[1:-1]
    score = stats.norm.ppf((z + 0.5) / 2)
    density = stats.norm(mean, std).pdf(score) / stats.norm.pdf(score) / 2
    by_depth = np.sum(density * np.log(np.maximum(density * 2, 1e-300))) * (z[1] - z[0])
    assert by_depth == pytest.approx(kl(mean, std, 0, 1), rel=1e-3)


def test_presence_and_place_cost_what_the_point_process_says():
    """KL of the slots from a Poisson process, summed by brute force over all eight subsets of three slots: the closed
    form holds for presence, place and photons together."""
    costs = divergences_of(MODEL, MOVIE, POSTERIOR, SHAPE)
    p = 1 / (1 + np.exp(-np.asarray(POSTERIOR.presence)))
    mean, std = np.asarray(POSTERIOR.location.mean), np.exp(np.asarray(POSTERIOR.location.log_std))
    rate = 2.5
    area_um2 = SHAPE[0] * SHAPE[1] * PIXEL_UM**2
    # over each emitter's Gaussian: log q by its entropy, places even over the frame, depth and photons by integration
    one = []
    for m, s in zip(mean, std, strict=True):
        entropy = sum(stats.norm(scale=w).entropy() for w in s[:2])
        depth = kl(m[2], s[2], 0, 1)
        one.append(np.log(area_um2) - entropy + depth + kl(m[3], s[3], np.log(800), 0.5))
    total = 0.0
    for on in itertools.product([0, 1], repeat=3):
        q = np.prod([a if b else 1 - a for a, b in zip(p, on, strict=True)])
        log_prior = -rate + sum(on) * np.log(rate)
        total += q * (np.log(q) - log_prior + np.dot(on, one))
    np.testing.assert_allclose(costs["presence"] + costs["place"] + costs["photons"], total, rtol=1e-6)


def test_gaussian_divergences_against_scipy():
    """Appearance, noise, and of the background all latents but the level's (a random field, see test_generator_field):
    KL of Gaussians by numerical integration."""
    costs = divergences_of(MODEL, MOVIE, POSTERIOR, SHAPE)
    level, rest = (Normal(*(leaf[..., k] for leaf in jax.tree.leaves(POSTERIOR.background))) for k in (0, np.s_[1:]))
    costs["background"] -= jax.jit(field_divergence)(level.mean, level.log_std, MOVIE.log_rough, MOVIE.log_range)
    for name, part, spread in (
        ("background", rest, 1.0), ("look", POSTERIOR.appearance, 1.0), ("noise", POSTERIOR.noise, 0.3),
    ):  # fmt: skip
        total = kl(np.asarray(part.mean), np.exp(np.asarray(part.log_std)), 0, spread).sum()
        np.testing.assert_allclose(costs[name], total, rtol=1e-6)


def test_likelihood_is_a_sum_of_normal_distributions():
    """Against scipy: means are rates, variances those of `photon_variance` with the movie's gain and read scale."""
    flat = jnp.ones(SHAPE)
    parts = Components(3 * flat, 2 * flat, 20 * flat, 0 * flat, 1.5 * flat)
    frame = 25 + 5 * jax.random.normal(jax.random.key(1), SHAPE)
    std = np.sqrt(np.exp(0.04) * 25 + 1.5 * 4.0)
    expected = stats.norm(25, std).logpdf(np.asarray(frame)).sum()
    np.testing.assert_allclose(jax.jit(log_likelihood)(MODEL, MOVIE, frame, parts), expected, rtol=1e-9)


@pytest.mark.slow
def test_gradients_of_the_bound_against_differences():
    """Every leaf of the posterior and of the movie's numbers: directional derivative against central differences."""
    frame = frame_of_means(FITTED).rate + 3.0
    key = jax.random.key(3)

    @jax.jit
    def loss(both):
        return loss_of(key, FittedModel(MODEL, FITTED.variables, both[1]), frame, both[0])

    point = (POSTERIOR, MOVIE)
    leaves, tree = jax.tree.flatten(point)
    grads = jax.tree.leaves(jax.jit(jax.grad(loss))(point))
    rng = np.random.default_rng(0)
    for k, (leaf, grad) in enumerate(zip(leaves, grads, strict=True)):
        if k == 0:  # the anchor decides which pixel a stamp is laid on, and haze's place is held: not to be descended
            continue
        direction = jnp.asarray(rng.normal(size=leaf.shape))
        step = 1e-5
        ends = [
            loss(jax.tree.unflatten(tree, [*leaves[:k], leaf + s * step * direction, *leaves[k + 1 :]]))
            for s in (1, -1)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(jnp.vdot(grad, direction), slope, rtol=2e-4, atol=1e-3)


def test_branches_that_are_off_cost_and_render_nothing():
    """Without haze, background latent and noise latent: no haze, a flat level, the camera's noise, no divergence."""
    bare = replace(MODEL, branches=Branches(haze=False, background=False, noise=False))
    parts = frame_of_means(replace(FITTED, model=bare))
    assert float(parts.haze.max()) == 0 and float(parts.background.std()) == 0
    np.testing.assert_allclose(parts.background, 20.0)
    np.testing.assert_allclose(parts.read_scale, 1.0)
    costs = divergences_of(bare, MOVIE, POSTERIOR, SHAPE)
    assert all(float(costs[name]) == 0 for name in ("haze", "look", "background", "noise"))


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_loss_falls_when_the_latents_are_the_truth(shift):
    """The frame that a posterior makes is likelier under it than under one moved by four pixels."""
    frame = frame_of_means(FITTED).rate
    moved = replace(POSTERIOR, anchor_um=POSTERIOR.anchor_um + shift)
    loss = loss_of(jax.random.key(0), FITTED, frame, moved)
    best = loss_of(jax.random.key(0), FITTED, frame, POSTERIOR)
    assert loss > best + 50 if shift else loss == best
