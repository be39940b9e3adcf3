"""Calibrations of other programs: images of one point from a spline or a stack of pictures, in place of optics."""

from optics.calibrations.images import CalibratedImages as CalibratedImages
from optics.calibrations.images import tabulate_calibration as tabulate_calibration
from optics.calibrations.read import is_calibration as is_calibration
from optics.calibrations.read import read_calibration as read_calibration
