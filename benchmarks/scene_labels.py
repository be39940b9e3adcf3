"""Are the labels of generated frames right, and do no emitters hide in what is drawn around them?

    python benchmarks/scene_labels.py [--kinds 2d 3d] [--frames 1600]

Bias: bright emitters of generated frames that stand alone are fitted by maximum likelihood with the generator's PSF,
and found minus label is averaged over a grid of zones of the field. The light around them is known and taken off (its
mean is left, so that the noise stays what it was): what remains is the label's error, not the background's.

Ghosts: what the generator believes about each frame of its movie is decoded with all emitters off, without noise. The
truth of the movie is known, so a ghost is light of a true emitter that haze or background took: the decoded frame less
the true background, projected on the image of each true emitter (less what is smooth of it) as a share of its photons.
From half of its light on, an emitter has left a ghost. The same frames are searched by the PSF's matched filter, as
where nothing is known of the truth: the share of believed emitters at whose place (within two pixels) it finds as much
as the emitter itself had, or half of that, and what it calls sure without emitters over those with them. The search
of the experiment's own background under its true emitters is told beside it: light that has structure is found, too.
"""

import argparse
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from localization import Localizations, make_localizations, score
from measure.record import Rows, commit, write_result
from optics import Camera, Emitters, Psf, cut_stamps, fit_emitters, make_camera, psf_image, render_frame, to_frame_um
from optics.fits.matched_filter import Templates, choose_depths, local_background, make_templates, significance_maps
from optics.psf_table import tabulate_psf
from optics.pytree import replace
from training.generator.draw import DrawSettings, SceneGenerator, generate, make_generator
from training.generator.files import read_arrays
from training.generator.model import expected_components, photon_variance, render_emitters
from training.generator.posterior import posterior_mean
from training.generator.surroundings import smooth
from worlds.scene_learned import MOVIE_SEED, RUNS, add_learning, generator_path, learned_scenes, learning_of, model_of
from worlds.scene_rows import prepared, result_folder, write_row
from worlds.scene_world import EFFICIENCY, KINDS, World, draw_many

PLACE = 270  # of its rows in benchmarks/README.md

ZONES, BATCH, SEED, REACH_PX, LEAST = 4, 16, 41, 2, 20
SURE, GHOST = 6.0, 0.5  # standard deviations; share of an emitter's light
CLEAR = (6.0, 10.0, 20.0)  # standard deviations of an emitter by itself in the true noise, by the same filter


def bright_frames(scenes: SceneGenerator, n: int) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """`n` generated frames, the light around their emitters, and xyz_um, photons and valid of the emitters."""

    @jax.jit
    def some(keys):
        drawn = generate(keys, scenes, scenes.psf)
        e = drawn.emitters
        return drawn.images, drawn.background, e.xyz_um, e.photons, e.valid

    key, parts = jax.random.key(SEED), []
    for first in range(0, n, BATCH):
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(BATCH))
        parts.append([np.asarray(leaf) for leaf in some(keys)])
    images, background, xyz, photons, valid = (np.concatenate(part)[:n] for part in zip(*parts, strict=True))
    return images, background, xyz, photons, valid


def with_settings(scenes: SceneGenerator, settings: DrawSettings) -> SceneGenerator:
    return make_generator(
        scenes.fitted, scenes.posteriors, scenes.psf,
        crop_px=scenes.crop_px, frame_px=scenes.frame_px, settings=settings,
    )  # fmt: skip


def photon_camera(camera: Camera) -> Camera:
    """The camera of frames that are in photons already."""
    efficiency = float(camera.quantum_efficiency)
    read = float(np.sqrt(np.mean(np.asarray(camera.read_noise_e) ** 2)))
    return make_camera(gain_adu_per_e=1 / efficiency, quantum_efficiency=efficiency, read_noise_e=read)


