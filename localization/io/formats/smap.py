"""SMAP's `_sml.mat`: MATLAB structs, nm, the first pixel's centre at one pixel, on the whole chip, frames from 1.

xnm is (column of the movie, counted from 1 at the first pixel's centre, + ROI's first column) x pixel, so that half a
pixel and the ROI's corner are taken off to count from the movie's own corner; ynm likewise. A list that SMAP imported
from another program keeps that program's origin, which its file does not tell. znm rises from the coverslip where the
bead stack was recorded with a rising objective, and is 0 in focus. phot and bg are photons; locprecnm and locprecznm
(nm) are the uncertainty, xnmerr and ynmerr its two axes. Rows of several movies are told apart by `filenumber`. Not
kept, because they say the same in pixels: xpix, ypix, PSFxpix, PSFypix, xpixerr, ypixerr.

Files up to 2 GB are MATLAB 5, others MATLAB 7.3 (HDF5); written is MATLAB 5. Source: `fitloc2locdata.m`,
`MLE_GPU_Yiming.m`, `load_smlV3.m`, `loadfile.m`, `initfile.m`, `savematparts.m` of jries/SMAP, 2024-11-29. Checked by
a file of SMAP itself (7.3) in Locan's tests, of which smappy-smlm 0.4.1 reads the same xnm and frames, as it does of
what is written here. When SMAP loads a list, it drops the rows whose locprecnm is not a number or above 250, and
fails on a list without that field: where nothing is known, 1 is written, as SMAP's own fits do.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from localization.io import hdf5, text
from localization.io.extras import keeps_any
from localization.io.matlab import MatlabFile, Matrix
from localization.io.part import PartFile, cannot_write
from localization.io.table_format import Content, Format, TableInfo
from localization.types import LocalizationError, make_localizations

_MAGIC = b"MATLAB "
_TITLE = b"MATLAB 5.0 MAT-file of localizations, written by Colocus"  # scipy's own title holds the time
_MOST_BYTES = 2**31 - 2**20  # MATLAB 5 counts the bytes of a variable in 31 bits
_SMAP_DROPS_NM = 250.0
_NAME = re.compile(r"[A-Za-z]\w{0,62}")
# name in the file -> our column or extra column, factor
_LOC: Mapping[str, tuple[str, float]] = {
    "xnm": ("x_um", 1e-3),
    "ynm": ("y_um", 1e-3),
    "znm": ("z_um", 1e-3),
    "phot": ("photons", 1.0),
    "bg": ("background", 1.0),
    "xnmerr": ("sigma_x_um", 1e-3),
    "ynmerr": ("sigma_y_um", 1e-3),
    "locprecznm": ("sigma_z_um", 1e-3),
    "prob": ("score", 1.0),
    "PSFxnm": ("width_x_um", 1e-3),
    "PSFynm": ("width_y_um", 1e-3),
    "numberInGroup": ("detections", 1.0),
    "groupindex": ("group", 1.0),
    "logLikelihood": ("log_likelihood", 1.0),
}
_EXTRA = ("width_x_um", "width_y_um", "detections", "group", "log_likelihood")
_SAID_AGAIN = ("xpix", "ypix", "PSFxpix", "PSFypix", "xpixerr", "ypixerr", "xerrpix", "yerrpix", "zerr", "locprecnm")
_TAKEN = (*_LOC, *_SAID_AGAIN, "frame", "channel", "filenumber")

Loc = dict[str, NDArray]
Info = dict[str, NDArray]  # of one movie: the numbers that its info holds


def _read(path: Path, info: TableInfo) -> Content:
    with open(path, "rb") as file:
        is_hdf5 = file.read(10).startswith(b"MATLAB 7.3")
    loc, movies = _hdf5_file(path) if is_hdf5 else _matlab5_file(path)
    n = loc["frame"].size if "frame" in loc else 0
    for name in ("frame", "xnm", "ynm"):
        if name not in loc:
            raise LocalizationError(f"{path}: no {name} in saveloc.loc; save the list with SMAP again")
    for name, values in loc.items():
        if values.size != n:
            raise LocalizationError(
                f"{path}: saveloc.loc.{name} has {values.size} rows, frame {n}; a list that SMAP saved in parts "
                "(_p2.mat) has to be saved as one file of version 7.3"
            )
    pixels_um, corners_px = _scales(path, movies, info.pixel_um)
    number = loc.pop("filenumber", np.ones(n))
    which = np.clip(np.nan_to_num(number, nan=1.0), 1, len(movies)).astype(np.int64) - 1
    columns = {"frame": loc.pop("frame") - 1}
    for axis, name in enumerate(("xnm", "ynm")):
        columns[name[0] + "_um"] = loc.pop(name) / text.NM_PER_UM - ((corners_px + 0.5) * pixels_um)[which, axis]
    extras = {"filenumber": number} if len(movies) > 1 else {}
    _further(loc, columns, extras)
    notes = _notes(movies, corners_px)
    first = columns["frame"]
    last = int(first.max()) + 1 if n and np.isfinite(first).all() else 0
    given: dict[str, Any] = dict(columns)
    return make_localizations(**given, extras=extras), notes, _facts(movies, pixels_um, last)


def _further(loc: Loc, columns: dict[str, NDArray], extras: dict[str, NDArray]) -> None:
    n = columns["frame"].size
    lateral = loc.get("locprecnm")
    if lateral is not None and not {"xnmerr", "ynmerr"} & set(loc) and not (lateral == 1).all():
        columns["sigma_x_um"] = columns["sigma_y_um"] = lateral / text.NM_PER_UM
    loc.setdefault("locprecznm", loc.get("zerr", np.full(n, np.nan)))
    channel = loc.get("channel", np.zeros(n))
    if ((channel >= 0) & (channel == np.round(channel))).all():
        columns["channel"] = loc.pop("channel", channel)
    columns["z_um"] = np.zeros(n)
    for name, values in loc.items():
        if name in _SAID_AGAIN:
            continue
        ours, factor = _LOC.get(name, (name, 1.0))
        (extras if ours in _EXTRA or name not in _LOC else columns)[ours] = values * factor


def _scales(path: Path, movies: list[Info], given_um: float | None) -> tuple[NDArray, NDArray]:
    """Find each movie's pixel in um and the first column and row of its ROI on the chip, each (movies, 2) as x, y."""
    pixels, corners = [], []
    for movie in movies:
        said = movie.get("cam_pixelsize_um", np.zeros(0)).ravel()
        size = np.array([given_um, given_um] if given_um is not None else [*said[:1], *said[-1:]], dtype=np.float64)
        if size.size != 2 or not (np.isfinite(size) & (size > 0) & (size < 1000)).all():
            raise LocalizationError(f"{path}: does not say its pixel; give pixel_um (colocus convert --pixel NM)")
        roi = movie.get("roi", np.zeros(0)).ravel()
        pixels.append(size)
        corners.append(roi[:2] if roi.size >= 2 and np.isfinite(roi[:2]).all() else np.zeros(2))
    return np.array(pixels), np.array(corners, dtype=np.float64)


