"""Fits: emitters located by maximum likelihood, and where to begin."""

from optics.fits.climb import LEAST_BACKGROUND as LEAST_BACKGROUND
from optics.fits.climb import LEAST_PHOTONS as LEAST_PHOTONS
from optics.fits.fit import Fits as Fits
from optics.fits.fit import fit_emitters as fit_emitters
from optics.fits.matched_filter import Proposals as Proposals
from optics.fits.matched_filter import Templates as Templates
from optics.fits.matched_filter import choose_depths as choose_depths
from optics.fits.matched_filter import local_background as local_background
from optics.fits.matched_filter import local_maxima as local_maxima
from optics.fits.matched_filter import make_templates as make_templates
from optics.fits.matched_filter import propose as propose
from optics.fits.matched_filter import significance_maps as significance_maps
from optics.fits.stamps import Stamps as Stamps
from optics.fits.stamps import cut_stamps as cut_stamps
from optics.fits.stamps import to_frame_um as to_frame_um
