"""What a fit is given: images, their pixels that count and their camera, checked before long work."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.fits.climb import LEAST_BACKGROUND, LEAST_PHOTONS, Stamp
from optics.types import LEAST_EM_GAIN, Camera, OpticsError, make_camera

_FEWEST_PIXELS = 9  # that must count for five parameters


@dataclasses.dataclass(frozen=True)
class FitInput:
    """N images on the host, flat: `adu` (N, K*K) of any type, `valid` likewise or None where all count.

    `camera` only where its maps differ between images, (N, K*K) or (). `beneath` (N, K*K) photons that are known, or
    None.
    """

    adu: np.ndarray
    valid: np.ndarray | None
    camera: Camera | None
    beneath: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.adu)

    def rows(self, index: np.ndarray) -> Stamp:
        """Those images as a batch for the device, in its floating-point type."""
        adu = np.asarray(self.adu[index], dtype=jnp.result_type(float))
        valid = np.ones(adu.shape, bool) if self.valid is None else self.valid[index]
        beneath = None if self.beneath is None else jnp.asarray(self.beneath[index], dtype=float)
        return Stamp(adu=jnp.asarray(adu), valid=jnp.asarray(valid), camera=self._camera_rows(index), beneath=beneath)

    def _camera_rows(self, index: np.ndarray) -> Camera | None:
        if self.camera is None:
            return None
        fields = _numbers(self.camera)
        picked = {name: jnp.asarray(v[index] if v.ndim else np.full(len(index), v)) for name, v in fields.items()}
        return dataclasses.replace(self.camera, **picked)


def check_input(
    side: int,
    images: ArrayLike,
    valid: ArrayLike | None,
    camera: Camera | None,
    saturation_adu: float | None,
    beneath: ArrayLike | None = None,
) -> tuple[FitInput, Camera]:
    """Check the images (N, side, side) of a fit; return them and the camera that they share. Raises `OpticsError`."""
    adu = np.asarray(images)
    if adu.ndim != 3 or adu.shape[1:] != (side, side):
        raise OpticsError(f"images must be (N, {side}, {side}), the image_px of the psf, not of shape {adu.shape}")
    counts = None
    if valid is not None:
        counts = np.asarray(valid, dtype=bool)
        if counts.shape != adu.shape:
            raise OpticsError(f"valid must have the shape of images {adu.shape}, not {counts.shape}")
    bad = ~np.isfinite(adu) if counts is None else counts & ~np.isfinite(adu)
    _refuse(bad, "NaN or Inf; take them out, or leave those pixels out with valid")
    if saturation_adu is not None:
        below = adu < saturation_adu
        counts = below if counts is None else counts & below
    elif adu.dtype.kind == "u":
        _refuse(
            adu == np.iinfo(adu.dtype).max, "pixels at the converter's limit; pass saturation_adu to leave them out"
        )
    if camera is None:
        negative = adu < 0 if counts is None else counts & (adu < 0)
        _refuse(negative, "negative photons; pass the camera (offset, gain, read noise) that made them")
    if counts is not None:
        few = counts.sum(axis=(1, 2)) < _FEWEST_PIXELS
        if few.any():
            raise OpticsError(
                f"image {np.argmax(few)} has fewer than {_FEWEST_PIXELS} pixels that count ({few.sum()} do)"
            )
        adu, counts = np.where(counts, adu, 0).astype(adu.dtype), counts.reshape(-1, side**2)
    under = None if beneath is None else np.asarray(beneath, dtype=float)
    if under is not None:
        if under.shape != adu.shape:
            raise OpticsError(f"beneath must have the shape of images {adu.shape}, not {under.shape}")
        _refuse(~np.isfinite(under), "NaN or Inf in beneath; give the photons of what is known in every pixel")
        under = under.reshape(-1, side**2)
    shared, own = _check_camera(make_camera() if camera is None else camera, len(adu), side)
    return FitInput(adu=adu.reshape(-1, side**2), valid=counts, camera=own, beneath=under), shared


def check_start(init: ArrayLike, n: int) -> np.ndarray:
    """Check starting points (N, 5); raises `OpticsError`."""
    thetas = np.asarray(init, dtype=jnp.result_type(float))
    if thetas.shape != (n, 5) or not np.isfinite(thetas).all():
        raise OpticsError(
            f"init must be finite x, y, z, photons, background of each image, ({n}, 5), not {thetas.shape}"
        )
    if (thetas[:, 3] < LEAST_PHOTONS).any() or (thetas[:, 4] < LEAST_BACKGROUND).any():
        raise OpticsError(f"init must have photons >= {LEAST_PHOTONS:g} and background >= {LEAST_BACKGROUND:g}")
    return thetas


def _refuse(bad: np.ndarray, why: str) -> None:
    if bad.any():
        which = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
        raise OpticsError(f"{len(which)} of {len(bad)} images (the first: {which[0]}) hold {why}")


def _numbers(camera: Camera) -> dict[str, np.ndarray]:
    fields = {field.name: getattr(camera, field.name) for field in dataclasses.fields(camera) if field.name != "kind"}
    return {name: np.asarray(value, dtype=jnp.result_type(float)) for name, value in fields.items()}


def _check_camera(camera: Camera, n: int, side: int) -> tuple[Camera, Camera | None]:
    """The camera flattened like the images: shared by all, and, where a map differs between images, theirs."""
    fields = _numbers(camera)
    for name, value in fields.items():
        if value.shape not in ((), (side, side), (n, side, side)):
            raise OpticsError(
                f"camera.{name} must be a number, ({side}, {side}) or ({n}, {side}, {side}), not {value.shape}"
            )
    flat = {name: v.reshape(*v.shape[:-2], -1) if v.ndim else v for name, v in fields.items()}
    if all(v.ndim < 3 for v in fields.values()):
        return dataclasses.replace(camera, **{name: jnp.asarray(v) for name, v in flat.items()}), None
    own = {name: np.broadcast_to(v, (n, side**2)) if v.ndim == 1 else v for name, v in flat.items()}
    # stands in for the kind alone: every image has a camera of its own
    stand_in = make_camera(kind=camera.kind, em_gain=LEAST_EM_GAIN if camera.kind == "emccd" else None)
    return stand_in, dataclasses.replace(camera, **own)
