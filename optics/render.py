"""Scenes to frames: each emitter is a stamp, rendered at its exact sub-pixel position and added in place.

Memory is bounded by the chunk, not by the number of emitters or frames: stamps are made chunk by chunk
inside a scan that recomputes them for the gradient, and chunks without an emitter are skipped.
"""

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optics.psf import image_of, psf_image, pupil_fields, transmitted_fraction
from optics.pytree import replace
from optics.types import Emitters, OpticsError, Psf

# One PSF for all emitters, or one for each channel
Psfs = Psf | tuple[Psf, ...]

# update (n, K, K) is added to canvas (B, H, W) with its first pixel at index (frame, row, column)
_WINDOWS = jax.lax.ScatterDimensionNumbers(
    update_window_dims=(1, 2), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0, 1, 2)
)


def render_frame(psf: Psfs, emitters: Emitters, shape: tuple[int, int], *, chunk: int = 64) -> jax.Array:
    """Expected photons per pixel of one frame, (H, W), without background.

    `emitters.xyz_um` in frame coordinates (origin at the outer corner of the first pixel). Light outside
    an emitter's stamp (`psf.image_px`) is lost: see `stamp_fraction`. For many frames use `render_frames`; `psf` may
    be one for each colour, as there.

    >>> from optics import make_emitters, make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf, emitters = make_psf(scope, image_px=21), make_emitters([[1.6, 2.0, 0.0]], [1000.0])
    >>> jax.jit(render_frame, static_argnums=2)(psf, emitters, (40, 32)).shape
    (40, 32)
    """
    batched = jax.tree.map(lambda leaf: leaf[None], emitters)
    return render_frames(psf, batched, shape, chunk=chunk)[0]


def render_frames(psf: Psfs, emitters: Emitters, shape: tuple[int, int], *, chunk: int = 64) -> jax.Array:
    """Expected photons per pixel of B frames: leaves of `emitters` are (B, N, ...); returns (B, H, W).

    One `Psf` draws all emitters, whatever their channel; a tuple of them draws each emitter with the PSF at
    `emitters.channel`. Emitters of all frames share the chunks, so frames with few emitters cost little. Light
    outside an emitter's stamp is lost: `render_scenes` says how much it was.
    Raises `OpticsError` for a channel without a PSF, or PSFs of different pixels. Inside `jit`, where numbers cannot
    be looked at, an emitter of a channel without a PSF gives no light.

    >>> from optics import make_emitters, make_microscope, make_psf
    >>> optics = {"na": 1.2, "n_immersion": 1.33, "n_sample": 1.33, "pixel_um": 0.1}
    >>> green, red = (make_psf(make_microscope(wavelength_um=w, **optics), image_px=9) for w in (0.52, 0.67))
    >>> pair = make_emitters([[0.5, 0.5, 0.0], [1.1, 0.6, 0.0]], [1000.0, 2000.0], channel=[0, 1])
    >>> one_frame = jax.tree.map(lambda leaf: leaf[None], pair)
    >>> jax.jit(lambda psfs: render_frames(psfs, one_frame, (12, 16)))((green, red)).shape
    (1, 12, 16)
    """
    return render_scenes(psf, emitters, shape, chunk=chunk)[0]


def render_scenes(
    psf: Psfs, emitters: Emitters, shape: tuple[int, int], *, chunk: int = 64
) -> tuple[jax.Array, jax.Array]:
    """`render_frames`, and beside the frames (B, H, W) the photons of each that fell outside the stamps, (B,).

    A mask that throws light far away is not to be spared its cost: in a sample that goes on beyond the
    frame, what leaves one emitter's stamp is replaced by what others send in, an even background of
    stray / (H W) photons per pixel.
    """
    if isinstance(psf, Psf):
        return _render(psf, emitters, shape, chunk)
    check_channels(psf, emitters)
    channel = jnp.zeros((), jnp.int32) if emitters.channel is None else emitters.channel
    drawn = [
        _render(one, replace(emitters, valid=emitters.valid & (channel == number)), shape, chunk)
        for number, one in enumerate(psf)
    ]
    frames, stray = zip(*drawn, strict=True)
    return reduce(jnp.add, frames), reduce(jnp.add, stray)


def check_channels(psfs: tuple[Psf, ...], emitters: Emitters) -> None:
    """Raise `OpticsError` for what a tuple of PSFs cannot draw, where the numbers are known: outside of `jit`."""
    if not psfs:
        raise OpticsError("render needs a Psf, or one for each channel; the tuple is empty")
    pixels = [psf.microscope.pixel_um for psf in psfs]
    if not any(isinstance(pixel, Tracer) for pixel in pixels) and len({float(pixel) for pixel in pixels}) > 1:
        raise OpticsError(f"the PSFs of the channels have pixels of {', '.join(f'{float(p):g}' for p in pixels)} um")
    if emitters.channel is None or isinstance(emitters.channel, Tracer) or isinstance(emitters.valid, Tracer):
        return
    highest = max(np.asarray(emitters.channel)[np.asarray(emitters.valid)], default=0)
    if highest >= len(psfs):
        raise OpticsError(f"there is no PSF for emitters of channel {highest}; give {highest + 1}, not {len(psfs)}")


