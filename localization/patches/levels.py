"""How hard a patch is to read: levels 1 to 4 of AutoDS, from density and signal to noise.

npj Imaging 2025, doi 10.1038/s44303-025-00123-w, Table 2: levels 1 to 4 stand for densities of 0.5, 1.0, 1.5, 2.0
emitters per um2 and ratios of 8, 6, 4, 2.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVELS = (1, 2, 3, 4)


def difficulty_level(density_per_um2: ArrayLike, snr: ArrayLike) -> NDArray[np.int64]:
    """Return levels 1 (easy) to 4: the mean of the level of the density and that of the ratio; halves are hard.

    Inputs are broadcast, finite and not negative.

    >>> difficulty_level([0.5, 1.0, 1.5, 2.0, 2.0], [8, 6, 4, 2, 8])
    array([1, 2, 3, 4, 3])
    """
    by_density = np.clip(np.rint(2 * np.asarray(density_per_um2, float)), 1, 4)
    by_snr = np.clip(5 - np.rint(np.asarray(snr, float) / 2), 1, 4)
    return np.floor((by_density + by_snr + 1) / 2).astype(np.int64)


def notebook_level(density_per_um2: ArrayLike, peak_over_background: ArrayLike) -> NDArray[np.int64]:
    """Return the level as the published notebook finds it, which differs from its paper.

    Peaks are divided by the mean of the noise, not its spread, and steps of 6 begin at 18; densities of a quarter and
    less are a level easier than level 1 and halves go to the even level.

    >>> notebook_level([0.3, 2.0], [40.0, 5.0])
    array([1, 4])
    """
    by_density = np.clip(np.rint(2 * np.asarray(density_per_um2, float)), 0, 3)
    by_ratio = 3 - np.clip(np.floor(np.asarray(peak_over_background, float) / 6) - 2, 0, 3)
    return (np.rint((by_density + by_ratio) / 2) + 1).astype(np.int64)
