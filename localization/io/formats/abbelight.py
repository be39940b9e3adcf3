"""Abbelight's CSV (Neo, SAFe): ThunderSTORM's columns and more, for demixing and SAF; read only.

Positions, frames and light as in ThunderSTORM's table: nm from the outer corner of the first pixel, frames from 1,
photons. `sigma_x`, `sigma_y` and `sigma` are the fitted spot's widths, `detections` the localizations of a linked
row; intDemixing, ratio_demixing, ratio_SAF, z_SAF, z_Astigm and amplitude stay under their own names.

Source: headers in `F-TranslateAB-TS.js` of cleterrier/ChriSTORM, 2023-09-20 (Neo), which takes frames and positions
over as they are, and in smlmvis 0.1.0, `abbelightreader.py` (SAFe). No file of Abbelight's was at hand: origin and
first frame are ThunderSTORM's, whose layout it is, and are said in a note.
"""

from pathlib import Path

from localization.io import text
from localization.io.formats import thunderstorm
from localization.io.table_format import Content, Format, Head, TableInfo

_COLUMNS = {
    **thunderstorm.COLUMNS,
    "sigma_x": ("width_x_um", text.LENGTH),
    "sigma_y": ("width_y_um", text.LENGTH),
}
_RULES = text.Columns("an Abbelight CSV", _COLUMNS, 1, thunderstorm.LABELS, counters=thunderstorm.COUNTERS)
_OWN = {"intdemixing", "ratio_demixing", "ratio_saf", "z_saf", "z_astigm"}


def _recognise(head: Head) -> bool:
    names = set(text.labels_in(head))
    return bool(_OWN & names) and "channel" not in names  # with channels it is a ThunderSTORM table of ours


def _read(path: Path, info: TableInfo) -> Content:
    locs, notes = text.to_localizations(path, text.read(path), _RULES)
    return locs, ["origin and first frame are taken to be ThunderSTORM's, whose layout this is", *notes], info


FORMAT = Format(name="abbelight", recognise=_recognise, read=_read)
