"""The server: routes, pages, the guard around them, and the queue that starts one run after another."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from app.guard import Guard
from app.routes import Shown, add_routes
from app.runs.launch import advance
from app.site import Site
from experiments.commands.arguments import UsageError

_QUEUE_S = 1.0
_log = logging.getLogger("colocus.app")


def make_app(shown: Shown) -> FastAPI:
    """Compose the application of a site and what it shows, without the pages, which one process has once."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_work_off(shown.site))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await shown.close()

    app = FastAPI(title="Colocus", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    add_routes(app, shown)
    app.add_middleware(Guard, token=shown.site.token)
    return app


async def _work_off(site: Site) -> None:
    """Start the next run whenever none works; a fault is logged and does not end the queue."""
    while True:
        try:
            await run_in_threadpool(advance, site)
        except Exception:
            _log.exception("the queue could not go on; it tries again")
        await asyncio.sleep(_QUEUE_S)


def serve(site: Site, host: str, port: int, *, open_browser: bool = False) -> int:
    """Serve until Ctrl-C and say where; returns the exit status. Raises `UsageError` where the port is taken."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    listening = _listen(host, port)
    number = listening.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    if host in ("0.0.0.0", "::"):
        name = socket.gethostname()
    address = f"http://{name}:{number}/"
    from app.pages import add_pages

    shown = Shown(site)
    app = make_app(shown)
    add_pages(app, shown)
    print(f"Colocus serves {', '.join(map(str, site.folders))}", file=sys.stderr)
    whole = f"{address}?token={site.token}" if site.token else address
    print(f"Open {whole}   (Ctrl-C ends the page, runs go on)", file=sys.stderr, flush=True)
    if site.token:
        print("Whoever has this address can read the folders and start runs; it is not encrypted.", file=sys.stderr)
    if open_browser:
        threading.Timer(0.5, webbrowser.open, [whole]).start()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=2,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # from here on who comes waits, and is not turned away
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(f"{host}:{port} cannot be served ({error}); choose another --port or --host") from None
    return listening
