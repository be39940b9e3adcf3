"""Generators that come with Colocus: whole, small, and of a format that this version reads."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from training.generator.draw import generate
from training.generator.files import SHIPPED, facts_to_dict, load_facts, load_generator, load_parts, read_arrays


def test_the_shipped_generator_is_whole_and_draws():
    """`demo`: where it is from is said beside it, all of it is small, and its frames are finite with labels inside."""
    folder = SHIPPED / "demo"
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["commit"] and provenance["command"].startswith("python benchmarks/ship_generator.py")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4e6
    generator = load_generator("demo", 24)
    frames = jax.jit(lambda key: generate(jax.random.split(key, 2), generator, generator.psf))(jax.random.key(0))
    assert bool(jnp.isfinite(frames.images).all()) and frames.images.shape == (2, 24, 24)
    xyz_um = np.asarray(frames.emitters.xyz_um)[np.asarray(frames.emitters.valid)]
    assert len(xyz_um) and (xyz_um >= 0).all() and (xyz_um[:, :2] <= 24 * 0.11).all()


def test_names_inside_the_files_lead_to_those_of_the_classes():
    """The correction is called "law" in generator.json; location and appearance "place" and "look" in bank.npz."""
    stored, facts = json.loads((SHIPPED / "demo" / "generator.json").read_text()), load_facts("demo")
    correction = facts.correction
    factors = {"number": correction.number, "light": correction.brightness, "spread": correction.spread}
    assert stored["law"] == factors and correction.brightness != 1
    written = json.loads(json.dumps(facts_to_dict(facts)))
    assert {**written, "config": None} == {**stored, "config": None}
    bank, posteriors = read_arrays(SHIPPED / "demo" / "bank.npz"), load_parts("demo").posteriors
    np.testing.assert_array_equal(bank["bank/place/mean"], posteriors.location.mean)
    np.testing.assert_array_equal(bank["bank/look/log_std"], posteriors.appearance.log_std)
