"""Our files in other programs' readers, and theirs in ours: the largest difference of every column.

    python benchmarks/outside_readers.py --picasso-python ENV/bin/python --locan-python ENV2/bin/python \\
        --picasso-1-python ENV3/bin/python --napari-python ENV4/bin/python --pyme-python ENV5/bin/python

Each program runs in an environment of its own (pip install picassosr; locan h5py; picassosr==1.0.0a1; napari-storm;
python-microscopy, for which findings/pyme_unknown_column.sh says how to build it). Picasso also fits
spots drawn here at known places: what our reader makes of its table must be those places, half pixels and all.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from localization import make_localizations, read_file, to_frame, write
from measure.record import Rows, write_result
from worlds import DATA

PLACE = 230  # of its rows in benchmarks/README.md

PIXEL_UM = 0.11
ROWS = 2000

PICASSO = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd
import picasso
from picasso import io, localize
folder = Path(sys.argv[1])
locs, info = io.load_locs(str(folder / "ours.hdf5"))
np.savez(folder / "picasso_side.npz", **{c: locs[c].to_numpy() for c in locs})
(folder / "ours.yaml").rename(folder / "away.yaml")
locs, info = io.load_locs(str(folder / "ours.hdf5"))
np.savez(folder / "picasso_embedded.npz", **{c: locs[c].to_numpy() for c in locs})
given = np.load(folder / "theirs.npz")
frame = pd.DataFrame({c: given[c] for c in given.files})
io.save_locs(str(folder / "theirs.hdf5"), frame, [dict(Width=64, Height=64, Frames=60, Pixelsize=110.0)])
movie, info = io.load_movie(str(folder / "movie.ome.tif"))
np.save(folder / "picasso_movie.npy", np.asarray(movie[:]))
camera = {"Baseline": 100, "Sensitivity": 1.0, "Gain": 1, "Qe": 1.0, "Pixelsize": 110}
parameters = {"Min. Net Gradient": 3000, "Box Size": 7}
found = localize.localize(movie, camera_info=camera, identification_parameters=parameters, threaded=False,
    fitting_method="gaussmle", movie_info=info)
found = found[0] if isinstance(found, tuple) else found
io.save_locs(str(folder / "fitted.hdf5"), found,
             [dict(Width=48, Height=48, Frames=40, Pixelsize=110.0)])
print(json.dumps({"version": picasso.__version__}))
"""

LOCAN = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import numpy as np
import locan
from locan.locan_io import locdata as io
folder, data = Path(sys.argv[1]), Path(sys.argv[2])
def keep(name, loaded):
    np.savez(folder / name, **{c: loaded.data[c].to_numpy() for c in loaded.data})
keep("locan_thunderstorm.npz", locan.load_thunderstorm_file(folder / "ours.csv"))
keep("locan_decode.npz", locan.load_decode_file(folder / "ours.h5"))
theirs = locan.load_thunderstorm_file(folder / "ours.csv")
locan.save_thunderstorm_csv(theirs, folder / "locan_saved.csv")
if data.is_dir():
    for name, load in (
        ("formats/Elyra_dstorm_data.txt", locan.load_Elyra_file),
        ("formats/Nanoimager_dstorm_data.csv", locan.load_Nanoimager_file),
        ("formats/Thunderstorm_dstorm_data.csv", locan.load_thunderstorm_file),
        ("formats/SMLM_dstorm_data.smlm", locan.load_SMLM_file),
        ("formats/decode_dstorm_data.h5", locan.load_decode_file),
        ("rapidSTORM_from_images.txt", locan.load_rapidSTORM_file),
    ):
        keep("real_" + Path(name).name + ".npz", load(data / name))
print(json.dumps({"version": locan.__version__}))
"""


OPENERS = {  # ours, opened by others: x, y in nm as the program has them, frames, photons
    "picasso-1": """
import picasso
from picasso import io
def open_ours(path):
    found = io.load_locs(str(path))[0]
    return {c: found[c].to_numpy() for c in ("x", "y", "frame", "photons")}
FILES, VERSION = ("ours_1.hdf5", "ours.hdf5"), picasso.__version__
""",
    "napari-storm": """
