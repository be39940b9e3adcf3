"""The recorded STORM frames through a Tetrapod, the published list of them, and how far two lists agree."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import localization
from localization import Gate, Localizations, make_localizations

PIXEL_UM = 0.11
STORM_ROWS, STORM_COLUMNS = (16, 313), (77, 468)  # the part of the frames that the published demo reads
STORM_FRAMES = 10
GATES = {gate.name: gate for gate in (Gate(), Gate(ball_um=0.1))}


def storm_movie(data: Path) -> Path:
    return data / "ds3d-tetrapod-storm" / "frames_01-33.tif"


def stored_storm(data: Path) -> Localizations:
    table = pd.read_csv(data / "ds3d-tetrapod-storm" / "original_network_localizations_frames01-10.csv")
    x_um, y_um = PIXEL_UM * table["col_px_full_frame"], PIXEL_UM * table["row_px_full_frame"]
    return make_localizations(table["frame_1based"] - 1, x_um, y_um, table["z_nm"] / 1e3, score=table["confidence"])


def agreement(a: Localizations, b: Localizations) -> dict[str, Any]:
    """How far two lists agree, neither being the truth: Jaccard, and differences a minus b of the pairs."""
    result: dict[str, Any] = {"n_a": int(a.frame.size), "n_b": int(b.frame.size)}
    for gate, options in GATES.items():
        matches = localization.match(a, b, **options)
        error = 1e3 * localization.pair_errors_um(a, b, matches)
        pairs = len(error)
        middle = np.median(error, axis=0) if pairs else np.full(3, np.nan)
        spread = 1.4826 * np.median(np.abs(error - middle), axis=0) if pairs else np.full(3, np.nan)
        result[gate] = {
            "pairs": pairs,
            "jaccard": pairs / max(a.frame.size + b.frame.size - pairs, 1),
            "median_difference_nm": dict(zip("xyz", middle.round(3).tolist(), strict=True)),
            "spread_nm": dict(zip("xyz", spread.round(3).tolist(), strict=True)),
            "largest_difference_nm": float(np.abs(error).max()) if pairs else None,
        }
    return result
