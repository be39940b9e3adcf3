"""All emitters of a frame and its background together: what the frame should look like, and how well it does.

In a crowded frame no emitter has pixels of its own. The model is mean(p) = sum_i N_i PSF(p; x_i, y_i, z_i) + b(p) with
b a smooth surface of unknown structure (`smooth.py`).

Where an emitter is seen by several paths at once (biplane, two polarisations), the C images of a frame are one image
(C H, W), one below the other, each with a background of its own; an emitter has x, y, z and photons once.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import correlate1d

from optics.camera import DARK_MEAN_E, adu_to_photons, relative_log_likelihood
from optics.fits.smooth import Surface, even, make_surface, roughness, stack, surface_at
from optics.multipath import SplitPsf
from optics.psf_table import PsfTable, weights
from optics.pytree import pytree, replace
from optics.types import Camera, Emitters, OpticsError
from optics.wings.table import Wings, render_wings

LEAST_MEAN = 1e-2  # photons: what a pixel of the model holds at least
BACKGROUND_PX = 10.0  # over which a background varies, unless it is said
_MOST_BLUR_PX2 = 4.0  # a blur that differs by more is no small change of the table's images
_SECOND_DIFFERENCE = np.array([-1, 16, -30, 16, -1]) / 12
_FIRST_SPREAD = 0.5  # of the level: by how much a background varies before the frame has told


@pytree
class Path:
    """One way of light to the camera: images of an emitter, each of one photon of all paths together.

    `share` () of the light that comes this way beyond what the table's images sum to; `registration` (2, 3) takes an
    emitter's x, y (um) to where this path sees it, as in `multipath.SplitPsf`. `blurring` (R, K * K) is by how much
    the table's pictures change with the variance of a blur (px^2), where emitters have a blur of their own. `rivals`
    are the images of the second and further species, where emitters may be of several.
    """

    table: PsfTable
    share: jax.Array
    registration: jax.Array
    blurring: jax.Array | None = None
    rivals: tuple[PsfTable, ...] = ()

    @property
    def tables(self) -> tuple[PsfTable, ...]:
        """The images of every species."""
        return (self.table, *self.rivals)


@pytree
class CrowdModel:
    """What a frame of emitters looks like: images of one emitter on C paths, camera, pixel, background and its prior.

    Maps of the camera are (C H, W), as the frames are. `wings` is the light around the stamps of each species, where it
    is known; else the background takes it up. `blur_spread_px2` is the standard deviation of the variance of the
    emitters' own blur about that of the table, in px^2; None where all are as sharp. `model_error` is the share of the
    emitters' light by which the table may be wrong in a pixel; None where it is exact.
    """

    paths: tuple[Path, ...]
    camera: Camera
    pixel_um: jax.Array
    surface: Surface
    wings: tuple[Wings, ...] = ()
    blur_spread_px2: jax.Array | None = None
    model_error: jax.Array | None = None

    @property
    def species(self) -> int:
        """How many kinds of emitters there may be."""
        return len(self.paths[0].tables)

    @property
    def unknowns(self) -> int:
        """How many an emitter has: x, y, z and photons, and its blur where that is its own."""
        return 4 if self.blur_spread_px2 is None else 5

    @property
    def table(self) -> PsfTable:
        """The images of the first path."""
        return self.paths[0].table

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what one path sees."""
        height, width = self.surface.shape
        return height // len(self.paths), width


@pytree
class Frame:
    """One frame: counts, whether they count, and `relative_log_likelihood` of each under the mean that fits it best."""

    adu: jax.Array
    valid: jax.Array
    best: jax.Array


@pytree
class Crowd:
    """M slots for emitters and a background: `xyz_um` (M, 3) in the frame, `photons` (M,), `present` (M,) bool.

    `blur_px2` (M,) is the variance of each emitter's blur beyond that of the table (0 where that is not fitted).
    `level` (A, B) are the coefficients of the background in photons per pixel, `spread` () by how many it varies.
    `misfit` () is half the deviance: how much less likely the frame is than under means that fit every pixel; `damping`
    () belongs to the steps. `stray` (H, W) is light that stays during a fit: that of the emitters around their stamps,
    as it was when it began, and that of others.
    `channel` (M,) is the species of each, from 0; None where there is but one.
    """

    xyz_um: jax.Array
    photons: jax.Array
    blur_px2: jax.Array
    present: jax.Array
    level: jax.Array
    spread: jax.Array
    damping: jax.Array
    misfit: jax.Array
    stray: jax.Array
    channel: jax.Array | None = None


