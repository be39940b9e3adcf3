"""The bound among neighbours: two emitters by brute force, its limits, its average, its gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.bounds import neighbours as fisher_density
from optics.bounds.fisher import fisher_matrix
from optics.bounds.neighbours import Neighbours, density_bound_um, density_bounds_um
from optics.psf import image_and_slopes, make_psf, pupil_fields
from optics.pytree import replace
from optics.render import render_frame
from optics.types import Emitters, OpticsError, make_camera, make_microscope

XYZ_UM = jnp.array([0.03, -0.02, 0.25])
PHOTONS, BACKGROUND, PRIOR_UM = 900.0, 7.0, 0.4
Z_RANGE_UM = (0.0, 0.5)
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
    return make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=11, pupil_px=20, pixel="centre")


@partial(jax.jit, static_argnames=("n_scenes", "n_neighbours", "n_stamps"))
def bounds(psf, density, key=KEY, photons_range=None, camera=None, n_scenes=48, n_neighbours=5, n_stamps=8):
    return density_bounds_um(
        key,
        psf,
        XYZ_UM,
        PHOTONS,
        BACKGROUND,
        density,
        z_range_um=Z_RANGE_UM,
        n_scenes=n_scenes,
        n_neighbours=n_neighbours,
        photons_range=photons_range,
        camera=camera,
        prior_um=PRIOR_UM,
        n_stamps=n_stamps,
    )


@partial(jax.jit, static_argnames="n_stamps")
def draw_stamps(psf, n_stamps):
    key = jax.random.split(KEY)[0]
    return fisher_density.draw_stamps(key, psf, pupil_fields(psf), Z_RANGE_UM, n_stamps, jnp.float64)


def drawn(psf, density, brightness, count, n_stamps=4):
    """The stamps and scenes that `density_bounds_um` draws from KEY."""
    stamps, key = draw_stamps(psf, n_stamps), jax.random.split(KEY)[1]
    around = Neighbours(density, n_scenes=count[0], n_neighbours=count[1])
    return stamps, fisher_density.draw_neighbourhoods(key, psf, stamps, XYZ_UM, around, brightness)


def effective(std):
    return np.exp(np.log(std).mean(axis=0))


def alone(psf, background, camera=None):
    """The bound of a single emitter whose position is known to PRIOR_UM beforehand."""
    matrix = np.array(jax.jit(fisher_matrix)(psf, XYZ_UM, PHOTONS, background, camera))
    matrix[:3, :3] += np.eye(3) / PRIOR_UM**2
    return np.sqrt(np.diag(np.linalg.inv(matrix)))[:3]


def two_emitters(values, middle):
    both = jnp.stack([values[:3], values[4:7]]) + middle[None]
    return Emitters(xyz_um=both, photons=values[jnp.array([3, 7])], valid=jnp.ones(2, bool))


def test_two_emitters_equal_a_brute_force_matrix(psf):
    """All nine unknowns by central differences of a rendered frame, numpy's inverse: the bound to 1e-6."""
    density, brightness = 3.0, (600.0, 1500.0)
    sizes = {"n_scenes": 1, "n_neighbours": 1, "n_stamps": 1}
    camera = make_camera(read_noise_e=1.2)
    stamps, scene = drawn(psf, density, brightness, (1, 1), n_stamps=1)
    pixel, size = float(psf.microscope.pixel_um), psf.image_px
    key_depth = jax.random.split(jax.random.split(KEY)[0])[0]
    depth = Z_RANGE_UM[1] * float(jax.random.uniform(key_depth, (1,), jnp.float64)[0])
    neighbour = np.array([*stamps.offset_um[0] + pixel * (size - scene.corner_px[0, 0]), depth])
    assert 1e-3 < np.hypot(*(neighbour[:2] - XYZ_UM[:2])) < 5 * pixel, "a neighbour that matters"

    middle = np.array([size * pixel / 2, size * pixel / 2, 0.0])

    @jax.jit
    def frame(values):
        emitters = two_emitters(values, middle)
        return render_frame(psf, emitters, (size, size)) + values[8] + scene.beyond[0]

    at = np.array([*XYZ_UM, PHOTONS, *neighbour, float(scene.photons[0, 0]), BACKGROUND])
    slopes = []
    for j, step in enumerate([5e-4, 5e-4, 5e-4, 1.0, 5e-4, 5e-4, 5e-4, 1.0, 0.1]):
        d = np.eye(9)[j] * step
        near, far = (np.asarray(frame(at + k * d)) - np.asarray(frame(at - k * d)) for k in (1, 2))
        slopes.append((8 * near - far) / (12 * step))
    variance = np.asarray(frame(at)) + 1.2**2
    matrix = np.array([[np.sum(a * b / variance) for a in slopes] for b in slopes])
    known = 1 / PRIOR_UM**2
    matrix += np.diag([known, known, known, 0, known, known, known, 1 / float(scene.photons[0, 0]) ** 2, 0])
    truth = np.sqrt(np.diag(np.linalg.inv(matrix)))[:3]
    ours = bounds(psf, density, photons_range=brightness, camera=camera, **sizes)[0]
    np.testing.assert_allclose(ours, truth, rtol=1e-6)
    assert (truth > 1.02 * alone(psf, BACKGROUND, camera)).all()


def test_no_neighbours_gives_the_bound_of_a_single_emitter(psf):
    """Density 0, with an EMCCD: the single emitter's bound with the prior, to 1e-8, in every scene."""
    camera = make_camera(kind="emccd", em_gain=100.0, read_noise_e=30.0)
    std = bounds(psf, 0.0, camera=camera)
    np.testing.assert_allclose(std, np.broadcast_to(alone(psf, BACKGROUND, camera), std.shape), rtol=1e-8)


