"""Sparse deconvolution with the continuous exact l0 penalty, from the paper's equations: a baseline for crowded frames.

Gazagnes, Soubies, Blanc-Feraud 2017 (doi 10.1109/ISBI.2017.7950670): a frame y is A x plus noise, x the light of the
pixels of a grid `upsampling` times finer, A the spots' image, summed over camera pixels. Minimised over x >= 0 is

    1/2 |A x - y|^2 + sum_i [ L - |a_i|^2 / 2 (x_i - sqrt(2 L) / |a_i|)^2 where x_i <= sqrt(2 L) / |a_i|, else L ],

whose global minima are those with the l0 norm (Soubies et al. 2015, doi 10.1137/151003714), by iteratively reweighted
l1: weights w_i = |a_i| max(sqrt(2 L) - |a_i| x_i, 0), the slope of the penalty, and FISTA (Beck, Teboulle 2009,
doi 10.1137/080716542) for each weighted problem. A Gaussian spot is separable, and so is A: two small matrices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtr

from localization import Localizations, make_localizations

MOST_WEIGHTS, MOST_STEPS = 20, 400  # reweightings, and steps of FISTA for each
ENOUGH = 2e-4  # relative change of x at which either ends


@dataclass(frozen=True, eq=False)
class Spots:
    """Light of a fine pixel in the camera's pixels along one axis (camera px, fine px), for one photon."""

    share: NDArray[np.float32]
    upsampling: int

    @property
    def norm(self) -> NDArray[np.float32]:
        """|a_i| of the fine pixels (n, n)."""
        along = np.sqrt((self.share**2).sum(axis=0))
        return np.outer(along, along)

    @property
    def steepest(self) -> float:
        """The largest eigenvalue of A^T A."""
        return float(np.linalg.norm(self.share, 2) ** 4)


def make_spots(side_px: int, sigma_px: float, upsampling: int) -> Spots:
    """Tabulate Gaussian spots in the middle of fine pixels, integrated over the camera's."""
    centre = (np.arange(side_px * upsampling) + 0.5) / upsampling
    edges = np.arange(side_px + 1)
    return Spots(np.diff(ndtr((edges[:, None] - centre) / sigma_px), axis=0).astype(np.float32), upsampling)


def solve(y: NDArray[np.float32], spots: Spots, penalty: float) -> NDArray[np.float32]:
    """Return x (n, n), photons of the fine pixels of a frame y (m, m) without its background.

    >>> spots = make_spots(16, 1.1, 4)
    >>> truth = np.zeros((64, 64), np.float32); truth[30, 30] = 1000.0
    >>> found = solve(spots.share @ truth @ spots.share.T, spots, 500.0)
    >>> bool(abs(found[30, 30] - 1000) < 50)
    True
    """
    norm = spots.norm
    jump = np.float32(np.sqrt(2 * penalty))
    x = np.zeros(norm.shape, np.float32)
    for _ in range(MOST_WEIGHTS):
        weights = norm * np.maximum(jump - norm * x, 0)
        fresh = _weighted(y, spots, weights, x)
        change = float(np.linalg.norm(fresh - x))
        x = fresh
        if change <= ENOUGH * float(np.linalg.norm(x)) + 1e-12:
            break
    return x


def _weighted(y: NDArray, spots: Spots, weights: NDArray, start: NDArray) -> NDArray[np.float32]:
    """Minimise 1/2 |A x - y|^2 + sum w x over x >= 0 by FISTA, begun anew where it goes uphill."""
    b, step = spots.share, np.float32(1 / spots.steepest)
    x, z, t = start, start, 1.0
    for _ in range(MOST_STEPS):
        slope = b.T @ (b @ z @ b.T - y) @ b
        fresh = np.maximum(z - step * (slope + weights), 0)
        moved = fresh - x
        if float(((z - fresh) * moved).sum()) > 0:  # O'Donoghue, Candes 2015, doi 10.1007/s10208-013-9150-3
            t = 1.0
        later = (1 + np.sqrt(1 + 4 * t * t)) / 2
        z = fresh + np.float32((t - 1) / later) * moved
        x, t = fresh, later
        if float(np.linalg.norm(moved)) <= ENOUGH * float(np.linalg.norm(x)) + 1e-12:
            break
    return x


def located(x: NDArray, frame: int, fine_um: float, least: float) -> Localizations:
    """List the groups of touching fine pixels with light: centre of mass, and `least` photons or more together."""
    label, n = ndimage.label(x > 0, structure=np.ones((3, 3)))
    index = np.arange(1, n + 1)
    light = np.asarray(ndimage.sum_labels(x, label, index), float)
    centre = np.array(ndimage.center_of_mass(x, label, index), float).reshape(-1, 2)
    keep = light >= least
    place = (centre[keep] + 0.5) * fine_um
    frames = np.full(len(place), frame)
    return make_localizations(frames, place[:, 1], place[:, 0], np.zeros(len(place)), photons=light[keep])
