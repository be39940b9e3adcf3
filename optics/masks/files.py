"""Mask files: .mat (v5 and v7.3), .npy, .npz and .tif in, and the same out for reading back."""

import io
import json
import os
import zlib
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import scipy.io
import tifffile

from optics.pytree import replace
from optics.types import OpticsError, PhaseMask, make_mask
from optics.whole_file import save_bytes

Kind = Literal["phase_rad", "phase_turns", "opd_um", "opd_nm"]
SUFFIXES = (".mat", ".npz", ".npy", ".tif", ".tiff")
FORMAT = "colocus-mask-1"


def pupil_diameter_px(*, na: float, magnification: float, focal_length_um: float, pitch_um: float) -> float:
    """Diameter, in mask pixels, of the circle of the NA in the Fourier plane of a 4f system.

    2 f NA / sqrt(M^2 - NA^2) / pitch: focal length of the first 4f lens and pitch in um, NA and magnification
    of the objective (Abbe sine condition). Raises `OpticsError` unless all are positive and NA < M.

    >>> round(pupil_diameter_px(na=1.45, magnification=100, focal_length_um=1.5e5, pitch_um=24), 1)
    181.3
    """
    numbers = {
        "na": na,
        "magnification": magnification,
        "focal_length_um": focal_length_um,
        "pitch_um": pitch_um,
    }
    for name, value in numbers.items():
        if not 0 < value < np.inf:
            raise OpticsError(f"{name} = {value:g} must be positive")
    if na >= magnification:
        raise OpticsError(f"na = {na:g} must be below magnification = {magnification:g}")
    return float(2 * focal_length_um * na / np.sqrt(magnification**2 - na**2) / pitch_um)


def load(
    path: str | os.PathLike,
    *,
    variable: str | None = None,
    kind: Kind = "phase_rad",
    wavelength_um: float | None = None,
    pitch_um: float | None = None,
    focal_length_um: float | None = None,
    magnification: float | None = None,
    na: float | None = None,
    pupil_diameter_px: float | None = None,
    wrapped: bool | None = None,
    sign: int = 1,
    turn_180: bool = False,
) -> PhaseMask:
    """Load a phase mask from a .mat, .npy, .npz or .tif file.

    A file that `save` wrote needs the path alone. Any other holds one square array of `kind` (`variable`
    names it where there are several), row 0 at the top, and needs `wavelength_um` and the size of the NA on
    it: `pitch_um`, `focal_length_um`, `magnification` and `na`, or `pupil_diameter_px` directly; never the
    mask's own support, which may be another circle. `wrapped` None: a phase is taken as wrapped where
    neighbours inside its support differ by more than pi. `sign` -1 negates the path. `turn_180` turns the
    mask: for DeepSTORM3D, VIPR and AutoDS3D, whose transforms have the kernel exp(-i k r).
    Raises `OpticsError`, in one line that names the file and the remedy, for a file that is missing or
    unreadable, an unknown suffix, a variable that is not there or not named, complex, non-square or
    non-finite data, and missing optics.

    >>> import tempfile
    >>> from optics.masks.library import astigmatism
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/mask.npz", astigmatism(0.07, size=64))
    ...     load(f"{folder}/mask.npz").opd_um.shape
    (64, 64)
    """
    path = Path(path)
    if sign not in (1, -1):
        raise OpticsError(f"sign = {sign} must be 1 or -1")
    arrays = _read(path)
    optics = {
        "wavelength_um": wavelength_um,
        "pitch_um": pitch_um,
        "focal_length_um": focal_length_um,
        "magnification": magnification,
        "na": na,
        "pupil_diameter_px": pupil_diameter_px,
    }
    if "colocus_format" in arrays:
        given = [name for name, value in {**optics, "variable": variable}.items() if value is not None]
        if given:
            raise OpticsError(f"{path}: the file carries its own optics; leave out {', '.join(given)}")
        mask = _own_mask(path, arrays)
    else:
        mask = _foreign_mask(path, _pick(path, arrays, variable), kind, optics, wrapped)
    turn = slice(None, None, -1 if turn_180 else 1)
    return replace(mask, opd_um=sign * mask.opd_um[turn, turn], transmission=mask.transmission[turn, turn])


def carries_optics(path: str | os.PathLike) -> bool:
    """Whether `save` wrote the file, so that `load` takes the path alone. Raises `OpticsError` as `load` does."""
    return "colocus_format" in _read(Path(path))


