"""The scene model's bound: divergences in closed form, presence by enumeration, light against the renderer."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from nets.dlp import Ranges, init_dlp
from nets.dlp_types import DlpConfig, Normal, Posterior
from optics import (
    adu_to_photons,
    make_camera,
    make_emitters,
    make_microscope,
    make_psf,
    render_frame,
    sample_camera,
    tabulate_psf,
)
from optics.fits.matched_filter import choose_depths, make_templates
from training.generator.field import field_divergence
from training.generator.model import (
    Branches,
    Components,
    KlWeights,
    Movie,
    SceneModel,
    compose,
    divergences,
    draw_emitters,
    expected_parts,
    frame_loss,
    log_likelihood,
    photon_variance,
    posterior_mean,
    sample_posterior,
    see,
)

SHAPE, PIXEL_UM = (24, 26), 0.1
SCOPE = make_microscope(na=0.9, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
PSF = make_psf(SCOPE, image_px=11, pupil_px=16, kind="scalar")
TABLE = tabulate_psf(PSF, (0.0, 0.4), reach_px=0.75)
CONFIG = DlpConfig(
    slots=3, glimpse_px=8, glimpse_widths=(4, 4), hidden=8, trunk_out=4, features=2, map_widths=(4,), map_last=4
)
CAMERA = make_camera(read_noise_e=2.0)
MODEL = SceneModel(
    templates=make_templates(*choose_depths(TABLE), SHAPE),
    table=TABLE,
    camera=CAMERA,
    level=jnp.asarray(20.0),
    config=CONFIG,
    ranges=Ranges(PIXEL_UM, (0.0, 0.4), True),
)
MOVIE = Movie(*(jnp.asarray(v) for v in (np.log(2.5), np.log(800.0), np.log(0.5), -0.3, 0.04, 0.2, -0.5, 1.0)))


def posterior(presence=(1.0, -0.5, 2.0)) -> Posterior:
    """A posterior of three particles with latents that are not zero."""
    rng = np.random.default_rng(0)
    cells = CONFIG.grid(SHAPE)

    def normal(*shape, spread=-1.0):
        return Normal(jnp.asarray(0.3 * rng.normal(size=shape)), jnp.asarray(spread + 0.1 * rng.normal(size=shape)))

    place = np.array([[0.01, 0.02, 0.1, 6.5], [-0.02, 0.0, 0.2, 7.0], [0.0, -0.01, 0.3, 6.0]])
    return Posterior(
        anchor_um=jnp.array([[0.8, 0.9], [1.7, 1.2], [1.2, 1.8]]),
        presence=jnp.asarray(presence),
        place=Normal(jnp.asarray(place), jnp.asarray(np.log([[0.01, 0.012, 0.03, 0.05]] * 3))),
        haze=normal(3, 2),
        look=normal(3, 2),
        background=normal(*cells, CONFIG.background_channels),
        noise=normal(*cells),
    )


POSTERIOR = posterior()
VARIABLES = init_dlp(jax.random.key(0), CONFIG)


def kl(q, prior) -> float:
    """KL of two laws of scipy by integration over nine deviations."""
    m, s = q.mean(), q.std()
    return quad(lambda x: q.pdf(x) * (q.logpdf(x) - prior.logpdf(x)), m - 9 * s, m + 9 * s)[0]


def test_even_depths_are_normal_scores():
    """Depths of normal scores are even over the range (all ten tenths within four deviations), a depth's score leads
    back to it, and a score's cost is that of its depth against an even law, by integration over depth."""
    ranges = Ranges(0.1, (-0.5, 1.5), True)
    depth = np.asarray(ranges.depth_um(jax.random.normal(jax.random.key(0), (20_000,))))
    counts = np.histogram(depth, np.linspace(-0.5, 1.5, 11))[0]
    assert np.abs(counts - 2000).max() < 4 * np.sqrt(2000)
    some = np.linspace(-0.4, 1.4, 7)
    np.testing.assert_allclose(np.asarray(ranges.depth_um(ranges.score(some))), some, atol=1e-6)
    assert np.all(np.isfinite(np.asarray(ranges.score(np.array([-9.0, -0.5, 1.5, 9.0])))))
    mean, std = 0.8, 0.4
    z = np.linspace(-0.5, 1.5, 200_001)[1:-1]
    score = stats.norm.ppf((z + 0.5) / 2)
    density = stats.norm(mean, std).pdf(score) / stats.norm.pdf(score) / 2
    by_depth = np.sum(density * np.log(np.maximum(density * 2, 1e-300))) * (z[1] - z[0])
    assert by_depth == pytest.approx(kl(stats.norm(mean, std), stats.norm(0, 1)), rel=1e-3)


