"""How many emitters does the joint fit see where there are none? Frames of background alone, against the rate asked.

    python benchmarks/crowd_false.py [--frames 800] [--only 'tetrapod/*'] [--minutes 12]

Frames of 64 x 64 px without an emitter: empty ones (no light at all), dim and bright even ones, DeepSTORM3D's
super-Gaussian hump, a smooth random field; Poisson noise; read at the rates 1e-3 (the default) and 1e-2 false emitters
per um^2 and frame. At the higher rate a quarter of the frames tells as much. Intervals of 95 % are those of a Poisson
count (Garwood 1936, doi 10.1093/biomet/28.3-4.437). Nothing that was found is left out for its sigma.
"""

import numpy as np
from scipy.stats import chi2

from crowds.reading import joint_reader, read
from crowds.record import cell_parser, fill, rounded
from crowds.scenes import SCENE, SCOPE, draw_background
from measure.record import Rows
from optics import Constant, RandomField, SuperGaussian, UniformLevel

PLACE = 153  # of its rows in benchmarks/README.md

BACKGROUNDS = {
    "flat": UniformLevel(25.0, 100.0),
    "super_gaussian": SuperGaussian(floor_photons=25.0, peak_photons=125.0),
    "random_field": RandomField(62.5, 0.3, 16.0),
    "dim": Constant(2.0),
    "empty": Constant(0.0),
}
MASKS = ("tetrapod", "astigmatism", "double_helix")
RATES = {"1e-2": 1e-2, "1e-3": 1e-3}
FEWER = {"1e-2": 4, "1e-3": 1}
FACTOR = 1.5
ENOUGH = 200  # false emitters tell a rate to 7 %: no more frames are read
EVERY = {"sigma_xy_max_um": 1e3, "sigma_z_max_um": 1e3}  # rows are kept however uncertain


def cells() -> list[str]:
    return [f"{mask}/{name}/{rate}" for mask in MASKS for rate in RATES for name in BACKGROUNDS]


def measure(cell: str, frames: int) -> dict:
    mask, name, rate = cell.split("/")
    frames = max(1, frames // FEWER[rate])
    reader = joint_reader(mask, false_per_um2=RATES[rate], **EVERY)
    reading = read(reader, draw_background(BACKGROUNDS[name], frames), most_rows=ENOUGH)
    frames = reading.frames
    n, area = reading.found.frame.size, frames * (SCENE.frame_px * SCOPE.pixel_um) ** 2
    low, high = chi2.ppf(0.025, 2 * n) / 2 if n else 0.0, chi2.ppf(0.975, 2 * n + 2) / 2
    brightest = float(reading.found.photons.max()) if n else 0.0
    return {
        "frames": frames,
        "false_emitters": n,
        "area_um2": rounded(area, 6),
        "expected": rounded(RATES[rate] * area),
        "per_um2": rounded([n / area, low / area, high / area]),
        "over_asked": rounded([value / area / RATES[rate] for value in (n, low, high)]),
        "median_photons": rounded(float(np.median(reading.found.photons))) if n else None,
        "brightest_photons": rounded(brightest),
        "cpu_s_per_frame": rounded(reading.cpu_s_per_frame, 3),
    }


def rows(numbers: dict) -> Rows:
    found = numbers["cells"]
    for mask in MASKS:
        for rate in RATES:
            names = [name for name in BACKGROUNDS if f"{mask}/{name}/{rate}" in found]
            if names:
                ratios = [found[f"{mask}/{name}/{rate}"]["over_asked"] for name in names]
                yield (
                    f"frames without emitters, {mask}: false ones over the {rate} per um2 and frame that were asked "
                    f"for (95 %); {', '.join(names)}",
                    f"{1 / FACTOR:.2f}-{FACTOR}",
                    ", ".join(f"{ratio:.2f} ({low:.2f}-{high:.2f})" for ratio, low, high in ratios),
                )


def main() -> None:
    fill("crowd_false", cells(), measure, cell_parser(__doc__, 800).parse_args())


if __name__ == "__main__":
    main()
