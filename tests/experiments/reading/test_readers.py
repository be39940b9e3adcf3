"""Readers: tiles, devices and batches change nothing, and volumes of our own runs are read on their training's grid."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from experiments.reading.network_reader import NetworkReader
from experiments.reading.readers import Reading, list_reader, load_reader, trained_reader
from experiments.reading.volume_reader import VolumeConfig, volume_reader
from localization import concatenate, match
from localization.types import COLUMNS
from optics import make_camera, make_emitters
from training import RunConfig, Trained, build, decode_frames, from_dict, init_state, maps_to_localizations
from training.checkpoint import Checkpoints
from training.decode import read_output
from training.decoders.volume import occupancy_volume

ROOT = Path(__file__).resolve().parents[3]
NET = nets.ListNetConfig(channels=8, head_channels=8, dilations=(1, 2))


def eager_reader(net=NET, **options):
    """A list decoder that finds something in most pixels, so that every pixel is compared."""
    example = jnp.zeros((1, 16, 16, nets.input_channels(net)), jnp.float32)
    variables = nets.init(jax.random.key(0), net, example)
    out = variables["params"]["out"]
    out["bias"] = out["bias"].at[0].set(1.0)
    out["kernel"] = out["kernel"].at[..., 0].multiply(30.0)
    return list_reader(net, variables, 16, Reading(**options))


def some_frames(n=5, height=53, width=61):
    rng = np.random.default_rng(1)
    return rng.poisson(60 + 300 * (rng.random((n, height, width)) < 0.01)).astype(np.uint16)


def bits(locs):
    return {name: getattr(locs, name).tobytes() for name in COLUMNS}


# Programs of other shapes may sum in another order. A value goes through some ten layers, each a sum of at most 72
# products whose single-precision rounding, 6e-8 of the largest each, adds up like a random walk: 10 sqrt(72) 6e-8 =
# 5e-6 of a column's largest value. What a cut halo does is a thousand times that.
ROUNDING = 1e-5


def assert_equal_but_for_rounding(one, other):
    """The same rows, and every column equal within `ROUNDING` of its largest value."""
    np.testing.assert_array_equal(one.frame, other.frame)
    for name in COLUMNS:
        a, b = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * np.nanmax(np.abs(b), initial=1e-30), err_msg=name)


@pytest.mark.parametrize("options", [{"tile_px": 40}, {"tile_px": 50, "batch": 3}, {"batch": 1}])
def test_tiles_and_batches_give_the_list_of_whole_frames(options):
    """The halo reaches as far as the network sees: where a frame is cut, and how many go together, is not seen."""
    frames = some_frames()
    whole = eager_reader(batch=5).read(frames, 3)
    assert whole.frame.size > 0.5 * frames.size and set(whole.frame) == set(range(3, 8))
    assert_equal_but_for_rounding(eager_reader(**options).read(frames, 3), whole)


def test_a_halo_one_step_too_small_would_be_seen():
    """The comparison above has teeth: with the halo cut by four pixels the tiles differ."""
    frames, reader = some_frames(2), eager_reader(tile_px=40)
    reader._halo -= 4
    with pytest.raises(AssertionError):
        assert_equal_but_for_rounding(reader.read(frames, 0), eager_reader().read(frames, 0))


@pytest.mark.parametrize("options", [{"batch": 3}, {"batch": 2, "tile_px": 40}])
def test_frames_that_come_in_groups_give_the_bits_of_all_at_once(options):
    """Groups of whole batches, as `localize` reads them, the last one short: one program, one place in a batch."""
    frames, reader = some_frames(7), eager_reader(**options)
    whole = bits(reader.read(frames, 0))
    for size in (options["batch"], 2 * options["batch"]):
        groups = [reader.read(frames[k : k + size], k) for k in range(0, len(frames), size)]
        assert bits(concatenate(groups)) == whole


def test_tiles_of_all_places_are_one_program():
    """Corners, rims and middle, a short last batch: one shape, one compilation."""
    reader = eager_reader(tile_px=38, batch=2)
    before = reader._program._run._cache_size()
    reader.read(some_frames(7, 97, 83), 0)
    assert reader._program._run._cache_size() == before + 1


SEEING = nets.ListNetConfig(
    channels=8, head_channels=8, dilations=(1, 2), frames=3, position_channels=True, field_px=80
)


def test_three_frames_and_places_in_tiles_and_pieces_of_a_movie():
    """A decoder that sees neighbours in time and its place: pieces of the movie give the bits, of frames the list.

    The ends of the movie go on with their own frames, as `training.decode_frames` asks for, whose maps are the truth.
    """
    frames = some_frames(6)
    whole = eager_reader(SEEING, batch=3).read(frames, 0, origin_px=(7, 11))
    reader = eager_reader(SEEING, batch=1, tile_px=40)
    assert reader.context == 1
    parts = [
        reader.read(frames[0:3], 0, 0, 1, origin_px=(7, 11)),
        reader.read(frames[1:5], 2, 1, 1, origin_px=(7, 11)),
        reader.read(frames[3:6], 4, 1, 0, origin_px=(7, 11)),
    ]
    assert bits(concatenate(parts)) == bits(reader.read(frames, 0, origin_px=(7, 11)))
    assert_equal_but_for_rounding(concatenate(parts), whole)
    elsewhere = eager_reader(SEEING, batch=3).read(frames, 0)
    assert bits(elsewhere) != bits(whole)
    movie = jnp.asarray(frames[[0, *range(6), 5]], jnp.float32)
    movie = jnp.pad(movie, ((0, 0), (0, 1), (0, 1)), constant_values=SEEING.input_offset)
    variables = jax.tree.map(jnp.asarray, jax.device_get(reader._program._variables))
    maps = decode_frames(SEEING, variables, movie, (7, 11))
    truth = maps_to_localizations(jax.tree.map(lambda leaf: leaf[:, :53, :61], maps), SEEING.pixel_um, read_out="peaks")
    assert truth.frame.size == whole.frame.size
    np.testing.assert_allclose(truth.x_um, whole.x_um, atol=1e-5)
    np.testing.assert_allclose(truth.photons, whole.photons, rtol=1e-3)


PRINT_BITS = """
import sys, hashlib, jax
sys.path[:0] = [{tests!r}, {root!r}]
jax.config.update("jax_enable_x64", True)
import test_readers as t
print(jax.local_device_count(), t.digest(t.eager_reader(batch=2, tile_px=40).read(t.some_frames(), 0)))
"""


def digest(locs):
    return hashlib.sha256(repr(bits(locs)).encode()).hexdigest()


def test_two_devices_give_the_bits_of_one():
    """A process of its own with one device, against the two of this one, in batches of two frames a device."""
    assert jax.local_device_count() == 2
    done = subprocess.run(
        [sys.executable, "-c", PRINT_BITS.format(tests=str(Path(__file__).parent), root=str(ROOT))],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},  # the instructions of this process: XLA_FLAGS stays
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    here = digest(eager_reader(batch=2, tile_px=40).read(some_frames(), 0))
    assert done.stdout.split() == ["1", here]


VOLUME_RUN = {
    "microscope": {"focus_um": 0.5, "pixel_um": 0.12},
    "psf": {"stamp_px": 11, "pupil_px": 16},
    "scene": {"frame_px": 16, "z_min_um": 0.2, "z_max_um": 1.2},
    "camera": {"gain_adu_per_e": 2.0, "offset_adu": 100.0},
    "decoder": {"kind": "volume", "depth_voxels": 10},
}


@pytest.fixture(scope="module")
def volume_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume") / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(VOLUME_RUN))
    checkpoints = Checkpoints(folder)
    checkpoints.save(0, init_state(build(from_dict(RunConfig, VOLUME_RUN))))
    checkpoints.close()
    return folder


def test_a_volumetric_run_is_read_on_the_grid_of_its_labels(volume_run, monkeypatch):
    """Emitters painted by the training's own labels come back within half a voxel; counts go in as photons."""
    reader = load_reader(volume_run)
    assert isinstance(reader, NetworkReader) and reader.min_frame_px == 16
    xyz = np.array([[0.6, 1.9, 0.35], [2.11, 3.4, 0.91], [3.3, 0.5, 1.19]])
    emitters = make_emitters(xyz, [1e3] * 3)
    volume = 100 * occupancy_volume(emitters, (30, 35, 10), jnp.asarray(0.12), (0.2, 1.2))
    given = []

    def paint(images, *place):
        given.append(images)
        return np.asarray(volume)[None]

    monkeypatch.setattr(reader, "_program", paint)
    found = reader.read(np.full((1, 30, 35), 300, np.uint16), 7)
    assert found.frame.tolist() == [7, 7, 7]
    np.testing.assert_array_equal(given[0][0], 100.0)
    order = np.argsort(found.x_um)
    got = np.stack([found.x_um, found.y_um, found.z_um], axis=1)[order]
    assert (np.abs(got - xyz) <= np.array([0.06, 0.06, 0.05]) + 1e-9).all()


