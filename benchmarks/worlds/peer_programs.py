"""Programs of others in processes of their own, asked in turn on one thread; what they make, in one frame."""

import itertools
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure.peer import Peer

ONE_THREAD = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}


def take_one_thread() -> None:
    """Let this process, and all that it starts, compute on one thread."""
    os.environ.update(ONE_THREAD)


@dataclass(frozen=True)
class Program:
    """A name, one setting of it, the interpreter, the script in `peers/table/` and its arguments."""

    name: str
    setting: str
    python: str
    script: str
    arguments: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.name} {self.setting}".strip()


def ask_in_turn(
    programs: list[Program], repeats: int
) -> Iterator[tuple[Program, dict[str, Any], dict[str, dict[str, float]]]]:
    """Start them all, ask each for all it can in every round, one after the other; the first round warms up.

    Without repeats none is asked: what a program writes when it starts is there.

    Yields program, what it said when ready, and for each name the medians `cpu_s`, `wall_s` with the smallest and
    largest `cpu_s`, and `peak_mb`, the most resident memory of its process so far. `SystemExit` where one stops.
    """
    peers = [Peer(p.python, f"table/{p.script}", *p.arguments) for p in programs]
    taken: dict[tuple[int, str], list[Any]] = {}
    for round_ in range(repeats + 1 if repeats else 0):
        for k, peer in enumerate(peers):
            for name in peer.ready["names"]:
                answer = peer.seconds(name)
                if round_:
                    taken.setdefault((k, name), []).append(answer)
    for k, (program, peer) in enumerate(zip(programs, peers, strict=True)):
        peer.close()
        yield program, peer.ready, {name: _summed(answers) for (of, name), answers in taken.items() if of == k}


def _summed(answers: list[dict[str, float]]) -> dict[str, float]:
    cpu_s = [answer["cpu_s"] for answer in answers]
    return {
        "cpu_s": statistics.median(cpu_s),
        "min_cpu_s": min(cpu_s),
        "max_cpu_s": max(cpu_s),
        "wall_s": statistics.median(answer["wall_s"] for answer in answers),
        "peak_mb": max(answer["peak_mb"] for answer in answers),
    }


def aligned(found: NDArray, expected: NDArray) -> dict[str, Any]:
    """How far a stack (Z, K, K) is from another, in the best of the 16 frames that programs use.

    Each image has a sum of 1. `worst_l2` and `worst_of_peak` are the relative L2 difference of the worst plane, and
    its largest difference over the peak of that plane; `frame` says what was turned.
    """
    best: dict[str, Any] = {"worst_l2": np.inf}
    for turned in itertools.product((False, True), repeat=4):
        stack = found[::-1] if turned[0] else found
        stack = stack.transpose(0, 2, 1) if turned[1] else stack
        stack = stack[:, ::-1] if turned[2] else stack
        stack = stack[:, :, ::-1] if turned[3] else stack
        ours, theirs = (s / s.sum(axis=(1, 2), keepdims=True) for s in (expected, stack))
        off = theirs - ours
        l2 = np.linalg.norm(off, axis=(1, 2)) / np.linalg.norm(ours, axis=(1, 2))
        if l2.max() < best["worst_l2"]:
            named = [n for n, t in zip(("z", "transposed", "y", "x"), turned, strict=True) if t]
            best = {
                "worst_l2": float(l2.max()),
                "worst_of_peak": float((np.abs(off).max(axis=(1, 2)) / ours.max(axis=(1, 2))).max()),
                "frame": " ".join(named) or "as ours",
            }
    return best


def errors(found: dict[str, NDArray], xyz_um: NDArray, bound_um: NDArray) -> dict[str, Any]:
    """RMSE over the bound of x, y, z (N, 3), a constant offset taken off, in the lateral frame that fits best.

    `outliers` is the share of fits with an error beyond 5 bounds on some axis, which `rmse_over_bound` leaves out and
    `rmse_over_bound_all` has in it.
    """
    best: dict[str, Any] = {}
    for swap, sign_x, sign_y in itertools.product((False, True), (1, -1), (1, -1)):
        names = ("y_um", "x_um") if swap else ("x_um", "y_um")
        placed = np.column_stack([sign_x * found[names[0]], sign_y * found[names[1]], found["z_um"]])
        off = placed - xyz_um
        offset = np.nanmedian(off, axis=0)
        ratio = np.where(np.isfinite(off), (off - offset) / bound_um, np.inf)
        far = np.any(np.abs(ratio) > 5, axis=1)
        if not best or far.mean() < best["outliers"]:
            kept = np.sqrt(np.mean(ratio[~far] ** 2, axis=0)) if not far.all() else np.full(3, np.inf)
            best = {
                "outliers": float(far.mean()),
                "rmse_over_bound": kept.round(4).tolist(),
                "rmse_over_bound_all": np.sqrt(np.mean(np.minimum(ratio**2, 1e6), axis=0)).round(4).tolist(),
                "median_offset_nm": (1e3 * offset).round(2).tolist(),
            }
    return best
