"""Spectra: moments of the few lines against sums over the spectrum, files as users have them, and bad ones."""

import numpy as np
import pytest

from optics.colour.spectra import BANDS, band_lines, make_spectrum, named_species, read_spectrum
from optics.types import OpticsError


@pytest.mark.parametrize("lines", [1, 3, 5])
def test_few_lines_have_the_moments_of_the_band(lines):
    """Gauss quadrature: exact up to degree 2 W - 1; beside a sum over the product of dye and filter."""
    dye, passed = BANDS["orange"].spectra("orange")
    waves, weights = band_lines(dye, passed, lines=lines)
    grid = np.linspace(dye.wavelength_um[0], dye.wavelength_um[-1], 200001)
    light = dye.at(grid) * passed.at(grid)
    for degree in range(2 * lines):
        exact = np.sum(light * (grid - 0.58) ** degree) / light.sum()
        assert np.sum(weights * (waves - 0.58) ** degree) == pytest.approx(exact, abs=1e-3 * 0.03**degree)
    assert weights.sum() == pytest.approx(1) and (weights > 0).all()
    assert 0.56 <= waves.min() and waves.max() <= 0.61  # within what the filter passes


def test_a_spectrum_of_two_lines_gives_those():
    """Where there is less than was asked for, no more is made up."""
    narrow = make_spectrum("two", [0.5, 0.5005, 0.501, 0.5105, 0.511, 0.5115], [0, 1, 0, 0, 3, 0])
    waves, weights = band_lines(narrow, lines=2)
    np.testing.assert_allclose(waves, [0.5005, 0.511], atol=3e-4)
    np.testing.assert_allclose(weights, [0.25, 0.75], atol=1e-2)


def test_files_of_dye_and_filter_make_a_species(tmp_path):
    """Nanometres, a line of words, semicolons or commas; the name is the file's."""
    nm = np.arange(550, 701)
    (tmp_path / "dye.csv").write_text("nm;emission\n" + "\n".join(f"{w};{max(0, 75 - abs(w - 600))}" for w in nm))
    (tmp_path / "filter.txt").write_text("\n".join(f"{w} {float(590 <= w <= 610)}" for w in nm))
    species = named_species(f"{tmp_path}/dye.csv*{tmp_path}/filter.txt")
    assert species.name == "dye"
    assert float(species.weight @ species.wavelength_um) == pytest.approx(0.6, abs=2e-4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("500,1\n510,1\n600,1\n", "nothing between 510 and 600 nm"),
        ("500,1\n510,nan\n", "no number"),
        ("500,1\n510,x\n", "line 2"),
        ("510,1\n500,1\n", "ascend"),
        ("0.5,1\n0.51,1\n", "in nm"),
        ("words\n", "no wavelengths"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, says):
    """The file, the place, the remedy."""
    (tmp_path / "dye.csv").write_text(text)
    with pytest.raises(OpticsError, match=f"dye.csv.*{says}"):
        read_spectrum(tmp_path / "dye.csv")


def test_a_pair_without_light_or_a_name_without_meaning_is_refused():
    """A filter that passes none of a dye; a species that is neither number, band nor file."""
    dye, _ = BANDS["green"].spectra("green")
    with pytest.raises(OpticsError, match="passes filter"):
        band_lines(dye, BANDS["far_red"].spectra("x")[1])
    for text in ("purple", "0.58"):
        with pytest.raises(OpticsError, match=f"species '?{text}"):
            named_species(text)
