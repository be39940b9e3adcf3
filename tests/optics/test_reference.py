"""Images and precision bounds against an independent vectorial implementation, file by file."""

import jax
import numpy as np
import pytest

from made.witness import FILES, image_in_window, read_witness, relative_l2
from optics import masks
from optics.bounds.fisher import crlb_std_um
from optics.psf import make_psf, psf_image
from optics.pytree import replace
from worlds.lattice import lattice_nodes


@pytest.fixture(params=FILES)
def witness(request, data_folder):
    return read_witness(data_folder("reference"), request.param)


def images(witness, psf, nodes=None):
    def one(xyz_um, focus_um):
        return image_in_window(psf, xyz_um, focus_um, nodes)

    return jax.jit(jax.vmap(one))(witness.xyz_um, witness.focus_um)


def build(witness, **changes):
    options = {"zernike_um": witness.zernike_um, "image_px": witness.image_px, "pixel": "centre"} | changes
    return make_psf(witness.microscope, **options)


def depths(witness):
    return witness.xyz_um[:, 2].min(), witness.xyz_um[:, 2].max()


def test_default_sampling_meets_the_converged_images(witness):
    """As built by default every image is within 2e-4 of the converged program (3e-3 is asked for)."""
    psf = build(witness, z_range_um=depths(witness))
    assert relative_l2(images(witness, psf), witness.converged).max() < 2e-4


def test_finer_sampling_meets_the_converged_images(witness):
    """With 96 samples what is left (5e-5) is the converged program's own square lattice."""
    psf = build(witness, pupil_px=96, ring_px=12)
    assert relative_l2(images(witness, psf), witness.converged).max() < 1e-4


def test_hard_edged_lattice_meets_the_witness(witness):
    """On the witness's own pupil lattice and hard edge every image agrees to 1e-3."""
    psf = build(witness, pupil_px=16)
    nodes = lattice_nodes(witness.pupil_px, 1.0, 1.0)
    assert relative_l2(images(witness, psf, nodes), witness.hard_edge).max() < 1e-3


def test_precision_bounds_meet_the_converged_program(witness):
    """crlb_std_um of x, y, z within 1 % of the converged program's central differences."""
    psf = build(witness, z_range_um=depths(witness))

    def bound(xyz_um, focus_um):
        focused = replace(psf, microscope=replace(psf.microscope, focus_um=focus_um))
        # the files count the photons inside the window, ours those of the whole image plane
        photons = witness.photons / psf_image(focused, xyz_um).sum()
        return crlb_std_um(focused, xyz_um, photons, witness.background)

    ours = jax.jit(jax.vmap(bound))(witness.xyz_um, witness.focus_um)
    np.testing.assert_allclose(ours, witness.crlb_std_um, rtol=0.01)


def test_mask_on_a_grid_meets_the_converged_images(witness):
    """With a 256 x 256 phase mask instead of exact Zernikes: within 1e-3 of the converged images."""
    mask = masks.zernike(witness.modes, design_wavelength_um=float(witness.microscope.wavelength_um))
    psf = build(witness, zernike_um=None, mask=mask, z_range_um=depths(witness))
    assert relative_l2(images(witness, psf), witness.converged).max() < 1e-3