import importlib.metadata
from napari_storm.localization_dataset_types import StormDataClass
def open_ours(path):
    read = StormDataClass()
    found = read.load_csv(str(path), "ours")[0] if path.suffix == ".csv" else read.load_hdf5(str(path), "ours")
    rows = found.locs_all
    return {"x": found.table.coordinate_nm("x"), "y": found.table.coordinate_nm("y"),
            "frame": rows.frame_number, "photons": rows.photon_count}
FILES, VERSION = ("ours.csv", "ours.hdf5"), importlib.metadata.version("napari-storm")
""",
    "pyme": """
import importlib.metadata
from PYME.IO import tabular
def open_ours(path):
    labels = [label.strip('"') for label in open(path).readline().strip().split(",")]
    names = [label.split(" [")[0] for label in labels]
    found = tabular.TextfileSource(str(path), names, delimiter=",", skiprows=1)
    return {"x": found["x"], "y": found["y"], "frame": found["frame"], "photons": found["intensity"]}
FILES, VERSION = ("ours.csv",), importlib.metadata.version("python-microscopy")
""",
}
OPEN = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import numpy as np
for name in FILES:
    np.savez(Path(sys.argv[1]) / f"{name}.npz", **open_ours(Path(sys.argv[1]) / name))
print(json.dumps({"version": VERSION, "files": FILES}))
"""


def opened_by(program: str, python: str) -> tuple[dict, str]:
    """Our tables in a program's reader: the largest difference in px, and whether frames and photons are exact."""
    locs, numbers = make_table(), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "ours.csv", locs)
        facts = {"pixel_um": PIXEL_UM, "frame_px": (64, 64), "n_frames": 60}
        write(folder / "ours.hdf5", locs, format="picasso", **facts)
        write(folder / "ours_1.hdf5", locs, format="picasso-1", **facts)
        version = run(python, OPENERS[program] + OPEN, folder)
        for path in sorted(folder.glob("*.npz")):
            found, text = dict(np.load(path)), path.stem.endswith(".csv")
            shift = 0.0 if text else 0.5  # Picasso counts from the first pixel's centre
            off = [found[axis] / (1000 * PIXEL_UM) + shift - getattr(locs, f"{axis}_um") / PIXEL_UM for axis in "xy"]
            light = np.round(locs.photons, 3) if text else locs.photons
            numbers[path.stem] = {
                "rows": len(found["x"]),
                "largest_px": float(np.abs(off).max()),
                "frames_exact": bool(np.array_equal(found["frame"], locs.frame + text)),
                "photons_exact": bool(np.array_equal(np.float32(found["photons"]), np.float32(light))),
            }
    return numbers, version


def make_table():
    """Rows with every column known, inside 64 x 64 pixels."""
    rng = np.random.default_rng(0)
    return make_localizations(
        np.sort(rng.integers(0, 60, ROWS)),
        *rng.uniform(0.6 * PIXEL_UM, 63 * PIXEL_UM, (2, ROWS)),
        rng.uniform(0.1, 3, ROWS),
        photons=rng.gamma(3, 1000, ROWS),
        background=rng.uniform(1, 90, ROWS),
        sigma_x_um=rng.uniform(0.005, 0.03, ROWS),
        sigma_y_um=rng.uniform(0.005, 0.03, ROWS),
        sigma_z_um=rng.uniform(0.01, 0.05, ROWS),
        channel=rng.integers(0, 2, ROWS),
        score=rng.uniform(0.1, 0.9, ROWS),
    )


