"""Which species an emitter is of, from its image: fits under every hypothesis, the likeliest wins.

The likelihood-ratio reader: place, depth, light and background are fitted anew for each species, with several depths
to start from, and the posterior of the species follows from the highest likelihoods. Thousands of images at once.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from optics.fits.fit import Fits, fit_emitters
from optics.psf_table import PsfTable
from optics.pytree import pytree
from optics.types import Camera, OpticsError


@pytree
class Classified:
    """N images read: `channel` (N,) int the likeliest species, `p_channel` (N,) its posterior.

    `posterior` (S, N) of all species, `fits` those of the species chosen; `lead` (N,) how far its log-likelihood is
    ahead of the next species'.
    """

    channel: jax.Array
    p_channel: jax.Array
    posterior: jax.Array
    lead: jax.Array
    fits: Fits


def classify_emitters(
    tables: Sequence[PsfTable],
    images: ArrayLike,
    *,
    camera: Camera | None = None,
    valid: ArrayLike | None = None,
    prior: ArrayLike | None = None,
    starts: int = 5,
    chunk: int | None = None,
) -> Classified:
    """Read place, light and species of one emitter in each of N images (N, K, K).

    `tables` (S of them) are the species' images (`tabulate_species`, or any that `tabulate_psf` made); `prior` (S,)
    how frequent each is, evenly unless said. The other arguments are those of `fit_emitters`. All species have the
    same five unknowns, so that likelihoods are compared as they are.
    Raises `OpticsError` for fewer than two tables, or a prior of another length or that is not positive.

    >>> from optics import make_microscope, make_psf, psf_image, tabulate_psf
    >>> tables, images = [], []
    >>> for wavelength in (0.5, 0.7):
    ...     scope = make_microscope(na=0.9, n_immersion=1.33, n_sample=1.33, wavelength_um=wavelength, pixel_um=0.1)
    ...     psf = make_psf(scope, image_px=11, pupil_px=16, kind="scalar", pixel="centre")
    ...     tables.append(tabulate_psf(psf, (-0.2, 0.2)))
    ...     images.append(5000 * jax.jit(psf_image)(psf, jnp.array([0.02, -0.03, 0.1])) + 5)
    >>> classify_emitters(tables, jnp.stack(images), chunk=8).channel.tolist()
    [0, 1]
    """
    tables = tuple(tables)
    if len(tables) < 2:
        raise OpticsError("species are told apart between at least two PSFs; give a table for each")
    weight = np.full(len(tables), 1 / len(tables)) if prior is None else np.asarray(prior, float)
    if weight.shape != (len(tables),) or not (np.isfinite(weight).all() and (weight > 0).all()):
        raise OpticsError(f"prior must be {len(tables)} positive numbers, one for each species, not {weight.tolist()}")
    pictures, counted = np.asarray(images), None if valid is None else np.asarray(valid)
    every = [
        fit_emitters(table, pictures, camera=camera, valid=counted, starts=starts, chunk=chunk) for table in tables
    ]
    height = np.stack([np.asarray(fits.log_likelihood, float) for fits in every])
    height = height + np.log(weight / weight.sum())[:, None]
    channel, posterior, lead = decide(height)
    rows = np.arange(height.shape[1])
    chosen = jax.tree.map(lambda *parts: jnp.stack(parts)[channel, rows], *every)
    return Classified(
        channel=jnp.asarray(channel, jnp.int32),
        p_channel=jnp.asarray(posterior[channel, rows]),
        posterior=jnp.asarray(posterior),
        lead=jnp.asarray(lead),
        fits=chosen,
    )


def decide(log_likelihood: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest species (N,), the posterior (S, N) and the lead (N,) from log-likelihoods (S, N), prior included.

    >>> channel, posterior, lead = decide([[0.0, 1.0], [0.0, -1.0]])
    >>> posterior[:, 0].tolist(), channel.tolist(), lead.tolist()
    ([0.5, 0.5], [0, 0], [0.0, 2.0])
    """
    height = np.asarray(log_likelihood, float)
    order = np.sort(height, axis=0)
    odds = np.exp(height - order[-1])
    return np.argmax(height, axis=0), odds / odds.sum(axis=0), order[-1] - order[-2]
