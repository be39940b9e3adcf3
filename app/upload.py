"""Files that are dropped onto the page: streamed to disk, no more than is allowed, kept only where they are movies."""

import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from app.site import UPLOADS, Refused, Site

_LONGEST_NAME = 150


def safe_name(name: str) -> str:
    """Return the last part of a file's name with nothing in it that a disk or a page could misread.

    >>> safe_name("../../<b>my movie</b>.ome.tif")
    '_b_my movie__b_.ome.tif'
    """
    last = re.split(r"[/\\]", re.sub(r"<(/?)", lambda found: "_" + ("_" if found[1] else ""), name))[-1]
    clean = re.sub(r"[^\w .()+-]", "_", last).strip(" .")
    stem, dot, suffix = clean.partition(".")
    if not stem or not suffix:
        raise Refused(f"{clean or 'a file without a name'}: no movie's name; it needs an ending such as .tif", 400)
    return f"{stem[:_LONGEST_NAME]}{dot}{suffix[-20:]}"


async def receive(site: Site, name: str, declared: int | None, stream: AsyncIterator[bytes]) -> Path:
    """Write a stream to a new file in an allowed folder. Raises `Refused`; nothing is left of what is refused."""
    allowed = f"larger than an upload may be ({site.upload_bytes / 1e9:g} GB); start with a larger --upload-gb"
    clean = safe_name(name)
    if declared is not None and declared > site.upload_bytes:
        raise Refused(f"{clean}: {allowed}", 413)
    folder = site.writable(UPLOADS)
    part, size = folder / f".{secrets.token_hex(6)}.upload", 0
    try:
        with part.open("xb") as file:
            async for chunk in stream:
                size += len(chunk)
                if size > site.upload_bytes:
                    raise Refused(f"{clean}: {allowed}", 413)
                await run_in_threadpool(file.write, chunk)
        if declared is not None and size != declared:
            raise Refused(f"{clean}: the upload broke off after {size} bytes; send it again", 400)
        return await run_in_threadpool(_keep, part, folder, clean)
    finally:
        part.unlink(missing_ok=True)


def _keep(part: Path, folder: Path, name: str) -> Path:
    """Give a file its name, another one where that is taken, if it is a movie."""
    from localization import LocalizationError, open_movie  # not before it is needed: the first page is quick

    stem, dot, suffix = name.partition(".")
    # under its ending, by which movies are recognised, and in a folder alone, so that no neighbours are read with it
    looked = folder / f".{part.stem}" / name
    looked.parent.mkdir()
    try:
        os.rename(part, looked)
        try:
            open_movie(looked, alone=True).close()
        except LocalizationError as error:
            raise Refused(f"{name}: no movie was recognised: {str(error).replace(str(looked), name)}", 415) from None
        for number in range(1, 10_000):
            place = folder / (name if number == 1 else f"{stem}-{number}{dot}{suffix}")
            try:
                os.link(looked, place)  # fails where the name is taken, as a rename does not
            except FileExistsError:
                continue
            except OSError:  # no links on this disk
                if place.exists():
                    continue
                os.rename(looked, place)
            return place
        raise Refused(f"{name}: too many files of this name; rename it", 400)
    finally:
        looked.unlink(missing_ok=True)
        looked.parent.rmdir()
