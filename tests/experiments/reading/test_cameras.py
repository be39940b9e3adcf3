"""A camera travels as a camera: every count that is not light is taken off before a network reads."""

import numpy as np
import pytest

from experiments.reading.cameras import photometry, with_photometry
from experiments.reading.readers import load_reader
from made.tiny import TINY, tiny_run
from optics import make_camera, photons_to_adu
from training import ConfigError, build, build_camera, init_state
from training.checkpoint import Checkpoints
from training.run_folder import RunFolder

EMCCD = {
    "kind": "emccd", "em_gain": 100.0, "gain_adu_per_e": 0.1, "offset_adu": 100.0, "quantum_efficiency": 0.9,
    "read_noise_e": 5.0, "spurious_e": 1.8,
}  # fmt: skip
LEVEL = 20.0  # photons per pixel; the spurious charge looks like 2 more
CENTRE = (1, 1, 0, 0)


@pytest.fixture
def exact_run(tmp_path):
    """A run whose decoder, set by hand, sees an emitter in every pixel and tells the background that it lies on.

    One channel carries the input through all layers; the background's sigmoid has the right value, and slope 1, at
    `LEVEL`.
    """
    scene = {**TINY["scene"], "background_min": 10.0, "background_max": 30.0}
    decoder = {**TINY["decoder"], "half_resolution": False, "input_transform": "linear", "read_out": "peaks"}
    run = tiny_run(scene=scene, decoder=decoder, camera=EMCCD)
    parts = build(run)
    state = init_state(parts)
    net, layers = parts.net, state.variables["params"]
    for layer in layers.values():
        layer["kernel"], layer["bias"] = 0 * layer["kernel"], 0 * layer["bias"]
    for name in ("stem", "head"):
        layers[name]["kernel"] = layers[name]["kernel"].at[CENTRE].set(1.0)
        layers[name]["bias"] = layers[name]["bias"].at[0].set(1.0 if name == "stem" else 0.0)  # stays above 0
    share = LEVEL / net.background_max
    slope = net.input_scale / (net.background_max * share * (1 - share))
    here = 1.0 + (LEVEL - net.input_offset) / net.input_scale
    out = layers["out"]
    out["kernel"] = out["kernel"].at[0, 0, 0, 9].set(slope)
    out["bias"] = out["bias"].at[9].set(np.log(share / (1 - share)) - slope * here).at[0].set(1.0)
    RunFolder(tmp_path / "run", run).begin()
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save(1, state)
    checkpoints.close()
    return tmp_path / "run", build_camera(run.camera)


def test_spurious_charge_is_no_background(exact_run):
    """An EMCCD's frames of 20 photons a pixel and 1.8 spurious electrons: the background is 20, to 1 %."""
    folder, camera = exact_run
    counts = np.asarray(photons_to_adu(camera, np.full((2, 16, 16), LEVEL)), np.float32)
    found = load_reader(folder).read(counts, 0)
    inner = found.background[(np.abs(found.x_um - 0.88) < 0.6) & (np.abs(found.y_um - 0.88) < 0.6)]
    assert inner.size > 50
    np.testing.assert_allclose(inner, LEVEL, rtol=0.01)


def test_gain_and_offset_of_a_camera():
    """Counts per photon and counts without light: 0.1 x 100 x 0.9, and 100 + 0.1 x 100 x 1.8; one may be replaced."""
    camera = make_camera(**EMCCD)
    assert photometry(camera) == (pytest.approx(9.0), pytest.approx(118.0))
    assert photometry(with_photometry(camera, 2.0, None)) == (2.0, pytest.approx(118.0))
    assert photometry(with_photometry(camera, None, 90.0)) == (pytest.approx(9.0), 90.0)
    for gain, offset, message in ((0.0, None, "gain = 0 must be positive"), (None, np.inf, "offset = inf must be")):
        with pytest.raises(ConfigError, match=message):
            with_photometry(camera, gain, offset)
