"""How long a retrieval takes, and Adam beside L-BFGS on the same loss from the same start.

Seconds run from the call of `retrieve_psf` in a fresh process, compilation included. The final correlation is the
mean over all slices at the end. A stage's misfit m on the slices it descends on is a correlation of sqrt(1 - m);
"search" is the first report at which that reaches 99 % of the final one, on the coarse pupil and 14 slices, and
"refined" the first such report on all slices and the fine pupil, which is what the target asks for.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from optics.retrieval.beads import sharpest_focus_um
from optics.retrieval.model import PACE, descend, misfit_loss, start_params
from optics.retrieval.retrieve import (
    SEARCH_SMOOTHNESS,
    as_slices,
    even_weights,
    mask_cells,
    retrieve_psf,
    template_psf,
    thinned,
)
from optics.retrieval.types import RetrievalSettings
from worlds.retrieval_simulated import simulated_stack

SHARE = 0.99
STEPS = 150


def speed() -> dict[str, Any]:
    made = simulated_stack(np.linspace(-2.75, 2.75, 56), 121, photons=50000.0, background=50.0)
    settings = RetrievalSettings()
    jax.clear_caches()
    result = retrieve_psf(made.stack, settings)
    final = float(result.beads[0].correlation.mean())

    def first(stages: tuple[str, ...]) -> float | None:
        reached = [h[2] for h in result.history if h[0] in stages and np.sqrt(max(0.0, 1 - h[3])) >= SHARE * final]
        return min(reached) if reached else None

    ends = {stage: [h[2] for h in result.history if h[0] == stage][-1] for stage in ("find", "twin", "refine")}
    return {
        "slices": 56,
        "crop_px": 121,
        "final_correlation_mean": final,
        "ceiling_mean": float(result.beads[0].ceiling.mean()),
        "seconds_to_99_percent": {"search": first(("find",)), "refined": first(("refine", "likelihood"))},
        "seconds_at_the_end_of_stages": ends,
        "seconds_in_all": result.seconds,
        "optimisers": optimisers(made.stack, settings),
    }


def optimisers(stack, settings: RetrievalSettings) -> dict[str, Any]:
    """The search for the basin, 14 slices on the coarse pupil, by Adam as shipped and by L-BFGS-B of SciPy.

    L-BFGS has every parameter in the units of Adam's pace, without which it goes nowhere. Seconds leave out
    compilation: each has run once before.
    """
    cells, scale = mask_cells(stack, settings), float(np.std(np.asarray(stack.images)))
    few = thinned(as_slices([stack], [even_weights(stack, scale)], [scale]), 14)
    coarse = template_psf([stack], settings, coarse=True)
    common = {"cells": cells, "radius_um": settings.bead_diameter_um / 2}
    start = start_params(1, cells, amplitude_modes=settings.amplitude_modes, blur_um=settings.blur_um, seed=0)
    start["focus_um"] = jnp.asarray([-sharpest_focus_um(stack)], jnp.float32)
    free = [name for name in start if name not in ("tilt", "step")]
    centre = jnp.mean(few.focus_um)

    def search(steps: int) -> list[tuple[float, float]]:
        begun, seen = time.perf_counter(), []
        descend(
            start, few, coarse, steps=steps, rate=0.15, batch=14, smoothness=SEARCH_SMOOTHNESS, seed=0,
            frozen=("tilt", "step"), show=lambda step, misfit: seen.append((time.perf_counter() - begun, misfit)),
            **common,
        )  # fmt: skip
        return seen

    def unpacked(flat):
        params, at = dict(start), 0
        for name in free:
            size = start[name].size
            params[name] = start[name] + PACE[name] * flat[at : at + size].reshape(start[name].shape)
            at += size
        return params

    size = sum(start[name].size for name in free)

    @jax.jit
    def slope(flat):
        def total(flat):
            return misfit_loss(unpacked(flat), few, coarse, centre, jnp.float32(SEARCH_SMOOTHNESS), **common)

        return jax.value_and_grad(total, has_aux=True)(flat)

    def climb(steps: int) -> list[tuple[float, float]]:
        begun, seen = time.perf_counter(), []

        def away(flat):
            (value, misfit), gradient = slope(jnp.asarray(flat, jnp.float32))
            seen.append((time.perf_counter() - begun, float(misfit)))
            return float(value), np.asarray(gradient, dtype=float)

        minimize(away, np.zeros(size), jac=True, method="L-BFGS-B",
                 options={"maxfun": steps, "maxiter": steps, "maxcor": 20})  # fmt: skip
        return seen

    search(4)
    climb(1)
    runs = {"adam": search(STEPS), "lbfgs": climb(STEPS)}
    best = min(misfit for run in runs.values() for _, misfit in run)
    level = 1 - (SHARE * np.sqrt(1 - best)) ** 2
    return {
        name: {
            "evaluations": STEPS if name == "adam" else len(run),
            "seconds": run[-1][0],
            "misfit_at_the_end": run[-1][1],
            "seconds_to_99_percent_of_the_better_correlation": next((s for s, m in run if m <= level), None),
        }
        for name, run in runs.items()
    }