def one_path(table: PsfTable) -> tuple[Path, ...]:
    """The only path of an ordinary microscope."""
    return (Path(table=table, share=jnp.asarray(1.0, dtype=float), registration=jnp.eye(2, 3, dtype=float)),)


def species_path(tables: Sequence[PsfTable]) -> tuple[Path, ...]:
    """The only path of an ordinary microscope, where emitters are of several species: a table of each.

    Raises `OpticsError` where the tables' stamps, pixels or depths differ.
    """
    kinds = {
        (table.image_px, *(round(float(of), 6) for of in (table.reach_um / table.reach_px, *table.z_range_um)))
        for table in tables
    }
    if len(kinds) != 1:
        raise OpticsError(
            f"the species' tables have stamps (px), pixels and depths (um) {sorted(kinds)}; make all of one"
        )
    (path,) = one_path(tables[0])
    return (replace(path, rivals=tuple(tables[1:])),)


def make_paths(split: SplitPsf, tables: Sequence[PsfTable]) -> tuple[Path, ...]:
    """The paths of a `SplitPsf`, each with the table of its own `Psf`.

    Raises `OpticsError` where tables and paths, or the tables' stamps and depths, differ.
    """
    if len(tables) != len(split.paths):
        raise OpticsError(f"{len(tables)} tables for {len(split.paths)} paths; give one for each path")
    kinds = {(table.image_px, *np.asarray(table.z_range_um).tolist()) for table in tables}
    if len(kinds) > 1:
        raise OpticsError(f"tables of stamps and depths {sorted(kinds)}; make all of one image_px and z_range_um")
    parts = zip(tables, split.fraction, split.registration, strict=True)
    return tuple(Path(table=table, share=share, registration=affine) for table, share, affine in parts)


def make_crowd_model(
    table: PsfTable | Sequence[Path],
    camera: Camera,
    pixel_um: float,
    shape: tuple[int, int],
    *,
    background_px: float | None = None,
    wings: Wings | Sequence[Wings] | None = None,
    blur_spread_px2: float | None = None,
    model_error: float = 0.0,
) -> CrowdModel:
    """Make the model of frames of `shape` (H, W), its background varying over `background_px` and more.

    With `Path`s in place of a table frames are (C H, W), the C images of `shape` one below the other; `species_path`
    makes that of several species. `wings` are those of `shape`, one for each species. With `blur_spread_px2` each
    emitter has a blur of its own: its variance in px^2 differs by so much (standard deviation) from that of the table,
    as that of beads of many sizes does. What an emitter explains is counted as if the light of all others were known to
    `model_error` of itself. Raises `OpticsError` for wings of several paths, for species on several paths or with a
    blur of their own, for a spread that is not positive, and for an error that is negative.
    """
    paths = one_path(table) if isinstance(table, PsfTable) else tuple(table)
    around = () if wings is None else (wings,) if isinstance(wings, Wings) else tuple(wings)
    species = len(paths[0].tables)
    if species > 1 and (len(paths) > 1 or blur_spread_px2 is not None):
        raise OpticsError("several species are told apart on one path and without blur_spread_px2; leave that out")
    if around and len(paths) == 1 and len(around) != species:
        raise OpticsError(f"{len(around)} wings for {species} species; give those of each")
    if around and len(paths) > 1:
        raise OpticsError(f"wings are those of one path, not of {len(paths)}; leave them to the background")
    if blur_spread_px2 is not None:
        if not 0 < blur_spread_px2 <= _MOST_BLUR_PX2:
            raise OpticsError(f"blur_spread_px2 = {blur_spread_px2} must be above 0 and at most {_MOST_BLUR_PX2:g}")
        paths = tuple(replace(path, blurring=_blurring(path.table)) for path in paths)
    if not 0 <= model_error < np.inf:
        raise OpticsError(f"model_error = {model_error} must be at least 0 and finite")
    surface = stack(make_surface(shape, BACKGROUND_PX if background_px is None else background_px), len(paths))
    return CrowdModel(
        paths=paths,
        camera=camera,
        pixel_um=jnp.asarray(pixel_um, dtype=float),
        surface=surface,
        wings=around,
        blur_spread_px2=None if blur_spread_px2 is None else jnp.asarray(blur_spread_px2, dtype=float),
        model_error=jnp.asarray(model_error, dtype=float) if model_error else None,
    )