def test_a_volumetric_run_in_tiles_is_the_whole(volume_run):
    """The untrained network's peaks, in one piece and in several; the threshold is the only thing set lower."""
    frames = 100 + 2 * some_frames(2, 45, 38)
    whole, tiled = (load_reader(volume_run, threshold=1e-3, tile_px=tile).read(frames, 0) for tile in (None, 34))
    assert whole.frame.size > 30 and tiled.frame.size == whole.frame.size
    assert match(tiled, whole, ball_um=1e-5).found_index.size == whole.frame.size


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["light", "published"])
def test_a_picture_in_tiles_is_the_whole(variant, volume_run):
    """Deep-STORM's list from tiles is that of the whole frame, which is what `training.decode_frames` paints."""
    decoder = {"kind": "image", "variant": variant, "upsampling": 4, "width": 0.1}
    run = from_dict(RunConfig, {**VOLUME_RUN, "scene": {"frame_px": 16, "z_max_um": 0.5}, "decoder": decoder})
    parts = build(run)
    variables = nets.init(jax.random.key(5), parts.net, jnp.zeros((1, 16, 16, 1), jnp.float32))
    frames = some_frames(2, 53, 42)
    trained = Trained(run, parts.net, variables, parts.camera, init_state(parts))
    whole, tiled = (
        trained_reader(trained, Reading(1e-6, make_camera(), tile_px=t)).read(frames, 0) for t in (None, 44)
    )
    assert whole.frame.size > 20 and tiled.frame.size == whole.frame.size
    assert match(tiled, whole, ball_um=1e-4).found_index.size == whole.frame.size
    even = frames[:, :52]  # a multiple of the pooled blocks: no rim to fill
    density = decode_frames(parts.net, variables, jnp.asarray(even, jnp.float32))
    truth = read_output(parts, density, threshold=1e-6)
    again = trained_reader(trained, Reading(1e-6, make_camera())).read(even, 0)
    assert match(again, truth).found_index.size == truth.frame.size


def test_volumes_in_tiles_are_the_whole_volume_to_float_precision():
    net = nets.LocalizationNetConfig(depth=4, dilations=(1, 2), upsampling=2, channels=8)
    variables = nets.init(jax.random.key(2), net, jnp.zeros((1, 8, 8, 1), jnp.float32))
    config = VolumeConfig(0.0, 1.2, "min_max", threshold=0.02)
    whole, tiled = (volume_reader(net, variables, config, tile).read(some_frames(2), 0) for tile in (None, 40))
    assert whole.frame.size > 20 and tiled.frame.size == whole.frame.size
    pairs = match(tiled, whole, ball_um=1e-5)
    assert pairs.found_index.size == whole.frame.size
    np.testing.assert_allclose(tiled.score[pairs.found_index], whole.score[pairs.truth_index], rtol=1e-5)
