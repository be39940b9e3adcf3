"""A decoder proposes, the joint fit decides: its search begins at the decoder's list, and finds what that lacks."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from experiments.reading.joint import JointReader
from experiments.reading.pieces.pixels import countable
from experiments.reading.readers import Reader
from localization import Localizations


class DecoderJointReader:
    """Reads each frame jointly, from what a decoder's reader lists at a low threshold.

    A proposal that the likelihood of the frame does not need is taken out, whatever the decoder says of it, so the list
    has one false-alarm rate with and without a decoder; what it saves is rounds of the search.
    """

    def __init__(self, decoder: Reader, joint: JointReader) -> None:
        self.description, self.pixel_um = joint.description, joint.pixel_um
        self.group, self.batch, self.context = decoder.group, decoder.batch, decoder.context
        self.min_frame_px = max(decoder.min_frame_px, joint.min_frame_px)
        self._decoder, self._joint = decoder, joint
        self.identity = {**decoder.identity, "then": joint.identity}

    def take_tally(self) -> Counter[str]:
        """Return what both counted since the last time."""
        return self._decoder.take_tally() + self._joint.take_tally()

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (before + n + after, H, W), the n in the middle; frame numbers begin at `first_frame`."""
        # a network answers a pixel without a number with a list without any
        numbers = counts if np.isfinite(counts).all() else countable(counts).counts
        start = self._decoder.read(numbers, first_frame, before, after, origin_px)
        return self._joint.read(counts, first_frame, before, after, origin_px, start=start)
