"""A reader without a network, for tests of what is around readers; workers of other processes import it from here."""

import time
from collections import Counter

import numpy as np

from localization import make_localizations


class Brightest:
    """A reader without a network: the brightest pixel of each frame, and how the neighbours in time compare."""

    min_frame_px, description, pixel_um, group, batch, context = 4, "brightest pixel", 0.1, 3, 3, 1

    def __init__(self, threshold=0.0, pause_s=0.0):
        self.identity = {"threshold": threshold}
        self.pause_s, self.seen = pause_s, Counter()

    def take_tally(self):
        taken, self.seen = self.seen, Counter()
        return taken

    def read(self, counts, first_frame, before=0, after=0, origin_px=(0, 0)):
        time.sleep(self.pause_s)
        n = len(counts) - before - after
        self.seen["frames looked at"] += n
        whole = counts.reshape(len(counts), -1)
        row, column = np.divmod(whole.argmax(axis=1), counts.shape[2])
        mean = whole.mean(axis=1)
        neighbours = [mean[max(k - 1, 0) : k + 2].sum() for k in range(before, before + n)]
        here = slice(before, before + n)
        return make_localizations(
            first_frame + np.arange(n), (column[here] + 1 / 3) * 0.1, (row[here] + 1 / 3) * 0.1, np.zeros(n),
            photons=neighbours,
        )  # fmt: skip
