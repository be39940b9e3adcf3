"""Zeiss Elyra's table: text with tabs, lengths with units, frames from 1, notes behind a zero byte; read only."""

from localization.io import text
from localization.io.table_format import Format

_RULES = text.Columns(
    "an Elyra table",
    {
        "first frame": ("frame", text.BARE),
        "position x": ("x_um", text.LENGTH),
        "position y": ("y_um", text.LENGTH),
        "position z": ("z_um", text.LENGTH),
        "precision": ("sigma_xy_um", text.LENGTH),
        "number photons": ("photons", text.BARE),
    },
    first_frame=1,
    labels={"frame": "First Frame", "x_um": "Position X [nm]", "y_um": "Position Y [nm]"},
    separator="\t",
    encoding="latin-1",
)

FORMAT = Format(
    name="elyra",
    recognise=lambda head: bool({"first frame", "position x", "position y"} & set(text.labels_in(head))),
    read=text.reader(_RULES),
)
