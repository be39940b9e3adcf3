"""A network as a reader: camera counts in, localizations out, in pieces of one shape where a frame is large."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import nets
from experiments.reading.pieces.tiles import Tile, window_side
from experiments.reading.pieces.tiles import tiles as cut
from experiments.reading.program import NetworkProgram
from localization import Localizations, concatenate, select
from training.decoders import ReadOut, Tiling


class NetworkReader:
    """A network with the way its frames are prepared, cut and read.

    `to_frames` turns counts (n, H, W) into what the network was trained on, photons mostly. `identity` names what
    decides the answers beside network and pieces.

    What a frame gives does not depend on how a movie came to it: all pieces of its size go through one compiled
    program of one shape, a batch that is not full is filled up, and frame k of those that are read together has place
    k modulo `batch` in its batch. Other sizes of batch or piece are other programs, whose sums may differ in their
    last bits.
    """

    def __init__(
        self,
        net: nets.NetConfig,
        variables: nets.Variables,
        to_frames: Callable[[NDArray], NDArray],
        tiling: Tiling,
        read_out: ReadOut,
        *,
        pixel_um: float,
        min_frame_px: int,
        identity: Mapping[str, Any],
        batch: int = 8,
        tile_px: int | None = None,
        description: str = "network",
    ) -> None:
        self.description, self.pixel_um, self.min_frame_px = description, pixel_um, min_frame_px
        self.context, self.batch = net.context, batch if tiling.batched else 1
        self._net, self._to_frames, self._tiling, self._read_out = net, to_frames, tiling, read_out
        self._program = NetworkProgram(net, variables, self.batch)
        self.group = self._program.group
        self._halo = tiling.halo_px
        self._side = window_side(tile_px or tiling.side_px, self._halo, tiling.step_px, asked=tile_px is not None)
        own = {"network": self._program.fingerprint, "tile_px": self._side}
        self.identity = {**identity, **own, **({"batch": batch} if tiling.batched else {})}

    def take_tally(self) -> Counter[str]:
        """Return nothing: a network counts nothing."""
        return Counter()

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (before + n + after, H, W), the n in the middle; frame numbers begin at `first_frame`."""
        c = self.context
        counts = counts[max(before - c, 0) : len(counts) - max(after - c, 0)]
        frames = self._to_frames(counts)
        if type(self._net).normalise is not nets.NetConfig.normalise:
            # one by one: a program of one shape; and whole, before they are cut
            frames = np.stack([np.asarray(self._net.normalise(jnp.asarray(frame))) for frame in frames])
        # beyond the ends of the movie its end frames go on, as in training
        frames = np.pad(frames, ((max(c - before, 0), max(c - after, 0)), (0, 0), (0, 0)), mode="edge")
        n = len(frames) - 2 * c
        groups = ((k, min(k + self.group, n)) for k in range(0, n, self.group))
        return concatenate([self._read_group(frames[a : b + 2 * c], first_frame + a, origin_px) for a, b in groups])

    def _read_group(self, frames: NDArray, first_frame: int, origin_px: tuple[int, int]) -> Localizations:
        t, c = self._tiling, self.context
        n, height, width = len(frames) - 2 * c, *frames.shape[1:]
        whole = [-(-side // t.step_px) * t.step_px for side in (height, width)]
        padded = np.full((self.group + 2 * c, *whole), t.fill, np.float32)
        padded[: len(frames), :height, :width] = frames
        if c:
            padded = np.stack([padded[k : self.group + k] for k in range(2 * c + 1)], axis=-1)
        # a frame that is small one way may be longer the other for the same memory
        longest = [self._side**2 // min(other, self._side) // t.step_px * t.step_px for other in reversed(whole)]
        windows = [cut(side, min(side, most), self._halo) for side, most in zip(whole, longest, strict=True)]
        together: Any = None
        found: list[Localizations] = []
        for rows in windows[0]:
            for columns in windows[1]:
                origin = (origin_px[0] + columns.window.start, origin_px[1] + rows.window.start)
                piece = self._program(padded[:, rows.window, columns.window], origin)
                if not t.together:
                    found.append(self._read_piece(np.asarray(piece)[:n], first_frame, rows, columns))
                    continue
                if together is None:
                    size = tuple(t.fine * side for side in whole)
                    together = jax.tree.map(
                        lambda leaf, size=size: np.empty((self.group, *size, *leaf.shape[3:]), leaf.dtype), piece
                    )
                jax.tree.map(partial(_place, t.fine, rows, columns), together, piece)
        if t.together:
            output = jax.tree.map(lambda leaf: leaf[:n, : t.fine * height, : t.fine * width], together)
            return self._read_out(output, first_frame=first_frame)
        locs = concatenate(found)
        return select(locs, np.argsort(locs.frame, kind="stable"))

    def _read_piece(self, output: Any, first_frame: int, rows: Tile, columns: Tile) -> Localizations:
        locs = self._read_out(output, first_frame=first_frame, core=(rows.core_in_window, columns.core_in_window))
        x_um, y_um = columns.window.start * self.pixel_um, rows.window.start * self.pixel_um
        return replace(locs, x_um=locs.x_um + x_um, y_um=locs.y_um + y_um)


def _place(fine: int, rows: Tile, columns: Tile, whole: NDArray, piece: jax.Array) -> None:
    """Copy the core of a piece's output to its place."""

    def on_output(part: slice) -> slice:
        return slice(fine * part.start, fine * part.stop)

    core = np.asarray(piece)[:, on_output(rows.core_in_window), on_output(columns.core_in_window)]
    whole[:, on_output(rows.core), on_output(columns.core)] = core
