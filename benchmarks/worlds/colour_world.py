"""Microscope, pupils and species of the colour benchmarks; tables of one size for all, so that fits compile once."""

import numpy as np

from optics import make_microscope, make_psf, masks, replace
from optics.colour.shipped import shipped_plate
from optics.colour.species import SpeciesPsf, species_images, species_psfs, tabulate_species
from optics.colour.spectra import GenericBand, named_species, spectrum_species
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import EtchedMask, etch
from optics.psf_table import PsfTable, pad_table

WAVELENGTH_UM = 0.625  # of the library's masks: etched in fused silica for the middle of the species
SCOPE = make_microscope(
    na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=WAVELENGTH_UM, pixel_um=0.11, focus_um=1.35
)
STAMP_PX, BACKGROUND = 31, 50.0
DEEP_UM, MIDDLE_UM, FOCUS_UM = (0.0, 2.0), 1.0, (0.85, 1.15)  # known of the depth beforehand
RANGES = {"2um": DEEP_UM, "focus": FOCUS_UM}
PAIRS = {"580-670": (580, 670), "605-640": (605, 640)}
FOUR = "530-580-670-750"
SPECIES_NM = {**PAIRS, FOUR: (530, 580, 670, 750)}
LIBRARY = ("clear", "astigmatic", "tetrapod", "double_helix")
LEARNED = {"580-670": "orange-red-2um", "605-640": "close-2um", FOUR: "orange-red-2um"}
_SIZE = 128
_WALLED_PX = 96  # pupil samples for plates with walls: images to 3e-3 for the learned ones
_SHARP_PX = 160  # for those whose walls are a third of a cell wide
# pictures and terms of a table are filled up with zeros to the least of these: few compiled programs
_ROOMS = ((112, 320), (176, 448), (256, 640), (416, 1280))


def library_plate(name: str) -> EtchedMask:
    """A mask of the library, etched: the heights are those of its path at `WAVELENGTH_UM`."""
    flat = {"design_wavelength_um": WAVELENGTH_UM, "size": _SIZE}
    made = {
        "clear": lambda: masks.flat(**flat),
        "astigmatic": lambda: masks.astigmatism(0.08, **flat),
        "tetrapod": lambda: masks.tetrapod(2.0, SCOPE, size=_SIZE),
        "double_helix": lambda: masks.double_helix(2.0, SCOPE, size=_SIZE),
    }
    return etch(made[name](), fused_silica())


def plate_of(pupil: str, pair: str) -> EtchedMask:
    """The plate of a pupil; "learned" is the one that was learned for the pair."""
    return shipped_plate(LEARNED[pair]) if pupil == "learned" else library_plate(pupil)


def species_of(pair: str, light: str, lines: int = 3):
    """The two species: single wavelengths, or bands about them: an organic dye's emission through 50 nm of filter.

    A band's mean wavelength is the line's, so that the two columns differ by the width alone.
    """
    if light == "lines":
        return [named_species(str(nm)) for nm in SPECIES_NM[pair]]
    made = []
    for nm in SPECIES_NM[pair]:
        dye, passed = GenericBand(nm / 1000).spectra(str(nm))
        species = spectrum_species(str(nm), dye, passed, lines=lines)
        mean = float(species.weight @ species.wavelength_um)
        made.append(replace(species, wavelength_um=species.wavelength_um - mean + nm / 1000))
    return made


def psfs_of(plate: EtchedMask, species) -> tuple[SpeciesPsf, ...]:
    """The species' PSFs behind a plate, over the whole range of depths; walls ask for more of the pupil."""
    walled = _SHARP_PX if plate.height_um.shape[0] > _SIZE else _WALLED_PX
    psf = make_psf(SCOPE, image_px=STAMP_PX, z_range_um=DEEP_UM, pupil_px=walled if plate.wrapped else None)
    return species_psfs(psf, species, plate, z_range_um=DEEP_UM)


def tables_of(psfs: tuple[SpeciesPsf, ...], span: str) -> list[PsfTable]:
    """Tables of one size over a range of depths."""
    tables = [tabulate_species(psf, RANGES[span], tolerance=2e-3) for psf in psfs]
    degrees = (12, 28) if span == "2um" else (12, 12)
    needed = [max(sizes) for sizes in zip(*(table.coefficients.shape for table in tables), strict=True)]
    room = next(room for room in _ROOMS if needed[1] <= room[0] and needed[0] <= room[1])
    return [pad_table(table, room[1], room[0], degrees) for table in tables]


def drawn(rng: np.random.Generator, psf: SpeciesPsf, span: str, n: int):
    """Images (n, K, K) of one photon at random places of the middle pixel and depths of a range, and the places."""
    half = float(SCOPE.pixel_um) / 2
    xyz = np.column_stack([rng.uniform(-half, half, (n, 2)), rng.uniform(*RANGES[span], n)])
    return np.maximum(species_images(psf, xyz), 0), xyz
