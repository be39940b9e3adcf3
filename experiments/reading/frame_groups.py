"""What readers share that look at one frame at a time, some frames to a call of the network."""

from collections import Counter

from numpy.typing import NDArray

from localization import Localizations, concatenate


class FrameGroups:
    """A reader without context; `_read_group` localizes at most `group` frames, the network's batch."""

    context = 0
    group: int

    def take_tally(self) -> Counter[str]:
        """Nothing is counted."""
        return Counter()

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        counts = counts[before : len(counts) - after]
        groups = range(0, len(counts), self.group)
        return concatenate([self._read_group(counts[k : k + self.group], first_frame + k) for k in groups])

    def _read_group(self, counts: NDArray, first_frame: int) -> Localizations:
        raise NotImplementedError
