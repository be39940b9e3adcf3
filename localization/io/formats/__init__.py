"""Every known table format, in one table: help, errors, reading and writing look here and nowhere else.

To add a format, write a file in this folder that makes a `Format`, and name it in `FORMATS`; a program of your own
may also add to `FORMATS` while it runs. The last one is asked first whether it recognises a file, so that
ThunderSTORM, which takes any table of text, comes last.
"""

import difflib
from pathlib import Path

from localization.io.formats import (
    abbelight,
    challenge,
    colocus,
    comet,
    decode,
    deepstorm3d,
    elyra,
    gsdim,
    nanoimager,
    nstorm,
    picasso,
    pyme,
    rapidstorm,
    smap,
    smlm,
    storm_analysis,
    thunderstorm,
    vutara,
)
from localization.io.hdf5 import names_in
from localization.io.table_format import Format, Head
from localization.types import LocalizationError

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        thunderstorm.FORMAT,
        picasso.FORMAT,
        picasso.NEW,
        challenge.FORMAT,
        decode.HDF5,
        decode.CSV,
        deepstorm3d.FORMAT,
        colocus.FORMAT,
        rapidstorm.FORMAT,
        elyra.FORMAT,
        nanoimager.FORMAT,
        smlm.FORMAT,
        nstorm.FORMAT,
        vutara.FORMAT,
        abbelight.FORMAT,
        storm_analysis.FORMAT,
        pyme.FORMAT,
        # asked first: files that are no text, which others would refuse as such
        gsdim.FORMAT,
        comet.FORMAT,
        smap.FORMAT,
    )
}


def writable() -> tuple[str, ...]:
    """Name the formats that can be written.

    >>> writable()[:2]
    ('thunderstorm', 'picasso')
    """
    return tuple(name for name, format in FORMATS.items() if format.writer is not None)


def find(name: str, *, to_write: bool = False) -> Format:
    """Find a format by its name. Raises LocalizationError, with the nearest known name, for one that is not known.

    >>> find("picasso").suffix
    '.hdf5'
    """
    names = writable() if to_write else tuple(FORMATS)
    if name not in names:
        raise LocalizationError(f"format = {name!r} {not_one_of(name, names)}")
    return FORMATS[name]


def not_one_of(name: str, names: tuple[str, ...]) -> str:
    """Say which names are known, and which of them is nearest to another one.

    >>> not_one_of("picaso", ("picasso", "decode"))
    "is not one of picasso, decode; did you mean 'picasso'?"
    """
    near = difflib.get_close_matches(name, names, 1)
    return f"is not one of {', '.join(names)}" + (f"; did you mean {near[0]!r}?" if near else "")


def recognise(path: Path) -> Format:
    """Find the format of a table file from its content. Raises LocalizationError for a foreign file."""
    head = Head(path)
    for format in reversed(FORMATS.values()):
        if format.recognise(head):
            return format
    raise LocalizationError(
        f"{path}: an HDF5 file of no known kind (it holds {', '.join(names_in(head)[:5])}); "
        "docs/formats.md lists those read"
    )


def named(path: Path) -> Format:
    """Find the format that a file's name asks for. Raises LocalizationError where it does not say.

    >>> named(Path("locs.csv")).name
    'thunderstorm'
    """
    owners = [format for format in FORMATS.values() if format.owns_suffix]
    for format in owners:
        if path.name.lower().endswith(format.suffix):
            return format
    endings = [f"{format.suffix} ({format.title})" if format.title else format.suffix for format in owners]
    raise LocalizationError(
        f"{path}: the name does not tell the format; end it in {either(endings)}, "
        f"or name one of {', '.join(writable())}"
    )


def either(names: list[str]) -> str:
    """Join names for a sentence.

    >>> either(["a", "b", "c"])
    'a, b or c'
    """
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def summary() -> str:
    """List the formats in a line of text, for a help page."""
    formats = sorted(FORMATS.values(), key=lambda format: not format.owns_suffix)
    written = [f"{f.name} ({f.suffix})" if f.owns_suffix else f.name for f in formats if f.writer is not None]
    read = [format.name for format in formats if format.writer is None]
    return f"{', '.join(written)}; read only: {', '.join(read)}"
