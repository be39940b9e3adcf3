"""A movie through a trained run, and through a volumetric network, into a table."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

import localization
import nets
from experiments.compare.config import arm_run, load_experiment
from experiments.reading.localize import LocalizeConfig, localize, parse_span
from experiments.reading.readers import load_reader
from experiments.reading.volume_reader import VolumeConfig, load_volume_config, volume_reader
from localization import LocalizationError
from training import CheckpointError, ConfigError, RunConfig, build, fit, from_dict, load_run
from training.checkpoint import Checkpoints

TINY = {
    "microscope": {"focus_um": 0.5},
    "psf": {"stamp_px": 11, "pupil_px": 16},
    "mask": {"name": "astigmatism"},
    "scene": {"frame_px": 16, "count_max": 2, "z_max_um": 1.0},
    "decoder": {"channels": 8, "head_channels": 8, "dilations": [1, 2]},
    "optimiser": {"steps": 3, "batch": 2, "checkpoint_every": 3, "log_every": 1},
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of three steps, its decoder then made eager: after three steps it would find nothing."""
    folder = tmp_path_factory.mktemp("localize") / "run"
    fit(from_dict(RunConfig, TINY), folder)
    _, state = load_run(folder)
    out = state.variables["params"]["out"]
    out["bias"] = out["bias"].at[0].set(1.0)
    out["kernel"] = out["kernel"].at[..., 0].multiply(30.0)
    checkpoints = Checkpoints(folder)
    checkpoints.save(4, state)
    checkpoints.close()
    return folder


