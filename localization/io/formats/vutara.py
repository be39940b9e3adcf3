"""Vutara's CSV (Bruker SRX): nm, frames from 0, the probe as channel; read only.

`frame` counts within one cycle, z step and time point, `image-ID` over the whole acquisition: where there are several
of those, frames are image-ID. `photon-count` is the light of a molecule; `precisionx`, `precisiony`, `precisionz`
(nm) are read as its uncertainty, 0 as unknown. Rows that the program holds for bad (`valid` 0) are kept, with that
column.

Source: header and meaning of the columns as SMAP's `csv_Vutara.txt` and `csv_VutaraV2.txt` (2024-11-29) read them,
and as four programs write them for SRX: `picasso2srx.py`, `W4PiSMS2vutarav2.m`, `prepareparticlescsv.m`,
`IMAGE2LOC.m`, all of which count frames and probes from 0. No file of Vutara's was at hand, so it is checked by rows
made after these. Where the first pixel begins and which way z rises is not published: as in the file.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from localization.io import text
from localization.io.table_format import Content, Format, Head, TableInfo

_COLUMNS: dict[str, tuple[str, text.Units]] = {
    "probe": ("channel", text.BARE),
    "x": ("x_um", text.BARE_NM),
    "y": ("y_um", text.BARE_NM),
    "z": ("z_um", text.BARE_NM),
    "photon-count": ("photons", text.BARE),
    "precisionx": ("sigma_x_um", text.BARE_NM),
    "precisiony": ("sigma_y_um", text.BARE_NM),
    "precisionz": ("sigma_z_um", text.BARE_NM),
    "chisq": ("chi2", text.BARE),
    "log-likelihood": ("log_likelihood", text.BARE),
    "cluster-id": ("group", text.BARE),
}
_IMAGE = ("image-id", "imageid")
_WITHIN = ("cycle", "z-step", "time-point")


def _recognise(head: Head) -> bool:
    names = set(text.labels_in(head))
    return bool(names & set(_IMAGE)) and {"frame", "photon-count", "x", "y"} <= names


def _read(path: Path, info: TableInfo) -> Content:
    table = text.read(path)
    names = [text.split_label(label)[0] for label in table.labels]

    def values(name: str) -> np.ndarray:
        return np.asarray(pd.to_numeric(table.rows.iloc[:, names.index(name)], errors="coerce"), dtype=np.float64)

    notes = ["Vutara's table does not say where its first pixel begins: nothing is added"]
    image = next(name for name in (*_IMAGE, "frame") if name in names)
    several = [name for name in _WITHIN if name in names and len(np.unique(values(name))) > 1]
    frame, label = (image, table.labels[names.index(image)]) if several and image != "frame" else ("frame", "frame")
    if several:
        notes.append(f"several of {', '.join(several)}: frames are {label}, which counts over all of them")
    if "valid" in names and (bad := int((values("valid") == 0).sum())):
        notes.append(f"{bad} of {len(table.rows)} rows are marked as not valid by the program and kept: column 'valid'")
    named = {"frame": label, "x_um": "x", "y_um": "y"}
    rules = text.Columns("a Vutara CSV", _COLUMNS | {frame: ("frame", text.BARE)}, 0, named)
    locs, further = text.to_localizations(path, table, rules)
    return text.unknown_where_not_positive(locs), notes + further, info


FORMAT = Format(name="vutara", recognise=_recognise, read=_read)