def label_bias(scenes: SceneGenerator, n: int, *, photons: float) -> dict:
    """Found minus label in zones of the field, nm; emitters of about `photons`."""
    middle = float(np.exp(np.median(np.asarray(scenes.pool)[:, 0])))
    wide = scenes.frame_px / scenes.psf.image_px
    # about one emitter for every four stamps' room, so that most stand alone
    wanted = max(1.0, wide**2 / 4)
    density = wanted / max(float(np.mean(np.asarray(scenes.counts))), 0.5)
    settings = DrawSettings(density=density, brightness=photons / middle, places="even")
    images, background, xyz, light, valid = bright_frames(with_settings(scenes, settings), n)
    pixel_um, side = scenes.fitted.model.ranges.pixel_um, scenes.psf.image_px
    frame, slot = np.nonzero(valid)
    place = xyz[frame, slot].astype(np.float64)
    far = np.abs(place[:, None, :2] - place[None, :, :2]).max(axis=-1)
    far[frame[:, None] != frame[None]] = np.inf
    np.fill_diagonal(far, np.inf)
    alone = far.min(axis=1) > (side + 1) * pixel_um
    bright = light[frame, slot] > 0.3 * photons
    kept = np.flatnonzero(alone & bright)
    frame, slot, place = frame[kept], slot[kept], place[kept]
    level = background.mean(axis=(1, 2), keepdims=True)
    rest = images - background + level
    column, row = place[:, 0] / pixel_um, place[:, 1] / pixel_um
    cut = cut_stamps(rest, frame, row, column, side, edge="mask")
    model = scenes.fitted.model
    table = tabulate_psf(scenes.psf, model.ranges.z_um)
    fits = fit_emitters(
        scenes.psf, cut.images, valid=cut.valid, table=table, camera=photon_camera(model.camera), starts=3
    )
    found = np.asarray(to_frame_um(cut, fits.xyz_um, pixel_um), np.float64)
    error = 1e3 * (found - place)
    bound = 1e3 * np.asarray(fits.crlb_std)[:, :3]
    good = np.asarray(fits.converged) & (np.abs(error[:, :2]) < 6 * bound[:, :2] + 5).all(axis=1)
    zone = np.minimum((place[:, :2] / (scenes.frame_px * pixel_um) * ZONES).astype(int), ZONES - 1)
    zones = []
    for i in range(ZONES):
        for j in range(ZONES):
            own = good & (zone[:, 0] == j) & (zone[:, 1] == i)
            if own.sum() < LEAST:
                continue
            some = error[own]
            weight = 1 / bound[own] ** 2
            mean = (some * weight).sum(axis=0) / weight.sum(axis=0)
            spread = np.sqrt((weight**2 * (some - mean) ** 2).sum(axis=0)) / weight.sum(axis=0)
            zones.append(
                {"row": i, "column": j, "n": int(own.sum())} | _axes("bias_nm", mean) | _axes("std_nm", spread)
            )
    bias = np.array([[z["bias_nm"][a] for a in range(2)] for z in zones])
    spread = np.array([[z["std_nm"][a] for a in range(2)] for z in zones])
    return {
        "photons": photons,
        "emitters": len(place),
        "converged_and_near_share": round(float(good.mean()), 4),
        "zones": zones,
        "zones_filled": len(zones),
        "worst_bias_nm": None if not zones else round(float(np.abs(bias).max()), 3),
        "std_of_that_nm": None if not zones else round(float(spread.ravel()[np.abs(bias).argmax()]), 3),
        "bias_over_std_rms": None if not zones else round(float(np.sqrt(np.mean((bias / spread) ** 2))), 2),
        "crlb_median_nm": np.round(np.median(bound, axis=0), 2).tolist(),
    }


def _axes(name: str, values: NDArray) -> dict:
    return {name: np.round(values, 3).tolist()}


@jax.jit
def _strength(templates: Templates, frame: jax.Array, variance: jax.Array, level: jax.Array) -> jax.Array:
    return significance_maps(templates, frame - level, variance)[0]


