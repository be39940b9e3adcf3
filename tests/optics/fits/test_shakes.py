"""Second looks at an explanation: what is surprising and doubtful, and another summit that is reached."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.fits.crowd import make_crowd_model, make_frame
from optics.fits.crowd_search import Candidates, make_bank
from optics.fits.explain import explain_one
from optics.fits.parts import Part, slid
from optics.fits.rounds import Search
from optics.fits.shakes import doubtful, mattering, slide_um
from optics.fits.wishes import Fit, Fitted, Guess, Look, begin, serve
from optics.psf import make_psf
from optics.psf_table import evaluate, tabulate_psf
from optics.types import make_camera, make_microscope

SHAPE, PIXEL_UM, Z_RANGE, SIDE = (40, 40), 0.11, (-0.4, 0.4), 13
CAMERA = make_camera()


@pytest.fixture(scope="module")
def table():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    psf = make_psf(scope, zernike_um=np.array([0, 0, 0, 0, 0, 0.06]), image_px=SIDE, pupil_px=24, pixel="centre")
    return tabulate_psf(psf, Z_RANGE, reach_px=1.0, tolerance=1e-3)


@pytest.fixture(scope="module")
def model(table):
    return make_crowd_model(table, CAMERA, PIXEL_UM, SHAPE)


def draw_by_hand(table, places, photons):
    """The light (H, W) of emitters at places (um)."""
    return np.tensordot(photons, [image_of(table, place) for place in places], 1)


def image_of(table, xyz_um):
    """The image (H, W) of one photon at any place, put into the frame by numpy."""
    xyz_um = np.asarray(xyz_um, float)
    column, row = np.floor(xyz_um[:2] / PIXEL_UM).astype(int)
    apart = xyz_um - np.array(middle_of(column, row, 0.0))
    image = np.asarray(evaluate(table, jnp.asarray(apart))[0], float).reshape(SIDE, SIDE)
    light = np.zeros(SHAPE)
    light[row - 6 : row + 7, column - 6 : column + 7] = image
    return light


def middle_of(column, row, z_um):
    """The place (um) in the middle of a pixel."""
    return (column + 0.5) * PIXEL_UM, (row + 0.5) * PIXEL_UM, z_um


def fitted(emitters, **parts: Any):
    n = emitters.size
    usual: dict[str, Any] = {
        "misfit": 0.0,
        "excess": 0.0,
        "evidence": 0.0,
        "overlap": np.zeros((n, n)),
        "mean": jnp.zeros(SHAPE),
    }
    usual |= {"overlap": np.zeros((n, n)), "covariance": np.tile(np.eye(4), (n, 1, 1))}
    usual |= {"significance": np.full(n, 50.0), "surprise": np.zeros(n)}
    return Fitted(emitters=emitters, **{**usual, **parts})


def guess(xyz_um, photons):
    n = len(photons)
    places, light = np.asarray(xyz_um, float), np.asarray(photons, float)
    return Guess(places, light, np.zeros(n), np.zeros((1, 1)), np.ones(()), np.zeros(n, int))


def test_an_emitter_is_surprising_where_more_than_noise_is_left(table, model):
    """By its definition, summed by numpy: (w . (r^2 / v - 1)) / sqrt(2 w . w), w an image and v the mean of a pixel.

    An emitter beside one of three is not explained. Where all are, counts leave a few deviations at most.
    """
    places = [middle_of(9, 9, 0.0), middle_of(28, 10, 0.0), middle_of(20, 30, 0.2)]
    rng, bank, ones = np.random.default_rng(3), make_bank(table, SHAPE), jnp.ones(SHAPE, bool)
    for extra in ([middle_of(30, 12, -0.3)], []):
        adu = rng.poisson(draw_by_hand(table, places + extra, [2000.0] * (3 + len(extra))) + 20).astype(float)
        frame = make_frame(CAMERA, jnp.asarray(adu), ones)
        frames = jax.tree.map(lambda leaf: leaf[None], frame)
        start = begin(model, frame, (np.array(places), np.full(3, 2000.0)))
        stands = serve(model, bank, frames, {0: Fit(start, 20, 1e-3)}, 1)[0]
        places_now = [tuple(place) for place in stands.emitters.xyz_um]
        images = np.array([image_of(table, place).ravel() for place in places_now])
        seen = np.asarray(stands.mean, float)
        by_hand = images @ ((adu - seen) ** 2 / seen - 1).ravel() / np.sqrt(2 * (images**2).sum(axis=1))
        assert stands.surprise == pytest.approx(by_hand, rel=0.01, abs=0.01)
        assert (stands.surprise > 4).tolist() == [False, bool(extra), False]


def test_doubt_falls_on_the_weak_with_their_partner_and_where_light_is_left():
    """A dim, weak emitter and the one that overlaps it most; one hard to tell from its neighbour, if light is left."""
    emitters = guess([(k, 0.0, 0.0) for k in range(5)], [100.0, 1000.0, 1000.0, 1000.0, 1000.0])
    overlap = np.zeros((5, 5))
    overlap[0, 1] = overlap[1, 0] = 0.5
    overlap[0, 2] = overlap[2, 0] = 0.2
    overlap[3, 4] = overlap[4, 3] = 0.9
    stands = fitted(emitters, overlap=overlap, significance=np.array([6.0, 50, 50, 50, 50]))
    assert doubtful(stands, 5.0, 1).tolist() == [True, True, False, False, False]
    assert doubtful(stands, 5.0, 2).tolist() == [True, True, True, False, False]
    left = replace(stands, surprise=np.array([0, 0, 0, 9.0, 0]))
    assert doubtful(left, 5.0, 1).tolist() == [True, True, False, True, True]


def test_second_looks_are_for_the_inner_part_of_a_window():
    """An emitter in the box, and one outside whose image overlaps it; the partner of one that matters is any."""
    far = [(9.0, 9.0, 0.0), (9.0, 5.0, 0.0)]
    emitters = guess([(1.0, 1.0, 0.0), (2.5, 1.0, 0.0), (3.0, 3.0, 0.0), *far], [100.0, 900.0, 100.0, 900.0, 900.0])
    overlap = np.zeros((5, 5))
    overlap[0, 1] = overlap[1, 0] = 0.5
    stands = fitted(emitters, overlap=overlap, significance=np.array([6.0, 50, 6.0, 50, 50]))
    assert mattering(stands, None).all()
    for box, matter in (
        (((0.0, 2.0), (0.0, 2.0)), [True, True, False, False, False]),
        (((0.0, 2.0), (1.5, 2.0)), [False] * 5),
        (((2.8, 3.2), (2.8, 3.2)), [False, False, True, False, False]),
    ):
        assert mattering(stands, box).tolist() == matter
    assert doubtful(stands, 5.0, 1).tolist() == [True, True, True, False, False]
    assert doubtful(stands, 5.0, 1, np.arange(5) == 2).tolist() == [False, False, True, False, False]
    assert doubtful(stands, 5.0, 1, np.arange(5) == 0).tolist() == [True, True, False, False, False]


def candidates(places, strengths, inside=None):
    """Candidates of 50 photons each at `places`, where a level of 5 is enough."""
    n = len(places)
    where = jnp.ones(n, bool) if inside is None else jnp.array(inside)
    return Candidates(jnp.array(places), jnp.full(n, 50.0), jnp.array(strengths), level=jnp.asarray(5.0), inside=where)


def explained(program, serve_wish):
    """What a program ends with, its wishes answered."""
    wish = next(program)
    with pytest.raises(StopIteration) as end:
        while True:
            wish = program.send(serve_wish(wish))
    return end.value.value


def test_candidates_that_make_a_frame_less_likely_are_not_added():
    """Of four candidates the three strongest lie beyond the rim and spoil every fit; the one inside explains the frame.

    It is found, whatever the others do; where it spoils the fit as well nothing is added.
    """
    places = [(-1.0, 0.0, 0.0), (-1.0, 2.0, 0.0), (-1.0, 4.0, 0.0), (1.0, 1.0, 0.0)]

    def serve_wish(wish, spoilt):
        if isinstance(wish, Look):
            left = np.asarray(wish.mean).item() > 0.0
            return candidates(places, [40.0, 30.0, 20.0, 10.0] if left else [0.0] * 4, [False, False, False, True])
        x = wish.guess.xyz_um[:, 0]
        misfit = 100.0 - 60.0 * (x > 0).any() + 1e5 * ((x < 0).any() or (spoilt and x.size > 0))
        done = fitted(wish.guess, misfit=float(misfit), significance=np.full(x.size, 50.0))
        return replace(done, mean=jnp.asarray(0.0 if misfit < 100 else 1.0))

    start = guess(np.zeros((0, 3)), [])
    for spoilt, found in ((False, [[1.0, 1.0, 0.0]]), (True, [])):
        program = explain_one(start, Search(shakes=0), slide=0.06)
        ended = explained(program, lambda wish, spoilt=spoilt: serve_wish(wish, spoilt))
        assert ended.crowd.xyz_um.tolist() == found


def test_a_background_that_took_an_emitters_light_gives_it_back():
    """Over a background that may vary nothing is left to be found; over an even one an emitter is, and is likelier.

    Where no background looks like an emitter the second search is spared.
    """

    def serve_wish(wish):
        if isinstance(wish, Look):
            return candidates([(1.0, 1.0, 0.0)], [10.0 if float(wish.spread) == 0.2 else 0.0])
        n = wish.guess.size
        spread = 0.1 if n else 0.2 if wish.most_spread < 1 else 50.0
        done = fitted(replace(wish.guess, spread=np.asarray(spread)), misfit=90.0 - 40.0 * (n > 0))
        return replace(done, mean=jnp.full((4, 4), 60.0), significance=np.full(n, 20.0))

    start = guess(np.zeros((0, 3)), [])
    for imitated, found in ((True, 1), (False, 0)):
        program = explain_one(start, Search(shakes=0), slide=0.06, imitated=imitated)
        assert len(explained(program, serve_wish).crowd.photons) == found


def test_what_is_taken_out_as_often_as_it_is_added_ends_the_search():
    """A candidate that a fit finds insignificant comes again in every round; the frame without it is no worse."""
    looks = 0

    def serve_wish(wish):
        nonlocal looks
        if isinstance(wish, Look):
            looks += 1
            return candidates([(0.5, 0.5, 0.5)], [6.0])
        n = wish.guess.size
        # the fit without the candidate ends a little later each time, as fits of few steps do
        return fitted(wish.guess, misfit=100.0 - 20.0 * (n > 1) + 0.01 * looks, significance=np.array([50.0, 2.0])[:n])

    program = explain_one(guess([(1.0, 1.0, 0.0)], [900.0]), Search(shakes=0), slide=0.06)
    wish = next(program)
    with pytest.raises(StopIteration) as end:
        while True:
            wish = program.send(serve_wish(wish))
    assert end.value.value.crowd.photons.tolist() == [900.0] and looks <= 3


def test_an_emitter_slides_along_what_is_known_least():
    """Where x follows depth it moves with it, by the slope of the ridge; the others stay."""
    covariance = np.tile(np.eye(4), (2, 1, 1)) * 1e-4
    ridge = np.array([0.8, 0.0, 1.0])
    covariance[1, :3, :3] += 0.01 * np.outer(ridge, ridge)
    stands = fitted(guess([(1.0, 1.0, 0.0), (2.0, 2.0, 0.1)], [900.0, 900.0]), covariance=covariance)
    part = Part(stands.emitters, np.array([False, True]), stands.covariance, None)
    moved = slid(part, 0.05).xyz_um
    assert moved == pytest.approx(np.array([(1.0, 1.0, 0.0), (2.04, 2.0, 0.15)]), abs=1e-9)


def test_another_summit_of_an_emitter_is_reached(model):
    """One emitter on a landscape with two summits, at z = 0.2 and, 40 higher, at z = -0.1; fits end on the nearer one.

    The search begins at the lower, where light is left in the image, and ends at the higher; where none is left it
    stays.
    """

    def serve_wish(wish, left):
        if isinstance(wish, Look):
            return candidates([(0.0, 0.0, 0.0)], [0.0])
        xyz = wish.guess.xyz_um.copy()
        xyz[:, 2] = np.where(xyz[:, 2] > 0.15, 0.2, -0.1)
        wrong = xyz[0, 2] > 0
        left_over = np.array([9.0 if wrong and left else 0.0])
        return fitted(replace(wish.guess, xyz_um=xyz), misfit=40.0 * wrong, surprise=left_over)

    for left, ends_at in ((True, -0.1), (False, 0.2)):
        program = explain_one(guess([(1.0, 1.0, 0.25)], [900.0]), Search(), slide=0.06)
        wish = next(program)
        with pytest.raises(StopIteration) as end:
            while True:
                wish = program.send(serve_wish(wish, left))
        assert end.value.value.crowd.xyz_um[0, 2] == ends_at


def test_how_far_it_slides_follows_the_range_of_depths(model):
    """A share of 0.075 of 0.8 um."""
    assert slide_um(model) == pytest.approx(0.06)
