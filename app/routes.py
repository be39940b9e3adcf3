"""What the page fetches beside its sockets: frames, pictures, tiles, files to keep, and uploads."""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.background import BackgroundTask

from app.runs.files import LIST
from app.site import Refused, Site
from app.upload import receive

_SHOWN = {".png": "image/png"}
_KEPT = {".csv", ".json", ".jsonl", ".png", ".tif", ".tiff", ".toml", ".html", ".txt", ".npz", ".mat", ".bmp", ".hdf5"}
# a report is a page of its own: no script of it runs, and nothing is fetched
_REPORT = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
_FOREVER = {"cache-control": "private, max-age=86400"}
Percent = Annotated[float, Query(ge=0, le=100)]


def bounds_of(text: str) -> tuple[tuple[str, float, float], ...]:
    """Read bounds as the address of a tile has them. Raises `Refused` for what are none.

    >>> bounds_of("photons:500:inf,z:-400:400")
    (('photons', 500.0, inf), ('z', -400.0, 400.0))
    """
    found = []
    for part in filter(None, text.split(",")):
        match part.split(":"):
            case ["photons" | "sigma" | "z" as name, low, high]:
                try:
                    found.append((name, float(low), float(high)))
                except ValueError:
                    raise Refused(f"{part[:40]!r} are no bounds", 400) from None
            case _:
                raise Refused(f"{part[:40]!r} are no bounds", 400)
    if len(found) > 3 or any(math.isnan(low) or math.isnan(high) for _, low, high in found):
        raise Refused("no bounds", 400)
    return tuple(found)


class Shown:
    """What the server keeps in memory for its pages; loaded when first asked for, so that the first page is quick."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._made: dict[str, Any] = {}

    @property
    def movies(self):
        """The open movies."""
        from app.pictures.frames import Movies

        return self._made.setdefault("movies", Movies())

    @property
    def lists(self):
        """The lists in memory."""
        from app.pictures.prepared import Lists

        return self._made.setdefault("lists", Lists())

    @property
    def live(self):
        """The pictures of runs that read."""
        from app.pictures.live import Live

        return self._made.setdefault("live", Live())

    @property
    def child(self):
        """The kept process that has the optics loaded."""
        from app.drawing.child import Child

        return self._made.setdefault("child", Child())

    async def close(self) -> None:
        """End the kept process."""
        if "child" in self._made:
            await self._made["child"].close()


def add_routes(app: FastAPI, shown: Shown) -> None:
    """Add the routes to an application; what a visitor may not have is answered in one line of plain text."""
    site, router = shown.site, APIRouter()

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, Refused) else 500
        return PlainTextResponse(f"Colocus: {error}\n", status)

    app.add_exception_handler(Refused, refused)

    @router.get("/frame")
    def frame(path: str, k: int = 0, low: Percent = 1, high: Percent = 99.8, log: bool = False, kind: str = ""):
        """A frame of a movie, or a projection, as PNG."""
        picture = shown.movies.picture(site.resolve(path), k, low, high, log=log, kind=kind)
        return Response(picture, media_type="image/png", headers=_FOREVER)

    @router.get("/picture")
    def picture(path: str):
        """A picture of a run."""
        place = site.resolve(path)
        if place.suffix not in _SHOWN or not place.is_file():
            raise Refused("no picture; those are PNG")
        return FileResponse(place, media_type=_SHOWN[place.suffix], headers=_FOREVER)

    @router.get("/trial")
    def trial(path: str, kind: str = "frame"):
        """The frame that a run was tested on."""
        from app.pictures.trial import trial_png

        return Response(trial_png(site.resolve(path), kind), media_type="image/png", headers=_FOREVER)

    @router.get("/mask")
    def mask(path: str):
        """A snapshot of a mask that is learned."""
        from app.pictures.phase import snapshot_png

        return Response(snapshot_png(site.resolve(path)), media_type="image/png", headers=_FOREVER)

    @router.get("/file")
    def file(path: str):
        """A file of a run, to be kept."""
        place = site.resolve(path)
        if place.suffix not in _KEPT or not place.is_file():
            raise Refused(f"no file to be kept; those end in {' '.join(sorted(_KEPT))}")
        return FileResponse(place, media_type="application/octet-stream", filename=place.name)

    @router.get("/report")
    def report(path: str):
        """A run's report, shown as it is."""
        place = site.resolve(Path(path) / "report.html")
        return FileResponse(place, media_type="text/html", headers={"content-security-policy": _REPORT})

    @router.get("/tile/{zoom}/{x}/{y}.png")
    def tile(zoom: int, x: int, y: int, path: str, mode: str = "light", within: str = ""):
        """A tile of the picture of a list, or of its rows within bounds, such as photons:500:inf,z:-400:400."""
        drawn = shown.lists.part(site.resolve(path), bounds_of(within))
        return Response(drawn.tile(zoom, x, y, mode), media_type="image/png", headers=_FOREVER)

    @router.get("/live")
    def live(path: str):
        """What a run has read by now."""
        return Response(shown.live.picture(site.resolve(path)), media_type="image/png", headers=_FOREVER)

    @router.get("/list")
    def exported(path: str, format: str):
        """A run's list in another format."""
        from localization import LocalizationError, read, write
        from localization.io.formats import find

        source = site.resolve(Path(path) / LIST)
        folder = tempfile.TemporaryDirectory()
        try:
            place = Path(folder.name) / f"{Path(path).name}-{format}{find(format, to_write=True).suffix}"
            write(place, read(source), format=format)
        except LocalizationError as error:
            folder.cleanup()
            raise Refused(str(error), 400) from None
        away: Callable[[], None] = folder.cleanup
        kind = "application/octet-stream"
        return FileResponse(place, media_type=kind, filename=place.name, background=BackgroundTask(away))

    @router.put("/upload")
    async def upload(request: Request, name: str):
        """A movie, as the body of the request."""
        length = request.headers.get("content-length")
        declared = int(length) if length and length.isdigit() else None
        place = await receive(site, name, declared, request.stream())
        return JSONResponse({"path": str(place)})

    app.include_router(router)
