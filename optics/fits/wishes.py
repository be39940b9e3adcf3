"""What a search asks for, and who serves it: fits and candidates, compiled once for each number of slots.

On a processor frames are served one by one: small programs run there as fast alone. On an accelerator the frames that
ask for the same are served together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from optics.fits.crowd import Crowd, CrowdModel, Frame, draw_crowd, draw_images, no_emitters, with_stray
from optics.fits.crowd_fit import CrowdFit, fit_crowd
from optics.fits.crowd_search import Bank, Candidates, propose
from optics.fits.reread import Readings, reread
from optics.fits.smooth import MOST_SPREAD, surface_at

W = TypeVar("W")

_LEAST_SLOTS = 8  # then 16, 24, 32, 48, 64, 96, ...


@dataclass(frozen=True)
class Guess:
    """Emitters of a frame on the host: positions (n, 3), photons and blur (n,); the background's coefficients (A, B).

    `spread` () is by how many photons that varies; `channel` (n,) the species of each.
    """

    xyz_um: NDArray
    photons: NDArray
    blur_px2: NDArray
    level: NDArray
    spread: NDArray
    channel: NDArray

    @property
    def size(self) -> int:
        """How many emitters."""
        return len(self.photons)

    def keep(self, which: NDArray) -> "Guess":
        """Those that are chosen (n,) by a mask."""
        per_emitter = ("xyz_um", "photons", "blur_px2", "channel")
        return replace(self, **{name: getattr(self, name)[which] for name in per_emitter})

    def add(self, xyz_um: NDArray, photons: NDArray, channel: NDArray | None = None) -> "Guess":
        """These and more, at positions (m, 3) with photons (m,), of species (m,), the first unless said."""
        kinds = np.zeros(len(photons), int) if channel is None else channel
        more = replace(self, xyz_um=xyz_um, photons=photons, blur_px2=np.zeros(len(photons)), channel=kinds)
        return self.join(more)

    def join(self, others: "Guess") -> "Guess":
        """These and others, over the background of the others."""
        per_emitter = ("xyz_um", "photons", "blur_px2", "channel")
        both = {name: np.concatenate([getattr(self, name), getattr(others, name)]) for name in per_emitter}
        return replace(others, **both)


@dataclass(frozen=True)
class Fitted:
    """A fit without free slots: half the deviance, covariance (n, 4, 4), overlap (n, n); `mean` stays on the device.

    `excess` is by how much the model's error makes that larger, `evidence` what the background costs beside it,
    `significance` and `surprise` (n,) of the emitters as in `CrowdFit`.
    """

    emitters: Guess
    misfit: float
    excess: float
    evidence: float
    covariance: NDArray
    overlap: NDArray
    significance: NDArray
    surprise: NDArray
    mean: jax.Array


@dataclass(frozen=True)
class Fit:
    """A frame's wish: fit these, over a background that varies by at most `most_spread` of its mean.

    `around` is the light (H, W) of emitters that stay, None where there are no others.
    """

    guess: Guess
    max_steps: int
    least_gain: float
    most_spread: float = MOST_SPREAD
    around: jax.Array | None = None


@dataclass(frozen=True)
class Around:
    """A frame's wish: what is left of an explanation's mean without its background and the light of `some` of it."""

    mean: jax.Array
    some: Guess


@dataclass(frozen=True)
class Look:
    """A frame's wish: candidates in what this mean leaves, its background of coefficients `level` and `spread`."""

    mean: jax.Array
    level: NDArray
    spread: NDArray


@dataclass(frozen=True)
class Reread:
    """A frame's wish: fit every emitter as each species, with all others where they are in this fit.

    Or, of `groups` of their numbers, the light of each group as that of one emitter. `starts` depths are tried.
    """

    fitted: Fitted
    groups: tuple[tuple[int, ...], ...] | None = None
    starts: int = 3


Wish = Fit | Look | Reread | Around
# positions (n, 3) in um, photons (n,) and, of several species, the number of each (n,)
Start = tuple[NDArray, NDArray] | tuple[NDArray, NDArray, NDArray]


