"""AutoDS: one picture whatever the patches, a list that is the picture's, and positions that come back in place."""

from collections import Counter
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

import nets
from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.autods.patchwise import PatchwiseReader
from experiments.reading.autods.reader import AutoDsReader
from experiments.reading.autods.scaling import spot_px
from experiments.reading.autods.windows import PatchProgram, ramps, spread
from experiments.reading.localize import LocalizeConfig, read_frames
from localization import image_peaks, make_localizations
from localization.patches import cut_patches
from training import ConfigError


def spots(x_px, y_px, sigma_px, side, photons, background=50.0):
    """A frame of pixel-integrated Gaussians, with the noise of its light."""
    edges = np.arange(side + 1)

    def share(at):
        return 0.5 * np.diff(erf((edges - at[:, None]) / (2**0.5 * sigma_px)), axis=1)

    light = photons * share(y_px).T @ share(x_px)
    return np.random.default_rng(5).poisson(light + background)


def test_patches_of_one_level_are_one_picture():
    """Six patches put together against the whole frame in one pass, with random variables: no seam."""
    net = nets.DeepStormConfig("quick", 2, 0.1)
    variables = nets.init(jax.random.key(0), net, jnp.zeros((1, 32, 32, 1)))
    frame = np.random.default_rng(0).normal(size=(130, 190)).astype(np.float32)
    patches = cut_patches(frame.shape, 0.107, 7.0)
    program = PatchProgram(patches, 2, net.SPIKE)
    everything = np.ones(patches.shape, bool)
    picture = program.picture(frame, {3: variables}, np.full(patches.shape, 3), everything)
    scaled = jnp.asarray(program.scaled(frame))[None, ..., None]
    whole = np.asarray(net.finish(nets.apply(net, variables, scaled, train=False)[0]))[0]
    assert patches.shape == (2, 3)
    assert np.abs(picture - whole).max() < 1e-5 * whole.max()  # float32


def test_weights_add_up_and_scales_have_no_steps():
    """Along an axis the patches' weights sum to 1; what is spread from patches bends, but does not jump."""
    patches = cut_patches((130, 190), 0.107, 7.0)
    assert np.allclose(ramps(patches.column_edges, 8).sum(axis=0), 1, atol=1e-6)
    values = np.array([[1.0, 5.0, 2.0], [3.0, 0.0, 4.0]])
    field = spread(values, patches)
    assert np.abs(np.diff(field, axis=1)).max() < 2 * 5 / 63
    assert np.allclose(spread(np.full((2, 3), 7.0), patches), 7)


def test_peaks_are_those_of_image_peaks():
    """The compiled search in pieces against the plain one over the whole picture."""
    rng = np.random.default_rng(1)
    patches = cut_patches((70, 130), 0.107, 7.0)
    program = PatchProgram(patches, 4, 50.0)
    picture = np.zeros((280, 520), np.float32)
    rows, columns = rng.integers(0, 280, 400), rng.integers(0, 520, 400)
    for step in (0, 1):
        np.add.at(picture, (np.minimum(rows + step, 279), columns), rng.uniform(0.2, 0.7, 400).astype(np.float32))
    found = program.peaks(picture, np.ones(patches.shape, bool), 0.5)
    expected = image_peaks(picture, pixel_um=4.0, upsampling=4, threshold=0.5)
    assert len(found) == expected.frame.size > 100
    order = np.lexsort((expected.x_um, expected.y_um))
    found = found[np.lexsort((found[:, 0], found[:, 1]))]
    assert np.allclose(found[:, 0], expected.x_um[order]) and np.allclose(found[:, 2], expected.score[order])


@pytest.mark.parametrize("pixel_um", [0.107, 0.15, 0.065])
def test_positions_come_back_in_place(pixel_um):
    """Known places against the list: as they are, blurred, and on a coarser grid. The mean is right within 0.15 px."""
    rng = np.random.default_rng(2)
    side = round(7.5 / pixel_um)
    step = 1.4 / pixel_um
    place = np.arange(step, side - step / 2, step)
    x, y = (axis.ravel() + rng.uniform(-0.5, 0.5, axis.size) for axis in np.meshgrid(place, place))
    config = AutoDsConfig(pixel_um=pixel_um, wavelength_um=0.655, na=1.49)
    reader = AutoDsReader(config)
    assert reader.scaling.off == (pixel_um == 0.107)
    frames = spots(x, y, spot_px(0.655, 1.49, pixel_um), side, 2000.0 * (pixel_um / 0.107) ** -1)[None]
    found = reader.read(frames, 0)
    distance = np.hypot(found.x_um[:, None] / pixel_um - x, found.y_um[:, None] / pixel_um - y)
    error = distance.min(axis=0)
    assert np.median(error) < 0.25 and (error < 0.6).mean() > 0.9  # the networks' own error is 0.1 to 0.2 px
    nearest = distance.argmin(axis=0)
    shift = [(found.x_um[nearest] / pixel_um - x).mean(), (found.y_um[nearest] / pixel_um - y).mean()]
    assert np.abs(shift).max() < 0.15


