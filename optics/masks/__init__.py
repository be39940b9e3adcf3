"""Phase masks: published shapes, learned families, files, fabrication."""

from optics.masks.files import load as load
from optics.masks.files import save as save
from optics.masks.library import LABEL_WAVELENGTH_UM as LABEL_WAVELENGTH_UM
from optics.masks.library import LIBRARY as LIBRARY
from optics.masks.library import LibraryMask as LibraryMask
from optics.masks.library import astigmatism as astigmatism
from optics.masks.library import double_helix as double_helix
from optics.masks.library import flat as flat
from optics.masks.library import saddle_point as saddle_point
from optics.masks.library import tetrapod as tetrapod
from optics.masks.library import zernike as zernike
from optics.masks.params import FAMILIES as FAMILIES
from optics.masks.params import Family as Family
from optics.masks.params import MaskParametrisation as MaskParametrisation
from optics.masks.sampling import check_wavelength as check_wavelength
from optics.masks.sampling import mask_grid as mask_grid
from optics.masks.sampling import rotate_180 as rotate_180
from optics.masks.sampling import sample_mask as sample_mask
from optics.masks.sampling import sample_path_um as sample_path_um
