"""The text formats: how each is recognised, what its columns mean, and how it is written. Table: docs/formats.md."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from localization.io.csv import (
    TextFormat,
    TextTable,
    Units,
    decimals,
    half_pixel_um,
    header_labels,
    read_text,
    split_label,
    to_localizations,
)
from localization.types import COLUMNS, LocalizationError, Localizations

_NM = 1000.0
_LENGTH: Units = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0}
_LIGHT: Units = {"photon": 1.0, "photons": 1.0}
_BARE: Units = {None: 1.0}
_BARE_NM: Units = {None: 1e-3}

_THUNDERSTORM: dict[str, tuple[str, Units]] = {
    "frame": ("frame", _BARE),
    "x": ("x_um", _LENGTH),
    "y": ("y_um", _LENGTH),
    "z": ("z_um", _LENGTH),
    "intensity": ("photons", _LIGHT),
    "offset": ("background", _LIGHT),
    "uncertainty": ("sigma_xy_um", _LENGTH),
    "uncertainty_xy": ("sigma_xy_um", _LENGTH),
    "uncertainty_x": ("sigma_x_um", _LENGTH),
    "uncertainty_y": ("sigma_y_um", _LENGTH),
    "uncertainty_z": ("sigma_z_um", _LENGTH),
    "channel": ("channel", _BARE),
    "score": ("score", _BARE),
}
_CHALLENGE: dict[str, tuple[str, Units]] = {
    "frame": ("frame", _BARE),
    "xnano": ("x_um", _BARE_NM),
    "ynano": ("y_um", _BARE_NM),
    "znano": ("z_um", _BARE_NM),
    "intensity": ("photons", _BARE),
}
_ELYRA: dict[str, tuple[str, Units]] = {
    "first frame": ("frame", _BARE),
    "position x": ("x_um", _LENGTH),
    "position y": ("y_um", _LENGTH),
    "position z": ("z_um", _LENGTH),
    "precision": ("sigma_xy_um", _LENGTH),
    "number photons": ("photons", _BARE),
}
_NANOIMAGER: dict[str, tuple[str, Units]] = {
    "channel": ("channel", _BARE),
    "frame": ("frame", _BARE),
    "x": ("x_um", _LENGTH),
    "y": ("y_um", _LENGTH),
    "z": ("z_um", _LENGTH),
    "photons": ("photons", _BARE),
    "background": ("background", _BARE),
}
_RAPIDSTORM_LENGTH: Units = {"nanometer": 1e-3, "nm": 1e-3, "um": 1.0}
_RAPIDSTORM: dict[str, tuple[str, Units]] = {
    "imagenumber-0-0": ("frame", {"frame": 1.0, "fr": 1.0}),
    "position-0-0": ("x_um", _RAPIDSTORM_LENGTH),
    "position-1-0": ("y_um", _RAPIDSTORM_LENGTH),
    "position-2-0": ("z_um", _RAPIDSTORM_LENGTH),
    "amplitude-0-0": ("photons", {"photon": 1.0, "photons": 1.0, "A/D count": None}),
    "localbackground-0-0": ("background", {"photon": 1.0, "photons": 1.0, "A/D count": None}),
    "position-0-0-uncertainty": ("sigma_x_um", _RAPIDSTORM_LENGTH),
    "position-1-0-uncertainty": ("sigma_y_um", _RAPIDSTORM_LENGTH),
    "position-2-0-uncertainty": ("sigma_z_um", _RAPIDSTORM_LENGTH),
}
_LABELS = {"frame": "frame", "x_um": "x [nm]", "y_um": "y [nm]"}

THUNDERSTORM = TextFormat("a ThunderSTORM CSV", _THUNDERSTORM, 1, _LABELS)
_DEEPSTORM3D: dict[str, tuple[str, Units]] = {**_THUNDERSTORM, "intensity": ("score", {"au": 1.0})}
DEEPSTORM3D = TextFormat("a DeepSTORM3D CSV", _DEEPSTORM3D, 1, _LABELS)
CHALLENGE = TextFormat("an SMLM challenge CSV", _CHALLENGE, 1, {"frame": "frame", "x_um": "xnano", "y_um": "ynano"})
ELYRA = TextFormat(
    "an Elyra table", _ELYRA, 1, {"frame": "First Frame", "x_um": "Position X [nm]", "y_um": "Position Y [nm]"},
    separator="\t", encoding="latin-1",
)  # fmt: skip
NANOIMAGER = TextFormat("a Nanoimager CSV", _NANOIMAGER, 0, {"frame": "Frame", "x_um": "X (nm)", "y_um": "Y (nm)"})

_DECODE_FIRST, _RAPIDSTORM_FIRST = "# DECODE", "# <localizations"
_NO_HEADER = {
    4: ["frame", "xnano", "ynano", "znano"],
    5: ["frame", "xnano", "ynano", "znano", "intensity"],
    6: ["Ground-truth", "frame", "xnano", "ynano", "znano", "intensity"],
}


def recognise(path: Path) -> str:
    """The name of a text file's format, from its first line; "thunderstorm" where nothing else fits."""
    first = first_line(path)
    if first.startswith(_DECODE_FIRST):
        return "decode-csv"
    if first.startswith(_RAPIDSTORM_FIRST):
        return "rapidstorm"
    separator = "\t" if "\t" in first and "," not in first else ","
    try:
        labels = dict(split_label(label) for label in header_labels(path, first, separator))
    except LocalizationError:
        return "thunderstorm"  # its reader says what is wrong with the header
    names = set(labels)
    if {"xnano", "ynano"} <= names:
        return "challenge"
    if {"first frame", "position x", "position y"} & names:
        return "elyra"
    if {"channel", "frame", "x", "y", "photons"} <= names and "(" in first:
        return "nanoimager"
    if names == {"frame", "x", "y", "z", "intensity"} and labels["intensity"] == "au":
        return "deepstorm3d"
    return "thunderstorm"


