"""What the benchmarks of crowded frames lean on: bounds of a true scene, and records that go on where they stopped."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crowds.bounds import bounds_in_scene_um
from crowds.record import cell_parser, fill, rounded
from optics.bounds.fisher import crlb_std
from optics.psf import make_psf
from optics.types import make_microscope

SIDE, PIXEL_UM, LEVEL = 15, 0.1, 9.0


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    return make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=SIDE, pupil_px=16, pixel="centre", kind="scalar")


def test_the_bound_of_a_scene_is_that_of_each_emitter_where_no_stamps_meet(psf):
    """Alone in its frame, against `optics.bounds`: the same five unknowns. Far apart, a neighbour costs only what it
    costs the background that both share, a lot less than a percent."""
    inside = np.array([0.02, -0.03, 0.2])
    alone = np.array(jax.jit(crlb_std)(psf, jnp.asarray(inside), 2000.0, LEVEL))[:3]
    middle = SIDE * PIXEL_UM / 2
    one = inside + [middle, middle, 0]
    found = bounds_in_scene_um(psf, one[None], np.array([2000.0]), np.full((SIDE, SIDE), LEVEL))
    np.testing.assert_allclose(found[0], alone, rtol=1e-6)  # two sums of the same 225 terms
    two = np.stack([one, one + [SIDE * PIXEL_UM, 0, 0]])
    both = bounds_in_scene_um(psf, two, np.full(2, 2000.0), np.full((SIDE, 2 * SIDE), LEVEL))
    np.testing.assert_allclose(both, np.stack([alone, alone]), rtol=0.01)


def test_neighbours_on_top_of_each_other_cannot_be_told_apart(psf):
    """The nearer, the larger the bound, without end."""
    middle, level = SIDE * PIXEL_UM / 2, np.full((SIDE, SIDE), LEVEL)

    def worst(apart_um):
        xyz = np.array([[middle, middle, 0.2], [middle + apart_um, middle, 0.2]])
        return bounds_in_scene_um(psf, xyz, np.full(2, 2000.0), level).max()

    bounds = [worst(apart_um) for apart_um in (0.3, 0.1, 0.03, 0.01)]
    assert bounds == sorted(bounds) and bounds[-1] > 10 * bounds[0]


def test_a_record_goes_on_where_it_stopped(tmp_path):
    """A cell is measured once, again when more frames are asked for, and every cell is on disk as soon as it is."""
    measured = []

    def measure(cell, frames):
        measured.append((cell, frames))
        if cell == "b":
            recorded = json.loads((tmp_path / "some.json").read_text())["numbers"]["cells"]
            assert list(recorded) == ["a"] or "b" in recorded
        return {"frames": frames}

    def run(*arguments):
        return fill(
            "some", ["a", "b"], measure, cell_parser("what", 2).parse_args([*arguments, "--out", str(tmp_path)])
        )

    run("--only", "a")
    assert set(run()["cells"]) == {"a", "b"} and measured == [("a", 2), ("b", 2)]
    run("--frames", "1")
    assert len(measured) == 2
    run("--frames", "3", "--only", "a")
    assert measured[2:] == [("a", 3)]


def test_numbers_of_a_record_are_short_and_never_nan():
    """What was not measured is None: JSON has no NaN."""
    assert rounded({"x": [np.float64(1.23456789), np.nan], "n": np.int64(3)}) == {"x": [1.235, None], "n": 3}
