"""What a run is: frozen dataclasses of plain numbers, read from and written to plain mappings.

Every field has a unit in its name and a default; a wrong value is refused here, before any long work, by a
`ConfigError` that names the field. An unknown key is an error that names the nearest known one.
"""

import dataclasses
import math
from typing import Annotated, Any, ClassVar, Literal

from optics.masks import FAMILIES, LIBRARY
from training.settings import ConfigError, OneOf, check, check_range

# "designed" comes with Colocus, "file" is the user's; all others are in the library
MaskName = Annotated[str, OneOf(lambda: (*LIBRARY, "designed", "file"))]
FamilyName = Annotated[str, OneOf(lambda: FAMILIES)]


@dataclasses.dataclass(frozen=True)
class MicroscopeConfig:
    """The optics; see `optics.make_microscope`. `n_coverslip` and `iris_na` may be left out."""

    na: float = 1.45
    n_immersion: float = 1.518
    n_sample: float = 1.33
    n_coverslip: float | None = None
    wavelength_um: float = 0.58
    pixel_um: float = 0.11
    focus_um: float = 2.5
    iris_na: float | None = None

    def check_depths(self, field: str, z_min_um: float) -> None:
        """Refuse depths above the coverslip where the layers differ in index; `ConfigError` names `field`."""
        matched = self.n_sample == self.n_immersion and self.n_coverslip in (None, self.n_sample)
        if z_min_um < 0 and not matched:
            raise ConfigError(
                f"{field} = {z_min_um:g} lies above the coverslip, which has a meaning only where n_sample, "
                "n_coverslip and n_immersion are equal; start at 0"
            )


@dataclasses.dataclass(frozen=True)
class PsfConfig:
    """How the PSF is computed; see `optics.make_psf`. `stamp_px` is the side of one emitter's picture.

    `pupil_px` and `ring_px` are chosen for an error near 1e-4 unless given; 1e-2 is enough to train.
    `calibration` is the psf.npz of `colocus retrieve`: the instrument's own pupil and blur, under whatever mask is
    set or learned. Its microscope must be the configured one, but for the focus. `field` is the .npz of a
    `optics.FieldAberration`, added to the rest: each frame has the PSF of its place in a field of `scene.field_px`.
    """

    calibration: str = ""
    field: str = ""
    kind: Literal["vectorial", "scalar"] = "vectorial"
    stamp_px: int = 61
    pixel: Literal["integrated", "centre"] = "centre"
    blur_um: float | None = None
    pupil_px: int | None = None
    ring_px: int | None = None

    def __post_init__(self):
        check(self.stamp_px >= 5, "psf.stamp_px", self.stamp_px, "must be at least 5 pixels")
        check(self.pupil_px is None or self.pupil_px >= 8, "psf.pupil_px", self.pupil_px, "must be at least 8")


@dataclasses.dataclass(frozen=True)
class MaskConfig:
    """A phase mask: one of `optics.masks.LIBRARY` by `name`, or a file (`name = "file"`, `path` and its optics).

    `name = "designed"` is the mask called `design` that comes with Colocus (`optics.shipped_masks`), found by
    `colocus design` for one objective and sample, or a plate for colours (`optics.colour.shipped`); a file that Colocus
    wrote needs its `path` alone.
    `range_um` is the depth range that a Tetrapod, saddle point or double helix is made for; `rms_um` the
    strength of an astigmatism. Another file needs its `variable` (where it holds several), the mask's
    `pitch_um`, `focal_length_um` and `magnification`; DeepSTORM3D's need `turn_180`.
    """

    name: MaskName = "flat"
    rms_um: float = 0.07
    range_um: float = 4.0
    path: str = ""
    variable: str | None = None
    pitch_um: float = 24.0
    focal_length_um: float = 150_000.0
    magnification: float = 100.0
    turn_180: bool = False
    label: str = ""
    design: str = ""

    def __post_init__(self):
        check(self.name != "designed" or self.design != "", "mask.design", self.design, "must name a design")
        check(self.name != "file" or self.path != "", "mask.path", self.path, "must name the mask's file")
        check(self.range_um > 0, "mask.range_um", self.range_um, "must be positive")


@dataclasses.dataclass(frozen=True)
class LearnConfig:
    """How a mask is learned: its family (of `optics.masks.FAMILIES`), and how far one step moves its parameters.

    "zernike" learns `n_modes` OSA modes, "pixel" the phase of every cell of a `size_px` grid, "smooth" the
    `n_cosines` x `n_cosines` slowest cosines over the pupil's square. The learning rate is in radians a
    step; during the last `freeze_fraction` of the run the mask rests and the decoder catches up.
    """

    parametrisation: FamilyName = "smooth"
    n_modes: int = 55
    size_px: int = 64
    n_cosines: int = 24
    learning_rate_rad: float = 2e-2
    freeze_fraction: float = 0.2

    def __post_init__(self):
        check(self.n_modes >= 4, "learn.n_modes", self.n_modes, "must be at least 4")
        check(self.size_px >= 8, "learn.size_px", self.size_px, "must be at least 8")
        check(self.learning_rate_rad > 0, "learn.learning_rate_rad", self.learning_rate_rad, "must be positive")
        check(0 <= self.freeze_fraction < 1, "learn.freeze_fraction", self.freeze_fraction, "must lie in [0, 1)")


