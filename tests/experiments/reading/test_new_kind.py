"""A kind of decoder that Colocus does not know: one entry of `KINDS`, and it trains and reads."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

import localization
import nets
from experiments import cli
from localization import make_localizations
from made.tiny import TINY, tiny_run
from nets import NetConfig
from training import KINDS, ConfigError, Decoder, build, fit
from training.decoders import Tiling
from training.decoders.volume import occupancy_volume


@dataclasses.dataclass(frozen=True)
class OneLayerConfig(NetConfig):
    """One convolution: how likely an emitter lies in each pixel."""

    def module(self):
        return OneLayer()

    @property
    def receptive_field_px(self):
        return 5


class OneLayer(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        weights = self.param("weights", nn.initializers.ones, (5, 5, 1, 1), x.dtype)
        return nets.conv2d(x / 50, weights.astype(x.dtype))[..., 0]


def loss(run, pixel_um, output, frames):
    side = run.scene.frame_px
    z_range = (run.scene.z_min_um, run.scene.z_max_um)
    shape = (side, side, 1)
    truth = jax.vmap(lambda emitters: occupancy_volume(emitters, shape, pixel_um, z_range))(frames.emitters)
    value = jnp.mean((output - truth[..., 0]) ** 2)
    return value, {"squares": value}


def read_out(run, pixel_um, threshold, share_borders):
    def read(output, *, first_frame=0, core=None):
        frame, row, column = np.nonzero(np.asarray(output) > threshold)
        place = [(column + 0.5) * pixel_um, (row + 0.5) * pixel_um, np.zeros(len(row))]
        return make_localizations(first_frame + frame, *place)

    return read


ONE_LAYER = Decoder(lambda run: OneLayerConfig(), loss, read_out, lambda net: Tiling(4, 64), sees_stamp=False)


def test_a_kind_registered_at_run_time_trains_and_reads(tmp_path, monkeypatch, capsys):
    """Its run is trained by `fit`, and read by `colocus localize`, in pieces, with one row for each bright pixel."""
    monkeypatch.setitem(KINDS, "one layer", ONE_LAYER)
    run = tiny_run(decoder={"kind": "one layer"}, optimiser={**TINY["optimiser"], "steps": 2})
    fit(run, tmp_path / "run")
    frames = np.full((3, 20, 30), 5, np.uint16)
    frames[1, 10, 20] = 60_000
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    arguments = ["localize", str(tmp_path / "movie.tif"), "--model", str(tmp_path / "run")]
    assert cli.main([*arguments, "--threshold", "500", "--out", str(tmp_path / "locs.csv")]) == 0
    found = localization.read(tmp_path / "locs.csv")
    assert set(found.frame) == {1} and found.frame.size == 25  # as far as the kernel reaches
    np.testing.assert_allclose([found.x_um.mean(), found.y_um.mean()], [20.5 * 0.11, 10.5 * 0.11], atol=1e-4)


def test_a_kind_that_is_not_there_is_named():
    """One line with what there is, and the nearest."""
    with pytest.raises(ConfigError, match="'list', 'volume', 'blobs', 'image'; did you mean 'volume'?"):
        build(tiny_run(decoder={"kind": "volumes"}))