def draw_spots(n_frames: int = 40, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Frames with four Gaussian spots each, integrated over pixels, and their (frame, x, y) in px from the corner."""
    from scipy.special import erf

    rng = np.random.default_rng(1)
    sigma, edges = 1.1, np.arange(side + 1)
    frames, truth = np.full((n_frames, side, side), 20.0), []
    for k in range(n_frames):
        for corner in ((12, 12), (12, 36), (36, 12), (36, 36)):
            x, y = corner + rng.uniform(-3, 3, 2)
            along = [np.diff(0.5 * (1 + erf((edges - c) / (np.sqrt(2) * sigma)))) for c in (x, y)]
            frames[k] += 20_000 * np.outer(along[1], along[0])
            truth.append((k, x, y))
    return (rng.poisson(frames) + 100).astype(np.uint16), np.array(truth)


def differences(found: dict, expected: dict) -> dict:
    """The largest difference of every column, and the number of rows if it is not the same."""
    rows = {len(column) for column in found.values()} | {len(column) for column in expected.values()}
    if len(rows) > 1:
        return {"rows_differ": sorted(rows)}
    return {
        name: float(np.nanmax(np.abs(np.asarray(found[name], float) - column))) for name, column in expected.items()
    }


def run(python: str, script: str, *arguments: Path) -> str:
    """Run a peer's script; returns its version."""
    done = subprocess.run([python, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["version"]


def ours_in_um(path: Path, **options) -> dict:
    """Our reading of a file as plain columns."""
    return {str(name): column.to_numpy() for name, column in to_frame(read_file(path, **options).locs).items()}


def against_picasso(python: str) -> tuple[dict, str]:
    """Tables both ways, a movie, and spots that Picasso fits."""
    import tifffile

    from experiments.lists.convert import convert

    locs = make_table()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "ours.hdf5", locs, pixel_um=PIXEL_UM, frame_px=(64, 64), n_frames=60)
        their_px = {
            "frame": locs.frame.astype(np.uint32), "x": locs.x_um / PIXEL_UM - 0.5, "y": locs.y_um / PIXEL_UM - 0.5,
            "photons": locs.photons, "sx": np.ones(ROWS), "sy": np.ones(ROWS), "bg": locs.background,
            "lpx": locs.sigma_x_um / PIXEL_UM, "lpy": locs.sigma_y_um / PIXEL_UM, "z": 1000 * locs.z_um,
            "lpz": 1000 * locs.sigma_z_um,
        }  # fmt: skip
        np.savez(folder / "theirs.npz", **{k: v if k == "frame" else v.astype(np.float32) for k, v in their_px.items()})
        spots, truth = draw_spots()
        tifffile.imwrite(folder / "movie.tif", spots, photometric="minisblack")
        convert(folder / "movie.tif", folder / "movie.ome.tif")
        version = run(python, PICASSO, folder)
        wanted = {k: v for k, v in their_px.items() if k not in ("sx", "sy")}
        wanted |= {"channel": locs.channel, "score": locs.score}
        numbers = {}
        for kind in ("side", "embedded"):
            loaded = dict(np.load(folder / f"picasso_{kind}.npz"))
            numbers[f"ours_in_picasso_{kind}_px_nm"] = differences(loaded, wanted)
        back = ours_in_um(folder / "theirs.hdf5")
        expected = ours_in_um(folder / "ours.hdf5", pixel_um=PIXEL_UM)
        numbers["picasso_in_ours_um"] = differences(
            back, {k: v for k, v in expected.items() if k not in ("channel", "score")}
        )
        movie = np.load(folder / "picasso_movie.npy")
        numbers["movie_pixels_that_differ"] = int((movie != spots).sum()) if movie.shape == spots.shape else -1
        fitted = ours_in_um(folder / "fitted.hdf5")
        errors = []
        for frame, x, y in zip(fitted["frame"], fitted["x_um"] / PIXEL_UM, fitted["y_um"] / PIXEL_UM, strict=True):
            near = truth[truth[:, 0] == frame, 1:]
            errors.append(min(np.array([x, y]) - near, key=lambda e: np.hypot(*e)))
        errors = np.array(errors)
        numbers["spots_fitted_by_picasso"] = {
            "drawn": len(truth), "found": len(errors), "mean_error_px": errors.mean(0).tolist(),
            "standard_error_px": (errors.std(0) / np.sqrt(len(errors))).tolist(),
        }  # fmt: skip
    return numbers, version


def against_locan(python: str) -> tuple[dict, str]:
    """Tables both ways, and the real files that both read."""
    locs = make_table()
    data = DATA / "locan-dstorm"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "ours.csv", locs)
        one = {**{str(k): v.to_numpy() for k, v in to_frame(locs).items()}, "channel": np.zeros(ROWS)}
        write(folder / "ours.h5", make_localizations(**one), format="decode", pixel_um=PIXEL_UM)
        version = run(python, LOCAN, folder, data)
        nm = {"position_x": 1000 * locs.x_um, "position_y": 1000 * locs.y_um, "position_z": 1000 * locs.z_um}
        light = {"intensity": locs.photons, "local_background": locs.background}
        numbers = {
            "ours_in_locan_thunderstorm_nm": differences(
                dict(np.load(folder / "locan_thunderstorm.npz")), {**nm, **light, "frame": locs.frame + 1}
            ),
            "ours_in_locan_decode_px_nm": differences(
                dict(np.load(folder / "locan_decode.npz")),
                {
                    "position_x": locs.y_um / PIXEL_UM - 0.5, "position_y": locs.x_um / PIXEL_UM - 0.5,
                    "position_z": 1000 * locs.z_um, **light, "frame": locs.frame,
                },
            ),
        }  # fmt: skip
        saved = ours_in_um(folder / "locan_saved.csv")
        numbers["locan_in_ours_um"] = differences(
            saved, {k: getattr(locs, k) for k in ("frame", "x_um", "y_um", "z_um")}
        )
        for path in sorted(folder.glob("real_*.npz")):
            numbers[path.stem] = _real(path, data)
    return numbers, version


def _real(path: Path, data: Path) -> dict:
    """A real file in both readers: positions in um (after our half pixel is taken off again), frames, light."""
    name = path.name.removeprefix("real_").removesuffix(".npz")
    source = next(f for f in (data / name, data / "formats" / name) if f.exists())
    theirs = dict(np.load(path))
    found = read_file(source, pixel_um=0.1335 if "rapid" in name else None)
    locs = found.locs
    x, y, z = locs.x_um, locs.y_um, locs.z_um
    if found.format == "rapidstorm":
        x, y = x - 0.5 * 0.1335, y - 0.5 * 0.1335
    expected = {"position_x": 1000 * x, "position_y": 1000 * y}
    if found.format == "decode":  # px of 127 nm along rows and 117 nm along columns
        expected = {"position_x": y / 0.127 - 0.5, "position_y": x / 0.117 - 0.5}
    if "position_z" in theirs:
        expected["position_z"] = 1000 * z
    expected["frame"] = locs.frame + (found.format in ("thunderstorm", "elyra"))
    if np.isfinite(locs.photons).all():
        expected["intensity"] = locs.photons
    return differences(theirs, expected)


def rows(numbers: dict) -> Rows:
    opened = [file for program in OPENERS for file in numbers.get(program, {}).values()]
    if opened:
        exact = all(file["frames_exact"] and file["photons_exact"] and file["rows"] == ROWS for file in opened)
        yield (
            "lists of ours opened by Picasso 1.0, napari-storm and PYME: largest difference; frames and photons",
            "<= 1e-3 px; exact",
            f"{max(file['largest_px'] for file in opened):.1e} px; {'exact' if exact else 'not exact'}",
        )
    theirs = numbers["picasso"]["spots_fitted_by_picasso"]
    yield (
        "spots that we draw and write, found by Picasso: mean error x, y",
        "0",
        ", ".join(
            f"{e:+.4f} +- {s:.4f} px" for e, s in zip(theirs["mean_error_px"], theirs["standard_error_px"], strict=True)
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--picasso-python", help="python of an environment with Picasso")
    parser.add_argument("--locan-python", help="python of an environment with Locan")
    parser.add_argument("--picasso-1-python", help="python of an environment with Picasso 1.0")
    parser.add_argument("--napari-python", help="python of an environment with napari-storm")
    parser.add_argument("--pyme-python", help="python of an environment with PYME")
    chosen = parser.parse_args()
    others = {"picasso-1": chosen.picasso_1_python, "napari-storm": chosen.napari_python, "pyme": chosen.pyme_python}
    if not any(vars(chosen).values()):
        parser.error("name at least one environment")
    results, versions = {}, {}
    if chosen.picasso_python:
        results["picasso"], versions["picassosr"] = against_picasso(chosen.picasso_python)
    if chosen.locan_python:
        results["locan"], versions["locan"] = against_locan(chosen.locan_python)
    for program, python in others.items():
        if python:
            results[program], versions[program] = opened_by(program, python)
    print(json.dumps(results, indent=1))
    print(write_result("outside_readers", results, versions=versions))


if __name__ == "__main__":
    main()
