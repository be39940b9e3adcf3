"""Every real movie at hand localized and drawn: docs/gallery.md, its pictures and results/gallery.json.

    python benchmarks/gallery.py [NAME ...] [--write]

Runs the commands of `gallery_plates` (of all sets, or of those named) in one process, into runs/gallery. A set that is
done is not run again while its commands stay as they are. `--write` makes the page from what has been run.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import textwrap
import time
from pathlib import Path

import numpy as np

from experiments import cli
from localization import Localizations, read
from measure.record import Rows, write_result
from pages.gallery_plates import PLATES, Plate
from worlds import DATA, ROOT

PLACE = 320  # of its rows in benchmarks/README.md

OUT = ROOT / "runs" / "gallery"
FIGURES = ROOT / "docs" / "figures"
HEAD = """\
# Gallery

Every recording at hand, localized, drawn and looked at. The commands beside each picture made it; they run from the
project's folder, with `COLOCUS_DATA` the folder of the data sets and `G=runs/gallery`. Pictures are shown where the
licence of the data allows it. All by `python benchmarks/gallery.py --write`; scores against truth are in
[truth_sets.md](truth_sets.md). Gains and offsets that are typed come from a set's own description, or from the noise
of its frames (`noise_line` in `benchmarks/worlds/truth_data.py`), which is good to 10 to 30 %: photons and sigmas share
that error.
"""

TAIL = """\
Not here: `ds3d-sim-reference`, `fazel-biplane` and the double helix of `storm-analysis-sim`, which are simulated and
scored against their truth (`benchmarks/truth_sets.py`), and `autods3d-insitu-astig`, molecules cut out one by one.
"""


def run_plate(plate: Plate) -> dict:
    """Run a set's commands; what they printed and what the table holds."""
    place = {"COLOCUS_DATA": str(DATA), "G": str(OUT)}
    printed = []
    started = time.process_time()
    for command in plate.commands:
        print("$", command, flush=True)
        ready = command.replace("$COLOCUS_DATA", place["COLOCUS_DATA"]).replace("$G", place["G"])
        if ready.startswith("colocus "):
            folder = re.search(r"--out (\S+)", ready)
            if folder and Path(folder[1]).is_dir() and OUT in Path(folder[1]).parents:
                shutil.rmtree(folder[1])  # of an earlier run: retrieve does not write into a folder that is in use
            heard = io.StringIO()
            with contextlib.redirect_stdout(heard):
                status = cli.main(shlex.split(ready)[1:])
            text = heard.getvalue()
        else:
            done = subprocess.run(ready, shell=True, capture_output=True, text=True, check=False)
            status, text = done.returncode, done.stdout
        text = text.replace(str(OUT), "$G").replace(str(DATA), "$COLOCUS_DATA")
        print(text, flush=True)
        if status:
            raise SystemExit(f"{plate.name}: stopped with {status}")
        printed.append(text)
    return {
        "commands": list(plate.commands),
        "printed": printed,
        "cpu_seconds": round(time.process_time() - started),
        **numbers(read(OUT / plate.table)),
    }


def numbers(locs: Localizations) -> dict:
    """What a table says of itself."""
    flat = not locs.z_um.any()
    median = {axis: _median(getattr(locs, f"sigma_{axis}_um")) for axis in ("x", "y", "z")}
    return {
        "localizations": int(locs.frame.size),
        "frames_with_any": int(np.unique(locs.frame).size),
        "photons_median": _median(locs.photons),
        "sigma_nm_median": {axis: None if value is None else 1e3 * value for axis, value in median.items()},
        "z_um_5_to_95": None if flat else [float(v) for v in np.quantile(locs.z_um, [0.05, 0.95])],
    }


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else None


