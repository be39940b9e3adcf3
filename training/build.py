"""From a configuration to the objects that a step needs."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

import nets
from optics import Camera, MaskParametrisation, PhaseMask, PixelPhase, Psf, WingPlan, mask_params, plan_wings
from optics.background import Background
from optics.colour.species import Species, SpeciesPsf
from optics.field import FieldAberration, aberration_at, load_field
from optics.pytree import replace
from training.colours import run_shares, run_species, sampled_psf, species_looks
from training.config import DecoderConfig, RunConfig, SceneConfig
from training.decoders import find_kind
from training.generator.draw import SceneGenerator
from training.generator.files import check_microscope, load_facts, load_generator, scene_ranges
from training.instrument import build_background, build_camera, build_family, file_path, run_psf
from training.scenes import Scene, make_scene
from training.settings import ConfigError


@dataclass(frozen=True)
class Parts:
    """What a run is made of: its configuration and the pytrees built from it.

    `psf` holds the starting mask; `to_mask` turns `mask_params` into the mask of the moment (both None
    without `run.learn`). `field` is what the place in the camera's field adds to the PSF, or None; `psf` is then that
    of the field's centre. `generated` draws the training frames of a run with `scene.generator`, whose PSF has what the
    generator's movie said of it. `species` are those of a run of several: `psf` is then what its mask is at the
    microscope's own wavelength.
    """

    run: RunConfig
    psf: Psf
    camera: Camera
    background: Background
    scene: Scene
    net: nets.NetConfig
    mask_params: Any
    to_mask: Callable[[Any], PhaseMask]
    field: FieldAberration | None = None
    generated: SceneGenerator | None = None
    species: tuple[Species, ...] = ()

    def looks(self, psf: Psf) -> Psf | tuple[SpeciesPsf, ...]:
        """What draws the run's scenes through `psf`: itself, or the images of every species behind its plate."""
        return species_looks(psf, self.species, self.run.material) if self.species else psf


def build_net(run: RunConfig) -> nets.NetConfig:
    """Make the configuration of the decoder's network, with ranges taken from the run's scenes (`ConfigError`)."""
    return find_kind(run.decoder.kind).make_net(run)


def trained_net(run: RunConfig) -> nets.NetConfig:
    """Make the network's configuration as `build` does, with the ranges of the run's generator where it has one."""
    if not run.scene.generator:
        return build_net(run)
    facts = load_facts(file_path(run.scene.generator, "scene.generator"))
    scene = dataclasses.replace(run.scene, **scene_ranges(facts, run.scene.frame_px))
    return build_net(dataclasses.replace(run, scene=scene))


def build(run: RunConfig) -> Parts:
    """Build all parts of a run. Raises `ConfigError`, `OpticsError` or `NetsError` before any long work."""
    check_depths(run)
    species = run_species(run)
    psf, generated = run_psf(run), None
    if species:
        psf = sampled_psf(run, psf, species)
    net = trained_net(run)
    if run.scene.generator:
        psf, generated = _on_generated_scenes(run, psf)
    if find_kind(run.decoder.kind).sees_stamp:
        check_receptive_field(run.decoder, net, run.psf.stamp_px)
    field = load_field(file_path(run.psf.field, "psf.field")) if run.psf.field else None
    if field is not None:
        psf = replace(psf, zernike_um=aberration_at(field, jnp.zeros(2)))
    start, family, params = psf.mask, None, None
    assert start is not None  # run_psf always sets one
    if run.learn is not None:
        family = build_family(run.learn, run.microscope.wavelength_um)
        if species:
            family = _of_a_plate(family, start, run)
        params = mask_params.init_params(family, start)

    def to_mask(params: Any) -> PhaseMask:
        return start if family is None else mask_params.to_mask(family, params)

    psf = replace(psf, mask=to_mask(params))
    camera = build_camera(run.camera)
    scene = make_scene(
        run.scene,
        run.microscope.pixel_um,
        n_frames=run.decoder.frames,
        wings=wing_plan(run, psf, run.scene),
        shares=run_shares(run),
    )
    return Parts(
        run=run,
        psf=psf,
        camera=camera,
        background=build_background(run.scene),
        scene=scene,
        net=net,
        mask_params=params,
        to_mask=to_mask,
        field=field,
        generated=generated,
        species=species,
    )


def _of_a_plate(family: MaskParametrisation, start: PhaseMask, run: RunConfig) -> MaskParametrisation:
    """The family for a plate: its cells may differ by whole waves, with walls between them (not so on a mirror)."""
    if not isinstance(family, PixelPhase) or run.material == "mirror":
        return family
    cells, waves = start.opd_um.shape[0], float(np.ptp(np.asarray(start.opd_um)) / start.design_wavelength_um)
    if start.wrapped and waves > 1 and cells != family.size:
        raise ConfigError(
            f"learn.size_px = {family.size}, but mask {run.mask.design or run.mask.name!r} has {cells} cells, several "
            f"waves high; set learn.size_px = {cells}"
        )
    return replace(family, wrapped=True)


def wing_plan(run: RunConfig, psf: Psf, scene: SceneConfig, *, scored: bool = False) -> WingPlan | None:
    """Choose how light around the stamps is drawn in a run's scenes; None where it is an even background.

    Where it is `scored` emitters beyond the frame have stamps as exact as those in it. A mask that is learned gets a
    table of one field in every step; one that stays, or is scored, of all.
    """
    if scene.stray == "even":
        return None
    shape, z_range_um = (scene.frame_px, scene.frame_px), (scene.z_min_um, scene.z_max_um)
    learned = run.learn is not None
    fields = "one" if learned and not scored else "all"
    return plan_wings(psf, shape, z_range_um, learned=learned, fields=fields, stamped=scored)


def _on_generated_scenes(run: RunConfig, psf: Psf) -> tuple[Psf, SceneGenerator]:
    """Return PSF and source of frames of a run on a generator's scenes: its optics under the run's own mask."""
    folder = file_path(run.scene.generator, "scene.generator")
    facts = load_facts(folder)
    check_microscope(run.microscope, facts)
    if (run.scene.z_min_um, run.scene.z_max_um) != (facts.config.z_min_um, facts.config.z_max_um):
        raise ConfigError(
            f"scene.z_min_um, z_max_um = {run.scene.z_min_um:g}, {run.scene.z_max_um:g} are not the depths of "
            f"scene.generator, {facts.config.z_min_um:g} to {facts.config.z_max_um:g}; set them so"
        )
    generated = load_generator(folder, run.scene.frame_px)
    fitted = generated.psf
    if psf.kind != fitted.kind:
        raise ConfigError(f"psf.kind = {psf.kind!r}, but scene.generator is {fitted.kind}; set it so")
    psf = replace(
        psf,
        aberration=fitted.aberration,
        zernike_um=fitted.zernike_um,
        blur_um=fitted.blur_um,
        polarisation=fitted.polarisation,
    )
    return psf, generated


def check_depths(run: RunConfig) -> None:
    """Refuse emitters above the coverslip where the layers differ in index (`ConfigError`)."""
    run.microscope.check_depths("scene.z_min_um", run.scene.z_min_um)


def check_receptive_field(decoder: DecoderConfig, net: nets.NetConfig, stamp_px: int) -> None:
    """Refuse a decoder that cannot see a whole stamp (`ConfigError`)."""
    field = net.receptive_field_px
    if field < stamp_px:
        raise ConfigError(
            f"decoder.dilations = {decoder.dilations} see {field} px, less than the PSF's stamp "
            f"(psf.stamp_px = {stamp_px}); add dilations or make the stamp smaller"
        )
