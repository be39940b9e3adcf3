"""rapidSTORM's text: a line of XML names the columns, positions count from the first pixel's centre; read only."""

import re
from pathlib import Path

from localization.io import text
from localization.io.table_format import Content, Format, Head, TableInfo
from localization.types import LocalizationError

_LENGTH: text.Units = {"nanometer": 1e-3, "nm": 1e-3, "um": 1.0}
_LIGHT: text.Units = {"photon": 1.0, "photons": 1.0, "A/D count": None}
_COLUMNS: dict[str, tuple[str, text.Units]] = {
    "imagenumber-0-0": ("frame", {"frame": 1.0, "fr": 1.0}),
    "position-0-0": ("x_um", _LENGTH),
    "position-1-0": ("y_um", _LENGTH),
    "position-2-0": ("z_um", _LENGTH),
    "amplitude-0-0": ("photons", _LIGHT),
    "localbackground-0-0": ("background", _LIGHT),
    "position-0-0-uncertainty": ("sigma_x_um", _LENGTH),
    "position-1-0-uncertainty": ("sigma_y_um", _LENGTH),
    "position-2-0-uncertainty": ("sigma_z_um", _LENGTH),
}
_NAMED = {"frame": "ImageNumber-0-0", "x_um": "Position-0-0", "y_um": "Position-1-0"}


def _read(path: Path, info: TableInfo) -> Content:
    if info.pixel_um is None:
        raise LocalizationError(
            f"{path}: rapidSTORM counts from the first pixel's centre; give pixel_um (colocus convert --pixel NM) "
            "to add half of it"
        )
    half = text.half_pixel_um(info.pixel_um)
    fields = re.findall(r"<field\b([^>]*)>", Head(path).first_line)
    attributes = [dict(re.findall(r'(\w+)="([^"]*)"', text)) for text in fields]
    labels = [f"{a.get('identifier', k)} [{a.get('unit', '')}]" for k, a in enumerate(attributes)]
    if not labels or len(set(labels)) < len(labels):
        raise LocalizationError(f"{path}: its header names no columns, or one twice; export it again")
    table = text.read(path, separator=" ", comment="#", labels=labels)
    rules = text.Columns("a rapidSTORM table", _COLUMNS, 0, _NAMED, shift_um=(half, half))
    return *text.to_localizations(path, table, rules), info


FORMAT = Format(
    name="rapidstorm",
    recognise=lambda head: head.first_line.startswith("# <localizations"),
    read=_read,
)
