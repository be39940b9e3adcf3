"""What the networks are given of a frame: proposals at its emitters, squares around them."""

import jax
import jax.numpy as jnp
import numpy as np

from made.made_model import MODEL, PSF, SHAPE
from optics import make_emitters, render_frame
from training.generator.evidence import cut_glimpses, propose_emitters


def test_a_frame_of_two_emitters_has_two_proposals():
    """Proposals of a clean frame on a sloping background: two places to half a pixel, nothing else beyond 5 sigma."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    emitters = make_emitters([[0.83, 0.92, 0.1], [1.72, 1.65, 0.1]], [1500.0, 1200.0])
    frame = jax.jit(lambda: render_frame(PSF, emitters, SHAPE))() + jnp.asarray(20.0 + 0.5 * x + 0.3 * y)
    proposals = jax.jit(propose_emitters)(MODEL, frame).proposals
    np.testing.assert_allclose(proposals.xyz_um[:2, :2], [[0.83, 0.92], [1.72, 1.65]], atol=0.05)
    assert float(proposals.significance[2]) < 5


def test_glimpses_are_cut_around_the_emitters_pixel():
    """The pixel that an emitter lies in is the glimpse's middle; beyond the rim there are zeros."""
    image = jnp.arange(20.0 * 24).reshape(20, 24)
    cut = cut_glimpses(image, jnp.array([[1.05, 0.75, 0.0], [0.02, 0.02, 0.0]]), 0.1, 8)
    assert float(cut[0, 4, 4]) == float(image[7, 10])
    assert float(cut[1, 4, 4]) == float(image[0, 0])
    assert float(jnp.abs(cut[1, :4]).max()) == 0