def ghosts(scenes: SceneGenerator, templates: Templates) -> dict[str, list]:
    """Of every believed emitter: its own significance, and the largest that is left at its place without emitters."""
    model, shape = scenes.fitted.model, (scenes.crop_px, scenes.crop_px)

    @jax.jit
    def one(posterior):
        draw = posterior_mean(model.ranges, posterior)
        parts = expected_components(jax.random.key(6), scenes.fitted, posterior, shape)
        there = (draw.presence > 0.5).astype(float)
        light, _ = render_emitters(model, draw.xyz_um, draw.photons, there, shape)
        return parts.haze + parts.background, light, draw.xyz_um, there, parts.read_scale

    own, left, anywhere = [], [], []
    for index in range(len(scenes.counts)):
        around, light, xyz, there, read_scale = one(jax.tree.map(lambda leaf: leaf[index], scenes.posteriors))  # noqa: B023
        maps = _with_and_without(scenes, templates, around, light, read_scale)
        picked = np.asarray(there) > 0.5
        at, peaks = _at_places(maps, np.asarray(xyz)[picked, :2] / model.ranges.pixel_um)
        own += at[0].tolist()
        left += at[1].tolist()
        anywhere.append(peaks)
    return {"own": own, "left": left, "anywhere": anywhere}


def _with_and_without(scenes, templates, around, light, read_scale=1.0) -> tuple[NDArray, NDArray]:
    """Significance maps with the emitters and without, each less its own local level."""
    model = scenes.fitted.model
    level = local_background(around, model.block_px)
    noise = photon_variance(model.camera, jnp.maximum(around, 0.0), scenes.fitted.movie.log_gain, read_scale)
    # the same level and noise for both: only the emitters' light differs
    with_light = _strength(templates, around + light, noise, level)
    return np.asarray(with_light), np.asarray(_strength(templates, around, noise, level))


def _at_places(maps, xy_px: NDArray) -> tuple[NDArray, list[float]]:
    """Largest significance within two pixels of each place, (2, K), and the maxima of the map without emitters."""
    height, width = maps[0].shape
    at = np.zeros((2, len(xy_px)))
    for k, (x, y) in enumerate(xy_px):
        rows = slice(max(int(y) - REACH_PX, 0), min(int(y) + REACH_PX + 1, height))
        columns = slice(max(int(x) - REACH_PX, 0), min(int(x) + REACH_PX + 1, width))
        if rows.start >= height or columns.start >= width or rows.stop <= 0 or columns.stop <= 0:
            continue
        at[:, k] = [m[rows, columns].max() for m in maps]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(maps[1], REACH_PX, constant_values=-np.inf), (5, 5))
    peaks = maps[1][(maps[1] >= windows.max(axis=(-1, -2))) & (maps[1] > 3)]
    return at, peaks.tolist()


def ghost_shares(found: dict[str, list]) -> dict:
    own, left = np.array(found["own"]), np.array(found["left"])
    typical = float(np.median(own)) if own.size else 0.0
    every = np.concatenate([np.asarray(p) for p in found["anywhere"]]) if found["anywhere"] else np.zeros(0)
    return {
        "emitters": len(own),
        "significance_median": round(typical, 2),
        "left_median": round(float(np.median(left)), 2) if own.size else None,
        "ghost_share": round(float(np.mean(left >= own)), 4) if own.size else None,
        "half_as_significant_share": round(float(np.mean(left >= 0.5 * own)), 4) if own.size else None,
        "sure_without_over_sure_emitters": round(float(np.sum(every >= SURE)) / max(int(np.sum(own >= SURE)), 1), 4),
        "anywhere_at_median_over_emitters": round(float(np.sum(every >= typical)) / max(len(own), 1), 4),
    }


def world_ghosts(scenes: SceneGenerator, world: World, templates: Templates, n: int) -> dict[str, list]:
    """The same search in the experiment's own light around its true emitters, for comparison."""
    frames = draw_many(MOVIE_SEED, world, n)
    own, left, anywhere = [], [], []
    for k in range(n):
        maps = _with_and_without(scenes, templates, frames.background[k], frames.light[k])
        picked = np.asarray(frames.emitters.valid[k])
        at, peaks = _at_places(maps, np.asarray(frames.emitters.xyz_um[k])[picked, :2] / world.kind.pixel_um)
        own += at[0].tolist()
        left += at[1].tolist()
        anywhere.append(peaks)
    return {"own": own, "left": left, "anywhere": anywhere}