def begin(model: CrowdModel, frame: Frame, start: Start | None) -> Guess:
    """Where the search of a frame begins: at a list, or at nothing."""
    empty = _empty(model, frame)
    xyz, photons, *kinds = start if start is not None else (np.zeros((0, 3)), np.zeros(0))
    return Guess(
        np.asarray(xyz, float).reshape(-1, 3),
        np.asarray(photons, float),
        np.zeros(len(photons)),
        np.asarray(empty.level),
        np.asarray(empty.spread),
        np.asarray(kinds[0], int) if kinds else np.zeros(len(photons), int),
    )


_empty = jax.jit(partial(no_emitters, capacity=1))
_propose, _fit, _surface = jax.jit(propose), jax.jit(fit_crowd), jax.jit(surface_at)
_light = jax.jit(lambda model, crowd: draw_images(model, crowd)[:, 0] * crowd.photons[:, None, None])
_propose_together = jax.jit(jax.vmap(propose, (None, None, 0, 0, 0, 0)))
_fit_together = jax.jit(jax.vmap(fit_crowd, (None, 0, 0, 0, 0, 0, 0)))


@jax.jit
def _around(model: CrowdModel, mean: jax.Array, some: Crowd) -> jax.Array:
    with jax.default_matmul_precision("highest"):
        return mean - draw_crowd(model, with_stray(model, some))


def serve(model: CrowdModel, bank: Bank, frames: Frame, wishes: dict[int, Wish], together: int) -> dict[int, Any]:
    """Answer the wishes of frames (F, H, W), by frame, `together` at once.

    `Fit` is answered by a `Fitted`, `Look` by `Candidates`, `Reread` by `Readings`, `Around` by light (H, W).
    """
    if together == 1:
        return {k: _one(model, bank, jax.tree.map(lambda leaf, k=k: leaf[k], frames), w) for k, w in wishes.items()}
    answers: dict[int, Any] = {
        k: _one(model, bank, jax.tree.map(lambda leaf, k=k: leaf[k], frames), wish)
        for k, wish in wishes.items()
        if isinstance(wish, Reread | Around)
    }
    looks = {k: wish for k, wish in wishes.items() if isinstance(wish, Look)}
    fits: dict[int, dict[int, Fit]] = {}
    for k, wish in wishes.items():
        if isinstance(wish, Fit):
            fits.setdefault(_slots(wish.guess.size), {})[k] = wish
    for some in _some(looks, together):
        answers |= _look(model, bank, frames, some)
    for slots, alike in fits.items():
        for some in _some(alike, together):
            answers |= _fit_all(model, frames, some, slots)
    return answers


def _some(wishes: dict[int, W], together: int) -> Iterator[dict[int, W]]:
    numbers = list(wishes)
    for first in range(0, len(numbers), together):
        yield {k: wishes[k] for k in numbers[first : first + together]}


def _one(model: CrowdModel, bank: Bank, frame: Frame, wish: Wish) -> Fitted | Candidates | Readings | jax.Array:
    if isinstance(wish, Reread):
        return _read_again(model, frame, wish)
    if isinstance(wish, Around):
        return _around(model, wish.mean, _with_slots(model, wish.some, _slots(wish.some.size)))
    if isinstance(wish, Look):
        return jax.device_get(_propose(model, bank, frame, wish.mean, wish.level, wish.spread))
    start = _with_slots(model, wish.guess, _slots(wish.guess.size))
    limits = wish.max_steps, wish.least_gain, wish.most_spread
    return _without_slots(_fit(model, frame, start, *limits, _light_around(model, wish)), wish.guess)


def _light_around(model: CrowdModel, wish: Fit) -> jax.Array | NDArray:
    """What stays beneath a fit; an array of one shape, so that there is one program."""
    return np.zeros(model.surface.shape, wish.guess.level.dtype) if wish.around is None else wish.around


def _read_again(model: CrowdModel, frame: Frame, wish: Reread) -> Readings:
    stands = wish.fitted.emitters
    crowd = _with_slots(model, stands, _slots(stands.size))
    light = np.asarray(_light(model, crowd), float)[: stands.size]
    stand = stands.xyz_um, stands.photons, stands.channel
    surface = _surface(model.surface, stands.level)
    return reread(model, frame, *stand, light, surface, wish.fitted.mean, wish.groups, wish.starts)


def _look(model: CrowdModel, bank: Bank, frames: Frame, wishes: dict[int, Look]) -> dict[int, Candidates]:
    filled, frame = _filled(wishes, frames)
    means = jnp.stack([wish.mean for wish in filled])
    levels, spreads = (np.stack([getattr(wish, name) for wish in filled]) for name in ("level", "spread"))
    found = jax.device_get(_propose_together(model, bank, frame, means, levels, spreads))
    return {k: jax.tree.map(lambda leaf, i=i: leaf[i], found) for i, k in enumerate(wishes)}


