"""Records that are written cell by cell: a run that was cut short goes on where it stopped, and pieces add up."""

import argparse
import datetime
import fnmatch
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from measure.record import RESULTS, commit, write_result


def cell_parser(description: str | None, frames: int) -> argparse.ArgumentParser:
    """The options that all of them have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=frames, help=f"frames a cell ({frames})")
    parser.add_argument("--only", nargs="*", default=["*"], metavar="CELL", help="names of cells, with * for any")
    parser.add_argument("--again", action="store_true", help="measure cells anew that are in the record")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after so many")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where the record is")
    return parser


def fill(
    name: str, cells: Iterable[str], measure: Callable[[str, int], dict], options: argparse.Namespace, **about
) -> dict:
    """Measure the cells that are asked for and write the record after each; a cell of fewer frames is replaced.

    `measure(cell, frames)` returns its numbers, among them `frames`, those that it took. Returns the record's numbers.
    """
    begun = time.monotonic()
    wanted = [cell for cell in cells if any(fnmatch.fnmatch(cell, pattern) for pattern in options.only)]
    for cell in wanted:
        done = _recorded(name, options.out).get(cell)
        if done is not None and not options.again and done.get("asked", done["frames"]) >= options.frames:
            continue
        if time.monotonic() - begun > 60 * options.minutes:
            print(f"{cell}: time is up; the same command goes on from here", flush=True)
            break
        start = time.perf_counter()
        found = {**measure(cell, options.frames), "asked": options.frames}
        when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        found |= {"commit": commit(), "date": when}
        # read again: another piece may have written meanwhile
        numbers = {**about, "cells": {**_recorded(name, options.out), cell: found}}
        write_result(name, numbers, folder=options.out)
        print(f"{cell}: {json.dumps(found)} [{time.perf_counter() - start:.0f} s]", flush=True)
    return {**about, "cells": _recorded(name, options.out)}


def _recorded(name: str, folder: Path) -> dict:
    path = folder / f"{name}.json"
    return json.loads(path.read_text())["numbers"]["cells"] if path.exists() else {}


def rounded(value, digits: int = 4) -> Any:
    """Numbers of a record, as short as they mean something; NaN (nothing to measure) as None."""
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(part, digits) for part in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{digits}g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
