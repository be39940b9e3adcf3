"""Record a finished comparison of masks: its scores, intervals and verdict, from the run's metrics.json.

colocus compare quick --out runs/quick
python benchmarks/comparison.py runs/quick
"""

import argparse
import json
from pathlib import Path
from typing import Any

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
    gate = numbers["differences"][0]["gate"]
    first = [d for d in numbers["differences"] if d["arm"] == numbers["differences"][0]["arm"] and d["gate"] == gate]
    densest = max(first, key=lambda d: d["density_per_um2"])
    jaccard = densest["metrics"]["jaccard"]
    title = numbers["title"]
    yield (
        f"{title[0].lower()}{title[1:]}: Jaccard of {densest['arm']} less {densest['reference']}, "
        f"{densest['density_per_um2']:.2f} per um2",
        "reported",
        f"{jaccard['estimate']:+.3f} ({jaccard['low']:+.3f} to {jaccard['high']:+.3f})",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/quick"))
    run = parser.parse_args().run
    path = run / "metrics.json"
    if not path.exists():
        print(f"{path} is missing: run `colocus compare quick --out {run}` first")
        return
    metrics = json.loads(path.read_text())
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    started = next(event for event in events if event["event"] == "start")
    numbers = {"run": {k: v for k, v in started.items() if k != "event"}, **told_once(metrics)}
    print(write_result(f"comparison_{run.name}", numbers))


if __name__ == "__main__":
    main()
