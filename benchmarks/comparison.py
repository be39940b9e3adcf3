"""Record a finished comparison of masks: its scores, intervals and verdict, from the run's metrics.json.

colocus compare quick --out runs/quick
python benchmarks/comparison.py runs/quick [--cost MINUTES PROCESSOR_MINUTES]

What a run cost is what the shell's `time` says of it: real, and user and sys together.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from experiments.compare.results import WORDS
from measure.record import Rows, write_result

PLACE = 175  # of its rows in benchmarks/README.md
RECORDS = ("comparison_*",)


def told_once(metrics: Any) -> Any:
    """The metrics without the list of values per seed where it only repeats the mean of one seed."""
    if isinstance(metrics, list):
        return [told_once(part) for part in metrics]
    if not isinstance(metrics, dict):
        return metrics
    return {
        name: told_once(part) for name, part in metrics.items() if name != "per_seed" or part != [metrics["estimate"]]
    }


def rows(numbers: dict) -> Rows:
    title, several = numbers["title"], len(numbers.get("readings", [])) > 1
    title, words = f"{title[0].lower()}{title[1:]}", {str(name): text for name, text in WORDS.items()}
    for reading in numbers.get("readings", ["decoder"]):
        by = f", read by {words[reading]}" if several else ""
        found = [d for d in numbers["differences"] if d.get("reading", "decoder") == reading]
        if found:
            gate, arm = found[0]["gate"], found[0]["arm"]
            densest = max(
                (d for d in found if d["arm"] == arm and d["gate"] == gate), key=lambda d: d["density_per_um2"]
            )
            jaccard = densest["metrics"]["jaccard"]
            yield (
                f"{title}{by}: Jaccard of {arm} less {densest['reference']}, {densest['density_per_um2']:.2f} per um2",
                "reported",
                f"{jaccard['estimate']:+.3f} ({jaccard['low']:+.3f} to {jaccard['high']:+.3f})",
            )
        arms = [arm for arm in numbers["arms"] if arm.get("reading", "decoder") == reading]
        if several:
            yield (
                f"{title}{by}: RMSE of isolated emitters over the bound, x / y / z",
                "<= 1.2" if reading == "joint" else "reported",
                "; ".join(f"{arm['label']} {_three(arm['single'][0]['ratio'])}" for arm in arms),
            )
    if "cost" in numbers:
        cost = numbers["cost"]
        yield (
            f"{title}: processor minutes of the whole run (clock {cost['minutes']:.0f} min on a machine busy with "
            "other work)",
            "<= 20, ten on each of two cores" if "demo" in title else "reported",
            f"{cost['processor_minutes']:.1f}",
        )


def _three(ratios: list[float | None]) -> str:
    return " / ".join("none found" if value is None else f"{value:.2f}" for value in ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/quick"))
    parser.add_argument("--cost", type=float, nargs=2, metavar=("MINUTES", "PROCESSOR_MINUTES"), help="of the run")
    arguments = parser.parse_args()
    run = arguments.run
    path = run / "metrics.json"
    if not path.exists():
        print(f"{path} is missing: run `colocus compare quick --out {run}` first")
        return
    metrics = json.loads(path.read_text())
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    started = next(event for event in events if event["event"] == "start")
    numbers = {"run": {k: v for k, v in started.items() if k != "event"}, **told_once(metrics)}
    if arguments.cost:
        numbers["cost"] = dict(zip(("minutes", "processor_minutes"), arguments.cost, strict=True))
    print(write_result(f"comparison_{run.name}", numbers))


if __name__ == "__main__":
    main()
