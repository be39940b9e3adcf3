"""The process of a run: `python -m app.runs.worker RUN COMMAND ...` notes who it is, works, and notes how it ended."""

import contextlib
import fcntl
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from app.runs.files import ASKED, ENDED, LIST, LOCK, PROCESS, own, read_json, write_whole
from app.runs.process import Process
from experiments.interrupts import loads


def main(folder: Path, argv: list[str]) -> int:
    """Run a command of `colocus` for a folder that no other worker has; returns its exit status."""
    with own(folder, LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("colocus: error: this run is being worked on already", file=sys.stderr)
            return 2
        me = Process.find(os.getpid())
        assert me is not None
        write_whole(own(folder, PROCESS), json.dumps({"pid": me.pid, "started": me.started}))
        asked = read_json(own(folder, ASKED))
        if asked.get("state") == "queued":  # the server may have ended before it could note this
            write_whole(own(folder, ASKED), json.dumps({**asked, "state": "started"}))
        own(folder, ENDED).unlink(missing_ok=True)
        status = 1
        try:
            signal.signal(signal.SIGINT, lambda number, frame: _stop(folder, frame))
            # a Stop that came before, which the server held back from the start of Python, comes up here
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            status = work(folder, argv)
        except KeyboardInterrupt:  # before the command was reached
            status = 130
        except Exception:
            # Ctrl-C within a library may end as an error of another kind
            if not read_json(own(folder, ASKED)).get("stop"):
                raise
            status = 130
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # how it ended is noted already
            _note(folder, status)
        return status


def _note(folder: Path, status: int) -> None:
    write_whole(own(folder, ENDED), json.dumps({"status": status}))


def _stop(folder: Path, frame: FrameType | None) -> None:
    """Stop as Ctrl-C does, but end at once where a library is being loaded: an error there may be lost."""
    if not loads(frame):
        raise KeyboardInterrupt
    os.write(2, b"colocus: stopped while it was loading\n")  # print may be what was interrupted
    _note(folder, 130)
    os._exit(130)


def work(folder: Path, argv: list[str]) -> int:
    """Run the command and prepare what the page shows of its list; returns the exit status of the command."""
    from experiments.cli import main as colocus

    status = colocus(argv)
    if (folder / LIST).exists() and status == 0:
        from app.pictures.prepared import load, prepare
        from app.site import Refused

        with contextlib.suppress(Refused):  # an empty list: the page says so
            if load(folder / LIST) is None:
                prepare(folder / LIST)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