def test_presence_and_place_cost_what_the_point_process_says():
    """KL of the slots from a Poisson process, summed by brute force over all eight subsets of three slots: the closed
    form holds for presence, place and photons together."""
    costs = divergences(MODEL, MOVIE, POSTERIOR, SHAPE)
    p = 1 / (1 + np.exp(-np.asarray(POSTERIOR.presence)))
    mean, std = np.asarray(POSTERIOR.place.mean), np.exp(np.asarray(POSTERIOR.place.log_std))
    rate = 2.5
    area_um2 = SHAPE[0] * SHAPE[1] * PIXEL_UM**2
    # over each particle's Gaussian: log q by its entropy, places even over the frame, depth and photons by integration
    one = []
    for m, s in zip(mean, std, strict=True):
        entropy = sum(stats.norm(scale=w).entropy() for w in s[:2])
        depth = kl(stats.norm(m[2], s[2]), stats.norm(0, 1))
        one.append(np.log(area_um2) - entropy + depth + kl(stats.norm(m[3], s[3]), stats.norm(np.log(800), 0.5)))
    total = 0.0
    for on in itertools.product([0, 1], repeat=3):
        q = np.prod([a if b else 1 - a for a, b in zip(p, on, strict=True)])
        log_prior = -rate + sum(on) * np.log(rate)
        total += q * (np.log(q) - log_prior + np.dot(on, one))
    np.testing.assert_allclose(costs["presence"] + costs["place"] + costs["photons"], total, rtol=1e-6)


def test_gaussian_divergences_against_scipy():
    """Look, noise, and of the background all latents but the level's (a random field, see test_scene_field): KL of
    Gaussians by numerical integration of one of each."""
    costs = divergences(MODEL, MOVIE, POSTERIOR, SHAPE)
    level, rest = (Normal(*(leaf[..., k] for leaf in jax.tree.leaves(POSTERIOR.background))) for k in (0, np.s_[1:]))
    costs["background"] -= field_divergence(level.mean, level.log_std, MOVIE.log_rough, MOVIE.log_range)
    for name, part, spread in (
        ("background", rest, 1.0), ("look", POSTERIOR.look, 1.0), ("noise", POSTERIOR.noise, 0.3),
    ):  # fmt: skip
        both = zip(np.ravel(part.mean), np.exp(np.ravel(part.log_std)), strict=True)
        total = sum(kl(stats.norm(m, s), stats.norm(0, spread)) for m, s in both)
        np.testing.assert_allclose(costs[name], total, rtol=1e-6)


def test_light_is_the_renderers():
    """Emitters drawn from the table are those that the exact renderer draws, to the table's error."""
    xyz = jnp.array([[0.83, 0.92, 0.1], [1.7, 1.2, 0.25]])
    photons = jnp.array([900.0, 400.0])
    light, ambiguity = draw_emitters(MODEL, xyz, photons, jnp.ones(2), SHAPE)
    exact = render_frame(PSF, make_emitters(xyz, photons), SHAPE)
    np.testing.assert_allclose(light, exact, atol=2e-3 * float(exact.max()))
    assert float(ambiguity.max()) == 0


def test_expectation_over_presence_is_exact():
    """The mean squared residual over all subsets of present emitters equals that of the mean plus the ambiguity."""
    xyz = jnp.array([[0.8, 0.9, 0.1], [1.1, 1.0, 0.2], [1.7, 1.2, 0.25]])
    photons, p = jnp.array([900.0, 400.0, 600.0]), np.array([0.7, 0.2, 0.95])
    mean, ambiguity = draw_emitters(MODEL, xyz, photons, jnp.asarray(p), SHAPE)
    frame = jax.random.normal(jax.random.key(0), SHAPE) * 5 + 10
    total = 0.0
    for on in itertools.product([0, 1], repeat=3):
        weight = np.prod([a if b else 1 - a for a, b in zip(p, on, strict=True)])
        light, _ = draw_emitters(MODEL, xyz, photons, jnp.asarray(on, float), SHAPE)
        total = total + weight * (frame - light) ** 2
    np.testing.assert_allclose((frame - mean) ** 2 + ambiguity, total, rtol=1e-9, atol=1e-9)


def test_variance_is_the_cameras():
    """Noise of the camera's own samples, converted to photons, has the stated variance (100 000 readings, 1.5 %)."""
    camera = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=3.0, quantum_efficiency=0.8)
    sample = adu_to_photons(camera, sample_camera(jax.random.key(0), camera, jnp.full((100_000,), 25.0)))
    np.testing.assert_allclose(photon_variance(camera, jnp.asarray(25.0)), sample.var(), rtol=0.015)


def test_likelihood_is_a_sum_of_normal_laws():
    """Against scipy: means are rates, variances those of `photon_variance` with the movie's gain and read scale."""
    flat = jnp.ones(SHAPE)
    parts = Components(3 * flat, 2 * flat, 20 * flat, 0 * flat, 1.5 * flat)
    frame = 25 + 5 * jax.random.normal(jax.random.key(1), SHAPE)
    std = np.sqrt(np.exp(0.04) * 25 + 1.5 * 4.0)
    expected = stats.norm(25, std).logpdf(np.asarray(frame)).sum()
    np.testing.assert_allclose(log_likelihood(MODEL, MOVIE, frame, parts), expected, rtol=1e-9)