@pytest.fixture(scope="module")
def counts():
    """Seven frames of odd sides with some spots; photons, as the run's camera has gain 1 and no offset."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:33, :41]
    frames = np.full((7, 33, 41), 60.0)
    for frame in frames:
        for cx, cy in rng.uniform(4, 29, (5, 2)):
            frame += 400 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 4)
    return rng.poisson(frames).astype(np.uint16)


@pytest.fixture(scope="module")
def movie(counts, tmp_path_factory):
    return write_stack(tmp_path_factory.mktemp("movie") / "movie.tif", counts)


def write_stack(path, frames):
    tifffile.imwrite(path, frames, photometric="minisblack")
    return path


def columns(locs):
    return np.stack([locs.frame, locs.x_um, locs.y_um, locs.z_um, locs.score], axis=1)


def assert_same(a, b):
    """The same points, in any order; 0.1 nm is far above float32 sums of another order, and rounding."""
    assert a.frame.size == b.frame.size
    pairs = localization.match(a, b, ball_um=1e-4)
    assert pairs.found_index.size == a.frame.size
    np.testing.assert_allclose(a.score[pairs.found_index], b.score[pairs.truth_index], rtol=1e-3)


def run(movie, model, folder, **options):
    localize(movie, model, folder / "locs.csv", LocalizeConfig(**options))
    return localization.read(folder / "locs.csv")


def test_streamed_list_is_that_of_the_whole_movie_at_once(run_folder, movie, counts, tmp_path):
    """Batches of 3, the last one short, against all frames in one; the file rounds to 1 pm."""
    whole = load_reader(run_folder, batch=7).read(counts, 0)
    assert whole.frame.size > 20 and set(whole.frame) == set(range(7))
    streamed = run(movie, run_folder, tmp_path, batch=3)
    assert_same(streamed, whole)


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_the_batch_size_does_not_change_the_list(batch, run_folder, movie, tmp_path):
    lists = [run(movie, run_folder, tmp_path, batch=b) for b in (2, batch)]
    assert_same(*lists)


def test_a_folder_of_frames_is_the_stack(run_folder, movie, counts, tmp_path):
    """In the order of their numbers, 10 after 9."""
    (tmp_path / "frames").mkdir()
    for k, frame in enumerate(counts):
        write_stack(tmp_path / "frames" / f"{k + 5}.tif", frame)
    lists = [run(source, run_folder, tmp_path) for source in (movie, tmp_path / "frames")]
    np.testing.assert_array_equal(columns(lists[0]), columns(lists[1]))


@pytest.mark.parametrize("size", [(77, 90), (61, 53)])
def test_pieces_of_a_large_frame_give_the_list_of_the_whole(size, run_folder):
    """The halo holds the receptive field; odd sides and piece borders leave no seam."""
    rng = np.random.default_rng(1)
    frames = rng.poisson(60 + 300 * (rng.random((2, *size)) < 0.01)).astype(np.uint16)
    whole, pieces = (load_reader(run_folder, batch=2, tile_px=tile).read(frames, 0) for tile in (None, 40))
    assert whole.frame.size > 50
    assert_same(pieces, whole)


def test_volume_in_pieces_is_the_whole_volume():
    """Peaks of overlapping pieces: each once, at its place in the frame."""
    net = nets.LocalizationNetConfig(depth=4, dilations=(1, 2), upsampling=2, channels=8)
    variables = nets.init(jax.random.key(2), net, jnp.zeros((1, 8, 8, 1), jnp.float32))
    config = VolumeConfig(0.0, 1.2, "min_max", threshold=0.02, shift_fine_px=2.0)
    frame = np.random.default_rng(4).poisson(50, (1, 53, 61)).astype(np.uint16)
    whole, pieces = (volume_reader(net, variables, config, tile).read(frame, 5) for tile in (None, 40))
    assert whole.frame.size > 20 and set(whole.frame) == {5}
    assert_same(pieces, whole)


def test_a_part_of_the_movie_keeps_the_movies_coordinates(run_folder, movie, counts, tmp_path):
    part = run(movie, run_folder, tmp_path, frames=(2, 5), rows=(4, 30), columns=(10, None))
    alone = run(write_stack(tmp_path / "part.tif", counts[2:5, 4:30, 10:]), run_folder, tmp_path)
    pixel_um = 0.11
    np.testing.assert_array_equal(part.frame, alone.frame + 2)
    np.testing.assert_allclose(part.x_um, alone.x_um + 10 * pixel_um, atol=2e-6)  # two roundings to 1 pm
    np.testing.assert_allclose(part.y_um, alone.y_um + 4 * pixel_um, atol=2e-6)


def test_gain_and_offset_turn_counts_into_the_photons_of_the_training(run_folder, movie, counts, tmp_path):
    scaled = write_stack(tmp_path / "scaled.tif", (2 * counts + 100).astype(np.uint16))
    lists = [
        run(movie, run_folder, tmp_path),
        run(scaled, run_folder, tmp_path, gain_adu_per_photon=2.0, offset_adu=100.0),
    ]
    np.testing.assert_array_equal(columns(lists[0]), columns(lists[1]))


def test_events_tell_the_progress(run_folder, movie, tmp_path):
    events = []
    result = localize(movie, run_folder, tmp_path / "locs.csv", LocalizeConfig(batch=3), report=events.append)
    assert [event.stage for event in events] == ["start", "frame", "frame", "end"]
    assert [event.done for event in events[1:-1]] == [6, 7]  # on two devices
    assert events[-1]["rows"] == result.rows == localization.read(result.path).frame.size


def test_an_interrupted_job_leaves_what_was_there(run_folder, movie, tmp_path):
    def interrupt(event):
        if event.stage == "frame":
            raise KeyboardInterrupt

    (tmp_path / "locs.csv").write_text("the old table")
    with pytest.raises(KeyboardInterrupt):
        localize(movie, run_folder, tmp_path / "locs.csv", LocalizeConfig(batch=2), report=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["locs.csv"]
    assert (tmp_path / "locs.csv").read_text() == "the old table"


def test_a_run_is_read_without_its_masks_file(run_folder, movie, tmp_path):
    """The mask made the training frames; reading needs the decoder alone."""
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(
        text.replace('"name": "astigmatism"', '"name": "file"').replace('"path": ""', '"path": "gone.npy"')
    )
    assert run(movie, copy, tmp_path).frame.size > 0


def small(tmp_path, counts, run_folder):
    return write_stack(tmp_path / "in" / "small.tif", counts[:, :15]), run_folder, {}


def small_part(tmp_path, counts, run_folder):
    return write_stack(tmp_path / "in" / "movie.tif", counts), run_folder, {"rows": (0, 15)}


def part_outside(tmp_path, counts, run_folder):
    return write_stack(tmp_path / "in" / "movie.tif", counts), run_folder, {"frames": (5, 9)}


def no_movie(tmp_path, counts, run_folder):
    return tmp_path / "in" / "absent.tif", run_folder, {}


def no_model(tmp_path, counts, run_folder):
    return write_stack(tmp_path / "in" / "movie.tif", counts), tmp_path / "in" / "absent", {}


def foreign_folder(tmp_path, counts, run_folder):
    return write_stack(tmp_path / "in" / "movie.tif", counts), tmp_path / "in", {}


def no_checkpoint(tmp_path, counts, run_folder):
    (tmp_path / "in" / "run").mkdir()
    shutil.copy(run_folder / "config.json", tmp_path / "in" / "run")
    return write_stack(tmp_path / "in" / "movie.tif", counts), tmp_path / "in" / "run", {}


def other_checkpoint(tmp_path, counts, run_folder):
    copy = tmp_path / "in" / "run"
    shutil.copytree(run_folder, copy)
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text.replace('"channels": 8', '"channels": 12'))
    return write_stack(tmp_path / "in" / "movie.tif", counts), copy, {}


def colour(tmp_path, counts, run_folder):
    tifffile.imwrite(tmp_path / "in" / "rgb.tif", np.zeros((40, 40, 3), np.uint8), photometric="rgb")
    return tmp_path / "in" / "rgb.tif", run_folder, {}


def truncated(tmp_path, counts, run_folder):
    path = write_stack(tmp_path / "in" / "movie.tif", counts)
    path.write_bytes(path.read_bytes()[:-2000])
    return path, run_folder, {}


def weights_without_settings(tmp_path, counts, run_folder):
    np.savez(tmp_path / "in" / "weights.npz", a=np.zeros(3))
    return write_stack(tmp_path / "in" / "movie.tif", counts), tmp_path / "in" / "weights.npz", {}


def foreign_weights(tmp_path, counts, run_folder):
    return *weights_without_settings(tmp_path, counts, run_folder)[:2], {"model_config": "demo2"}


def bad_threshold(tmp_path, counts, run_folder):
    return write_stack(tmp_path / "in" / "movie.tif", counts), run_folder, {"threshold": 40.0}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (small, LocalizationError, "smaller than the 16 px"),
        (small_part, ConfigError, "15 px of the 16"),
        (part_outside, ConfigError, "frames = 5:9 does not lie in the movie, which has 7"),
        (no_movie, LocalizationError, "no such file"),
        (no_model, ConfigError, "no such run"),
        (foreign_folder, ConfigError, "not a run"),
        (no_checkpoint, CheckpointError, "no checkpoint"),
        (other_checkpoint, CheckpointError, "another configuration"),
        (colour, LocalizationError, "colour"),
        (truncated, LocalizationError, "truncated|cannot be read|damaged"),
        (weights_without_settings, ConfigError, "--model-config"),
        (foreign_weights, nets.NetsError, "layer10.bias"),
        (bad_threshold, ConfigError, "threshold = 40"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(make, error, message, run_folder, counts, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    movie, model, options = make(tmp_path, counts, run_folder)
    with pytest.raises(error, match=message) as caught:
        localize(movie, model, tmp_path / "out" / "locs.csv", LocalizeConfig(**options))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_settings_of_weights_come_from_a_name_or_a_file(tmp_path):
    path = tmp_path / "weights.toml"
    path.write_text('z_min_um = 2\nz_max_um = 6\nnormalisation = "min_max"\nthreshold = 80')
    assert load_volume_config(path) == load_volume_config("demo3")
    path.write_text('z_min_um = 2\nz_max_um = 6\nnormalisation = "min_max"')
    with pytest.raises(ConfigError, match="no key 'threshold'"):
        load_volume_config(path)
    with pytest.raises(ConfigError, match="demo2, demo3, demo5"):
        load_volume_config("demo4")


@pytest.mark.parametrize("text", ["5", "a:b", "-1:4", "1:2:3"])
def test_a_span_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="first:stop"):
        parse_span(text)


def test_the_storm_preset_can_be_built(data_folder, monkeypatch):
    """Its mask is found through COLOCUS_DATA, its decoder sees a whole stamp."""
    monkeypatch.setenv("COLOCUS_DATA", str(data_folder("ds3d-masks").parent))
    experiment = load_experiment("storm")
    parts = build(arm_run(experiment, experiment.arms[0], 0))
    assert parts.psf.mask is not None and parts.psf.mask.wrapped
    assert nets.receptive_field_px(parts.net) >= parts.psf.image_px
