"""What a folder of the page holds: movies and folders, and whether the folder itself is a movie."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from app.runs.jobs import job_of
from app.runs.state import is_run
from app.site import Refused, Site

_TIFF = (".tif", ".tiff", ".btf", ".tf8")
# those of `localization.io.movies`, which is not loaded before a movie is opened
_ENDINGS = (*_TIFF, ".raw", ".npy", ".nd2", ".czi", ".lif", ".lof", ".dax", ".dcimg", ".ims", ".sif")
_STORES = (".zarray", ".zgroup", "zarr.json", "NDTiff.index")  # in a folder that is a movie


def listing(site: Site, place: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the movies in a folder, by name; what links lead outside is left out."""
    folders, files = [], []
    try:
        with os.scandir(place) as entries:  # which knows links from files without asking for each
            names = sorted((entry for entry in entries if not entry.name.startswith(".")), key=_by_name)
    except OSError as error:
        raise Refused(f"the folder cannot be read ({error.strerror}); check its permissions", 403) from None
    for entry in names:
        path = Path(entry.path)
        try:
            if entry.is_symlink():
                site.resolve(path)
            is_folder = entry.is_dir()
        except (Refused, OSError):
            continue
        if is_folder:
            folders.append(path)
        elif path.suffix.lower() in _ENDINGS and not _is_mask(path):
            files.append(path)
    return folders, files


def _by_name(entry: os.DirEntry) -> str:
    return entry.name.lower()


def kind(folder: Path) -> str:
    """Say what a folder is: "run", "movie" or "folder".

    >>> kind(Path("no-such-folder"))
    'folder'
    """
    if is_run(folder) or job_of(folder):
        return "run"
    return "movie" if any((folder / name).is_file() for name in _STORES) else "folder"


def numbered(files: Sequence[Path]) -> int:
    """Count the TIFF files of a folder where they differ in their numbers alone, and so may be one movie; else 0.

    >>> numbered([Path("img_0001.tif"), Path("img_0002.tif"), Path("notes.npy")]), numbered([Path("a.tif")] * 2)
    (2, 0)
    """
    stems = [path.stem.lower() for path in files if path.suffix.lower() in _TIFF]
    alike = len({re.sub(r"\d+", "#", stem) for stem in stems}) == 1
    return len(stems) if alike and len(set(stems)) > 1 else 0


def _is_mask(path: Path) -> bool:
    """Ask whether a .npy file holds no frames but a mask, a table or a network's layer; its head is read."""
    if path.suffix.lower() != ".npy":
        return False
    import numpy as np  # not before it is needed: the first page is quick

    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # opening it says what is wrong
        return False
    return held.ndim != 3 and (held.ndim != 2 or held.dtype.kind not in "ui")
