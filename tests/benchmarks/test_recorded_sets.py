"""What the benchmarks of the joint fit on recorded and published sets lean on."""

import numpy as np
import pytest
import shot_setting
from scipy.special import ndtr

from experiments.reading.spots import gaussian_spots
from localization import make_localizations
from worlds.painted import painter
from worlds.truth_joint import put_in, unstretched


def test_a_stretched_frame_is_taken_back_to_photons():
    """Poisson counts, less their least and over their range: the steps and the noise give them back within 2 %."""
    rng = np.random.default_rng(3)
    row, column = np.mgrid[:121, :121]
    expected = 30 + 40 * np.exp(-((row - 60) ** 2 + (column - 50) ** 2) / 2000)
    counts = rng.poisson(expected).astype(float)
    stretched = ((counts - counts.min()) / np.ptp(counts)).astype(np.float32)
    found = unstretched(stretched.astype(float))
    assert np.ptp(found - counts) < 1e-6  # the steps are whole photons
    # the variance of 5,000 blocks of the level is known to 2 %: half a photon of 40
    assert abs(np.mean(found - counts)) < 2.0


def test_time_on_in_a_frame_is_that_of_a_stationary_process():
    """An emitter gives its time on, tau, spread over 1 + tau frames: the mean share is their ratio."""
    share = shot_setting.on_share(np.random.default_rng(1), 40_000)
    tau = shot_setting.ON_FRAMES
    # standard error 0.4 / sqrt(40,000)
    assert abs(share.mean() - tau / (1 + tau)) < 0.008
    assert share.min() > 0 and share.max() == 1.0


def test_dim_emitters_neither_reward_nor_punish():
    """Found or not, an emitter below the quantile changes no score; a found place without any truth does."""
    truth = make_localizations([0, 0, 1, 1], [1.0, 3.0, 1.0, 3.0], [1.0, 3.0, 1.0, 3.0], [0.0] * 4,
                               photons=[9e3, 100, 9e3, 100])  # fmt: skip
    found = make_localizations([0, 1, 1], [1.0, 1.0, 3.0], [1.0, 1.0, 3.0], [0.0] * 3, photons=[9e3, 9e3, 90])
    one = shot_setting.scored(found, truth, 2, dim=1000)
    assert one["jaccard"][0] == 1.0 and (one["n_found"], one["n_truth"]) == (2, 2)
    more = make_localizations([0, 0], [1.0, 5.0], [1.0, 5.0], [0.0] * 2, photons=[9e3, 9e3])
    assert shot_setting.scored(more, truth, 2, dim=1000)["jaccard"][0] == pytest.approx(1 / 3)


def test_rows_of_the_joint_fit_replace_their_own_alone():
    """Measured again, they stand once, after the other rows of ours on the same set; the peers' rows stay."""
    kept = [{"set": s, "method": m} for s in "ab" for m in ("Colocus, fits", "Colocus, joint", "Picasso")]
    fresh = [{"set": s, "method": "Colocus, joint", "new": True} for s in "ab"]
    rows = put_in(kept, fresh)
    assert [(r["set"], r["method"]) for r in rows] == [(r["set"], r["method"]) for r in kept]
    assert sum("new" in r for r in rows) == 2
    behind = put_in(rows, [{"set": "a", "method": "Colocus, decoder + joint"}])
    kinds = ["Colocus, fits", "Colocus, joint", "Colocus, decoder + joint", "Picasso"]
    assert [r["method"] for r in behind if r["set"] == "a"] == kinds


def test_a_painted_frame_is_the_sum_of_its_spots():
    """Gaussians integrated over pixels, in closed form; one of them stands beyond the frame."""
    sigma, pixel, shape = 0.13, 0.11, (20, 24)
    xyz = np.array([[0.5, 1.2, 0.1], [-0.2, 0.9, 0.7], [1.7, 0.31, 0.4]])
    photons = np.array([2000.0, 5000.0, 3000.0])
    across, down = (
        np.diff(ndtr((pixel * np.arange(n + 1)[None] - xyz[:, k, None]) / sigma)) for k, n in ((0, 24), (1, 20))
    )
    exact = np.einsum("n,ny,nx->yx", photons, down, across)
    painted = painter(gaussian_spots(sigma, pixel).table, pixel, shape, 4)(xyz * [1, 1, 0], photons)
    # of the brightest pixel: the table's tolerance, and what lies beyond 4.5 sigma
    assert np.max(np.abs(painted - exact)) < 3e-3 * exact.max()