def _blurring(table: PsfTable) -> jax.Array:
    """The change of the table's pictures (R, K * K) with the variance of a blur in px^2: half their Laplacian.

    A blur obeys the equation of heat. The differences are those of fourth order.
    """
    pictures = np.asarray(table.pictures, np.float64).reshape(-1, table.image_px, table.image_px)
    curved = [correlate1d(pictures, _SECOND_DIFFERENCE, axis=axis, mode="nearest") for axis in (1, 2)]
    return jnp.asarray((curved[0] + curved[1]).reshape(len(pictures), -1) / 2, dtype=float)


def make_frame(camera: Camera, adu: jax.Array, valid: jax.Array) -> Frame:
    """Make a frame (H, W) ready for fits; `valid` (H, W): pixels that count, such as those not saturated."""
    adu = jnp.where(valid, adu, 0.0)
    photons = jnp.maximum(adu_to_photons(camera, adu), DARK_MEAN_E)
    return Frame(adu=adu, valid=valid, best=relative_log_likelihood(camera, adu, photons))


def no_emitters(model: CrowdModel, frame: Frame, capacity: int) -> Crowd:
    """A frame with an even background and `capacity` free slots: where a search begins."""
    photons = jnp.where(frame.valid, adu_to_photons(model.camera, frame.adu), jnp.nan)
    level = jnp.maximum(jnp.nan_to_num(jnp.nanquantile(photons, 0.25), nan=1.0), 10 * LEAST_MEAN)
    height, width = model.shape
    middle = jnp.array([width / 2, height / 2, 0.0]) * model.pixel_um
    middle = middle.at[2].set(model.table.z_range_um.mean())
    return Crowd(
        xyz_um=jnp.broadcast_to(middle, (capacity, 3)),
        photons=jnp.ones(capacity, middle.dtype),
        blur_px2=jnp.zeros(capacity, middle.dtype),
        present=jnp.zeros(capacity, bool),
        level=even(model.surface, level),
        spread=_FIRST_SPREAD * level,
        damping=jnp.asarray(0.0, middle.dtype),
        misfit=jnp.asarray(jnp.inf, middle.dtype),
        stray=jnp.zeros((), middle.dtype),
        channel=None if model.species == 1 else jnp.zeros(capacity, jnp.int32),
    )


def draw_images(model: CrowdModel, crowd: Crowd, rows: int = 1) -> jax.Array:
    """Draw each emitter by itself, of one photon: (M, rows, H, W), `rows` 4 adds its slopes along x, y, z per um.

    `rows` 5 adds that by the variance of its blur, per px^2.
    """
    seen = [_draw_path(path, model, crowd, rows) for path in model.paths]
    return jnp.concatenate(seen, axis=2)


