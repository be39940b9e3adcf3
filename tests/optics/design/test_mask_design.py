"""Masks by design: the objective against differences and symmetries, the search against its promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.bounds.fisher import crlb_std_um
from optics.design import at_full_sampling, design_mask, random_start, refocus
from optics.design.target import Neighbours, make_target, objective_um, target_bounds_um
from optics.masks.library import zernike
from optics.masks.limits import MaskLimits, largest_step_um, path_range_um
from optics.masks.params import PixelPhase, ZernikePhase
from optics.psf import make_psf
from optics.pytree import replace
from optics.types import OpticsError, make_microscope

KEY = jax.random.key(0)
FAMILY = ZernikePhase(n_modes=10, size=96, design_wavelength_um=0.6)
RANGE_UM = (-0.5, 0.6)
SEARCH = {"starts": 1, "screening": 3, "iterations": 4}
objective_of = jax.jit(objective_um)
bounds_of = jax.jit(target_bounds_um)


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
    bent = zernike([(2, 2, 0.07), (3, 1, 0.03)], size=96, design_wavelength_um=0.6)
    return make_psf(scope, mask=bent, image_px=11, pupil_px=20, pixel="centre")


def target(**more):
    return make_target(RANGE_UM, **{"photons": 2000, "background": 8, "n_depths": 3, **more})


def test_objective_is_the_mean_of_the_bounds(psf):
    """Mean over depths and axes of crlb_std_um, computed one by one; other powers and weights by numpy."""
    one = jax.jit(crlb_std_um)
    depths = np.linspace(*RANGE_UM, 3)
    bounds = np.array([one(psf, jnp.array([0.0, 0.0, z]), 2000.0, 8.0) for z in depths])
    np.testing.assert_allclose(bounds_of(KEY, psf, target()), bounds, rtol=1e-9)
    assert float(objective_of(KEY, psf, target())) == pytest.approx(bounds.mean(), rel=1e-9)
    weighted = np.sqrt((bounds**2 @ [1, 1, 0.5]) / 2.5)
    squared = target(axis_power=2.0, axis_weights=(1, 1, 0.5), over_depths="rms")
    assert float(objective_of(KEY, psf, squared)) == pytest.approx(np.sqrt(np.mean(weighted**2)), rel=1e-9)
    worst = bounds.mean(axis=1).max()
    assert worst * 3 ** (-1 / 16) <= float(objective_of(KEY, psf, target(over_depths="worst"))) <= worst


def test_objective_has_the_gradient_of_differences(psf):
    """By mask parameters and by focus, in float64: 1e-6 of the gradient's length."""
    goal = target()

    def value(x):
        scope = replace(psf.microscope, focus_um=x[-1])
        return objective_um(KEY, replace(psf, microscope=scope, mask=FAMILY.to_mask(x[:-1])), goal)

    value_of, slope_of = jax.jit(value), jax.jit(jax.grad(value))
    x = jnp.append(random_start(KEY, FAMILY), 0.1)
    slope = np.asarray(slope_of(x))
    direction = np.asarray(jax.random.normal(jax.random.key(1), x.shape))
    for along in (direction, np.eye(x.size)[-1], np.eye(x.size)[5]):
        h = 2e-4
        near, far = (value_of(x + k * h * along) - value_of(x - k * h * along) for k in (1, 2))
        assert abs((8 * near - far) / (12 * h) - slope @ along) < 1e-6 * np.linalg.norm(slope)


def test_piston_changes_nothing_and_a_quarter_turn_swaps_x_and_y(psf):
    goal = target()
    bounds = bounds_of(KEY, psf, goal)
    lifted = replace(psf, mask=replace(psf.mask, opd_um=psf.mask.opd_um + 0.123))
    np.testing.assert_allclose(bounds_of(KEY, lifted, goal), bounds, rtol=1e-8)
    turned = replace(psf, mask=replace(psf.mask, opd_um=jnp.rot90(psf.mask.opd_um)))
    # the pupil's quadrature is not the same in x and y: equal to its error
    fine, fine_turned = (replace(each, pupil_px=40) for each in (psf, turned))
    np.testing.assert_allclose(bounds_of(KEY, fine_turned, goal), bounds_of(KEY, fine, goal)[:, [1, 0, 2]], rtol=1e-4)


def test_the_pupil_of_a_search_never_has_fewer_samples_than_make_psf_takes(psf):
    full = at_full_sampling(psf, RANGE_UM)
    chosen = make_psf(psf.microscope, image_px=psf.image_px, z_range_um=RANGE_UM)
    assert (full.pupil_px, full.ring_px) == (chosen.pupil_px, chosen.ring_px)
    roomy = at_full_sampling(psf, RANGE_UM, room=1.5, focus_um=0.5)
    assert roomy.pupil_px > full.pupil_px


@pytest.mark.slow
def test_a_search_finds_less_and_the_same_again(psf):
    """The objective falls below every start's and the two calls agree to the last bit."""
    events = []
    first = design_mask(KEY, psf, FAMILY, target(), report=events.append, **{**SEARCH, "starts": 2})
    again = design_mask(KEY, psf, FAMILY, target(), **{**SEARCH, "starts": 2})
    assert first.finished and first.objective_um < 0.9 * min(start.history_um[0] for start in first.starts)
    np.testing.assert_array_equal(first.params, again.params)
    assert first.objective_um == again.objective_um == float(objective_of(KEY, first.psf, target()))
    assert {start.label for start in first.starts} == {"random 1", "random 2"}
    assert first.starts[-1].label == first.best_start
    assert [event.done for event in events] == list(range(1, len(events) + 1))
    assert sum(len(start.history_um) for start in first.starts) == len(events)
    low = float(psf.microscope.focus_um) - 0.55
    assert low <= float(first.psf.microscope.focus_um) <= low + 1.1
    still = design_mask(KEY, psf, FAMILY, target(), free_focus=False, **SEARCH)
    assert float(still.psf.microscope.focus_um) == float(psf.microscope.focus_um)