def _notes(movies: list[Info], corners_px: NDArray) -> list[str]:
    notes = []
    if len(movies) > 1:
        notes.append(f"holds rows of {len(movies)} movies: the column 'filenumber' says of which")
    for x, y in np.unique(corners_px, axis=0):
        if x or y:
            notes.append(f"positions count from the chip's corner; the ROI's, column {x:g} and row {y:g}, is taken off")
    if any(movie.get("EMon", np.zeros(1)).any() and movie.get("EMmirror", np.zeros(1)).any() for movie in movies):
        notes.append("SMAP mirrored the frames of this EMCCD: x runs against the movie's columns")
    return notes


def _facts(movies: list[Info], pixels_um: NDArray, last: int) -> TableInfo:
    if len(movies) != 1:
        alike = bool((pixels_um == pixels_um[0, 0]).all())
        return TableInfo(float(pixels_um[0, 0]) if alike else None)

    def said(name: str, k: int = 0) -> float:
        values = movies[0].get(name, np.zeros(0)).ravel()
        return float(values[k]) if values.size > k and np.isfinite(values[k]) else 0.0

    width, height = said("roi", 2) or said("Width"), said("roi", 3) or said("Height")
    exposure_s = said("exposure") / 1000  # ms
    return TableInfo(
        float(pixels_um[0, 0]) if pixels_um[0, 0] == pixels_um[0, 1] else None,
        (int(height), int(width)) if min(width, height) >= 1 else None,
        max(int(said("numberOfFrames")), last) if said("numberOfFrames") >= 1 else None,
        exposure_s=exposure_s if exposure_s > 0 else None,
    )


