"""The three PSFs on which the fits are judged and timed: astigmatism, a Tetrapod, a double helix."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from optics import make_microscope, make_psf, masks
from optics.psf import image_of, pupil_fields
from optics.types import Microscope, Psf

BATCH = 16


@dataclass(frozen=True)
class Case:
    """A mask and the range it is made for, the depths of its emitters, their stamp, and the focus that suits them."""

    mask: str
    range_um: float
    depth_um: tuple[float, float]
    focus_um: float
    image_px: int

    @property
    def fit_range_um(self) -> tuple[float, float]:
        """What a fit may answer: from the coverslip to a tenth beyond the range."""
        return 0.0, 1.1 * self.range_um

    def psf(self, image_px: int | None = None) -> Psf:
        """The PSF, on this case's stamp or another."""
        scope = make_microscope(
            na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.67, pixel_um=0.11, focus_um=self.focus_um
        )
        mask = _MASKS[self.mask](self.range_um, scope)
        side = self.image_px if image_px is None else image_px
        return make_psf(scope, mask=mask, image_px=side, z_range_um=self.fit_range_um)


def _astigmatism(range_um: float, scope: Microscope):
    return masks.astigmatism(0.08)


_MASKS = {"astigmatism": _astigmatism, "tetrapod": masks.tetrapod, "double_helix": masks.double_helix}

CASES = {
    "astigmatism": Case("astigmatism", range_um=1.2, depth_um=(0.1, 1.1), focus_um=0.75, image_px=21),
    "double_helix": Case("double_helix", range_um=2.0, depth_um=(0.1, 1.9), focus_um=1.2, image_px=31),
    "tetrapod": Case("tetrapod", range_um=4.0, depth_um=(0.2, 3.7), focus_um=2.4, image_px=41),
}


@jax.jit
def exact_images(psf: Psf, xyz_um: jax.Array) -> jax.Array:
    """Images (N, K, K) at `xyz_um` (N, 3), for one photon, by the exact optics."""
    shared = pupil_fields(psf)
    return jax.lax.map(lambda point: image_of(psf, shared, point), xyz_um, batch_size=BATCH)


def expected_stamps(
    rng: np.random.Generator, psf: Psf, z_um: np.ndarray, photons: float, background: float
) -> tuple[np.ndarray, np.ndarray]:
    """Expected images (N, K, K) of emitters at depths `z_um`, anywhere in the middle pixel, and where (N, 3)."""
    half = float(psf.microscope.pixel_um) / 2
    xyz = np.column_stack([rng.uniform(-half, half, (len(z_um), 2)), z_um])
    return photons * np.maximum(np.asarray(exact_images(psf, jnp.asarray(xyz))), 0) + background, xyz


def random_stamps(
    rng: np.random.Generator, psf: Psf, z_um: np.ndarray, photons: float, background: float
) -> tuple[np.ndarray, np.ndarray]:
    """`expected_stamps` with Poisson noise."""
    expected, xyz = expected_stamps(rng, psf, z_um, photons, background)
    return rng.poisson(expected).astype(np.float32), xyz
