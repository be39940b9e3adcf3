"""A PSF as a short list of pictures: thousands of evaluations with derivatives for the price of a matrix product.

The image of a point is band-limited in x, y and z, so a Chebyshev series in the emitter's position converges
geometrically (Trefethen, Approximation Theory and Approximation Practice, doi 10.1137/1.9781611975949, ch. 8). Its
coefficients are pictures; few of them differ. `PsfTable` keeps the terms that matter and the pictures' principal
components: one evaluation of an image and its three derivatives is a vector of polynomials times two small matrices,
and a batch of them two matrix products. The inner loop of the fits lives on this, as that of Li et al. 2018
(doi 10.1038/nmeth.4661) on cubic splines; the error against `psf_image` is measured when the table is made.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jax.typing import ArrayLike

from optics.psf import PupilFields, compiled_fields, image_of, without_plates
from optics.pytree import pytree, replace, static
from optics.types import OpticsError, Psf, is_matched

_WITNESSES = 48  # exact images, at random positions, that the table is compared with
_BATCH = 64  # exact images at a time
_GROWTH = 1.25  # of the degrees, where the first guess is not enough


@pytree
class PsfTable:
    """Images of one `Psf` for |x|, |y| <= `reach_um` and `z_range_um` (2,); made by `tabulate_psf`.

    `coefficients` (P, R) of the P products of Chebyshev polynomials with degrees `terms` (P, 3) in x, y, z, and
    `pictures` (R, image_px**2), orthogonal. `error` is the largest relative error (L2 norm over the stamp) of 48
    images at random positions.
    """

    coefficients: jax.Array
    pictures: jax.Array
    terms: jax.Array
    reach_um: jax.Array
    z_range_um: jax.Array
    error: jax.Array
    image_px: int = static()
    reach_px: float = static()
    degrees: tuple[int, int] = static()


def tabulate_psf(
    psf: Psf,
    z_range_um: tuple[float, float],
    *,
    reach_px: float = 1.5,
    tolerance: float = 1e-3,
    dipole_rad: ArrayLike | None = None,
) -> PsfTable:
    """Tabulate the images of `psf` over a range of depths, for emitters within `reach_px` pixels of the stamp's centre.

    The degrees follow from the band limits and the ranges; where the images at random positions are off by more
    than `tolerance` they are raised. Takes some thousand exact images: a second or a few. A fixed dipole's images are
    those at `dipole_rad` (2,). Raises `OpticsError` for a range that is empty, in nanometres, or reaches above the
    coverslip where that changes the index.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=0.9, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> table = tabulate_psf(make_psf(scope, image_px=9, pupil_px=16), (0.0, 0.3), reach_px=0.5)
    >>> bool(table.error < 1e-3), table.pictures.shape[1]
    (True, 81)
    """
    low, high = check_z_range(psf, z_range_um)
    reach_um = reach_px * float(psf.microscope.pixel_um)
    return tabulate_images(
        lambda points: _images(psf, points, dipole_rad),
        (low, high),
        image_px=psf.image_px,
        pixel_um=float(psf.microscope.pixel_um),
        degrees=first_degrees(psf, reach_um, high - low, tolerance),
        reach_px=reach_px,
        tolerance=tolerance,
    )


def tabulate_images(
    images: Callable[[np.ndarray], np.ndarray],
    z_range_um: tuple[float, float],
    *,
    image_px: int,
    pixel_um: float,
    degrees: tuple[int, int],
    reach_px: float = 1.5,
    tolerance: float = 1e-3,
    tries: int = 3,
) -> PsfTable:
    """Tabulate images that come from any source: of a calibration, say, or of other optics.

    `images` gives the pictures (N, image_px**2) of one photon at points (N, 3) in um from the stamp's centre.
    `degrees` across and along z are a first guess, raised by a quarter up to `tries` times until 48 images at random
    positions are right to `tolerance`. Raises `OpticsError` where they do not get there.

    >>> from scipy.special import ndtr
    >>> def images(points):  # a Gaussian spot that moves and stays as it is
    ...     edges = np.arange(10) - 4.5
    ...     x, y = (np.diff(ndtr((edges - 10 * points[:, k, None]) / 1.2)) for k in (0, 1))
    ...     return (y[:, :, None] * x[:, None, :]).reshape(len(points), -1)
    >>> table = tabulate_images(images, (0.0, 1.0), image_px=9, pixel_um=0.1, degrees=(9, 2))
    >>> bool(table.error < 1e-3)
    True
    """
    low, high = z_range_um
    if not 0.5 <= reach_px <= image_px / 4:
        raise OpticsError(f"reach_px = {reach_px:g} must be between 0.5 and a quarter of image_px = {image_px}")
    if not 1e-6 <= tolerance <= 1e-2:
        raise OpticsError(f"tolerance = {tolerance:g} must be between 1e-6 and 1e-2")
    reach_um = reach_px * pixel_um
    centre, half = np.array([0, 0, (low + high) / 2]), np.array([reach_um, reach_um, (high - low) / 2])
    draw = np.random.default_rng(0).uniform(-1, 1, (_WITNESSES, 3)) * half + centre
    exact = np.asarray(images(draw), np.float64)
    for _ in range(tries):
        nodes, to_series = zip(*(_gauss_chebyshev(n + 1) for n in (degrees[0], *degrees)), strict=True)
        grid = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 3)
        values = images(grid * half + centre).astype(np.float64)
        coefficients, pictures, terms = _fill(values, nodes, to_series, tolerance)
        table = PsfTable(
            coefficients=jnp.asarray(coefficients, dtype=float),
            pictures=jnp.asarray(pictures, dtype=float),
            terms=jnp.asarray(terms),
            reach_um=jnp.asarray(reach_um, dtype=float),
            z_range_um=jnp.asarray((low, high), dtype=float),
            error=jnp.asarray(np.inf, dtype=float),
            image_px=image_px,
            reach_px=float(reach_px),
            degrees=degrees,
        )
        worst = _error(table, draw, exact)
        if worst <= tolerance:
            return replace(table, error=jnp.asarray(worst, dtype=float))
        degrees = (math.ceil(_GROWTH * degrees[0]), math.ceil(_GROWTH * degrees[1]))
    raise OpticsError(
        f"the table is off by {worst:.1e}, more than tolerance = {tolerance:g}, with degrees {table.degrees} in (x, y) "
        "and z: give a larger tolerance or a shorter z_range_um"
    )


def check_z_range(psf: Psf, z_range_um: tuple[float, float]) -> tuple[float, float]:
    """The depths of a fit as two floats, refused where they are no range of depths in um."""
    try:
        low, high = (float(z) for z in z_range_um)
    except (TypeError, ValueError):
        raise OpticsError(f"z_range_um = {z_range_um!r} must be two depths in um, lowest first") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise OpticsError(f"z_range_um = ({low:g}, {high:g}) must rise from the lowest to the highest depth")
    if high - low > 100:
        raise OpticsError(f"z_range_um = ({low:g}, {high:g}) looks like nanometres; give um")
    if low < 0 and not bool(is_matched(psf.microscope)):
        raise OpticsError(
            f"z_range_um starts at {low:g}, but z counts from the coverslip: start at 0 where the indices differ"
        )
    return low, high


def evaluate(table: PsfTable, xyz_um: jax.Array) -> jax.Array:
    """Image and its derivatives by x, y and z (1/um) at `xyz_um` (3,): (4, image_px**2), for one photon.

    Beyond the table's ranges the series means nothing: the caller stays inside.
    """
    return jnp.matmul(weights(table, xyz_um), table.pictures, precision=Precision.HIGHEST)


def evaluate_on_host(table: PsfTable, xyz_um: ArrayLike) -> np.ndarray:
    """`evaluate` for a few points (N, 3) in double precision, (N, 4, image_px**2), with nothing compiled.

    >>> from scipy.special import ndtr
    >>> def images(points):  # a Gaussian spot that moves and stays as it is
    ...     edges = np.arange(10) - 4.5
    ...     x, y = (np.diff(ndtr((edges - 10 * points[:, k, None]) / 1.2)) for k in (0, 1))
    ...     return (y[:, :, None] * x[:, None, :]).reshape(len(points), -1)
    >>> table = tabulate_images(images, (0.0, 1.0), image_px=9, pixel_um=0.1, degrees=(9, 2))
    >>> evaluate_on_host(table, [[0.0, 0.0, 0.5]]).shape
    (1, 4, 81)
    """
    kept = ("coefficients", "pictures", "reach_um", "z_range_um")
    host = replace(
        table,
        terms=np.asarray(table.terms),
        **{name: np.asarray(getattr(table, name), np.float64) for name in kept},
    )
    points = np.asarray(xyz_um, np.float64)
    parts = [_products(host, point, 4, np) @ np.asarray(host.coefficients) for point in points]
    return np.reshape(parts, (len(points), 4, -1)) @ np.asarray(host.pictures)


def weights(table: PsfTable, xyz_um: jax.Array, rows: int = 4) -> jax.Array:
    """Weights (4, R) of the pictures, for the image and its derivatives by x, y, z; with `rows` 1 (1, R), the image."""
    return jnp.matmul(_products(table, xyz_um, rows, jnp), table.coefficients, precision=Precision.HIGHEST)


def _products(table: PsfTable, xyz_um, rows: int, xp):
    """The polynomials and their derivatives (4, P) at one point, or those (1, P) alone; `xp` computes: numpy, jax's."""
    centre, half = table.z_range_um.mean(), (table.z_range_um[1] - table.z_range_um[0]) / 2
    unit = xp.stack([xyz_um[0] / table.reach_um, xyz_um[1] / table.reach_um, (xyz_um[2] - centre) / half])
    values, slopes = _chebyshev(unit, max(table.degrees), xp)
    x, y, z = (values[:, i][table.terms[:, i]] for i in range(3))
    products = [x * y * z]
    if rows > 1:
        dx, dy, dz = (slopes[:, i][table.terms[:, i]] for i in range(3))
        products += [dx * y * z / table.reach_um, x * dy * z / table.reach_um, x * y * dz / half]
    return xp.stack(products)