def _render(psf: Psf, emitters: Emitters, shape: tuple[int, int], chunk: int) -> tuple[jax.Array, jax.Array]:
    """Frames and stray light of all emitters through one PSF."""
    n_frames, capacity = emitters.photons.shape
    pixel, size = psf.microscope.pixel_um, psf.image_px
    total = n_frames * capacity
    chunk = min(chunk, total)
    slots = -(-total // chunk) * chunk

    frame = jnp.repeat(jnp.arange(n_frames), capacity)
    xyz, photons, valid = emitters.xyz_um.reshape(total, 3), emitters.photons.ravel(), emitters.valid.ravel()
    start, offset = stamp_place(xyz[:, :2], pixel, size)
    relative = jnp.concatenate([offset, xyz[:, 2:]], axis=1)
    height, width = shape
    seen = (start[:, 0] > -size) & (start[:, 0] < width) & (start[:, 1] > -size) & (start[:, 1] < height)
    present = valid & seen

    order = jnp.argsort(~present, stable=True)  # those present first: empty chunks are skipped

    def lay_out(values, fill):
        values = values[order]
        padding = jnp.full((slots - total, *values.shape[1:]), fill, values.dtype)
        return jnp.concatenate([values, padding]).reshape(slots // chunk, chunk, *values.shape[1:])

    # NaN-safe: an absent emitter is drawn at the origin with no light
    relative = jnp.where(present[:, None], relative, 0.0)
    batches = (
        lay_out(frame, 0),
        lay_out(jnp.where(present[:, None], start, 0), 0),
        lay_out(relative, 0.0),
        lay_out(jnp.where(present, photons, 0.0), 0.0),
    )
    canvas = jnp.zeros((n_frames, height + 2 * size, width + 2 * size), xyz.dtype)

    shared = pupil_fields(psf)

    def stamp(point, photons):
        image = image_of(psf, shared, point)
        return image * photons, (transmitted_fraction(psf, shared, point[2]) - image.sum()) * photons

    def add_chunk(drawn, batch):
        frame, start, relative, photons = batch

        def draw(drawn):
            canvas, stray = drawn
            images, missing = jax.vmap(stamp)(relative, photons)
            # whole windows, not single pixels: on the CPU ten times faster
            corner = jnp.stack([frame, start[:, 1] + size, start[:, 0] + size], axis=1)
            return jax.lax.scatter_add(canvas, corner, images, _WINDOWS), stray.at[frame].add(missing)

        return jax.lax.cond(jnp.any(photons > 0), draw, lambda drawn: drawn, drawn), None

    drawn = (canvas, jnp.zeros(n_frames, xyz.dtype))
    if slots == chunk:
        drawn, _ = add_chunk(drawn, jax.tree.map(lambda leaf: leaf[0], batches))
    else:
        drawn, _ = jax.lax.scan(jax.checkpoint(add_chunk), drawn, batches)
    canvas, stray = drawn
    return canvas[:, size : size + height, size : size + width], stray


def stamp_place(xy_um: jax.Array, pixel_um: jax.Array | float, side_px: int) -> tuple[jax.Array, jax.Array]:
    """Column and row of a stamp's first pixel (N, 2), and where emitters at `xy_um` stand from its centre, um (N, 2).

    The stamp's central pixel (for an even stamp: its central corner) is the one nearest to the emitter.

    >>> stamp_place(jnp.array([[0.52, 0.24]]), 0.1, 3)[0].tolist()
    [[4, 1]]
    """
    position = xy_um / pixel_um - 0.5
    lead = (side_px - 1) / 2
    start = jnp.round(position - lead).astype(jnp.int32)
    return start, (position - lead - start) * pixel_um


def lay_stamps(stamps: jax.Array, first: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The sum (H, W) of K stamps (K, S, S), each with its first pixel at row and column `first` (K, 2).

    What sticks out of the frame is cut off.

    >>> lay_stamps(jnp.ones((2, 2, 2)), jnp.array([[0, 0], [-1, 1]]), (2, 3)).tolist()
    [[1.0, 2.0, 1.0], [1.0, 1.0, 0.0]]
    """
    side, (height, width) = stamps.shape[-1], shape
    canvas = jnp.zeros((1, height + 2 * side, width + 2 * side), stamps.dtype)
    corner = jnp.concatenate([jnp.zeros_like(first[:, :1]), first + side], axis=1)
    drawn = jax.lax.scatter_add(canvas, corner, stamps, _WINDOWS)
    return drawn[0, side : side + height, side : side + width]


def stamp_fraction(psf: Psf, z_um: jax.Array) -> jax.Array:
    """Share of an emitter's photons that its stamp holds, at depths `z_um` (Z,); returns (Z,).

    What is missing fell outside `image_px`, or was taken by an iris or a mask's transmission.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> small = make_psf(scope, image_px=9, pupil_px=16, kind="scalar", pixel="centre")
    >>> in_focus, defocused = jax.jit(stamp_fraction)(small, jnp.array([0.0, 1.0]))
    >>> bool(in_focus > defocused)
    True
    """
    xyz = jnp.zeros((z_um.shape[0], 3)).at[:, 2].set(z_um)
    return jax.lax.map(lambda point: psf_image(psf, point).sum(), xyz)