def test_a_search_keeps_to_its_limits(psf):
    """Step and range hold exactly in the mask that comes out; levels are whole."""
    free = design_mask(KEY, psf, FAMILY, target(), **SEARCH)
    step, span = 0.6 * float(largest_step_um(free.mask)), 0.7 * float(path_range_um(free.mask))
    held = design_mask(KEY, psf, FAMILY, target(), limits=MaskLimits(step_um=step, range_um=span), **SEARCH)
    assert float(largest_step_um(held.mask)) <= step and float(path_range_um(held.mask)) <= span
    coarse = MaskLimits(level_um=0.1, range_um=span)
    etched = design_mask(KEY, psf, FAMILY, target(), limits=coarse, **SEARCH)
    levels = np.unique(np.round(np.asarray(etched.mask.opd_um)[32:64, 32:64] / 0.1, 6))
    np.testing.assert_array_equal(levels, np.round(levels))
    assert float(path_range_um(etched.mask)) <= span
    np.testing.assert_allclose(etched.objective_um, float(objective_of(KEY, etched.psf, target())), rtol=1e-12)


@pytest.mark.slow
def test_pixels_and_adam(psf):
    """A mask of free cells, from one of the library, with Adam and a price on roughness."""
    begin = [("given", zernike([(2, 2, 0.05)], size=24))]
    search = {**SEARCH, "starts": 0, "iterations": 15, "smoothness": 0.05, "optimiser": "adam"}
    found = design_mask(KEY, psf, PixelPhase(size=16), target(), start_masks=begin, **search)
    assert found.best_start == "given" and found.objective_um < found.starts[0].history_um[0]


CROWD = Neighbours(density_per_um2=1.0, n_scenes=4, n_neighbours=2, n_stamps=3)


def test_neighbours_raise_the_bound(psf):
    crowded = bounds_of(KEY, psf, target(neighbours=CROWD))
    assert crowded.shape == (3, 3) and bool((crowded > bounds_of(KEY, psf, target())).all())


@pytest.mark.slow
def test_a_search_among_neighbours_lowers_the_bound_in_scenes_it_has_not_seen(psf):
    crowded = target(neighbours=CROWD)
    found = design_mask(KEY, psf, FAMILY, crowded, **{**SEARCH, "iterations": 12})
    key = jax.random.split(jax.random.split(KEY)[0], 1)[0]
    begun = replace(found.psf, mask=FAMILY.to_mask(random_start(key, FAMILY)))
    scenes = jax.random.key(7)
    assert float(objective_of(scenes, found.psf, crowded)) < float(objective_of(scenes, begun, crowded))


def test_refocus_finds_the_best_of_a_fine_scan(psf):
    """Against every focus of a scan in steps of 0.05 um, at the same samplings."""
    goal = target()
    found = refocus(KEY, psf, goal, 0.5)
    best = float(objective_of(KEY, found, goal))
    for focus_um in np.arange(-0.5, 0.51, 0.05):
        moved = replace(found, microscope=replace(psf.microscope, focus_um=jnp.asarray(focus_um)))
        assert best <= float(objective_of(KEY, moved, goal)) * (1 + 1e-4)
    assert -0.5 <= float(found.microscope.focus_um) <= 0.5


def test_an_interruption_keeps_the_best_so_far(psf):
    def stop_at(count):
        def report(event):
            if event.done == count:
                raise KeyboardInterrupt

        return report

    found = design_mask(KEY, psf, FAMILY, target(), report=stop_at(6), **SEARCH)
    assert not found.finished and found.best_start == "random 1"
    assert found.objective_um <= min(found.starts[0].history_um) * 1.02  # the search's pupil has more samples


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"z_range_um": (1.0, 0.0)}, "z_range_um"),
        ({"z_range_um": (0.0, 2000.0)}, "looks like nanometres"),
        ({"n_depths": 1}, "n_depths = 1 must be at least 2"),
        ({"photons": 0}, "photons = 0 must be positive"),
        ({"background": -1}, "background = -1 must not be negative"),
        ({"axis_weights": (1, 1)}, "three numbers"),
        ({"axis_weights": (0, 0, 0)}, "not all 0"),
        ({"over_depths": "best"}, "over_depths = 'best'"),
        ({"neighbours": Neighbours(density_per_um2=-1.0)}, "density_per_um2 = -1"),
    ],
)
def test_targets_that_make_no_sense(arguments, message):
    with pytest.raises(OpticsError, match=message):
        make_target(arguments.pop("z_range_um", RANGE_UM), **{"photons": 1000, "background": 1, **arguments})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"starts": 0}, "starts = 0 must be at least 1"),
        ({"iterations": 0}, "iterations = 0 must be at least 1"),
        ({"smoothness": -1.0}, "smoothness = -1 must not be negative"),
        ({"learning_rate_rad": 0.0}, "learning_rate_rad = 0 must be positive"),
        ({"optimiser": "sgd"}, "optimiser = 'sgd'"),
        ({"limits": MaskLimits(step_um=-1.0)}, "limits.step_um"),
    ],
)
def test_searches_that_make_no_sense(psf, settings, message):
    with pytest.raises(OpticsError, match=message):
        design_mask(KEY, psf, FAMILY, target(), **settings)


def test_smoothness_of_a_wrapped_family_is_refused(psf):
    with pytest.raises(OpticsError, match="wrapped"):
        design_mask(KEY, psf, PixelPhase(size=8, wrapped=True), target(), smoothness=1.0)
