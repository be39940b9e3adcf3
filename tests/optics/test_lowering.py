"""The optics lower for accelerators on a machine that has none, and their products keep full precision."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from optics.bounds.fisher import fisher_matrix
from optics.psf import make_psf, psf_image
from optics.render import render_frames
from optics.types import Emitters, make_mask, make_microscope


def single(tree):
    """Shapes in float32, what devices run: nothing is computed."""

    def shape(leaf):
        dtype = jnp.float32 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype
        return jax.ShapeDtypeStruct(leaf.shape, dtype)

    return jax.tree.map(shape, tree)


def build(pixel):
    scope = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    mask = make_mask(np.zeros((16, 16)), design_wavelength_um=0.6)
    return make_psf(scope, mask=mask, zernike_um=np.zeros(6), image_px=15, pupil_px=24, pixel=pixel, blur_um=0.1)


def render_gradient(psf, emitters):
    def loss(psf):
        return jnp.sum(render_frames(psf, emitters, (32, 32), chunk=4) ** 2)

    return jax.value_and_grad(loss)(psf)


EMITTERS = Emitters(xyz_um=jnp.zeros((2, 5, 3)), photons=jnp.zeros((2, 5)), valid=jnp.zeros((2, 5), bool))
PROGRAMS = {
    "image, integrated": (psf_image, lambda: (build("integrated"), jnp.zeros(3))),
    "image, centre": (psf_image, lambda: (build("centre"), jnp.zeros(3))),
    "frames and their gradient by the mask": (render_gradient, lambda: (build("centre"), EMITTERS)),
    "Fisher matrix": (fisher_matrix, lambda: (build("centre"), jnp.zeros(3), jnp.ones(()), jnp.ones(()))),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_optics_lower_for_accelerators_in_full_precision(program, platform):
    """jax.export succeeds; every matrix product asks for HIGHEST; float32 in, no product in float64."""
    function, arguments = PROGRAMS[program]
    text = export.export(jax.jit(function), platforms=[platform])(*single(arguments())).mlir_module()
    products = re.findall(r"stablehlo\.dot_general.*", text)
    assert products, "an image without a matrix product would mean another program"
    hasty = [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line]
    assert not hasty, hasty[0]
    assert "xf64>" not in "".join(products)
