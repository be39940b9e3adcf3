"""Phase masks by design: the mask whose Cramer-Rao bound is least over a depth range.

The idea is that of Shechtman et al. 2014 (doi 10.1103/PhysRevLett.113.133902): choose the pupil's phase, there the
first 55 Zernike modes, to minimise the mean bound of x, y and z. Here the bound is the marginal one (photons and
background unknown too), of a vectorial model, and may be that of an emitter among neighbours.

Searches run on the host around one compiled value and gradient. L-BFGS serves bounds that are exact; where random
scenes make the bound noisy, Adam draws new ones every step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from optics import adam
from optics.design.focus import NO_BOUND, at_full_sampling
from optics.design.target import DesignTarget, objective_um
from optics.masks.library import zernike
from optics.masks.limits import MaskLimits, check_limits, roughness, round_to_levels, shrink_factor, violation
from optics.masks.params import MaskParametrisation
from optics.progress import Event, Report, silent
from optics.pytree import pytree, replace, static
from optics.types import OpticsError, PhaseMask, Psf
from optics.zernike import osa_to_nm

# Pupil samples of a search are those of a stamp so much wider: what a trial mask sends beyond the stamp must not
# fold back into it.
_ROOM = 1.3
_FOCUS_UNIT_UM = 0.3  # a step of 1 in the search: about as much phase as a radian of defocus
_PENALTIES = (1.0, 30.0, 1e3, 3e4)
_NEAR_ENOUGH = 0.99  # of the limits; the rest is done by shrinking


@dataclass(frozen=True)
class Start:
    """One start of a search: what it began from, and the objective (um) of every evaluation."""

    label: str
    history_um: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Design:
    """What a search found: `psf` with mask and focus in place, at the samplings that `make_psf` would choose.

    `params` are the family's (of the path before levels are rounded), `objective_um` the objective at those
    samplings, with the scenes of the search's own key. `screened` holds (label, mask) of every start after the
    screening, without levels: starts for another search. `finished` is False after an interruption.
    """

    psf: Psf
    mask: PhaseMask
    params: jax.Array
    objective_um: float
    starts: tuple[Start, ...]
    screened: tuple[tuple[str, PhaseMask], ...]
    best_start: str
    finished: bool


def random_start(key: jax.Array, family: MaskParametrisation, spread_rad: float = 0.3) -> jax.Array:
    """Parameters of a random smooth mask: the 18 Zernike modes from (2, -2) on, each of `spread_rad` rms.

    >>> from optics.masks.params import ZernikePhase
    >>> random_start(jax.random.key(0), ZernikePhase(n_modes=21, size=32)).shape
    (21,)
    """
    amplitudes_rad = spread_rad * np.asarray(jax.random.normal(key, (18,)))
    wavelength_um = float(family.to_mask(jnp.zeros(family.params_shape())).design_wavelength_um)
    modes = [(*osa_to_nm(j), float(a) * wavelength_um / (2 * np.pi)) for j, a in enumerate(amplitudes_rad, 3)]
    return family.project(zernike(modes, design_wavelength_um=wavelength_um, size=96))


def design_mask(
    key: jax.Array,
    psf: Psf,
    family: MaskParametrisation,
    target: DesignTarget,
    *,
    starts: int = 4,
    start_masks: Sequence[tuple[str, PhaseMask]] = (),
    spread_rad: float = 0.3,
    screening: int = 30,
    iterations: int = 150,
    free_focus: bool = True,
    smoothness: float = 0.0,
    limits: MaskLimits | None = None,
    optimiser: Literal["auto", "lbfgs", "adam"] = "auto",
    learning_rate_rad: float = 0.05,
    report: Report = silent,
) -> Design:
    """Search the mask of `family` (see `optics.masks.FAMILIES`) with the least objective. A host function.

    `starts` random masks and the `start_masks` (label, mask) are each followed for `screening` iterations, the best
    for `iterations` more. `psf` gives the optics; its own mask is not used. `free_focus` lets `focus_um` move by up
    to half the depth range. `smoothness` weighs `optics.masks.limits.roughness` against the log of the objective.
    `limits` hold exactly (steps: before levels are rounded): a penalty grows until they nearly do, then the path
    shrinks by the rest. "auto" takes L-BFGS, or Adam among neighbours. `report` gets an `Event` for each evaluation,
    with "start" and "objective_um". Ctrl-C ends the search with what it has. Raises `OpticsError` for settings that
    make no sense, and where no start has a bound.

    >>> from optics import make_microscope, make_psf
    >>> from optics.design.target import make_target
    >>> from optics.masks.params import ZernikePhase
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, image_px=9, pixel="centre", kind="scalar")
    >>> family = ZernikePhase(n_modes=6, size=16)
    >>> target = make_target((-0.3, 0.3), photons=1e3, background=5.0, n_depths=2)
    >>> design = design_mask(jax.random.key(0), psf, family, target, starts=1, screening=1, iterations=2)
    >>> design.objective_um < design.starts[0].history_um[0]
    True
    """
    limits = MaskLimits() if limits is None else limits
    check_limits(limits, family.wrapped)
    if family.wrapped and smoothness:
        raise OpticsError("smoothness means nothing for a wrapped mask; design an unwrapped one")
    _check_search(starts + len(start_masks), screening, iterations, smoothness, learning_rate_rad, optimiser)
    if optimiser == "auto":
        optimiser = "lbfgs" if target.neighbours is None else "adam"
    key_starts, key_search = jax.random.split(key)
    begin = [
        (f"random {i + 1}", random_start(k, family, spread_rad))
        for i, k in enumerate(jax.random.split(key_starts, max(starts, 1))[:starts])
    ] + [(label, family.project(mask)) for label, mask in start_masks]
    z_range_um = (float(target.z_range_um[0]), float(target.z_range_um[1]))
    reach_um = (z_range_um[1] - z_range_um[0]) / 2 if free_focus else 0.0
    search = _Search(
        _Problem(
            psf=at_full_sampling(replace(psf, mask=None), z_range_um, room=_ROOM, focus_um=reach_um),
            family=family,
            target=target,
            limits=replace(limits, level_um=None),
            smoothness=jnp.asarray(smoothness, dtype=float),
            free_focus=free_focus,
        ),
        key_search,
        limits.level_um,
        reach_um / _FOCUS_UNIT_UM,
        learning_rate_rad,
        optimiser,
        report,
        planned=len(begin) * screening + iterations * (1 if limits.level_um is None else 2),
    )
    x, finished = search.run(begin, screening, iterations)
    mask, focus_um = _mask_and_focus(search.problem, jnp.asarray(x))
    scope = replace(psf.microscope, focus_um=focus_um)
    found = at_full_sampling(replace(psf, microscope=scope, mask=mask), z_range_um)
    return Design(
        psf=found,
        mask=mask,
        params=_params(family, jnp.asarray(x)),
        objective_um=float(_objective(key_search, found, target)),
        starts=tuple(search.starts),
        screened=tuple((label, family.to_mask(_params(family, jnp.asarray(x)))) for label, x in search.screened),
        best_start=search.best_start,
        finished=finished,
    )


@pytree
class _Problem:
    """All that the loss reads beside the parameters."""

    psf: Psf
    family: Any
    target: DesignTarget
    limits: MaskLimits
    smoothness: jax.Array
    free_focus: bool = static()


def _params(family: Any, x: jax.Array) -> jax.Array:
    shape = family.params_shape()
    return x[: int(np.prod(shape))].reshape(shape)


def _mask_and_focus(problem: _Problem, x: jax.Array) -> tuple[PhaseMask, jax.Array]:
    mask = round_to_levels(problem.family.to_mask(_params(problem.family, x)), problem.limits)
    focus_um = problem.psf.microscope.focus_um
    return mask, focus_um + _FOCUS_UNIT_UM * x[-1] if problem.free_focus else focus_um


def _loss(x: jax.Array, key: jax.Array, problem: _Problem, penalty: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log of the objective, with roughness and the limits' penalty; beside it the objective (um)."""
    whole = problem.family.to_mask(_params(problem.family, x))
    mask, focus_um = _mask_and_focus(problem, x)
    scope = replace(problem.psf.microscope, focus_um=focus_um)
    psf = replace(problem.psf, microscope=scope, mask=mask)
    value_um = objective_um(key, psf, problem.target)
    costs = penalty * violation(whole, problem.limits)
    if not whole.wrapped:
        costs = costs + problem.smoothness * roughness(whole)
    return jnp.log(value_um) + costs, value_um


