"""Programs of others and Colocus in one table: a stack of images, fits of single emitters, networks on frames.

    python benchmarks/peers_table.py psf fits networks --torch-python PATH --generator-python PATH \\
        --psfmodels-python PATH --chromatix-python PATH --picasso-python PATH --smappy-python PATH \\
        --deepstorm3d FOLDER --autods3d FOLDER --fd-deeploc FOLDER --liteloc FOLDER --decode FOLDER

A program takes part if its interpreter, or the checkout of its repository (with --torch-python), is given; nothing is
fetched. Each runs in a process of its own on one thread, all in turn; times are medians of processor seconds, memory is
the most that its process held. One that was measured before and is not given now stands as "not given". The tables are
in docs/peers.md; DeepSTORM3D's whole program is in `joint_peer.py`.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from measure.record import RESULTS, Rows, write_result
from worlds import DATA
from worlds.peer_programs import Program, aligned, ask_in_turn, errors, take_one_thread

PLACE = 236  # of its rows in benchmarks/README.md
RECORDS = ("peers_psf", "peers_fits", "peers_networks")

PSF = {  # one medium, so that programs with and without a coverslip have one answer
    "na": 1.4, "index": 1.515, "wavelength_um": 0.6, "pixel_um": 0.1, "side": 41,
    "z_um": [round(0.1 * k - 1.0, 1) for k in range(21)],
    "modes": [[2, 2, 0.05], [3, -1, 0.05], [3, 3, 0.04], [4, 0, 0.04]],
}  # fmt: skip
REFERENCE, FINER = "160", "240"  # pupil samples of Colocus
SETTINGS = {  # pupil samples or what stands for them, from coarse to fine
    "Colocus": ("default",),
    "psf-generator": ("65", "129", "257"),
    "psfmodels": ("1", "3", "5"),
    "FD-DeepLoc": ("single:64", "single:128", "double:256"),
    "chromatix": ("64", "128", "256"),
}
NEAR = 0.01  # relative L2 of the worst plane: the coarsest setting within it is the row of the table
EMITTERS, PHOTONS, BACKGROUND, STACK_STEP_UM = 1000, 5000.0, 20.0, 0.05
MARGIN_PX = 3  # of the wide stack, for splines that want to reach beyond the stamp
FRAMES, FRAME_PX = 4, 128  # the middle four of six frames


def interpreters(options: argparse.Namespace) -> dict[str, str | None]:
    """The interpreter of each program that is one package."""
    return {
        "psf-generator": options.generator_python, "psfmodels": options.psfmodels_python,
        "chromatix": options.chromatix_python, "Picasso": options.picasso_python, "SMAPpy": options.smappy_python,
    }  # fmt: skip


def psf_programs(options: argparse.Namespace, folder: Path) -> list[Program]:
    pythons, found = interpreters(options), []
    scripts = {
        "Colocus": "psf_colocus.py", "psf-generator": "psf_generator_stack.py", "psfmodels": "psf_psfmodels.py",
        "FD-DeepLoc": "psf_fd_deeploc.py", "chromatix": "psf_chromatix.py",
    }  # fmt: skip
    pythons |= {"Colocus": sys.executable, "FD-DeepLoc": options.torch_python if options.fd_deeploc else None}
    for name, settings in SETTINGS.items():
        if (python := pythons[name]) is None:
            continue
        for setting in settings:
            out = folder / f"{name} {setting}.npz".replace(":", "-")
            more = (options.fd_deeploc,) if name == "FD-DeepLoc" else ()
            arguments = (str(folder / "given.json"), str(out), setting, *more)
            found.append(Program(name, setting, python, scripts[name], arguments))
    return found


def measure_psf(options: argparse.Namespace, folder: Path) -> tuple[dict, dict]:
    (folder / "given.json").write_text(json.dumps(PSF))
    programs = psf_programs(options, folder)
    fine = [
        Program("reference", n, sys.executable, "psf_colocus.py", (programs[0].arguments[0], str(folder / n), n))
        for n in (REFERENCE, FINER)
    ]
    for _ in ask_in_turn(fine, 0):
        pass
    exact, finer = (dict(np.load(folder / f"{n}.npz")) for n in (REFERENCE, FINER))
    numbers: dict[str, Any] = {
        "given": PSF, "reference_pupil_px": int(REFERENCE),
        "reference_against_finer_l2": aligned(exact["modes"], finer["modes"])["worst_l2"], "programs": {},
    }  # fmt: skip
    versions: dict[str, str] = {}
    for program, ready, times in ask_in_turn(programs, options.repeats):
        versions |= ready["versions"]
        made = dict(np.load(program.arguments[1]))
        entry: dict[str, Any] = {"times": times, "imported_mb": ready["imported_mb"], "samples": ready["samples"]}
        against = {pixel: aligned(made["clear"], exact[name]) for pixel, name in PIXELS.items()}
        entry["pixel"], entry["clear"] = min(against.items(), key=lambda item: item[1]["worst_l2"])
        if "modes" in made:
            entry["modes"] = aligned(made["modes"], exact["modes"])
            # of unit-sum images in the middle plane, as programs scale their light differently
            scale = [part["modes"][10].sum() ** 2 for part in (made, exact)]
            ours, theirs = (
                np.abs(part["gradient_per_um"]) / s for part, s in zip((exact, made), scale[::-1], strict=True)
            )
            entry["gradient_off"] = float(np.linalg.norm(theirs - ours) / np.linalg.norm(ours))
        numbers["programs"].setdefault(program.name, {})[program.setting] = entry
        print(program.key, json.dumps(entry), flush=True)
    return numbers, versions


PIXELS = {"centre": "clear", "integrated": "clear_integrated"}


def measure_fits(options: argparse.Namespace, folder: Path) -> tuple[dict, dict]:
    import jax
    import jax.numpy as jnp

    from optics.bounds.fisher import crlb_std
    from worlds.mle_cases import CASES, exact_images, random_stamps

    rng, case = np.random.default_rng(0), CASES["astigmatism"]
    psf = case.psf()
    z = rng.uniform(*case.depth_um, EMITTERS)
    images, xyz = random_stamps(rng, psf, z, PHOTONS, BACKGROUND)
    depths = np.arange(case.fit_range_um[0], case.fit_range_um[1] + STACK_STEP_UM / 2, STACK_STEP_UM)
    points = jnp.asarray(np.column_stack([np.zeros((len(depths), 2)), depths]))
    stack, wide = (np.asarray(exact_images(p, points)) for p in (psf, case.psf(case.image_px + 2 * MARGIN_PX)))
    bound = jax.jit(lambda points: jax.lax.map(lambda p: crlb_std(psf, p, PHOTONS, BACKGROUND), points, batch_size=8))
    bound_um = np.asarray(bound(jnp.asarray(xyz)))[:, :3]
    given = folder / "given.npz"
    stacks = {"stack": stack, "wide": wide, "stack_z_um": depths}
    np.savez(given, images=images, pixel_um=psf.microscope.pixel_um, **stacks)
    pythons = {"Colocus": sys.executable, **interpreters(options)}
    scripts = {"Colocus": "fits_colocus.py", "Picasso": "fits_picasso.py", "SMAPpy": "fits_smappy.py"}
    programs = [
        Program(name, "", python, script, (str(given), str(folder / f"{name}.npz")))
        for name, script in scripts.items()
        if (python := pythons[name]) is not None
    ]
    numbers: dict[str, Any] = {
        "emitters": EMITTERS, "photons": PHOTONS, "background": BACKGROUND, "image_px": case.image_px,
        "bound_nm": (1e3 * np.sqrt(np.mean(bound_um**2, axis=0))).round(2).tolist(), "programs": {},
    }  # fmt: skip
    versions: dict[str, str] = {}
    for program, ready, times in ask_in_turn(programs, options.repeats):
        versions |= ready["versions"]
        entry = {"times": times, "imported_mb": ready["imported_mb"], "prepare_s": round(ready["prepare_s"], 2)}
        entry |= errors(dict(np.load(program.arguments[1])), xyz, bound_um)
        numbers["programs"][program.name] = entry
        print(program.key, json.dumps(entry), flush=True)
    return numbers, versions


def measure_networks(options: argparse.Namespace, folder: Path) -> tuple[dict, dict]:
    frames = np.load(DATA / "ds3d-sim-reference" / "images_demo2.npy")
    frames = frames[np.arange(FRAMES + 2) % len(frames)]
    room = FRAME_PX - frames.shape[1]
    np.save(folder / "frames.npy", np.pad(frames, ((0, 0), (0, room), (0, room)), mode="reflect").astype(np.float32))
    path = str(folder / "frames.npy")
    programs = [
        Program(f"Colocus, {words}", "", sys.executable, "network_colocus.py", (kind, path))
        for kind, words in (("list", "list decoder"), ("list3", "list decoder of three frames"))
    ]
    for name, label in NETWORKS.items():
        checkout = getattr(options, name)
        if checkout and options.torch_python:
            programs.append(Program(label, "", options.torch_python, "network_torch.py", (name, path, checkout)))
    numbers: dict[str, Any] = {"frames": FRAMES, "frame_px": FRAME_PX, "programs": {}}
    versions: dict[str, str] = {}
    for program, ready, times in ask_in_turn(programs, options.repeats):
        versions |= ready["versions"]
        entry = {"times": times, "imported_mb": ready["imported_mb"], "parameters": ready["parameters"]}
        numbers["programs"][program.name] = entry
        print(program.key, json.dumps(entry), flush=True)
    return numbers, versions


NETWORKS = {"deepstorm3d": "DeepSTORM3D", "autods3d": "AutoDS3D", "fd_deeploc": "FD-DeepLoc", "liteloc": "LiteLoc",
            "decode": "DECODE"}  # fmt: skip
PARTS = {"psf": measure_psf, "fits": measure_fits, "networks": measure_networks}


def chosen(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Of a program's settings, from coarse to fine, the first within NEAR, else the nearest one."""

    def off(entry: dict[str, Any]) -> float:
        return entry.get("modes", entry["clear"])["worst_l2"]

    near = [(setting, entry) for setting, entry in settings.items() if off(entry) <= NEAR]
    return near[0] if near else min(settings.items(), key=lambda item: off(item[1]))


