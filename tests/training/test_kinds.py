"""Every kind of decoder against every kind of PSF trains: place in the field, image, in focus, designed, loaded."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from localization import score
from made.tiny import TINY, tiny_run
from optics import make_emitters, make_field_aberration, make_psf, mask_io, masks, save_field, save_psf
from training import (
    ConfigError,
    build,
    evaluate,
    fit,
    init_state,
    load_run,
    make_decoder,
    make_train_step,
    maps_to_localizations,
    stream,
)
from training.config import MicroscopeConfig
from training.decoders.image import image_loss, occupancy_image
from training.decoders.list_readout import mixture_means
from training.instrument import build_microscope
from training.scenes import frame_keys

SCALAR = {**TINY["psf"], "kind": "scalar"}
STEPS = {**TINY["optimiser"], "steps": 2, "checkpoint_every": 2}
IMAGE = {"kind": "image", "upsampling": 4, "width": 0.1}
FLAT = {**TINY["scene"], "z_min_um": 0.0, "z_max_um": 0.0}
ASTIGMATISM = [[0.0, 0.0, 0.0]] * 5 + [[0.0, 0.1, 0.0]]  # grows along x, from none at the field's centre


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """The file of a field of aberrations, and settings of a run in it."""
    path = tmp_path_factory.mktemp("field") / "field.npz"
    save_field(path, make_field_aberration(ASTIGMATISM))
    scene = {**TINY["scene"], "field_px": 64, "count_min": 1, "count_max": 1, "background": "constant"}
    light = {"photons_min": 1e5, "photons_max": 1e5, "z_min_um": 0.9, "z_max_um": 0.9, "margin_um": 0.8}
    decoder = {**TINY["decoder"], "position_channels": True}
    psf = {**SCALAR, "field": str(path)}
    return dict(psf=psf, scene=scene | light, decoder=decoder, mask={"name": "flat"}, optimiser=STEPS)


def test_each_frame_has_the_psf_of_its_place(field):
    """Left of the field's centre the defocused spot is long one way, right of it the other, as the field says."""
    parts = build(tiny_run(**field))
    frames = jax.jit(lambda k: stream(k, parts.psf, parts.scene, parts.background, parts.camera, field=parts.field))(
        frame_keys(jax.random.key(0), 0, 64)
    )
    assert frames.origin_px.min() >= 0 and frames.origin_px.max() <= 64 - 16
    light = np.maximum(np.asarray(frames.images - frames.background), 0)
    centre = np.asarray(frames.emitters.xyz_um[:, 0] / 0.11 - 0.5)
    j, i = np.arange(16) - centre[:, :1], np.arange(16) - centre[:, 1:2]
    near = (np.abs(i)[:, :, None] < 3.5) & (np.abs(j)[:, None, :] < 3.5)
    longer = ((light * near).sum(1) * j**2).sum(1) - ((light * near).sum(2) * i**2).sum(1)
    place = 2 * (np.asarray(frames.origin_px[:, 0]) + 8) / 64 - 1
    assert np.abs(np.corrcoef(place, longer)[0, 1]) > 0.9


@pytest.mark.slow
def test_a_decoder_with_a_place_trains_and_is_tested_in_its_field(field, tmp_path):
    """`fit` on the field, read back, evaluated; the same frame at another place is read otherwise."""
    run = tiny_run(**field)
    fit(run, tmp_path)
    loaded, state = load_run(tmp_path)
    assert loaded == run
    parts = build(loaded)
    evaluate(parts, state, run.scene, n_frames=3, batch=2)
    decode, images = make_decoder(parts, state.variables), 50 + jnp.zeros((2, 16, 16))
    maps = decode(images, jnp.array([[0, 0], [48, 48]]))
    assert float(jnp.abs(maps.photons[0] / maps.photons[1] - 1).max()) > 1e-6


def test_a_field_needs_a_camera(field):
    """Position channels or a field's file without the side of the camera, or one smaller than a frame."""
    for settings, name in (({"psf": field["psf"]}, "psf.field"), ({"decoder": field["decoder"]}, "position_channels")):
        with pytest.raises(ConfigError, match=f"{name} needs scene.field_px"):
            tiny_run(**settings)
    with pytest.raises(ConfigError, match="scene.field_px = 8"):
        tiny_run(scene={**TINY["scene"], "field_px": 8})


def test_the_image_target_marks_fine_pixels():
    """x is the column; two emitters in one fine pixel count twice, one outside the frame not at all."""
    places = [[0.30, 0.05, 0.0], [0.46, 0.2, 0.3], [0.465, 0.21, 0.1], [9.0, 0.1, 0.0], [0.1, 0.1, 0.0]]
    emitters = make_emitters(places, [1.0] * 5, [1, 1, 1, 1, 0])
    target = np.asarray(occupancy_image(emitters, (8, 16), 0.1, 4))
    expected = np.zeros((32, 64))
    expected[2, 12], expected[8, 18] = 1, 2
    np.testing.assert_array_equal(target, expected)


