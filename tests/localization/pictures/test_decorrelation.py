"""Decorrelation analysis: pictures whose cut-off is known by construction, noise, and what is refused."""

import numpy as np
import pytest

from localization import LocalizationError, decorrelation


def spectrum_cut(picture, cutoff):
    """Leave of a picture its frequencies up to `cutoff` cycles per pixel, sharply."""
    spectrum = np.fft.fft2(picture)
    away = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in picture.shape), indexing="ij"))
    return np.fft.ifft2(np.where(away <= cutoff, spectrum, 0)).real


@pytest.mark.parametrize("shape, cutoff", [((256, 256), 0.1), ((256, 256), 0.35), ((300, 220), 0.2)])
def test_a_sharp_cutoff_is_found_to_a_ring_or_two(shape, cutoff):
    """Flat random structure up to a known frequency, white noise of a tenth of it: the curve is
    (strength sum) / sqrt(number), which rises to the cut-off and falls behind it."""
    draw = np.random.default_rng(1)
    picture = spectrum_cut(draw.normal(size=shape), cutoff) + draw.normal(0, 0.05, shape)
    found = decorrelation(picture, 0.02)
    assert found.resolution_um == pytest.approx(0.02 / cutoff, rel=3 / (cutoff * min(shape)))
    assert 0.3 < found.height < 1


def test_a_microscope_is_seen_to_end_near_its_cutoff():
    """Points through the incoherent transfer function of a circular pupil, in closed form (its cut-off is 2 NA over the
    wavelength), with photon noise: nothing beyond the cut-off is structure, and bright points show most of what is
    below."""
    draw, side, cutoff = np.random.default_rng(2), 256, 0.25
    points = (draw.random((side, side)) < 0.02) * 2e5
    u = np.minimum(np.hypot(*np.meshgrid(*[np.fft.fftfreq(side)] * 2)) / cutoff, 1)
    transfer = 2 / np.pi * (np.arccos(u) - u * np.sqrt(1 - u**2))
    light = np.fft.ifft2(np.fft.fft2(points) * transfer).real
    found = decorrelation(draw.poisson(np.maximum(light, 0) + 10.0), 0.05)
    assert 1.0 <= found.resolution_um / (0.05 / cutoff) * 1.02 < 1.35


def test_noise_and_flat_pictures_have_no_resolution():
    """White noise makes the curve rise to the end, a flat picture has none; both say why."""
    for picture in (np.random.default_rng(0).normal(size=(128, 128)), np.ones((64, 64))):
        found = decorrelation(picture, 0.01)
        assert np.isnan(found.resolution_um) and "noise" in found.reason


@pytest.mark.parametrize(
    "picture, pixel_um, message",
    [
        (np.zeros((64, 64, 3)), 0.01, "has shape (64, 64, 3)"),
        (np.zeros((64, 12)), 0.01, "32 or more"),
        (np.full((64, 64), np.nan), 0.01, "NaN"),
        (np.zeros((64, 64)), 0.0, "pixel_um is 0.0"),
    ],
)
def test_what_is_refused(picture, pixel_um, message):
    with pytest.raises(LocalizationError) as error:
        decorrelation(picture, pixel_um)
    assert message in str(error.value)
