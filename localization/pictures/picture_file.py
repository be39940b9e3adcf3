"""A picture from a file: grey values, and what the file says of its pixel and its place."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from localization.io.movies.imagej import imagej_facts
from localization.io.movies.ome import ome_images
from localization.io.movies.tiff import DAMAGE, quiet_tifffile
from localization.types import LocalizationError

ENDINGS = (".tif", ".tiff", ".png")
# what `colocus render` writes into a TIFF
_CORNER = re.compile(r"first pixel's outer corner is at x (\S+), y (\S+) um")
_CM_UM, _INCH_UM = 1e4, 25400.0
_PIXEL_MAX_UM = 20.0  # longer ones are those of a screen or of print, not of a sample


@dataclass(frozen=True, eq=False)
class PictureFile:
    """Grey values (H, W), the side of a pixel, and where the first one's outer corner lies (x, y); None: not told."""

    values: NDArray[np.float64]
    pixel_um: float | None
    corner_um: tuple[float, float] | None
    notes: tuple[str, ...] = ()


def is_picture(path: Path) -> bool:
    """Tell a picture from a list by its name.

    >>> is_picture(Path("cell.ome.tif")), is_picture(Path("cell.csv"))
    (True, False)
    """
    return path.suffix.lower() in ENDINGS


def read_picture(path: Path) -> PictureFile:
    """Read one grey picture from TIFF (OME and ImageJ too) or PNG.

    Of the pictures with depth that `colocus render` writes the first channel is read. Raises LocalizationError for a
    missing or damaged file, colours, several pictures in one file, and values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise LocalizationError(f"{path}: no such file")
    try:
        values, pixel_um, corner, notes = _png(path) if path.suffix.lower() == ".png" else _tiff(path)
    except LocalizationError:
        raise
    except (*DAMAGE, SyntaxError) as error:  # Pillow's word for a damaged PNG is the latter
        raise LocalizationError(f"{path}: not a readable picture; save it again as TIFF or PNG") from error
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise LocalizationError(
            f"{path}: {wrong} values are NaN or infinite; fill them, or cut the picture around them"
        )
    sensible = pixel_um is not None and 0 < pixel_um < _PIXEL_MAX_UM
    return PictureFile(values.astype(np.float64), pixel_um if sensible else None, corner, notes)


def _png(path: Path) -> tuple[NDArray[Any], None, None, tuple[str, ...]]:
    with Image.open(path) as image:
        if image.mode not in ("1", "L", "I", "F", "I;16", "I;16B"):
            raise LocalizationError(
                f"{path}: a picture of mode {image.mode}, in colour or with transparency; save grey values, best as "
                "float32 TIFF (colocus render LOCS --out PICTURE.tif)"
            )
        return np.asarray(image), None, None, ()


def _tiff(path: Path) -> tuple[NDArray[Any], float | None, tuple[float, float] | None, tuple[str, ...]]:
    with quiet_tifffile(), tifffile.TiffFile(path) as file:
        about = (file.imagej_metadata or {}) if file.is_imagej else {}
        page = file.pages.first
        if page.photometric in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.PALETTE) or page.samplesperpixel > 1:
            raise LocalizationError(f"{path}: a picture in colour; save grey values, one number per pixel")
        values = file.asarray() if file.is_imagej or len(file.pages) > 1 else page.asarray()
        pixel_um = _pixel_um(file)
    found = _CORNER.search(str(about.get("Info", "")))
    corner = (float(found[1]), float(found[2])) if found else None
    shape, notes = values.shape, ()
    values = np.squeeze(values)
    if values.ndim == 3 and found and len(values) == 2:
        values, notes = values[0], ("its first channel, localizations per pixel, is compared",)
    if values.ndim != 2:
        raise LocalizationError(f"{path}: holds an array of shape {shape}; save the one picture that is meant")
    return values, pixel_um, corner, notes


def _pixel_um(file: tifffile.TiffFile) -> float | None:
    """Read OME's physical size, ImageJ's unit, or the tag in pixels per centimetre or inch."""
    page = file.pages.first
    images = ome_images(file.ome_metadata or "") if file.is_ome else []
    if images:
        return images[0].facts.pixel_um
    across = page.tags["XResolution"].value if "XResolution" in page.tags else None
    if file.is_imagej:
        return imagej_facts(page.description, across).pixel_um
    unit_um = {2: _INCH_UM, 3: _CM_UM}.get(int(page.tags["ResolutionUnit"].value) if across else 0)
    return unit_um * across[1] / across[0] if unit_um is not None and across is not None and across[0] > 0 else None
