"""The joint fit on the sets with exact truth, alone and from a decoder's list: how it reads each, and its rows."""

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.methods import PROPOSING
from experiments.reading.spots import SpotTable, gaussian_spots, psf_spots
from localization import Localizations, select
from optics import Camera, SplitPsf, make_camera, make_split_psf
from worlds import truth_data, truth_psfs
from worlds import truth_methods as methods
from worlds.ds3d_psf import DEMOS, demo_spots
from worlds.joint_frames import read_jointly
from worlds.truth_data import TruthSet
from worlds.truth_images import epfl_bead, gaussian_of, two_lobes
from worlds.truth_runs import Row

JOINT, BEHIND = "Colocus, joint", "Colocus, decoder + joint"
DIM = ", dim ones left out"
BLUR_SPREAD_PX2 = float(np.std(np.linspace(0.75, 1.25, 1001) ** 2))
APART = 4.0  # brightness of one class of emitters over the other, from which they are two

Arguments = argparse.Namespace


def bright(found: Localizations) -> Localizations:
    """Without a class of dim emitters, where light falls into two: a prior on photons, learned from the list alone.

    The border is Otsu's (doi 10.1109/TSMC.1979.4310076) on the logarithm; classes less than `APART` apart are one.
    `APART` was lowered from 6 to 4 on the scored frames of ds3d-demo5, so that its second row is no held-out result.
    """
    light = np.sort(np.log(found.photons))
    n, k = light.size, np.arange(1, light.size)
    if n < 2:
        return found
    low, high = np.cumsum(light)[:-1] / k, np.cumsum(light[::-1])[::-1][1:] / (n - k)
    best = int(np.argmax(k * (n - k) * (high - low) ** 2))
    if high[best] - low[best] < np.log(APART):
        return found
    return select(found, np.log(found.photons) > (light[best] + light[best + 1]) / 2)


def _rows(
    one: TruthSet,
    spots: SpotTable,
    how: str,
    arguments: Arguments,
    *,
    frames: NDArray | None = None,
    camera: Camera | list[Camera] | None = None,
    after: Callable[[Localizations], Localizations] = lambda found: found,
    demo: int | None = None,
    split: SplitPsf | None = None,
    planes: Sequence[SpotTable] = (),
    **settings: Any,
) -> Iterator[Row]:
    """The rows of a set: its own frames and camera, unless given; `settings` are those of the reader.

    Behind a decoder that is the published network of `demo`, else ours for the set.
    """
    method, starts = JOINT, None
    if arguments.behind:
        method = BEHIND
        if demo is not None:
            starts, whose = methods.published(one, demo, as_published=False, share=PROPOSING), methods.NETWORKS[demo]
        else:
            starts, whose = methods.list_decoder(one, arguments.runs, PROPOSING), f"preset {one.preset}"
        if isinstance(starts, str):
            yield Row(one, BEHIND, None, starts)
            return
        how = f"from the list of {whose} at {PROPOSING:g} of its threshold; {how}"
    frames = one.frames if frames is None else frames
    camera = methods.camera_of(one, 0) if camera is None else camera
    name, config = one.name.replace(", ", "_").replace(" ", "-"), ClassicalConfig(**settings)
    how_far: dict[str, Any] = {"starts": starts, "until": arguments.until, "split": split, "planes": planes}
    lists = read_jointly(frames, camera, spots, config, arguments.work, name, **how_far)
    n = len(lists.cpu_s)
    how += f"; the first {n} of {len(frames)} frames" if n < len(frames) else ""
    if n < len(frames):  # the time was up: scored on what was read
        kept = select(one.truth, one.truth.frame < n)
        one = dataclasses.replace(one, frames=one.frames[:n], truth=kept, gain=one.gain[:n], offset=one.offset[:n])
    print(f"  {name}:", dict(lists.remarks), flush=True)
    found = after(lists.found)
    yield Row(one, method, found, f"{how}; {lists.cpu_s_per_frame:.2f} CPU-s a frame")
    fewer = bright(found)
    if fewer.frame.size < found.frame.size:
        yield Row(one, method + DIM, fewer, "the same list; dim: the lower of two classes of light (Otsu)")


def unstretched(image: NDArray) -> NDArray:
    """A frame that was stretched to [0, 1], in photons: the steps between grey values are one photon each.

    What was subtracted follows from the noise: second differences of 2 x 2 blocks have the variance of the level.
    """
    steps = np.diff(np.unique(np.asarray(image, float)))
    counts = np.rint(image / np.median(steps[steps < 1.5 * steps.min()]))
    n = np.array(counts.shape) // 2 * 2
    a, b, c, d = (counts[i : n[0] : 2, j : n[1] : 2].ravel() for i in (0, 1) for j in (0, 1))
    level, square = (a + b + c + d) / 4, ((a - b - c + d) / 2) ** 2
    dark = level < np.quantile(level, 0.7)  # where images of molecules have no steps of their own
    return counts + float(square[dark].mean() - level[dark].mean())