def test_neighbours_beyond_capacity_are_an_even_background(psf):
    """With no slot the mean light comes as background: density x photons x pixel area; with slots, the rest of it."""
    density, light = 0.8, 0.8 * PHOTONS * float(psf.microscope.pixel_um) ** 2
    brightness = (PHOTONS, PHOTONS)
    none = drawn(psf, density, brightness, (1, 0))[1]
    np.testing.assert_allclose(none.beyond, light, rtol=1e-4)  # a clear pupil without loss
    stamps, few = drawn(psf, density, brightness, (400, 6))
    size, middle = psf.image_px, psf.image_px // 2
    rows, columns = few.corner_px[..., 1] + middle, few.corner_px[..., 0] + middle
    seen = PHOTONS * np.asarray(stamps.padded)[few.stamp, 0, rows, columns].sum(axis=1)
    assert size == 11 and (few.beyond >= 0).all()
    assert float((seen + few.beyond).mean()) == pytest.approx(light, abs=4 * seen.std() / 20)
    assert float(few.beyond.mean()) < 0.3 * light


def test_bound_grows_with_density_and_stays_below_the_prior(psf):
    """More neighbours, less precision, on every axis, up to emitters on top of each other."""
    by_density = np.array([effective(bounds(psf, density)) for density in (0.0, 0.3, 1.0, 3.0, 10.0, 300.0)])
    assert (np.diff(by_density, axis=0) > 0).all()
    assert np.isfinite(by_density).all() and (by_density < PRIOR_UM).all()


def test_nearest_neighbours_of_a_poisson_process(psf):
    """Drawn counts within 0.4 um: mean and variance density x area; depths and brightness fill their ranges."""
    density, radius, count = 2.0, 0.4, (4000, 12)
    stamps, scenes = drawn(psf, density, (500.0, 700.0), count)
    shift = (psf.image_px - np.asarray(scenes.corner_px)) * float(psf.microscope.pixel_um)
    place = shift + np.asarray(stamps.offset_um)[np.asarray(scenes.stamp)] - np.asarray(XYZ_UM[:2])
    within = (np.hypot(place[..., 0], place[..., 1]) < radius).sum(axis=1)
    expected = density * np.pi * radius**2
    assert within.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / count[0]))
    assert within.var() == pytest.approx(expected, rel=0.15)
    assert 500 <= float(scenes.photons.min()) < 510 and 690 < float(scenes.photons.max()) <= 700


def test_effective_bound_and_its_gradient(psf):
    """The geometric mean over scenes; its gradient by an aberration agrees with differences to 1e-4."""

    def objective(rms_um):
        bent = replace(psf, zernike_um=psf.zernike_um.at[5].set(rms_um))
        sizes = {"n_scenes": 8, "n_neighbours": 2, "n_stamps": 4, "z_range_um": Z_RANGE_UM}
        std = density_bound_um(KEY, bent, XYZ_UM, PHOTONS, BACKGROUND, 1.0, **sizes)
        return std.sum(), density_bounds_um(KEY, bent, XYZ_UM, PHOTONS, BACKGROUND, 1.0, **sizes)

    both = jax.jit(jax.value_and_grad(objective, has_aux=True))  # one program for the slope and for the differences
    (value, by_scene), slope = both(0.06)
    above, below = (both(0.06 + step)[0][0] for step in (5e-4, -5e-4))
    assert float(slope) == pytest.approx(float(above - below) / 0.001, rel=1e-4)
    assert float(value) == pytest.approx(effective(by_scene).sum(), rel=1e-12)


def test_single_precision_holds_among_coincident_emitters(psf):
    """The same scenes in float32 and float64 agree to 1 % at a density where neighbours lie on each other."""
    exact = drawn(psf, 30.0, (PHOTONS, PHOTONS), (12, 5))

    @partial(jax.jit, static_argnames="dtype")
    def by_scene(psf, drawn, dtype):
        def cast(leaf):
            return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        psf, (stamps, scenes), point = jax.tree.map(cast, (psf, drawn, XYZ_UM))
        target = image_and_slopes(psf, pupil_fields(psf), point)
        photons, background, prior = (jnp.asarray(value, dtype) for value in (PHOTONS, BACKGROUND, PRIOR_UM))
        return jax.vmap(
            lambda scene: fisher_density.neighbourhood_bound(
                psf, target, stamps, scene, photons, background, None, prior
            )
        )(scenes)

    single = by_scene(psf, exact, jnp.float32)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, by_scene(psf, exact, jnp.float64), rtol=0.01)


def test_neighbours_as_a_group_or_as_keywords(psf):
    """The same scenes; a keyword beside the group replaces its field."""

    def common(density, **more):
        return density_bounds_um(KEY, psf, XYZ_UM, PHOTONS, BACKGROUND, density, z_range_um=Z_RANGE_UM, **more)

    group = Neighbours(0.8, prior_um=PRIOR_UM, n_scenes=12, n_neighbours=3, n_stamps=8)
    by_group, by_field = jax.jit(lambda: (common(group), common(replace(group, n_scenes=3), n_scenes=12)))()
    np.testing.assert_array_equal(by_group, by_field)
    # another program, whose constants are arguments: rounding alone
    np.testing.assert_allclose(by_group, bounds(psf, 0.8, n_scenes=12, n_neighbours=3), rtol=1e-9)


@pytest.mark.parametrize("sizes", [{"n_scenes": 0}, {"n_stamps": 0}, {"n_neighbours": -1}])
def test_sizes_that_cannot_be(psf, sizes):
    """No scene, no stamp, a negative capacity: one line."""
    with pytest.raises(OpticsError, match="must be at least 1"):
        bounds(psf, 1.0, **sizes)
