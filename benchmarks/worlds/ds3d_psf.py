"""DeepSTORM3D's own images of one emitter, as a table for our fits: its pupil lattice and image pixel imitated.

Its angular coordinate is stretched by N/(N - 1) and its image pixel is wavelength f / (N pitch M) instead of the
camera's; `deepstorm3d_grid.py` compares both with its stored images. What its generator drew is read with this,
real frames are not.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from experiments.reading.spots import SpotTable
from optics import Psf, fourier, make_mask, make_microscope, make_psf
from optics.grids import pixel_centres_um
from optics.masks.sampling import rotate_180
from optics.psf_table import PsfTable, tabulate_images
from optics.pupil import make_pupil
from optics.pytree import replace
from worlds import DATA
from worlds.lattice import lattice_nodes

NA, N_WATER, MAGNIFICATION, PIXEL_UM = 1.45, 1.33, 100, 0.11
_KERNEL_PX = 9  # of its blur
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Demo:
    """Mask, its pixels and their pitch (um), focal length (um) of the 4f relay, wavelength, focus and depths (um)."""

    mask: str
    n: int
    pitch_um: float
    focal_um: float
    wavelength_um: float
    focus_um: float
    depths_um: tuple[float, float]

    @property
    def half_width(self) -> float:
        """Of the mask, in radii of the pupil."""
        return self.n * self.pitch_um / (2 * self.focal_um * NA / math.sqrt(MAGNIFICATION**2 - NA**2))

    @property
    def stretch(self) -> float:
        return self.n / (self.n - 1)

    @property
    def image_pixel_um(self) -> float:
        return self.wavelength_um * self.focal_um / (self.n * self.pitch_um * MAGNIFICATION)


DEMOS = {
    2: Demo("mask_tetrapod_printed", 203, 30.0, 1.0e5, 0.67, 1.5, (0.0, 4.0)),
    3: Demo("mask_tetrapod", 329, 24.0, 1.5e5, 0.58, 4.5, (2.0, 6.0)),
    5: Demo("mask_learned", 329, 24.0, 1.5e5, 0.58, 4.5, (2.0, 6.0)),
}


def demo_psf(demo: Demo, image_px: int) -> Psf:
    """Our scalar PSF of a demo's optics on the right grid, mask turned as its Fourier sign asks for."""
    phase_rad = np.load(DATA / "ds3d-masks" / f"{demo.mask}.npy").astype(float)
    scope = make_microscope(
        na=NA, iris_na=N_WATER, n_immersion=1.518, n_sample=N_WATER, wavelength_um=demo.wavelength_um,
        pixel_um=PIXEL_UM, focus_um=demo.focus_um,
    )  # fmt: skip
    opd_um = phase_rad * demo.wavelength_um / (2 * np.pi)
    mask = make_mask(opd_um, design_wavelength_um=demo.wavelength_um, half_width=demo.half_width, wrapped=True)
    return make_psf(scope, mask=rotate_180(mask), kind="scalar", image_px=image_px, pixel="centre", z_range_um=(0, 6))


def demo_images(demo: Demo, points: NDArray, image_px: int, blur_px: ArrayLike = 0.0) -> NDArray:
    """Its images (N, image_px, image_px) of one photon at `points` (N, 3) um from the stamp's centre.

    `blur_px`, one number or one a point, is the sigma of its Gaussian kernel of 9 x 9 pixels.
    """
    psf = demo_psf(demo, image_px)
    inside = 2 * math.ceil(demo.n * N_WATER / NA / demo.half_width / 2) + 1  # cells of the lattice that pass light
    blur = np.broadcast_to(np.asarray(blur_px, float), len(points))
    images = []
    for start in range(0, len(points), _BATCH):  # of one size, so that there is one compilation
        at = np.minimum(np.arange(start, start + _BATCH), len(points) - 1)
        batch = _images(psf, jnp.asarray(points[at]), jnp.asarray(blur[at]), demo, inside)
        images.append(np.asarray(batch)[: len(points) - start])
    return np.concatenate(images)


@functools.partial(jax.jit, static_argnames=("demo", "inside"))
def _images(psf: Psf, points: jax.Array, blur_px: jax.Array, demo: Demo, inside: int) -> jax.Array:
    assert psf.mask is not None
    stretched = replace(psf, mask=replace(psf.mask, half_width=psf.mask.half_width * demo.stretch))
    nodes = lattice_nodes(inside, demo.half_width * demo.stretch * inside / demo.n, N_WATER / NA)
    pupil = make_pupil(stretched, nodes)
    kx, ky = pupil.kx_rad_um / demo.stretch, pupil.ky_rad_um / demo.stretch
    lit = pupil.weight != 0
    side = psf.image_px + _KERNEL_PX - 1
    x_um = pixel_centres_um(side, demo.image_pixel_um)
    away = jnp.arange(_KERNEL_PX) - _KERNEL_PX // 2

    def one(point: jax.Array, sigma: jax.Array) -> jax.Array:
        phase = pupil.kz_sample_rad_um.real * point[2] - kx * point[0] - ky * point[1]
        image = fourier.intensity((pupil.phasor * lit * jnp.exp(1j * phase))[None], kx, ky[:, 0], x_um, x_um)
        image = image / (float(demo.n) ** 2 * jnp.sum(lit))  # the sum over its whole transform, by Parseval
        safe = jnp.maximum(sigma, 0.2)
        kernel = jnp.where(sigma > 0, jnp.exp(-(away**2) / (2 * safe**2)) / (jnp.sqrt(2 * jnp.pi) * safe), away == 0)
        along = jax.scipy.signal.convolve(image, kernel[:, None], mode="valid")
        return jax.scipy.signal.convolve(along, kernel[None, :], mode="valid")

    return jax.lax.map(lambda pair: one(*pair), (points, blur_px), batch_size=4)


def demo_spots(
    demo: Demo, work: Path, *, image_px: int = 61, blur_px: float = 1.0, tolerance: float = 2e-3
) -> SpotTable:
    """The table of a demo's images under one blur, kept in `work`."""

    def make() -> PsfTable:
        return tabulate_images(
            lambda points: demo_images(demo, points, image_px, blur_px).reshape(len(points), -1),
            demo.depths_um, image_px=image_px, pixel_um=PIXEL_UM, degrees=(9, 34), tolerance=tolerance,
        )  # fmt: skip

    return _kept(make, work, demo.mask, (demo, image_px, blur_px, tolerance))


def _kept(make: Callable[[], PsfTable], work: Path, name: str, settings: tuple) -> SpotTable:
    """A table that is in `work`, or made and put there."""
    told = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    path = work / f"ds3d_{name}_{told}.npz"
    if not path.exists():
        table = make()
        work.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{field.name: getattr(table, field.name) for field in dataclasses.fields(table)})
    with np.load(path) as kept:
        values = {name: kept[name] for name in kept.files}
    degrees = tuple(int(n) for n in values.pop("degrees"))
    table = PsfTable(
        image_px=int(values.pop("image_px")),
        reach_px=float(values.pop("reach_px")),
        degrees=(degrees[0], degrees[1]),
        **{name: jnp.asarray(value) for name, value in values.items()},
    )
    return SpotTable(table, PIXEL_UM, deep=True)
