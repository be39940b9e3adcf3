"""The joint reader where the PSF changes over the field: a table of images for each window."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader
from experiments.reading.program import fingerprint
from experiments.reading.spots import SpotTable, psf_spots
from optics import Camera, FieldAberration, Psf, aberration_at, psf_image
from optics.psf_table import PsfTable
from optics.pytree import replace

_TERMS, _PICTURES = 64, 16  # tables are filled up to multiples of these: one compiled program serves them all
_LEAST_CORE_PX = 8
_DEPTHS = 5  # at which the change within a window is measured


class FieldReader(JointReader):
    """Reads each window of a frame with the PSF of its middle: `psf` with the aberrations of a `FieldAberration` there.

    The field is `field_px` pixels wide and high, counted from the first pixel of the movie's frames, as its
    coordinates from -1 to 1 are. `change` is by how much, relative (L2 norm), the images at the corners of a window's
    core differ from those at its middle, at worst: the error of taking one PSF for all of it. Windows are made smaller
    until that is no more than the `model_error` that images are trusted to, or there are 8 px left of their cores.
    """

    def __init__(
        self,
        psf: Psf,
        field: FieldAberration,
        field_px: int,
        z_range_um: tuple[float, float],
        camera: Camera,
        config: ClassicalConfig,
        description: str,
        tolerance: float = 1e-2,
    ) -> None:
        self._psf, self._field, self._field_px = psf, field, field_px
        self._z_range_um, self._tolerance = z_range_um, tolerance
        self._core_px: int | None = None
        self._tables: dict[tuple[float, float], SpotTable] = {}
        super().__init__(self._table_at((field_px / 2, field_px / 2)), camera, config, description)
        self.change, core = self._worst_change(), self.window - 2 * self.halo
        while self.change > config.model_error and core > _LEAST_CORE_PX:
            self._core_px = core = max(core // 2, _LEAST_CORE_PX)
            self.change = self._worst_change()
        self.description = (
            f"{description}, the PSF of each window's place in a field of {field_px} px "
            f"(within a window it changes by {100 * self.change:.1f} % of its light at worst)"
        )
        self.identity |= {"field": [fingerprint(field), field_px], "window": self.window}

    @property
    def window(self) -> int:
        """Side of the windows that large frames are cut into, in pixels."""
        return super().window if self._core_px is None else 2 * self.halo + self._core_px

    def spots_at(self, place: tuple[int, int], size: tuple[int, int]) -> SpotTable:
        """The images of a window whose first pixel is `place` (column, row), of `size` (H, W)."""
        return self._table_at((place[0] + size[1] / 2, place[1] + size[0] / 2))

    def _psf_at(self, middle_px: tuple[float, float]) -> Psf:
        xy = jnp.asarray(2 * np.array(middle_px) / self._field_px - 1, dtype=float)
        return replace(self._psf, zernike_um=aberration_at(self._field, jnp.clip(xy, -1, 1)))

    def _table_at(self, middle_px: tuple[float, float]) -> SpotTable:
        if middle_px not in self._tables:
            spots = psf_spots(self._psf_at(middle_px), self._z_range_um, self._tolerance)
            self._tables[middle_px] = SpotTable(_filled(spots.table), spots.pixel_um, spots.deep, spots.psf)
        return self._tables[middle_px]

    def _worst_change(self) -> float:
        """How much the images change from the middle of a core to its corners: the nine places of a grid, at worst."""
        half = min(self.window - 2 * self.halo, self._field_px) / 2
        low, high = half, self._field_px - half
        z = np.linspace(*self._z_range_um, _DEPTHS)
        points = jnp.asarray(np.column_stack([0 * z, 0 * z, z]), dtype=float)
        draw = jax.jit(lambda psf: jax.vmap(lambda point: psf_image(psf, point))(points))
        worst = 0.0
        for x in (low, self._field_px / 2, high):
            for y in (low, self._field_px / 2, high):
                middle = np.asarray(draw(self._psf_at((x, y))))
                for corner in ((-half, -half), (-half, half), (half, -half), (half, half)):
                    off = np.asarray(draw(self._psf_at((x + corner[0], y + corner[1])))) - middle
                    share = np.sqrt((off**2).sum(axis=(1, 2)) / (middle**2).sum(axis=(1, 2)))
                    worst = max(worst, float(share.max()))
        return worst


def _filled(table: PsfTable) -> PsfTable:
    """A table with zeros added to its terms and pictures."""
    terms, pictures = table.coefficients.shape
    more = [-terms % _TERMS, -pictures % _PICTURES]
    return replace(
        table,
        coefficients=jnp.pad(table.coefficients, ((0, more[0]), (0, more[1]))),
        pictures=jnp.pad(table.pictures, ((0, more[1]), (0, 0))),
        terms=jnp.pad(table.terms, ((0, more[0]), (0, 0))),
    )
