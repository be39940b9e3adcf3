"""The search for emitters in crowded frames: how often noise looks like one, what is found, what has no slot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from optics.camera import sample_camera
from optics.fits.crowd import make_crowd_model, make_frame
from optics.fits.crowd_search import make_bank, propose, significance, significance_level
from optics.fits.explain import search_frames
from optics.fits.smooth import even
from optics.psf import make_psf
from optics.psf_table import evaluate, tabulate_psf
from optics.pytree import replace
from optics.render import render_frames
from optics.types import OpticsError, make_camera, make_emitters, make_microscope

SHAPE, PIXEL_UM, Z_RANGE = (36, 36), 0.11, (-0.4, 0.4)
CAMERA = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.2)


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    return make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=13, pupil_px=24, pixel="centre")


@pytest.fixture(scope="module")
def table(psf):
    return tabulate_psf(psf, Z_RANGE, reach_px=1.0, tolerance=1e-3)


@pytest.fixture(scope="module")
def model(table):
    return make_crowd_model(table, CAMERA, PIXEL_UM, SHAPE)


def record(key, expected):
    keys = jax.random.split(key, len(expected))
    adu = jax.vmap(lambda k, mean: sample_camera(k, CAMERA, mean))(keys, jnp.asarray(expected))
    return jax.vmap(lambda a: make_frame(CAMERA, a, jnp.isfinite(a)))(adu)


def test_maxima_of_noise_are_as_frequent_as_the_level_says(table):
    """White noise: maxima above the level of 0.02 per um^2 within a factor 1.5 of that, some 60 of them counted.

    The count is made here, by numpy, on pixels and depths twice and four times finer, where the field is as good as
    continuous. The formula holds in the limit of high levels; this one is 3.6.
    """
    rate, size, n_fields, finer = 0.02, 96, 24, 2
    level = significance_level(table, rate)
    depth = np.linspace(*Z_RANGE, 4 * table.degrees[1])
    points = jnp.asarray(np.stack([0 * depth, 0 * depth, depth], axis=1))
    shapes = np.asarray(jax.vmap(lambda p: evaluate(table, p)[0])(points)).reshape(len(depth), 13, 13)
    shapes = shapes - shapes.mean(axis=(1, 2), keepdims=True)
    shapes = shapes / np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    kernels, rng, found, half = np.fft.fft2(shapes, (size, size)).conj(), np.random.default_rng(1), 0, size // 2
    for _ in range(n_fields):
        whole = np.fft.fft2(rng.normal(size=(size, size))) * kernels
        spectrum = np.zeros((len(depth), finer * size, finer * size), complex)
        for rows in (slice(0, half), slice(-half, None)):
            for columns in (slice(0, half), slice(-half, None)):
                spectrum[:, rows, columns] = whole[:, rows, columns]
        field = np.fft.ifft2(spectrum).real * finer**2
        top = ndimage.maximum_filter(field, 3, mode=("nearest", "wrap", "wrap"))
        found += int(((field == top) & (field > level)).sum())
    ratio = found / (n_fields * (size * PIXEL_UM) ** 2) / rate
    assert 1 / 1.5 < ratio < 1.5 and found > 40


def test_significance_is_that_of_the_light_there(psf, table, model):
    """On the pixel's centre: photons are the emitter's, and the map is photons over their conditional deviation."""
    middle = np.array([(18 + 0.5) * PIXEL_UM, (17 + 0.5) * PIXEL_UM, 0.0])
    emitters = jax.tree.map(lambda leaf: leaf[None], make_emitters(middle[None], np.array([800.0])))
    light = np.asarray(jax.jit(lambda e: render_frames(psf, e, SHAPE))(emitters))[0]
    frame = make_frame(CAMERA, 100 + 2 * jnp.asarray(light + 20), jnp.ones(SHAPE, bool))
    bank = make_bank(table, SHAPE, margin_px=0)
    level = even(model.surface, 20.0)
    strength, kind, photons = jax.jit(significance)(model, bank, frame, jnp.full(SHAPE, 20.0), level, jnp.asarray(0.0))
    assert np.unravel_index(np.argmax(strength), SHAPE) == (17, 18)
    # the best of the bank's depths may lie half a step beside the emitter's
    assert abs(float(bank.depth[kind[17, 18]])) <= float(bank.depth[1] - bank.depth[0])
    window = light[11:24, 12:25] / 800.0
    shape = window - window.mean()
    std = np.sqrt((20 + 1.2**2) / np.sum(shape**2))
    assert float(photons[17, 18]) == pytest.approx(800, rel=0.02)
    assert float(strength[17, 18]) == pytest.approx(800 * np.sum(shape * window) / np.sum(shape**2) / std, rel=0.03)


def test_significance_knows_that_the_light_of_others_may_be_off(psf, table):
    """An emitter beside a bright one, whose light may be off by a tenth: by the sums over pixels, made here by numpy.

    The map is the largest, over depths, of sum(w f r) / sqrt(sum(w f^2)) with w = 1 / (v + (0.1 L)^2): L the light of
    the bright one, which is explained already, r the other's light, f its image less the mean. Where an emitter is
    known to be brighter than what is seen, there is no candidate.
    """
    model = make_crowd_model(table, CAMERA, PIXEL_UM, SHAPE, model_error=0.1)
    place, other = (np.array([column + 0.5, 17 + 0.5, 0.0]) * PIXEL_UM for column in (18, 23))
    draw = jax.jit(lambda e: render_frames(psf, e, SHAPE))
    each = [make_emitters(xyz[None], np.array([light])) for xyz, light in ((place, 800.0), (other, 9000.0))]
    own, bright = np.asarray(draw(jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)))
    frame = make_frame(CAMERA, 100 + 2 * jnp.asarray(own + bright + 20), jnp.ones(SHAPE, bool))
    bank = make_bank(table, SHAPE, margin_px=0)
    arguments = jnp.asarray(bright + 20), even(model.surface, 20.0), jnp.asarray(0.0)
    strength = np.asarray(jax.jit(significance)(model, bank, frame, *arguments)[0])
    points = np.outer(bank.depth, [0.0, 0.0, 1.0])
    images = np.asarray(jax.vmap(lambda point: evaluate(table, point)[0])(jnp.asarray(points))).reshape(-1, 13, 13)
    shapes = images - images.mean(axis=(1, 2), keepdims=True)
    weight = (1 / (bright + 20 + 1.2**2 + (0.1 * bright) ** 2))[11:24, 12:25]
    by_depth = np.sum(weight * shapes * own[11:24, 12:25], (1, 2)) / np.sqrt(np.sum(weight * shapes**2, (1, 2)))
    assert strength[17, 18] == pytest.approx(by_depth.max(), rel=0.03)
    found = jax.jit(propose)(model, bank, frame, *arguments)
    assert np.hypot(*(np.asarray(found.xyz_um[0, :2]) - place[:2])) < 0.1
    assert float(found.strength[0]) > float(found.level)
    dim = jax.jit(propose)(model, replace(bank, faintest=jnp.asarray(2000.0)), frame, *arguments)
    assert not np.any(dim.strength)


@pytest.fixture(scope="module")
def crowded(psf):
    """Six frames of eight emitters, 0.5 per um^2, and an empty one, over a slope of background."""
    rng = np.random.default_rng(5)
    low, high = [0.4, 0.4, -0.35], [SHAPE[1] * PIXEL_UM - 0.4, SHAPE[0] * PIXEL_UM - 0.4, 0.35]
    xyz = rng.uniform(low, high, (7, 8, 3))
    photons = rng.uniform(3000, 8000, (7, 8))
    valid = np.ones((7, 8), bool)
    valid[6] = False
    emitters = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(make_emitters(*part) for part in zip(xyz, photons, valid, strict=True))
    )
    light = np.asarray(jax.jit(lambda e: render_frames(psf, e, SHAPE))(emitters))
    return emitters, light + 10 + 0.3 * np.arange(SHAPE[1])


def pairs(found, emitters, k):
    """True and found emitters of frame k, and how many lie within 100 nm across and 200 nm in depth of each other."""
    true = np.asarray(emitters.xyz_um[k])[np.asarray(emitters.valid[k])]
    got = found[k].crowd.xyz_um
    apart = np.abs(true[:, None] - got[None]) / [0.1, 0.1, 0.2]
    return len(true), len(got), int((apart.max(axis=2, initial=0) < 1).any(axis=1).sum()) if len(got) else 0


def test_crowded_frames_are_explained(table, model, crowded):
    """At least 46 of 48 emitters are found, at most two of those reported are none, the empty frame stays empty."""
    emitters, expected = crowded
    found = search_frames(model, make_bank(table, SHAPE), record(jax.random.key(1), expected))
    counts = np.array([pairs(found, emitters, k) for k in range(7)])
    assert counts[:6, 2].sum() >= 46 and counts[:, 1].sum() - counts[:, 2].sum() <= 2
    assert counts[6, 1] == 0
    # the residual is noise: half a unit of misfit a pixel
    misfits = np.array([one.crowd.misfit for one in found])
    assert np.abs(2 * misfits / (SHAPE[0] * SHAPE[1]) - 1).max() < 0.15


def test_a_search_goes_on_from_a_list(table, model, crowded):
    """From 5 of 8 emitters 40 nm off and one that is none the same explanation is found as from nothing."""
    emitters, expected = crowded
    frames = record(jax.random.key(1), expected[:1])
    bank, rng = make_bank(table, SHAPE), np.random.default_rng(3)
    nothing = search_frames(model, bank, frames)[0]
    xyz = np.concatenate([np.asarray(emitters.xyz_um[0, :5]) + rng.normal(0, 0.04, (5, 3)), [[0.6, 3.4, 0.0]]])
    listed = search_frames(model, bank, frames, [(xyz, np.full(6, 2000.0))])[0]
    assert abs(listed.crowd.misfit - nothing.crowd.misfit) < 1 and len(listed.std) == len(nothing.std)
    assert listed.rounds <= nothing.rounds


@pytest.mark.slow
def test_frames_served_together_are_those_served_alone(table, model, crowded):
    """Three frames at once, as on an accelerator: the same emitters within a thousandth of a pixel."""
    _, expected = crowded
    frames, bank = record(jax.random.key(1), expected[4:]), make_bank(table, SHAPE)
    alone, both = (search_frames(model, bank, frames, together=n) for n in (1, 3))
    for one, other in zip(alone, both, strict=True):
        assert one.crowd.xyz_um.shape == other.crowd.xyz_um.shape
        assert np.allclose(one.crowd.xyz_um, other.crowd.xyz_um, rtol=0, atol=1e-3 * PIXEL_UM)


def test_a_rate_must_be_a_number(table):
    """The message names the argument."""
    with pytest.raises(OpticsError, match="false_per_um2 = 0"):
        make_bank(table, SHAPE, 0.0)