def _chebyshev(u, degree: int, xp):
    """T_0 ... T_degree at points `u` (D,), (degree + 1, D), and their derivatives T_n' = n U_(n-1).

    By T_(k+n) = 2 T_k T_n - T_(k-n) and U_(k+n) = 2 U_k T_n - U_(k-n), n = 1 ... k: each line doubles what is known.
    Unrolled, the recurrence by one degree at a time was most of what there is to compile in a fit.
    """
    first, second = xp.stack([xp.ones_like(u), u]), xp.stack([xp.ones_like(u), 2 * u])
    while len(first) <= degree:
        k = min(len(first) - 1, degree + 1 - len(first))
        every = first[1 : k + 1]
        more = 2 * first[-1:] * every - first[-2::-1][:k], 2 * second[-1:] * every - second[-2::-1][:k]
        first, second = xp.concatenate([first, more[0]]), xp.concatenate([second, more[1]])
    number = np.arange(degree + 1, dtype=u.dtype)[:, None]
    return first[: degree + 1], xp.concatenate([xp.zeros_like(second[:1]), second[:degree]]) * number


def first_degrees(psf: Psf, reach_um: float, depth_um: float, tolerance: float) -> tuple[int, int]:
    """Degrees at which the Chebyshev coefficients J_n(a) of a wave of phase +-a have died out.

    a is the half range times the edge of the band: 2 NA k0 across, k0 n (1 - cos theta) along.
    """
    scope = psf.microscope
    k0, n_s = 2 * math.pi / float(scope.wavelength_um), float(scope.n_sample)
    na = min(float(scope.na), float(scope.iris_na))
    along = n_s - math.sqrt(max(n_s**2 - na**2, 0.0))
    # coefficients fall as (e a / 2 n)**n beyond n = a; hardly any light is at the edge of the band itself
    reserve = 2.0 - 0.7 * math.log10(tolerance)
    lateral, axial = 0.6 * 2 * na * k0 * reach_um, 0.9 * k0 * along * depth_um / 2
    return tuple(math.ceil(a + reserve * max(a, 1.0) ** (1 / 3)) for a in (lateral, axial))


