"""Bounds on precision: the Fisher matrix of one emitter, and of one among neighbours."""

from optics.bounds.fisher import DepthBounds as DepthBounds
from optics.bounds.fisher import bound_std as bound_std
from optics.bounds.fisher import conditional_std as conditional_std
from optics.bounds.fisher import crlb_std as crlb_std
from optics.bounds.fisher import crlb_std_um as crlb_std_um
from optics.bounds.fisher import depth_bounds as depth_bounds
from optics.bounds.fisher import fisher_matrix as fisher_matrix
from optics.bounds.fisher import pixel_information as pixel_information
from optics.bounds.neighbours import Neighbours as Neighbours
from optics.bounds.neighbours import density_bound_um as density_bound_um
from optics.bounds.neighbours import density_bounds_um as density_bounds_um
