"""A run on a generator's scenes: what is built of it, and a step that moves decoder and mask."""

import dataclasses

import jax.numpy as jnp
import pytest

from made.made_generator import CONFIG, made_generator
from made.tiny import LEARN, TINY
from training import ConfigError, RunConfig, build, from_dict, init_state, make_train_step, to_dict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny co-design on a made generator's scenes."""
    folder = tmp_path_factory.mktemp("generator") / "run"
    values = {
        **TINY, **LEARN, "microscope": to_dict(CONFIG.microscope), "psf": to_dict(CONFIG.psf),
        "mask": {"name": "flat"}, "scene": {"frame_px": 16, "z_max_um": 0.0, "generator": "$SCENES/run"},
        "optimiser": {**TINY["optimiser"], "batch": 2},
    }  # fmt: skip
    with made_generator(folder) as patch:
        patch.setenv("SCENES", str(folder.parent))
        yield from_dict(RunConfig, values)


def test_the_decoders_ranges_are_the_generators(run):
    """Photons up to 1.2 times its brightest, an input centred on its background: not those of the scene's defaults."""
    parts = build(run)
    assert parts.generated is not None and parts.generated.frame_px == 16
    assert parts.net.photons_max == pytest.approx(1.2 * 2100) and parts.net.input_offset == pytest.approx(12.0)


def test_what_does_not_belong_together_is_refused(run):
    """Another microscope, other depths, frames larger than the crops, another kind of PSF."""

    def changed(table, **values):
        return dataclasses.replace(run, **{table: dataclasses.replace(getattr(run, table), **values)})

    for wrong, message in (
        (changed("microscope", wavelength_um=0.61), "microscope.wavelength_um = 0.61 is not that of scene.generator"),
        (changed("scene", z_max_um=0.5), "are not the depths of scene.generator"),
        (changed("scene", frame_px=32), "frame_px = 32 must lie between 8 and 24"),
        (changed("psf", kind="scalar"), "scene.generator is vectorial"),
        (changed("scene", generator="$SCENES/none"), "is no generator"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(wrong)


def test_a_step_on_scenes_moves_decoder_and_mask(run):
    """One step of a co-design on generated frames: a finite loss, gradients through the emitters to the mask."""
    parts = build(run)
    state, metrics = make_train_step(parts)(init_state(parts))
    assert jnp.isfinite(metrics["loss"]) and float(metrics["mask_gradient"]) > 0
    assert float(jnp.abs(state.mask_params - parts.mask_params).max()) > 1e-3
