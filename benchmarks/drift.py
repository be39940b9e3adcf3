"""Drift correction against drift that was put in, and against Picasso's on the same tables in the same run.

    python benchmarks/drift.py --picasso PYTHON [--cases N]

PYTHON is an interpreter with picassosr 0.11 or later (left out: no peer). Threads in 3D (persistence length 4 um, 25 nm
thick) in a field of view, a share of localizations strewn at random, precision 12 nm in x and y and 25 nm in z;
drift is a random walk and a line. A curve's error is the standard deviation of found less true over frames. A
comparison of two curves is the standard deviation of their difference over the range of the true one. In the last
case there is nothing to find: independent random points, which must be refused.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from localization import LocalizationError, Localizations, correct_drift
from measure.peer import PEERS
from measure.record import Rows, write_result
from worlds.threads import simulate

PLACE = 210  # of its rows in benchmarks/README.md

PIXEL_NM = 130.0
FRAMES_OF = {"rcc": 30, "aim": 100}  # segments of the movie, ours and theirs alike
#            rows, frames, field um, threads, share at random, range of drift um
CASES = {
    "million": (1_000_000, 10_000, 25.0, 60, 0.1, 0.3),
    "hundred thousand": (100_000, 10_000, 25.0, 60, 0.1, 0.3),
    "noisy": (100_000, 5_000, 15.0, 20, 0.6, 0.3),
    "small": (20_000, 2_000, 10.0, 12, 0.3, 0.15),
    "random points": (200_000, 5_000, 20.0, 0, 1.0, 0.3),
}


def compare_nm(found: np.ndarray, true: np.ndarray) -> list[float]:
    """Standard deviation over frames of the difference of two curves (frames, axes) in um, per axis, in nm."""
    return [round(float(value), 2) for value in 1e3 * (found - true).std(axis=0)]


def ours(locs: Localizations, drift: np.ndarray, method: str) -> tuple[dict, np.ndarray | None]:
    frames = len(drift)
    segment = -(-frames // FRAMES_OF[method])
    started = time.perf_counter()
    try:
        _, found = correct_drift(locs, method=method, segment_frames=segment)
    except LocalizationError as error:
        return {"seconds": time.perf_counter() - started, "refused": str(error)}, None
    seconds = time.perf_counter() - started
    curve = np.full((frames, 3), np.nan)
    curve[found.frame] = np.stack([found.x_um, found.y_um, found.z_um], axis=1)
    seen = slice(int(found.frame[0]), int(found.frame[-1]) + 1)
    return {
        "seconds": seconds,
        "segment_frames": segment,
        "error_nm": compare_nm(curve[seen], drift[seen]),
        "reported_error_nm": [round(float(1e3 * e), 2) for e in found.error_um],
        "notes": list(found.notes),
    }, curve


def theirs(locs: Localizations, drift: np.ndarray, python: str) -> dict[str, np.ndarray]:
    frames = len(drift)
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "table.npz", Path(folder) / "out.npz"
        margin = 1.0  # um: Picasso's coordinates must not be negative
        side = int(np.ceil((max(locs.x_um.max(), locs.y_um.max()) + 2 * margin) / (PIXEL_NM / 1e3)))
        np.savez(
            table,
            frame=locs.frame,
            x=(locs.x_um + margin) / (PIXEL_NM / 1e3),
            y=(locs.y_um + margin) / (PIXEL_NM / 1e3),
            z=locs.z_um * 1e3,
            width=side,
            height=side,
            frames=frames,
            pixel_nm=PIXEL_NM,
        )
        segments = [str(-(-frames // FRAMES_OF[method])) for method in ("rcc", "aim")]
        script = PEERS / "picasso_drift.py"
        subprocess.run([python, str(script), str(table), str(out), *segments], check=True, capture_output=True)
        return dict(np.load(out))


def rows(numbers: dict) -> Rows:
    case = numbers["cases"]["million"]
    for method in ("rcc", "aim"):
        part = case[method]
        error = ", ".join(f"{v:.1f}" for v in part["error_nm"])
        theirs = part.get("picasso", {})
        beside = ", ".join(f"{v:.1f}" for v in theirs.get("error_nm", []))
        yield (
            f"drift by {method}, 1 M localizations in 10,000 frames "
            f"(Picasso {theirs.get('seconds', float('nan')):.1f} s)",
            "< 20 s",
            f"{part['seconds']:.1f} s",
        )
        yield f"its error x, y, z in nm, of {1000 * case['range_um']:.0f} (Picasso {beside})", "reported", error
        share = ", ".join(f"{100 * v:.1f}" for v in part.get("agreement_share_of_range", []))
        yield "its difference from Picasso's curve, % of the range", "<= 2 %", share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picasso", metavar="PYTHON", help="an interpreter with picassosr")
    parser.add_argument("--cases", type=int, default=len(CASES), help="only the first N cases")
    options = parser.parse_args()
    numbers: dict = {"target_seconds": 20.0, "target_agreement": 0.02, "cases": {}}
    versions = {}
    for seed, (name, case) in enumerate(list(CASES.items())[: options.cases]):
        locs, drift = simulate(*case, seed=seed)
        result: dict = dict(
            zip(("rows", "frames", "field_um", "threads", "share_random", "range_um"), case, strict=True)
        )
        peer = theirs(locs, drift, options.picasso) if options.picasso else None
        for method in ("rcc", "aim"):
            told, curve = ours(locs, drift, method)
            if peer is not None:
                versions["picassosr"] = str(peer["version"])
                axes = peer[method].shape[1]
                their = peer[method] / 1e3
                message = str(peer[f"{method}_message"])
                told["picasso"] = {"seconds": float(peer[f"{method}_seconds"]), "axes": "xyz"[:axes]}
                if message:
                    told["picasso"]["refused"] = message
                else:
                    told["picasso"]["error_nm"] = compare_nm(their, drift[:, :axes])
                if curve is not None and not message:
                    seen = np.isfinite(curve[:, 0])
                    apart = (curve[seen, :axes] - their[seen]).std(axis=0) / np.ptp(drift[:, :axes], axis=0)
                    told["agreement_share_of_range"] = [round(float(a), 4) for a in apart]
                if told["seconds"] > 0:
                    told["time_ratio"] = round(float(peer[f"{method}_seconds"]) / told["seconds"], 2)
            result[method] = told
            print(name, method, told, flush=True)
        numbers["cases"][name] = result
    print(write_result("drift", numbers, versions=versions))


if __name__ == "__main__":
    main()
