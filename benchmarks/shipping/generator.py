"""The generator that comes with Colocus: copied from a fit of `scene_world`'s experiment, with where it is from.

    python benchmarks/shipping/generator.py [--kind 3d] [--name demo]

The movie is our own simulation (MIT, as all of Colocus): `scene_world.movie`, which the other scripts use too. Where no
fit of it lies under runs/scene_generators yet, it is made first.
"""

import argparse
import dataclasses
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/, where measure and worlds are
from measure.record import write_result
from optics.whole_file import write_text
from training.generator.files import SHIPPED
from worlds.scene_learned import MOVIE_SEED, Learning, add_learning, generator_path, learned_scenes, learning_of
from worlds.scene_world import KINDS, make_world

FILES = ("generator.json", "networks.npz", "bank.npz", "psf.npz", "examples.npz", "metrics.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kind", choices=list(KINDS), default="3d")
    parser.add_argument("--name", default="demo")
    add_learning(parser)
    arguments = parser.parse_args()
    learning: Learning = learning_of(arguments)
    _, told = learned_scenes(arguments.kind, make_world(arguments.kind), learning, arguments.generators)
    made, place = generator_path(arguments.kind, learning, arguments.generators), SHIPPED / arguments.name
    place.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(made / name, place / name)
    facts = json.loads((place / "generator.json").read_text())
    facts["config"]["title"] = f"{arguments.name}: a simulated cell, Tetrapod mask"
    write_text(place / "generator.json", json.dumps(facts, indent=1) + "\n")
    numbers = {
        "movie": "simulated: benchmarks/worlds/scene_world.py, "
        f"movie({MOVIE_SEED}, make_world({arguments.kind!r}), frames)",
        "licence": "MIT, as Colocus",
        "learning": dataclasses.asdict(learning),
        "metrics": {k: told[k] for k in ("chi2_per_pixel", "emitters_per_crop", "noise", "psf", "seconds", "warnings")},
        "bytes": sum((place / name).stat().st_size for name in FILES),
    }
    print(write_result("provenance", numbers, folder=place))


if __name__ == "__main__":
    main()
