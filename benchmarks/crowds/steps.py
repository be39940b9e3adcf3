"""One crowded frame explained step by step, as a picture: proposals, fits, what is left of the frame after each."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import localization
from crowds.scenes import DEPTHS_UM, SCOPE, camera, draw, spots_of
from experiments.report.plot_style import LEARNED_COLOURS, new_figure, styled
from localization import make_localizations
from optics.fits.crowd import make_crowd_model, make_frame
from optics.fits.crowd_search import make_bank, propose, significance
from optics.fits.explain import Found, search_frames
from optics.fits.rounds import Search

MASK, COUNT, FRAME = "tetrapod", 18, 2
WAIT = 0.3  # of a round's strongest candidate: the search lets weaker ones wait
LIMIT = 5.0  # of residuals, in standard deviations
BAR: dict[str, Any] = {"fraction": 0.046, "pad": 0.03}  # as high as its panel
CIRCLE: dict[str, Any] = {"facecolors": "none", "edgecolors": "white", "linewidths": 1.0}


@dataclass(frozen=True)
class Round:
    """What a round of the search looks at, (H, W): the significance of one more emitter, the residual so far in
    standard deviations; and the places (n, 3) that it adds."""

    strength: NDArray
    residual: NDArray
    added_um: NDArray


def explain(image: NDArray) -> tuple[list[Round], Found, float]:
    """The first two rounds of the search in an image, all that was found in the end, and the level of significance."""
    spots = spots_of(MASK)
    shape = (image.shape[0], image.shape[1])
    model, bank = make_crowd_model(spots.table, camera(), spots.pixel_um, shape), make_bank(spots.table, shape)
    frame = make_frame(camera(), jnp.asarray(image, dtype=float), jnp.ones(shape, bool))
    only = jax.tree.map(lambda leaf: leaf[None], frame)
    rounds, level, (height, width) = [], 0.0, shape
    for number in range(2):
        before = search_frames(model, bank, only, search=Search(rounds=number, shakes=0))[0]
        mean, level_of, spread = (jnp.asarray(part) for part in (before.mean, before.crowd.level, before.crowd.spread))
        candidates = propose(model, bank, frame, mean, level_of, spread)
        strength = np.asarray(significance(model, bank, frame, mean, level_of, spread)[0])
        taken = np.asarray(candidates.strength) > WAIT * float(candidates.strength[0])
        added = np.asarray(candidates.xyz_um)[taken][: Search().per_round]
        inside = strength[bank.margin : bank.margin + height, bank.margin : bank.margin + width]
        rounds.append(Round(inside, _in_sigma(image, mean), added))
        level = float(candidates.level)
    return rounds, search_frames(model, bank, only)[0], level


def _in_sigma(image: NDArray, mean: NDArray | jax.Array) -> NDArray:
    """Counted photons less their mean, over the root of their variance."""
    mean = np.asarray(mean, float)
    return (image - mean) / np.sqrt(mean)


def steps_figure():
    """Eight panels: the frame; two rounds of proposals and what was left between; the fit, its rest, its depths."""
    scenes = draw(MASK, COUNT, FRAME + 1)
    image = scenes.images[FRAME]
    truth = localization.select(scenes.truth, np.flatnonzero(scenes.truth.frame == FRAME))
    rounds, explained, level = explain(image)
    x, y, z = np.asarray(explained.crowd.xyz_um, float).T
    found = make_localizations(np.full(len(x), FRAME), x, y, z)
    rest = _in_sigma(image, explained.mean)
    side = image.shape[0] * SCOPE.pixel_um
    extent = (0, side, side, 0)
    with styled():
        figure = new_figure(13.4, 6.2)
        panels = figure.subplots(2, 4)
        for axes in panels.ravel()[:6]:
            axes.grid(False)
            axes.set_xlabel("x (µm)")
            axes.set_ylabel("y (µm)")
        (one, two, three, four), (five, six, seven, eight) = panels

        for axes in (seven, eight):
            axes.set_box_aspect(1)

        bright = {"cmap": "gray", "extent": extent, "vmin": 0, "vmax": float(np.quantile(image, 0.998))}
        shown = one.imshow(image, **bright)
        figure.colorbar(shown, ax=one, label="photons", **BAR)
        one.set_title(f"1  The frame: {COUNT} emitters, {DEPTHS_UM[1]:g} µm deep")

        for axes, number, turn in ((two, 2, rounds[0]), (four, 4, rounds[1])):
            shown = axes.imshow(turn.strength, cmap="viridis", extent=extent, vmin=0)
            figure.colorbar(shown, ax=axes, label="significance (σ)", **BAR)
            axes.scatter(*turn.added_um[:, :2].T, s=40, marker="x", color=LEARNED_COLOURS[0], linewidths=1.4)
            axes.set_title(f"{number}  One more? {len(turn.added_um)} of the peaks above {level:.1f} σ")

        left = {"cmap": "PuOr", "extent": extent, "vmin": -LIMIT, "vmax": LIMIT}
        shown = three.imshow(rounds[1].residual, **left)
        figure.colorbar(shown, ax=three, label="residual (σ)", **BAR)
        three.scatter(*rounds[0].added_um[:, :2].T, s=40, marker="x", color="black", linewidths=1.2)
        three.set_title(f"3  The {len(rounds[0].added_um)}, fitted: what they leave")

        shown = five.imshow(explained.mean, **bright)
        depth = {"cmap": "cividis", "vmin": DEPTHS_UM[0], "vmax": DEPTHS_UM[1]}
        marks = five.scatter(found.x_um, found.y_um, c=found.z_um, s=16, **depth)
        five.scatter(truth.x_um, truth.y_um, s=60, **CIRCLE)
        figure.colorbar(marks, ax=five, label="depth (µm)", **BAR)
        five.set_title(f"5  At the end: {found.frame.size} (circles: truth)")
        for axes in (two, three, four, five):  # candidates may lie beyond the frame
            axes.set_xlim(0, side)
            axes.set_ylim(side, 0)

        shown = six.imshow(rest, **left)
        figure.colorbar(shown, ax=six, label="residual (σ)", **BAR)
        six.set_title("6  What they leave: noise")

        edges = np.linspace(-LIMIT, LIMIT, 41)
        seven.hist(rest.ravel(), edges, density=True, color="0.75", label=f"pixels: rms {rest.std():.3f} σ")
        seven.plot(edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), color=LEARNED_COLOURS[0], label="normal law")
        seven.set_xlabel("residual (σ)")
        seven.set_ylabel("share per σ")
        seven.set_ylim(0, 0.55)
        seven.legend(fontsize=7, loc="upper center")
        seven.set_title("7  The rest against noise")

        eight.scatter(truth.x_um, truth.z_um, s=60, facecolors="none", edgecolors="black", label="truth")
        eight.scatter(found.x_um, found.z_um, c=found.z_um, s=16, **depth)
        eight.set_xlabel("x (µm)")
        eight.set_ylabel("depth z (µm)")
        eight.set_xlim(0, side)
        eight.set_ylim(*DEPTHS_UM)
        score = localization.score(found, truth)
        eight.set_title(f"8  Off by {1e3 * score.rmse_xy_um:.0f} nm laterally, {1e3 * score.rmse_z_um:.0f} axially")
    return figure
