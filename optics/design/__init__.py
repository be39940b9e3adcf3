"""Design: the mask of the least bound, and what a mask loses when it is not quite as meant."""

from optics.design.crosstalk import crosstalk_um2 as crosstalk_um2
from optics.design.crosstalk import images_crosstalk_um2 as images_crosstalk_um2
from optics.design.focus import at_full_sampling as at_full_sampling
from optics.design.focus import refocus as refocus
from optics.design.robustness import image_correlation as image_correlation
from optics.design.robustness import mask_scores as mask_scores
from optics.design.robustness import misaligned as misaligned
from optics.design.robustness import strehl as strehl
from optics.design.robustness import uneven as uneven
from optics.design.search import Design as Design
from optics.design.search import Start as Start
from optics.design.search import design_mask as design_mask
from optics.design.search import random_start as random_start
from optics.design.target import DEPTH_POWERS as DEPTH_POWERS
from optics.design.target import DesignTarget as DesignTarget
from optics.design.target import make_target as make_target
from optics.design.target import objective_um as objective_um
from optics.design.target import target_bounds_um as target_bounds_um
