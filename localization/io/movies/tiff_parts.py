"""What each file of a TIFF movie holds, and whether something is missing from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import Axis
from localization.io.movies.imagej import imagej_axes, shaped_axes
from localization.io.movies.source import CUT_REMEDY
from localization.io.movies.tiff import TiffStack
from localization.types import LocalizationError


@dataclass
class Part:
    """The frames of one file: pages of their own, or one header for `n_frames` that lie back to back."""

    stack: TiffStack
    n_frames: int
    contiguous_at: int | None = None

    def read(self, k: int, rows: slice, columns: slice, out: NDArray) -> None:
        """Read a part of frame k of this file into `out`."""
        if self.contiguous_at is None:
            self.stack.read(k, rows, columns, out)
        else:
            self.stack.read_at(self.contiguous_at + k * self.stack.frame_bytes, rows, columns, out)


def described_axes(stack: TiffStack) -> tuple[list[Axis], int]:
    """Read the axes, slowest first, and how many frames ImageJ's or tifffile's description announces (0: not said)."""
    text = stack.description
    if stack.tif.is_imagej and text.startswith("ImageJ="):
        return imagej_axes(text)
    if text.startswith("{") and stack.tif.is_shaped:
        return shaped_axes(text)
    return [], 0


def part_of(stack: TiffStack, *, alone: bool) -> tuple[Part, int]:
    """Find the frames of a file, and how many its description announces (0 where it says nothing)."""
    announced = described_axes(stack)[1] if alone else 0
    if stack.n_pages > 1 or announced <= 1 and not (stack.tif.is_stk or stack.tif.is_lsm):
        # a program that appends frame by frame describes its first write alone
        return Part(stack, stack.n_pages), announced if announced > stack.n_pages else 0
    if stack.tif.is_stk or stack.tif.is_lsm:
        announced = int(np.prod(stack.tif.series[0].shape)) // int(np.prod(stack.shape))
    page = stack.first
    if not page.is_contiguous or page.compression != 1:
        return Part(stack, stack.n_pages), announced
    held = (stack.size - page.dataoffsets[0]) // stack.frame_bytes
    return Part(stack, min(announced, held), page.dataoffsets[0]), announced


def parts_of(
    stacks: Sequence[TiffStack], *, described: bool, placed: bool, allow_cut: bool, notes: list[str]
) -> tuple[list[Part], bool]:
    """Find what each file holds, and whether something is missing from one of them.

    `described`: an OME description counts the frames; `placed`: it also says which of them each file holds.
    """
    parts, any_cut = [], False
    for stack in stacks:
        part, announced = part_of(stack, alone=not described)
        for k in stack.probes() if part.contiguous_at is None else ():
            stack.check_alike(k)
        whole = part.n_frames
        while part.n_frames and not (part.contiguous_at is not None or stack.complete(part.n_frames - 1)):
            part.n_frames -= 1
        if stack.cut or part.n_frames < max(whole, announced):
            any_cut = True
            _cut(stack, part.n_frames, announced, allow_cut, notes)
        elif part.contiguous_at is None and (not described or part.n_frames == len(stacks) == 1) and _goes_on(stack):
            notes.append(
                f"{stack.path.name} goes on behind its {part.n_frames} frames: a header may be lost, and frames with it"
            )
        parts.append(part)
        rest = stacks[len(parts) :]
        if any_cut and rest and not placed:
            # nothing says which frames the files behind the gap hold
            notes.append(
                f"what follows {stack.path.name} is left out ({len(rest)} of the files): "
                "its frames have lost their numbers"
            )
            close_all(rest)
            break
    if not any(part.n_frames for part in parts):
        raise LocalizationError(f"{stacks[0].path}: truncated, not one whole frame is there; copy it again")
    return [part for part in parts if part.n_frames], any_cut


def _goes_on(stack: TiffStack) -> bool:
    """Tell whether a file that does not say how many frames it has may have more than its headers lead to."""
    return not stack.tif.is_micromanager and stack.may_hold_more()  # Micro-Manager's own index stands at the end


def _cut(stack: TiffStack, n_frames: int, announced: int, allow_cut: bool, notes: list[str]) -> None:
    if not allow_cut:
        said = (
            f"it announces {announced} frames and holds {n_frames}"
            if announced
            else f"it ends after frame {n_frames - 1}"
        )
        raise LocalizationError(f"{stack.path}: truncated, {said}; {CUT_REMEDY}")
    notes.append(f"{stack.path.name} is cut off: its first {n_frames} frames are read")


def close_all(stacks: Sequence[TiffStack]) -> None:
    """Close every file."""
    for stack in stacks:
        stack.close()
