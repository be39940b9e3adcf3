"""Movies that lie in no folder of this machine: a zarr store by its address, http://, s3://, memory:// and the like."""

import importlib.util
import os
import re
from dataclasses import dataclass
from typing import Any

from localization.types import LocalizationError, one_line

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])")  # a path that was made of it has lost a slash
_LOCAL = ("file", "local")


@dataclass(frozen=True)
class StoreUrl:
    """The address of a store, in the place of a path.

    >>> str(StoreUrl.of("http:/host/movie.zarr")), StoreUrl.of("s3://bucket/movie.zarr").name
    ('http://host/movie.zarr', 'movie.zarr')
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rstrip("/").rpartition("/")[2]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "StoreUrl":
        """Make it of what a user gave, also where a `Path` was made of it."""
        return cls(_ADDRESS.sub(r"\1://", str(path), count=1))

    def open(self) -> Any:
        """Open the store for reading. Raises `LocalizationError`."""
        if importlib.util.find_spec("fsspec") is None:
            raise LocalizationError(f"{self}: needs fsspec; install it with: pip install 'colocus[remote]'")
        from zarr.storage import FsspecStore

        try:
            return FsspecStore.from_url(self.url, read_only=True)
        except ImportError as error:  # the protocol's own package
            raise LocalizationError(f"{self}: {one_line(error)}") from error
        except (ValueError, OSError) as error:
            raise LocalizationError(f"{self}: cannot be opened ({one_line(error)}); check the address") from error


def is_url(path: str | os.PathLike[str]) -> bool:
    """Tell whether this is the address of a store, not a path.

    >>> is_url("s3://bucket/a.zarr"), is_url("https:/host/a.zarr"), is_url("C:/movies/a.zarr"), is_url("a.zarr")
    (True, True, False, False)
    """
    found = _ADDRESS.match(str(path))
    return found is not None and found[1] not in _LOCAL
