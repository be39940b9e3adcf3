"""What is served: folders that nobody can leave, how large an upload may be, and the token of those who may come in."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.commands.arguments import UsageError

RUNS, UPLOADS = "runs", "uploads"


class Refused(ValueError):
    """What a visitor may not have; the message is one line for the visitor, `status` that of HTTP."""

    def __init__(self, message: str, status: int = 404) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Site:
    """The allowed `folders` (absolute, links followed), the token ("" on loopback) and the largest upload.

    `key` belongs to one start of the server.
    """

    folders: tuple[Path, ...]
    token: str = field(default="", repr=False)
    upload_bytes: int = 50_000_000_000
    key: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)

    @classmethod
    def make(cls, folders: Sequence[Path | str], *, token: str = "", upload_bytes: int = 50_000_000_000) -> "Site":
        """Check the folders. Raises `UsageError` where one is missing.

        >>> Site.make(["no-such-folder"])
        Traceback (most recent call last):
        experiments.commands.arguments.UsageError: no-such-folder: no such folder; check the name
        """
        for folder in folders:
            if not Path(folder).is_dir():
                raise UsageError(f"{folder}: no such folder; check the name")
        return cls(tuple(dict.fromkeys(Path(folder).resolve() for folder in folders)), token, upload_bytes)

    def resolve(self, name: str | Path) -> Path:
        """Return the file or folder that `name` leads to, all links followed. Raises `Refused` outside the folders.

        What is outside and what is missing are refused in the same words: nobody learns what else is there.

        >>> Site.make(["."]).resolve("/etc/hostname")
        Traceback (most recent call last):
        app.site.Refused: no such file in the folders of this page
        """
        missing = Refused("no such file in the folders of this page")
        try:
            path = Path(name)
            if not path.is_absolute():
                raise missing
            path = path.resolve(strict=True)
            str(path).encode()  # a name that is no text could be shown nowhere
        except (OSError, ValueError, RuntimeError):  # missing, a null character, a loop of links
            raise missing from None
        if not any(path.is_relative_to(folder) for folder in self.folders):
            raise missing
        return path

    def called(self, path: Path) -> str:
        """Say where a path is, from its allowed folder on."""
        for folder in self.folders:
            if path.is_relative_to(folder):
                return str(Path(folder.name) / path.relative_to(folder))
        return path.name

    def writable(self, name: str) -> Path:
        """Return the folder `name` in the first allowed folder that can be written to; the others stay as they are."""
        for folder in self.folders:
            if os.access(folder, os.W_OK):
                place = folder / name
                place.mkdir(exist_ok=True)
                return self.resolve(place)  # a link of that name could lead elsewhere
        raise Refused(f"none of the folders can be written to; start with --folder DIR of your own, for {name}", 403)
