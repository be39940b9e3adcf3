"""What a retrieval reads: bead stacks and focus positions."""

import csv
import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization import MovieFacts, MovieOptions, compare_facts, open_movie
from localization.camera.saturation import saturation_adu
from optics.retrieval.beads import BeadStack, crop_bead, find_beads, make_bead_stack
from optics.types import Camera, Microscope
from training import ConfigError

LARGEST_CROP_PX = 160  # a larger picture is taken for a field of beads


def read_focus(text: str | None, n_slices: int, name: str) -> NDArray[np.float64]:
    """Read focus positions (n_slices,) in um from START:STOP:N or a CSV of one number a line. Raises `ConfigError`.

    >>> read_focus("-1:1:3", 3, "beads.tif").tolist()
    [-1.0, 0.0, 1.0]
    """
    if text is None:
        raise ConfigError(
            f"{name} has {n_slices} slices; say where they were focused: --focus START:STOP:{n_slices} in um"
        )
    parts = re.fullmatch(r"\s*([^:\s]+)\s*:\s*([^:\s]+)\s*:\s*(\d+)\s*", text)
    if parts is None:
        focus = _focus_file(Path(text))
    else:
        try:
            start, stop = float(parts[1]), float(parts[2])
        except ValueError as error:
            raise ConfigError(f"--focus {text}: START and STOP are numbers in um, such as -3.5:2:56") from error
        if not (math.isfinite(start) and math.isfinite(stop)):
            raise ConfigError(f"--focus {text}: START and STOP are finite numbers in um, such as -3.5:2:56")
        if int(parts[3]) != n_slices:
            raise ConfigError(f"{name} has {n_slices} slices but --focus {text} gives {int(parts[3])} positions")
        focus = np.linspace(start, stop, n_slices)
    if len(focus) != n_slices:
        raise ConfigError(f"{name} has {n_slices} slices but --focus {text} gives {len(focus)} positions")
    if n_slices > 1 and np.ptp(focus) == 0:
        raise ConfigError(f"--focus {text}: START and STOP are the same; a stack runs through the focus")
    if np.ptp(focus) > 100:
        raise ConfigError(
            f"--focus {text} looks like nanometres; give um, such as {focus[0] / 1e3:g}:{focus[-1] / 1e3:g}:{n_slices}"
        )
    return focus


def _focus_file(path: Path) -> NDArray[np.float64]:
    try:
        rows = list(csv.reader(path.read_text().splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--focus {path} is neither START:STOP:N nor a CSV that can be read") from error
    numbers = []
    for number, row in enumerate(rows):
        try:
            if row:
                numbers.append(float(row[-1]))
        except ValueError:
            if number:  # the first line may be a header
                raise ConfigError(f"--focus {path}: line {number + 1} ends in no number: {','.join(row)!r}") from None
    return np.array(numbers)


def read_beads(
    paths: list[Path],
    focus: str | None,
    microscope: Microscope,
    camera: Camera | None,
    *,
    crop_px: int | None,
    beads_max: int,
    opening: MovieOptions = MovieOptions(),
) -> tuple[list[BeadStack], list[str], list[str]]:
    """Read all beads, a name for each, and notes. Raises `ConfigError`, `LocalizationError`, `OpticsError`."""
    if not paths:
        raise ConfigError("name at least one TIFF stack of a bead")
    if crop_px is not None and not 9 <= crop_px <= 400:
        raise ConfigError(f"--crop {crop_px} must lie between 9 and 400 px")
    if beads_max < 1:
        raise ConfigError(f"--beads-max {beads_max} must be at least 1")
    stacks, names, notes = [], [], []
    for path in paths:
        with open_movie(path, **opening.given()) as movie:
            said = compare_facts(movie.facts, MovieFacts(float(microscope.pixel_um)), of="the microscope", says="it")
            notes += [f"{path.name}: {note}." for note in (*movie.notes, *said)]
            field, dtype = movie.read(0, movie.shape[0]).astype(float), movie.dtype
        positions = read_focus(focus, len(field), path.name)
        saturation = saturation_adu(field)
        if np.dtype(dtype).itemsize == 1:
            notes.append(f"{path.name} is 8-bit: its noise is that of rounding or compression, not of photons.")
        if saturation is not None:
            cut = int(np.count_nonzero(field == saturation))
            notes.append(f"{path.name}: pixels at {saturation:g} counts are saturated and left out ({cut} of them).")
        height, width = field.shape[1:]
        if crop_px is None and (height != width or height > LARGEST_CROP_PX):
            raise ConfigError(
                f"{path.name} is {height} x {width} px, not a crop around one bead; "
                "add --crop PX, and the beads are found and cropped"
            )
        crops = [(path.stem, field)]
        if crop_px is not None and (height, width) != (crop_px, crop_px):
            centres, left_out = find_beads(field, crop_px)
            notes += [f"{path.name}: {note}." for note in left_out]
            if len(centres) > beads_max:
                notes.append(f"{path.name}: of {len(centres)} beads the {beads_max} brightest are used (--beads-max).")
            crops = [
                (f"{path.stem}-r{row}-c{column}", crop_bead(field, (row, column), crop_px))
                for row, column in centres[:beads_max]
            ]
        for name, images in crops:
            stacks.append(make_bead_stack(images, positions, microscope, camera=camera, saturation_adu=saturation))
            names.append(name if name not in names else f"{name}-{len(names)}")
    return stacks, names, notes