def _draw_path(path: Path, model: CrowdModel, crowd: Crowd, rows: int) -> jax.Array:
    side, (height, width) = path.table.image_px, model.shape
    pixel, xyz_um = model.pixel_um, crowd.xyz_um
    turn, shift = path.registration[:, :2], path.registration[:, 2]
    xy = xyz_um[:, :2] @ turn.T + shift[None]
    first = jnp.round(xy / pixel - side / 2).astype(jnp.int32)
    points = jnp.concatenate([xy - (first + side / 2) * pixel, xyz_um[:, 2:]], axis=1)

    def mix(table):
        mixed = jax.vmap(lambda point: weights(table, point, rows))(points) * path.share
        if rows > 1:
            mixed = mixed.at[:, 1:3].set(jnp.einsum("ij,mir->mjr", turn, mixed[:, 1:3]))
        return mixed

    mixed = mix(path.table)
    if crowd.channel is None:
        stamps = jnp.matmul(mixed, path.table.pictures)
    else:
        # a species' pictures get the weights of its own emitters alone: to gather pictures would copy whole tables
        of = crowd.channel[:, None, None]
        stamps = jnp.matmul(jnp.where(of == 0, mixed, 0.0), path.table.pictures)
        for number, table in enumerate(path.rivals, 1):
            stamps = stamps + jnp.matmul(jnp.where(of == number, mix(table), 0.0), table.pictures)
    if path.blurring is not None:
        wider = jnp.matmul(mixed, path.blurring)
        stamps = stamps + crowd.blur_px2[:, None, None] * wider
        if rows == 5:
            stamps = jnp.concatenate([stamps, wider[:, :1]], axis=1)
    stamps = stamps.reshape(-1, rows, side, side)
    first = jnp.clip(first, -side, jnp.array([[width, height]], jnp.int32))

    def place(stamp, corner):
        # the frame as a window of the stamp with nothing around it
        around = jnp.pad(stamp, ((0, 0), (height, height), (width, width)))
        return jax.lax.dynamic_slice(
            around, (jnp.int32(0), height - corner[1], width - corner[0]), (rows, height, width)
        )

    return jax.vmap(place)(stamps, first)


def draw_crowd(model: CrowdModel, crowd: Crowd) -> jax.Array:
    """Draw the mean (H, W) that is expected of a crowd, in photons."""
    images = draw_images(model, crowd)[:, 0]
    light = jnp.where(crowd.present, crowd.photons, 0.0)
    shown = jnp.sum(light[:, None, None] * images, axis=0)
    mean = shown + surface_at(model.surface, crowd.level) + crowd.stray
    return jnp.maximum(mean, LEAST_MEAN)


def with_stray(model: CrowdModel, crowd: Crowd) -> Crowd:
    """A crowd with the light around its stamps, from where it stands; none where the model has no wings.

    What goes farther than the wings is left to the background.
    """
    stray = jnp.zeros(model.surface.shape, crowd.photons.dtype)
    stamped = jnp.ones(crowd.present.size, bool)
    for number, wings in enumerate(model.wings):
        own = crowd.present if crowd.channel is None else crowd.present & (crowd.channel == number)
        emitters = Emitters(xyz_um=crowd.xyz_um[None], photons=crowd.photons[None], valid=own[None])
        stray = stray + render_wings(wings, emitters, model.pixel_um, stamped)[0][0]
    return replace(crowd, stray=stray)


def misfit(model: CrowdModel, frame: Frame, mean: jax.Array) -> jax.Array:
    """Half the deviance of a frame: summed as differences, so that single precision tells small gains."""
    each = frame.best - relative_log_likelihood(model.camera, frame.adu, mean)
    return jnp.sum(jnp.where(frame.valid, each, 0.0))


def doubted(model: CrowdModel, known: jax.Array, light: jax.Array) -> jax.Array:
    """What pixels tell, 1 / variance, where emitters' `light` (..., H, W) may be off by the model's error.

    An error e of the light L adds (e L)^2 to the variance of a pixel, of which `known` (H, W) is the inverse.
    """
    if model.model_error is None:
        return jnp.broadcast_to(known, light.shape)
    return known / (1 + known * (model.model_error * light) ** 2)


def rough(model: CrowdModel, crowd: Crowd) -> jax.Array:
    """What the structure of a crowd's background costs, and its emitters' blur: minus the logarithm of their prior."""
    cost = roughness(model.surface, crowd.level, crowd.spread)
    if model.blur_spread_px2 is None:
        return cost
    own = jnp.where(crowd.present, crowd.blur_px2, 0.0)
    return cost + jnp.sum(own**2) / (2 * model.blur_spread_px2**2)