def _fit_all(model: CrowdModel, frames: Frame, wishes: dict[int, Fit], slots: int) -> dict[int, Fitted]:
    filled, frame = _filled(wishes, frames)
    start = jax.tree.map(lambda *leaves: np.stack(leaves), *(_with_slots(model, w.guess, slots) for w in filled))
    limits = (np.array([getattr(w, name) for w in filled]) for name in ("max_steps", "least_gain", "most_spread"))
    around = jnp.stack([jnp.asarray(_light_around(model, w)) for w in filled])
    fits = _fit_together(model, frame, start, *limits, around)
    return {
        k: _without_slots(jax.tree.map(lambda leaf, i=i: leaf[i], fits), wish.guess)
        for i, (k, wish) in enumerate(wishes.items())
    }


def _filled(wishes: dict[int, W], frames: Frame) -> tuple[list[W], Frame]:
    """Wishes filled up to a power of two, so that few sizes are compiled, and their frames."""
    numbers = list(wishes)
    numbers += [numbers[0]] * ((1 << (len(numbers) - 1).bit_length()) - len(numbers))
    which = jnp.asarray(numbers)
    return [wishes[k] for k in numbers], jax.tree.map(lambda leaf: leaf[which], frames)


def _slots(n: int) -> int:
    slots = _LEAST_SLOTS
    while slots < n:
        # 8, 16, 24, 32, 48, 64, 96, ...: at most a third stays free
        slots = slots * 3 // 2 if slots > _LEAST_SLOTS and slots & (slots - 1) == 0 else 1 << slots.bit_length()
    return slots


def _with_slots(model: CrowdModel, emitters: Guess, slots: int) -> Crowd:
    n, dtype = len(emitters.photons), emitters.level.dtype
    height, width = model.shape
    middle = np.array([width / 2, height / 2, 0.0]) * float(model.pixel_um)
    middle[2] = np.mean(model.table.z_range_um)
    xyz, photons, blur = np.tile(middle, (slots, 1)), np.ones(slots), np.zeros(slots)
    channel = np.zeros(slots, np.int32)
    xyz[:n], photons[:n], blur[:n], channel[:n] = (
        emitters.xyz_um,
        emitters.photons,
        emitters.blur_px2,
        emitters.channel,
    )
    low, high = np.asarray(model.table.z_range_um)
    xyz[:, 2] = np.clip(xyz[:, 2], low, high)
    return Crowd(
        xyz_um=xyz.astype(dtype),  # pyright: ignore[reportArgumentType]
        photons=photons.astype(dtype),  # pyright: ignore[reportArgumentType]
        blur_px2=blur.astype(dtype),  # pyright: ignore[reportArgumentType]
        present=np.arange(slots) < n,  # pyright: ignore[reportArgumentType]
        level=emitters.level,  # pyright: ignore[reportArgumentType]
        spread=emitters.spread,  # pyright: ignore[reportArgumentType]
        damping=np.asarray(0.0, dtype),  # pyright: ignore[reportArgumentType]
        misfit=np.asarray(0.0, dtype),  # pyright: ignore[reportArgumentType]
        stray=np.asarray(0.0, dtype),  # pyright: ignore[reportArgumentType]
        channel=None if model.species == 1 else channel,  # pyright: ignore[reportArgumentType]
    )


def _without_slots(fit: CrowdFit, start: Guess) -> Fitted:
    n = start.size
    parts = fit.crowd, fit.excess, fit.evidence, fit.covariance, fit.overlap, fit.worth, fit.surprise
    crowd, excess, evidence, covariance, overlap, worth, surprise = jax.device_get(parts)
    xyz, light, blur = (leaf[:n].astype(float) for leaf in (crowd.xyz_um, crowd.photons, crowd.blur_px2))
    emitters = Guess(xyz, light, blur, crowd.level, crowd.spread, start.channel)
    covariance, overlap = covariance[:n].astype(float), overlap[:n, :n]
    known = float(crowd.misfit), float(excess), float(evidence)
    return Fitted(emitters, *known, covariance, overlap, worth[:n], surprise[:n], fit.mean)