def test_image_loss_is_the_published_one():
    """By scipy's Gaussian of 7 taps; a spike of 50 where the emitter is costs its sparsity alone."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    target = (rng.uniform(size=(2, 20, 24)) < 0.01).astype(float)
    prediction = rng.normal(0, 5, target.shape)
    blurred = np.stack([gaussian_filter(d, 1.0, radius=3, mode="constant") for d in 2 * prediction - 100 * target])
    total, _ = image_loss(jnp.asarray(prediction), jnp.asarray(target))
    np.testing.assert_allclose(total, (blurred**2).mean() + np.abs(prediction).mean(), rtol=1e-9)
    total, _ = image_loss(jnp.asarray(50 * target), jnp.asarray(target))
    np.testing.assert_allclose(total, 50 * target.mean(), rtol=1e-9)


IN_FOCUS = {"scene": FLAT, "mask": {"name": "flat"}, "microscope": {"focus_um": 0.0}, "psf": SCALAR}


@pytest.mark.slow
def test_an_image_decoder_trains_in_focus(tmp_path):
    """In-focus 2D by `fit`, flat mask: read back, evaluated, and pictures of a density that is never negative."""
    run = tiny_run(**IN_FOCUS, decoder=IMAGE, optimiser=STEPS)
    fit(run, tmp_path)
    parts, state = build(run), load_run(tmp_path)[1]
    found, truth = evaluate(parts, state, run.scene, n_frames=3, batch=2)
    assert truth.x_um.size > 0 and (found.z_um == 0).all()
    frames = jnp.asarray(np.random.default_rng(0).poisson(60.0, (4, 16, 16)), float)
    density = np.asarray(make_decoder(parts, state.variables)(frames))
    assert density.shape == (4, 64, 64) and density.min() >= 0


@pytest.mark.slow
def test_the_published_image_decoder_trains():
    """One step of the encoder and decoder: finite, and its batch norms move."""
    parts = build(tiny_run(**IN_FOCUS, decoder={**IMAGE, "variant": "published"}, optimiser=STEPS))
    before = init_state(parts)
    kept = jax.tree.map(np.asarray, before.variables["batch_stats"])
    after, metrics = make_train_step(parts)(before)
    assert np.isfinite(float(metrics["loss"]))
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), kept, after.variables["batch_stats"])
    assert min(jax.tree.leaves(moved)) > 0


def test_a_list_decoder_trains_in_focus():
    """z range 0 to 0: the loss stays finite and falls, and every emitter is put in the plane."""
    optimiser = {**STEPS, "steps": 25, "warmup_steps": 5, "learning_rate": 3e-3}
    run = tiny_run(**IN_FOCUS, optimiser=optimiser)
    parts = build(run)
    state, step, losses = init_state(parts), make_train_step(parts), []
    for _ in range(25):
        state, metrics = step(state)
        losses.append(float(metrics["loss"]))
    assert np.isfinite(losses).all() and np.mean(losses[-5:]) < np.mean(losses[:3])
    maps = make_decoder(parts, state.variables)(jnp.full((1, 16, 16), 50.0))
    np.testing.assert_allclose(maps.z_um, 0.0, atol=1e-7)


@pytest.mark.slow
def test_a_list_decoder_trains_against_every_kind_of_psf(tmp_path):
    """`fit` against a bead-calibrated pupil, a shipped design, a mask that a run learned, and a file of one."""
    scope, pupil = build_microscope(MicroscopeConfig(focus_um=0.5)), masks.astigmatism(0.06, size=16)
    save_psf(tmp_path / "psf.npz", make_psf(scope, aberration=pupil, image_px=11, pupil_px=16, kind="scalar"))
    mask_io.save(tmp_path / "learned.npz", masks.astigmatism(0.05, size=16, design_wavelength_um=0.58))
    kinds = {
        "calibrated": {"psf": {**SCALAR, "calibration": str(tmp_path / "psf.npz")}},
        "designed": {"psf": SCALAR, "mask": {"name": "designed", "design": "fisher-4um"}},
        "learned": {"psf": SCALAR, "mask": {"name": "file", "path": str(tmp_path / "learned.npz")}},
    }
    for name, settings in kinds.items():
        fit(tiny_run(**settings, optimiser=STEPS), tmp_path / name)
        log = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        assert log[-1]["step"] == 2 and np.isfinite(log[-1]["loss"])


def test_two_pixels_that_share_an_emitter_give_the_mean_of_their_mixture():
    """Mean and variance of the mixture by hand; a neighbour that speaks of something else is left out."""
    shape = (1, 5, 6)
    maps = nets.ListMaps(
        logit=jnp.full(shape, -20.0).at[0, 2, 2].set(0.4).at[0, 2, 3].set(-0.4).at[0, 1, 2].set(-2.0),
        offset_um=jnp.zeros((*shape, 2)).at[0, 2, 2, 0].set(0.052).at[0, 2, 3, 0].set(-0.044),
        z_um=jnp.full(shape, 0.5).at[0, 2, 3].set(0.53),
        photons=jnp.full(shape, 1000.0),
        sigma=jnp.full((*shape, 4), 0.01).at[..., 2].set(0.03).at[..., 3].set(40.0),
        background=jnp.zeros(shape),
    )
    p = 1 / (1 + np.exp([-0.4, 0.4]))
    mean, sigma, _ = mixture_means(
        maps, np.asarray(jax.nn.sigmoid(maps.logit)), tuple(np.array([k]) for k in (0, 2, 2)), 0.1
    )
    x = np.array([0.25 + 0.052, 0.35 - 0.044])
    expected = (p * x).sum() / p.sum()
    np.testing.assert_allclose(mean[0, 0], expected, rtol=1e-9)
    np.testing.assert_allclose(sigma[0, 0] ** 2, 0.01**2 + (p * (x - expected) ** 2).sum() / p.sum(), rtol=1e-6)
    np.testing.assert_allclose(mean[0, 1:3], [0.25, 0.5 + 0.03 * p[1] / p.sum()], rtol=1e-9)
    shared, plain = (maps_to_localizations(maps, 0.1, share_borders=on, read_out="peaks") for on in (True, False))
    np.testing.assert_allclose(shared.x_um, expected, rtol=1e-9)
    np.testing.assert_allclose(plain.x_um, 0.302, rtol=1e-9)
    assert score(shared, shared).jaccard == 1
