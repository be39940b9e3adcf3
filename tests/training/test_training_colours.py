"""Scenes of several species, and the decoder that tells them apart, against pictures and formulas made beside them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nets import ListMaps
from optics import make_emitters, make_mask, make_psf
from optics.colour.species import make_species, species_image, species_psfs
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import etch
from optics.masks.library import astigmatism
from optics.pytree import replace
from optics.types import OpticsError, make_microscope
from training import ConfigError, RunConfig, build, from_dict, init_state, make_scene, make_train_step, sample_scene
from training.colours import render_species, species_looks, species_tables
from training.config import SceneConfig
from training.decoders.list_losses import colour_loss, list_loss
from training.decoders.list_readout import maps_to_localizations
from training.evaluate import evaluate

PIXEL = 0.1
TINY = {
    "microscope": {"na": 1.0, "focus_um": 0.5, "wavelength_um": 0.6, "pixel_um": 0.1},
    "psf": {"stamp_px": 11, "pupil_px": 16, "kind": "scalar"},
    "mask": {"name": "astigmatism"},
    "material": "silica",
    "species": ["550", "700"],
    "scene": {"frame_px": 16, "count_max": 2, "z_max_um": 1.0, "background": "constant"},
    "decoder": {"channels": 8, "head_channels": 8, "dilations": [1, 2]},
    "optimiser": {"steps": 4, "batch": 4, "checkpoint_every": 2, "log_every": 1},
}
SCOPE = make_microscope(na=1.0, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL)
SPECIES = (make_species("blue", [0.5, 0.52]), make_species("red", [0.66, 0.7], [1, 3], magnification=1.01))


def run_of(**changes) -> RunConfig:
    return from_dict(RunConfig, {**TINY, **changes})


def plain_psf():
    psf = make_psf(SCOPE, image_px=11, pupil_px=24, kind="scalar", pixel="centre", z_range_um=(0.0, 0.6))
    return replace(psf, mask=astigmatism(0.1, design_wavelength_um=0.6, size=32))


@pytest.mark.parametrize("tabulated", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_emitter_is_drawn_by_the_images_of_its_own_species(tabulated):
    """In a frame as large as a stamp: `species_image` behind the plate as `etch` makes it, of each species by itself.

    The light that falls outside is what these pictures lack of one photon (no iris, no absorption below the NA).
    """
    psf = plain_psf()
    looks = species_looks(psf, SPECIES, "silica")
    own = species_psfs(replace(psf, mask=None), SPECIES, etch(psf.mask, fused_silica()), z_range_um=(0.0, 0.6))
    drawing = species_tables(looks, (0.0, 0.6), psf.microscope.pixel_um) if tabulated else looks
    centre = 11 * PIXEL / 2
    at = np.array([[0.02, -0.03, 0.1], [-0.04, 0.01, 0.45], [0.0, 0.03, 0.3]])
    emitters = make_emitters(at + [centre, centre, 0], [900.0, 500.0, 400.0], [1, 1, 0], channel=[1, 0, 1])
    batched = jax.tree.map(lambda leaf: leaf[None], emitters)
    frame, stray = jax.jit(render_species, static_argnums=2)(drawing, batched, (11, 11))
    picture = jax.jit(species_image)
    images = [picture(own[c], jnp.asarray(point)) for c, point in zip((1, 0), at, strict=False)]
    expected = 900 * images[0] + 500 * images[1]
    # of the table its tolerance, a share of the image; else the piston of a plate that `etch` begins at the lowest cell
    np.testing.assert_allclose(frame[0], expected, atol=(5e-3 if tabulated else 1e-5) * float(expected.max()))
    missing = 900 * (1 - images[0].sum()) + 500 * (1 - images[1].sum())
    np.testing.assert_allclose(stray[0], missing, rtol=5e-2 if tabulated else 1e-3)


@pytest.mark.slow
def test_the_plate_is_learned_by_the_gradient_of_its_heights():
    """The gradient by one cell of the path against central differences of the whole rendering, for both species."""
    psf = plain_psf()
    emitters = make_emitters([[0.52, 0.55, 0.1], [0.61, 0.4, 0.5]], [900.0, 500.0], channel=[0, 1])
    batched = jax.tree.map(lambda leaf: leaf[None], emitters)
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(11, 11)))

    @jax.jit
    def number(opd):
        looks = species_looks(replace(psf, mask=replace(psf.mask, opd_um=opd)), SPECIES, "silica")
        return jnp.sum(weight * render_species(looks, batched, (11, 11))[0][0])

    opd, step = psf.mask.opd_um, 1e-4
    gradient = jax.grad(number)(opd)
    for cell in ((16, 16), (10, 20)):
        nudge = jnp.zeros_like(opd).at[cell].set(step)
        measured = (number(opd + nudge) - number(opd - nudge)) / (2 * step)
        np.testing.assert_allclose(gradient[cell], measured, rtol=1e-5)  # the step squared, times a third derivative


def test_species_come_by_their_shares_and_change_nothing_else():
    """Shares of 4,000 scenes to five standard errors; places and light are those of a scene of one colour."""
    config, keys = SceneConfig(count_min=3, count_max=3), jax.random.split(jax.random.key(3), 4000)
    draw = jax.jit(jax.vmap(sample_scene, (0, None)))
    drawn = draw(keys, make_scene(config, 0.1, shares=jnp.array([0.2, 0.5, 0.3])))
    share = np.bincount(np.asarray(drawn.channel).ravel(), minlength=3) / drawn.channel.size
    np.testing.assert_allclose(share, [0.2, 0.5, 0.3], atol=5 * 0.5 / np.sqrt(drawn.channel.size))
    plain = draw(keys, make_scene(config, 0.1))
    assert plain.channel is None
    np.testing.assert_array_equal(drawn.xyz_um, plain.xyz_um)
    np.testing.assert_array_equal(drawn.photons, plain.photons)


def coloured_maps(seed, shape=(6, 7)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (*shape, 3))
    probability = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    maps = ListMaps(
        logit=jnp.asarray(rng.normal(-2, 1, shape)),
        offset_um=jnp.asarray(rng.normal(0, 0.03, (*shape, 2))),
        z_um=jnp.asarray(rng.uniform(0, 1, shape)),
        photons=jnp.asarray(rng.uniform(500, 1500, shape)),
        sigma=jnp.asarray(rng.uniform(0.5, 1.5, (*shape, 4)) * np.array([0.05, 0.05, 0.2, 300.0])),
        background=jnp.asarray(rng.uniform(5, 15, shape)),
        channel=jnp.log(jnp.asarray(probability)),
    )
    return maps, probability


def test_the_species_cost_their_cross_entropy_around_each_emitter():
    """-log p of the true species at the four pixels around it, bilinear weights, by loops; weighted in the whole."""
    maps, p = coloured_maps(0)
    places = [[0.22, 0.31, 0.4], [0.55, 0.02, 0.9], [9.0, 9.0, 9.0]]
    emitters = make_emitters(places, [900.0, 1200.0, 1.0], [1, 1, 0], channel=[2, 0, 1])
    expected = 0.0
    for (x, y, _), channel in zip(places[:2], (2, 0), strict=True):
        for i in range(6):
            for j in range(7):
                weight = max(0, 1 - abs(x / PIXEL - j - 0.5)) * max(0, 1 - abs(y / PIXEL - i - 0.5))
                expected -= weight * np.log(p[i, j, channel])
    np.testing.assert_allclose(jax.jit(colour_loss)(maps, emitters, PIXEL), expected, rtol=1e-6)
    whole, parts = jax.jit(lambda m: list_loss(m, emitters, m.background + 1, PIXEL, colour_weight=3.0))(maps)
    others = parts["count"] + parts["mixture"] + 100 * parts["background"]
    np.testing.assert_allclose(whole, others + 3 * expected, rtol=1e-6)


@pytest.mark.parametrize("read_out", ["claims", "peaks"])
def test_a_list_says_the_likeliest_species_of_the_pixels_that_speak(read_out):
    """Two pixels claim one emitter, with 0.6 and 0.2: the list has the mean of what they say, by hand."""
    shape, channel = (1, 5, 5), np.full((1, 5, 5, 2), 0.5)
    logit, offset = np.full(shape, -20.0), np.zeros((*shape, 2))
    for at, p, x, said in (((0, 2, 2), 0.6, 0.05, [0.3, 0.7]), ((0, 2, 3), 0.2, -0.05, [0.9, 0.1])):
        logit[at], offset[at] = np.log(p / (1 - p)), (x, 0)
        channel[at] = said
    maps = ListMaps(
        *map(jnp.asarray, (logit, offset, np.full(shape, 0.5), np.full(shape, 900.0), np.full((*shape, 4), 0.02))),
        background=jnp.ones(shape),
        channel=jnp.log(jnp.asarray(channel)),
    )
    locs = maps_to_localizations(maps, PIXEL, threshold=0.3, read_out=read_out)
    assert locs.channel.tolist() == [1]
    np.testing.assert_allclose(locs.extras["p_channel"], [(0.6 * 0.7 + 0.2 * 0.1) / 0.8], rtol=1e-6)


@pytest.mark.slow
def test_a_run_of_two_species_learns_plate_and_decoder():
    """A step moves the plate, the colour head has its loss, and the list of fresh frames names both species."""
    run = run_of(learn={"parametrisation": "zernike", "n_modes": 6}, material="")
    parts = build(run)
    assert parts.net.species == 2
    state, metrics = make_train_step(parts)(init_state(parts))
    assert 0.3 < float(metrics["colour"]) / 1.5 < 1.5  # some 1.5 emitters a frame, log 2 each
    assert float(metrics["mask_gradient"]) > 0
    found, truth = evaluate(parts, state, run.scene, n_frames=8, threshold=1e-3, batch=8)
    assert set(truth.channel.tolist()) == {0, 1}
    assert found.frame.size and found.extras["p_channel"].min() >= 0.5


def test_cells_of_a_learned_plate_keep_their_waves():
    """A plate that comes along, as a start in cells: its heights, several waves of them, are those of the file."""
    optics = {"wavelength_um": 0.625, "focus_um": 1.35}
    learn = {"parametrisation": "pixel", "size_px": 48}
    plate = {"name": "designed", "design": "orange-red-2um"}
    run = run_of(microscope=optics, mask=plate, learn=learn, material="", species=["580", "670"])
    mask = build(run).psf.mask
    assert mask.wrapped and np.ptp(np.asarray(mask.opd_um)) > 3 * 0.625
    with pytest.raises(ConfigError, match="set learn.size_px = 48"):
        build(dataclasses.replace(run, learn=dataclasses.replace(run.learn, size_px=32)))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"species": ["550", "550"]}, "550 is given twice"),
        ({"species": ["550"]}, "give two to 4"),
        ({"shares": [1.0, 1.0, 1.0]}, "2 positive numbers"),
        ({"material": ""}, "give run.material"),
        ({"species": [], "material": "silica"}, "material belongs to a run of several species"),
        ({"decoder": {"kind": "volume"}}, "set decoder.kind = 'list'"),
        ({"scene": {"stray": "drawn"}}, 'set scene.stray = "even"'),
        ({"mask": {"name": "designed", "design": "close-2um"}, "material": "slm"}, "etched in silica"),
    ],
)
def test_what_species_cannot_be_had_with_is_one_line(changes, said):
    with pytest.raises(ConfigError, match=said) as error:
        build(run_of(**changes))
    assert "\n" not in str(error.value)


def test_a_wrapped_path_on_a_mirror_is_refused():
    """What it is at another wavelength nobody knows: the plate's own words."""
    with pytest.raises(OpticsError, match="wrapped"):
        build(run_of(mask={"name": "double_helix", "range_um": 1.0}, material="mirror"))


def test_a_panel_shows_its_path_modulo_a_wave():
    """A path of 1.3 waves is 0.3 of one on a liquid crystal: the same images at the wavelength it was made for."""
    psf = plain_psf()
    turns = np.linspace(0, 1.3, 32)[None, :] * np.ones((32, 1))
    one = (make_species("design", 0.6), make_species("other", 0.7))
    pictures = []
    for path in (0.6 * turns, 0.6 * (turns % 1)):
        mask = make_mask(path, design_wavelength_um=0.6, wrapped=True)
        looks = species_looks(replace(psf, mask=mask), one, "slm")
        pictures.append([np.asarray(jax.jit(species_image)(look, jnp.zeros(3))) for look in looks])
    np.testing.assert_allclose(pictures[0], pictures[1], atol=1e-12)