def save(path: str | os.PathLike, mask: PhaseMask) -> None:
    """Save a mask as .mat, .npz, .npy or .tif (by suffix) so that `load(path)` returns it exactly.

    The array is the optical path in um; width, wavelength and wrapping go into the file, or for .npy into a
    .json of the same name beside it. Written under another name and moved into place when complete.
    Raises `OpticsError` for an unknown suffix, a folder that is missing or full, or a transmission in .npy.

    >>> import tempfile
    >>> from optics.masks.library import flat
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/flat.tif", flat(size=16))
    """
    path = Path(path)
    _check_suffix(path)
    opd_um, transmission = np.asarray(mask.opd_um), np.asarray(mask.transmission)
    numbers = {
        "colocus_format": FORMAT,
        "half_width": float(mask.half_width),
        "design_wavelength_um": float(mask.design_wavelength_um),
        "wrapped": mask.wrapped,
    }
    clear = bool((transmission == 1).all())
    buffer = io.BytesIO()
    match path.suffix.lower():
        case ".npz":
            np.savez_compressed(buffer, opd_um=opd_um, transmission=transmission, **numbers)  # pyright: ignore[reportArgumentType]
        case ".mat":
            scipy.io.savemat(buffer, {"opd_um": opd_um, "transmission": transmission, **numbers}, do_compression=True)
        case ".npy":
            if not clear:
                raise OpticsError(f"{path}: a .npy holds no transmission; use .npz, .mat or .tif")
            np.save(buffer, opd_um)
            numbers["crc32"] = zlib.crc32(buffer.getvalue())
            save_bytes(path.with_suffix(".json"), json.dumps(numbers, indent=1).encode())
        case _:
            pages = opd_um[None] if clear else np.stack([opd_um, transmission])
            tifffile.imwrite(buffer, pages, photometric="minisblack", description=json.dumps(numbers), metadata=None)
    save_bytes(path, buffer.getvalue())


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise OpticsError(f"{path}: unknown suffix {path.suffix!r}; masks are {', '.join(SUFFIXES)}")


def _read(path: Path) -> dict[str, Any]:
    """All named arrays of a file; a file of one nameless array calls it by the file's stem."""
    _check_suffix(path)
    if not path.is_file():
        raise OpticsError(f"{path}: no such file")
    try:
        match path.suffix.lower():
            case ".mat":
                return _read_mat(path)
            case ".npz":
                with np.load(path, allow_pickle=False) as file:
                    return dict(file)
            case ".npy":
                return _read_npy(path)
            case _:
                return _read_tif(path)
    except OpticsError:
        raise
    except Exception as error:  # the readers raise whatever a broken file makes them trip over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OpticsError(f"{path}: not a readable {path.suffix} file: {reason}") from error


def _read_npy(path: Path) -> dict[str, Any]:
    array = np.load(path, allow_pickle=False)
    beside = path.with_suffix(".json")
    numbers = json.loads(beside.read_text()) if beside.is_file() else {}
    if "colocus_format" not in numbers:
        return {path.stem: array}
    if numbers.get("crc32") != zlib.crc32(path.read_bytes()):
        raise OpticsError(f"{path}: not the array that {beside.name} was written for; remove that file")
    return {"opd_um": array, **numbers}


def _read_mat(path: Path) -> dict[str, Any]:
    if not h5py.is_hdf5(path):
        return {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}
    with h5py.File(path, "r") as file:
        # MATLAB writes v7.3 column-major, so HDF5 sees every array transposed
        return {name: item[()].T for name, item in file.items() if isinstance(item, h5py.Dataset)}


def _read_tif(path: Path) -> dict[str, Any]:
    with tifffile.TiffFile(path) as file:
        if len(file.pages) == 0:
            raise OpticsError(f"{path}: the TIFF holds no image")
        description = file.pages[0].tags.get("ImageDescription")  # pyright: ignore[reportAttributeAccessIssue]
        text = str(description.value) if description is not None else ""
        if FORMAT not in text:
            return {path.stem: np.squeeze(file.asarray())}
        pages = [page.asarray() for page in file.pages]  # pyright: ignore[reportAttributeAccessIssue]
        return {**json.loads(text), **dict(zip(["opd_um", "transmission"], pages, strict=False))}