@dataclasses.dataclass(frozen=True)
class SceneConfig:
    """What a training frame shows: emitters uniform in a box, on a background.

    Emitters per frame are uniform from `count_min` to `count_max`. Photons are uniform in
    [`photons_min`, `photons_max`], or gamma with `photons_shape` and mean `photons_mean`. No emitter lies
    within `margin_um` of the frame's border. Background: photons per pixel.

    With a `lifetime_frames` emitters stay on over frames (`training.blinking`), and photons are those of a whole
    frame; 0: each is on in its own frame alone. Emitters of fewer than `truth_photons_min` photons are shown, but
    not asked for. `field_px` is the side of the camera that frames are drawn from (0: no place in a field).

    `stray` says what becomes of the light that leaves the stamps. "even": it returns as an even background. "drawn":
    it is drawn where it falls, and so are emitters beyond the frame whose light comes in (`optics.wings`). These are as
    dense as those in it and no nearer to its border than `margin_um`; they are not asked for.

    `generator` is the folder of `colocus generate fit`, or the name of a generator that comes with Colocus: training
    frames are then its scenes. The other fields go on to say what a trained run is scored on, but for the ranges of a
    list decoder, which are the generator's (`training.generator.files.with_generator` sets both alike).
    """

    frame_px: int = 64
    count_min: int = 1
    count_max: int = 18
    z_min_um: float = 0.0
    z_max_um: float = 5.0
    margin_um: float = 0.65
    photons: Literal["uniform", "gamma"] = "uniform"
    photons_min: float = 10_000.0
    photons_max: float = 60_000.0
    photons_shape: float = 3.0
    photons_mean: float = 9_000.0
    background: Literal["constant", "uniform", "super_gaussian", "random_field"] = "uniform"
    background_min: float = 25.0
    background_max: float = 100.0
    background_contrast: float = 0.3
    background_correlation_px: float = 16.0
    lifetime_frames: float = 0.0
    truth_photons_min: float = 0.0
    field_px: int = 0
    stray: Literal["even", "drawn"] = "even"
    generator: str = ""

    def __post_init__(self):
        check(self.frame_px >= 8, "scene.frame_px", self.frame_px, "must be at least 8 pixels")
        check(1 <= self.count_max, "scene.count_max", self.count_max, "must be at least 1")
        check(
            0 <= self.count_min <= self.count_max,
            "scene.count_min",
            self.count_min,
            f"must lie between 0 and count_max = {self.count_max}",
        )
        check_range("scene.z_min_um, z_max_um", self.z_min_um, self.z_max_um)
        if max(abs(self.z_min_um), abs(self.z_max_um)) > 100:
            raise ConfigError(f"scene.z_max_um = {self.z_max_um:g} looks like nanometres; give um")
        check_range("scene.photons_min, photons_max", self.photons_min, self.photons_max, 0.0)
        check_range("scene.background_min, background_max", self.background_min, self.background_max, 0.0)
        for name in ("margin_um", "lifetime_frames", "truth_photons_min"):
            value = getattr(self, name)
            check(0 <= value < math.inf, f"scene.{name}", value, "must not be negative")
        fits = self.field_px == 0 or self.field_px >= self.frame_px
        check(fits, "scene.field_px", self.field_px, f"must be 0 or at least frame_px = {self.frame_px}")