def sentence(result: dict) -> str:
    """The numbers of a table in words."""
    rows, frames = result["localizations"], result["frames_with_any"]
    parts = [f"{rows} localizations" + (f" in {frames} frames" if frames > 1 else "")]
    sigma = {axis: value for axis, value in result["sigma_nm_median"].items() if value is not None}
    if sigma:
        parts.append(
            "median sigma " + ", ".join(f"{value:.0f}" for value in sigma.values()) + f" nm in {', '.join(sigma)}"
        )
    if result["photons_median"] is not None:
        parts.append(f"median {result['photons_median']:.0f} photons")
    if result["z_um_5_to_95"]:
        low, high = result["z_um_5_to_95"]
        parts.append(f"nine in ten at depths of {low:.2f} to {high:.2f} um")
    return "; ".join(parts) + "."


def section(plate: Plate, result: dict) -> str:
    """A set's part of the page."""
    text = f"`{plate.name}` ({plate.licence}). {sentence(result)} {scored(plate)}".strip()
    lines = [f"## {plate.title}", "", *textwrap.wrap(text, 118, break_long_words=False)]
    if plate.picture:
        lines += ["", f"![{plate.title}](figures/gallery_{plate.name}.png)"]
    if plate.seen:
        lines += ["", *textwrap.wrap(f"Seen: {plate.seen}", 118)]
    shown = [broken(command) for command in plate.commands]
    return "\n".join([*lines, "", "```sh", *shown, "```", ""])


def scored(plate: Plate) -> str:
    """The Jaccard index and error of an evaluation that the set's commands made."""
    for command in plate.commands:
        if not command.startswith("colocus evaluate"):
            continue
        path = Path(command.split("--out ")[1].split()[0].replace("$G", str(OUT)))
        gate = json.loads(path.read_text())["gates"][0]
        jaccard, recall, error = (gate["scores"][key]["estimate"] for key in ("jaccard", "recall", "rmse_xy_um"))
        other = "Picasso's own list" if "own" in command else "the truth"
        chance = gate["chance"]["jaccard"]
        axial = gate["scores"]["rmse_z_um"]["estimate"] if "/" in gate["name"] else None
        depth = "" if axial is None else f", axial {1e3 * axial:.1f} nm"
        return (
            f"Against {other} at {gate['name']}: Jaccard {jaccard:.3f} (at random {chance:.3f}), "
            f"recall {recall:.3f}, lateral RMSE {1e3 * error:.1f} nm{depth}."
        )
    return ""


def broken(command: str) -> str:
    """A command of ours, broken before options and settings where it is long; others as they are."""
    if not command.startswith("colocus "):
        return command
    lines = [""]
    for part in re.split(r" (?=--|\S+=)", command):
        if lines[-1] and len(lines[-1]) + len(part) > 110:
            lines.append("   ")
        lines[-1] += (" " if lines[-1] else "") + part
    return " \\\n".join(lines)


def rows(numbers: dict) -> Rows:
    count = sum(recording["localizations"] for recording in numbers.values())
    yield (
        f"{len(numbers)} recordings localized and drawn (docs/gallery.md shows each)",
        "reported",
        f"{count} localizations",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="sets (all)")
    parser.add_argument("--write", action="store_true", help="write the page from what has been run")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"gallery: no data in {DATA}; set COLOCUS_DATA")
        return
    OUT.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    results = {}
    for plate in PLATES:
        kept = OUT / f"{plate.name}.result.json"
        old = json.loads(kept.read_text()) if kept.exists() else {}
        if any("--model runs/storm" in command for command in plate.commands) and not (ROOT / "runs/storm").is_dir():
            print(f"{plate.name}: left out, no decoder; train it: colocus train storm --out runs/storm")
        elif old.get("commands") != list(plate.commands) and (not options.names or plate.name in options.names):
            old = run_plate(plate)
            kept.write_text(json.dumps(old, indent=1) + "\n")
        if old.get("commands") == list(plate.commands):
            results[plate.name] = old
    if not options.write:
        return
    page = [HEAD]
    for plate in PLATES:
        if plate.name in results:
            page.append(section(plate, results[plate.name]))
            if plate.picture:
                shutil.copy(OUT / f"{plate.name}.png", FIGURES / f"gallery_{plate.name}.png")
    (ROOT / "docs" / "gallery.md").write_text("\n".join([*page, TAIL]))
    print(write_result("gallery", results))


if __name__ == "__main__":
    main()
