"""A peer in its own interpreter: started once, then timed on request, so that it and ours can take turns."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PEERS = Path(__file__).parents[1] / "peers"


class Peer:
    """A script of `peers/`: prints one JSON line when ready, then the seconds of each name it is sent."""

    def __init__(self, python: str, script: str, *arguments: str):
        self.script = script
        self.process = subprocess.Popen(
            [python, str(PEERS / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._answer()

    def seconds(self, name: str) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _answer(self):
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.script}: the peer stopped; does its interpreter have PyTorch?")
        return json.loads(line)


def stopwatch(work: Callable[[], object]) -> Callable[[], float]:
    """A function that runs `work`, which must wait for its own result, and returns the seconds it took."""

    def measure() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return measure


def in_turn(clocks: dict[str, Callable[[], float]], repeats: int) -> dict[str, dict[str, float]]:
    """Median, smallest and largest seconds of each, one of each per round, after one round of warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in clocks}
    for round_ in range(repeats + 1):
        for name, clock in clocks.items():
            seconds = clock()
            if round_ > 0:
                taken[name].append(seconds)
    return {name: {"median_s": statistics.median(t), "min_s": min(t), "max_s": max(t)} for name, t in taken.items()}
