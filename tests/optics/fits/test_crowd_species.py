"""Crowds of two species: frames against sums by numpy, slopes against differences, who is who and how surely."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from optics.camera import sample_camera
from optics.fits.crowd import draw_crowd, make_crowd_model, make_frame, make_paths, no_emitters, species_path
from optics.fits.crowd_fit import slopes_at
from optics.fits.crowd_search import make_bank, propose
from optics.fits.explain import search_frames
from optics.fits.fit import fit_emitters
from optics.fits.reread import reread
from optics.fits.smooth import even, surface_at
from optics.masks.library import astigmatism
from optics.multipath import biplane
from optics.psf import make_psf, psf_image
from optics.psf_table import evaluate, tabulate_psf
from optics.pytree import replace
from optics.types import OpticsError, make_camera, make_microscope

SHAPE, PIXEL_UM, SIDE, LEVEL = (30, 32), 0.11, 13, 12.0
CAMERA = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.2)
# two that overlap, of different species, one apart, one whose stamp hangs out of the frame
XYZ_UM = np.array([[0.9, 0.8, 0.1], [1.4, 1.0, -0.2], [2.4, 2.3, 0.2], [3.28, 0.3, 0.0]])
PHOTONS, CHANNEL = np.array([5000.0, 6000.0, 4000.0, 6000.0]), np.array([0, 1, 1, 0], np.int32)


@pytest.fixture(scope="module")
def psfs():
    """Two colours behind one cylindrical lens."""

    def psf(wavelength_um):
        scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=wavelength_um, pixel_um=PIXEL_UM)
        return make_psf(scope, mask=astigmatism(0.06), image_px=SIDE, pupil_px=24, kind="scalar", pixel="centre")

    return psf(0.52), psf(0.75)


@pytest.fixture(scope="module")
def tables(psfs):
    return [tabulate_psf(psf, (-0.4, 0.4), reach_px=1.0, tolerance=1e-3) for psf in psfs]


@pytest.fixture(scope="module")
def model(tables):
    return make_crowd_model(species_path(tables), CAMERA, PIXEL_UM, SHAPE)


@pytest.fixture(scope="module")
def light(psfs):
    """Photons (4, 30, 32) of each emitter: exact images of its own species, put on the frame by numpy."""
    image = jax.jit(psf_image)
    frames = np.zeros((4, SHAPE[0] + 2 * SIDE, SHAPE[1] + 2 * SIDE))
    for frame, xyz, photons, number in zip(frames, XYZ_UM, PHOTONS, CHANNEL, strict=True):
        column, row = np.round(xyz[:2] / PIXEL_UM - SIDE / 2).astype(int)
        inside = [*(xyz[:2] - (np.array([column, row]) + SIDE / 2) * PIXEL_UM), xyz[2]]
        drawn = photons * np.asarray(image(psfs[number], jnp.array(inside)))
        frame[row + SIDE : row + 2 * SIDE, column + SIDE : column + 2 * SIDE] = drawn
    return frames[:, SIDE:-SIDE, SIDE:-SIDE]


def crowd_of(model, frame, rows=slice(None), slots=5):
    n = len(PHOTONS[rows])
    crowd = no_emitters(model, frame, slots)
    return replace(
        crowd,
        xyz_um=crowd.xyz_um.at[:n].set(XYZ_UM[rows]),
        photons=crowd.photons.at[:n].set(PHOTONS[rows]),
        present=jnp.arange(slots) < n,
        channel=None if crowd.channel is None else crowd.channel.at[:n].set(CHANNEL[rows]),
        level=even(model.surface, LEVEL),
    )


@pytest.fixture(scope="module")
def blank():
    return make_frame(CAMERA, jnp.full(SHAPE, 130.0), jnp.ones(SHAPE, bool))


def test_a_frame_is_the_sum_of_each_emitter_as_its_own_species(model, blank, light):
    """Within what the tables may be off, 1e-3 of an image, and 30 times more if two change species."""
    drawn = np.asarray(draw_crowd(model, crowd_of(model, blank)))
    off = np.linalg.norm(drawn - light.sum(axis=0) - LEVEL) / np.linalg.norm(light.sum(axis=0))
    assert off < 1e-3
    crowd = crowd_of(model, blank)
    wrong = np.asarray(draw_crowd(model, replace(crowd, channel=1 - jnp.asarray(crowd.channel))))
    assert np.linalg.norm(wrong - drawn) / np.linalg.norm(light.sum(axis=0)) > 0.03


def test_slopes_are_differences_for_emitters_of_either_species(model, blank):
    """Central differences of the drawn frame by x, y, z and photons of each; 1e-6 of the largest slope."""
    crowd = crowd_of(model, blank)
    draw = jax.jit(lambda crowd: draw_crowd(model, crowd))
    columns = np.asarray(slopes_at(model, blank, crowd, draw(crowd)).columns).reshape(5, 4, *SHAPE)
    for k in range(4):
        for axis in range(4):
            h = 1e-5 if axis < 3 else 1e-2

            def moved(by, k=k, axis=axis):
                if axis == 3:
                    return draw(replace(crowd, photons=crowd.photons.at[k].add(by)))
                return draw(replace(crowd, xyz_um=crowd.xyz_um.at[k, axis].add(by)))

            slope = (np.asarray(moved(h)) - np.asarray(moved(-h))) / (2 * h)
            assert np.abs(slope - columns[k, axis]).max() < 1e-6 * np.abs(columns[k, axis]).max()
    assert not columns[4].any()


def test_one_species_is_the_model_that_it_was(tables, blank):
    """The same bits, and no further unknown."""
    plain = make_crowd_model(tables[1], CAMERA, PIXEL_UM, SHAPE)
    alone = make_crowd_model(species_path(tables[1:]), CAMERA, PIXEL_UM, SHAPE)
    assert jax.tree.structure(plain) == jax.tree.structure(alone)
    crowd = crowd_of(plain, blank)
    assert crowd.channel is None
    assert np.array_equal(draw_crowd(plain, crowd), draw_crowd(alone, crowd))


@pytest.mark.slow
def test_filters_of_every_species_look_and_the_right_one_is_strongest(model, tables, blank, light):
    """A lone emitter without noise, of the one species and of the other; more filters ask for a higher level."""
    bank, single = make_bank(species_path(tables), SHAPE), make_bank(tables[0], SHAPE)
    assert bank.channel is not None and len(bank.depth) == len(bank.channel) > len(single.depth)
    assert float(single.level) < float(bank.level)
    look = jax.jit(propose, static_argnames="n_most")
    mean, level = jnp.full(SHAPE, LEVEL), even(model.surface, LEVEL)
    for k in (1, 0):
        frame = make_frame(CAMERA, jnp.asarray(100 + 2 * (light[k] + LEVEL)), jnp.ones(SHAPE, bool))
        seen = look(model, bank, frame, mean, level, jnp.asarray(0.1))
        assert int(seen.channel[0]) == CHANNEL[k]
        assert np.abs(np.asarray(seen.xyz_um[0]) - XYZ_UM[k])[:2].max() < PIXEL_UM


@pytest.mark.slow
def test_an_emitter_is_read_again_as_each_species_with_the_others_held(model, tables, light):
    """Likelihoods of the second as either species, against a search by scipy over the same five unknowns."""
    rng = np.random.default_rng(2)
    truth = light.sum(axis=0) + LEVEL
    adu = 100 + 2 * rng.poisson(truth)
    camera = make_camera(gain_adu_per_e=2.0, offset_adu=100.0)
    frame = make_frame(camera, jnp.asarray(adu, dtype=float), jnp.ones(SHAPE, bool))
    own = replace(model, camera=camera)
    crowd = crowd_of(own, frame)
    mean = draw_crowd(own, crowd)
    surface = surface_at(own.surface, crowd.level)
    read = reread(own, frame, XYZ_UM, PHOTONS, CHANNEL, light, surface, mean)
    assert read.gain.argmax(axis=0).tolist() == CHANNEL.tolist()
    column, row = np.round(XYZ_UM[1, :2] / PIXEL_UM - SIDE / 2).astype(int)
    part = np.s_[row : row + SIDE, column : column + SIDE]
    counts = (adu[part] - 100) / 2
    around = (np.asarray(mean) - light[1] - LEVEL)[part]
    corner = (np.array([column, row]) + SIDE / 2) * PIXEL_UM

    def log_likelihood(expected):
        return float((counts * np.log(expected) - expected).sum())

    before = log_likelihood(np.asarray(mean)[part])
    for number, table in enumerate(tables):
        image = jax.jit(lambda xyz, table=table: evaluate(table, xyz)[0])

        def loss(theta, image=image):
            drawn = theta[3] * 1e3 * np.asarray(image(jnp.asarray(theta[:3]) / 10)).reshape(SIDE, SIDE)
            return -log_likelihood(np.maximum(drawn + 10 * theta[4] + around, 1e-3))

        # in tenths of a um, thousands of photons, tens of photons: all about one
        edge = 10 * PIXEL_UM
        limits = [(-edge, edge), (-edge, edge), (-4.0, 4.0), (0.001, None), (0.001, None)]
        begin = [[*(10 * (XYZ_UM[1, :2] - corner)), z, 6.0, LEVEL / 10] for z in (-2.5, -1.0, 0.5, 2.5)]
        best = min(minimize(loss, one, method="L-BFGS-B", bounds=limits).fun for one in begin)
        # the fit ends within a hundredth of a deviation, scipy's differences within a tenth of that likelihood
        assert read.gain[number, 1] == pytest.approx(-best - before, abs=0.1)


@pytest.mark.slow
def test_a_crowd_of_two_species_is_found_and_told_apart(model, tables, light):
    """Nothing given: four emitters within 60, 60, 120 nm, each as what it is with a posterior above 0.9, no other.

    The posteriors of the species sum to one.
    """
    bank = make_bank(species_path(tables), SHAPE)
    adu = sample_camera(jax.random.key(3), CAMERA, jnp.asarray(light.sum(axis=0) + LEVEL))
    frame = make_frame(CAMERA, adu, jnp.ones(SHAPE, bool))
    frames = jax.tree.map(lambda leaf: leaf[None], frame)
    (found,) = search_frames(model, bank, frames)
    assert len(found.crowd.photons) == 4
    apart = np.abs(np.asarray(found.crowd.xyz_um)[:, None] - XYZ_UM) / [0.06, 0.06, 0.12]
    nearest = apart.max(axis=2).argmin(axis=1)
    assert (apart.max(axis=2).min(axis=1) < 1).all() and sorted(nearest.tolist()) == [0, 1, 2, 3]
    assert np.asarray(found.crowd.channel).tolist() == CHANNEL[nearest].tolist()
    assert found.posterior.shape == (2, 4) and found.posterior.sum(axis=0) == pytest.approx(1.0)
    assert (found.posterior[CHANNEL[nearest], np.arange(4)] > 0.9).all()
    # begun with every species wrong it ends at the same
    (again,) = search_frames(model, bank, frames, [(XYZ_UM, PHOTONS, 1 - CHANNEL)])
    assert sorted(np.asarray(again.crowd.channel).tolist()) == [0, 0, 1, 1]


@pytest.mark.slow
def test_three_species_are_told_apart(psfs, tables):
    """One of each, two of them 0.5 um apart, 9,000 photons: each as what it is; posteriors of all three sum to one."""
    wavelength_um = jnp.asarray(1.0)
    far = replace(psfs[1], microscope=replace(psfs[1].microscope, wavelength_um=wavelength_um))
    every = [*tables, tabulate_psf(far, (-0.4, 0.4), reach_px=1.0, tolerance=1e-3)]
    path = species_path(every)
    wide = make_crowd_model(path, CAMERA, PIXEL_UM, SHAPE)
    blank = make_frame(CAMERA, jnp.full(SHAPE, 130.0), jnp.ones(SHAPE, bool))
    places, kinds = np.array([[0.9, 1.0, 0.1], [1.35, 1.2, -0.1], [2.4, 2.2, 0.1]]), np.array([2, 0, 1], np.int32)
    crowd = replace(
        no_emitters(wide, blank, 3),
        xyz_um=jnp.asarray(places),
        photons=jnp.full(3, 9000.0),
        present=jnp.ones(3, bool),
        channel=jnp.asarray(kinds),
        level=even(wide.surface, LEVEL),
    )
    adu = sample_camera(jax.random.key(4), CAMERA, draw_crowd(wide, crowd))
    frame = jax.tree.map(lambda leaf: leaf[None], make_frame(CAMERA, adu, jnp.ones(SHAPE, bool)))
    (found,) = search_frames(wide, make_bank(path, SHAPE), frame)
    assert len(found.crowd.photons) == 3
    nearest = np.linalg.norm(np.asarray(found.crowd.xyz_um)[:, None, :2] - places[:, :2], axis=2).argmin(axis=1)
    assert np.asarray(found.crowd.channel).tolist() == kinds[nearest].tolist()
    assert found.posterior.shape == (3, 3) and found.posterior.sum(axis=0) == pytest.approx(1.0)


@pytest.mark.slow
def test_light_that_is_known_is_not_fitted(tables, psfs):
    """An emitter over a neighbour's light, exact and given beforehand, is fitted as if it stood alone."""
    image = jax.jit(psf_image)
    own = 3000 * np.asarray(image(psfs[0], jnp.array([0.02, -0.03, 0.1])))
    other = 4000 * np.asarray(image(psfs[1], jnp.array([0.3, 0.2, -0.1])))
    fits = fit_emitters(tables[0], (own + other + 5)[None], beneath=other[None], chunk=8)
    assert np.abs(np.asarray(fits.xyz_um[0]) - [0.02, -0.03, 0.1]).max() < 1e-3
    assert float(fits.photons[0]) == pytest.approx(3000, rel=0.01)
    with pytest.raises(OpticsError, match="beneath must have the shape of images"):
        fit_emitters(tables[0], own[None], beneath=other)


def test_tables_that_do_not_go_together_are_refused(psfs, tables):
    """Other depths, species on two paths, and species with a blur of their own."""
    deeper = tabulate_psf(psfs[1], (-0.4, 0.5), reach_px=1.0, tolerance=1e-2)
    with pytest.raises(OpticsError, match="make all of one"):
        species_path([tables[0], deeper])
    with pytest.raises(OpticsError, match="on one path and without blur_spread_px2"):
        make_crowd_model(species_path(tables), CAMERA, PIXEL_UM, SHAPE, blur_spread_px2=0.5)
    two = [replace(path, rivals=(tables[1],)) for path in make_paths(biplane(psfs[0], 0.4), tables[:1] * 2)]
    with pytest.raises(OpticsError, match="several species are told apart on one path"):
        make_crowd_model(two, CAMERA, PIXEL_UM, SHAPE)
