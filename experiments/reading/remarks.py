"""What a reader counts on its way, and what that says of PSF, camera and depths: a line each."""

from collections import Counter
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from optics import Camera
from optics.camera import adu_per_photon, adu_to_photons, variance_adu

_SUM = "sum of "  # before the name of a number that is not for reading by itself
_DARK, _CHI2 = (f"{_SUM}{what}" for what in ("dark pixels", "chi-square of dark pixels"))
_REST, _NOISE, _LIGHT, _SPREAD = (
    f"{_SUM}{what} of lit pixels" for what in ("squared residuals", "variances", "squared light", "squared variances")
)
_LISTED, _AT_END, _WIDE = (
    f"{_SUM}{what}" for what in ("emitters", "emitters at ends of depth", "spots at ends of width")
)

_EXPECTED_ERROR = 0.05  # of an image: what a calibrated PSF is off by
_FEWEST_DARK = 400  # pixels: their mean chi-square is good to 7 %
_NOISE_SPAN = (0.77, 1.3)  # of chi-square over its expectation: what a camera.toml's own errors explain
_TOO_MUCH = 0.1  # of the light, left by the PSF
_SURE = 5.0  # standard deviations
_MANY, _FEWEST = 0.1, 5  # emitters at an end of the depths: share, and number


@jax.jit
def _residual_sums(camera: Camera, adu: jax.Array, valid: jax.Array, mean: jax.Array, level: jax.Array) -> jax.Array:
    light, variance = mean - level, variance_adu(camera, mean) / adu_per_photon(camera) ** 2
    square = (adu_to_photons(camera, adu) - mean) ** 2
    # where an error of the image as large as is usual does not show
    dark = valid & ((_EXPECTED_ERROR * light) ** 2 < _EXPECTED_ERROR * variance)
    lit = valid & ~dark
    sums = [(dark, 1.0), (dark, square / variance), (lit, square), (lit, variance), (lit, light**2), (lit, variance**2)]
    return jnp.stack([jnp.sum(jnp.where(where, what, 0.0)) for where, what in sums])


def residual(camera: Camera, counts: NDArray, valid: NDArray, mean: ArrayLike, level: ArrayLike) -> Counter[str]:
    """Sum up what an explanation leaves of counts (..., H, W): of the expected photons `mean`, `level` background."""
    frames = (jnp.asarray(part) for part in (counts, valid, mean, level))
    sums = np.asarray(_residual_sums(camera, *frames), np.float64)
    names = (_DARK, _CHI2, _REST, _NOISE, _LIGHT, _SPREAD)
    return Counter({name: float(value) for name, value in zip(names, sums, strict=True)})  # pyright: ignore[reportArgumentType]


def ends(at_end: NDArray[np.bool_], deep: bool) -> Counter[str]:
    """Count emitters, and those that stand at an end of the depths (or of the widths of spots without depth)."""
    return Counter({_LISTED: at_end.size, _AT_END if deep else _WIDE: int(at_end.sum())})


def remarks(tally: Mapping[str, float]) -> list[str]:
    """Say what a tally says, a line each: what was counted, then what PSF, camera or depths seem to be off.

    >>> remarks({"pixels saturated, left out": 3, _LISTED: 100, _AT_END: 40})
    ['3 pixels saturated, left out', '40 of 100 emitters are at an end of the depths: widen z_min_um, z_max_um']
    >>> remarks({_DARK: 1e4, _CHI2: 2e4})[0][:64]
    'the noise of dark pixels is 2.00 times what the camera says (red'
    """
    lines = [f"{count:g} {what}" for what, count in sorted(tally.items()) if not what.startswith(_SUM) and count]
    got = Counter(dict(tally))
    noise = got[_CHI2] / got[_DARK] if got[_DARK] >= _FEWEST_DARK else 1.0
    if not _NOISE_SPAN[0] < noise < _NOISE_SPAN[1]:
        lines.append(
            f"the noise of dark pixels is {noise:.2f} times what the camera says (reduced chi-square): is its gain "
            f"{noise:.2g} times the one given, or the background finer than a stamp?"
        )
    left = got[_REST] - noise * got[_NOISE]
    if left > _SURE * noise * np.sqrt(2 * got[_SPREAD]) and left > _TOO_MUCH**2 * got[_LIGHT]:
        share = 100 * np.sqrt(left / got[_LIGHT])
        lines.append(f"the PSF leaves {share:.0f} % of the emitters' light unexplained (rms): is it this movie's?")
    many = max(_FEWEST, _MANY * got[_LISTED])
    if got[_AT_END] >= many:
        lines.append(
            f"{got[_AT_END]:g} of {got[_LISTED]:g} emitters are at an end of the depths: widen z_min_um, z_max_um"
        )
    if got[_WIDE] >= many:
        lines.append(
            f"{got[_WIDE]:g} of {got[_LISTED]:g} spots are at an end of the widths: another gaussian_sigma_um?"
        )
    return lines
