"""Retrieval: the instrument's own pupil and blur, from stacks of beads."""

from optics.retrieval.beads import BeadStack as BeadStack
from optics.retrieval.beads import correlation as correlation
from optics.retrieval.beads import crop_bead as crop_bead
from optics.retrieval.beads import find_beads as find_beads
from optics.retrieval.beads import make_bead_stack as make_bead_stack
from optics.retrieval.beads import noise_ceiling as noise_ceiling
from optics.retrieval.retrieve import retrieve_psf as retrieve_psf
from optics.retrieval.types import BeadFit as BeadFit
from optics.retrieval.types import Retrieval as Retrieval
from optics.retrieval.types import RetrievalSettings as RetrievalSettings
