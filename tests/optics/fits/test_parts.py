"""Second looks part by part: what holds still, what follows, and that a fit of a part is that of a whole frame."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.fits.crowd import draw_crowd, make_crowd_model, make_frame, no_emitters
from optics.fits.crowd_search import Candidates, make_bank
from optics.fits.parts import Part, groups, part_by_part
from optics.fits.rounds import Beside
from optics.fits.wishes import Around, Fit, Fitted, Guess, begin, serve
from optics.psf import make_psf
from optics.psf_table import tabulate_psf
from optics.types import make_camera, make_microscope

SHAPE, PIXEL_UM, CAMERA = (24, 64), 0.11, make_camera()


@pytest.fixture(scope="module")
def model():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    psf = make_psf(scope, zernike_um=np.array([0, 0, 0, 0, 0, 0.06]), image_px=13, pupil_px=24, pixel="centre")
    table = tabulate_psf(psf, (-0.4, 0.4), reach_px=1.0, tolerance=1e-3)
    return make_crowd_model(table, CAMERA, PIXEL_UM, SHAPE)


def explanation(places, overlaps=(), misfit=100.0):
    """Emitters of 1000 photons at `places`, and which pairs of them overlap by how much."""
    n, overlap = len(places), np.zeros((len(places),) * 2)
    for a, b, much in overlaps:
        overlap[a, b] = overlap[b, a] = much
    emitters = Guess(
        np.array(places, float), np.full(n, 1e3), np.zeros(n), np.zeros((1, 1)), np.ones(()), np.zeros(n, int)
    )
    some: dict[str, Any] = {"excess": 0.0, "evidence": 0.0, "covariance": np.tile(np.eye(4), (n, 1, 1))}
    some |= {"significance": np.full(n, 50.0), "surprise": np.zeros(n), "mean": jnp.zeros(SHAPE)}
    return Fitted(emitters=emitters, misfit=misfit, overlap=overlap, **some)


def ended(program, answer):
    """What a program returns, and its wishes."""
    wishes, wish = [], next(program, None)
    while wish is not None:
        wishes.append(wish)
        try:
            wish = program.send(answer(wish))
        except StopIteration as end:
            return end.value, wishes
    raise AssertionError("it asked for nothing")


@pytest.fixture(autouse=True)
def _in_parts_however_few(monkeypatch):
    monkeypatch.setattr("optics.fits.parts._MANY", 0)


def test_groups_are_those_whose_images_overlap():
    """A chain of three is one group; one that is not chosen joins nothing."""
    overlap = explanation(
        [(k, 0, 0) for k in range(6)], [(0, 1, 0.5), (1, 2, 0.5), (2, 3, 0.1), (3, 4, 0.9), (4, 5, 0.9)]
    ).overlap
    chosen = np.array([True, True, True, True, False, True])
    assert [np.flatnonzero(group).tolist() for group in groups(overlap, chosen)] == [[0, 1, 2], [3], [5]]
    assert groups(overlap, np.zeros(6, bool)) == []


def test_each_part_is_judged_by_itself_and_all_are_fitted_together_then():
    """Two of ten are tried: the first is better elsewhere by 30, the second worse. One partner follows, others stay.

    Tried both at once, the pair would have been refused (or taken) as one.
    """
    start = explanation([(k, 0.0, 0.0) for k in range(10)], [(0, 1, 0.2), (0, 9, 0.1)])

    def attempt(part: Part):
        assert part.emitters.xyz_um[:, 0].tolist() == (
            [0.0, 1.0] if part.chosen[0] and part.chosen.size == 2 else [5.0]
        )
        elsewhere = part.emitters.xyz_um + np.where(part.chosen, 0.25, 0.0)[:, None] * np.array([0, 0, 1])
        return (yield Fit(replace(part.emitters, xyz_um=elsewhere), 10, 0.1, around=part.around))

    def answer(wish):
        if isinstance(wish, Around):
            return jnp.zeros(SHAPE)
        z = wish.guess.xyz_um[:, 2]
        worth = {2: -30.0, 1: 40.0, 10: -30.0}[z.size]
        return replace(explanation(wish.guess.xyz_um), emitters=wish.guess, misfit=100.0 + worth)

    chosen = np.isin(np.arange(10), [0, 5])
    found, wishes = ended(part_by_part(start, chosen, attempt, 10.0, 10), answer)
    order = np.argsort(found.emitters.xyz_um[:, 0])
    assert found.emitters.xyz_um[order][:, 2].tolist() == [0.25, *[0.0] * 9] and found.misfit == 70.0
    assert [wish.guess.size for wish in wishes if isinstance(wish, Fit)] == [2, 1, 10]
    refused, _ = ended(
        part_by_part(start, chosen & (np.arange(10) == 5), lambda part: _refused(part), 10.0, 10), answer
    )
    assert refused is start


def _refused(part):
    return (yield Fit(part.emitters, 10, 0.1, around=part.around))


def test_an_emitter_more_has_its_price():
    """An attempt that splits one into two for 8 of misfit is taken at a price of 5 an emitter, not at one of 9."""
    start = explanation([(k, 0.0, 0.0) for k in range(5)])

    def attempt(part: Part):
        return (yield Fit(part.emitters.add(np.array([[0.5, 0, 0]]), np.array([500.0])), 10, 0.1, around=part.around))

    def answer(wish):
        if isinstance(wish, Around):
            return jnp.zeros(SHAPE)
        return replace(explanation(wish.guess.xyz_um), emitters=wish.guess, misfit=92.0)

    for price, n in ((5.0, 6), (9.0, 5)):
        found, _ = ended(part_by_part(start, np.arange(5) == 2, attempt, price, 10, anew=True), answer)
        assert found.emitters.size == n


def test_a_part_fitted_among_held_neighbours_ends_where_all_together_do(model):
    """Of four emitters two overlap: fitted beside the light of the others, as they stand, they end in the same places.

    The light that stays is that of the others alone: with them and the background it is the whole mean.
    """
    places = np.array([(1.0, 1.0, 0.0), (1.4, 1.2, 0.2), (4.0, 1.2, -0.1), (6.0, 1.3, 0.1)])
    rng, bank = np.random.default_rng(4), make_bank(model.table, SHAPE)
    empty = make_frame(CAMERA, jnp.full(SHAPE, 20.0), jnp.ones(SHAPE, bool))
    crowd = no_emitters(model, empty, 4)
    light = {"xyz_um": jnp.asarray(places), "photons": jnp.full(4, 3e3), "present": jnp.ones(4, bool)}
    drawn = np.asarray(draw_crowd(model, replace(crowd, **light)))
    frame = make_frame(CAMERA, jnp.asarray(rng.poisson(drawn).astype(float)), jnp.ones(SHAPE, bool))
    frames = jax.tree.map(lambda leaf: leaf[None], frame)
    whole = serve(model, bank, frames, {0: Fit(begin(model, frame, (places, np.full(4, 3e3))), 30, 1e-3)}, 1)[0]
    some = np.array([True, True, False, False])
    around = serve(model, bank, frames, {0: Around(whole.mean, whole.emitters.keep(some))}, 1)[0]
    others = {"xyz_um": whole.emitters.xyz_um[2:], "photons": whole.emitters.photons[2:], "present": np.ones(2, bool)}
    by_themselves = draw_crowd(model, replace(no_emitters(model, empty, 2), **others)) - 20
    assert np.asarray(around) == pytest.approx(np.asarray(by_themselves), abs=1e-4)
    moved = whole.emitters.keep(some)
    moved = replace(moved, xyz_um=moved.xyz_um + np.array([0.03, -0.02, 0.05]))
    apart = serve(model, bank, frames, {0: Fit(moved, 30, 1e-3, around=around)}, 1)[0]
    assert apart.emitters.xyz_um == pytest.approx(whole.emitters.xyz_um[:2], abs=2e-3)
    assert apart.misfit + apart.evidence == pytest.approx(whole.misfit + whole.evidence, abs=0.05)
    on_a_device = serve(model, bank, frames, {0: Fit(moved, 30, 1e-3, around=around)}, 4)[0]
    assert on_a_device.emitters.xyz_um == pytest.approx(apart.emitters.xyz_um, abs=1e-4)


def test_candidates_far_from_a_part_are_left_out():
    """Within reach along x and y of one of the places; beyond it only where everything is searched."""
    found = Candidates(
        jnp.array([(1.0, 1.0, 0.0), (3.0, 1.0, 0.0), (1.2, 2.9, 0.0), (1.0, 1.0, 0.3)]),
        jnp.ones(4),
        jnp.array([9.0, 8.0, 7.0, 0.0]),
        level=jnp.asarray(5.0),
        inside=jnp.ones(4, bool),
    )
    assert Beside().chosen(found, 9).tolist() == [0, 1, 2]
    assert Beside().chosen(found, 2).tolist() == [0, 1]
    assert Beside(places_um=np.array([(0.5, 1.0, 0.0)]), reach_um=1.0).chosen(found, 9).tolist() == [0]
    assert Beside(places_um=np.array([(0.5, 1.0, 0.0), (2.0, 2.0, 0.0)]), reach_um=1.0).chosen(found, 9).tolist() == [
        0,
        2,
    ]
