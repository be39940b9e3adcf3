"""Two colours of microtubules laid on one another: the true error of the map, what it says of itself, and refusals.

    python benchmarks/two_colours.py [--seeds 6]

Fields of 27 um, 20,000 localizations a colour with a scatter of 15 nm, moved by 0.6 um, turned by up to 1 degree,
larger by 1 %. A share of the second colour lies on microtubules of its own; at a share of one there is nothing in
common, and any map would be wrong. Maps are affine, by structures, with default settings.
"""

import argparse
import sys
import time

import numpy as np

from localization import LocalizationError, make_localizations, register
from measure.record import Rows, write_result
from worlds.mixed_field import MixedConfig, structure_points

PLACE = 163  # of its rows in benchmarks/README.md

OWN = (0.0, 0.4, 0.7, 1.0)
ROWS, SCATTER_UM, SHIFT_UM, MAGNIFICATION = 20_000, 0.015, 0.6, 1.01


def rows(numbers: dict) -> Rows:
    cells = numbers["own_share"]
    for share, cell in cells.items():
        if float(share) < 1:
            yield (
                f"two colours by structures, {100 * float(share):.0f} % of the second on its own: true error of the "
                f"map (nm, rms over the field; says of itself {cell['said_nm']:.1f}), median and worst of {cell['n']}",
                "<= 5 nm",
                f"{cell['true_nm']:.1f}, {cell['worst_nm']:.1f}; {cell['refused']} refused",
            )
    yield (
        f"two colours with nothing in common ({cells['1']['n']} pairs): refused",
        "all",
        f"{cells['1']['refused']} of {cells['1']['n']}",
    )


def moved(xy: np.ndarray, side_um: float, angle_rad: float, shift: complex) -> np.ndarray:
    """The true map."""
    middle = side_um / 2 * (1 + 1j)
    place = (xy[:, 0] + 1j * xy[:, 1] - middle) * MAGNIFICATION * np.exp(1j * angle_rad) + middle + shift
    return np.stack([place.real, place.imag], axis=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    arguments = parser.parse_args()
    config = MixedConfig(structure="microtubules")
    side_um = config.frame_px * config.pixel_um
    cells = {}
    for share in OWN:
        true, said, seconds, refused = [], [], [], 0
        for seed in range(arguments.seeds):
            rng = np.random.default_rng([seed, round(10 * share)])
            common, own = (structure_points(rng, config) for _ in range(2))

            def seen(points: np.ndarray, n: int, rng=rng) -> np.ndarray:
                return points[rng.integers(0, len(points), n)] + SCATTER_UM * rng.standard_normal((n, 2))

            n_own = round(share * ROWS)
            second = np.concatenate([seen(common, ROWS - n_own), seen(own, n_own)])
            angle, shift = np.radians(rng.uniform(-1, 1)), SHIFT_UM * np.exp(2j * np.pi * rng.uniform())
            first = moved(seen(common, ROWS), side_um, angle, shift)
            a, b = (make_localizations(0 * xy[:, 0], xy[:, 0], xy[:, 1], 0 * xy[:, 0]) for xy in (first, second))
            began = time.process_time()
            try:
                found = register(a, b)
            except LocalizationError:
                refused += 1
                continue
            seconds.append(time.process_time() - began)
            away = found.transform.moved(second) - moved(second, side_um, angle, shift)
            true.append(1e3 * float(np.sqrt((away**2).sum(axis=1).mean())))
            said.append(1e3 * found.error_um)
        cell = {"n": arguments.seeds, "refused": refused, "errors_nm": true, "said_errors_nm": said}
        if true:
            cell |= {"true_nm": float(np.median(true)), "worst_nm": max(true), "said_nm": float(np.median(said))}
            cell |= {"cpu_s": float(np.median(seconds))}
        cells[f"{share:g}"] = cell
        print(share, cell, flush=True)
    print(write_result("two_colours", {"own_share": cells}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
