"""`colocus app`: the page in a browser, served from this machine."""

import argparse
import importlib.util
import secrets
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import UsageError

ABOUT = "Serve the page in a browser: look, draw a box, click once, watch."
GROUP = "start"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORT = 8421


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus app`."""
    parser.usage = "colocus app [--folder DIR ...] [OPTIONS]"
    text = "folders to show, and nothing else (this one); runs and uploads go into the first"
    parser.add_argument("--folder", type=Path, nargs="+", default=[Path(".")], metavar="DIR", help=text)
    parser.add_argument("--host", default=LOOPBACK[0], help="this machine's address for others; then a token is asked")
    parser.add_argument("--port", type=int, default=PORT, help=f"{PORT}; 0 takes a free one")
    parser.add_argument("--open", action="store_true", help="open the browser")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the token, else one is made and printed")
    parser.add_argument("--upload-gb", type=float, default=50.0, metavar="GB", help="the largest upload (50)")
    parser.epilog = "Ctrl-C ends the page, not the jobs: they go on, and the page finds them again."


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Serve until Ctrl-C; returns the exit status."""
    from app.site import Site

    if importlib.util.find_spec("nicegui") is None:
        raise UsageError("the page needs NiceGUI; install it with: pip install 'colocus[app]'")
    token = ""
    if arguments.token_file is not None:
        token = arguments.token_file.read_text().strip()
        if len(token) < 16:
            raise UsageError(f"{arguments.token_file}: a token has 16 characters or more; write a longer one")
    elif arguments.host not in LOOPBACK:
        token = secrets.token_urlsafe(24)
    site = Site.make(arguments.folder, token=token, upload_bytes=int(1e9 * arguments.upload_gb))
    from app.serve import serve

    return serve(site, arguments.host, arguments.port, open_browser=arguments.open)
