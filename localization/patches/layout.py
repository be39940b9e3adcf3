"""Where the patches of a frame lie."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localization.types import LocalizationError

LEAST_UM, MOST_UM = 6.5, 14.9  # sides that AutoDS was shown to work with (npj Imaging 2025)


@dataclass(frozen=True, eq=False)
class Patches:
    """A frame cut into rows x columns of patches that cover it once.

    `row_edges` (R + 1,) and `column_edges` (C + 1,) in camera pixels, from 0 to the frame's height and width.
    """

    row_edges: NDArray[np.int64]
    column_edges: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return len(self.row_edges) - 1, len(self.column_edges) - 1

    def each(self) -> Iterator[tuple[int, int, slice, slice]]:
        """Go through the patches: row and column of each, and its pixels."""
        for r in range(self.shape[0]):
            for c in range(self.shape[1]):
                rows = slice(int(self.row_edges[r]), int(self.row_edges[r + 1]))
                yield r, c, rows, slice(int(self.column_edges[c]), int(self.column_edges[c + 1]))

    def mean(self, image: NDArray) -> NDArray[np.float64]:
        """Average an image (H, W), or images (T, H, W), over each patch: (..., R, C)."""
        sums = np.add.reduceat(np.add.reduceat(image, self.row_edges[:-1], axis=-2), self.column_edges[:-1], axis=-1)
        return np.asarray(sums, float) / self.pixels

    def largest(self, image: NDArray) -> NDArray:
        """Take the largest value of an image (..., H, W) in each patch: (..., R, C)."""
        rows = np.maximum.reduceat(image, self.row_edges[:-1], axis=-2)
        return np.maximum.reduceat(rows, self.column_edges[:-1], axis=-1)

    @property
    def pixels(self) -> NDArray[np.float64]:
        """Pixels of each patch (R, C)."""
        return np.outer(np.diff(self.row_edges), np.diff(self.column_edges)).astype(float)


def cut_patches(shape_px: tuple[int, int], pixel_um: float, patch_um: float = 9.0) -> Patches:
    """Cut frames of (H, W) pixels into patches as near to `patch_um` a side as whole numbers of them allow.

    Sides differ by a pixel at most and nothing is left over; a side of the frame shorter than a patch is one patch.
    Raises LocalizationError for a side outside 6.5 to 14.9 um.

    >>> cut_patches((100, 202), 0.1, 9.0).column_edges
    array([  0, 101, 202])
    """
    if not LEAST_UM <= patch_um <= MOST_UM:
        raise LocalizationError(
            f"patch_um = {patch_um:g} is outside {LEAST_UM} to {MOST_UM} um, where levels are known"
        )
    if not pixel_um > 0:
        raise LocalizationError(f"pixel_um = {pixel_um} must be positive")
    edges = []
    for side in shape_px:
        n = max(1, round(side * pixel_um / patch_um))
        if side * pixel_um / n < LEAST_UM:
            n = max(1, int(side * pixel_um / LEAST_UM))
        edges.append(np.round(np.linspace(0, side, n + 1)).astype(np.int64))
    return Patches(*edges)
