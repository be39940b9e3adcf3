"""The presets of other decoders: they load and build, and in small they go all the way to a report."""

import jax
import pytest

import nets
from experiments import cli
from experiments.compare.config import load_experiment
from training import init_state
from training.build import build, build_net

SMALL = (
    *("run.psf.stamp_px=11", "run.psf.pupil_px=16", "run.psf.ring_px=4", "run.psf.kind=scalar"),
    *("run.scene.frame_px=16", "run.scene.count_min=1", "run.scene.count_max=2"),
    *("run.optimiser.steps=2", "run.optimiser.batch=2", "score.frames=2", "score.single_frames=2"),
    *("score.counts=[1,2]", "score.pair_count=1"),
)
PRESETS = {
    "context": ("run.decoder.channels=8", "run.decoder.head_channels=8", "run.decoder.dilations=[1,2]"),
    "deepstorm2d": ("run.decoder.width=0.1", "run.decoder.upsampling=4"),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_builds(name):
    """Settings are accepted as they are, and in small every part and variable has its shape."""
    whole = load_experiment(name)
    assert nets.receptive_field_px(build_net(whole.run)) >= 7
    parts = build(load_experiment(name, [*SMALL, *PRESETS[name]]).run)
    state = jax.eval_shape(lambda: init_state(parts))
    assert nets.count_parameters(state.variables) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_and_is_scored_in_small(name, tmp_path):
    """`colocus train` from the first step to the report."""
    assert cli.main(["train", name, "--out", str(tmp_path / "run"), *SMALL, *PRESETS[name]]) == 0
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
