"""From a configuration to the objects that a step needs."""

import dataclasses
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

import nets
from optics import Camera, Microscope, PhaseMask, Psf, make_camera, make_microscope, make_psf, masks
from optics.background import Background, Constant, RandomField, SuperGaussian, UniformLevel, check_background
from optics.field import FieldAberration, aberration_at, load_field
from optics.masks import files as mask_io
from optics.masks import params as mask_params
from optics.masks.shipped import shipped_mask
from optics.psf_io import load_psf
from optics.pytree import replace
from training.config import (
    CameraConfig,
    ConfigError,
    DecoderConfig,
    LearnConfig,
    MaskConfig,
    MicroscopeConfig,
    PsfConfig,
    RunConfig,
    SceneConfig,
)
from training.generator.draw import GeneratedScenes
from training.generator.files import check_microscope, load_facts, load_scenes, scene_ranges
from training.scenes import Scene, make_scene

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


def build_microscope(m: MicroscopeConfig) -> Microscope:
    """The microscope of a configuration; raises `OpticsError` naming a field that cannot be right."""
    return make_microscope(
        na=m.na,
        n_immersion=m.n_immersion,
        n_sample=m.n_sample,
        n_coverslip=m.n_coverslip,
        wavelength_um=m.wavelength_um,
        pixel_um=m.pixel_um,
        focus_um=m.focus_um,
        iris_na=m.iris_na,
    )


def file_path(path: str, key: str) -> str:
    """A path in a configuration with environment variables filled in, so that a preset can say `$COLOCUS_DATA/...`.

    Raises `ConfigError` where a variable is not set.
    """
    filled = os.path.expandvars(path)
    if unset := re.search(r"\$\{?\w+\}?", filled):
        raise ConfigError(
            f"{key} = {path!r}: the environment variable {unset[0].strip('${}')} is not set; "
            "set it to the folder that holds the files, or give a path without it"
        )
    return filled


def build_mask(config: MaskConfig, microscope: Microscope) -> PhaseMask:
    """A mask from the library, from those that come with Colocus or from a file, for this microscope."""
    wavelength = float(microscope.wavelength_um)
    if config.name == "file":
        path = file_path(config.path, "mask.path")
        if mask_io.carries_optics(path):  # saved by Colocus: pitch and focal length are those of other people's files
            return mask_io.load(path, turn_180=config.turn_180)
        return mask_io.load(
            path,
            variable=config.variable,
            wavelength_um=wavelength,
            pitch_um=config.pitch_um,
            focal_length_um=config.focal_length_um,
            magnification=config.magnification,
            na=float(microscope.na),
            turn_180=config.turn_180,
        )
    if config.name == "designed":
        return shipped_mask(config.design, microscope)
    if config.name == "flat":
        return masks.flat(design_wavelength_um=wavelength)
    if config.name == "astigmatism":
        return masks.astigmatism(config.rms_um, design_wavelength_um=wavelength)
    library = {
        "saddle_point": masks.saddle_point,
        "tetrapod": masks.tetrapod,
        "double_helix": masks.double_helix,
    }
    return library[config.name](config.range_um, microscope)


def build_psf(
    microscope: MicroscopeConfig, psf: PsfConfig, mask: MaskConfig | PhaseMask, z_range_um: tuple[float, float]
) -> Psf:
    """The PSF of a configuration, for emitters between two depths."""
    scope = build_microscope(microscope)
    aberration, blur_um, polarisation = None, psf.blur_um, "both"
    if psf.calibration:
        calibrated = calibrated_psf(psf, microscope)
        aberration, polarisation = calibrated.aberration, calibrated.polarisation
        if blur_um is None and calibrated.blur_um is not None:
            blur_um = float(calibrated.blur_um)
    return make_psf(
        scope,
        mask=build_mask(mask, scope) if isinstance(mask, MaskConfig) else mask,
        aberration=aberration,
        blur_um=blur_um,
        kind=psf.kind,
        polarisation=polarisation,
        image_px=psf.stamp_px,
        pupil_px=psf.pupil_px,
        ring_px=psf.ring_px,
        pixel=psf.pixel,
        z_range_um=z_range_um,
    )


def calibrated_psf(config: PsfConfig, microscope: MicroscopeConfig) -> Psf:
    """The PSF in the file `config.calibration`; raises `ConfigError` where it is of another microscope or kind."""
    psf = load_psf(file_path(config.calibration, "psf.calibration"))
    asked = build_microscope(microscope)
    for name in ("na", "iris_na", "n_immersion", "n_coverslip", "n_sample", "wavelength_um", "pixel_um"):
        theirs, ours = float(getattr(psf.microscope, name)), float(getattr(asked, name))
        if not math.isclose(theirs, ours, rel_tol=1e-5):
            raise ConfigError(
                f"psf.calibration = {config.calibration!r} was retrieved with {name} = {theirs:g}, "
                f"not microscope.{name} = {ours:g}; set it so (the file's folder has a run.toml that does)"
            )
    if psf.kind != config.kind:
        raise ConfigError(f"psf.calibration = {config.calibration!r} is {psf.kind}; set psf.kind = {psf.kind!r}")
    parts = {"mask": psf.mask, "Zernike part": psf.zernike_um, "fixed dipole": psf.dipole == "fixed" or None}
    more = [name for name, part in parts.items() if part is not None]
    if more:
        raise ConfigError(
            f"psf.calibration = {config.calibration!r} is no calibration: it has a {more[0]} of its own; "
            "retrieve one with colocus retrieve"
        )
    return psf


def run_psf(run: RunConfig) -> Psf:
    """The PSF of a run, with its starting mask."""
    return build_psf(run.microscope, run.psf, run.mask, (run.scene.z_min_um, run.scene.z_max_um))


def build_camera(c: CameraConfig) -> Camera:
    """The camera of a configuration; raises `OpticsError` naming a field that cannot be right."""
    return make_camera(
        kind=c.kind,
        gain_adu_per_e=c.gain_adu_per_e,
        offset_adu=c.offset_adu,
        read_noise_e=c.read_noise_e,
        quantum_efficiency=c.quantum_efficiency,
        em_gain=c.em_gain,
        spurious_e=c.spurious_e,
    )


def build_background(scene: SceneConfig) -> Background:
    """The background that a scene asks for."""
    low, high = scene.background_min, scene.background_max
    built = {
        "constant": lambda: Constant(high),
        "uniform": lambda: UniformLevel(low, high),
        "super_gaussian": lambda: SuperGaussian(floor_photons=low, peak_photons=high),
        "random_field": lambda: RandomField(
            (low + high) / 2, scene.background_contrast, scene.background_correlation_px
        ),
    }[scene.background]()
    check_background(built)
    return built


def build_family(learn: LearnConfig, wavelength_um: float) -> mask_params.MaskParametrisation:
    """The family of masks that a co-design searches."""
    if learn.parametrisation == "zernike":
        return mask_params.ZernikePhase(n_modes=learn.n_modes, design_wavelength_um=wavelength_um)
    if learn.parametrisation == "pixel":
        return mask_params.PixelPhase(size=learn.size_px, design_wavelength_um=wavelength_um)
    return mask_params.SmoothPhase(n_cosines=learn.n_cosines, design_wavelength_um=wavelength_um)


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