def _own_mask(path: Path, arrays: dict[str, Any]) -> PhaseMask:
    numbers = {name: np.asarray(value).ravel() for name, value in arrays.items()}
    try:
        if str(numbers["colocus_format"][0]) != FORMAT:
            raise OpticsError(f"{path}: format {numbers['colocus_format'][0]} is not {FORMAT}; update Colocus")
        opd_um = _checked(path, "opd_um", arrays["opd_um"])
        return make_mask(
            opd_um,
            transmission=arrays.get("transmission"),
            half_width=float(numbers["half_width"][0]),
            design_wavelength_um=float(numbers["design_wavelength_um"][0]),
            wrapped=bool(numbers["wrapped"][0]),
        )
    except KeyError as error:
        raise OpticsError(f"{path}: the saved mask lacks {error}; save it again") from error


def _pick(path: Path, arrays: dict[str, Any], variable: str | None) -> tuple[str, Any]:
    present = ", ".join(f"{name} {np.shape(value)}" for name, value in sorted(arrays.items())) or "none"
    if path.suffix.lower() in (".mat", ".npz"):
        if variable is None and len(arrays) != 1:
            raise OpticsError(f"{path}: name the mask with variable=...; variables present: {present}")
        if variable is not None and variable not in arrays:
            raise OpticsError(f"{path}: no variable {variable!r}; variables present: {present}")
    elif variable is not None and variable not in arrays:
        raise OpticsError(f"{path}: a {path.suffix} holds one nameless array; leave out variable")
    name = next(iter(arrays)) if variable is None else variable
    return name, arrays[name]


def _checked(path: Path, name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.names or np.iscomplexobj(array):
        raise OpticsError(f"{path}: {name} is complex or a structure; store its phase, angle(...), in radians")
    if array.dtype.kind not in "fiu":
        raise OpticsError(f"{path}: {name} is not numeric ({array.dtype}); a mask is an array of numbers")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] < 2:
        raise OpticsError(f"{path}: {name} has shape {array.shape}; a mask is one square 2-D array")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise OpticsError(f"{path}: {name} holds {bad} NaN or Inf; replace them (0 is a clear pixel)")
    return array


def _foreign_mask(path: Path, named: tuple[str, Any], kind: Kind, optics: dict, wrapped: bool | None) -> PhaseMask:
    name, array = named[0], _checked(path, *named)
    wavelength_um = optics["wavelength_um"]
    if wavelength_um is None:
        raise OpticsError(f"{path}: give wavelength_um, the wavelength the mask was made for")
    scales = {
        "phase_rad": wavelength_um / (2 * np.pi),
        "phase_turns": wavelength_um,
        "opd_um": 1.0,
        "opd_nm": 1e-3,
    }
    if kind not in scales:
        raise OpticsError(f"kind = {kind!r} must be one of {', '.join(scales)}")
    if kind.startswith("phase") and array.dtype.kind in "iu":
        raise OpticsError(f"{path}: {name} holds integers ({array.dtype}); convert grey levels to radians")
    opd_um = array.astype(float) * scales[kind]
    if wrapped is None:
        wrapped = kind.startswith("phase") and _has_jumps(opd_um / wavelength_um)
    return make_mask(
        opd_um,
        half_width=array.shape[0] / _diameter_px(path, optics),
        design_wavelength_um=wavelength_um,
        wrapped=wrapped,
    )


def _diameter_px(path: Path, optics: dict) -> float:
    direct = optics["pupil_diameter_px"]
    geometry = {name: optics[name] for name in ("na", "magnification", "focal_length_um", "pitch_um")}
    missing = [name for name, value in geometry.items() if value is None]
    if direct is not None:
        if len(missing) < 4:
            raise OpticsError("give pupil_diameter_px, or na, magnification, focal_length_um and pitch_um; not both")
        if not 0 < direct < np.inf:
            raise OpticsError(f"pupil_diameter_px = {direct:g} must be positive")
        return direct
    if missing:
        raise OpticsError(f"{path}: the size of the NA on the mask needs {', '.join(missing)} (or pupil_diameter_px)")
    return pupil_diameter_px(**geometry)


def _has_jumps(turns: np.ndarray) -> bool:
    """Whether neighbours inside the support differ by more than half a turn."""
    support = turns != 0
    across = (np.abs(np.diff(turns, axis=1)) > 0.5) & support[:, 1:] & support[:, :-1]
    down = (np.abs(np.diff(turns, axis=0)) > 0.5) & support[1:] & support[:-1]
    return bool(across.any() or down.any())