def light_left(scenes: SceneGenerator, world: World, fit_at: NDArray, n: int, smooth_px: float) -> dict:
    """What haze and background hold of the light of the true emitters of the movie, as shares of their photons."""
    side = scenes.crop_px
    truth = draw_many(MOVIE_SEED, world, n)

    @jax.jit
    def shares(posterior, background, read_e, emitters):
        parts = expected_components(jax.random.key(6), scenes.fitted, posterior, (side, side))
        excess = parts.haze + parts.background - background
        variance = background / EFFICIENCY + (read_e / EFFICIENCY) ** 2

        def one(xyz_um):
            alone = Emitters(xyz_um[None], jnp.ones(1), jnp.ones(1, bool))
            image = render_frame(world.psf, alone, (side, side), chunk=1)
            sharp = image - smooth(image, smooth_px)
            left = jnp.sum(sharp * excess) / jnp.sum(sharp * image)
            return left, jnp.sum(sharp * image) / jnp.sqrt(jnp.sum(sharp**2 * variance))

        left, unit = jax.lax.map(one, emitters.xyz_um)
        return left / emitters.photons, unit * emitters.photons

    found, clear = [], []
    for index, frame in enumerate(fit_at[:, 0]):
        own = jax.tree.map(lambda leaf: leaf[index], scenes.posteriors)  # noqa: B023
        emitters = jax.tree.map(lambda leaf: leaf[frame], truth.emitters)  # noqa: B023
        some, strength = shares(own, truth.background[frame], truth.camera.read_noise_e[frame], emitters)
        found += np.asarray(some)[np.asarray(emitters.valid)].tolist()
        clear += np.asarray(strength)[np.asarray(emitters.valid)].tolist()
    share, clear = np.array(found), np.array(clear)
    edges = (0.0, *CLEAR, np.inf)
    told = {}
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        own = share[(clear >= low) & (clear < high)]
        told[f"true_significance_{low:g}_to_{high:g}"] = {
            "emitters": len(own),
            "ghost_share": round(float(np.mean(own >= GHOST)), 4),
            "light_left_mean": round(float(np.mean(own)), 4),
        }
    return {
        "emitters": len(share),
        "ghost_share": round(float(np.mean(share >= GHOST)), 4),
        "light_left_mean": round(float(np.mean(share)), 4),
        **told,
    }


def belief(scenes: SceneGenerator, world: World, fit_at: NDArray, n: int) -> dict:
    """The emitters that the model believes in, scored against the movie's true ones."""
    truth = draw_many(MOVIE_SEED, world, n).emitters
    draws = jax.vmap(functools.partial(posterior_mean, scenes.fitted.model.ranges))(scenes.posteriors)

    def listed(frames: NDArray, xyz_um, photons, there) -> Localizations:
        at = np.asarray(there, bool)
        x, y, z = np.moveaxis(np.asarray(xyz_um, np.float64)[at], -1, 0)
        frame = np.broadcast_to(frames[:, None], at.shape)[at]
        return make_localizations(frame, x, y, z, photons=np.asarray(photons, np.float64)[at])

    found = listed(fit_at[:, 0], draws.xyz_um, draws.photons, draws.presence > 0.5)
    true = listed(np.arange(n), truth.xyz_um, truth.photons, truth.valid)
    told = score(found, true, **world.kind.gates)
    low, high = world.kind.z_um
    ends = (found.z_um < low + 0.025 * (high - low)) | (found.z_um > high - 0.025 * (high - low))
    return {
        "believed": told.n_found,
        "true": told.n_truth,
        "pairs": told.true_positives,
        "precision": round(told.precision, 4),
        "recall": round(told.recall, 4),
        "photons_median": [round(float(np.median(some.photons)), 1) for some in (found, true)],
        "at_ends_of_depth": round(float(ends.mean()), 4) if world.kind.deep else None,
    }


