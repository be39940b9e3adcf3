"""Sets with exact truth: our list decoder, our fits, singly and jointly, published weights and Picasso, one row each.

    colocus train tubulin-2d --out runs/tubulin-2d        (and the other presets that the table names)
    python benchmarks/truth_sets.py --picasso-python ENV/bin/python [--runs runs] [--only NAME ...]
    python benchmarks/truth_sets.py --joint [--only NAME ...] [--minutes N]    the rows of the joint fit, others kept
    python benchmarks/truth_sets.py --decoder-joint [...]                      those of the fit behind a decoder
    python benchmarks/truth_sets.py --page                 docs/truth_sets.md from the results alone

Jaccard, recall, precision, RMSE and efficiency at the gates of each set, with 95 % intervals from drawing frames, the
score of as many randomly placed points, and the median error of the pairs, which is scored both as found and taken off.
With `--only`, other sets keep the rows of the last result. Retrieved PSFs (half a minute each) and the joint fit's
list of each frame are kept in --work: a run that was stopped, or whose --minutes are over, goes on there.
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import localization
import pages
from localization import Gate, Localizations
from measure.record import RESULTS, Rows, write_result
from pages import truth_page
from worlds import DATA, ROOT
from worlds.truth_data import TruthSet
from worlds.truth_joint import JOINT_CASES, put_in
from worlds.truth_runs import CASES, Row

PLACE = 125  # of its rows in benchmarks/README.md

DRAWS = 1000
SHOWN = ("jaccard", "recall", "precision", "rmse_xy_um", "rmse_z_um")
SHOWN += ("efficiency_lateral", "efficiency_axial", "efficiency_3d")


def scores(one: TruthSet, found: Localizations, gate: Gate) -> dict[str, Any]:
    """One list at one gate: metrics with intervals, median error, the metrics without it, and those of chance."""
    n = len(one.frames)
    per_frame = localization.score_frames(found, one.truth, **gate, n_frames=n)
    total = localization.score_total(per_frame)
    intervals = localization.bootstrap(per_frame, rng=0, n=DRAWS) if n > 1 else {}
    pairs = localization.pair_errors_um(found, one.truth, localization.match(found, one.truth, **gate))
    middle = np.median(pairs, axis=0) if len(pairs) else np.zeros(3)
    if not one.deep:
        middle[2] = 0.0
    moved = dataclasses.replace(
        found, x_um=found.x_um - middle[0], y_um=found.y_um - middle[1], z_um=found.z_um - middle[2]
    )
    centred = localization.score(moved, one.truth, **gate)
    chance = localization.chance_score(found, one.truth, rng=0, **gate)
    result: dict[str, Any] = {"n_found": total.n_found, "n_truth": total.n_truth, "pairs": total.true_positives}
    for name in SHOWN:
        interval = intervals.get(name)
        low, high = (interval.low, interval.high) if interval else (math.nan, math.nan)
        result[name] = [_plain(x) for x in (getattr(total, name), low, high)]
    result["median_error_um"] = [_plain(x) for x in (middle if len(pairs) else [math.nan] * 3)]
    result["median_taken_off"] = {name: _plain(getattr(centred, name)) for name in SHOWN}
    result["chance"] = {name: _plain(getattr(chance, name)) for name in SHOWN}
    return result


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def measure(rows: Iterator[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        record: dict[str, Any] = {"set": row.of.name, "method": row.method, "remark": row.remark}
        record |= {"frames": len(row.of.frames), "density_per_um2": row.of.density_per_um2, "notes": row.of.notes}
        found = row.found
        if found is not None:
            gates = row.gates or row.of.gates
            record["gates"] = {name: scores(row.of, found, gate) for name, gate in gates.items()}
            for name, score in record["gates"].items():
                shown = {key: score[key][0] for key in SHOWN if score[key][0] is not None}
                print(f"{row.of.name} | {row.method} | {name}:", {k: round(v, 4) for k, v in shown.items()}, flush=True)
        else:
            print(f"{row.of.name} | {row.method}: {row.remark}", flush=True)
        yield record


def made_before(kept: dict[str, Any], what: str) -> dict[str, Any]:
    """What is measured now ("" all rows, else kinds of joint fits), and when the rows that are kept were."""
    if not what or "command" not in kept:
        return {"measured": what}
    before = dict(kept["numbers"].get("before", {}))
    last = kept["numbers"].get("measured", "")
    if last != what:
        before[last] = {key: kept[key] for key in ("command", "date", "commit")}
    for kind in what.split("+"):
        before.pop(kind, None)
    return {"measured": what, "before": before}


def rows(numbers: dict) -> Rows:
    lists = [row for case in numbers["cases"].values() for row in case["rows"] if "gates" in row]
    yield (
        f"scores on {len({row['set'] for row in lists})} sets with exact truth (docs/truth_sets.md has each)",
        "reported",
        f"{len(lists)} lists",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="folder of our trained runs, named as presets")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "truth_sets", help="where retrieved PSFs are kept")
    parser.add_argument("--picasso-python", default="", help="interpreter that has picassosr (pip install picassosr)")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="measure these, keep the others")
    parser.add_argument("--joint", action="store_true", help="measure the rows of the joint fit, keep all others")
    parser.add_argument("--decoder-joint", action="store_true", help="those of the joint fit from a decoder's list")
    parser.add_argument("--minutes", type=float, default=math.inf, help="read no more frames jointly after that")
    parser.add_argument("--page", action="store_true", help="write the page from the last results and end")
    arguments = parser.parse_args()
    arguments.until = time.time() + 60 * arguments.minutes
    last = RESULTS / "truth_sets.json"
    kept = json.loads(last.read_text()) if last.exists() else {"numbers": {"cases": {}}, "versions": {}}
    if not arguments.page:
        if not DATA.is_dir():
            print(f"truth_sets: no data at {DATA}; set COLOCUS_DATA. Nothing measured.")
            return 0
        kinds = [kind for kind, asked in (("joint", arguments.joint), ("behind", arguments.decoder_joint)) if asked]
        cases, measured = kept["numbers"]["cases"], made_before(kept, "+".join(kinds))
        versions = {k: v for k, v in kept["versions"].items() if k == "picassosr"}
        for name in arguments.only:
            started = time.perf_counter()
            seconds = cases.get(name, {}).get("seconds", 0.0)
            rows = cases.get(name, {}).get("rows", [])
            if not kinds:
                rows = list(measure(CASES[name](arguments, versions)))
                seconds = round(time.perf_counter() - started, 1)
            for kind in kinds or ("joint", "behind"):
                arguments.behind = kind == "behind"
                rows = put_in(rows, list(measure(JOINT_CASES[name](arguments))))
            cases[name] = {"rows": rows, "seconds": seconds}
            ordered = {key: cases[key] for key in CASES if key in cases}
            numbers = {"cases": ordered, "draws": DRAWS, **measured}
            write_result("truth_sets", numbers, versions=versions)
    pages.write(truth_page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
