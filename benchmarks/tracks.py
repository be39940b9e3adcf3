"""Tracks of simulated live cells: links, purity and diffusion, at rising density.

    python benchmarks/tracks.py

The localizations are the simulation's true ones (each the mean of its photons in a moving, blinking particle's frame)
plus Gaussian noise of the size of the Tetrapod's Cramer-Rao bound at that depth and light, so that tracking alone is
measured. A link is right when both its ends are of one particle and no seen position of it lies between. A track's
purity is the share of its rows that are of its commonest particle. D is that of Brownian particles alone; the membrane
that stops some of their steps lowers it by a few per cent, in the true tracks as in the found ones: the two are beside
each other.
"""

import argparse
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from localization import Localizations, diffusion, find_tracks, select
from localization.types import COLUMNS
from measure.record import Rows, write_result
from optics import crlb_std_um
from training.instrument import build_psf
from worlds.live_cell import STATES, LiveCellConfig, simulate

PLACE = 220  # of its rows in benchmarks/README.md

COUNTS = (20, 80, 320)
MAX_STEP_UM, GAP_FRAMES = 0.35, 3
DEPTHS, LIGHTS = np.linspace(0.05, 3.0, 8), np.array([250.0, 1000.0, 4000.0])


def bounds_um(config: LiveCellConfig) -> np.ndarray:
    """CRLB (depths, lights, 3) of the movie's PSF over its mean background."""
    psf = build_psf(config.microscope, config.psf, config.mask, (0.0, config.cell_um[2]))
    background = config.background + config.floor
    one = jax.jit(lambda z, photons: crlb_std_um(psf, jnp.array([0.0, 0.0, z]), photons, background))
    return np.array([[np.asarray(one(z, photons)) for photons in LIGHTS] for z in DEPTHS])


def noisy(truth: Localizations, bounds: np.ndarray, rng: np.random.Generator) -> tuple[Localizations, np.ndarray]:
    """The rows with a fifth of a frame's light or more, each moved by its bound's noise, and which rows they are."""
    rows = np.flatnonzero(truth.photons >= 0.2 * truth.photons.max())
    seen = select(truth, rows)
    depth = np.abs(DEPTHS[:, None] - seen.z_um).argmin(axis=0)
    light = np.abs(np.log(LIGHTS[:, None] / seen.photons)).argmin(axis=0)
    std = bounds[depth, light] * np.sqrt(LIGHTS[light] / seen.photons)[:, None]
    moved = {name: getattr(seen, name) for name in COLUMNS}
    for axis, name in enumerate("xyz"):
        moved[f"{name}_um"] = moved[f"{name}_um"] + rng.normal(0, std[:, axis])
        moved[f"sigma_{name}_um"] = std[:, axis]
    return Localizations(**moved), rows


def links(track: np.ndarray, frame: np.ndarray) -> set[tuple[int, int]]:
    order = np.lexsort((frame, track))
    same = np.diff(track[order]) == 0
    return set(zip(order[:-1][same].tolist(), order[1:][same].tolist(), strict=True))


def case(config: LiveCellConfig, bounds: np.ndarray) -> dict:
    live = simulate(config)
    locs, rows = noisy(live.truth, bounds, np.random.default_rng(config.seed + 1))
    particle = live.track[rows]
    started = time.perf_counter()
    track = find_tracks(locs, max_step_um=MAX_STEP_UM, gap_frames=GAP_FRAMES)
    seconds = time.perf_counter() - started
    found, true = links(track, locs.frame), links(particle, locs.frame)
    reachable = {(a, b) for a, b in true if locs.frame[b] - locs.frame[a] <= GAP_FRAMES + 1}
    pairs, count = np.unique(np.stack([track, particle]), axis=1, return_counts=True)
    best = np.zeros(track.max() + 1)
    np.maximum.at(best, pairs[0], count)
    brownian = live.state[particle] == STATES.index("brownian")
    measured = diffusion(
        select(locs, brownian), track[brownian], frame_s=config.frame_s, exposure_share=config.exposure_share
    )
    oracle = diffusion(
        select(locs, brownian), particle[brownian], frame_s=config.frame_s, exposure_share=config.exposure_share
    )
    return {
        "particles": config.count,
        "localizations": int(track.size),
        "per_um2_and_frame": round(track.size / config.frames / (np.pi * config.cell_um[0] * config.cell_um[1]), 3),
        "mean_noise_nm": [round(float(1e3 * getattr(locs, f"sigma_{a}_um").mean()), 1) for a in "xyz"],
        "seconds": round(seconds, 2),
        "tracks": int(track.max()) + 1,
        "links_right_share": round(len(found & true) / max(1, len(found)), 4),
        "links_recovered_share": round(len(found & true) / max(1, len(reachable)), 4),
        "track_purity": round(float(best.sum() / track.size), 4),
        "d_true_um2_s": config.d_um2_s,
        "d_um2_s": {"pooled": measured.pooled_um2_s, "low": measured.low_um2_s, "high": measured.high_um2_s},
        "d_with_true_tracks_um2_s": {"pooled": oracle.pooled_um2_s, "low": oracle.low_um2_s, "high": oracle.high_um2_s},
        "noise_found_nm": [round(float(1e3 * n), 1) for n in measured.noise_um],
    }


def rows(numbers: dict) -> Rows:
    for case in numbers["cases"]:
        d = case["d_um2_s"]
        yield (
            f"tracks of {case['particles']} particles ({case['per_um2_and_frame']:.2f} per um2 and frame): links, "
            f"purity, D (true {case['d_true_um2_s']})",
            "reported",
            f"{case['links_right_share']:.3f}, {case['track_purity']:.3f}, "
            f"{d['pooled']:.3f} ({d['low']:.3f}-{d['high']:.3f})",
        )


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    base = LiveCellConfig(frames=300)
    bounds = bounds_um(base)
    cases = []
    for count in COUNTS:
        cases.append(case(replace(base, count=count), bounds))
        print(cases[-1], flush=True)
    numbers = {"max_step_um": MAX_STEP_UM, "gap_frames": GAP_FRAMES, "frame_s": base.frame_s, "cases": cases}
    print(write_result("tracks", numbers))


if __name__ == "__main__":
    main()
