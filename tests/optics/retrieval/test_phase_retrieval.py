"""Retrieval on simulated beads whose pupil, place, light and noise are known."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import OpticsError, make_camera, make_mask, make_microscope, make_psf, psf_image
from optics.masks.sampling import mask_grid
from optics.psf import pupil_fields, transmitted_fraction
from optics.pytree import replace
from optics.retrieval.beads import make_bead_stack
from optics.retrieval.findings import findings
from optics.retrieval.noise import estimate_noise, structured_share
from optics.retrieval.retrieve import retrieve_psf
from optics.retrieval.types import RetrievalSettings
from optics.retrieval.undetermined import agreement, defocus_phase, pupil_weight, remove_undetermined
from optics.zernike import zernike_mode

CELLS = 28
FOCUS_UM = np.linspace(-0.9, 0.9, 9)
AT_UM = np.array([0.06, -0.04, 0.02])
OFFSET_UM = 0.15
BLUR_UM = 0.09
GAIN = 2.0
FADING = np.linspace(72_000, 48_000, 9)
OPTICS = {"na": 1.4, "n_immersion": 1.515, "wavelength_um": 0.6, "pixel_um": 0.1}
OIL = make_microscope(n_sample=1.33, **OPTICS)
WATER = make_microscope(**{**OPTICS, "na": 1.2, "n_immersion": 1.33}, n_sample=1.33)
# nine slices a step in every stage: one program a stage
QUICK = RetrievalSettings(mask_px=CELLS, amplitude_modes=15, steps=(80, 60, 30))
PLUMBING = dataclasses.replace(QUICK, steps=(8, 8, 4))


def true_phase(cells=CELLS):
    x, y = (np.asarray(u) for u in mask_grid(cells))
    named = ((2, 2, 0.6), (3, -1, 0.5), (3, 3, 0.3))
    return sum(amplitude * np.asarray(zernike_mode(n, m, x, y)) for n, m, amplitude in named)


@jax.jit
def _images(psf, xyz_um, focus_um):
    def at(xyz_um, focus_um):
        return psf_image(replace(psf, microscope=replace(psf.microscope, focus_um=focus_um)), xyz_um)

    return jax.lax.map(lambda both: at(*both), (xyz_um, focus_um))


def bead(
    scope=OIL, kind="vectorial", polarisation="both", xyz_um=AT_UM, offset_um=OFFSET_UM, walk=(0.0, 0.0),
    photons=60_000.0, background=20.0, seed=0, focus_um=FOCUS_UM,
):  # fmt: skip
    """Counts (Z, 21, 21) of a bead; `photons` a number or one a slice, `walk` in um per um of focus."""
    plate = make_mask(0.6 / (2 * np.pi) * true_phase(64), design_wavelength_um=0.6)
    psf = make_psf(
        scope, aberration=plate, blur_um=BLUR_UM, image_px=21, kind=kind, polarisation=polarisation,
        z_range_um=(-1.0, 1.0),
    )  # fmt: skip
    walked = np.outer(focus_um - focus_um.mean(), [*walk, 0.0])
    light = np.asarray(_images(psf, jnp.asarray(xyz_um + walked), jnp.asarray(focus_um + offset_um)))
    expected = light * np.broadcast_to(photons, len(focus_um))[:, None, None] + background
    return 100 + GAIN * np.random.default_rng(seed).poisson(expected)


def expected_place(found, xyz_um=AT_UM, offset_um=OFFSET_UM):
    """Where the convention puts a bead: its own place, and what the ramp and slope of the true phase move."""
    weight = pupil_weight(found.amplitude)
    _, shift_um, focus_um = remove_undetermined(true_phase(), weight, found.psf.microscope)
    return xyz_um[:2] + shift_um, offset_um + focus_um


def agreed(found, scope):
    """Agreement with the true phase but for tilt and defocus."""
    x, y = (np.asarray(u) for u in mask_grid(CELLS))
    ramps = np.stack([x, y, defocus_phase(scope, CELLS)])
    return agreement(found.phase_rad, true_phase(), pupil_weight(found.amplitude), ramps)


def photons(found, number=0):
    """Detected photons (Z,): the signal is what a pupil without loss would have passed."""
    psf = found.psf
    passed = float(transmitted_fraction(psf, pupil_fields(psf), jnp.asarray(AT_UM[2])))
    return passed * found.beads[number].signal_adu / GAIN


def said(found, part):
    return any(part in note for note in found.notes)


@pytest.fixture(scope="module")
def found():
    return retrieve_psf(make_bead_stack(bead(photons=FADING), FOCUS_UM, OIL), QUICK)


def test_the_pupil_comes_back(found):
    """Phase, blur, and an amplitude that is even to a few percent, from 60 000 photons a slice."""
    assert agreed(found, OIL) > 0.995
    assert float(found.psf.blur_um) == pytest.approx(BLUR_UM, abs=0.004)
    light = pupil_weight(found.amplitude)
    inside = light > 0
    assert found.amplitude[inside].std() / found.amplitude[inside].mean() < 0.1
    assert found.super_critical_share > 0.1 and said(found, "The ring beyond the critical angle carries")


def test_the_bead_is_where_it_was(found):
    """x, y to 5 nm and the focus to 30 nm, after the convention; photons to 4 %, background to 20 %."""
    (fit,) = found.beads
    place, offset = expected_place(found)
    np.testing.assert_allclose(fit.xy_um, place, atol=0.005)
    assert fit.focus_offset_um == pytest.approx(offset, abs=0.03)
    np.testing.assert_allclose(photons(found), FADING, rtol=0.04)
    np.testing.assert_allclose((fit.background_adu - 100) / GAIN, 20, rtol=0.2)
    assert np.hypot(*fit.tilt) < 0.01 and abs(found.step_error) < 0.005


def test_the_fit_reaches_the_noise(found):
    """Correlations near their ceilings, chi-square near 1, and what is handed back fits together."""
    (fit,) = found.beads
    assert (fit.ceiling - fit.correlation).mean() < 0.002
    assert fit.chi2.mean() == pytest.approx(1, abs=0.15)
    assert fit.model_adu.shape == (9, 21, 21) and fit.signal_adu.shape == fit.chi2.shape == (9,)
    assert found.misfit == pytest.approx(np.mean(1 - fit.correlation**2))
    stages = [stage for stage, *_ in found.history]
    assert list(dict.fromkeys(stages)) == ["find", "twin", "refine", "likelihood"]
    assert {step for stage, step, *_ in found.history if stage == "find"} == set(range(10, 81, 10))


def test_the_retrieved_psf_makes_the_model_s_images(found):
    """`psf_image` of the retrieved Psf, at the bead's place and focus, is the fitted model: conventions and all."""
    (fit,) = found.beads
    focus = FOCUS_UM * (1 + found.step_error) + fit.focus_offset_um
    walk = np.outer(FOCUS_UM - FOCUS_UM.mean(), fit.tilt)
    # the bead of 40 nm, which the psf is free of, adds its size to the blur
    blur = np.hypot(float(found.psf.blur_um), 0.02 / 5**0.5)
    psf = replace(found.psf, blur_um=jnp.asarray(blur))
    at = np.column_stack([fit.xy_um + walk, np.full(9, 0.02)])
    images = np.asarray(_images(psf, jnp.asarray(at), jnp.asarray(focus)))
    model = (fit.model_adu - fit.background_adu[:, None, None]) / fit.signal_adu[:, None, None]
    # phases between cells are interpolated: a ramp taken out of 28 cells a side is not quite a shift
    np.testing.assert_allclose(images, model, atol=0.01 * images.max())


