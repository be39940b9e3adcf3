"""Bead stacks: one bright point imaged at many foci. How noisy they are, and where beads lie in a field."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy import ndimage

from optics.pytree import pytree
from optics.types import Camera, Microscope, OpticsError

# A displacement at which every slice repeats itself by this much is a second bead (two equal ones: 0.5);
# a single bead, whatever its PSF, hardly repeats itself at all.
SECOND_BEAD = 0.2
MAX_FOCUS_UM = 100.0


@pytree
class BeadStack:
    """Images of one bead at Z positions of the focus.

    `images` (Z, K, K) in camera counts, `focus_um` (Z,) the nominal focus of each, growing into the sample;
    `usable` (Z, K, K) bool, False where a pixel is saturated. `camera` None: its noise is estimated.
    """

    images: jax.Array
    focus_um: jax.Array
    usable: jax.Array
    microscope: Microscope
    camera: Camera | None = None


def make_bead_stack(
    images: ArrayLike,
    focus_um: ArrayLike,
    microscope: Microscope,
    *,
    camera: Camera | None = None,
    saturation_adu: float | None = None,
) -> BeadStack:
    """Build a `BeadStack`, checking each part.

    `images` (Z, K, K) counts, square and with an even surround; `focus_um` (Z,) in any order. Pixels at or
    above `saturation_adu` are left out. Raises `OpticsError` naming the part: shapes that do not fit, fewer
    than 3 slices, NaN or Inf, a focus that repeats itself or looks like nanometres, slices without light, or
    more than a hundredth of all pixels, or half of a slice's, saturated.

    >>> from optics import make_microscope
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> make_bead_stack(np.zeros((3, 15, 15)), [0, 0.1, 0.2], scope)
    Traceback (most recent call last):
    optics.types.OpticsError: the stack shows no bead: slice 0 is even; crop it around one
    """
    stack = np.asarray(images, dtype=float)
    focus = np.asarray(focus_um, dtype=float)
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2] or stack.shape[1] < 9:
        raise OpticsError(f"a bead stack is (slices, K, K) with K at least 9, not of shape {stack.shape}")
    if focus.shape != stack.shape[:1]:
        raise OpticsError(f"{stack.shape[0]} slices need as many focus positions, not {focus.size}; check START:STOP:N")
    if len(focus) < 3:
        raise OpticsError(f"{len(focus)} slices do not determine a pupil; give at least 3, better 15, through focus")
    if not np.isfinite(stack).all():
        raise OpticsError("the stack holds NaN or Inf; pass the camera's counts")
    if not np.isfinite(focus).all() or len(np.unique(focus)) < len(focus):
        raise OpticsError("focus positions must be finite and differ from slice to slice; average repeats first")
    if np.ptp(focus) > MAX_FOCUS_UM:
        raise OpticsError(f"focus from {focus[0]:g} to {focus[-1]:g} looks like nanometres; give um")
    usable = np.ones(stack.shape, bool) if saturation_adu is None else stack < saturation_adu
    if usable.mean() < 0.99:
        raise OpticsError(
            f"{100 * (1 - usable.mean()):.1f} % of the pixels are saturated (at {saturation_adu:g} counts); "
            "record the beads with less light"
        )
    lost = 1 - usable.mean(axis=(1, 2))
    if lost.max() > 0.5:
        raise OpticsError(
            f"slice {int(np.argmax(lost))} is saturated in {100 * lost.max():.0f} % of its pixels; leave it out"
        )
    even = np.ptp(stack, axis=(1, 2)) == 0
    if even.any():
        raise OpticsError(f"the stack shows no bead: slice {int(np.argmax(even))} is even; crop it around one")
    return BeadStack(
        images=jnp.asarray(stack),
        focus_um=jnp.asarray(focus),
        usable=jnp.asarray(usable),
        microscope=microscope,
        camera=camera,
    )


def corner_noise(images: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (Z,) of the background in the four corners of each slice of (Z, K, K).

    A corner is a tenth of the side, at least 3 px. The deviation is about each corner's own mean, so that an
    uneven background is not taken for noise.
    """
    stack = np.asarray(images, dtype=float)
    n = max(3, round(0.1 * stack.shape[-1]))
    rows, columns = (slice(None, n), slice(-n, None)), (slice(None, n), slice(-n, None))
    corners = np.stack([stack[:, r, c].reshape(len(stack), -1) for r in rows for c in columns], axis=1)
    return corners.mean(axis=(1, 2)), np.sqrt(corners.var(axis=2, ddof=1).mean(axis=1))


def noise_ceiling(images: ArrayLike) -> np.ndarray:
    """The correlation (Z,) of each slice with a perfect model: sqrt(1 - noise variance / variance of the slice).

    Noise from the corners alone: shot noise of the bead itself lowers the true ceiling further.
    """
    stack = np.asarray(images, dtype=float)
    _, noise = corner_noise(stack)
    return np.sqrt(np.clip(1 - noise**2 / stack.var(axis=(1, 2)), 0, 1))


