"""The kept process itself: a line of JSON in, a line of JSON out, until the pipe is closed or nobody asks."""

import contextlib
import json
import os
import select
import signal
import sys
from typing import Any

IDLE_S = 900.0  # after which its memory is worth more than its readiness


def main() -> int:
    """Answer until the server has gone, or for a quarter of an hour without a question."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server
    # what libraries print must not come between the answers
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while select.select([sys.stdin], [], [], IDLE_S)[0]:
        line = sys.stdin.readline()
        if not line:
            return 0
        with contextlib.redirect_stdout(sys.stderr):
            answer = answered(json.loads(line))
        out.write(json.dumps(answer) + "\n")
        out.flush()
    return 0


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request; what cannot be is an `error` of one line."""
    from app.drawing.beads import show_beads
    from app.drawing.bounds import draw_bounds, draw_learned
    from localization import LocalizationError
    from optics import OpticsError
    from training import ConfigError

    kinds = {"bounds": draw_bounds, "learned": draw_learned, "beads": show_beads}
    try:
        return kinds[request.pop("kind")](**request)
    except (ConfigError, OpticsError, LocalizationError, OSError) as error:
        return {"error": " ".join(str(error).split())}
    except Exception as error:  # it goes on with the next request
        return {"error": f"this cannot be drawn ({type(error).__name__}: {' '.join(str(error).split())[:200]})"}


if __name__ == "__main__":
    sys.exit(main())