def rows(numbers: dict) -> Rows:
    there = {name: part for name, part in numbers["programs"].items() if "not_given" not in part}
    if "given" in numbers:
        cells = []
        for name, settings in there.items():
            entry = chosen(settings)[1]
            off, times = entry.get("modes", entry["clear"])["worst_l2"], entry["times"]
            slope = f" / {1e3 * times['gradient']['cpu_s']:.0f}" if "gradient" in times else ""
            cells.append(f"{name} {1e3 * times['stack']['cpu_s']:.0f}{slope} ms, {off:.0e}")
        yield "stack of 21 images of 41 px, time / gradient; worst plane off", "first", "; ".join(cells)
    elif "emitters" in numbers:
        cells = [
            f"{name} {1e6 * part['times']['fit']['cpu_s'] / numbers['emitters']:.0f} us, "
            + "/".join(f"{value:.2f}" for value in part["rmse_over_bound"])
            + f", {100 * part['outliers']:.1f} % out"
            for name, part in there.items()
        ]
        yield "fits of single emitters, 21 px, one thread: time a fit; RMSE over the bound", "first", "; ".join(cells)
    else:
        cells = [
            f"{name} {1e3 * part['times']['frames']['cpu_s'] / numbers['frames']:.0f} ms"
            for name, part in there.items()
        ]
        yield "networks on a frame of 128 px, one thread", "reported", "; ".join(cells)


def with_those_before(name: str, numbers: dict) -> dict:
    """Programs that the last record has and this run was not given, as that."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text())["numbers"]["programs"] if path.exists() else {}
    gone = {program: {"not_given": True} for program in before if program not in numbers["programs"]}
    return {**numbers, "programs": {**numbers["programs"], **gone}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (all)")
    for flag, what in {
        "torch": "PyTorch", "generator": "psf-generator", "psfmodels": "psfmodels", "chromatix": "chromatix",
        "picasso": "picassosr", "smappy": "smappy-smlm",
    }.items():  # fmt: skip
        parser.add_argument(f"--{flag}-python", help=f"an interpreter that has {what}")
    for flag, label in NETWORKS.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", help=f"a checkout of {label}")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    take_one_thread()
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as name:
            numbers, versions = PARTS[part](options, Path(name))
        record = f"peers_{part}"
        numbers["repeats"] = options.repeats
        print(write_result(record, with_those_before(record, numbers), versions=versions))


if __name__ == "__main__":
    main()