@pytest.mark.slow
def test_gradients_of_the_bound_against_differences():
    """Every leaf of the posterior and of the movie's numbers: directional derivative against central differences."""
    frame = compose(MODEL, VARIABLES, MOVIE, posterior_mean(MODEL, POSTERIOR), SHAPE).rate + 3.0
    key = jax.random.key(3)

    @jax.jit
    def loss(both):
        return frame_loss(key, MODEL, VARIABLES, both[1], frame, both[0], KlWeights())[0]

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


def test_branches_that_are_off_cost_and_draw_nothing():
    """Without haze, background latent and noise latent: no haze, a flat level, the camera's noise, no divergence."""
    bare = dataclasses.replace(MODEL, branches=Branches(haze=False, background=False, noise=False))
    parts = compose(bare, VARIABLES, MOVIE, posterior_mean(bare, POSTERIOR), SHAPE)
    assert float(parts.haze.max()) == 0 and float(parts.background.std()) == 0
    np.testing.assert_allclose(parts.background, 20.0)
    np.testing.assert_allclose(parts.read_scale, 1.0)
    costs = divergences(bare, MOVIE, POSTERIOR, SHAPE)
    assert all(float(costs[name]) == 0 for name in ("haze", "look", "background", "noise"))


def test_a_frame_of_two_emitters_is_seen_as_two():
    """Proposals of a clean frame on a sloping background: two places to half a pixel, nothing else beyond 5 sigma."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    emitters = make_emitters([[0.83, 0.92, 0.1], [1.72, 1.65, 0.1]], [1500.0, 1200.0])
    frame = render_frame(PSF, emitters, SHAPE) + jnp.asarray(20.0 + 0.5 * x + 0.3 * y)
    proposals = see(MODEL, frame).proposals
    np.testing.assert_allclose(proposals.xyz_um[:2, :2], [[0.83, 0.92], [1.72, 1.65]], atol=0.05)
    assert float(proposals.significance[2]) < 5


def test_sampling_is_reproducible_and_spreads_as_stated():
    """Same key, same draw; 4000 draws of x and log photons have the posterior's mean and width (statistics, 5 %)."""
    draws = jax.vmap(lambda key: sample_posterior(key, MODEL, POSTERIOR))(jax.random.split(jax.random.key(0), 4000))
    again = sample_posterior(jax.random.split(jax.random.key(0), 4000)[7], MODEL, POSTERIOR)
    np.testing.assert_array_equal(draws.xyz_um[7], again.xyz_um)
    np.testing.assert_allclose(draws.xyz_um[:, 0, 0].std(), 0.01, rtol=0.05)
    np.testing.assert_allclose(jnp.log(draws.photons[:, 1]).mean(), 7.0, atol=0.005)


def test_expected_light_is_the_mean_of_a_log_normal_level():
    """Where log levels are normal (networks that add nothing yet), exp(m + s^2 / 2) is expected, not exp(m): 4000
    draws, 1 % (a standard error of 0.2 % in the mean over cells). The posterior's middle would be 22 % too dark."""
    cells = (*CONFIG.grid(SHAPE), CONFIG.background_channels)
    wide = dataclasses.replace(POSTERIOR, background=Normal(jnp.full(cells, 0.2), jnp.full(cells, np.log(0.7))))
    fresh = init_dlp(jax.random.key(0), CONFIG)
    parts = expected_parts(jax.random.key(1), MODEL, fresh, MOVIE, wide, SHAPE, draws=4000)
    np.testing.assert_allclose(parts.background.mean(), 20.0 * np.exp(0.2 + 0.7**2 / 2), rtol=0.01)
    dark = compose(MODEL, fresh, MOVIE, posterior_mean(MODEL, wide), SHAPE).background
    np.testing.assert_allclose(dark, 20.0 * np.exp(0.2), rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_loss_falls_when_the_latents_are_the_truth(shift):
    """The frame that a posterior makes is likelier under it than under one moved by four pixels."""
    frame = compose(MODEL, VARIABLES, MOVIE, posterior_mean(MODEL, POSTERIOR), SHAPE).rate
    moved = dataclasses.replace(POSTERIOR, anchor_um=POSTERIOR.anchor_um + shift)
    loss = frame_loss(jax.random.key(0), MODEL, VARIABLES, MOVIE, frame, moved, KlWeights())[0]
    best = frame_loss(jax.random.key(0), MODEL, VARIABLES, MOVIE, frame, POSTERIOR, KlWeights())[0]
    assert loss > best + 50 if shift else loss == best
