"""From a configuration to the objects that a step needs."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

import nets
from optics import Camera, PhaseMask, Psf, mask_params
from optics.background import Background
from optics.field import FieldAberration, aberration_at, load_field
from optics.pytree import replace
from training.config import (
    DecoderConfig,
    RunConfig,
)
from training.generator.draw import GeneratedScenes
from training.generator.files import check_microscope, load_facts, load_scenes, scene_ranges
from training.instrument import build_background, build_camera, build_family, file_path, run_psf
from training.scenes import Scene, make_scene
from training.settings import ConfigError

IN_FOCUS_UM = 0.05  # half the depth that a decoder without depth reports as its sigma in z


@dataclass(frozen=True)
class Parts:
    """What a run is made of: its configuration and the pytrees built from it.

    `psf` holds the starting mask; `to_mask` turns `mask_params` into the mask of the moment (both None
    without `run.learn`). `field` is what the place in the camera's field adds to the PSF, or None; `psf` is then that
    of the field's centre. `generated` draws the training frames of a run with `scene.generator`, whose PSF has what the
    generator's movie said of it.
    """

    run: RunConfig
    psf: Psf
    camera: Camera
    background: Background
    scene: Scene
    net: Any
    mask_params: Any
    to_mask: Callable[[Any], PhaseMask]
    field: FieldAberration | None = None
    generated: GeneratedScenes | None = None


def build_net(run: RunConfig) -> Any:
    """The decoder's configuration, with ranges taken from the scenes that it will read."""
    d, s = run.decoder, run.scene
    if d.kind == "volume":
        return nets.OpticsDesignNetConfig(depth=d.depth_voxels, scaling=d.scaling)
    if d.kind == "image":
        return nets.DeepStormConfig(variant=d.variant, upsampling=d.upsampling, width=d.width)
    flat = s.z_max_um == s.z_min_um
    brightest = s.photons_max if s.photons == "uniform" else s.photons_mean * (1 + 5 / math.sqrt(s.photons_shape))
    ceiling = 1.5 * s.background_max
    return nets.ListNetConfig(
        pixel_um=run.microscope.pixel_um,
        z_min_um=s.z_min_um - IN_FOCUS_UM * flat,
        z_max_um=s.z_max_um + IN_FOCUS_UM if flat else max(s.z_max_um, s.z_min_um + 0.1),
        photons_max=1.2 * brightest,
        background_max=max(1.6 * ceiling, 10.0),
        input_offset=0.5 * (s.background_min + s.background_max),
        input_scale=max(0.5 * (s.background_min + s.background_max), 5.0),
        input_transform=d.input_transform,
        channels=d.channels,
        head_channels=d.head_channels,
        dilations=d.dilations,
        half_resolution=d.half_resolution,
        frames=d.frames,  # pyright: ignore[reportArgumentType]  (checked by the configuration)
        position_channels=d.position_channels,
        field_px=s.field_px if d.position_channels else 0,
        fixed_z=flat,
    )


def build(run: RunConfig) -> Parts:
    """All parts of a run. Raises `ConfigError`, `OpticsError` or `NetsError` before any long work."""
    check_depths(run)
    psf, generated = run_psf(run), None
    net = build_net(run)
    if run.scene.generator:
        psf, net, generated = _on_generated_scenes(run, psf)
    if run.decoder.kind != "image":  # an image needs the core of an in-focus PSF, not all of its rings
        check_receptive_field(run.decoder, net, run.psf.stamp_px)
    field = load_field(file_path(run.psf.field, "psf.field")) if run.psf.field else None
    if field is not None:
        psf = replace(psf, zernike_um=aberration_at(field, jnp.zeros(2)))
    start, family, params = psf.mask, None, None
    assert start is not None  # run_psf always sets one
    if run.learn is not None:
        family = build_family(run.learn, run.microscope.wavelength_um)
        params = mask_params.init_params(family, start)

    def to_mask(params: Any) -> PhaseMask:
        return start if family is None else mask_params.to_mask(family, params)

    psf = replace(psf, mask=to_mask(params))
    camera = build_camera(run.camera)
    scene = make_scene(run.scene, run.microscope.pixel_um, n_frames=run.decoder.frames)
    return Parts(run, psf, camera, build_background(run.scene), scene, net, params, to_mask, field, generated)


def _on_generated_scenes(run: RunConfig, psf: Psf) -> tuple[Psf, Any, GeneratedScenes]:
    """PSF, network and source of frames of a run on a generator's scenes: its optics under the run's own mask."""
    folder = file_path(run.scene.generator, "scene.generator")
    facts = load_facts(folder)
    check_microscope(run.microscope, facts)
    if (run.scene.z_min_um, run.scene.z_max_um) != (facts.config.z_min_um, facts.config.z_max_um):
        raise ConfigError(
            f"scene.z_min_um, z_max_um = {run.scene.z_min_um:g}, {run.scene.z_max_um:g} are not the depths of "
            f"scene.generator, {facts.config.z_min_um:g} to {facts.config.z_max_um:g}; set them so"
        )
    generated = load_scenes(folder, run.scene.frame_px)
    theirs = generated.psf
    if psf.kind != theirs.kind:
        raise ConfigError(f"psf.kind = {psf.kind!r}, but scene.generator is {theirs.kind}; set it so")
    psf = replace(
        psf,
        aberration=theirs.aberration,
        zernike_um=theirs.zernike_um,
        blur_um=theirs.blur_um,
        polarisation=theirs.polarisation,
    )
    scene = dataclasses.replace(run.scene, **scene_ranges(facts, run.scene.frame_px))
    return psf, build_net(dataclasses.replace(run, scene=scene)), generated


def check_depths(run: RunConfig) -> None:
    """Refuse emitters above the coverslip where the layers differ in index (`ConfigError`)."""
    m = run.microscope
    matched = m.n_sample == m.n_immersion and m.n_coverslip in (None, m.n_sample)
    if run.scene.z_min_um < 0 and not matched:
        raise ConfigError(
            f"scene.z_min_um = {run.scene.z_min_um:g} lies above the coverslip, which has a meaning only where "
            "n_sample, n_coverslip and n_immersion are equal; start at 0"
        )


def check_receptive_field(decoder: DecoderConfig, net: Any, stamp_px: int) -> None:
    """Refuse a decoder that cannot see a whole stamp (`ConfigError`)."""
    field = nets.receptive_field_px(net)
    if field < stamp_px:
        raise ConfigError(
            f"decoder.dilations = {decoder.dilations} see {field} px, less than the PSF's stamp "
            f"(psf.stamp_px = {stamp_px}); add dilations or make the stamp smaller"
        )
