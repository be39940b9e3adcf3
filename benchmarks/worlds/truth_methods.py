"""What is run on a set with truth: our list decoder, our fits, published weights, and Picasso outside the tree."""

import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import localization
from experiments.compare.config import arm_run, load_experiment
from experiments.reading.classical import ClassicalReader
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.readers import Reading, describe, run_reader, weights_reader
from experiments.reading.spots import SpotTable, gaussian_spots, psf_spots
from localization import Gate, Localizations, make_localizations
from measure.peer import PEERS
from optics import Camera, Psf, make_camera
from training.instrument import run_psf
from worlds import DATA
from worlds.truth_data import TruthSet

NETWORKS = {2: "demo2_tetrapod_loss", 3: "demo3_tetrapod_loss", 5: "demo5_learned_loss"}
BIAS_UM = 0.055  # what the published read-out adds too much for demo 3 and demo 5


def list_decoder(one: TruthSet, runs: Path, share: float = 1.0) -> Localizations | str:
    """The list of our trained decoder at a share of its usual threshold, or how to train it."""
    folder = runs / one.preset
    if not one.preset:
        return "no preset of ours is made for this set"
    if not (folder / "config.json").exists():
        return f"not trained: colocus train {one.preset} --out runs/{one.preset}"
    model = describe(folder)
    if one.run_camera:
        return run_reader(model, Reading(threshold_share=share)).read(one.frames, 0)
    reader = run_reader(model, Reading(camera=make_camera(), threshold_share=share))
    return reader.read((one.frames - one.offset[:, None, None]) / one.gain[:, None, None], 0)


def preset_psf(preset: str, **changes: Any) -> tuple[Psf, tuple[float, float]]:
    """The PSF and the depths of one of our configurations, at the pupil's full sampling."""
    config = load_experiment(preset)
    run = arm_run(config, config.arms[0], 0)
    psf = dataclasses.replace(run.psf, **{"pupil_px": None, "ring_px": None, **changes})
    return run_psf(dataclasses.replace(run, psf=psf)), (run.scene.z_min_um, run.scene.z_max_um)


def camera_of(one: TruthSet, frame: int) -> Camera:
    """The set's camera; an EMCCD's gain is split so that one photon is one electron."""
    gain, offset = float(one.gain[frame]), float(one.offset[frame])
    if one.emccd:
        return make_camera(kind="emccd", gain_adu_per_e=gain / 100, em_gain=100.0, offset_adu=offset)
    return make_camera(gain_adu_per_e=gain, offset_adu=offset, read_noise_e=one.read_noise_e / gain)


def fits(one: TruthSet, spots: SpotTable, config: ClassicalConfig) -> Localizations:
    """Our detection and maximum-likelihood fits; frames of one camera together."""
    same = len(np.unique(one.gain)) == 1 and len(np.unique(one.offset)) == 1
    groups = [range(len(one.frames))] if same else [range(k, k + 1) for k in range(len(one.frames))]
    parts = []
    for group in groups:
        reader = ClassicalReader(spots, camera_of(one, group.start), config, "fits")
        for first in range(group.start, group.stop, config.group):
            parts.append(reader.read(one.frames[first : min(first + config.group, group.stop)], first))
    return localization.concatenate(parts)


def gaussian_fits(one: TruthSet, sigma_um: float, config: ClassicalConfig) -> Localizations:
    return fits(one, gaussian_spots(sigma_um, one.pixel_um, config.stamp_px), config)


def psf_fits(one: TruthSet, psf: Psf, z_range_um: tuple[float, float], config: ClassicalConfig) -> Localizations:
    return fits(one, psf_spots(psf, z_range_um), config)


def published(one: TruthSet, demo: int, *, as_published: bool, share: float = 1.0) -> Localizations:
    """DeepSTORM3D's own weights in our code, at a share of their threshold.

    With the read-out's shift as published, or as its images ask for it.
    """
    path = DATA / "ds3d-networks" / NETWORKS[demo] / "weights.npz"
    reader = weights_reader(describe(path), Reading(threshold_share=share), f"demo{demo}")
    found = reader.read(one.frames, 0)
    shift = BIAS_UM if as_published and demo != 2 else 0.0
    return dataclasses.replace(found, x_um=found.x_um + shift, y_um=found.y_um + shift)


def stored(one: TruthSet, demo: int) -> Localizations:
    """What the original program wrote for these frames."""
    import pandas as pd

    rows = pd.read_csv(DATA / "ds3d-sim-reference" / f"original_network_localizations_demo{demo}.csv")
    half = one.frames.shape[1] * one.pixel_um / 2
    return make_localizations(rows["image"], rows["x_um"] + half, rows["y_um"] + half, rows["z_um"])


def picasso(
    one: TruthSet, python: str, *, boxes: Sequence[int], gradients: Sequence[float], methods: Sequence[str]
) -> tuple[dict[str, Localizations], dict[str, str]]:
    """Picasso's tables for every method, box and minimum net gradient, and its version."""
    with tempfile.TemporaryDirectory() as folder:
        movie, job, out = (Path(folder) / name for name in ("movie.ome.tif", "job.json", "out.npz"))
        tifffile.imwrite(movie, one.frames.astype(np.uint16), metadata={"axes": "TYX"})
        camera = {"baseline": float(one.offset[0]), "sensitivity": 1 / float(one.gain[0])}
        work = camera | {"pixel_nm": 1e3 * one.pixel_um}
        work |= {"boxes": list(boxes), "gradients": list(gradients), "methods": list(methods)}
        job.write_text(json.dumps(work | {"movie": str(movie), "out": str(out)}))
        run = subprocess.run(
            [python, str(PEERS / "picasso_localize.py"), str(job)], capture_output=True, text=True, check=False
        )
        if run.returncode:
            raise SystemExit(f"Picasso stopped: {run.stderr[-600:]}")
        file = np.load(out)
        names = sorted({key.rsplit("/", 1)[0] for key in file.files})
        tables = {}
        for name in names:
            frame, x, y, photons = (file[f"{name}/{key}"] for key in ("frame", "x_px", "y_px", "photons"))
            good = np.isfinite(x) & np.isfinite(y)
            x_um, y_um = ((at[good] + 0.5) * one.pixel_um for at in (x, y))
            tables[name] = make_localizations(
                frame[good], x_um, y_um, np.zeros(good.sum()), photons=np.maximum(photons[good], 0)
            )
    return tables, json.loads(run.stdout.strip().splitlines()[-1])


def best(tables: dict[str, Localizations], truth: Localizations, gate: Gate) -> Iterator[tuple[str, Localizations]]:
    """The table of highest lateral efficiency first."""

    def value(name: str) -> float:
        return float(np.nan_to_num(localization.score(tables[name], truth, **gate).efficiency_lateral, nan=-1e9))

    for name in sorted(tables, key=value, reverse=True):
        yield name, tables[name]
