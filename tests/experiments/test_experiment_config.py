"""Configurations: what is refused and how it is said, overrides, presets, and TOML that reads back."""

import pytest

from experiments.compare.config import ArmConfig, ExperimentConfig, arm_run, load_experiment
from experiments.compare.toml import to_toml
from experiments.settings import presets
from training import ConfigError, RunConfig, from_dict


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("run.optimizer.steps=5", "unknown key 'run.optimizer'; did you mean 'optimiser'?"),
        ("run.optimiser.step=5", "unknown key 'run.optimiser.step'; did you mean 'steps'?"),
        ("run.decoder.kind=lists", "must be one of 'list', 'volume', 'blobs', 'image'; did you mean 'list'?"),
        ("run.optimiser.steps=many", "run.optimiser.steps = 'many' must be of type int"),
        ("run.optimiser.steps=2.5", "run.optimiser.steps = 2.5 must be of type int"),
        ("run.scene=5", "run.scene must be a table of settings"),
        ("run.scene.photons=normal", "must be one of 'uniform', 'gamma'"),
        ("seeds=3", "seeds = 3 must be a list"),
        ("seeds=[]", "seeds must name at least one"),
        ("reference=none", "reference = 'none' is none of the arms"),
        ("score.pair_photons=[1.0, 2.0]", "must be of equal length"),
        ("run.microscope.na=nan", "must be a finite number"),
        ("steps", "'steps' is not KEY=VALUE"),
    ],
)
def test_wrong_settings_are_named(assignment, message):
    with pytest.raises(ConfigError) as refusal:
        load_experiment("tiny", [assignment])
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_overrides_take_toml_values_and_bare_words():
    config = load_experiment(
        "tiny", ["run.optimiser.steps=7", "seeds=[4, 5]", "title=words alone", "learn.n_modes = 6"]
    )
    assert (config.run.optimiser.steps, config.seeds, config.title) == (7, (4, 5), "words alone")
    assert config.learn.n_modes == 6


def test_a_missing_config_names_the_presets(tmp_path):
    with pytest.raises(ConfigError, match="neither a file nor a preset .*tiny"):
        load_experiment("tinny")
    broken = tmp_path / "broken.toml"
    broken.write_text("run = [")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_experiment(str(broken))


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_gives_each_arm_a_run(name):
    config = load_experiment(name)
    assert config.title and config.arms
    for arm in config.arms:
        run = arm_run(config, arm, config.seeds[0])
        assert isinstance(run, RunConfig)
        assert (run.learn is not None) == arm.learn


@pytest.mark.parametrize("name", presets())
def test_printed_toml_reads_back_to_the_same_configuration(name, tmp_path):
    config = load_experiment(name, ['title="a \\"quoted\\" µm"'])
    file = tmp_path / "printed.toml"
    file.write_text(to_toml(config))
    assert load_experiment(str(file)) == config


def test_arms_must_differ():
    with pytest.raises(ConfigError, match="different labels"):
        ExperimentConfig(arms=(ArmConfig(label="a"), ArmConfig(label="a")))
    with pytest.raises(ConfigError, match="without slashes"):
        from_dict(ArmConfig, {"label": "../a"})
