"""Host side of localization: tables of emitters, peaks, matching, scores, movies and files."""

from localization.camera_calibration import CameraCalibration, LevelStatistics, calibrate_camera, measure_level
from localization.io import Movie, TableWriter, open_movie, read, write
from localization.matching import Matches, match
from localization.metrics import (
    CrlbRatio,
    FrameScores,
    Interval,
    Score,
    bootstrap,
    bootstrap_difference,
    pair_errors_um,
    rmse_over_crlb,
    score,
    score_frames,
    score_total,
)
from localization.peaks import list_peaks, volume_peaks
from localization.photometry import GainEstimate, estimate_gain_offset
from localization.types import (
    LocalizationError,
    Localizations,
    concatenate,
    make_localizations,
    select,
    to_frame,
)

__all__ = [
    "CameraCalibration",
    "CrlbRatio",
    "FrameScores",
    "GainEstimate",
    "LevelStatistics",
    "Interval",
    "LocalizationError",
    "Localizations",
    "Matches",
    "Movie",
    "Score",
    "TableWriter",
    "bootstrap",
    "bootstrap_difference",
    "calibrate_camera",
    "concatenate",
    "estimate_gain_offset",
    "list_peaks",
    "make_localizations",
    "match",
    "measure_level",
    "open_movie",
    "pair_errors_um",
    "read",
    "rmse_over_crlb",
    "score",
    "score_frames",
    "score_total",
    "select",
    "to_frame",
    "volume_peaks",
    "write",
]
