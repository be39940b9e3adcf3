"""Where an emitter is and how bright, from its image alone: maximum-likelihood fits, thousands at once.

x, y, z, photons and background of one emitter in a stamp, for any `Psf` and `Camera`: the search is in `climb.py`,
the images that it needs come from a `PsfTable`. The likelihood of an engineered PSF has several maxima along z, so the
best few depths of a least-squares search are all climbed: the highest wins, and its lead over the next is reported.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.fits import climb
from optics.fits.climb import Climb, ExactImages
from optics.fits.input import FitInput, check_input, check_start
from optics.psf import compiled_fields
from optics.psf_table import PsfTable, tabulate_psf
from optics.pytree import pytree, replace
from optics.types import Camera, OpticsError, Psf

_FIRST_STEPS, _MORE_STEPS = 5, 6  # steps of a chunk before those that have ended are taken out of it
_MOST_STARTS = 5  # of those that are usually asked for
_HOPELESS = 20.0  # a depth this far behind in log-likelihood after the first steps is dropped
_DISTINCT = 3.0  # standard deviations between two maxima that count as two
_CHUNK_PIXELS = {"cpu": 2**18}  # pixels in a chunk: small enough for a processor's cache
_ACCELERATOR_CHUNK_PIXELS = 2**23
_EXACT_SHARE = 16  # an exact image takes so much more memory than one from the table


@pytree
class Fits:
    """What `fit_emitters` found, one row an image.

    `xyz_um` (N, 3) from the stamp's centre, `photons` (N,), `background` (N,) photons per pixel; `crlb_std` (N, 5) the
    smallest possible standard deviations of the five (um, um, um, photons, photons per pixel) at the estimate;
    `log_likelihood` (N,); `chi2_ratio` (N,) Pearson's chi-square over its expectation, 1 for an image that the
    model explains; `rival_gap` (N,) what the second-best maximum found lacks in log-likelihood (inf: none within
    20), below 3 another place is nearly as good; `iterations` (N,); `converged` (N,) bool, whether the last step was
    small; `at_bound` (N,) bool, whether one of the five ended on a limit.
    """

    xyz_um: jax.Array
    photons: jax.Array
    background: jax.Array
    crlb_std: jax.Array
    log_likelihood: jax.Array
    chi2_ratio: jax.Array
    rival_gap: jax.Array
    iterations: jax.Array
    converged: jax.Array
    at_bound: jax.Array


def fit_emitters(
    psf: Psf | PsfTable,
    images: ArrayLike,
    *,
    z_range_um: tuple[float, float] | None = None,
    camera: Camera | None = None,
    valid: ArrayLike | None = None,
    init: ArrayLike | None = None,
    table: PsfTable | None = None,
    dipole_rad: ArrayLike | None = None,
    starts: int = 3,
    max_steps: int = 60,
    tolerance: float = 1e-2,
    exact_steps: int = 0,
    saturation_adu: float | None = None,
    beneath: ArrayLike | None = None,
    chunk: int | None = None,
) -> Fits:
    """Fit x, y, z, photons and background of one emitter to each of N images, and say how well that is possible.

    `psf` is a `Psf`, or a table of images that `tabulate_psf` made, which then says the depths. A `Psf` is tabulated
    here, in seconds, unless its `table` is given too.
    `images` (N, image_px, image_px) camera counts, or photons where `camera` is None; each emitter within half a pixel
    or so of its stamp's centre (`cut_stamps`). `z_range_um` bounds z. Camera maps are (image_px, image_px) or
    (N, image_px, image_px). `valid`, of the shape of `images`, leaves pixels out, `saturation_adu` those that reach it.
    `beneath`, of that shape too, is light in photons that is known and not fitted, as that of neighbours; `background`
    is what is even beside it. A fixed dipole's angles are `dipole_rad`.

    `starts` depths are tried, or the one point that `init` (N, 5) gives. A fit has converged when its step is below
    `tolerance` standard deviations. The table's error is 1 % of the noise at 20 000 photons
    (`benchmarks/mle_accuracy.py`). For far brighter emitters up to `exact_steps` steps with exact images of the `Psf`
    follow, which cost some twenty of the others each.

    Any N is one compilation; memory is that of a chunk. Raises `OpticsError` naming the argument.

    >>> from optics import make_microscope, make_psf, psf_image
    >>> scope = make_microscope(na=0.9, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.05], image_px=9, pupil_px=16, kind="scalar", pixel="centre")
    >>> image = 900 * jax.jit(psf_image)(psf, jnp.array([0.02, -0.03, 0.1])) + 5
    >>> fits = fit_emitters(psf, image[None], z_range_um=(-0.2, 0.2), chunk=8)
    >>> bool(jnp.abs(fits.xyz_um[0] - jnp.array([0.02, -0.03, 0.1])).max() < 1e-3)
    True
    """
    if not (starts >= 1 and max_steps >= 1 and exact_steps >= 0 and 0 < tolerance < 1):
        raise OpticsError("a fit needs starts >= 1, max_steps >= 1, exact_steps >= 0 and a tolerance between 0 and 1")
    stamps, camera = check_input(psf.image_px, images, valid, camera, saturation_adu, beneath)
    n = len(stamps)
    thetas = None if init is None else check_start(init, n)
    if n == 0:
        return _no_fits()
    exact, table = _sources(psf, table, z_range_um, dipole_rad, exact_steps)
    box = _limits(table)
    pixels = _CHUNK_PIXELS.get(jax.default_backend(), _ACCELERATOR_CHUNK_PIXELS)
    size = chunk or max(8, pixels // psf.image_px**2)

    owner = np.arange(n)
    if thetas is None:
        # the best of some, whatever their number: one compilation
        work = partial(_starts, max(starts, _MOST_STARTS), table, _start_images(table), camera)
        thetas, there = _in_chunks(work, size, n, lambda rows: (stamps.rows(rows),))
        owner, which = np.nonzero(there[:, :starts])
        thetas = thetas[owner, which]
    climbs = _climb_all(partial(advance_climbs, table, camera, box), stamps, owner, thetas, max_steps, tolerance, size)
    best = _highest(owner, climbs.log_likelihood, n)
    final, source = _take(climbs, best), table
    if exact is not None and exact_steps:
        angles = None if dipole_rad is None else jnp.asarray(dipole_rad)
        source, size = ExactImages(exact, compiled_fields(exact), angles), max(1, size // _EXACT_SHARE)
        advance = partial(advance_climbs, source, camera, box)
        final = _climb_all(advance, stamps, np.arange(n), final.theta, exact_steps, tolerance, size)
        final = replace(final, iterations=final.iterations + climbs.iterations[best])
    work = partial(_summary, source, camera, box)
    quality = _in_chunks(work, size, n, lambda rows: (stamps.rows(rows), final.theta[rows]))
    return Fits(
        xyz_um=jnp.asarray(final.theta[:, :3]),
        photons=jnp.asarray(final.theta[:, 3]),
        background=jnp.asarray(final.theta[:, 4]),
        rival_gap=jnp.asarray(_gap_to_rival(owner, climbs, best, quality["crlb_std"])),
        iterations=jnp.asarray(final.iterations),
        converged=jnp.asarray(final.converged),
        **{name: jnp.asarray(value) for name, value in quality.items()},
    )


def _sources(
    psf: Psf | PsfTable,
    table: PsfTable | None,
    z_range_um: tuple[float, float] | None,
    dipole_rad: ArrayLike | None,
    exact_steps: int,
) -> tuple[Psf | None, PsfTable]:
    """The `Psf`, None where a table came in its place, and its table, made where there is none. Checks both."""
    if isinstance(psf, PsfTable):
        if table is not None:
            raise OpticsError("fit_emitters was given two tables; give one, in place of the psf")
        if exact_steps:
            raise OpticsError(f"exact_steps = {exact_steps} needs the Psf itself; give it, and the table as table=")
        exact, table = None, psf
    else:
        exact = psf
        if table is None:
            if z_range_um is None:
                raise OpticsError("z_range_um is missing: give the depths that an emitter may have, in um")
            return exact, tabulate_psf(exact, z_range_um, dipole_rad=dipole_rad)
        if table.image_px != psf.image_px:
            raise OpticsError(f"table is for image_px = {table.image_px}, psf has image_px = {psf.image_px}")
    if z_range_um is not None and not np.allclose(table.z_range_um, z_range_um):
        raise OpticsError(f"z_range_um = {z_range_um} differs from the table's, {np.asarray(table.z_range_um)}")
    return exact, table


def _no_fits() -> Fits:
    """The fits of no images."""
    none, yes_or_no = jnp.zeros(0, float), jnp.zeros(0, bool)
    return Fits(
        xyz_um=jnp.zeros((0, 3), float),
        photons=none,
        background=none,
        crlb_std=jnp.zeros((0, 5), float),
        log_likelihood=none,
        chi2_ratio=none,
        rival_gap=none,
        iterations=jnp.zeros(0, jnp.int32),
        converged=yes_or_no,
        at_bound=yes_or_no,
    )


_limits, _start_images = jax.jit(climb.limits), jax.jit(climb.start_images)


def _own(stamp, camera):
    return camera if stamp.camera is None else stamp.camera


@partial(jax.jit, static_argnums=0)
def _starts(count, table, tried, camera, stamps):
    def one(stamp):
        return climb.depth_starts(table, tried, _own(stamp, camera), stamp, count)

    return jax.vmap(one)(stamps)


@jax.jit
def advance_climbs(source, camera, box, steps, tolerance, stamps, climbs):
    """Up to `steps` steps of every search of a chunk that has not ended."""
    here = jax.vmap(lambda stamp, theta: climb.standing(source, _own(stamp, camera), stamp, theta))
    step = jax.vmap(
        lambda stamp, at, now: climb.climb_step(source, _own(stamp, camera), stamp, box, at, now, tolerance)
    )

    def unfinished(state):
        count, climbs, _ = state
        return (count < steps) & jnp.any(~(climbs.converged | climbs.stuck))

    def body(state):
        count, climbs, now = state
        ended = climbs.converged | climbs.stuck
        keep = lambda new, old: jnp.where(ended.reshape(-1, *[1] * (new.ndim - 1)), old, new)  # noqa: E731
        return count + 1, *jax.tree.map(keep, step(stamps, climbs, now), (climbs, now))

    return jax.lax.while_loop(unfinished, body, (0, climbs, here(stamps, climbs.theta)))[1]


@jax.jit
def _summary(source, camera, box, stamps, thetas):
    one = lambda stamp, theta: climb.summary(source, _own(stamp, camera), stamp, box, theta)  # noqa: E731
    return jax.vmap(one)(stamps, thetas)


def _in_chunks(work, size: int, n: int, pick):
    """`work(*pick(rows))` for rows 0 ... n - 1, `size` rows at a time, the last chunk filled up; numpy rows back."""
    parts = []
    for start in range(0, n, size):
        done = work(*pick(np.minimum(np.arange(start, start + size), n - 1)))
        parts.append(jax.tree.map(lambda a, keep=n - start: np.asarray(a)[:keep], done))
    return jax.tree.map(lambda *a: np.concatenate(a), *parts)


def _take(tree, rows):
    return jax.tree.map(lambda a: a[rows], tree)


def _climb_all(advance, stamps: FitInput, owner, thetas, max_steps: int, tolerance: float, size: int) -> Climb:
    """Climb from every start (M, 5), `owner` (M,) the stamp it belongs to; the ended ones make room for the others."""
    climbs = jax.tree.map(np.array, climb.begin(jnp.asarray(thetas)))
    active, made = np.arange(len(owner)), 0
    while len(active) and made < max_steps:
        steps = min(_FIRST_STEPS if made == 0 else _MORE_STEPS, max_steps - made)

        def pick(rows, active=active):
            return stamps.rows(owner[active[rows]]), _take(climbs, active[rows])

        moved = _in_chunks(partial(advance, steps, tolerance), size, len(active), pick)
        for old, new in zip(jax.tree.leaves(climbs), jax.tree.leaves(moved), strict=True):
            old[active] = new
        made += steps
        highest = np.full(len(stamps), -np.inf)
        np.maximum.at(highest, owner, climbs.log_likelihood)
        going = ~(climbs.converged | climbs.stuck) & (climbs.log_likelihood > highest[owner] - _HOPELESS)
        active = active[going[active]]
    return climbs


def _highest(owner, log_likelihood, n: int) -> np.ndarray:
    """For each of n stamps the index of its best climb."""
    order = np.lexsort((log_likelihood, owner))
    return order[np.searchsorted(owner[order], np.arange(n), side="right") - 1]


def _gap_to_rival(owner, climbs: Climb, best, std) -> np.ndarray:
    """Log-likelihood between each stamp's best maximum and the best of its others that lies elsewhere."""
    apart = np.abs(climbs.theta - climbs.theta[best][owner]) / std[owner]
    rival = np.max(apart[:, :3], axis=1) > _DISTINCT
    behind = climbs.log_likelihood[best][owner] - climbs.log_likelihood
    gap = np.full(len(best), np.inf)
    np.minimum.at(gap, owner[rival], behind[rival])
    return np.where(gap > _HOPELESS, np.inf, gap)
