"""Record a finished comparison of masks: its scores, intervals and verdict, from the run's metrics.json.

colocus compare quick --out runs/quick
python benchmarks/comparison.py runs/quick
"""

import argparse
import json
from pathlib import Path

from measure.record import write_result


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
    numbers = {"run": {k: v for k, v in started.items() if k != "event"}, **metrics}
    print(write_result(f"comparison_{run.name}", numbers))


if __name__ == "__main__":
    main()
