"""The random field's cost against the multivariate t that it stands for, written down with dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from training.generator.field import field_divergence

SHAPE = (3, 5)
LOG_ROUGH, LOG_RANGE = -0.4, 0.7


cost_of = jax.jit(field_divergence)


def path(n):
    """The Laplacian of n cells in a row."""
    steps = np.diff(np.eye(n), axis=0)
    return steps.T @ steps


def precision():
    laplacian = np.kron(path(SHAPE[0]), np.eye(SHAPE[1])) + np.kron(np.eye(SHAPE[0]), path(SHAPE[1]))
    return np.exp(-LOG_ROUGH) * (np.exp(-2 * LOG_RANGE) * np.eye(laplacian.shape[0]) + laplacian)


def posterior(seed=0):
    rng = np.random.default_rng(seed)
    return 0.8 * rng.normal(size=SHAPE), -1.5 + 0.3 * rng.normal(size=SHAPE)


def test_it_bounds_the_divergence_from_a_multivariate_t():
    """By 400,000 draws of the posterior: log q - log p with the dense t of 2 degrees of freedom. The bound lies above
    that by no more than the variance of z' Q z allows (here 0.1 nats), and not below."""
    mean, log_std = posterior()
    rng = np.random.default_rng(1)
    draws = mean.ravel() + np.exp(log_std.ravel()) * rng.normal(size=(400_000, mean.size))
    prior = stats.multivariate_t(np.zeros(mean.size), np.linalg.inv(precision()), df=2)
    own = stats.norm(mean.ravel(), np.exp(log_std.ravel())).logpdf(draws).sum(axis=1)
    ratio = own - prior.logpdf(draws)
    true, error = ratio.mean(), ratio.std() / np.sqrt(len(ratio))
    bound = float(cost_of(jnp.asarray(mean), jnp.asarray(log_std), LOG_ROUGH, LOG_RANGE))
    assert true - 4 * error < bound < true + 0.1


def test_it_costs_the_same_mirrored_and_turned():
    """The field has no direction: mirrors and the transpose of the latents change nothing."""
    mean, log_std = (jnp.asarray(part) for part in posterior())
    cost = float(cost_of(mean, log_std, LOG_ROUGH, LOG_RANGE))
    for turned in (lambda a: a[::-1], lambda a: a[:, ::-1], jnp.transpose):
        assert float(cost_of(turned(mean), turned(log_std), LOG_ROUGH, LOG_RANGE)) == pytest.approx(cost)


def test_roughness_and_range_are_learned_from_fields_that_have_them():
    """Of 200 fields drawn from the prior with strength 1 (by dense Cholesky), the cost has its minimum within 0.15 of
    the true log range; roughness trades with the strength, whose distribution is centred near 1: within 0.7."""
    rng = np.random.default_rng(2)
    root = np.linalg.cholesky(np.linalg.inv(precision()))
    fields = jnp.asarray((rng.normal(size=(200, root.shape[0])) @ root.T).reshape(-1, *SHAPE))
    log_std = jnp.full(fields.shape, -6.0)

    @jax.jit
    def cost(rough, wide):
        return jax.vmap(lambda m, s: field_divergence(m, s, rough, wide))(fields, log_std).mean()

    roughs, wides = np.linspace(-2, 1.2, 33), np.linspace(-0.5, 2.0, 51)
    costs = np.array([[float(cost(a, b)) for b in wides] for a in roughs])
    i, j = np.unravel_index(costs.argmin(), costs.shape)
    assert abs(wides[j] - LOG_RANGE) < 0.15
    assert abs(roughs[i] - LOG_ROUGH) < 0.7
