"""Generators that come with Colocus: whole, small, and of a format that this version reads."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from training.generator.draw import generate
from training.generator.files import SHIPPED, load_scenes


def test_the_shipped_generator_is_whole_and_draws():
    """`demo`: where it is from is said beside it, all of it is small, and its frames are finite with labels inside."""
    folder = SHIPPED / "demo"
    told = json.loads((folder / "provenance.json").read_text())
    assert told["commit"] and told["command"].startswith("python benchmarks/ship_generator.py")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4e6
    scenes = load_scenes("demo", 24)
    frames = jax.jit(lambda key: generate(jax.random.split(key, 2), scenes, scenes.psf))(jax.random.key(0))
    assert bool(jnp.isfinite(frames.images).all()) and frames.images.shape == (2, 24, 24)
    place_um = np.asarray(frames.emitters.xyz_um)[np.asarray(frames.emitters.valid)]
    assert len(place_um) and (place_um >= 0).all() and (place_um[:, :2] <= 24 * 0.11).all()
