"""Reading tables in HDF5: Picasso's, DECODE's and our own."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from localization.io.arrays import load_yaml
from localization.io.csv import half_pixel_um
from localization.io.text_formats import decode_pixel_um
from localization.io.tiff import one_line
from localization.types import COLUMNS, LocalizationError, Localizations, make_localizations

_NM = 1000.0
OWN_NAME, OWN_VERSION = "colocus localizations", 1


@dataclass(frozen=True)
class TableInfo:
    """What a table's file should say of the movie: pixel, frame size (height, width), number of frames."""

    pixel_um: float | None = None
    frame_px: tuple[int, int] | None = None
    n_frames: int | None = None


def recognise(path: Path) -> str:
    """The name of an HDF5 file's format. Raises LocalizationError for a foreign or damaged one."""
    with _Reading(path) as file:
        if file.attrs.get("format") == OWN_NAME:
            return "colocus"
        if "locs" in file:
            return "picasso"
        if "data" in file and "meta" in file:
            return "decode"
        keys = ", ".join(list(file)[:5])
    raise LocalizationError(
        f"{path}: an HDF5 file of no known kind (it holds {keys}); docs/formats.md lists those read"
    )


class Found:
    """What was read: columns, notes, and what the file says of the movie."""

    def __init__(self) -> None:
        self.columns: dict[str, Any] = {}
        self.notes: list[str] = []
        self.info = TableInfo()


def read_format(path: Path, name: str, pixel_um: float | None) -> tuple[Localizations, list[str], TableInfo]:
    """Localizations, notes and what the file says of the movie, for an HDF5 file of a known format."""
    found = Found()
    with _Reading(path) as file:
        {"colocus": _read_own, "picasso": _read_picasso, "decode": _read_decode}[name](path, file, pixel_um, found)
    try:
        return make_localizations(**found.columns), found.notes, found.info
    except LocalizationError as error:
        raise LocalizationError(f"{path}: {error}") from error


