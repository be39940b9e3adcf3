"""A field that is crowded here and sparse there, bright and faint: each patch by its network, or by what is best there.

    python benchmarks/autods_mixed.py [--seeds N] [--frames N] [--tubulin] [--work FOLDER]

Movies of `worlds/mixed_field.py`: microtubules and clusters, density 0.1 to 2 per um2 and signal over noise 2 to 8.
Readers: AutoDS's choice among the Deep-STORM networks ("autods"), each network alone, the joint fit, and the measured
map's choice among all of them ("auto", the method patchwise). Fits know the spots' width, as the step before the reader
measures it. Lists are scored within 100 nm, and as pictures (8 x, Gaussians of 20 nm) against the truth's as AutoDS's
paper does it (`localization.pictures.likeness`). With --tubulin also `deepstorm-sim-tubulin` (5.5 per um2), within 50
and 100 nm. What --work holds is not read again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import localization
from localization import Gate, Localizations, to_image
from localization.patches.levels import LEVELS
from localization.pictures.likeness import compare_pictures
from measure.record import Rows, write_result
from optics.whole_file import write_text
from worlds import ROOT
from worlds.autods_readers import reader
from worlds.crowd_scenes import spot_sigmas_px
from worlds.mixed_field import DEPTH_UM, MixedConfig, MixedMovie, mixed_movie, mixed_psf

PLACE = 422  # of its rows in benchmarks/README.md
AUTODS, AUTO, JOINT = "autods", "auto", "joint"
ALONE = tuple(f"level {level}" for level in LEVELS)
NAMES = (AUTODS, *ALONE, JOINT, AUTO)
MEASURES = {"jaccard": 1, "rmse_nm": -1, "psnr_db": 1, "nrmse": -1, "ms_ssim": 1}  # and whether more is better
UPSAMPLING, SPOT_UM = 8, 0.02  # of pictures, and the sigma that molecules are drawn with


def read(movie: MixedMovie, names: list[str]) -> dict[str, dict[str, float]]:
    """Read a movie with every one of `names` and score it."""
    scores, config = {}, movie.config
    sigma_px = spot_sigmas_px(mixed_psf(config), DEPTH_UM, DEPTH_UM)["mean"]
    for name in names:
        one = reader(name, config.pixel_um, sigma_px, config.camera())
        began = time.process_time()
        found = one.read(movie.adu, 0)
        seconds = time.process_time() - began
        score = localization.score(found, movie.truth, **Gate(0.1, None))
        scores[name] = {"jaccard": score.jaccard, "rmse_nm": 1e3 * score.rmse_xy_um, **likeness(found, movie)}
        scores[name] |= {"cpu_s": round(seconds, 1)}
        print(config.seed, name, scores[name], flush=True)
        if name in (AUTO, AUTODS):
            print("   ", dict(one.take_tally()), flush=True)
    return scores


def likeness(found: Localizations, movie: MixedMovie) -> dict[str, float]:
    """Score the list as a picture."""
    config = movie.config
    side_um = config.frame_px * config.pixel_um
    region = ((0.0, side_um), (0.0, side_um))
    picture, truth = (
        to_image(some, config.pixel_um / UPSAMPLING, region_um=region, mode="gaussian", sigma_um=SPOT_UM)
        for some in (found, movie.truth)
    )
    found_like = compare_pictures(picture, truth)[0]
    return {"psnr_db": found_like.psnr_db, "nrmse": found_like.nrmse, "ms_ssim": found_like.ms_ssim}


def tubulin() -> dict[str, dict[str, float]]:
    """Read the published simulation of crowded microtubules with the networks."""
    from worlds.truth_data import tubulin as load
    from worlds.truth_data import tubulin_sigma_um
    from worlds.truth_methods import camera_of

    truth, found = load(), {}
    for name in (AUTODS, ALONE[-1]):
        one = reader(name, truth.pixel_um, tubulin_sigma_um() / truth.pixel_um, camera_of(truth, 0))
        frames, shown = truth.frames, truth.truth
        began = time.process_time()
        lists = one.read(frames, 0)
        seconds = time.process_time() - began
        found[name] = {
            f"jaccard_{gate}_nm": localization.score(lists, shown, **Gate(1e-3 * gate, None)).jaccard
            for gate in (50, 100)
        } | {"frames": len(frames), "cpu_s_per_frame": round(seconds / len(frames), 2)}
        print("tubulin", name, found[name], dict(one.take_tally()), flush=True)
    return found


def interval(values: list[float]) -> list[float]:
    """Mean and 95 % interval over movies, drawn again and again."""
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    return [float(np.mean(values)), *map(float, np.quantile(drawn, [0.025, 0.975]))]


def compared(movies: list[dict[str, dict[str, float]]], names: list[str]) -> dict[str, Any]:
    """Average over movies, and what "autods" and, where it is among them, "auto" are more than each other reader."""

    def more(first: str, second: str, measure: str) -> list[float]:
        return interval([s[first][measure] - s[second][measure] for s in movies])

    found: dict[str, Any] = {"movies": len(movies)}
    found["mean"] = {name: {m: float(np.mean([s[name][m] for s in movies])) for m in MEASURES} for name in names}
    for first in (AUTODS, AUTO):
        if first in names:
            found[f"{first}_less"] = {m: {n: more(first, n, m) for n in names if n != first} for m in MEASURES}
    return found


def rows(numbers: dict) -> Rows:
    alone, everyone = numbers["networks"], numbers.get("all")
    for measure, sign in MEASURES.items():
        mean, what = alone["mean"], measure.replace("_", " ")
        best = max(ALONE, key=lambda name: sign * mean[name][measure])
        yield (
            f"{alone['movies']} mixed movies, {what}: autods; best network alone",
            "autods ahead of each network",
            f"{mean[AUTODS][measure]:.3g}; {mean[best][measure]:.3g} ({best}), difference "
            "{:+.3g} ({:+.3g} to {:+.3g})".format(*alone["autods_less"][measure][best]),
        )
        if everyone:
            shown = {n: f"{everyone['mean'][n][measure]:.3g}" for n in (AUTO, AUTODS, JOINT) if n in everyone["mean"]}
            yield (
                f"{everyone['movies']} of them, {what}: {'; '.join(shown)}",
                "auto ahead of autods",
                f"{'; '.join(shown.values())}, auto less autods {{:+.3g}} ({{:+.3g}} to {{:+.3g}})".format(
                    *everyone["auto_less"][measure][AUTODS]
                ),
            )
    for name, found in numbers.get("tubulin", {}).items():
        yield (
            f"deepstorm-sim-tubulin (5.5 per um2), {found['frames']} frames, {name}: Jaccard at 50, 100 nm "
            "(list decoder 0.479, 0.544)",
            "reported",
            f"{found['jaccard_50_nm']:.3f}, {found['jaccard_100_nm']:.3f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--side", type=int, default=252, help="pixels of the field")
    parser.add_argument("--readers", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--tubulin", action="store_true")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "autods_mixed")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    movies = []
    for seed in range(arguments.seeds):
        path = arguments.work / f"{seed}_{arguments.frames}_{arguments.side}.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        if missing := [name for name in arguments.readers if name not in kept]:
            config = MixedConfig(seed=seed, frames=arguments.frames, frame_px=arguments.side)
            kept |= read(mixed_movie(config), missing)
            write_text(path, json.dumps(kept))
        movies.append(kept)
    fitted = [movie for movie in movies if AUTO in movie]
    numbers: dict = {"frames": arguments.frames, "side_px": arguments.side, "scores": movies}
    numbers["networks"] = compared(movies, [AUTODS, *ALONE])
    if fitted:
        numbers["all"] = compared(fitted, [name for name in NAMES if all(name in movie for movie in fitted)])
    if arguments.tubulin:
        numbers["tubulin"] = tubulin()
    for part in ("networks", "all"):
        for name, mean in numbers.get(part, {}).get("mean", {}).items():
            print(part, name, {m: round(value, 4) for m, value in mean.items()})
    print(write_result("autods_mixed", numbers))


if __name__ == "__main__":
    main()