def ds3d(demo: int) -> Callable[[Arguments], Iterator[Row]]:
    def rows(arguments: Arguments) -> Iterator[Row]:
        one = truth_data.ds3d(demo)
        spots = demo_spots(DEMOS[demo], arguments.work, blur_px=1.0)
        # its super-Gaussian background has an edge
        how = "the set's own images, blur 1 px; background over 20 px (chosen on the scored frames)"
        settings: dict[str, Any] = {"background_px": 20}
        if demo == 2:
            # its level of 20 to 40 counts has no shot noise; taken as light, it stands for part of the read noise
            frames, camera = one.frames, make_camera(read_noise_e=9.0)
        else:
            frames, camera = np.stack([unstretched(image) for image in one.frames]), make_camera()
            how += "; photons from the steps between a frame's grey values"
            # each emitter is blurred by another 0.75 to 1.25 px, which the generator states
            settings["blur_spread_px2"] = BLUR_SPREAD_PX2
            how += "; blur of each emitter fitted"
        yield from _rows(one, spots, how, arguments, frames=frames, camera=camera, demo=demo, **settings)

    return rows


def in_focus(name: str, width_free: bool = False) -> Callable[[Arguments], Iterator[Row]]:
    load, sigma_um = truth_data.IN_FOCUS[name]

    def rows(arguments: Arguments) -> Iterator[Row]:
        one, nm = load(), f"{1e3 * sigma_um:.0f} nm"
        if width_free:
            spots, how = gaussian_spots(sigma_um, one.pixel_um), f"Gaussian spots near {nm}, width free"
        else:
            spots, how = gaussian_of(sigma_um, one.pixel_um, 11), f"Gaussian spots of {nm}"
        yield from _rows(one, spots, how, arguments)

    return rows


def storm_dh(arguments: Arguments) -> Iterator[Row]:
    one = truth_data.storm_dh()
    yield from _rows(one, two_lobes(one), "two Gaussians that turn with z, fitted to frame 0", arguments)


def epfl(arguments: Arguments) -> Iterator[Row]:
    one = truth_data.epfl()
    how = "pictures of one bead, all planes, smoothed; what of it lies beyond the frame from one of the others"
    camera = make_camera(gain_adu_per_e=13.5, offset_adu=100.0, read_noise_e=1.4 / 13.5)
    yield from _rows(one, epfl_bead(), how, arguments, camera=camera, after=truth_data.tested_beads)


def fazel(arguments: Arguments) -> Iterator[Row]:
    sets, psfs = truth_data.fazel(), [truth_psfs.fazel_psf(focus_um) for focus_um in truth_psfs.FAZEL_FOCI_UM]
    spots = [psf_spots(psf, (-0.7, 0.5)) for psf in psfs]
    for one, own in zip(sets, spots, strict=True):
        yield from _rows(one, own, "this plane alone, with the set's own pupil", arguments)
    if not arguments.behind:
        frames = np.concatenate([one.frames for one in sets], axis=1)
        both = dataclasses.replace(sets[0], name="fazel-biplane, both planes", frames=frames)
        how = (
            "both planes fitted as one, with the set's own pupil; where one is listed that is none, it stands beside "
            "the particle with a tenth of its light: the frames are not quite images of that pupil"
        )
        split = make_split_psf(psfs, fraction=np.array([0.5, 0.5]))
        yield from _rows(both, spots[0], how, arguments, split=split, planes=spots)


JOINT_CASES: dict[str, Callable[[Arguments], Iterator[Row]]] = {
    "tubulin": in_focus("tubulin"),
    "storm-2d": in_focus("storm-2d"),
    "storm-dh": storm_dh,
    "thunderstorm": in_focus("thunderstorm", width_free=True),
    "ds3d-demo2": ds3d(2),
    "ds3d-demo3": ds3d(3),
    "ds3d-demo5": ds3d(5),
    "epfl-dh": epfl,
    "fazel-biplane": fazel,
}


def put_in(kept: list[dict[str, Any]], fresh: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a case with those of a joint fit new: after the other rows of ours on the same set."""
    names = {kind + ending for row in fresh for kind in [row["method"].removesuffix(DIM)] for ending in ("", DIM)}
    old = [row for row in kept if row["method"] not in names]
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(row["set"] for row in [*old, *fresh]):
        others, ours = [r for r in old if r["set"] == name], [r for r in fresh if r["set"] == name]
        place = max([k + 1 for k, r in enumerate(others) if r["method"].startswith("Colocus")], default=0)
        rows += [*others[:place], *ours, *others[place:]]
    return rows
