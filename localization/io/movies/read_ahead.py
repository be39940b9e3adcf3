"""Frames that are stored many together: each run of them is read once, and the next one beside what is done with it."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

_MOST_BYTES = 1 << 27  # of a run; three of them may be in memory

Block = Callable[[int, int, slice, slice], NDArray]


class ReadAhead:
    """Serve blocks of frames from runs of `step` frames, which `read` reads whole.

    The run that follows is begun when one is asked for after the one before it. Runs that are too large are not kept:
    then every block is read by itself.
    """

    def __init__(self, read: Block, n_frames: int, step: int, itemsize: int) -> None:
        self._read, self._n_frames, self._step, self._itemsize = read, n_frames, step, itemsize
        self._pool = ThreadPoolExecutor(1)
        self._held: dict[tuple[int, ...], Future[NDArray]] = {}
        self._last = -2

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        if self._step == 1 or self._step * size * self._itemsize > _MOST_BYTES:
            return self._read(start, stop, rows, columns)
        parts = []
        for k in range(start // self._step, -(-stop // self._step)):
            run = self._run(k, rows, columns).result()
            if k in (self._last, self._last + 1) and (k + 1) * self._step < self._n_frames:
                self._run(k + 1, rows, columns)
            self._last = k
            first = k * self._step
            parts.append(run[max(start - first, 0) : stop - first])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, k: int, rows: slice, columns: slice) -> "Future[NDArray]":
        key = (k, rows.start, rows.stop, columns.start, columns.stop)
        if key not in self._held:
            near = {
                other: held for other, held in self._held.items() if other[1:] == key[1:] and abs(other[0] - k) <= 1
            }
            first = k * self._step
            stop = min(first + self._step, self._n_frames)
            self._held = {**near, key: self._pool.submit(self._read, first, stop, rows, columns)}
        return self._held[key]

    def close(self) -> None:
        """Wait for what is being read, and let go of the rest."""
        self._pool.shutdown(cancel_futures=True)
        self._held.clear()
