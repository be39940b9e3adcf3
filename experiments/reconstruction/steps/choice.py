"""The sixth step: which method reads the frames, and why."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.reading.autods.choosing import FITS, NETWORKS, ReaderMap, load_map
from experiments.reconstruction.finding import Finding
from experiments.reconstruction.methods import AUTO, METHODS, PATCHWISE, Known
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps.crowd import Crowd
from experiments.report.plot_style import Figure, new_figure, styled
from training import ConfigError

COLOURS = dict(zip((*FITS, *NETWORKS), ("#0072B2", "#56B4E9", "#009E73", "#F0E442", "#E69F00", "#D55E00"), strict=True))


@dataclass(frozen=True)
class Choice(Finding):
    """The method that reads the frames, and the sentence that says why.

    `patch_readers` is what the measured map calls best for each patch, "" where nothing is seen.
    """

    method: str = ""
    why: str = ""
    patch_readers: tuple[tuple[str, ...], ...] = ()
    shown: Any = None

    def lines(self) -> list[str]:
        """Say the choice and the other methods there are."""
        others = ", ".join(name for name in METHODS if name != self.method)
        return [f"{self.method}: {METHODS[self.method].title}", f"why: {self.why}", f"others: {others}"]

    def figure(self) -> Figure | None:
        """Draw the map of readers with the movie's patches on it, and the patches where they lie."""
        if self.shown is None:
            return None
        readers, density, snr = self.shown
        with styled():
            drawn = new_figure(6.4, 2.8)
            left, right = drawn.subplots(1, 2)
            draw_map(left, readers)
            there = np.asarray(density) > 0
            left.plot(np.asarray(density)[there], np.asarray(snr)[there], "o", color="black", ms=3, mfc="none")
            left.set_title("best reader, and this movie's patches")
            image = [[_rgb(COLOURS.get(name, "#FFFFFF")) for name in row] for row in self.patch_readers]
            right.imshow(np.array(image), interpolation="nearest")
            right.set_xticks([])
            right.set_yticks([])
            right.set_title("reader of each patch")
        return drawn


def draw_map(axes: Any, readers: ReaderMap) -> None:
    """Colour each density and ratio by its best reader."""
    density = np.geomspace(readers.density_per_um2[0], readers.density_per_um2[-1], 60)
    snr = np.linspace(readers.snr[0], readers.snr[-1], 40)
    names = [[readers.choose(float(d), float(s)) for d in density] for s in snr]
    axes.pcolormesh(density, snr, np.array([[_rgb(COLOURS[name]) for name in row] for row in names]))
    axes.set_xscale("log")
    axes.set_xlabel("molecules per µm² and frame")
    axes.set_ylabel("signal over noise")
    for name in dict.fromkeys(name for row in names for name in row):
        axes.plot([], [], "s", color=COLOURS[name], label=name)
    axes.legend(fontsize=6, loc="upper left")


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))


def choose_reader(plan: Plan, crowd: Crowd, known: Known) -> Choice:
    """Choose how the frames are read: what the plan names, else what was measured to be best for patches like these.

    In focus that is the map of `experiments.reading.autods.choosing`. In depth fits read: of single molecules, and
    joint ones where they touch, which give what joint fits give. Raises `ConfigError` for a method that cannot be
    taken.
    """
    asked = plan.reader.method
    if asked != AUTO:
        if why_not := METHODS[asked].refused(known):
            raise ConfigError(f"reader.method = {asked!r} cannot be taken: {why_not}")
        return Choice(asked, "the plan says so")
    if known.species:
        why = f"each molecule is fitted as every one of {len(known.colours)} colours; those that touch, jointly"
        return Choice("classical", why)
    if known.model:
        return Choice("decoder+joint", f"a trained network is named ({known.model}); the joint fit decides what stays")
    if known.psf or not crowd.patch_snr:
        share = f"{100 * crowd.crowded_share:.0f} % of the windows hold molecules that touch"
        return Choice("classical", f"{share}: those are read jointly, the others by fits of single molecules")
    readers = load_map()
    names = tuple(
        tuple(readers.choose(d, s) if s > 0 else "" for d, s in zip(densities, ratios, strict=True))
        for densities, ratios in zip(crowd.patch_density_per_um2, crowd.patch_snr, strict=True)
    )
    count = Counter(name for row in names for name in row if name)
    said = ", ".join(f"{name} for {n}" for name, n in count.most_common()) or "fits"
    why = f"best at the density and signal of its patches: {said} of {count.total()}"
    method = (
        PATCHWISE if any(name in NETWORKS for name in count) else "joint" if set(count) == {"joint"} else "classical"
    )
    return Choice(method, why, names, (readers, crowd.patch_density_per_um2, crowd.patch_snr))
