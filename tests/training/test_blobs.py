"""AutoDS3D's decoder: its network's size, its blobs, its read-out, and a step of its training."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from experiments.reading.readers import load_reader
from made.tiny import TINY, tiny_run
from optics import make_emitters
from training import ConfigError, Frames, fit
from training.decoders import find_kind
from training.decoders.blobs import BLOBS, blob_volume

Z_RANGE = (0.5, 2.5)
SCENE = {**TINY["scene"], "z_min_um": 0.5, "z_max_um": 2.5, "photons_min": 1e3, "photons_max": 4e3}
SETTINGS = {"kind": "blobs", "depth_voxels": 20, "scaling": 800.0, "channels": 8, "dilations": [1, 2, 2]}


@pytest.mark.parametrize(("depth", "parameters"), [(40, 317_458), (61, 370_063), (81, 435_743), (121, 612_703)])
def test_the_network_has_the_published_size(depth, parameters):
    """Parameters of the executed notebook (D = 40), and 75 px of receptive field."""
    run = tiny_run(decoder={**SETTINGS, "depth_voxels": depth, "channels": 64, "dilations": [1, 1, 2, 4, 8, 16]})
    net = BLOBS.make_net(run)
    shapes = jax.eval_shape(lambda k: nets.init(k, net, jnp.zeros((1, 8, 8, 1))), jax.random.key(0))
    assert nets.count_parameters(shapes) == parameters
    assert net.receptive_field_px == 75


def test_blobs_are_the_published_ones():
    """Written out voxel by voxel: boxes of 5^3, cut at the volume's end, added; nothing of what is not there."""
    xyz = np.array([[0.31, 0.64, 0.72], [0.58, 0.66, 1.18], [0.02, 1.1, 2.49], [9.0, 0.3, 1.0], [0.5, 0.5, 1.0]])
    light = np.array([1e3, 4e3, 2e3, 1e3, 1e3])
    valid = np.array([1, 1, 1, 1, 0])
    volume = blob_volume(make_emitters(xyz, light, valid), (12, 10, 20), 0.1, Z_RANGE, 4e3)
    expected = np.zeros((12, 10, 20))
    for (x, y, z), photons in zip(xyz[:3], light[:3], strict=True):
        u = np.array([y / 0.1, x / 0.1, (z - 0.5) / 0.1])
        own = np.floor(u).astype(int)
        for d in np.ndindex(5, 5, 5):
            voxel = own + np.array(d) - 2
            if np.all((voxel >= 0) & (voxel < expected.shape)):
                expected[tuple(voxel)] += photons / 4e3 * np.exp(-np.sum((voxel + 0.5 - u) ** 2) / (2 * 0.65**2))
    np.testing.assert_allclose(volume, expected, atol=1e-12)


def test_the_read_out_is_off_by_what_cutting_the_blob_costs():
    """At 41 offsets in a voxel: where sum(k g) / sum(g) over five taps says, a few thousandths of a voxel at most."""
    run = tiny_run(decoder=SETTINGS, scene=SCENE, microscope={"focus_um": 0.5, "pixel_um": 0.1})
    offset = np.linspace(-0.49, 0.49, 41)
    taps = np.arange(-2, 3)
    share = np.exp(-0.5 * ((taps - offset[:, None]) / 0.65) ** 2)
    closed = (share * taps).sum(axis=1) / share.sum(axis=1)
    centre = np.array([0.55, 0.85, 1.55])
    draw = jax.jit(lambda e: 800 * blob_volume(e, (16, 16, 20), 0.1, Z_RANGE, 4e3))
    for axis in range(3):
        xyz = np.repeat(centre[None], 41, axis=0)
        xyz[:, axis] += 0.1 * offset
        volumes = np.stack([draw(make_emitters(one[None], [3e3])) for one in xyz])
        found = BLOBS.read_out(run, 0.1, 40.0, True)(volumes)
        assert found.frame.tolist() == list(range(41))
        got = np.stack([found.x_um, found.y_um, found.z_um], axis=1)
        np.testing.assert_allclose((got - centre)[:, axis] / 0.1, closed, atol=1e-6)
        # a quarter of a nanometre in a pixel of 100 nm
        assert np.abs((got - xyz)[:, axis] / 0.1).max() < 2.5e-3
        np.testing.assert_allclose(found.photons, 3e3, rtol=3e-3)


def test_the_loss_is_the_mean_square():
    """Of an output that misses its target by 3 everywhere, and of one by as much as there is."""
    run = tiny_run(decoder=SETTINGS, scene=SCENE)
    one, other = make_emitters([[0.83, 0.61, 1.52]], [2e3]), make_emitters([[0.4, 1.2, 0.9]], [4e3])
    emitters = jax.tree.map(lambda *leaves: jnp.stack(leaves), one, other)
    frames = Frames(images=jnp.zeros((2, 16, 16)), emitters=emitters, background=jnp.zeros((2, 16, 16)))
    target = 800 * jax.vmap(lambda e: blob_volume(e, (16, 16, 20), 0.11, Z_RANGE, 4e3))(emitters)
    for output, expected in ((target + 3, 9.0), (0 * target, float(np.mean(np.asarray(target) ** 2)))):
        value, parts = BLOBS.loss(run, jnp.asarray(0.11), output, frames)
        np.testing.assert_allclose([float(value), float(parts["distance"])], expected, rtol=1e-6)


@pytest.mark.slow
def test_a_decoder_of_blobs_trains_and_is_read(tmp_path):
    """`fit` in its folder, read back, and read as `colocus localize` does, whole and in tiles."""
    run = tiny_run(decoder=SETTINGS, scene=SCENE, optimiser={**TINY["optimiser"], "method": "adam"})
    fit(run, tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 6 and np.isfinite(log[-1]["loss"])
    counts = np.random.default_rng(0).poisson(60.0, (2, 48, 40))
    counts[:, 10:13, 10:13] += 4000
    whole, tiled = (load_reader(tmp_path / "run", tile_px=side, threshold=1.0).read(counts, 0) for side in (None, 36))
    assert whole.frame.size > 0
    np.testing.assert_allclose(tiled.x_um, whole.x_um, atol=1e-4)


def test_blobs_see_one_frame():
    """Neighbours in time belong to list decoders."""
    with pytest.raises(ConfigError, match="belong to kind 'list', not 'blobs'"):
        find_kind("blobs").make_net(tiny_run(decoder={**SETTINGS, "frames": 3}))
