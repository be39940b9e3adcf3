"""Emitters of a crowd read once more, each as every species, while its neighbours stay where they are.

What a neighbour sends into an emitter's stamp is known as long as that is held, so that the fits of single emitters
(`fit.py`) serve: from several depths, thousands at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from optics.camera import log_likelihood
from optics.fits.crowd import CrowdModel, Frame
from optics.fits.fit import fit_emitters

_CHUNK = 16  # emitters at a time: one compiled program
_STEPS, _TOLERANCE = 30, 0.05  # in standard deviations: a thousandth of log-likelihood
_FEWEST_PIXELS = 9  # that must count for five parameters


@dataclass(frozen=True)
class Readings:
    """n emitters, or groups of them, as S species: `gain` (S, n) in log-likelihood over the fit that they stand in.

    `xyz_um` (S, n, 3) and `photons` (S, n) are where each stands as that species. What the frame shows too little of
    gains nothing, and is nothing but what it is.
    """

    gain: NDArray[np.float64]
    xyz_um: NDArray[np.float64]
    photons: NDArray[np.float64]


def reread(
    model: CrowdModel,
    frame: Frame,
    xyz_um: NDArray,
    photons: NDArray,
    channel: NDArray,
    images: NDArray,
    surface: jax.Array,
    mean: jax.Array,
    groups: Sequence[tuple[int, ...]] | None = None,
    starts: int = 3,
) -> Readings:
    """Fit each of n emitters as every species, all else held: neighbours, light around stamps, structure of background.

    `xyz_um` (n, 3), `photons`, `channel` (n,) and `images` (n, H, W), in photons, are the emitters of a fit whose
    `mean` and background `surface` (H, W) are. With `groups` of their numbers the light of each group is read as one
    emitter's. A level that is even over the stamp is fitted along. `starts` depths are tried.
    """
    if groups is not None:
        members = np.array([np.isin(np.arange(len(photons)), group) for group in groups], float)
        weight = members * photons[None]
        xyz_um = (weight @ xyz_um) / weight.sum(axis=1, keepdims=True)
        photons, channel = weight.sum(axis=1), np.full(len(members), -1)
        images = np.tensordot(members, images, 1)
    tables, n = model.paths[0].tables, len(photons)
    gain = np.where(np.arange(len(tables))[:, None] == channel[None], 0.0, -np.inf)
    places = np.broadcast_to(np.asarray(xyz_um, float), (len(tables), n, 3)).copy()
    light = np.broadcast_to(np.asarray(photons, float), (len(tables), n)).copy()
    side, pixel = model.table.image_px, float(model.pixel_um)
    first = np.round(xyz_um[:, :2] / pixel - side / 2).astype(int)
    first = np.clip(first, -side, np.array(model.shape[::-1])[None])
    rows, columns = ((first[:, axis, None] + side + np.arange(side)) for axis in (1, 0))

    def cut(image, mode: Literal["constant", "edge"] = "constant"):
        return np.pad(np.asarray(image), side, mode)[rows[:, :, None], columns[:, None, :]]

    valid = cut(frame.valid)
    told = np.flatnonzero(valid.sum(axis=(1, 2)) >= _FEWEST_PIXELS)
    if not told.size:
        return Readings(gain, places, light)
    centre = (first + side / 2) * pixel
    seen, level = cut(mean), cut(surface)
    level = np.sum(level * valid, axis=(1, 2)) / np.maximum(valid.sum(axis=(1, 2)), 1)
    shown = np.pad(images, [(0, 0), (side, side), (side, side)])
    own = shown[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    camera = jax.tree.map(lambda leaf: cut(leaf, "edge")[told] if np.ndim(leaf) == 2 else leaf, model.camera)
    adu, valid = cut(frame.adu)[told], valid[told]
    each = log_likelihood(camera, jnp.asarray(adu), jnp.asarray(np.where(valid, seen[told], 1.0)))
    before = np.where(valid, np.asarray(each, float), 0).sum(axis=(1, 2))
    beneath = np.where(valid, (seen - own - level[:, None, None])[told], 0.0)
    for number, table in enumerate(tables):
        fits = fit_emitters(
            table,
            adu,
            camera=camera,
            valid=valid,
            beneath=beneath,
            starts=starts,
            max_steps=_STEPS,
            tolerance=_TOLERANCE,
            chunk=_CHUNK,
        )
        gain[number, told] = np.asarray(fits.log_likelihood, float) - before
        places[number, told] = np.asarray(fits.xyz_um, float)
        places[number, told, :2] += centre[told]
        light[number, told] = np.asarray(fits.photons, float)
    return Readings(gain, places, light)