def _matlab5_file(path: Path) -> tuple[Loc, list[Info]]:
    with MatlabFile(path) as file:
        held = file.variable("saveloc")
        if held is None and (parts := file.variable("lds")) is not None:  # a list in parts holds it in there
            held = _only(parts).get("saveloc")
        saveloc = _only(held)
        loc = {name: column.numbers() for name, column in _only(saveloc.get("loc")).items()}
        if not loc:
            raise _foreign(path)
        infos = []
        for movie in saveloc["file"].structs() if "file" in saveloc else ():
            about = _only(movie.get("info"))
            infos.append({name: value.numbers() for name, value in about.items()})
        return _numbers(path, loc, strict=True), [_numbers(path, info) for info in infos] or [{}]


def _only(matrix: Matrix | None) -> dict[str, Matrix]:
    structs = matrix.structs() if matrix is not None else []
    return structs[0] if structs else {}


def _hdf5_file(path: Path) -> tuple[Loc, list[Info]]:
    with hdf5.Reading(path) as file:
        saveloc = file.get("saveloc")
        if not isinstance(saveloc, h5py.Group) or not isinstance(saveloc.get("loc"), h5py.Group):
            raise _foreign(path)
        loc = _datasets(path, saveloc["loc"])
        about: Any = saveloc.get("file")
        infos: Any = about.get("info") if isinstance(about, h5py.Group) else None
        if isinstance(infos, h5py.Dataset):  # several files: one reference each
            groups = [file[reference] for reference in infos[()].ravel()]
        else:
            groups = [infos] if isinstance(infos, h5py.Group) else []
        movies = [_numbers(path, _datasets(path, group)) for group in groups] or [{}]
    return _numbers(path, loc, strict=True), movies


def _datasets(path: Path, group: Any) -> dict[str, Any]:
    found = {}
    for name in group:
        if isinstance(group[name], h5py.Dataset) and not group[name].attrs.get("MATLAB_empty", 0):
            found[name] = hdf5.array(path, group, name)
    return found


def _numbers(path: Path, fields: Mapping[str, Any], *, strict: bool = False) -> dict[str, NDArray]:
    """Keep what is numbers, each as one row of float64; with `strict` anything else is an error."""
    kept = {}
    for name, value in fields.items():
        values = np.atleast_1d(np.asarray(value)).ravel()
        if values.dtype.names == ("real", "imag"):
            values = values["real"] + 1j * values["imag"]
        if values.dtype.kind == "c":  # an uncertainty that SMAP computed from less than no photons
            values = np.where(np.imag(values) == 0, np.real(values), np.nan)
        if values.dtype.kind in "biuf":
            kept[name] = values.astype(np.float64)
        elif strict:
            raise LocalizationError(f"{path}: saveloc.loc.{name} is not a column of numbers; save the list again")
    return kept


def _foreign(path: Path) -> LocalizationError:
    return LocalizationError(f"{path}: a MATLAB file without SMAP's saveloc.loc; give the list that ends in _sml.mat")


