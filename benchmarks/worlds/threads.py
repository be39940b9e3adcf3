"""Lists of threads in a field of view, seen again and again under a drift that is known."""

import numpy as np

from localization import make_localizations


def simulate(rows: int, frames: int, field_um: float, threads: int, random: float, range_um: float, seed: int):
    """A table of threads under a drift, and the drift (frames, 3)."""
    rng = np.random.default_rng(seed)
    step_um, steps = 0.02, int(1.2 * field_um / 0.02)
    turn = np.sqrt(step_um / 4.0)
    points = []
    for _ in range(threads):
        azimuth = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, turn, steps))
        along = np.cumsum(step_um * np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1), axis=0)
        place = rng.uniform(0, field_um, 2) + along - along[steps // 2]
        depth = rng.uniform(0.2, 1.2) + 0.3 * np.sin(np.arange(steps) * step_um / rng.uniform(1, 4) + rng.uniform(0, 6))
        points.append(np.column_stack([place, depth]))
    strewn = rng.uniform([0, 0, -0.3], [field_um, field_um, 1.7], (int(rows * random), 3))
    spots = np.concatenate([*points, np.zeros((0, 3))])
    spots = spots[((spots[:, :2] > 0) & (spots[:, :2] < field_um)).all(axis=1)]
    n_spots = rows - len(strewn)
    place = spots[rng.integers(0, len(spots), n_spots)] + rng.normal(0, 0.0125, (n_spots, 3)) if n_spots else spots
    place = np.concatenate([place, strewn])
    t = np.arange(frames) / frames
    drift = 0.1 * np.cumsum(rng.normal(0, frames**-0.5, (frames, 3)), axis=0) + np.outer(t, [0.2, -0.15, 0.2])
    drift *= range_um / np.ptp(drift, axis=0)
    frame = np.sort(rng.integers(0, frames, rows))
    place = rng.permutation(place) + drift[frame] + rng.normal(0, [0.012, 0.012, 0.025], (rows, 3))
    return make_localizations(frame, *place.T), drift
