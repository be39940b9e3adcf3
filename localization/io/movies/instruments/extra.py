"""Libraries that read a maker's format and come with the extra `colocus[instruments]` alone."""

import importlib
from pathlib import Path
from typing import Any

from localization.types import LocalizationError, one_line

INSTALL = "pip install 'colocus[instruments]'"


def library(path: Path, name: str, kind: str) -> Any:
    """Import the library that reads a kind of file; where it is not installed, say what the file is and what to type.

    >>> library(Path("a"), "no_library", "a movie")
    Traceback (most recent call last):
    localization.types.LocalizationError: a: a movie, read by the package no_library, which is not installed; ...
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if error.name and error.name.split(".")[0] != name:  # it is there, and lacks something itself
            raise LocalizationError(
                f"{path}: {kind}, but the package {name} does not start ({one_line(error)}); type: {INSTALL}"
            ) from error
        raise LocalizationError(
            f"{path}: {kind}, read by the package {name}, which is not installed; type: {INSTALL}"
        ) from error


def is_kind(path: Path, suffix: str, *magics: bytes) -> bool:
    """Tell whether a path is a file of a kind: by its name's end, or by its first bytes.

    >>> is_kind(Path("a.ND2"), ".nd2"), is_kind(Path("."), ".nd2")
    (True, False)
    """
    return not path.is_dir() and (path.suffix.lower() == suffix or bool(magics) and begins_with(path, *magics))


def begins_with(path: Path, *magics: bytes) -> bool:
    """Tell whether a file's first bytes are one of those given.

    >>> begins_with(Path("no such file"), b"DCIMG")
    False
    """
    try:
        with open(path, "rb") as file:
            head = file.read(max(len(magic) for magic in magics))
    except OSError:
        return False
    return any(head.startswith(magic) for magic in magics)
