"""Host side of localization: tables of emitters, peaks, matching, scores, movies and files."""
# ruff: isort: skip_file

# the table of localizations
from localization.types import Localizations as Localizations, make_localizations as make_localizations
from localization.types import select as select, concatenate as concatenate, to_frame as to_frame
from localization.types import LocalizationError as LocalizationError, MovieFacts as MovieFacts

from localization.facts import compare_facts as compare_facts

# files: tables of every known format, movies read a few frames at a time
from localization.io import read as read, read_file as read_file, write as write, TableFile as TableFile
from localization.io import TableWriter as TableWriter, Movie as Movie, open_movie as open_movie
from localization.io import MovieOptions as MovieOptions

# from what a network paints to emitters
from localization.peaks import list_peaks as list_peaks, volume_peaks as volume_peaks
from localization.image_peaks import image_peaks as image_peaks

# against the truth: pairs within a gate, scores with intervals, curves, predicted uncertainties
from localization.scores.crosstalk import Crosstalk as Crosstalk, crosstalk as crosstalk
from localization.scores.gate import Gate as Gate
from localization.scores.matching import Matches as Matches, match as match
from localization.scores.metrics import Score as Score, FrameScores as FrameScores, Interval as Interval
from localization.scores.metrics import CrlbRatio as CrlbRatio, score as score, score_frames as score_frames
from localization.scores.metrics import score_total as score_total, bootstrap as bootstrap
from localization.scores.metrics import bootstrap_difference as bootstrap_difference, chance_score as chance_score
from localization.scores.metrics import place_at_random as place_at_random, pair_errors_um as pair_errors_um
from localization.scores.metrics import rmse_over_crlb as rmse_over_crlb
from localization.scores.precision_curve import PrecisionRecall as PrecisionRecall
from localization.scores.precision_curve import average_precision as average_precision
from localization.scores.precision_curve import precision_recall_curve as precision_recall_curve
from localization.scores.uncertainty import AxisCalibration as AxisCalibration
from localization.scores.uncertainty import UncertaintyCalibration as UncertaintyCalibration
from localization.scores.uncertainty import calibrate_uncertainty as calibrate_uncertainty
from localization.scores.uncertainty import rescale_sigma as rescale_sigma, SubpixelUniformity as SubpixelUniformity
from localization.scores.uncertainty import subpixel_uniformity as subpixel_uniformity

# what to do with a list: filter, link blinks, follow particles, take out drift
from localization.filters import Criteria as Criteria, FilterReport as FilterReport
from localization.filters import count_neighbours as count_neighbours, filter_localizations as filter_localizations
from localization.linking import Linked as Linked, link_blinks as link_blinks
from localization.tracks import Diffusion as Diffusion, diffusion as diffusion, find_tracks as find_tracks
from localization.drift.correct import Drift as Drift, apply_drift as apply_drift, correct_drift as correct_drift
from localization.drift.curve_file import read_drift as read_drift

# two colours on one another
from localization.registration.register import Registration as Registration, register as register
from localization.registration.transform import Transform as Transform, move as move

# pictures: a rendered image, its resolution, the width of a structure
from localization.pictures.render_image import image_shape as image_shape, table_region_um as table_region_um
from localization.pictures.render_image import to_image as to_image
from localization.pictures.resolution import RingCorrelation as RingCorrelation
from localization.pictures.resolution import fourier_ring_correlation as fourier_ring_correlation
from localization.pictures.decorrelation import Decorrelation as Decorrelation, decorrelation as decorrelation
from localization.pictures.likeness import Likeness as Likeness, compare_pictures as compare_pictures
from localization.pictures.line_profile import LineProfile as LineProfile, ProfileWidth as ProfileWidth
from localization.pictures.line_profile import line_profile as line_profile, profile_width as profile_width

# the camera: from dark and flat frames, or from a movie itself
from localization.camera.calibration import CameraCalibration as CameraCalibration, LevelStatistics as LevelStatistics
from localization.camera.calibration import calibrate_camera as calibrate_camera, measure_level as measure_level
from localization.camera.photometry import GainEstimate as GainEstimate, estimate_gain_offset as estimate_gain_offset

frc = fourier_ring_correlation
