"""Emitters that stay on: times against the stationary process simulated step by step, and the frames they light."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from made.tiny import TINY, tiny_run
from training import ConfigError, build, decode_frames, evaluate, init_state, make_scene, make_train_step, stream
from training.blinking import on_times
from training.config import SceneConfig
from training.scenes import frame_keys, sample_frames, sample_scene

N = 20_000
times = jax.jit(on_times, static_argnums=(1, 3))


def history(lifetime, n=400_000):
    """On-times in the three frames (n, 3) of every emitter that appears between -40 and 2: plain numpy."""
    rng = np.random.default_rng(7)
    start = rng.uniform(-40, 2, n)
    end = start + rng.exponential(lifetime, n)
    edges = np.arange(-1.0, 3.0)
    on = np.minimum(end[:, None], edges[1:]) - np.maximum(start[:, None], edges[:-1])
    return np.maximum(on, 0)


@pytest.mark.parametrize("lifetime", [0.5, 3.0])
def test_on_times_are_those_of_a_stationary_process(lifetime):
    """Means, whole frames, correlations of those on in the middle, before and after it, to 5 standard errors."""
    on = history(lifetime)
    middle = on[:, 1] > 0
    groups = {"middle": middle, "before": ~middle & (on[:, 0] > 0), "after": ~middle & (on[:, 2] > 0)}
    for which, chosen in groups.items():
        drawn, true = np.asarray(times(jax.random.key(1), N, lifetime, which)), on[chosen]
        for measure in (lambda t: t, lambda t: t == 1, lambda t: t[:, :2] * t[:, 1:], lambda t: t > 0):
            a, b = measure(drawn).astype(float), measure(true).astype(float)
            error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b)) + 1e-9
            assert (np.abs(a.mean(0) - b.mean(0)) < 5 * error).all(), which
    # how many are over before it, for each that is on in it: what `blink` takes
    np.testing.assert_allclose(groups["before"].sum() / middle.sum(), 1 / (1 + lifetime), rtol=0.05)


def test_no_lifetime_means_the_own_frame():
    """Lifetime 0: the middle's emitters light the middle frame whole, the others theirs."""
    for which, expected in (("before", [1, 0, 0]), ("middle", [0, 1, 0]), ("after", [0, 0, 1])):
        np.testing.assert_array_equal(times(jax.random.key(0), 4, 0.0, which), [expected] * 4)


def draw(config, n_frames, n=500):
    scene = make_scene(config, 0.1, n_frames=n_frames)
    keys = jax.random.split(jax.random.key(3), n)
    return scene, keys, jax.jit(jax.vmap(lambda key: sample_frames(key, scene)))(keys)


def test_the_truth_is_the_middle_frame_s():
    """Positions are `sample_scene`'s, photons those of the time on; one frame is the middle of three."""
    config = SceneConfig(count_min=2, count_max=4, lifetime_frames=2.0)
    scene, keys, (shown, truth) = draw(config, 3)
    assert shown.photons.shape == (500, 3, 12) and truth.photons.shape == (500, 4)
    still = jax.jit(jax.vmap(lambda key: sample_scene(key, scene)))(keys)
    np.testing.assert_allclose(truth.xyz_um, still.xyz_um, rtol=1e-14)
    np.testing.assert_array_equal(truth.valid, still.valid)
    np.testing.assert_array_equal(truth.photons, shown.photons[:, 1, :4])
    assert (truth.photons <= still.photons * (1 + 1e-9)).all() and (truth.photons > 0)[np.asarray(truth.valid)].all()
    assert not np.asarray(shown.valid[:, 1, 4:]).any()  # neighbours' emitters are dark in the middle
    np.testing.assert_allclose(draw(config, 1)[2][1].photons, truth.photons, rtol=1e-14)


def test_emitters_too_dim_to_ask_for_are_shown_and_not_asked_for():
    """`truth_photons_min` takes them out of the truth, not out of the frame."""
    config = SceneConfig(count_min=4, count_max=4, lifetime_frames=1.0, truth_photons_min=9000.0)
    _, _, (shown, truth) = draw(config, 1)
    lit = np.asarray(shown.valid[:, 0])
    assert lit.all() and 0.2 < np.asarray(truth.valid).mean() < 0.9
    np.testing.assert_array_equal(truth.valid, lit & (np.asarray(shown.photons[:, 0]) >= 9000))


CONTEXT = tiny_run(
    psf={**TINY["psf"], "kind": "scalar"},
    decoder={**TINY["decoder"], "frames": 3},
    scene={**TINY["scene"], "lifetime_frames": 2.0, "count_min": 2},
)


def test_the_middle_of_three_frames_is_what_the_truth_is_about():
    """Three frames with noise of their own; the middle one's light is that of the truth, neighbours share it."""
    parts = build(CONTEXT)
    frames = jax.jit(lambda k: stream(k, parts.psf, parts.scene, parts.background, parts.camera))(
        frame_keys(jax.random.key(1), 0, 48)
    )
    assert frames.images.shape == (48, 16, 16, 3) and frames.background.shape == (48, 16, 16)
    light = np.asarray((frames.middle - frames.background).sum((1, 2)))
    truth = np.asarray(jnp.where(frames.emitters.valid, frames.emitters.photons, 0).sum(1))
    assert np.corrcoef(light, truth)[0, 1] > 0.9
    before, after = (np.asarray(frames.images[..., k].sum((1, 2))) for k in (0, 2))
    assert 0.2 < np.corrcoef(light, before)[0, 1] < 0.95 and 0.2 < np.corrcoef(light, after)[0, 1] < 0.95


@pytest.mark.slow
def test_a_decoder_of_three_frames_trains_and_reads_a_movie():
    """A step, a test on fresh scenes, and a movie whose end frames are repeated: a map for each frame."""
    parts = build(CONTEXT)
    state, metrics = make_train_step(parts)(init_state(parts))
    assert np.isfinite(float(metrics["loss"]))
    _, truth = evaluate(parts, state, CONTEXT.scene, n_frames=3, batch=2)
    assert truth.x_um.size > 0
    movie = np.random.default_rng(0).poisson(50.0, (4, 16, 16)).astype(float)
    maps = decode_frames(parts.net, state.variables, jnp.asarray(np.pad(movie, ((1, 1), (0, 0), (0, 0)), "edge")))
    assert maps.logit.shape == (4, 16, 16)
    one = nets.apply(parts.net, state.variables, jnp.asarray(movie[:3]).transpose(1, 2, 0)[None], train=False)[0]
    np.testing.assert_allclose(maps.z_um[1], one.z_um[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scene": {"lifetime_frames": -1.0}}, "scene.lifetime_frames = -1.0"),
        ({"scene": {"truth_photons_min": -1.0}}, "scene.truth_photons_min = -1.0"),
        ({"decoder": {"frames": 2}}, "decoder.frames = 2 must be 1 or 3"),
        ({"decoder": {"frames": 3, "kind": "volume"}}, "belong to kind 'list', not 'volume'"),
        ({"decoder": {"kind": "lisst"}}, "decoder.kind = 'lisst' must be one of 'list', .* did you mean 'list'"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(changes, message):
    """Named before any work."""
    with pytest.raises(ConfigError, match=message):
        build(tiny_run(**changes))