def psf_error(scenes: SceneGenerator, world: World) -> dict[str, float]:
    """Relative L2 distance of the calibrated and of the generator's PSF from the experiment's, over five depths."""
    low, high = world.kind.z_um
    places = jnp.stack([jnp.zeros(5), jnp.zeros(5), jnp.linspace(low, high, 5)], axis=1)

    def images(psf: Psf) -> NDArray:
        return np.asarray(jax.vmap(lambda place: psf_image(psf, place))(places), np.float64)

    true = images(world.psf)
    named = {"calibrated": world.psf_believed, "the_generators": scenes.psf}
    return {k: round(float(np.linalg.norm(images(p) - true) / np.linalg.norm(true)), 4) for k, p in named.items()}


def one_kind(name: str, arguments: argparse.Namespace) -> dict:
    world = prepared(name, arguments.movie)[0]
    learning = learning_of(arguments)
    scenes, told = learned_scenes(name, world, learning, arguments.generators)
    scenes = replace(scenes, fitted=replace(scenes.fitted, model=model_of(world, learning, scenes.psf)[0]))
    plain = make_templates(*choose_depths(scenes.fitted.model.table), (scenes.crop_px, scenes.crop_px))
    plain_gain = replace(scenes.fitted.movie, log_gain=jnp.zeros(()))
    of_world = replace(scenes, fitted=replace(scenes.fitted, movie=plain_gain))
    few = min(arguments.movie, 64)
    fit_at = read_arrays(generator_path(name, learning, arguments.generators) / "bank.npz")["fit_at"]
    return {
        "kind": name,
        "fit": told,
        "psf_error": psf_error(scenes, world),
        "belief": belief(scenes, world, fit_at, arguments.movie),
        "bias": label_bias(scenes, arguments.frames, photons=60_000.0 if world.kind.deep else 20_000.0),
        "ghosts": {
            "light_of_true_emitters": light_left(scenes, world, fit_at, arguments.movie, learning.smooth_px),
            "templates_of_the_model": ghost_shares(ghosts(scenes, scenes.fitted.model.templates)),
            "templates_that_see_smooth_light": ghost_shares(ghosts(scenes, plain)),
            "the_experiment_itself": ghost_shares(world_ghosts(of_world, world, scenes.fitted.model.templates, few)),
            "the_experiment_itself_smooth_light_too": ghost_shares(world_ghosts(of_world, world, plain, few)),
        },
        "commit": commit(),
    }


def rows(numbers: dict) -> Rows:
    for row in numbers["rows"]:
        bias, ghosts = row["bias"], row["ghosts"]["templates_of_the_model"]
        yield (
            f"label bias of generated frames, {row['kind'].upper()}, worst of {bias['zones_filled']} zones",
            "< 2 nm",
            f"{bias['worst_bias_nm']:.2f} +- {bias['std_of_that_nm']:.2f} nm",
        )
        yield (
            f"ghosts in {row['kind'].upper()} frames decoded without emitters, as significant as the emitter there",
            "<= 1 %",
            f"{100 * ghosts['ghost_share']:.2f} % of {ghosts['emitters']} "
            f"(the experiment's own structure: {100 * row['ghosts']['the_experiment_itself']['ghost_share']:.1f} %)",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--frames", type=int, default=1600, help="generated frames whose labels are checked")
    add_learning(parser)
    parser.add_argument("--out", type=Path, default=RUNS / "scene_labels")
    arguments = parser.parse_args()
    for name in arguments.kinds:
        path = arguments.out / f"{name}.json"
        if not path.exists():
            write_row(path, one_kind(name, arguments))
        row = json.loads(path.read_text())
        print(name, json.dumps({k: v for k, v in row["bias"].items() if k != "zones"}), json.dumps(row["ghosts"]))
    rows = [json.loads(path.read_text()) for path in sorted(arguments.out.glob("*.json"))]
    print(write_result("scene_labels", {"rows": rows}, folder=result_folder(arguments.out)))


if __name__ == "__main__":
    main()