def _images(psf: Psf, points: np.ndarray, dipole_rad) -> np.ndarray:
    """Exact images (N, image_px**2) at positions (N, 3) in um."""
    angles = None if dipole_rad is None else jnp.asarray(dipole_rad)
    # all that the mask does is in the fields: without it here, one compilation serves all masks
    fields, bare, images = compiled_fields(psf), without_plates(psf), []
    for start in range(0, len(points), _BATCH):  # of one size, so that there is one compilation
        batch = points[np.minimum(np.arange(start, start + _BATCH), len(points) - 1)]
        images.append(np.asarray(_exact(bare, fields, jnp.asarray(batch), angles))[: len(points) - start])
    return np.concatenate(images)


@jax.jit
def _exact(psf: Psf, fields: PupilFields, points: jax.Array, dipole_rad: jax.Array | None) -> jax.Array:
    one = partial(image_of, psf, fields, dipole_rad=dipole_rad)
    return jax.lax.map(lambda point: one(point).ravel(), points, batch_size=_BATCH // 4)


def _error(table: PsfTable, points: np.ndarray, exact: np.ndarray) -> float:
    off = evaluate_on_host(table, points)[:, 0] - exact
    return float(np.max(np.linalg.norm(off, axis=1) / np.linalg.norm(exact, axis=1)))


def _fill(values: np.ndarray, nodes, to_series, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, pictures and terms from images (N, pixels) at the nodes of x, y and z."""
    series = values.reshape(*(len(n) for n in nodes), -1)
    for axis, matrix in enumerate(to_series):
        series = np.moveaxis(np.tensordot(matrix, series, axes=(1, axis)), 0, axis)
    terms = np.stack(np.meshgrid(*(np.arange(len(n)) for n in nodes), indexing="ij"), axis=-1).reshape(-1, 3)
    faintest = np.linalg.norm(values.reshape(-1, len(nodes[2]), values.shape[-1]), axis=-1).min(axis=0)
    if not faintest.min() > 0:
        raise OpticsError("the PSF has no light within the stamp at some depths of z_range_um")
    # T_k at the depths of the nodes over the faintest image there: errors are relative to each image
    depths = np.polynomial.chebyshev.chebvander(nodes[2], len(nodes[2]) - 1) / faintest[:, None]
    # half of the error that is allowed for the terms left out, half for the components left out
    terms, series = _leading_terms(terms, series.reshape(len(terms), -1), depths, tolerance / 2)
    coefficients, pictures = _leading_pictures(terms, series, depths, tolerance / 2)
    return coefficients, pictures, terms


def _leading_terms(
    terms: np.ndarray, series: np.ndarray, depths: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """The fewest terms, with their pictures, that leave out less than `share` of the image at any depth.

    `depths` (Z, K) are the polynomials in z there over the norm of the image. A term's weight is its largest share of
    any image: by its share of all light together, defocused images, which are faint, would bear the whole error.
    """
    shares = (_mean_square(terms) * np.sum(series**2, axis=1))[:, None] * depths.T[terms[:, 2]] ** 2
    order = np.argsort(shares.max(axis=1))
    left_out = np.cumsum(shares[order], axis=0).max(axis=1)
    kept = np.sort(order[int(np.sum(left_out <= share**2)) :])
    return terms[kept], series[kept]


def _leading_pictures(
    terms: np.ndarray, series: np.ndarray, depths: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (P, R) and pictures (R, pixels): the principal components of the images, each image of norm 1.

    As many as leave out less than `share` of the image at any depth.
    """
    # rows whose Gram matrix is that of all images over their norms: the mean over x and y of the square is diagonal
    along = depths.T @ depths / len(depths)
    rows = np.zeros_like(series)
    _, group = np.unique(terms[:, :2], axis=0, return_inverse=True)
    lateral = np.sqrt(_mean_square(terms))[:, None]
    parts = [np.flatnonzero(group == one) for one in range(group.max() + 1)]
    for part in parts:
        rows[part] = np.linalg.cholesky(along[np.ix_(terms[part, 2], terms[part, 2])]).T @ series[part]
    rows *= lateral
    if len(rows) < rows.shape[1]:
        strength, own = np.linalg.eigh(rows @ rows.T)
        sure = strength > 1e-12 * strength[-1]
        pictures = (own[:, sure] / np.sqrt(strength[sure])).T @ rows
    else:
        pictures = np.linalg.eigh(rows.T @ rows)[1].T
    pictures = pictures[::-1]
    coefficients = series @ pictures.T
    power = np.sum(
        [np.square(depths[:, terms[part, 2]] @ (lateral[part] * coefficients[part])) for part in parts], axis=0
    )
    left_out = np.cumsum(power[:, ::-1], axis=1)[:, ::-1].max(axis=0)
    n = max(1, int(np.sum(left_out > share**2)))
    return coefficients[:, :n], pictures[:n]


def _mean_square(terms: np.ndarray) -> np.ndarray:
    """Mean of (T_i(x) T_j(y))**2 over the square, at Chebyshev's nodes: half for each degree above 0."""
    return np.prod(np.where(terms[:, :2] > 0, 0.5, 1.0), axis=1)


def _gauss_chebyshev(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n roots of T_n, and the matrix (n, n) from values there to coefficients of T_0 ... T_(n-1)."""
    angle = (np.arange(n) + 0.5) * np.pi / n
    matrix = 2 / n * np.cos(np.arange(n)[:, None] * angle[None, :])
    matrix[0] /= 2
    return np.cos(angle), matrix


def pad_table(table: PsfTable, terms: int, pictures: int, degrees: tuple[int, int]) -> PsfTable:
    """Fill a table up with zeros to `terms`, `pictures` and `degrees`: tables of one size share compiled programs.

    Raises `OpticsError` where the table is larger.
    """
    p, r = table.coefficients.shape
    if p > terms or r > pictures or any(own > room for own, room in zip(table.degrees, degrees, strict=True)):
        raise OpticsError(
            f"a table of {p} terms, {r} pictures, degrees {table.degrees} does not fit {terms}, {pictures}, {degrees}"
        )
    return replace(
        table,
        coefficients=jnp.pad(table.coefficients, ((0, terms - p), (0, pictures - r))),
        pictures=jnp.pad(table.pictures, ((0, pictures - r), (0, 0))),
        terms=jnp.pad(table.terms, ((0, terms - p), (0, 0))),
        degrees=degrees,
    )
