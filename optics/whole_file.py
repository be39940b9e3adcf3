"""Files that appear whole or not at all: written under a temporary name, renamed at the very end."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from optics.types import OpticsError


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Give the name of a temporary file beside `path`; rename it to `path` when the block ends without an error.

    Makes the folder where it is missing. Where the block raises, what it wrote is removed, new folders too, and an
    older file at `path` stays as it was. The temporary file has the same name, by whose suffix some writers choose
    their format, in a hidden folder of its own, so that two writers do not meet. What is written may be a folder
    (zarr). Raises `OSError` as the system does, with the name of the file.

    >>> import tempfile
    >>> with whole_file(Path(tempfile.mkdtemp()) / "a.txt") as part:
    ...     _ = part.write_text("whole")
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with _part_of(path.parent) as folder:
        part = folder / path.name
        try:
            yield part
            if part.is_file():
                with part.open("rb+") as file:
                    os.fsync(file.fileno())  # a full disk must show before the older file is replaced
            os.replace(part, path)
        except OSError as error:
            if error.filename == str(part):
                error.filename, error.filename2 = str(path), None
            raise


@contextmanager
def whole_files(folder: Path | str, last: str = "") -> Iterator[Path]:
    """Give an empty folder to write into; move its files to `folder` when the block ends without an error.

    Files of the same name in `folder` are replaced, the file called `last` after the others. Where the block raises,
    `folder` stays as it was.
    """
    folder = Path(folder)
    with _part_of(folder) as part:
        yield part
        written = sorted(file for file in part.rglob("*") if file.is_file())
        for file in sorted(written, key=lambda file: file.name == last):
            place = folder / file.relative_to(part)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file whole or not at all. Raises `OSError`."""
    with whole_file(path) as part:
        part.write_text(text)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file whole or not at all. Raises `OSError`."""
    with whole_file(path) as part:
        part.write_bytes(content)


def save_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, in a folder that is there already. Raises `OpticsError`."""
    try:
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        write_bytes(path, content)
    except OSError as error:
        raise OpticsError(f"{path}: cannot be written: {error.strerror or error}") from error


def leftovers(folder: Path) -> list[Path]:
    """Find the temporary files and folders that killed writers left in `folder` and below."""
    return list(folder.rglob("*.part"))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left in `folder` and below; nobody may be writing there."""
    for part in leftovers(folder):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


@contextmanager
def _part_of(folder: Path) -> Iterator[Path]:
    """Make a hidden folder in `folder`, which is made too where it is missing; remove it at the end.

    Where the block raises, the folders that were made and are empty are removed as well.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{secrets.token_hex(4)}.part"
    try:
        part.mkdir()
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):
            for place in made:
                place.rmdir()
        raise
    shutil.rmtree(part, ignore_errors=True)