def test_list_is_the_picture_and_empty_patches_ask_no_network():
    """Spots in one corner: the list is what `image_peaks` reads in the picture; elsewhere nothing is read."""
    x, y = np.array([20.0, 30.5, 41.0]), np.array([30.0, 22.3, 40.7])
    frames = spots(x, y, 1.05, 200, 500.0)[None]
    config = LocalizeConfig(threshold=0.5, autods=AutoDsConfig(pixel_um=0.107))
    found = read_frames(frames, "autods", config)
    reader = AutoDsReader(AutoDsConfig(pixel_um=0.107))
    (picture,) = reader.pictures(frames)
    again = image_peaks(picture, pixel_um=0.107, upsampling=8)
    assert found.frame.size == again.frame.size == 3
    assert np.allclose(np.sort(found.x_um), np.sort(again.x_um))
    tally = reader.take_tally()
    assert tally["patches with nothing to read"] >= 2
    constant = read_frames(np.full((3, 100, 100), 100), "autods", config)
    assert constant.frame.size == 0


class Brightest:
    """A reader that lists the brightest pixel of each frame, and keeps what it was given."""

    min_frame_px, pixel_um, group, batch, context = 16, 0.107, 8, 8, 0
    description, identity = "brightest pixel", {}

    def __init__(self):
        self.corners = []

    def read(self, counts, first_frame, before=0, after=0, origin_px=(0, 0)):
        self.corners.append((origin_px, counts.shape[1:]))
        row, column = np.unravel_index(counts.reshape(len(counts), -1).argmax(axis=1), counts.shape[1:])
        frame = first_frame + np.arange(len(counts))
        return make_localizations(frame, (column + 0.5) * 0.107, (row + 0.5) * 0.107, np.zeros(len(counts)))

    def take_tally(self):
        return Counter()


def test_a_patch_is_read_by_the_one_that_the_map_names(monkeypatch):
    """Two patches, one spot each: the left by fits, whose window keeps inside the frame, the right by a network."""
    chosen = iter(["classical", "level 1"])
    rule = SimpleNamespace(choose=lambda density, snr, among: next(chosen), identity=lambda: "")
    monkeypatch.setattr("experiments.reading.autods.patchwise.load_map", lambda: rule)
    x, y = np.array([40.2, 140.3]), np.array([50.4, 31.6])
    counts = np.stack([spots(x, y, 1.05, 200, 6000.0)[:80]] * 2)
    fits = Brightest()
    reader = PatchwiseReader(AutoDsReader(AutoDsConfig(pixel_um=0.107)), {"classical": fits})
    found = reader.read(counts, 7, origin_px=(10, 20))
    assert reader.choice.tolist() == [["classical", "level 1"]]
    # 100 px of the patch and 8 px of halo each way, as far as the frame has them
    assert fits.corners == [((10, 20), (80, 116))]
    assert found.frame.tolist() == [7, 7, 8, 8]
    order = np.lexsort((found.x_um, found.frame))
    assert np.abs(found.x_um[order].reshape(2, 2) / 0.107 - x).max() < 0.6
    assert np.abs(found.y_um[order].reshape(2, 2) / 0.107 - y).max() < 0.6


def test_errors_say_what_to_do():
    """No pixel, half of the optics, a method that does not fit."""
    with pytest.raises(ConfigError, match="pixel_um is missing"):
        AutoDsReader(AutoDsConfig())
    with pytest.raises(ConfigError, match="go together"):
        AutoDsConfig(pixel_um=0.1, na=1.4)
    with pytest.raises(ConfigError, match="--model autods"):
        read_frames(np.zeros((1, 40, 40)), "autods", LocalizeConfig(method="joint"))
