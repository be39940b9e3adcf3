"""How long a generator takes to fit, and how many labelled frames it draws in a minute.

    python benchmarks/scene_speed.py [--crops 250] [--steps 1500] [--frames 512]

The movie is `scene_world`'s experiment in depth, frames of 129 x 129 pixels with 25 emitters each; the fit is that of
`colocus generate fit` with its default settings and as many slots as it asks for. The time of each stage is told, from
the first look at the movie to the last file. Then frames of 129 x 129 pixels with 25 emitters are drawn on the device
as training draws them, in turn with frames of plain simulation through the same PSF: medians of five turns. What an
accelerator gives goes to results/scene_speed_gpu.json.
"""

import argparse
import dataclasses
import shutil
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from measure.record import Rows, write_result
from optics import make_camera
from optics.background import UniformLevel
from optics.progress import Event
from optics.pytree import replace
from training.config import SceneConfig
from training.generator.draw import DrawSettings, generate
from training.generator.files import load_generator
from training.generator.run import fit_generator
from training.scenes import make_scene, simulate
from worlds.scene_learned import RUNS, Learning, generator_config
from worlds.scene_sources import SHEET_READ_E
from worlds.scene_world import EFFICIENCY, GAIN, OFFSET, World, make_world, movie

PLACE = 280  # of its rows in benchmarks/README.md
RECORDS = ("scene_speed", "scene_speed_gpu")

SIDE, EMITTERS, TURNS, SEED = 129, 25.0, 5, 31


def wide_world() -> World:
    world = make_world("3d", frame_px=SIDE)
    return replace(world, kind=dataclasses.replace(world.kind, emitters=EMITTERS, capacity=45))


def fit_time(world: World, crops: int, steps: int, folder: Path) -> dict:
    """Seconds of each stage of one fit into `folder`, which is emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    learning = Learning(frames=crops, steps=steps)
    config = generator_config(world, learning)
    frames, stages = movie(SEED, world, crops), []

    def report(event: Event) -> None:
        name = "learning" if event.stage == "step" else event.stage
        if not stages or stages[-1][0] != name:
            stages.append([name, event.numbers["seconds"]])
            print(f"{event.numbers['seconds']:7.1f} s  {name}", flush=True)

    started = time.perf_counter()
    told = fit_generator(config, frames, folder, report=report)
    whole = time.perf_counter() - started
    ends = [s[1] for s in stages[1:]] + [whole]
    return {
        "crops": crops,
        "steps": steps,
        "slots": config.slots,
        "minutes": round(whole / 60, 2),
        "seconds_by_stage": {name: round(end - begin, 1) for (name, begin), end in zip(stages, ends, strict=True)},
        "chi2_per_pixel": told["chi2_per_pixel"]["fit"],
        "emitters_per_crop": told["emitters_per_crop"]["mean"],
    }


def draw_rates(folder: Path, frames: int, batch: int) -> dict:
    """Frames a minute of the generator and of plain simulation, in turn."""
    plain = load_generator(folder, SIDE)
    per_frame = float(np.mean(np.asarray(plain.counts)))
    scenes = load_generator(folder, SIDE, DrawSettings(density=EMITTERS / per_frame))
    scene = make_scene(
        SceneConfig(frame_px=SIDE, count_min=20, count_max=30, z_max_um=2.0, margin_um=0.0, photons_min=1000.0),
        float(scenes.fitted.model.ranges.pixel_um),
        30,
    )
    camera = make_camera(
        gain_adu_per_e=GAIN, offset_adu=OFFSET, quantum_efficiency=EFFICIENCY, read_noise_e=SHEET_READ_E
    )
    background = UniformLevel(20.0, 100.0)
    sources = {
        "generated": jax.jit(lambda keys: generate(keys, scenes, scenes.psf)),
        "simulated": jax.jit(lambda keys: simulate(keys, scenes.psf, scene, background, camera)),
    }
    rates: dict[str, list[float]] = {name: [] for name in sources}
    counts = {name: 0.0 for name in sources}
    for name, draw in sources.items():
        made = jax.block_until_ready(draw(jax.random.split(jax.random.key(0), batch)))
        counts[name] = float(jnp.sum(made.emitters.valid)) / batch
    for turn in range(TURNS):
        for name, draw in sources.items():
            started = time.perf_counter()
            for k in range(max(1, frames // batch)):
                jax.block_until_ready(draw(jax.random.split(jax.random.key(100 * turn + k), batch)))
            rates[name].append(max(1, frames // batch) * batch / (time.perf_counter() - started) * 60)
    middle = {name: round(float(np.median(values))) for name, values in rates.items()}
    return {
        "batch": batch,
        "emitters_per_frame": {name: round(v, 2) for name, v in counts.items()},
        "frames_per_minute": middle,
        "generated_over_simulated": round(middle["generated"] / middle["simulated"], 3),
        "device": jax.devices()[0].device_kind,
    }


def rows(numbers: dict) -> Rows:
    fit, draw = numbers["fit"], numbers["draw"]
    yield (f"fit of {fit['crops']} crops of 129 px", "<= 30 min (GPU 3 min)", f"{fit['minutes']:.1f} min")
    rate = draw["frames_per_minute"]
    yield (
        f"frames of 129 px and 25 emitters a minute on {draw['device']} (plain simulation {rate['simulated']})",
        "reported (GPU 10,000)",
        f"{rate['generated']}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--crops", type=int, default=250)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--frames", type=int, default=512, help="drawn in each turn")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, default=RUNS / "scene_speed")
    arguments = parser.parse_args()
    fitted = fit_time(wide_world(), arguments.crops, arguments.steps, arguments.out)
    rates = draw_rates(arguments.out, arguments.frames, arguments.batch)
    place = "" if jax.default_backend() == "cpu" else "_gpu"
    print(write_result(f"scene_speed{place}", {"fit": fitted, "draw": rates}))


if __name__ == "__main__":
    main()
