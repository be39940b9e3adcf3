"""Files that appear whole or not at all: written under a temporary name, renamed at the very end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """Give the name of a temporary file beside `path`; rename it to `path` when the block ends without an error.

    Makes the folder where it is missing. Where the block raises, what it wrote is removed and an older file
    at `path` stays as it was. The temporary name holds the process id, so that two processes do not meet, and keeps
    the suffix, by which some writers choose their format. Raises `OSError` as the system does.

    >>> import tempfile
    >>> with whole_file(Path(tempfile.mkdtemp()) / "a.txt") as part:
    ...     _ = part.write_text("whole")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # a full disk must show before the older file is replaced
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
