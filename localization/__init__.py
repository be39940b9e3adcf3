"""Host side of localization: tables of emitters, peaks, matching, scores, movies and files."""

from localization.camera.calibration import CameraCalibration, LevelStatistics, calibrate_camera, measure_level
from localization.camera.photometry import GainEstimate, estimate_gain_offset
from localization.drift.correct import Drift, apply_drift, correct_drift
from localization.filters import Criteria, FilterReport, count_neighbours, filter_localizations
from localization.image_peaks import image_peaks
from localization.io import Movie, TableFile, TableWriter, open_movie, read, read_file, write
from localization.linking import Linked, link_blinks
from localization.peaks import list_peaks, volume_peaks
from localization.pictures.line_profile import LineProfile, ProfileWidth, line_profile, profile_width
from localization.pictures.render_image import image_shape, table_region_um, to_image
from localization.pictures.resolution import RingCorrelation, fourier_ring_correlation
from localization.scores.matching import Matches, match
from localization.scores.metrics import (
    CrlbRatio,
    FrameScores,
    Interval,
    Score,
    bootstrap,
    bootstrap_difference,
    chance_score,
    pair_errors_um,
    place_at_random,
    rmse_over_crlb,
    score,
    score_frames,
    score_total,
)
from localization.scores.precision_curve import PrecisionRecall, average_precision, precision_recall_curve
from localization.scores.uncertainty import (
    AxisCalibration,
    SubpixelUniformity,
    UncertaintyCalibration,
    calibrate_uncertainty,
    rescale_sigma,
    subpixel_uniformity,
)
from localization.tracks import Diffusion, diffusion, find_tracks
from localization.types import (
    LocalizationError,
    Localizations,
    concatenate,
    make_localizations,
    select,
    to_frame,
)

frc = fourier_ring_correlation

__all__ = [
    "AxisCalibration",
    "CameraCalibration",
    "Criteria",
    "CrlbRatio",
    "Diffusion",
    "Drift",
    "FilterReport",
    "FrameScores",
    "GainEstimate",
    "Interval",
    "LevelStatistics",
    "LineProfile",
    "Linked",
    "LocalizationError",
    "Localizations",
    "Matches",
    "Movie",
    "PrecisionRecall",
    "ProfileWidth",
    "RingCorrelation",
    "Score",
    "SubpixelUniformity",
    "TableFile",
    "TableWriter",
    "UncertaintyCalibration",
    "apply_drift",
    "average_precision",
    "bootstrap",
    "bootstrap_difference",
    "calibrate_camera",
    "calibrate_uncertainty",
    "chance_score",
    "concatenate",
    "correct_drift",
    "count_neighbours",
    "diffusion",
    "estimate_gain_offset",
    "filter_localizations",
    "find_tracks",
    "fourier_ring_correlation",
    "frc",
    "image_peaks",
    "image_shape",
    "line_profile",
    "link_blinks",
    "list_peaks",
    "make_localizations",
    "match",
    "measure_level",
    "open_movie",
    "pair_errors_um",
    "place_at_random",
    "precision_recall_curve",
    "profile_width",
    "read",
    "read_file",
    "rescale_sigma",
    "rmse_over_crlb",
    "score",
    "score_frames",
    "score_total",
    "select",
    "subpixel_uniformity",
    "table_region_um",
    "to_frame",
    "to_image",
    "volume_peaks",
    "write",
]