_value_and_grad = jax.jit(jax.value_and_grad(_loss, has_aux=True))
_objective = jax.jit(objective_um)


# (loss, slope) at parameters x: what an optimiser is given
_Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


def _lbfgs(evaluate: _Evaluate, x: np.ndarray, iterations: int, bounds: np.ndarray) -> np.ndarray:
    options = {"maxiter": iterations, "maxfun": 2 * iterations + 10, "maxcor": 20, "ftol": 1e-7, "gtol": 1e-6}
    found = minimize(evaluate, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x)


def _adam(evaluate: _Evaluate, x: np.ndarray, iterations: int, bounds: np.ndarray, rate: float) -> Iterator[np.ndarray]:
    """The points that Adam goes through, its rate falling as a cosine."""
    moments = adam.no_moments(x)
    for step in range(iterations):
        _, slope = evaluate(x)
        moments, mean, root = adam.update(moments, slope, step + 1)
        falling = rate * 0.5 * (1 + np.cos(np.pi * step / iterations))
        x = np.clip(x - falling * mean / (root + 1e-8), *bounds.T)
        yield x


@dataclass
class _Search:
    """The host's side of a search: evaluations, their record, the best so far.

    `reach` is how far the focus may move, in steps of `_FOCUS_UNIT_UM`; `planned` about how many evaluations there
    will be, `done` how many there were.
    """

    problem: _Problem
    key: jax.Array
    level_um: Any
    reach: float
    learning_rate_rad: float
    optimiser: str
    report: Report
    planned: int
    done: int = 0
    starts: list[Start] = field(default_factory=list)
    screened: list[tuple[str, np.ndarray]] = field(default_factory=list)
    best_start: str = ""
    _best: tuple[float, np.ndarray | None] = (np.inf, None)

    def run(self, begin, screening: int, iterations: int) -> tuple[np.ndarray, bool]:
        """Follow every start, then the best; returns its parameters, and whether it came to the end."""
        finished = False
        try:
            screened = []
            for label, params in begin:
                self.starts.append(Start(label))
                x = np.append(np.asarray(params, dtype=float).ravel(), [0.0] if self.problem.free_focus else [])
                x = self._minimise(x, screening, _PENALTIES[0])
                self.screened.append((label, x))
                # the same scenes for all
                screened.append((self._evaluate(x, self.key, _PENALTIES[0])[0], len(screened), label, x))
            loss, index, self.best_start, x = min(screened, key=lambda entry: entry[:2])
            if loss >= NO_BOUND:
                raise OpticsError("no start has a finite bound: take more photons, other depths or other starts")
            self.starts.append(self.starts.pop(index))  # its record goes on
            x = self._within_limits(x, iterations)
            if self.level_um is not None:
                self._take_levels()
                x = self._round(x, iterations)
            finished = True
        except KeyboardInterrupt:
            if self._best[1] is None:
                raise
            x = self._shrunk(self._best[1])
            self._take_levels()
            self.best_start = self.best_start or self.starts[-1].label
        return x, finished

    def _minimise(self, x: np.ndarray, iterations: int, penalty: float) -> np.ndarray:
        if self.optimiser == "lbfgs":
            return _lbfgs(lambda at: self._evaluate(at, self.key, penalty), x, iterations, self._bounds(x))
        return list(self._adam_points(x, iterations, penalty, self.learning_rate_rad))[-1]

    def _adam_points(self, x: np.ndarray, iterations: int, penalty: float, rate: float) -> Iterator[np.ndarray]:
        """Adam; among neighbours it meets new scenes and depths every step."""

        def evaluate(at: np.ndarray) -> tuple[float, np.ndarray]:
            fresh = jax.random.fold_in(self.key, self.done)
            return self._evaluate(at, fresh, penalty, self._other_depths(fresh))

        return _adam(evaluate, x, iterations, self._bounds(x), rate)

    def _bounds(self, x: np.ndarray) -> np.ndarray:
        """Lowest and highest value (P, 2) of each parameter: none but for the focus."""
        reach = np.full(x.size, np.inf)
        if self.problem.free_focus:
            reach[-1] = self.reach
        return np.stack([-reach, reach], axis=1)

    def _within_limits(self, x: np.ndarray, iterations: int) -> np.ndarray:
        for penalty in _PENALTIES:
            self._best = (np.inf, x)
            x = self._minimise(x, iterations, penalty)
            if self._factor(x) > _NEAR_ENOUGH:
                break
        return self._shrunk(x)

    def _factor(self, x: np.ndarray) -> float:
        whole = self.problem.family.to_mask(_params(self.problem.family, jnp.asarray(x)))
        return float(shrink_factor(whole, self.problem.limits))

    def _shrunk(self, x: np.ndarray) -> np.ndarray:
        """Parameters whose path keeps to the limits; a family is linear in its parameters, as its protocol asks."""
        size = int(np.prod(self.problem.family.params_shape()))
        for _ in range(3):  # the sum of modes rounds anew
            factor = self._factor(x)
            if factor == 1.0:
                break
            x = np.concatenate([factor * x[:size], x[size:]])
        return x

    def _take_levels(self) -> None:
        self.problem = replace(self.problem, limits=replace(self.problem.limits, level_um=self.level_um))

    def _round(self, x: np.ndarray, iterations: int) -> np.ndarray:
        """Adam with the gradient passed straight through the rounding, from the best unrounded mask; keeps the best."""
        self._best = (np.inf, x)
        kept = [(self._evaluate(x, self.key, _PENALTIES[-1])[0], x)]
        for step in self._adam_points(x, iterations, _PENALTIES[-1], 0.2 * self.learning_rate_rad):
            shrunk = self._shrunk(step)
            kept.append((self._evaluate(shrunk, self.key, _PENALTIES[-1])[0], shrunk))
        return min(kept, key=lambda entry: entry[0])[1]

    def _other_depths(self, key: jax.Array) -> _Problem:
        """The problem with depths drawn at random, one from each of equal parts of the range.

        Scenes allow few depths a step; a mask would learn those few and neglect what lies between.
        """
        target = self.problem.target
        if target.neighbours is None:
            return self.problem
        parts = target.z_um.shape[0]
        share = (jnp.arange(parts) + jax.random.uniform(key, (parts,))) / parts
        low, high = target.z_range_um
        return replace(self.problem, target=replace(target, z_um=low + (high - low) * share.astype(target.z_um.dtype)))

    def _evaluate(
        self, x: np.ndarray, key: jax.Array, penalty: float, problem: _Problem | None = None
    ) -> tuple[float, np.ndarray]:
        at, weight = jnp.asarray(x, dtype=float), jnp.asarray(penalty, dtype=float)
        (loss, value_um), slope = _value_and_grad(at, key, problem or self.problem, weight)
        loss, value_um, slope = float(loss), float(value_um), np.asarray(slope, dtype=float)
        if not (np.isfinite(loss) and np.isfinite(slope).all()):
            loss, value_um, slope = NO_BOUND, float("inf"), np.zeros_like(slope)
        if loss < self._best[0]:
            self._best = (loss, np.array(x))
        start = self.starts[-1]
        start.history_um.append(value_um)
        self.done += 1
        numbers = {"start": start.label, "objective_um": value_um}
        self.report(Event("evaluation", self.done, self.planned, numbers))
        return loss, slope


def _check_search(starts, screening, iterations, smoothness, learning_rate_rad, optimiser) -> None:
    for name, value in {"starts": starts, "screening": screening, "iterations": iterations}.items():
        if value < 1:
            raise OpticsError(f"{name} = {value} must be at least 1")
    if not 0 <= smoothness < np.inf:
        raise OpticsError(f"smoothness = {smoothness:g} must not be negative")
    if not 0 < learning_rate_rad < np.inf:
        raise OpticsError(f"learning_rate_rad = {learning_rate_rad:g} must be positive")
    if optimiser not in ("auto", "lbfgs", "adam"):
        raise OpticsError(f"optimiser = {optimiser!r} must be 'auto', 'lbfgs' or 'adam'")