def _write(part: PartFile, spool: hdf5.Spool, info: TableInfo) -> list[str]:
    text.half_pixel_um(info.pixel_um)
    p, n, notes = info.pixel_um or 1.0, spool.n_rows, list[str]()
    loc = _columns_known(spool, p)
    if sum(dtype.itemsize * n for _, dtype in loc.values()) > _MOST_BYTES:
        raise LocalizationError(f"{part.path}: {n} rows are more than a MATLAB 5 file holds; write them in parts")
    held = {name: np.zeros((n, 1), dtype) for name, (_, dtype) in loc.items()}
    for at, rows in spool.blocks():
        for name, (column, _) in loc.items():
            held[name][at, 0] = column(rows)
    if "xnmerr" in held:
        lateral = held["locprecnm"]
        dropped = n - int((lateral <= _SMAP_DROPS_NM).sum())
        if dropped:
            notes.append(
                f"SMAP will drop {dropped} of {n} rows when it loads them: uncertainty unknown or above 250 nm"
            )
    elif n:
        notes.append(
            "nothing is known of the lateral uncertainty: locprecnm is 1, which SMAP's own fits without one have"
        )
    most, far = hdf5.reached(spool, info)
    notes += far
    reached = [max(1, math.ceil(most[name] / p)) if n else 1 for name in ("y_um", "x_um")]
    height, width = info.frame_px or reached
    about = {
        "Width": float(width),
        "Height": float(height),
        "roi": np.array([[0.0, 0.0, width, height]]),
        "cam_pixelsize_um": np.array([[p, p]]),
        "numberOfFrames": float(info.n_frames or (most["frame"] + 1 if n else 1)),
        "exposure": 1000 * (info.exposure_s or 0.0),
        "emgain": 1.0,
        "conversion": 1.0,
        "offset": 0.0,
        "comment": "written by Colocus",
    }
    nothing = np.zeros((0, 0))
    file = {"info": about, "average": nothing, "name": part.path.name, "number": 1.0, "numberOfTif": 0.0}
    file |= {"tif": {"image": nothing, "info": nothing}, "raw": {"image": nothing, "frame": nothing}}
    saved = {"saveloc": {"loc": held, "file": file, "history": np.empty((0, 0), object)}, "fileformat": {"name": "sml"}}
    try:
        with open(part.temporary, "wb") as target:
            scipy.io.savemat(target, saved, appendmat=False, long_field_names=True, oned_as="column")
            target.seek(0)
            target.write(_TITLE.ljust(116))
    except OSError as error:
        raise cannot_write(part.path, error) from error
    return notes


Column = tuple[Callable[[NDArray], NDArray | float], np.dtype]


def _columns_known(spool: hdf5.Spool, p: float) -> dict[str, Column]:
    """List the fields to write: how each follows from the rows, and its type, which is SMAP's own."""
    single, double = np.dtype("<f4"), np.dtype("<f8")
    half_nm = 0.5 * p * text.NM_PER_UM

    def scaled(field: str, factor: float) -> Callable[[NDArray], NDArray]:
        return lambda rows: rows[field] / factor

    loc: dict[str, Column] = {
        "frame": (lambda rows: rows["frame"] + 1, double),
        "xnm": (lambda rows: rows["x_um"] * text.NM_PER_UM + half_nm, single),
        "ynm": (lambda rows: rows["y_um"] * text.NM_PER_UM + half_nm, single),
        "channel": (lambda rows: rows["channel"], single),
        "filenumber": (lambda rows: 1.0, single),
    }
    if spool.known["sigma_x_um"] or spool.known["sigma_y_um"]:
        loc["locprecnm"] = (
            lambda rows: np.sqrt((rows["sigma_x_um"] ** 2 + rows["sigma_y_um"] ** 2) / 2) * text.NM_PER_UM,
            single,
        )
    else:
        loc["locprecnm"] = (lambda rows: 1.0, single)
    for name, (ours, factor) in _LOC.items():
        field = hdf5.field(ours) if ours in _EXTRA else ours
        wanted = {"z_um": spool.not_zero["z_um"], "score": spool.not_one}.get(ours, True)
        if name not in loc and spool.known.get(field) and wanted:
            loc[name] = (scaled(field, factor), single if ours not in ("detections", "group") else double)
    for label in spool.labels:
        if label not in _EXTRA and spool.known[hdf5.field(label)]:
            loc[label] = (scaled(hdf5.field(label), 1.0), double)
    return loc


FORMAT = Format(
    name="smap",
    title="SMAP",
    recognise=lambda head: head.magic.startswith(_MAGIC),
    read=_read,
    writer=partial(hdf5.SpoolWriter, write=_write),
    first_frame=1,
    suffix="_sml.mat",
    owns_suffix=True,
    needs_pixel=True,
    keeps=lambda label: label in _EXTRA or (_NAME.fullmatch(label) is not None and keeps_any(*_TAKEN)(label)),
)
