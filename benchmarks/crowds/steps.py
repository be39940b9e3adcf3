"""One crowded frame explained step by step, as a picture: proposals, fits, what is left of the frame after each."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import localization
from crowds.reading import joint_reader, read
from crowds.scenes import DEPTHS_UM, SCOPE, camera, draw, spots_of
from experiments.report.plot_style import LEARNED_COLOURS, new_figure, styled
from localization import Localizations
from optics.fits.crowd import fit_crowd, make_crowd_model, make_frame, no_emitters
from optics.fits.crowd_search import add_emitters, make_bank, significance

MASK, COUNT, FRAME = "tetrapod", 18, 2
SLOTS, PER_ROUND, SHOWN_ROUNDS = 32, 8, (0, 1)
LIMIT = 5.0  # of residuals, in standard deviations
CIRCLE = {"facecolors": "none", "edgecolors": "white", "linewidths": 1.0}


@dataclass(frozen=True)
class Round:
    """A round of the search: the map of significance (H, W) that it looked at, residuals before it, what it added."""

    strength: NDArray
    residual: NDArray
    added_um: NDArray


def first_rounds(image: NDArray) -> tuple[list[Round], float]:
    """The first rounds of the search, each a look at the residual and a fit of everything; and the level asked for."""
    spots = spots_of(MASK)
    shape = (image.shape[0], image.shape[1])
    model, bank = make_crowd_model(spots.table, camera(), spots.pixel_um, shape), make_bank(spots.table, shape)
    frame = make_frame(camera(), jnp.asarray(image, dtype=float), jnp.ones(shape, bool))
    fit, rounds = jax.jit(fit_crowd), []
    fitted = fit(model, frame, no_emitters(model, frame, SLOTS))
    for _ in range(max(SHOWN_ROUNDS) + 1):
        strength = significance(model, bank, frame, fitted.mean)[0]
        before = np.asarray(fitted.crowd.present)
        crowd, *_ = add_emitters(model, bank, frame, fitted.crowd, fitted.mean, bank.level, PER_ROUND)
        fresh = np.asarray(crowd.present) & ~before
        residual = (image - np.asarray(fitted.mean)) / np.sqrt(np.asarray(fitted.mean))
        rounds.append(Round(np.asarray(strength), residual, np.asarray(crowd.xyz_um)[fresh]))
        fitted = fit(model, frame, crowd)
    return rounds, float(bank.level)


def expected(found: Localizations, image: NDArray) -> NDArray:
    """The mean (H, W) of a list that was read from a frame: its background everywhere is that of the fit there."""
    spots = spots_of(MASK)
    shape = (image.shape[0], image.shape[1])
    model = make_crowd_model(spots.table, camera(), spots.pixel_um, shape)
    frame = make_frame(camera(), jnp.asarray(image, dtype=float), jnp.ones(shape, bool))
    crowd, n = no_emitters(model, frame, SLOTS), found.frame.size
    crowd = _with(crowd, np.column_stack([found.x_um, found.y_um, found.z_um]), found.photons, n)
    return np.asarray(jax.jit(fit_crowd)(model, frame, crowd).mean)


def _with(crowd, xyz_um: NDArray, photons: NDArray, n: int):
    from optics.pytree import replace

    return replace(
        crowd,
        xyz_um=crowd.xyz_um.at[:n].set(jnp.asarray(xyz_um, crowd.xyz_um.dtype)),
        photons=crowd.photons.at[:n].set(jnp.asarray(photons, crowd.photons.dtype)),
        present=crowd.present.at[:n].set(True),
    )


def steps_figure():
    """Eight panels: the frame; two rounds of proposals and what was left between; the fit, its rest, its depths."""
    scenes = draw(MASK, COUNT, FRAME + 1)
    image = scenes.images[FRAME]
    truth = localization.select(scenes.truth, np.flatnonzero(scenes.truth.frame == FRAME))
    found = read(joint_reader(MASK), image[None]).found
    rounds, level = first_rounds(image)
    mean = expected(found, image)
    rest = (image - mean) / np.sqrt(mean)
    side = image.shape[0] * SCOPE.pixel_um
    extent = (0, side, side, 0)
    with styled():
        figure = new_figure(12.6, 6.3)
        panels = figure.subplots(2, 4)
        for axes in panels.ravel()[:6]:
            axes.grid(False)
            axes.set_xlabel("x (µm)")
            axes.set_ylabel("y (µm)")
        (one, two, three, four), (five, six, seven, eight) = panels

        bright = {"cmap": "gray", "extent": extent, "vmin": 0, "vmax": np.quantile(image, 0.998)}
        shown = one.imshow(image, **bright)
        figure.colorbar(shown, ax=one, label="photons", shrink=0.8)
        one.set_title(f"1  The frame: {COUNT} emitters over {DEPTHS_UM[1]:g} µm of depth")

        for axes, number, turn in ((two, 2, rounds[0]), (four, 4, rounds[1])):
            shown = axes.imshow(turn.strength, cmap="viridis", extent=extent, vmin=0)
            figure.colorbar(shown, ax=axes, label="significance (σ)", shrink=0.8)
            axes.scatter(*turn.added_um[:, :2].T, s=40, marker="x", color=LEARNED_COLOURS[0], linewidths=1.4)
            axes.set_title(f"{number}  Is there one more? {len(turn.added_um)} peaks above {level:.1f} σ")

        left = {"cmap": "PuOr", "extent": extent, "vmin": -LIMIT, "vmax": LIMIT}
        shown = three.imshow(rounds[1].residual, **left)
        figure.colorbar(shown, ax=three, label="residual (σ)", shrink=0.8)
        three.scatter(*rounds[0].added_um[:, :2].T, s=40, marker="x", color="black", linewidths=1.2)
        three.set_title(f"3  What {len(rounds[0].added_um)} of them, fitted, leave")

        shown = five.imshow(mean, **bright)
        depth = {"cmap": "cividis", "vmin": DEPTHS_UM[0], "vmax": DEPTHS_UM[1]}
        marks = five.scatter(found.x_um, found.y_um, c=found.z_um, s=16, **depth)
        five.scatter(truth.x_um, truth.y_um, s=60, **CIRCLE)
        figure.colorbar(marks, ax=five, label="depth (µm)", shrink=0.8)
        five.set_title(f"5  The fit: {found.frame.size} emitters; circles: truth")
        five.set_xlim(0, side)
        five.set_ylim(side, 0)

        shown = six.imshow(rest, **left)
        figure.colorbar(shown, ax=six, label="residual (σ)", shrink=0.8)
        six.set_title("6  What it leaves: noise")

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
        score = localization.score(_in_frame(found, 0), _in_frame(truth, 0))
        eight.set_title(f"8  In depth: RMSE {1e3 * score.rmse_xy_um:.0f} nm lateral, {1e3 * score.rmse_z_um:.0f} axial")
    return figure


def _in_frame(locs: Localizations, number: int) -> Localizations:
    from dataclasses import replace

    return replace(locs, frame=np.full(locs.frame.size, number))
