"""Frames of movies of any size: opened once, read one at a time, with a contrast that stays over the movie."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.pictures.png import png, stretched
from app.site import Refused
from localization import LocalizationError, Movie, open_movie

_OPEN = 6  # movies that are kept open
_SAMPLE, _SAMPLE_PX = 8, 1 << 16  # frames, and pixels of each, that tell the contrast
_PROJECTED, _PROJECTED_PX = 200, 1 << 29  # frames at most, and pixels at most, of a projection
PROJECTIONS = ("mean", "maximum", "standard deviation")


@dataclass
class Opened:
    """An open movie, whose file one thread reads at a time."""

    movie: Movie
    lock: threading.Lock = field(default_factory=threading.Lock)
    sample: NDArray | None = None
    last: tuple[int, NDArray] | None = None
    projections: dict[str, NDArray] = field(default_factory=dict)

    def frame(self, number: int) -> NDArray:
        """Read a frame (H, W); the last one stays in memory. Raises `Refused` where there is none."""
        if not 0 <= number < self.movie.shape[0]:
            raise Refused(f"no frame {number}; the movie has {self.movie.shape[0]}")
        with self.lock:
            if self.last is None or self.last[0] != number:
                self.last = (number, self.movie.read(number, number + 1)[0])
            return self.last[1]

    def limits(self, low_percent: float, high_percent: float) -> tuple[float, float]:
        """Return the counts below which these percentages of a sample of the movie's pixels lie."""
        if self.sample is None:
            n, height, width = self.movie.shape
            step = max(1, int(np.sqrt(height * width / _SAMPLE_PX)))
            with self.lock:
                frames = [self.movie.read(k, k + 1)[0, ::step, ::step] for k in _spread(n, _SAMPLE)]
            self.sample = np.sort(np.concatenate([frame.ravel() for frame in frames]))
        low, high = (min(max(value, 0.0), 100.0) for value in (low_percent, high_percent))
        at = np.rint(np.array([min(low, high), high]) / 100 * (len(self.sample) - 1)).astype(int)
        return float(self.sample[at[0]]), float(self.sample[at[1]])

    def projection(self, kind: str) -> NDArray:
        """Return the mean, maximum or standard deviation over frames spread over the movie, (H, W)."""
        if kind not in PROJECTIONS:
            raise Refused(f"no projection {kind!r}; there are {', '.join(PROJECTIONS)}", 400)
        if kind not in self.projections:
            n, height, width = self.movie.shape
            wanted = _spread(n, max(2, min(_PROJECTED, _PROJECTED_PX // (height * width))))
            total, squares, most = (np.zeros((height, width)) for _ in range(3))
            for number in wanted:
                with self.lock:
                    frame = self.movie.read(number, number + 1)[0].astype(float)
                total, squares, most = total + frame, squares + frame**2, np.maximum(most, frame)
            mean = total / len(wanted)
            spread = np.sqrt(np.maximum(squares / len(wanted) - mean**2, 0.0))
            self.projections = dict(zip(PROJECTIONS, (mean, most, spread), strict=True))
        return self.projections[kind]


def _spread(n: int, wanted: int) -> list[int]:
    return sorted(set(np.linspace(0, n - 1, min(n, wanted)).round().astype(int).tolist()))


class Movies:
    """The movies that pages look at, a few of them open; a file that has changed is opened anew."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[Path, int], Opened] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, path: Path) -> Opened:
        """Open a movie, or find it open. Raises `Refused` in one line for what is none."""
        try:
            key = (path, path.stat().st_mtime_ns)
            if (found := self._known(key)) is not None:
                return found
            movie = open_movie(path)  # without the lock: who looks at another movie does not wait for this one
        except (LocalizationError, OSError) as error:
            raise Refused(" ".join(str(error).split()), 415) from None
        with self._lock:
            if key in self._open:  # opened twice at once
                movie.close()
            else:
                self._open[key] = Opened(movie)
            found = self._open[key]
            out = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - _OPEN)]
        for old in out:
            with old.lock:
                old.movie.close()
        return found

    def _known(self, key: tuple[Path, int]) -> Opened | None:
        """Find an open movie, which is then the last to be closed."""
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
            return self._open.get(key)

    def picture(self, path: Path, number: int, low: float, high: float, *, log: bool, kind: str = "") -> bytes:
        """Draw a frame, or a projection of the movie, as PNG; `low` and `high` are percentiles."""
        opened = self.take(path)
        try:
            if kind:
                values = opened.projection(kind)
                limits = tuple(np.percentile(values, [min(low, high), high]))
            else:
                values, limits = opened.frame(number), opened.limits(low, high)
        except LocalizationError as error:
            raise Refused(" ".join(str(error).split()), 415) from None
        return png(stretched(values, *limits, log=log))