def first_line(path: Path) -> str:
    """The first line of a text file. Raises LocalizationError where it is none."""
    try:
        with open(path, "rb") as file:
            line = file.readline(1 << 16).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LocalizationError(f"{path}: not a text file; give a localization table (docs/formats.md)") from error
    except OSError as error:
        raise LocalizationError(f"{path}: cannot read ({error.strerror}); check the file") from error
    if "\0" in line:
        raise LocalizationError(f"{path}: not a text file; give a localization table (docs/formats.md)")
    return line


def read_format(
    path: Path, name: str, pixel_um: float | None, z_zero_um: float
) -> tuple[Localizations, list[str], float | None]:
    """Localizations, notes and the pixel that the file names (or None) of a text file of a known format."""
    if name == "decode-csv":
        return _read_decode(path, pixel_um)
    if name == "rapidstorm":
        return _read_rapidstorm(path, pixel_um)
    rules = {
        "thunderstorm": THUNDERSTORM, "challenge": CHALLENGE, "elyra": ELYRA, "nanoimager": NANOIMAGER,
        "deepstorm3d": TextFormat(DEEPSTORM3D.title, DEEPSTORM3D.columns, 1, _LABELS, z_shift_um=z_zero_um),
    }[name]  # fmt: skip
    labels = None
    if name == "challenge" and not re.search("[a-z]", first_line(path), re.I):
        labels = _NO_HEADER.get(first_line(path).count(",") + 1)
    table = read_text(path, separator=rules.separator, labels=labels, encoding=rules.encoding)
    if name == "thunderstorm":
        table = _prefer_each_axis(table)
    locs, notes = to_localizations(path, table, rules)
    if name == "deepstorm3d" and z_zero_um == 0.0:
        notes.append("DeepSTORM3D counts z from the lower end of its range: give z_zero_um to count from the coverslip")
    return locs, notes, None


def _prefer_each_axis(table: TextTable) -> TextTable:
    """Drops the mean lateral uncertainty where the file has those of both axes."""
    names = [split_label(label)[0] for label in table.labels]
    if not {"uncertainty_x", "uncertainty_y"} <= set(names):
        return table
    keep = [k for k, name in enumerate(names) if name not in ("uncertainty", "uncertainty_xy")]
    return TextTable([table.labels[k] for k in keep], table.rows.iloc[:, keep])


