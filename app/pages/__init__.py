"""The pages: from start to help, a file each. Each is drawn from files; the server keeps nothing."""

import html
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from nicegui import ui
from starlette.concurrency import run_in_threadpool

from app.pages import beads, help, look, masks, microscope, queue, result, run, start
from app.routes import Shown
from app.site import Refused


def add_pages(app: FastAPI, shown: Shown) -> None:
    """Register the pages and mount them on an application; once in a process."""

    def answer(page: Callable[..., Any], *given: Any) -> Any:
        try:
            return page(shown, *given)
        except Refused as error:
            return HTMLResponse(_REFUSED.format(html.escape(str(error))), error.status)

    async def opened(path: str) -> None:
        """Open a movie in a thread before its page is drawn: it takes time, in which all other pages go on."""
        with suppress(Refused):  # the page says so itself
            await run_in_threadpool(lambda: path and shown.movies.take(shown.site.resolve(path)))

    @ui.page("/", title="Colocus")
    def _start(folder: str = ""):
        return answer(start.page, folder)

    @ui.page("/look", title="Look - Colocus", response_timeout=_OPENING_S)
    async def _look(path: str = "", scope: str = "", run: str = ""):
        await opened(path)
        return answer(look.page, path, scope, run)

    @ui.page("/microscope", title="Microscope - Colocus", response_timeout=_OPENING_S)
    async def _microscope(movie: str = "", run: str = "", scope: str = ""):
        await opened(movie)
        return answer(microscope.page, movie, run, scope)

    @ui.page("/beads", title="Beads - Colocus", response_timeout=_OPENING_S)
    async def _beads(movie: str = "", path: str = ""):
        await opened(movie)
        return answer(beads.page, movie, path)

    @ui.page("/masks", title="Masks - Colocus")
    def _masks(path: str = ""):
        return answer(masks.page, path)

    @ui.page("/run", title="Run - Colocus")
    def _run(path: str = ""):
        return answer(run.page, path)

    @ui.page("/result", title="Result - Colocus")
    def _result(path: str = ""):
        return answer(result.page, path)

    @ui.page("/queue", title="Queue - Colocus")
    def _queue():
        return answer(queue.page)

    @ui.page("/help", title="Help - Colocus")
    def _help():
        return answer(help.page)

    ui.run_with(app, title="Colocus", dark=None, favicon=_ICON, show_welcome_message=False, reconnect_timeout=30.0)


_OPENING_S = 300.0  # that a movie may take to open, from a slow disk
_REFUSED = (
    "<!doctype html><meta name='color-scheme' content='light dark'><title>Colocus</title>"
    "<body style='font-family: sans-serif; margin: 3em'><p>{}</p>"
    "<p><a href='/'>Movies and runs</a></p>"
)
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0072B2"/>'
    '<circle cx="8" cy="8" r="2.2" fill="#fff"/><circle cx="8" cy="8" r="5" fill="none" stroke="#fff"/></svg>'
)
