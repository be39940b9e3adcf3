"""A generator read back from its folder: frames are what their labels say, the same by the seed; what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made.made_generator import CONFIG, CROP, LEVEL, made_generator, made_posterior
from optics import psf_image
from optics.psf_io import load_psf
from training import ConfigError, RunConfig
from training.config import DecoderConfig, SceneConfig
from training.generator.draw import DrawSettings, generate
from training.generator.files import generator_folder, load_facts, load_generator, load_parts, with_generator
from training.scenes import frame_keys

SIDE, BATCH = 20, 8
draw = jax.jit(lambda keys, generator: generate(keys, generator, generator.psf))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A made generator's folder, its networks small for the whole file."""
    place = tmp_path_factory.mktemp("generator") / "run"
    with made_generator(place):
        yield place


def test_what_was_written_is_read_back(folder):
    """Posteriors, networks and facts come back to float32's last digit."""
    saved = load_parts(folder)
    written = made_posterior(4, saved.fitted.model.config)
    for a, b in zip(jax.tree.leaves(saved.posteriors), jax.tree.leaves(written), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert saved.facts.config == CONFIG and float(saved.fitted.model.level) == LEVEL
    assert saved.posteriors.presence.dtype == jnp.result_type(float)


@pytest.mark.slow
def test_frames_show_what_their_labels_say(folder):
    """Frames less background, against emitters rendered one by one in numpy: light to 1 %, place to 2 nm."""
    generator = load_generator(folder, SIDE, DrawSettings(places="even"))
    batches = [draw(frame_keys(jax.random.key(3), first, BATCH), generator) for first in range(0, 40, BATCH)]
    frames = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches)
    psf, pixel = load_psf(folder / "psf.npz"), CONFIG.microscope.pixel_um
    step = 0.01
    stamp = jax.jit(lambda p: psf_image(psf, p))
    total = np.zeros((4, 4))
    right = np.zeros(4)
    side = psf.image_px
    for b in range(40):
        pictures = np.zeros((3, SIDE + 2 * side, SIDE + 2 * side))
        for n in np.flatnonzero(np.asarray(frames.emitters.valid[b])):
            x, y, z = np.asarray(frames.emitters.xyz_um[b, n])
            column, row = int(np.floor(x / pixel)), int(np.floor(y / pixel))
            local = np.array([x - (column + 0.5) * pixel, y - (row + 0.5) * pixel, z])
            window = np.s_[row - side // 2 + side : row + side // 2 + 1 + side,
                           column - side // 2 + side : column + side // 2 + 1 + side]  # fmt: skip
            light = float(frames.emitters.photons[b, n])
            image = [np.asarray(stamp(jnp.asarray(local + np.array(d)))) for d in (
                (0, 0, 0), (step, 0, 0), (-step, 0, 0), (0, step, 0), (0, -step, 0))]  # fmt: skip
            pictures[0][window] += light * image[0]
            pictures[1][window] += light * (image[1] - image[2]) / (2 * step)
            pictures[2][window] += light * (image[3] - image[4]) / (2 * step)
        inner = pictures[:, side : side + SIDE, side : side + SIDE]
        level = np.asarray(frames.background[b])
        weight = 1 / (inner[0] + level + 1)
        design = np.stack([*inner, level]).reshape(4, -1)
        total += (design * weight.ravel()) @ design.T
        right += (design * weight.ravel()) @ np.asarray(frames.images[b]).ravel()
    amount, dx, dy, background = np.linalg.solve(total, right)
    errors = np.sqrt(np.diag(np.linalg.inv(total)))
    assert errors[0] < 0.01 and abs(amount - 1) < 4 * errors[0]
    assert errors[1] < 0.7e-3 and abs(dx) < 2e-3 and abs(dy) < 2e-3
    assert abs(background - 1) < 4 * errors[3]


def test_a_seed_draws_the_same_frames_in_any_batch(folder):
    """Frame i depends on seed and i alone."""
    generator = load_generator(folder, SIDE)
    key = jax.random.key(5)
    whole = draw(frame_keys(key, 0, BATCH), generator)
    later = draw(frame_keys(key, 2, BATCH), generator)
    np.testing.assert_allclose(whole.images[2:], later.images[:-2])
    assert whole.images.shape == (BATCH, SIDE, SIDE)
    assert not np.allclose(whole.images[0], whole.images[1])


def test_folders_that_are_no_generator(folder, tmp_path):
    """None, unfinished, another version, damaged, frames too large: each with what to do."""
    with pytest.raises(ConfigError, match="name the folder of colocus generate fit"):
        load_generator(tmp_path / "none", 16)
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("config.json", "log.jsonl"):
        (begun / name).write_text("{}")
    with pytest.raises(ConfigError, match="go on with --resume"):
        load_facts(begun)
    (begun / "generator.json").write_text(json.dumps({"format": "colocus-generator-9"}))
    with pytest.raises(ConfigError, match="update Colocus"):
        load_facts(begun)
    (begun / "generator.json").write_bytes((folder / "generator.json").read_bytes())
    (begun / "networks.npz").write_bytes((folder / "networks.npz").read_bytes()[:2000])
    with pytest.raises(ConfigError, match="networks.npz cannot be read"):
        load_parts(begun)
    with pytest.raises(ConfigError, match=f"frame_px = 64 must lie between 8 and {CROP}"):
        load_generator(folder, 64)
    with pytest.raises(ConfigError, match="NOT_SET_AT_ALL is not set"):
        generator_folder("$NOT_SET_AT_ALL/run")


def test_a_run_takes_its_ranges_from_the_generator(folder):
    """Depths, light, density and camera are the generator's; another microscope is refused by name."""
    run = RunConfig(microscope=CONFIG.microscope, scene=SceneConfig(frame_px=12, margin_um=0.0))
    changed = with_generator(run, str(folder))
    assert (changed.scene.photons_min, changed.scene.photons_max, changed.scene.z_max_um) == (900.0, 2100.0, 0.0)
    assert changed.scene.count_max == 1 and changed.camera == CONFIG.camera  # a quarter of the crop's area
    other = dataclasses.replace(run, microscope=dataclasses.replace(CONFIG.microscope, na=1.1))
    with pytest.raises(ConfigError, match=r"microscope.na = 1.1 is not that of scene.generator, 1.2"):
        with_generator(other, str(folder))
    with pytest.raises(ConfigError, match="decoder.frames = 1"):
        RunConfig(scene=SceneConfig(generator=str(folder)), decoder=DecoderConfig(frames=3))