@dataclasses.dataclass(frozen=True)
class CameraConfig:
    """The camera; see `optics.make_camera`. The default counts photons: gain 1, no offset, no read noise.

    `em_gain` and `spurious_e` belong to kind "emccd", whose gain and read noise are those after the multiplication.
    """

    kind: Literal["scmos", "emccd"] = "scmos"
    gain_adu_per_e: float = 1.0
    offset_adu: float = 0.0
    read_noise_e: float = 0.0
    quantum_efficiency: float = 1.0
    em_gain: float | None = None
    spurious_e: float = 0.0


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The decoder's `kind`, one of `training.decoders.KINDS` (`build` checks it), and its size.

    "list": see `nets.ListNetConfig`; "volume": DeepSTORM3D's optics-design network; "blobs": AutoDS3D's, which paints
    a Gaussian of `blob_sigma_voxels` for each emitter, as high as it is bright; "image": Deep-STORM, which paints a
    picture without depth (`variant`, `upsampling`, `width`: see `nets.DeepStormConfig`).

    A list decoder may see three `frames` at once, and with `position_channels` where in `scene.field_px` it looks. Its
    `loss` is one of `training.decoders.list_losses.LOSSES`; `read_out` says how its maps become a list, see
    `training.maps_to_localizations`.
    """

    BEFORE: ClassVar[dict[str, Any]] = {"read_out": "peaks"}  # what runs are read with that were saved without a name

    kind: str = "list"
    channels: int = 64
    head_channels: int = 48
    dilations: tuple[int, ...] = (1, 1, 2, 2, 4, 4, 1, 1)
    half_resolution: bool = True
    input_transform: Literal["linear", "sqrt"] = "sqrt"
    depth_voxels: int = 51
    scaling: float = 100.0
    blob_sigma_voxels: float = 0.65
    frames: int = 1
    position_channels: bool = False
    loss: Literal["mixture", "direct", "transport"] = "mixture"
    read_out: Literal["claims", "peaks"] = "claims"
    variant: Literal["published", "light", "quick"] = "light"
    upsampling: int = 8
    width: float = 1.0

    def __post_init__(self):
        check(self.frames in (1, 3), "decoder.frames", self.frames, "must be 1 or 3")
        sigma = self.blob_sigma_voxels
        check(0.3 <= sigma <= 2, "decoder.blob_sigma_voxels", sigma, "must lie in [0.3, 2]")


@dataclasses.dataclass(frozen=True)
class OptimiserConfig:
    """How long and how fast to learn. Learning rates warm up, then fall as a cosine.

    `colour_weight` is that of the cross-entropy of the species beside the emitters' likelihood, whose slope is that of
    sharp claims and drowns it at equal weight.

    The decoder's `method` is "adam", or "muon", which moves the kernels of hidden layers by `kernel_learning_rate` and
    all else as Adam does.
    """

    BEFORE: ClassVar[dict[str, Any]] = {"method": "adam"}  # of runs that were saved without a name

    steps: int = 1000
    batch: int = 8
    method: Literal["muon", "adam"] = "muon"
    learning_rate: float = 1.5e-3
    kernel_learning_rate: float = 2e-2
    warmup_steps: int = 50
    clip_norm: float = 1.0
    occupancy_weight: float = 0.0
    background_weight: float = 1.0
    colour_weight: float = 10.0
    checkpoint_every: int = 200
    log_every: int = 20

    def __post_init__(self):
        for name in ("steps", "batch", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            check(value >= 1, f"optimiser.{name}", value, "must be at least 1")
        for name in ("learning_rate", "kernel_learning_rate"):
            value = getattr(self, name)
            check(value > 0, f"optimiser.{name}", value, "must be positive")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training run: a microscope with a mask, the scenes it sees, the decoder that reads them.

    Without `learn` the mask stays as it is; with it the mask is the start of a co-design.

    With two to four `species` (nanometres, bands or files, see `optics.colour.spectra.named_species`) each emitter is
    of one of them, as often as `shares` say (evenly, if they do not), and a list decoder tells which. The mask is then
    a plate: its path at `microscope.wavelength_um` says how high the `material` stands, "silica" (etched glass; of a
    mask that is learned, unless said), "slm" (a liquid crystal, modulo 2 pi) or "mirror".
    """

    microscope: MicroscopeConfig = MicroscopeConfig()
    psf: PsfConfig = PsfConfig()
    mask: MaskConfig = MaskConfig()
    learn: LearnConfig | None = None
    scene: SceneConfig = SceneConfig()
    camera: CameraConfig = CameraConfig()
    decoder: DecoderConfig = DecoderConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    seed: int = 0
    species: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    material: Literal["", "silica", "slm", "mirror"] = ""

    def __post_init__(self):
        inner = self.scene.frame_px * self.microscope.pixel_um - 2 * self.scene.margin_um
        if inner <= 0 < self.microscope.pixel_um:  # a pixel that is not positive is refused by the optics
            raise ConfigError(
                f"scene.margin_um = {self.scene.margin_um:g} leaves no room in a frame of "
                f"{self.scene.frame_px} px x {self.microscope.pixel_um:g} um; make it smaller"
            )
        needy = {"decoder.position_channels": self.decoder.position_channels, "psf.field": self.psf.field != ""}
        if self.scene.field_px == 0 and any(needy.values()):
            name = next(name for name, needs in needy.items() if needs)
            raise ConfigError(f"{name} needs scene.field_px, the side of the camera in pixels")
        if self.scene.generator and (self.decoder.frames != 1 or self.scene.field_px or self.scene.lifetime_frames):
            raise ConfigError(
                f"scene.generator = {self.scene.generator!r} draws single frames without a place in a field: set "
                "decoder.frames = 1, scene.field_px = 0 and scene.lifetime_frames = 0"
            )
