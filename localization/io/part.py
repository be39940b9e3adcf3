"""Files that appear whole or not at all: written under a temporary name, renamed at the very end."""

import os
from pathlib import Path

from localization.types import LocalizationError


class PartFile:
    """The temporary name of a file to be; `finish` gives it its name, `discard` removes it.

    Raises LocalizationError, in `finish` and here, where the folder is missing, full or not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        if path.is_dir():
            raise LocalizationError(f"{path}: is a folder; give the name of a file to write")
        try:
            self.temporary.touch()
        except OSError as error:
            raise cannot_write(path, error) from error

    def finish(self) -> None:
        """Make sure that the bytes are on the disk, then give the file its name."""
        try:
            with open(self.temporary, "rb+") as file:
                os.fsync(file.fileno())  # a full disk must show before the old file is replaced
            os.replace(self.temporary, self.path)
        except OSError as error:
            self.discard()
            raise cannot_write(self.path, error) from error

    def discard(self) -> None:
        """Remove what was written."""
        self.temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: BaseException) -> LocalizationError:
    """Make the error for a file that the system does not take."""
    reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())[:120]
    return LocalizationError(f"{path}: cannot write ({reason}); free space or choose another folder")
