"""A field that is crowded here and sparse there, bright and faint: AutoDS's choice against each of its networks alone.

    python benchmarks/autods_mixed.py [--seeds N] [--frames N] [--tubulin]

Movies of `worlds/mixed_field.py`: microtubules and clusters, density 0.1 to 2 per um2 and signal over noise 2 to 8.
Lists are scored within 100 nm. With --tubulin also `deepstorm-sim-tubulin` (5.5 per um2), within 50 and 100 nm.
"""

import argparse

import numpy as np

import localization
from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.autods.reader import AutoDsReader
from localization import Gate
from localization.patches.levels import LEVELS
from measure.record import Rows, write_result
from worlds.mixed_field import MixedConfig, MixedMovie, mixed_movie

PLACE = 422  # of its rows in benchmarks/README.md
AUTO = "autods"
NAMES = (AUTO, *(f"level {level}" for level in LEVELS))
MEASURES = {"jaccard": 1, "rmse_nm": -1}  # and whether more is better


def reader(name: str, config: MixedConfig) -> AutoDsReader:
    """Make the reader of a name."""
    level = None if name == AUTO else int(name.split()[1])
    return AutoDsReader(AutoDsConfig(pixel_um=config.pixel_um, level=level))


def read(movie: MixedMovie) -> dict[str, dict[str, float]]:
    """Read a movie with every name and score it."""
    scores = {}
    for name in NAMES:
        found = reader(name, movie.config).read(movie.adu, 0)
        score = localization.score(found, movie.truth, **Gate(0.1, None))
        scores[name] = {"jaccard": score.jaccard, "rmse_nm": 1e3 * score.rmse_xy_um}
        print(movie.config.seed, name, scores[name], flush=True)
    return scores


def tubulin() -> dict[str, float]:
    """Read the published simulation of crowded microtubules."""
    from worlds.truth_data import tubulin as load

    truth = load()
    config = AutoDsConfig(pixel_um=truth.pixel_um)
    found = AutoDsReader(config).read(truth.frames, 0)
    return {
        f"jaccard_{gate} nm": localization.score(found, truth.truth, **Gate(1e-3 * gate, None)).jaccard
        for gate in (50, 100)
    }


def interval(values: list[float]) -> list[float]:
    """Mean and 95 % interval over movies, drawn again and again."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    return [float(np.mean(values)), *map(float, np.quantile(drawn, [0.025, 0.975]))]


def rows(numbers: dict) -> Rows:
    for measure, sign in MEASURES.items():
        mean = {name: numbers["mean"][name][measure] for name in NAMES}
        alone = max((name for name in NAMES if name != AUTO), key=lambda name: sign * mean[name])
        yield (
            f"AutoDS on {numbers['movies']} mixed movies, {measure.replace('_', ' ')} within 100 nm; best alone",
            "ahead of every one",
            f"{mean[AUTO]:.3g}; {mean[alone]:.3g} ({alone}), "
            f"difference {numbers['difference'][measure][alone][0]:+.3f} "
            "({:+.3f} to {:+.3f})".format(*numbers["difference"][measure][alone][1:]),
        )
    if "tubulin" in numbers:
        t = numbers["tubulin"]
        yield (
            "AutoDS on deepstorm-sim-tubulin (5.5 per um2), Jaccard at 50, 100 nm (list decoder 0.479, 0.544)",
            "reported",
            f"{t['jaccard_50 nm']:.3f}, {t['jaccard_100 nm']:.3f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--side", type=int, default=256, help="pixels of the field")
    parser.add_argument("--tubulin", action="store_true")
    arguments = parser.parse_args()
    movies = [
        read(mixed_movie(MixedConfig(seed=seed, frames=arguments.frames, frame_px=arguments.side)))
        for seed in range(arguments.seeds)
    ]
    numbers: dict = {"movies": len(movies), "frames": arguments.frames, "side_px": arguments.side, "scores": movies}
    numbers["mean"] = {name: {m: float(np.mean([s[name][m] for s in movies])) for m in MEASURES} for name in NAMES}
    numbers["difference"] = {
        m: {name: interval([s[AUTO][m] - s[name][m] for s in movies]) for name in NAMES if name != AUTO}
        for m in MEASURES
    }
    if arguments.tubulin:
        numbers["tubulin"] = tubulin()
    print(numbers["mean"], numbers.get("tubulin"))
    print(write_result("autods_mixed", numbers))


if __name__ == "__main__":
    main()
