"""Experiments whose training frames are the scenes of a fitted generator (`--scenes`)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import nets
from experiments.compare.config import ArmConfig, ExperimentConfig, ScoreConfig, load_experiment
from experiments.settings import override
from training import ConfigError, MaskConfig, PsfConfig, RunConfig, from_dict
from training.config import DecoderConfig, SceneConfig
from training.generator.files import generator_folder, load_facts, with_generator

_FRAME_PX = 64
_TRUNKS = ((1, 1, 2, 2, 1, 1), (1, 1, 2, 2, 4, 4, 1, 1), (1, 2, 4, 8, 1, 2, 4, 1), (1, 2, 4, 8, 16, 1, 2, 4, 8, 1))


def on_scenes(config: ExperimentConfig, generator: str) -> ExperimentConfig:
    """Put an experiment on a generator's scenes: its depths, light, density and camera, also for the scores.

    Raises `ConfigError` where `generator` is none, or the experiment's microscope another one.
    """
    folder = generator_folder(generator)
    name = generator if folder != Path(generator) else str(folder.absolute())
    facts = load_facts(name)
    side = facts.config.crop_px
    if config.run.scene.frame_px > side:
        raise ConfigError(
            f"run.scene.frame_px = {config.run.scene.frame_px} is larger than the crops of {side} px that {generator} "
            f"was fitted to; set run.scene.frame_px={side - side % 2} or less"
        )
    try:
        run = with_generator(config.run, name)
    except ConfigError as error:
        raise ConfigError(f"run.{error}" if str(error).startswith("microscope") else str(error)) from error
    low, middle, high = facts.photons
    most = run.scene.count_max
    score = dataclasses.replace(
        config.score,
        counts=tuple(sorted({1, max(1, round(most / 2)), most})),
        pair_photons=(low, middle, high),
        pair_background=(max(facts.background[1], 0.0),) * 3,
        pair_count=max(1, round(most / 2)),
    )
    return dataclasses.replace(config, run=run, score=score)


def scenes_experiment(generator: str) -> ExperimentConfig:
    """Write a generator's experiment: its microscope with the movie's mask, and a mask learned from it."""
    facts = load_facts(generator)
    settings = facts.config
    folder = generator_folder(generator).absolute()
    mask = settings.mask
    if settings.psf_file:
        has_mask = (folder / "mask.npz").is_file()
        mask = MaskConfig(name="file", path=str(folder / "mask.npz")) if has_mask else MaskConfig()
    frame_px = min(_FRAME_PX, settings.crop_px - settings.crop_px % 2)
    run = RunConfig(
        microscope=settings.microscope,
        psf=dataclasses.replace(settings.psf, calibration="") if settings.psf_file else settings.psf,
        mask=mask,
        scene=SceneConfig(frame_px=frame_px, margin_um=0.0),
        decoder=decoder_for(settings.psf),
    )
    config = ExperimentConfig(
        run=run,
        arms=(ArmConfig(label="as-it-is", mask=mask), ArmConfig(label="learned", mask=mask, learn=True)),
        score=ScoreConfig(),
        reference="as-it-is",
        title=f"Decoders on the scenes of {folder.name}",
    )
    return on_scenes(config, generator)


def load_on_scenes(config: str | None, generator: str, assignments: Sequence[str]) -> ExperimentConfig:
    """Read an experiment (a preset or a TOML file) on a generator's scenes; without one, the generator's own.

    `assignments` go before what the generator says. Raises `ConfigError`.
    """
    base = scenes_experiment(generator) if config is None else load_experiment(config, _before(assignments))
    return from_dict(ExperimentConfig, override({}, assignments), base=on_scenes(base, generator))


def _before(assignments: Sequence[str]) -> list[str]:
    """Choose those that the microscope and the frames' size are checked with."""
    return [a for a in assignments if not a.startswith("score.")]


def decoder_for(psf: PsfConfig) -> DecoderConfig:
    """Choose the smallest decoder that sees a stamp of the PSF and half as much around it, else the largest."""
    decoders = [DecoderConfig(dilations=dilations) for dilations in _TRUNKS]
    for decoder in decoders[:-1]:
        trunk = nets.ListNetConfig(dilations=decoder.dilations, half_resolution=decoder.half_resolution)
        if nets.receptive_field_px(trunk) >= 1.5 * psf.stamp_px:
            return decoder
    return decoders[-1]