def correlation(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Pearson's correlation (Z,) of the slices of two stacks (Z, K, K) over the whole crop.

    >>> correlation(np.arange(9.0).reshape(1, 3, 3), 2 * np.arange(9.0).reshape(1, 3, 3)).round(6).tolist()
    [1.0]
    """
    a, b = (np.asarray(s, dtype=float).reshape(len(np.asarray(s)), -1) for s in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    return np.sum(a * b, axis=1) / np.sqrt(np.sum(a**2, axis=1) * np.sum(b**2, axis=1))


def sharpest_focus_um(stack: BeadStack) -> float:
    """The stage reading about which the light is most concentrated: where the retrieval starts to look for focus.

    Mean focus weighted by the excess of sum(light^2) / sum(light)^2 over its least.
    """
    images, focus = np.asarray(stack.images, dtype=float), np.asarray(stack.focus_um, dtype=float)
    mean, noise = corner_noise(images)
    light = np.clip(images - (mean + 2 * noise)[:, None, None], 0, None)
    sharp = np.sum(light**2, axis=(1, 2)) / np.maximum(np.sum(light, axis=(1, 2)), 1e-300) ** 2
    weight = (sharp - sharp.min()) ** 2
    return float(np.sum(weight * focus) / weight.sum()) if weight.sum() > 0 else float(focus.mean())


def second_bead_px(images: ArrayLike) -> tuple[float, tuple[int, int]]:
    """How strongly all slices repeat themselves at one displacement, and that displacement (dx, dy) in px.

    The least over the slices of the normalised autocorrelation, at its largest away from the centre. The lobes
    of an engineered PSF move with the focus, a second bead does not.
    """
    stack = np.asarray(images, dtype=float)
    mean, noise = corner_noise(stack)
    light = np.clip(stack - mean[:, None, None] - 2 * noise[:, None, None], 0, None)
    size = stack.shape[-1]
    spectrum = np.abs(np.fft.rfft2(light, (2 * size, 2 * size))) ** 2
    repeats = np.fft.fftshift(np.fft.irfft2(spectrum, (2 * size, 2 * size)), axes=(1, 2))
    repeats /= np.maximum(repeats.max(axis=(1, 2), keepdims=True), 1e-300)
    # per slice the best within a pixel: the displacement is the same but for drift
    least = ndimage.maximum_filter(repeats, (0, 3, 3)).min(axis=0)
    y, x = np.indices(least.shape) - size
    # nearer than the spot itself repeats itself; a local maximum beyond is another bead
    peak = (least == ndimage.maximum_filter(least, 9)) & (np.hypot(x, y) > max(4.0, size / 10))
    if not peak.any():
        return 0.0, (0, 0)
    at = np.argmax(np.where(peak, least, 0))
    return float(least.flat[at]), (int(x.flat[at]), int(y.flat[at]))


def find_beads(field: ArrayLike, crop_px: int, *, significance: float = 8.0) -> tuple[np.ndarray, list[str]]:
    """Centres (N, 2), (row, column), of isolated beads in a whole field (Z, H, W), brightest first; and notes.

    A bead is a maximum of the light summed through the stack and smoothed over a fifth of the crop,
    `significance` robust deviations above the field. Beads nearer to the border than half a crop, or to one
    another than one crop, are left out, and the notes say so. Raises `OpticsError` where none is left.
    """
    stack = np.asarray(field, dtype=float)
    if stack.ndim != 3 or min(stack.shape[1:]) < crop_px:
        raise OpticsError(f"a field (slices, H, W) of at least {crop_px} px is needed, not of shape {stack.shape}")
    light = stack - np.median(stack, axis=(1, 2), keepdims=True)
    projected = ndimage.gaussian_filter(np.clip(light, 0, None).sum(axis=0), crop_px / 10)
    level = np.median(projected)
    spread = 1.4826 * np.median(np.abs(projected - level)) + 1e-12 * abs(level)
    peaks = (projected == ndimage.maximum_filter(projected, crop_px // 2)) & (projected > level + significance * spread)
    # a blob as wide as a bead, not the summit of a slope: it stands out of its own surround
    surround = ndimage.percentile_filter(projected, 20, size=crop_px)
    peaks &= projected - surround > 0.2 * (projected.max() - level)
    # a bead between pixels can have equal ones at its summit: they are one
    labels, count = ndimage.label(peaks, np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    summits = [np.argwhere(labels == k).mean(axis=0) for k in range(1, count + 1)]
    found = np.rint(np.reshape(summits, (count, 2))).astype(int)
    found = found[np.argsort(-projected[tuple(found.T)])]
    half, notes, kept = crop_px // 2, [], []
    for index, (row, column) in enumerate(found.tolist()):
        others = np.delete(found, index, axis=0)
        near = bool(len(others)) and np.abs(others - (row, column)).max(axis=1).min() < crop_px
        inside = half <= row < stack.shape[1] - half and half <= column < stack.shape[2] - half
        if not inside:
            notes.append(f"the bead at row {row}, column {column} is nearer than {half} px to the border: left out")
        elif near:
            notes.append(f"the bead at row {row}, column {column} has a neighbour within {crop_px} px: left out")
        else:
            kept.append((row, column))
    if not kept:
        reason = "; ".join(notes) or "nothing stands out of the background"
        raise OpticsError(f"no usable bead in the field ({reason}); crop one by hand or choose a smaller crop")
    return np.array(kept), notes


def crop_bead(field: ArrayLike, centre: tuple[int, int], crop_px: int) -> np.ndarray:
    """The (Z, crop_px, crop_px) crop around a pixel (row, column). Raises `OpticsError` where it leaves the field."""
    stack = np.asarray(field)
    row, column = (int(c) - crop_px // 2 for c in centre)
    if row < 0 or column < 0 or row + crop_px > stack.shape[1] or column + crop_px > stack.shape[2]:
        raise OpticsError(
            f"a crop of {crop_px} px around row {centre[0]}, column {centre[1]} leaves the field "
            f"({stack.shape[1]} x {stack.shape[2]} px); choose a smaller crop or another bead"
        )
    return stack[:, row : row + crop_px, column : column + crop_px]
