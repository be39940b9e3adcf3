"""How all frames may be read: one table of methods, each of which makes settings of `localize` from what is known."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.readers import AUTODS, GAUSSIAN

AUTO, AUTODS3D, PATCHWISE = "auto", "autods3d", "patchwise"


@dataclass(frozen=True)
class Known:
    """What the steps before have found: the PSF (`psf.npz`, or none and a width), camera, depths, a trained model.

    `species` are the PSFs of further colours.
    `fits` are the plan's settings of fits, as they were written; `camera` is the file of the camera.
    """

    pixel_um: float
    camera: str
    psf: str = ""
    species: tuple[str, ...] = ()
    sigma_um: float | None = None
    z_range_um: tuple[float, float] | None = None
    stamp_px: int | None = None
    saturation_adu: float | None = None
    model: str = ""
    threshold: float | None = None
    fits: ClassicalConfig = ClassicalConfig()

    @property
    def spots(self) -> str:
        """What names the PSF to `localize`: its file, or Gaussian spots."""
        return self.psf or GAUSSIAN

    @property
    def colours(self) -> tuple[str, ...]:
        """What names the PSF of each colour; one where there is but one."""
        return (self.spots, *self.species)

    def fit_settings(self) -> ClassicalConfig:
        """The settings of fits with what was found put where the plan says nothing."""
        fits = self.fits
        found = {
            "pixel_um": None if self.psf else self.pixel_um,
            "gaussian_sigma_um": self.sigma_um,
            "stamp_px": self.stamp_px,
            "saturation_adu": self.saturation_adu,
        }
        if self.z_range_um is not None:
            found |= {"z_min_um": self.z_range_um[0], "z_max_um": self.z_range_um[1]}
        return replace(fits, **{key: value for key, value in found.items() if getattr(fits, key) is None})


@dataclass(frozen=True)
class Method:
    """A way to read frames: `title` in words, why it cannot be taken (or ""), and the model and settings it reads with.

    A method that wants a trained network names it as the model.
    """

    title: str
    refused: Callable[[Known], str]
    settings: Callable[[Known], tuple[str, LocalizeConfig]]


def _fits(method: str) -> Callable[[Known], tuple[str, LocalizeConfig]]:
    def settings(known: Known) -> tuple[str, LocalizeConfig]:
        fits = known.fit_settings()
        several = known.colours if known.species else ()
        # fits of single emitters of several colours choose the colour, too
        how = "colour" if several and method == "classical" else method
        return known.spots, LocalizeConfig(
            threshold=known.threshold,
            method=how,  # pyright: ignore[reportArgumentType]
            species=several,
            camera=known.camera,
            classical=fits,
        )

    return settings


def _decoder(known: Known) -> tuple[str, LocalizeConfig]:
    return known.model, LocalizeConfig(threshold=known.threshold, camera=known.camera)


def _behind_decoder(known: Known) -> tuple[str, LocalizeConfig]:
    fits = known.fit_settings()
    return known.model, LocalizeConfig(
        threshold=known.threshold, method="decoder+joint", camera=known.camera, psf=known.psf, classical=fits
    )


def _autods(known: Known) -> tuple[str, LocalizeConfig]:
    settings = AutoDsConfig(pixel_um=known.pixel_um, sigma_um=known.sigma_um)
    return AUTODS, LocalizeConfig(threshold=known.threshold, method="autods", autods=settings)


def _in_focus(known: Known) -> str:
    return "it reads flat movies in focus: leave out --beads and --psf" if known.psf else ""


def _always(known: Known) -> str:
    return ""


def _with_model(known: Known) -> str:
    if known.species:
        return "it does not tell colours apart: --method joint or classical"
    return "" if known.model else "it needs a trained network: --model RUN"


def _with_depth(known: Known) -> str:
    if known.species:
        return "it does not tell colours apart: --method joint or classical"
    if known.psf.endswith(".npz") and known.z_range_um is not None:
        return ""
    return "it needs a PSF in depth: --beads STACK --focus START:STOP:N, or --psf with a psf.npz of colocus retrieve"


METHODS: dict[str, Method] = {
    "classical": Method("fits of single emitters, joint ones where they touch", _always, _fits("classical")),
    "joint": Method("joint fits of whole frames", _always, _fits("joint")),
    "decoder": Method("a trained network", _with_model, _decoder),
    "decoder+joint": Method("joint fits that begin at a trained network's list", _with_model, _behind_decoder),
    AUTODS3D: Method("AutoDS3D: a network of the movie's own, trained first", _with_depth, _decoder),
    "autods": Method("patches by the shipped network of their density and signal", _in_focus, _autods),
    PATCHWISE: Method("patches by fits or a shipped network, whichever is best there", _in_focus, _fits(PATCHWISE)),
}
