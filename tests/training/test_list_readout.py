"""From maps to a list: what pixels say together, on maps made by hand and against picking one by one."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize_scalar

from nets import ListMaps
from training import maps_to_localizations
from training.decoders.list_readout import RAW, SAME_SIGMAS, SAME_UM, gather_claims, without_focus

PIXEL = 0.1


def maps_of(shape, pixels):
    """Maps of one frame where `pixels` {(i, j): (probability, x, y, z)} speak and all others are silent."""
    logit, offset, z = np.full((1, *shape), -30.0), np.zeros((1, *shape, 2)), np.zeros((1, *shape))
    for (i, j), (p, x, y, depth) in pixels.items():
        logit[0, i, j] = np.log(p / (1 - p))
        offset[0, i, j] = x - (j + 0.5) * PIXEL, y - (i + 0.5) * PIXEL
        z[0, i, j] = depth
    sigma = np.ones((1, *shape, 4)) * (0.01, 0.01, 0.03, 100.0)
    level = np.full((1, *shape), 7.0)
    return ListMaps(*map(jnp.asarray, (logit, offset, z, np.full((1, *shape), 900.0), sigma, level)))


def test_pixels_that_claim_one_place_are_one_emitter():
    """0.3 + 0.2 + 0.2 of three pixels, none of them 0.5, are 0.7; the place is their mean, which is their sigma too."""
    maps = maps_of(
        (9, 9), {(4, 4): (0.3, 0.44, 0.45, 1.0), (4, 5): (0.2, 0.46, 0.45, 1.1), (3, 3): (0.2, 0.44, 0.5, 1.0)}
    )
    found = maps_to_localizations(maps, PIXEL, threshold=0.5, first_frame=3)
    assert found.frame.tolist() == [3]
    weight = np.array([3, 2, 2]) / 7
    x = np.array([0.44, 0.46, 0.44])
    np.testing.assert_allclose(found.score, 0.7, atol=1e-6)  # float32 logits
    np.testing.assert_allclose(found.x_um, weight @ x, atol=1e-6)
    np.testing.assert_allclose(found.sigma_x_um, np.sqrt(1e-4 + weight @ (x - weight @ x) ** 2), rtol=1e-4)
    assert maps_to_localizations(maps, PIXEL, threshold=0.75).x_um.size == 0


def test_neighbours_that_claim_other_places_are_other_emitters():
    """Two pixels side by side, 1 um apart in depth: two emitters, each with its own probability and place."""
    maps = maps_of(
        (9, 9), {(4, 4): (0.9, 0.45, 0.45, 0.5), (4, 5): (0.8, 0.5, 0.45, 1.5), (0, 8): (0.6, 0.85, 0.05, 1.0)}
    )
    found = maps_to_localizations(maps, PIXEL)
    np.testing.assert_allclose(found.score, [0.6, 0.9, 0.8], atol=1e-6)
    np.testing.assert_allclose(found.z_um, [1.0, 0.5, 1.5], atol=1e-6)


def one_by_one(maps, probability, threshold):
    """The definition as a loop: the pixel with most behind it, then the next, of those that are left."""
    rows = []
    for b, frame in enumerate(probability):
        left, (height, width) = frame.copy(), frame.shape
        left[left <= RAW] = 0
        place = np.stack(
            [
                (np.arange(width) + 0.5) * PIXEL + np.asarray(maps.offset_um[b, ..., 0]),
                (np.arange(height)[:, None] + 0.5) * PIXEL + np.asarray(maps.offset_um[b, ..., 1]),
                np.asarray(maps.z_um[b]),
            ]
        )
        sigma = np.asarray(maps.sigma[b])[..., :3]

        def members(i, j, left=left, place=place, sigma=sigma, height=height, width=width):
            for k in range(max(i - 2, 0), min(i + 3, height)):
                for n in range(max(j - 2, 0), min(j + 3, width)):
                    near = np.maximum(SAME_SIGMAS * np.maximum(sigma[i, j], sigma[k, n]), SAME_UM)
                    if left[k, n] and (np.abs(place[:, i, j] - place[:, k, n]) <= near).all():
                        yield k, n

        while left.any():
            behind = {tuple(p): sum(left[m] for m in members(*p)) for p in np.argwhere(left > 0)}
            pick = max(behind, key=behind.__getitem__)
            if behind[pick] >= threshold:
                rows.append((b, min(behind[pick], 1.0)))
            for member in list(members(*pick)):
                left[member] = 0
    return sorted(rows)


def test_rounds_of_picks_are_picking_one_by_one():
    """Random maps, dense enough that windows overlap: the same emitters, by frame and probability, as the loop's."""
    rng = np.random.default_rng(0)
    shape = (2, 12, 14)
    maps = ListMaps(
        logit=jnp.zeros(shape),
        offset_um=jnp.asarray(rng.normal(0, 0.06, (*shape, 2))),
        z_um=jnp.asarray(rng.uniform(0, 1.2, shape)),
        photons=jnp.ones(shape),
        sigma=jnp.asarray(rng.uniform(0.01, 0.08, (*shape, 4))),
        background=jnp.ones(shape),
    )
    probability = rng.uniform(0, 0.4, shape) ** 2
    (b, _, _), score, *_ = gather_claims(maps, probability, PIXEL, threshold=0.05)
    expected = one_by_one(maps, probability, 0.05)
    assert len(expected) > 20
    np.testing.assert_allclose(sorted(zip(b, score, strict=True)), expected, rtol=1e-12)


def test_the_focal_weight_is_taken_back():
    """The output that makes the focal loss least (scipy, from the loss as written) is turned into the probability."""
    for q in (0.02, 0.3, 0.5, 0.9):

        def loss(p, q=q):
            return -q * (1 - p) * np.log(p) - (1 - q) * p * np.log(1 - p)

        found: Any = minimize_scalar(loss, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-12})
        np.testing.assert_allclose(without_focus(np.array(found.x)), q, atol=1e-4)  # the minimum is flat
