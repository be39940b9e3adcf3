"""Emitters that stay on over several frames: what a decoder of three frames has to gain from.

An emitter appears at any time with equal chance and stays for a time that is exponential with mean
`lifetime_frames`; the light in a frame is in proportion to the time on in it (as in DECODE: Speiser et al. 2021,
doi 10.1038/s41592-021-01236-x). With n emitters in the middle frame this stationary process has n / (1 + lifetime)
on average that are over before it, and as many that appear after it.
"""

import jax
import jax.numpy as jnp

from optics.pytree import replace
from optics.types import Emitters


def on_times(key: jax.Array, count: int, lifetime_frames: jax.Array | float, which: str) -> jax.Array:
    """Time on in the frame before, the middle frame and the frame after, in frames: (count, 3).

    `which` says what the emitters are known to do: be on in the "middle" frame, be over "before" it, or appear
    "after" it. The first ones are the same whatever the count. A lifetime of 0 means exactly their own frame.
    """
    one_each = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))

    def one(key):
        key_when, key_early, key_late, key_old = jax.random.split(key, 4)
        when = jax.random.uniform(key_when)
        early, late = (lifetime_frames * jax.random.exponential(k) for k in (key_early, key_late))
        # time 0 is the start of the middle frame; seen backwards the process is the same
        if which == "before":
            return jnp.stack([-when - early, -when])
        if which == "after":
            return jnp.stack([1 + when, 1 + when + late])
        old = jax.random.uniform(key_old) < lifetime_frames / (1 + lifetime_frames)
        return jnp.where(old, jnp.stack([-early, late]), jnp.stack([when, when + late]))

    start, end = jax.vmap(one)(one_each).T
    edges = jnp.arange(-1.0, 3.0)
    on = jnp.minimum(end[:, None], edges[1:]) - jnp.maximum(start[:, None], edges[:-1])
    own = jnp.zeros(3).at[("before", "middle", "after").index(which)].set(1.0)
    return jnp.where(lifetime_frames > 0, jnp.maximum(on, 0.0), own)


def blink(
    key: jax.Array,
    middle: Emitters,
    before: Emitters,
    after: Emitters,
    lifetime_frames: jax.Array | float,
    n_frames: int,
) -> Emitters:
    """Share the emitters of a scene out over its frames: leaves (n_frames, N, ...), 1 or 3 frames.

    `middle` are those that are on in the middle frame, `photons` being what each gives in a whole frame; `before` and
    `after` are the candidates for those that are not (as many slots, of which 1 / (1 + lifetime) are taken). The
    emitters of `middle` come first.
    """
    keys = jax.random.split(key, 5)
    capacity = middle.photons.shape[0]
    on = on_times(keys[0], capacity, lifetime_frames, "middle")
    if n_frames == 1:
        return _in_frame(middle, on[:, 1:2])
    taken = 1 / (1 + lifetime_frames)
    groups, times = [middle], [on]
    for group, which, key_on, key_taken in ((before, "before", keys[1], keys[2]), (after, "after", keys[3], keys[4])):
        slots = jax.vmap(jax.random.fold_in, (None, 0))(key_taken, jnp.arange(capacity))
        chosen = jax.vmap(jax.random.uniform)(slots) < taken
        groups.append(replace(group, valid=middle.valid & chosen))
        times.append(on_times(key_on, capacity, lifetime_frames, which))
    everyone = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *groups)
    return _in_frame(everyone, jnp.concatenate(times))


def _in_frame(emitters: Emitters, on: jax.Array) -> Emitters:
    """The light of each emitter in each frame; on (N, F) -> leaves (F, N, ...)."""
    everywhere = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (on.shape[1], *leaf.shape)), emitters)
    return replace(everywhere, photons=on.T * emitters.photons, valid=emitters.valid & (on.T > 0))