class _Reading:
    """An HDF5 file open for reading; what the library raises inside a damaged one becomes our error."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> h5py.File:
        try:
            self._file = h5py.File(self._path, "r")
        except Exception as error:  # the library's errors for a damaged file are of many kinds
            raise self._damaged(error) from error
        return self._file

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._file.close()
        if isinstance(error, Exception) and not isinstance(error, LocalizationError):
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> LocalizationError:
        return LocalizationError(f"{self._path}: cannot be read ({one_line(error)}); copy or export it again")


def _array(path: Path, group: Any, name: str) -> NDArray | None:
    """A whole dataset, or None where it is absent or empty by declaration."""
    if name not in group:
        return None
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise LocalizationError(f"{path}: {name} is a group, not a table; export it again")
    if dataset.shape is None:
        return None
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > 1 << 20 and dataset.nbytes > 1100 * stored:  # more than any compression leaves
        raise LocalizationError(f"{path}: {name} announces {dataset.nbytes} bytes and holds {stored}; copy it again")
    return np.asarray(dataset[()])


def _read_own(path: Path, file: h5py.File, pixel_um: float | None, found: Found) -> None:
    version = file.attrs.get("version")
    if version != OWN_VERSION:
        raise LocalizationError(f"{path}: version {version} of our table, this program reads {OWN_VERSION}; update it")
    for name in COLUMNS:
        column = _array(path, file, name)
        if column is None:
            raise LocalizationError(f"{path}: no column {name}; write the table again")
        found.columns[name] = column
    stored = file.attrs.get("pixel_um")
    found.info = TableInfo(pixel_um=pixel_um if stored is None else float(stored))


def _read_decode(path: Path, file: h5py.File, pixel_um: float | None, found: Found) -> None:
    meta, data = file["meta"].attrs, file["data"]
    along_rows, along_columns = decode_pixel_um(path, meta.get("px_size"), pixel_um)
    unit = meta.get("xy_unit")
    if unit not in ("px", "nm"):
        raise LocalizationError(f"{path}: xy_unit is {unit!r}, not px or nm; save the table again")
    factors = (along_rows, along_columns) if unit == "px" else (1 / _NM, 1 / _NM)
    xyz, frame = _array(path, data, "xyz"), _array(path, data, "frame_ix")
    if xyz is None or frame is None or xyz.ndim != 2 or xyz.shape[1] != 3:
        raise LocalizationError(f"{path}: no xyz of three columns, or no frame_ix; save the table again")
    found.columns = {
        "frame": frame,
        "y_um": xyz[:, 0].astype(np.float64) * factors[0] + 0.5 * along_rows,
        "x_um": xyz[:, 1].astype(np.float64) * factors[1] + 0.5 * along_columns,
        "z_um": xyz[:, 2].astype(np.float64) / _NM,
    }
    for name, column in (("phot", "photons"), ("bg", "background"), ("prob", "score")):
        values = _array(path, data, name)
        if values is not None:
            found.columns[column] = values
    sigma = _array(path, data, "xyz_sig")
    if sigma is not None and sigma.shape == xyz.shape:
        sigma = sigma.astype(np.float64)
        found.columns |= {"sigma_y_um": sigma[:, 0] * factors[0], "sigma_x_um": sigma[:, 1] * factors[1]}
        found.columns["sigma_z_um"] = sigma[:, 2] / _NM
    found.info = TableInfo(pixel_um=along_columns)


def _read_picasso(path: Path, file: h5py.File, pixel_um: float | None, found: Found) -> None:
    table = _array(path, file, "locs")
    names = table.dtype.names if table is not None else None
    if table is None or names is None or table.ndim != 1:
        raise LocalizationError(f"{path}: locs is not a table of named columns; save it again with Picasso")
    missing = [name for name in ("frame", "x", "y") if name not in names]
    if missing:
        raise LocalizationError(f"{path}: no column '{missing[0]}' in locs; save it again with Picasso")
    info = _picasso_metadata(path, file)
    stored = _said(info, "Pixelsize")
    if pixel_um is None and stored is None:
        raise LocalizationError(
            f"{path}: no pixel size in the file or {path.with_suffix('.yaml').name}; "
            "give pixel_um (colocus convert --pixel NM)"
        )
    p = pixel_um if pixel_um is not None else float(stored or 0) / _NM
    half_pixel_um(p)
    frame = table["frame"].astype(np.float64)
    if np.isfinite(frame).all() and (frame != np.round(frame)).any():
        frame = np.floor(frame)
        found.notes.append("frames are means over linked localizations: rounded down")
    found.columns = {"frame": frame, "z_um": np.zeros(frame.size)}
    rules = {"x": ("x_um", p, 0.5 * p), "y": ("y_um", p, 0.5 * p), "z": ("z_um", 1 / _NM, 0.0)}
    rules |= {"photons": ("photons", 1.0, 0.0), "bg": ("background", 1.0, 0.0), "score": ("score", 1.0, 0.0)}
    rules |= {"lpx": ("sigma_x_um", p, 0.0), "lpy": ("sigma_y_um", p, 0.0), "lpz": ("sigma_z_um", 1 / _NM, 0.0)}
    rules |= {"channel": ("channel", 1.0, 0.0)}
    for name, (column, factor, shift) in rules.items():
        if name in names:
            found.columns[column] = table[name].astype(np.float64) * factor + shift
    size = [_said(info, key) for key in ("Height", "Width", "Frames")]
    whole = [int(value) if isinstance(value, int | float) and math.isfinite(value) else 0 for value in size]
    frame_px = (whole[0], whole[1]) if min(whole[:2]) > 0 else None
    found.info = TableInfo(p, frame_px, whole[2] or None)


def _picasso_metadata(path: Path, file: h5py.File) -> list[dict[str, Any]]:
    """The .yaml beside the file, as Picasso itself prefers it, else what is embedded in the file."""
    side = path.with_suffix(".yaml")
    if side.is_file():
        return load_yaml(side)
    if "metadata" not in file:
        return []
    metadata: Any = file["metadata"]
    raw = metadata[()]
    documents = json.loads(raw.decode() if isinstance(raw, bytes) else str(raw))
    return [document for document in documents if isinstance(document, dict)]


def _said(info: list[dict[str, Any]], key: str) -> Any:
    """The value in the last document that has one, as Picasso searches."""
    return next((document[key] for document in reversed(info) if document.get(key)), None)