def test_the_same_seed_gives_the_same_pupil():
    """To the bit; and every tenth step is told with its stage, its misfit and how many are to come."""
    events = []
    stack = make_bead_stack(bead(photons=FADING), FOCUS_UM, OIL)
    first, second = (retrieve_psf(stack, PLUMBING, report=events.append) for _ in range(2))
    np.testing.assert_array_equal(first.phase_rad, second.phase_rad)
    np.testing.assert_array_equal(first.beads[0].signal_adu, second.beads[0].signal_adu)
    other = retrieve_psf(stack, dataclasses.replace(PLUMBING, seed=1))
    assert np.abs(other.phase_rad - first.phase_rad).max() > 1e-3
    steps = [event.done for event in events[: len(events) // 2]]
    assert steps == [8, 10, 18, 20, 22] and {event.total for event in events} == {22}
    assert [event.stage for event in events[:5]] == ["find", "twin", "refine", "likelihood", "likelihood"]
    assert all(0 < event.numbers["misfit"] < 1 for event in events)


def test_bleaching_is_said(found):
    """Light that falls by 40 % of its mean: the slices' signals follow it (above), and a sentence says so."""
    assert said(found, "The bead lost 4") or said(found, "The bead lost 39 %")
    assert said(found, "% of its light from the first to the last slice")


def test_saturated_pixels_are_left_out():
    """The brightest 35 pixels cut off: marked, they do no harm to the phase, and the light comes back."""
    images = bead(photons=FADING)
    top = np.sort(images.ravel())[-35]
    cut = np.minimum(images, top)
    marked = retrieve_psf(make_bead_stack(cut, FOCUS_UM, OIL, saturation_adu=top), QUICK)
    assert agreed(marked, OIL) > 0.99
    np.testing.assert_allclose(photons(marked), FADING, rtol=0.05)


@pytest.mark.parametrize("camera", [make_camera(gain_adu_per_e=GAIN, offset_adu=100.0, read_noise_e=3.0), None])
def test_the_noise_of_a_stack_around_its_model(camera):
    """A camera gives gain and floor in closed form; without one they come from corners and residuals, to 20 %."""
    y, x = np.indices((31, 31)) - 15
    light = GAIN * np.stack([3000 / w**2 * np.exp(-(x**2 + y**2) / (2 * w**2)) for w in np.linspace(1.5, 3, 9)])
    level = 100 + GAIN * 20
    rng = np.random.default_rng(0)
    images = 100 + GAIN * (rng.poisson(light / GAIN + 20) + rng.normal(0, 3, light.shape))
    noise = estimate_noise(make_bead_stack(images, FOCUS_UM, OIL, camera=camera), level + light, np.full(9, level))
    floor = GAIN**2 * (20 + 9.0)
    np.testing.assert_allclose(noise.floor_adu2.mean(), floor, rtol=1e-6 if camera else 0.1)
    assert noise.gain_adu == pytest.approx(GAIN, rel=1e-6 if camera else 0.2)
    assert noise.model_error < 0.03
    chi2 = np.mean((images - level - light) ** 2 / noise.variance(light))
    # without a camera the floor of 32 degrees of freedom is divided by: 1 / (1 - 2 / 32) on average
    assert chi2 == pytest.approx(1 if camera else 16 / 15, abs=0.04)
    np.testing.assert_array_equal(noise.variance(-light), noise.variance(0 * light))  # no light below none


def test_what_a_model_misses_is_counted_as_a_part_of_the_light():
    """A model 5 % too bright where there is light: its error comes back to a fifth."""
    y, x = np.indices((31, 31)) - 15
    light = 8e3 * np.broadcast_to(np.exp(-(x**2 + y**2) / 18), (9, 31, 31))
    camera = make_camera(gain_adu_per_e=GAIN, offset_adu=100.0)
    images = 100 + GAIN * np.random.default_rng(1).poisson(light / GAIN + 20)
    stack = make_bead_stack(images, FOCUS_UM, OIL, camera=camera)
    noise = estimate_noise(stack, 140 + 1.05 * light, np.full(9, 140.0))
    assert noise.model_error == pytest.approx(0.05, rel=0.2)


def test_noise_has_no_structure_and_a_wrong_model_has():
    """Independent pixels: their chance alone; a smooth error that is half of the residual: about half; alone: all."""
    y, x = np.indices((31, 31)) - 15
    images = np.random.default_rng(2).normal(100.0, 10.0, (9, 31, 31))
    wrong = np.broadcast_to(15 * np.sqrt(2) * np.sin(x / 2.5) * np.cos(y / 2.5), images.shape)
    stack = make_bead_stack(images, FOCUS_UM, OIL)
    assert structured_share(stack, np.full(images.shape, 100.0)) < 4 / np.sqrt(images.size)
    weak = wrong * 10 / wrong.std()
    # half of the variance is structure, alike by the cosine of a pixel's step: twice the half
    assert structured_share(stack, 100.0 + weak) == pytest.approx(np.cos(1 / 2.5), abs=0.05)
    assert structured_share(make_bead_stack(100.0 + wrong + 0 * images, FOCUS_UM, OIL), 100.0 + 0 * wrong) == 1.0


@pytest.mark.slow
def test_a_walk_and_wrong_steps_come_back():
    """A bead that walks 36 nm per um, on a stage whose steps are 3 % longer than stated: both to a quarter."""
    images = bead(photons=4e5, walk=(0.03, -0.02), focus_um=1.03 * FOCUS_UM)
    settings = dataclasses.replace(QUICK, steps=(80, 200, 60))
    found = retrieve_psf(make_bead_stack(images, FOCUS_UM, OIL), settings)
    np.testing.assert_allclose(found.beads[0].tilt, [0.03, -0.02], atol=0.0075)
    assert found.step_error == pytest.approx(0.03, abs=0.0075)


@pytest.mark.slow
def test_zernike_modes_of_a_scalar_field_in_a_matched_medium():
    """Few modes find a smooth pupil; the direction of the stage stays open, and is said to."""
    settings = dataclasses.replace(QUICK, phase="zernike", n_zernike=15, kind="scalar")
    smooth = retrieve_psf(make_bead_stack(bead(WATER, "scalar"), FOCUS_UM, WATER), settings)
    assert smooth.psf.kind == "scalar" and agreed(smooth, WATER) > 0.995
    assert smooth.super_critical_share == 0 and not said(smooth, "critical angle")
    assert said(smooth, "the reversed focus with the twin phase -phase(-k)") and not said(smooth, "WARNING")
    place, offset = expected_place(smooth)
    np.testing.assert_allclose(smooth.beads[0].xy_um, place, atol=0.005)
    assert smooth.beads[0].focus_offset_um == pytest.approx(offset, abs=0.03)
    # the table is of the phase by convention: no piston, and the true modes where tilt and defocus play no part
    assert smooth.zernike_rad.shape == (15,) and smooth.zernike_rad[0] == 0
    assert smooth.zernike_rad[5] == pytest.approx(0.6, abs=0.05)
    assert smooth.zernike_rad[9] == pytest.approx(0.3, abs=0.05)


@pytest.mark.slow
def test_two_beads_share_one_pupil():
    """Jointly: each its own place, focus, light and scan; the pupil that both agree on."""
    other_um, offset_um = np.array([-0.08, 0.03, 0.02]), -0.1
    few = FOCUS_UM[1::2]
    make = partial(bead, kind="scalar")
    stacks = [
        make_bead_stack(make(), FOCUS_UM, OIL),
        make_bead_stack(make(xyz_um=other_um, offset_um=offset_um, photons=9e4, seed=1, focus_um=few), few, OIL),
    ]
    joint = retrieve_psf(stacks, dataclasses.replace(QUICK, kind="scalar"))
    assert agreed(joint, OIL) > 0.99
    for number, (xyz_um, offset) in enumerate([(AT_UM, OFFSET_UM), (other_um, offset_um)]):
        place, focus = expected_place(joint, xyz_um, offset)
        np.testing.assert_allclose(joint.beads[number].xy_um, place, atol=0.008)
        assert joint.beads[number].focus_offset_um == pytest.approx(focus, abs=0.04)
    assert [len(fit.signal_adu) for fit in joint.beads] == [9, 4]
    ratio = joint.beads[1].signal_adu.mean() / joint.beads[0].signal_adu.mean()
    assert ratio == pytest.approx(1.5, rel=0.04)


@pytest.mark.slow
def test_a_bead_behind_a_polariser():
    """The polariser is part of the retrieved Psf, and its pupil comes back as well."""
    stack = make_bead_stack(bead(polarisation="x"), FOCUS_UM, OIL)
    half = retrieve_psf(stack, dataclasses.replace(QUICK, polarisation="x"))
    assert half.psf.polarisation == "x" and agreed(half, OIL) > 0.99
    np.testing.assert_allclose(2 * photons(half), 60_000, rtol=0.1)


@pytest.mark.slow
def test_the_right_direction_leaves_less_unexplained():
    """Oil on water and two million photons a slice tell the direction: retrieve both ways, as the sentence advises."""
    images = bead(photons=2e6)
    settings = dataclasses.replace(QUICK, steps=(150, 8, 4))
    right, wrong = (retrieve_psf(make_bead_stack(stack, FOCUS_UM, OIL), settings) for stack in (images, images[::-1]))
    assert wrong.misfit > 1.5 * right.misfit


def changed(found, **parts):
    fit = dataclasses.replace(found.beads[0], **{k: v for k, v in parts.items() if k in ("tilt", "signal_adu")})
    rest = {k: v for k, v in parts.items() if k not in ("tilt", "signal_adu")}
    return dataclasses.replace(found, **{"beads": (fit,), **rest})


def test_what_is_out_of_the_ordinary_has_a_sentence(found):
    """A walk, wrong steps, light lost or gained, several beads; and nothing of it where there is none."""
    plain = findings(changed(found, tilt=np.zeros(2), step_error=0.0, signal_adu=np.ones(9)))
    assert not any("walks" in note or "Stage steps" in note or "of its light" in note for note in plain)
    walks = findings(changed(found, tilt=np.array([0.03, 0.04])))
    assert "The bead walks 50 nm sideways per um of focus: the stage or the axis is tilted." in walks
    assert any("Stage steps fit best -1.2 %" in note for note in findings(changed(found, step_error=-0.012)))
    gained = findings(changed(found, signal_adu=np.linspace(0.8, 1.2, 9)))
    assert "The bead gained 40 % of its light from the first to the last slice." in gained
    pair = findings(dataclasses.replace(found, beads=2 * changed(found, tilt=np.array([0.03, 0.04])).beads))
    assert any(note.startswith("Bead 1 walks 50 nm") for note in pair)


def test_the_direction_of_the_stage_has_a_sentence(found):
    """Warned of, open or confirmed, by what the reversed focus leaves unexplained."""
    fitted = [misfit for stage, _, _, misfit in found.history if stage == "find"][-1]
    for ratio, sentence in (
        (0.4, "WARNING: the images fit far better with the focus reversed"),
        (0.4, "The direction of the stage: the reversed focus with the twin phase"),
        (1.0, "leaves 1.00 times as much unexplained"),
        (3.0, "reversed, a short descent from the twin phase leaves 3.0 times as much unexplained, which speaks for"),
    ):
        notes = findings(dataclasses.replace(found, twin_misfit=ratio * fitted))
        assert any(sentence in note for note in notes)
        assert any("WARNING" in note for note in notes) == (ratio < 0.5)


def test_stacks_that_do_not_belong_together():
    """Nothing to fit, crops of two sizes, two microscopes, two beads in a crop: named before the work."""
    stack = make_bead_stack(bead(), FOCUS_UM, OIL)
    with pytest.raises(OpticsError, match="no bead stack"):
        retrieve_psf([])
    small = make_bead_stack(bead()[:, 1:-1, 1:-1], FOCUS_UM, OIL)
    with pytest.raises(OpticsError, match=r"crops differ in size: \(21, 21\) and \(19, 19\)"):
        retrieve_psf([stack, small])
    with pytest.raises(OpticsError, match="different microscopes"):
        retrieve_psf([stack, make_bead_stack(bead(), FOCUS_UM, WATER)])
    second = np.roll(bead(seed=4), 8, 2)
    with pytest.raises(OpticsError, match="stack 1: every slice repeats itself .* two beads in one crop"):
        retrieve_psf([stack, make_bead_stack(bead() + second, FOCUS_UM, OIL)])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_zernike": 5}, "n_zernike = 5 must be at least 6"),
        ({"amplitude_modes": -1}, "amplitude_modes = -1 must not be negative"),
        ({"roughness_rad": 0.0}, "roughness_rad = 0 must be positive"),
        ({"bead_diameter_um": 40.0}, "bead_diameter_um = 40 must lie between 0 and 2 um"),
        ({"blur_um": 0.0}, "blur_um = 0 must lie between 0 and 1 um"),
        ({"steps": (8, 8, 3)}, r"steps = \(8, 8, 3\) must be three numbers of at least 4"),
        ({"steps": (8, 8)}, r"steps = \(8, 8\) must be three numbers"),
        ({"batch_slices": 1}, "batch_slices = 1 must be at least 2"),
        ({"mask_px": 8}, "mask_px = 8 must be at least 16"),
    ],
)
def test_settings_that_cannot_be_right(settings, message):
    with pytest.raises(OpticsError, match=message):
        RetrievalSettings(**settings)
