"""Fits: emitters located by maximum likelihood, singly or a whole frame together, and where to begin."""

from optics.fits.climb import LEAST_BACKGROUND as LEAST_BACKGROUND
from optics.fits.climb import LEAST_PHOTONS as LEAST_PHOTONS
from optics.fits.crowd import Crowd as Crowd
from optics.fits.crowd import CrowdModel as CrowdModel
from optics.fits.crowd import Frame as Frame
from optics.fits.crowd import make_crowd_model as make_crowd_model
from optics.fits.crowd import make_frame as make_frame
from optics.fits.crowd_fit import fit_crowd as fit_crowd
from optics.fits.crowd_search import Bank as Bank
from optics.fits.crowd_search import make_bank as make_bank
from optics.fits.explain import Found as Found
from optics.fits.explain import search_frames as search_frames
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
from optics.fits.rounds import Search as Search
from optics.fits.stamps import Stamps as Stamps
from optics.fits.stamps import cut_stamps as cut_stamps
from optics.fits.stamps import to_frame_um as to_frame_um
