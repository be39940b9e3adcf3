"""ONI Nanoimager's CSV: lengths with units in round brackets, frames from 0; read only."""

from localization.io import text
from localization.io.table_format import Format

_RULES = text.Columns(
    "a Nanoimager CSV",
    {
        "channel": ("channel", text.BARE),
        "frame": ("frame", text.BARE),
        "x": ("x_um", text.LENGTH),
        "y": ("y_um", text.LENGTH),
        "z": ("z_um", text.LENGTH),
        "photons": ("photons", text.BARE),
        "background": ("background", text.BARE),
    },
    first_frame=0,
    labels={"frame": "Frame", "x_um": "X (nm)", "y_um": "Y (nm)"},
)

FORMAT = Format(
    name="nanoimager",
    recognise=lambda head: (
        {"channel", "frame", "x", "y", "photons"} <= set(text.labels_in(head)) and "(" in head.first_line
    ),
    read=text.reader(_RULES),
)
