"""Cuts a large frame into overlapping pieces of one shape, each answering for its own core."""

from dataclasses import dataclass

from training import ConfigError


@dataclass(frozen=True)
class Tile:
    """Along one axis, in frame px: the `window` that is computed, and its `core`, whose answer is kept."""

    window: slice
    core: slice

    @property
    def core_in_window(self) -> slice:
        """The core, counted from the window's start."""
        return slice(self.core.start - self.window.start, self.core.stop - self.window.start)


def window_side(tile_px: int, halo_px: int, step_px: int, *, asked: bool) -> int:
    """Return a window's side: `tile_px` in whole steps, and enough for a core between two halos.

    Raises `ConfigError` where a side that was `asked` for leaves no core; otherwise it is made larger.

    >>> window_side(101, 20, 2, asked=True)
    100
    """
    side = tile_px // step_px * step_px
    least = 2 * halo_px + 8 * step_px
    if side >= least:
        return side
    if asked:
        raise ConfigError(f"tile_px = {tile_px} is too small for this model; give at least {least}")
    return least


def tiles(size_px: int, window_px: int, halo_px: int) -> list[Tile]:
    """Cut an axis into windows of `window_px` whose cores cover it once.

    A core keeps `halo_px` from its window's ends, except where the frame ends too. The start of every
    window is a multiple of any number that divides size, window and halo.

    >>> [(t.window.start, t.core.start, t.core.stop) for t in tiles(100, 60, 10)]
    [(0, 0, 50), (40, 50, 100)]
    """
    cut, position = [], 0
    while position < size_px:
        start = min(max(position - halo_px, 0), size_px - window_px)
        end = start + window_px
        stop = size_px if end == size_px else end - halo_px
        cut.append(Tile(slice(start, end), slice(position, stop)))
        position = stop
    return cut
