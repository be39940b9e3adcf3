"""Axes beside time, y and x: a channel or position is chosen by the user, or several are refused, in one wording."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localization.io.movies.source import MovieOptions
from localization.io.movies.store import StoreUrl
from localization.types import LocalizationError

_CHOSEN = ("channel", "position")
MOST_CHANNELS = 7  # of an ImageJ composite; scripts that name no axes save frames as channels


@dataclass(frozen=True)
class Axis:
    """An axis beside y and x: "channel", "position", "time", "z", or whatever a file calls it; `labels` are names.

    >>> Axis("channel", 2, ("GFP", "DAPI")).labels[0]
    'GFP'
    """

    name: str
    size: int
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """What is read: `index` gives the place on every channel and position axis, `along` names the axis of the frames.

    `along` is None where all other axes are of length 1: then there is one frame.
    """

    index: dict[str, int]
    along: str | None
    notes: tuple[str, ...]


def choose(path: Path | StoreUrl, axes: Sequence[Axis], options: MovieOptions) -> Chosen:
    """Choose channel and position, and the axis along which the movie runs.

    Raises LocalizationError where several are there and none is chosen, where a chosen one is not there, and where more
    than one other axis is longer than 1. Many channels without names in a file of one frame are taken for frames.

    >>> choose(Path("a.nd2"), [Axis("time", 9), Axis("channel", 2)], MovieOptions(channel=1))
    Chosen(index={'channel': 1}, along='time', notes=('channel 1 of 2 is read',))
    """
    index: dict[str, int] = {}
    notes: list[str] = []
    others = [axis for axis in axes if axis.name not in _CHOSEN and axis.size > 1]
    for name in _CHOSEN:
        axis = next((axis for axis in axes if axis.name == name), None)
        wanted = getattr(options, name)
        if axis is None or axis.size <= 1:
            axis = axis or Axis(name, 1)
            if wanted is not None:
                _place(path, axis, wanted)
            index[name] = 0
        elif wanted is None and name == "channel" and _are_frames(axis) and not others:
            others = [axis]
            notes.append(f"the file names its {axis.size} frames channels; channel=0 would be the first alone")
        elif wanted is None:
            raise LocalizationError(
                f"{path}: {axis.size} {name}s{_listed(axis)}; choose one with {name}=0 (--{name} 0)"
            )
        else:
            index[name] = _place(path, axis, wanted)
            label = f" ({axis.labels[index[name]]})" if axis.labels else ""
            notes.append(f"{name} {index[name]} of {axis.size}{label} is read")
    if len(others) > 1:
        sizes = ", ".join(f"{axis.name} {axis.size}" for axis in others)
        raise LocalizationError(f"{path}: frames along several axes ({sizes}); export one as (frame, y, x)")
    known = {axis.name for axis in axes}
    return Chosen(
        {name: k for name, k in index.items() if name in known}, others[0].name if others else None, tuple(notes)
    )


def _are_frames(axis: Axis) -> bool:
    return axis.size > MOST_CHANNELS and not axis.labels


def _place(path: Path | StoreUrl, axis: Axis, wanted: int | str) -> int:
    """Find a channel or position by its number, or by its name where text is given."""
    if isinstance(wanted, str):
        names = [label.casefold() for label in axis.labels]
        if wanted.casefold() in names:
            return names.index(wanted.casefold())
    number = int(wanted) if not isinstance(wanted, str) or wanted.isascii() and wanted.isdigit() else -1
    if not 0 <= number < axis.size:
        raise LocalizationError(
            f"{path}: no {axis.name} {wanted}, there {'is' if axis.size == 1 else 'are'} {axis.size}{_listed(axis)}; "
            f"{axis.name}s count from 0"
        )
    return number


def _listed(axis: Axis) -> str:
    if not axis.labels:
        return ""
    shown = ", ".join(axis.labels[:6])
    return f" ({shown}{', ...' if len(axis.labels) > 6 else ''})"


def places(axes: Sequence[Axis], chosen: Chosen) -> list[int]:
    """List where the chosen frames lie among all, for `axes` from the slowest to the fastest.

    >>> axes = [Axis("time", 3), Axis("channel", 2)]
    >>> places(axes, choose(Path("a.tif"), axes, MovieOptions(channel=1)))
    [1, 3, 5]
    """
    step, first, along, size = 1, 0, 0, 1
    for axis in reversed(axes):
        if axis.name == chosen.along:
            along, size = step, axis.size
        first += step * chosen.index.get(axis.name, 0)
        step *= axis.size
    return [first + k * along for k in range(size)]