def _read_rapidstorm(path: Path, pixel_um: float | None) -> tuple[Localizations, list[str], None]:
    if pixel_um is None:
        raise LocalizationError(
            f"{path}: rapidSTORM counts from the first pixel's centre; give pixel_um (colocus convert --pixel NM) "
            "to add half of it"
        )
    half = half_pixel_um(pixel_um)
    fields = re.findall(r"<field\b([^>]*)>", first_line(path))
    attributes = [dict(re.findall(r'(\w+)="([^"]*)"', text)) for text in fields]
    labels = [f"{a.get('identifier', k)} [{a.get('unit', '')}]" for k, a in enumerate(attributes)]
    if not labels or len(set(labels)) < len(labels):
        raise LocalizationError(f"{path}: its header names no columns, or one twice; export it again")
    named = {"frame": "ImageNumber-0-0", "x_um": "Position-0-0", "y_um": "Position-1-0"}
    rules = TextFormat("a rapidSTORM table", _RAPIDSTORM, 0, named, shift_um=(half, half))
    table = read_text(path, separator=" ", comment="#", labels=labels)
    locs, notes = to_localizations(path, table, rules)
    return locs, notes, None


def _read_decode(path: Path, pixel_um: float | None) -> tuple[Localizations, list[str], float]:
    meta: dict[str, Any] = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [file.readline() for _ in range(3)]
        meta = json.loads(lines[2].lstrip("# "))
        unit, size_nm = meta.get("xy_unit"), meta.get("px_size")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise LocalizationError(f"{path}: DECODE's third line is damaged; save the table again") from error
    size_um = decode_pixel_um(path, size_nm, pixel_um)
    rules = decode_rules(path, unit, size_um)
    locs, notes = to_localizations(path, read_text(path, comment="#"), rules)
    return locs, notes, size_um[1]


def decode_pixel_um(path: Path, size_nm: Any, pixel_um: float | None) -> tuple[float, float]:
    """The pixel along DECODE's x (rows) and y (columns), in um: what is given, or what the file says."""
    if pixel_um is not None:
        half_pixel_um(pixel_um)
        return pixel_um, pixel_um
    try:
        size = np.asarray(size_nm, np.float64).reshape(-1) / _NM
        for along in size[:2]:
            half_pixel_um(float(along))
        return float(size[0]), float(size[1])
    except (TypeError, ValueError, IndexError) as error:
        raise LocalizationError(f"{path}: names no pixel size; give pixel_um (colocus convert --pixel NM)") from error


def decode_rules(path: Path, unit: Any, size_um: tuple[float, float]) -> TextFormat:
    """DECODE's columns: x runs along rows and y along columns, the first pixel's centre is at 0, z in nm."""
    if unit not in ("px", "nm"):
        raise LocalizationError(f"{path}: xy_unit is {unit!r}, not px or nm; save the table again")
    along_rows, along_columns = size_um if unit == "px" else (1 / _NM, 1 / _NM)
    columns: Mapping[str, tuple[str, Units]] = {
        "frame_ix": ("frame", _BARE),
        "x": ("y_um", {None: along_rows}),
        "y": ("x_um", {None: along_columns}),
        "z": ("z_um", _BARE_NM),
        "phot": ("photons", _BARE),
        "bg": ("background", _BARE),
        "prob": ("score", _BARE),
        "x_sig": ("sigma_y_um", {None: along_rows}),
        "y_sig": ("sigma_x_um", {None: along_columns}),
        "z_sig": ("sigma_z_um", _BARE_NM),
    }
    named = {"frame": "frame_ix", "x_um": "y", "y_um": "x"}
    return TextFormat("DECODE's table", columns, 0, named, shift_um=(0.5 * size_um[1], 0.5 * size_um[0]))


# writing


@dataclass(frozen=True)
class TextWriterRules:
    """How a text format is written: what comes before the rows, the rows, and which columns it can hold."""

    head: Callable[[float | None], str]
    rows: Callable[[Localizations, int, float | None, float], pd.DataFrame]
    holds: tuple[str, ...]
    needs_pixel: bool = False


def _head(labels: tuple[str, ...], quote: str) -> Callable[[float | None], str]:
    return lambda pixel_um: ",".join(f"{quote}{label}{quote}" for label in labels) + "\n"


_TS_LABELS = (
    "id", "frame", "x [nm]", "y [nm]", "z [nm]", "intensity [photon]", "offset [photon]", "uncertainty_xy [nm]",
    "uncertainty_z [nm]", "uncertainty_x [nm]", "uncertainty_y [nm]", "channel", "score",
)  # fmt: skip


