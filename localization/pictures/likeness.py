"""How alike two pictures are: PSNR, NRMSE and MS-SSIM, on pictures made comparable first."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, sparse

from localization.types import LocalizationError

# Wang, Simoncelli, Bovik 2003, doi 10.1109/ACSSC.2003.1292216: five scales and their weights; the window and the two
# constants are those of Wang et al. 2004, doi 10.1109/TIP.2003.819861
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW_SIGMA_PX, _WINDOW_REACH = 1.5, 5
_K1, _K2 = 0.01, 0.03
_STEPS_PER_PIXEL = 20  # of the registration


@dataclass(frozen=True)
class Likeness:
    """Scores of a picture against the truth, both made comparable.

    `psnr_db` is infinite for equal pictures. `nrmse` is the rms difference over the rms of the truth. `ms_ssim` is
    1 for equal pictures. `shift_px` (x, y) is how far the picture was moved. `notes` says what was done to either.
    """

    psnr_db: float
    nrmse: float
    ms_ssim: float
    correlation: float
    shift_px: tuple[float, float]
    notes: tuple[str, ...]


def compare_pictures(
    picture: ArrayLike,
    truth: ArrayLike,
    *,
    percentiles: tuple[float, float] = (0.0, 99.0),
    blur_px: float = 2.0,
    register: bool = True,
) -> tuple[Likeness, NDArray[np.float64], NDArray[np.float64]]:
    """Score a picture (H, W) against the truth of the same shape; returns the scores and the two as compared.

    As AutoDS does it (doi 10.1038/s44303-025-00123-w): each is cut at its `percentiles` and scaled to 0 to 1, blurred
    by a Gaussian of `blur_px`, and the picture is moved onto the truth (subpixel cross-correlation; the border that is
    then missing is left out). Where fewer pixels are lit than the upper percentile leaves, it is that of the lit ones.
    Raises LocalizationError for unlike shapes, values that are not finite, a picture without contrast, and one that
    would have to be moved by more than a tenth of its side.

    >>> spots = ndimage.gaussian_filter(np.random.default_rng(0).random((200, 200)) > 0.99, 2.0, output=float)
    >>> likeness, _, _ = compare_pictures(np.roll(spots, 3, axis=1), spots)
    >>> abs(likeness.shift_px[0] + 3) < 0.1, likeness.ms_ssim > 0.98
    (True, True)
    """
    pair = {"picture": np.asarray(picture, np.float64), "truth": np.asarray(truth, np.float64)}
    shape = pair["truth"].shape
    if pair["picture"].shape != shape or len(shape) != 2:
        raise LocalizationError(
            f"compare_pictures: the picture has shape {pair['picture'].shape}, the truth {shape}; pass rows and "
            "columns of the same pixels"
        )
    notes: list[str] = []
    image, wanted = (_comparable(values, name, percentiles, blur_px, notes) for name, values in pair.items())
    shift = (0.0, 0.0)
    if register:
        image, wanted, shift = _registered(image, wanted)
    return scores(image, wanted, shift_px=shift, notes=tuple(notes)), image, wanted


def scores(
    image: NDArray[np.float64],
    truth: NDArray[np.float64],
    *,
    shift_px: tuple[float, float] = (0.0, 0.0),
    notes: tuple[str, ...] = (),
) -> Likeness:
    """Score pictures (H, W) of values between 0 and 1 as they are.

    >>> truth = np.random.default_rng(0).random((200, 200))
    >>> round(scores(truth + 0.1, truth).psnr_db, 6)
    20.0
    """
    from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio  # takes most of a second to load

    same = np.array_equal(image, truth)
    said = list(notes)
    scales = scale_count(truth.shape)
    if scales < len(_WEIGHTS):
        said.append(f"MS-SSIM over {scales} scales: five need sides of {(2 * _WINDOW_REACH + 1) * 16} pixels")
    return Likeness(
        psnr_db=float("inf") if same else float(peak_signal_noise_ratio(truth, image, data_range=1.0)),
        nrmse=float(normalized_root_mse(truth, image, normalization="euclidean")),
        ms_ssim=ms_ssim(image, truth),
        correlation=float(np.corrcoef(image.ravel(), truth.ravel())[0, 1]),
        shift_px=shift_px,
        notes=tuple(said),
    )


def ms_ssim(image: ArrayLike, truth: ArrayLike, *, data_range: float = 1.0) -> float:
    """Compute the multi-scale structural similarity of two pictures (H, W) (Wang, Simoncelli, Bovik 2003).

    Contrast and structure are compared at up to five scales, each the last one's means over 2 x 2 pixels, brightness at
    the coarsest; windows are Gaussian, 11 pixels wide. Mean similarities below zero count as zero. On pictures too
    small for five scales the weights of those there are are scaled to sum to one.

    >>> truth = np.random.default_rng(0).random((180, 180))
    >>> round(ms_ssim(truth, truth), 12)
    1.0
    """
    a, b = np.asarray(image, np.float64), np.asarray(truth, np.float64)
    count = scale_count(b.shape)
    if a.shape != b.shape or count == 0:
        raise LocalizationError(
            f"ms_ssim: pictures of shapes {a.shape} and {b.shape}; pass two alike, {2 * _WINDOW_REACH + 1} pixels or "
            "more each way"
        )
    weights = np.array(_WEIGHTS) if count == len(_WEIGHTS) else np.array(_WEIGHTS[:count]) / sum(_WEIGHTS[:count])
    value = 1.0
    for scale, weight in enumerate(weights):
        brightness, structure = _similarities(a, b, data_range)
        mean = float((brightness * structure).mean() if scale == count - 1 else structure.mean())
        value *= max(mean, 0.0) ** float(weight)
        a, b = _halved(a), _halved(b)
    return value


def scale_count(shape: tuple[int, ...]) -> int:
    """Count the scales of `ms_ssim`: at the coarsest the window still fits.

    >>> scale_count((176, 500)), scale_count((100, 100))
    (5, 4)
    """
    side = min(shape) if len(shape) == 2 else 0
    return sum(side // 2**scale >= 2 * _WINDOW_REACH + 1 for scale in range(len(_WEIGHTS)))


def resampled(
    picture: ArrayLike, pixel: float, corner: tuple[float, float], shape: tuple[int, int], onto: float
) -> NDArray[np.float64]:
    """Resample a density (H, W) in pixels of `pixel` onto `shape` pixels of side `onto`, by the areas that they share.

    `corner` (x, y) is where the new first pixel's outer corner lies from the old one's, in the same unit. What a
    picture holds in sum stays, but for what lies outside.

    >>> resampled([[1.0, 2.0, 3.0, 4.0]], 1.0, (0.0, 0.0), (1, 2), 2.0)
    array([[3., 7.]])
    """
    image = np.asarray(picture, np.float64)
    down = _shared(image.shape[0], pixel, corner[1], shape[0], onto)
    across = _shared(image.shape[1], pixel, corner[0], shape[1], onto)
    return np.asarray(down @ image @ across.T)


def _comparable(
    image: NDArray[np.float64], name: str, percentiles: tuple[float, float], blur_px: float, notes: list[str]
) -> NDArray[np.float64]:
    if not np.isfinite(image).all():
        raise LocalizationError(
            f"compare_pictures: the {name} holds {int((~np.isfinite(image)).sum())} NaN or infinite values; fill them"
        )
    low, high = np.percentile(image, percentiles)
    if not high > low:
        lit = image[image > low]
        if lit.size == 0:
            raise LocalizationError(
                f"compare_pictures: the {name} has the value {low:g} throughout; nothing to compare"
            )
        high = float(np.percentile(lit, percentiles[1]))
        notes.append(f"of the {name} few pixels are lit: cut at the percentile of those")
    scaled = np.clip((image - low) / (high - low), 0, 1)
    return ndimage.gaussian_filter(scaled, blur_px, mode="constant") if blur_px > 0 else scaled


def _registered(
    image: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    from skimage.registration import phase_cross_correlation

    # no phase normalisation: it would weigh the noise of empty frequencies like structure
    how: dict[str, Any] = {"upsample_factor": _STEPS_PER_PIXEL, "normalization": None}
    found = phase_cross_correlation(truth - truth.mean(), image - image.mean(), **how)
    dy, dx = (float(value) for value in found[0])
    if abs(dy) > truth.shape[0] / 10 or abs(dx) > truth.shape[1] / 10:
        raise LocalizationError(
            f"compare_pictures: the pictures agree best when moved by {dx:.1f}, {dy:.1f} pixels, more than a tenth of "
            "the field; are they of the same field? To compare them where they are: --no-register"
        )
    # cubic, of pictures without steps: its error is far below what the scores show
    moved = np.clip(ndimage.shift(image, (dy, dx), order=3, mode="constant"), 0, 1) if (dy, dx) != (0, 0) else image
    inside = tuple(
        slice(max(0, int(np.ceil(by))), n - max(0, int(np.ceil(-by))))
        for by, n in zip((dy, dx), truth.shape, strict=True)
    )
    return moved[inside], truth[inside], (dx, dy)


def _similarities(
    a: NDArray[np.float64], b: NDArray[np.float64], data_range: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare brightness, and contrast with structure, in every window that lies inside."""
    inside = (slice(_WINDOW_REACH, -_WINDOW_REACH),) * 2

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return ndimage.gaussian_filter(values, _WINDOW_SIGMA_PX, radius=_WINDOW_REACH)[inside]

    mean_a, mean_b = mean(a), mean(b)
    spread = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    shared = mean(a * b) - mean_a * mean_b
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    return (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1), (2 * shared + c2) / (spread + c2)


def _halved(image: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = (n // 2 * 2 for n in image.shape)
    even = image[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _shared(n_old: int, pixel: float, corner: float, n_new: int, onto: float) -> sparse.csr_array:
    """Make the matrix (n_new, n_old) of the share of an old pixel's length in a new one."""
    edges = corner + onto * np.arange(n_new + 1)
    first = np.floor(edges[:-1] / pixel + 1e-9).astype(np.int64)
    reach = np.arange(int(np.ceil(onto / pixel)) + 1)
    old = first[:, None] + reach
    low = np.maximum(edges[:-1, None], old * pixel)
    share = np.maximum(np.minimum(edges[1:, None], (old + 1) * pixel) - low, 0) / pixel
    row = np.broadcast_to(np.arange(n_new)[:, None], old.shape)
    kept = (old >= 0) & (old < n_old) & (share > 1e-9)
    return sparse.csr_array((share[kept], (row[kept], old[kept])), shape=(n_new, n_old))