def _thunderstorm_rows(locs: Localizations, before: int, pixel_um: float | None, z_zero_um: float) -> pd.DataFrame:
    n = np.arange(locs.frame.size) + before + 1
    lateral_um = np.sqrt((locs.sigma_x_um**2 + locs.sigma_y_um**2) / 2.0)
    # 1 pm is far below any precision
    nm = [
        decimals(c * _NM, 3)
        for c in (locs.x_um, locs.y_um, locs.z_um, lateral_um, locs.sigma_z_um, locs.sigma_x_um, locs.sigma_y_um)
    ]
    light = [decimals(c, 3) for c in (locs.photons, locs.background)]
    columns = [n, locs.frame + 1, *nm[:3], *light, *nm[3:], locs.channel, decimals(locs.score, 6)]
    return pd.DataFrame(dict(zip(_TS_LABELS, columns, strict=True)))


_CHALLENGE_LABELS = ("Ground-truth", "frame", "xnano", "ynano", "znano", "intensity")


def _challenge_rows(locs: Localizations, before: int, pixel_um: float | None, z_zero_um: float) -> pd.DataFrame:
    n = np.arange(locs.frame.size) + before + 1
    nm = [decimals(c * _NM, 3) for c in (locs.x_um, locs.y_um, locs.z_um)]
    columns = [n, locs.frame + 1, *nm, decimals(locs.photons, 3)]
    return pd.DataFrame(dict(zip(_CHALLENGE_LABELS, columns, strict=True)))


_DEEPSTORM3D_LABELS = ("frame", "x [nm]", "y [nm]", "z [nm]", "intensity [au]")


def _deepstorm3d_rows(locs: Localizations, before: int, pixel_um: float | None, z_zero_um: float) -> pd.DataFrame:
    nm = [decimals(c * _NM, 3) for c in (locs.x_um, locs.y_um, locs.z_um - z_zero_um)]
    columns = [locs.frame + 1, *nm, decimals(locs.score, 6)]
    return pd.DataFrame(dict(zip(_DEEPSTORM3D_LABELS, columns, strict=True)))


_DECODE_LABELS = (
    "x", "y", "z", "phot", "frame_ix", "id", "prob", "bg", "phot_cr", "bg_cr", "phot_sig", "bg_sig",
    "x_cr", "y_cr", "z_cr", "x_sig", "y_sig", "z_sig",
)  # fmt: skip


def _decode_head(pixel_um: float | None) -> str:
    half_pixel_um(pixel_um)
    meta = {"xy_unit": "px", "px_size": [(pixel_um or 0.0) * _NM] * 2}
    return f'# DECODE EmitterSet\n# {{"version": "0.10.0"}}\n# {json.dumps(meta)}\n' + _head(_DECODE_LABELS, "")(None)


def _decode_rows(locs: Localizations, before: int, pixel_um: float | None, z_zero_um: float) -> pd.DataFrame:
    p = pixel_um or 0.0
    known = {
        "x": decimals(locs.y_um / p - 0.5, 7),
        "y": decimals(locs.x_um / p - 0.5, 7),
        "z": decimals(locs.z_um * _NM, 3),
        "phot": decimals(locs.photons, 3),
        "frame_ix": locs.frame,
        "id": np.full(locs.frame.size, -1),
        "prob": decimals(locs.score, 6),
        "bg": decimals(locs.background, 3),
        "x_sig": decimals(locs.sigma_y_um / p, 7),
        "y_sig": decimals(locs.sigma_x_um / p, 7),
        "z_sig": decimals(locs.sigma_z_um * _NM, 3),
    }
    unknown = np.full(locs.frame.size, np.nan)
    return pd.DataFrame({label: known.get(label, unknown) for label in _DECODE_LABELS})


_POSITION = ("frame", "x_um", "y_um", "z_um")
WRITERS = {
    "thunderstorm": TextWriterRules(_head(_TS_LABELS, '"'), _thunderstorm_rows, COLUMNS),
    "challenge": TextWriterRules(_head(_CHALLENGE_LABELS, ""), _challenge_rows, (*_POSITION, "photons")),
    "deepstorm3d": TextWriterRules(_head(_DEEPSTORM3D_LABELS, ""), _deepstorm3d_rows, (*_POSITION, "score")),
    "decode-csv": TextWriterRules(
        _decode_head, _decode_rows, tuple(c for c in COLUMNS if c != "channel"), needs_pixel=True
    ),
}
