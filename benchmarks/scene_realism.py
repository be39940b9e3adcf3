"""Are generated frames like the experiment's? Spectra, histograms, noise, and a classifier that is to tell them apart.

    python benchmarks/scene_realism.py [--kinds 2d 3d] [--frames 512] [--only naive tuned generated again]
    python benchmarks/scene_realism.py --recordings [tetrapod lamin telomeres tubulin]

The real frames are fresh ones of the experiment, not those that the generator was fitted to. "again" is the experiment
against itself: what the measures show where there is nothing to see. For every source, against the real frames:
- power spectra in rings of spatial frequency, as the ratio of the two in decibels;
- quantiles of the pixels, and the mean distance between them in standard deviations;
- the mean square of frame minus model where the model expects so many photons: both sets of frames are taken apart by
  the same fitted model, so that what it takes for its own is the same in both (generated frames only);
- the area under the ROC of a small convolutional network, trained on one half and judged on the other.

Recordings are those that `scene_recordings.py` has fitted: there the real frames are the fit's own crops and those that
it held out.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from localization import Interval
from measure.record import Rows, commit, write_result
from optics.pytree import replace
from training.generator.crops import read_crops
from training.generator.draw import SceneGenerator
from training.generator.files import load_generator, load_parts
from training.generator.fit import FitSettings
from training.generator.model import expected_components, photon_variance
from training.generator.refine import encode_and_refine, propose_in_frames
from training.generator.start import make_model
from worlds import DATA
from worlds.recordings import RECORDINGS
from worlds.recordings import RUNS as FITTED
from worlds.scene_learned import RUNS, add_learning, generator_config, learned_scenes, learning_of, model_of
from worlds.scene_rows import prepared, result_folder, write_row
from worlds.scene_sources import Draw, generated, run_config, simulated
from worlds.scene_world import KINDS, World, draw_many, in_photons

PLACE = 260  # of its rows in benchmarks/README.md

SOURCES = ("again", "naive", "tuned", "generated")
REAL_SEED, AGAIN_SEED, BATCH, RINGS, LEVELS = 21, 22, 16, 10, 12
_WIDTHS, _RATE, _RESAMPLES = (12, 24, 48), 2e-3, 1000


def power_spectrum(frames: NDArray, rings: int = RINGS) -> NDArray:
    """Mean power (rings,) of frames (N, H, W) less their means, over rings of one width up to half a cycle a pixel."""
    rings = min(rings, min(frames.shape[1:]) // 4)  # each has frequencies of the frame's
    frames = frames - frames.mean(axis=(1, 2), keepdims=True)
    power = np.mean(np.abs(np.fft.fft2(frames)) ** 2, axis=0) / frames[0].size
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in frames.shape[1:]), indexing="ij"))
    ring = np.minimum((frequency / 0.5 * rings).astype(int), rings)  # the corners beyond are one more, left out
    return np.array([power[(ring == k) & (frequency > 0)].mean() for k in range(rings)])


def compare_spectra(real: NDArray, other: NDArray) -> dict:
    ratio = 10 * np.log10(power_spectrum(other) / power_spectrum(real))
    return {"over_real_db": np.round(ratio, 2).tolist(), "rms_db": round(float(np.sqrt(np.mean(ratio**2))), 3)}


def compare_histograms(real: NDArray, other: NDArray) -> dict:
    """Quantiles of the pixels, and their mean distance (Wasserstein's first) over the real pixels' deviation."""
    at = np.linspace(0.005, 0.995, 199)
    theirs, ours = np.quantile(real, at), np.quantile(other, at)
    named = np.array([0.01, 0.1, 0.5, 0.9, 0.99])
    return {
        "quantiles": named.tolist(),
        "real_photons": np.round(np.quantile(real, named), 2).tolist(),
        "photons": np.round(np.quantile(other, named), 2).tolist(),
        "distance_over_std": round(float(np.mean(np.abs(theirs - ours)) / real.std()), 4),
    }


def mean_variance(
    scenes: SceneGenerator, frames: jax.Array, settings, levels: NDArray | None = None
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Frames (N, H, W) taken apart by the fitted model: edges of levels (L + 1,), and in each level the mean rate, the
    mean square of frame minus rate, and that over what the model expects."""
    evidence = propose_in_frames(scenes.fitted.model, frames)
    posteriors = encode_and_refine(jax.random.key(3), scenes.fitted, frames, evidence, settings)
    rate, expected = _rates(scenes, posteriors, frames.shape[1:])
    rate, expected, square = rate.ravel(), expected.ravel(), (np.asarray(frames).ravel() - rate.ravel()) ** 2
    if levels is None:
        levels = np.quantile(rate, np.linspace(0.005, 0.995, LEVELS + 1))
    place = np.digitize(rate, levels) - 1
    inside = (place >= 0) & (place < len(levels) - 1)
    count = np.bincount(place[inside], minlength=len(levels) - 1)
    mean = [np.bincount(place[inside], v[inside], len(levels) - 1) / np.maximum(count, 1) for v in (rate, square)]
    over = mean[1] / (np.bincount(place[inside], expected[inside], len(levels) - 1) / np.maximum(count, 1))
    return levels, mean[0], mean[1], over


def _rates(scenes: SceneGenerator, posteriors, shape) -> tuple[NDArray, NDArray]:
    @jax.jit
    def one(posterior):
        key = jax.random.key(4)
        parts = expected_components(key, scenes.fitted, posterior, shape)
        noise = photon_variance(scenes.fitted.model.camera, parts.rate, scenes.fitted.movie.log_gain, parts.read_scale)
        return parts.rate, noise

    rate, noise = jax.lax.map(one, posteriors)
    return np.asarray(rate, np.float64), np.asarray(noise, np.float64)


def compare_noise(scenes: SceneGenerator, real: NDArray, other: NDArray, settings: FitSettings, frames: int) -> dict:
    """Mean square of frame minus model, generated over real, at each level of expected photons.

    `scenes.fitted.model` must have its templates and table.
    """
    first, second = (jnp.asarray(some[:frames], dtype=float) for some in (real, other))
    levels, rate, of_real, over_real = mean_variance(scenes, first, settings)
    _, _, of_other, over_other = mean_variance(scenes, second, settings, levels)
    ratio = of_other / np.maximum(of_real, 1e-9)
    return {
        "photons": np.round(rate, 2).tolist(),
        "real": np.round(of_real, 2).tolist(),
        "generated": np.round(of_other, 2).tolist(),
        "generated_over_real": np.round(ratio, 3).tolist(),
        "worst_deviation": round(float(np.max(np.abs(ratio - 1))), 3),
        "real_over_expected": np.round(over_real, 3).tolist(),
        "generated_over_expected": np.round(over_other, 3).tolist(),
    }


def _init_classifier(key: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    sizes, layers = (1, *_WIDTHS), []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        kernel = jax.random.normal(jax.random.fold_in(key, i), (3, 3, a, b)) * np.sqrt(2 / (9 * a))
        layers.append((kernel, jnp.zeros(b)))
    last = jax.random.normal(jax.random.fold_in(key, 99), (2 * _WIDTHS[-1], 1)) * 0.05
    return [*layers, (last, jnp.zeros(1))]


def _classify(layers, frames: jax.Array) -> jax.Array:
    """Logit (B,) that frames (B, H, W) are generated: three convolutions, each after halving, then mean and maximum."""
    x = frames[..., None]
    for i, (kernel, bias) in enumerate(layers[:-1]):
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + bias)
        if i < len(layers) - 2:
            x = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    pooled = jnp.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=-1)
    return (pooled @ layers[-1][0] + layers[-1][1])[:, 0]


def classifier_area(real: NDArray, other: NDArray, *, steps: int, seed: int = 0) -> Interval:
    """Area under the ROC on the second half of both sets, of a network trained on the first; interval by resampling."""
    both = np.concatenate([real, other]).astype(np.float32)
    both = np.sign(both) * np.sqrt(np.abs(both))
    half = [len(real) // 2, len(other) // 2]
    train = np.concatenate([both[: half[0]], both[len(real) : len(real) + half[1]]])
    middle, width = train.mean(), train.std()
    train, label = jnp.asarray((train - middle) / width), jnp.repeat(jnp.arange(2.0), np.array(half))
    optimiser = optax.adamw(optax.cosine_decay_schedule(_RATE, steps), weight_decay=1e-3)
    layers = _init_classifier(jax.random.key(seed))

    @jax.jit
    def step(layers, memory, number):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed + 1), number), 3)
        pick = jax.random.randint(keys[0], (32,), 0, len(train))
        x = train[pick]
        flip = jax.random.bernoulli(keys[1], 0.5, (3, 32, 1, 1))
        x = jnp.where(flip[0], x[:, ::-1], x)
        x = jnp.where(flip[1], x[:, :, ::-1], x)
        x = jnp.where(flip[2], x.transpose(0, 2, 1), x)

        def loss(layers):
            return optax.sigmoid_binary_cross_entropy(_classify(layers, x), label[pick]).mean()

        updates, memory = optimiser.update(jax.grad(loss)(layers), memory, layers)
        return optax.apply_updates(layers, updates), memory

    memory = optimiser.init(layers)
    for number in range(steps):
        layers, memory = step(layers, memory, number)
    judged = [(both[half[0] : len(real)] - middle) / width, (both[len(real) + half[1] :] - middle) / width]
    scores = [np.asarray(jax.jit(_classify)(layers, jnp.asarray(part))) for part in judged]
    rng = np.random.default_rng(seed)
    areas = [roc_area(*(rng.choice(part, len(part)) for part in scores)) for _ in range(_RESAMPLES)]
    low, high = np.quantile(areas, [0.025, 0.975])
    return Interval(roc_area(*scores), float(low), float(high), 1.0)


def roc_area(zero: NDArray, one: NDArray) -> float:
    """Probability that a member of `one` has the higher score, ties half (Mann and Whitney 1947)."""
    order = np.sort(zero)
    below, up_to = np.searchsorted(order, one, "left"), np.searchsorted(order, one, "right")
    return float(np.mean(0.5 * (below + up_to)) / len(zero))


def draw_source(draw: Draw, psf, n: int, seed: int) -> NDArray:
    """`n` frames (n, H, W) of a source, in photons."""
    some = jax.jit(lambda keys: draw(keys, psf).images)
    key = jax.random.key(seed)
    parts: Sequence = [
        some(jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(BATCH))) for first in range(0, n, BATCH)
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])[:n]


def compare(real: NDArray, other: NDArray, *, steps: int) -> dict:
    area = classifier_area(real, other, steps=steps)
    return {
        "spectrum": compare_spectra(real, other),
        "histogram": compare_histograms(real, other),
        "classifier_auc": [round(v, 4) for v in (area.estimate, area.low, area.high)],
    }


def frames_of(label: str, name: str, world: World, arguments: argparse.Namespace) -> tuple[NDArray, Callable | None]:
    """Frames of a source, and for the generator what its fitted model says of their noise beside the real ones."""
    n = arguments.frames
    if label == "again":
        return np.asarray(in_photons(world, draw_many(AGAIN_SEED, world, n)).images, np.float64), None
    _, _, tuning = prepared(name, arguments.movie)
    run = run_config(world, tuning, steps=1, seed=0)
    if label in ("naive", "tuned"):
        draw = simulated(world, run, tuning, tuned=label == "tuned")
        return draw_source(draw, world.psf_believed, n, 5), None
    learning = learning_of(arguments)
    scenes, _ = learned_scenes(name, world, learning, arguments.generators)
    drawn = draw_source(generated(scenes), world.psf_believed, n, 5)

    def noise(real: NDArray) -> dict:
        whole = replace(scenes, fitted=replace(scenes.fitted, model=model_of(world, learning, scenes.psf)[0]))
        return compare_noise(whole, real, drawn, generator_config(world, learning).fit, arguments.noise_frames)

    return drawn, noise


def of_recording(name: str, arguments: argparse.Namespace) -> dict:
    """A generator of a recording beside that recording's crops."""
    run = FITTED / name / "generator"
    saved = load_parts(run)
    config = saved.facts.config
    crops = read_crops(config, DATA / RECORDINGS[name].movie)
    real = np.concatenate([crops.fit, crops.held_out]).astype(np.float64)[: arguments.frames]
    scenes = load_generator(run, config.crop_px)
    scenes = replace(scenes, fitted=replace(scenes.fitted, model=make_model(config, saved.psf, crops)))
    drawn = draw_source(generated(scenes), scenes.psf, len(real), 5)
    row = {"kind": name, "source": "generated", "frames": len(real)}
    row |= compare(real, drawn, steps=arguments.steps)
    return row | {"noise": compare_noise(scenes, real, drawn, config.fit, arguments.noise_frames), "commit": commit()}


def show(row: dict) -> None:
    noise = f", noise off by {row['noise']['worst_deviation']:.3f}" if row["noise"] else ""
    auc, spectrum = row["classifier_auc"], row["spectrum"]["rms_db"]
    print(f"{row['kind']} {row['source']}: classifier {auc}, spectrum {spectrum} dB{noise}", flush=True)


def rows(numbers: dict) -> Rows:
    for row in numbers["rows"]:
        if row["source"] != "generated":
            continue
        simulated = row["kind"] in ("2d", "3d")
        area, low, high = row["classifier_auc"]
        yield (
            f"generated frames against real ones, {row['kind']}: area under the ROC of a classifier",
            "<= 0.65" if simulated else "reported",
            f"{area:.3f} ({low:.3f} to {high:.3f})",
        )
        yield (
            f"their mean square of frame minus model over the real ones', {row['kind']}, worst of twelve levels",
            "within 10 %",
            f"{100 * row['noise']['worst_deviation']:.1f} %",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--frames", type=int, default=512, help="of each side")
    parser.add_argument("--noise-frames", type=int, default=64, help="that the model takes apart")
    parser.add_argument("--steps", type=int, default=1500, help="of the classifier")
    add_learning(parser)
    parser.add_argument("--out", type=Path, default=RUNS / "scene_realism")
    parser.add_argument("--recordings", nargs="*", choices=list(RECORDINGS), help="in place of the experiment")
    arguments = parser.parse_args()
    recordings = list(RECORDINGS) if arguments.recordings == [] else arguments.recordings or []
    for name in recordings:
        path = arguments.out / f"recording-{name}.json"
        if not path.exists():
            write_row(path, of_recording(name, arguments))
            show(json.loads(path.read_text()))
    for name in arguments.kinds if arguments.recordings is None else ():
        world = prepared(name, arguments.movie)[0]
        real = None
        for label in arguments.only:
            path = arguments.out / f"{name}-{label}.json"
            if path.exists():
                continue
            if real is None:
                real = np.asarray(in_photons(world, draw_many(REAL_SEED, world, arguments.frames)).images, np.float64)
            other, noise = frames_of(label, name, world, arguments)
            row = {"kind": name, "source": label, "frames": len(other), **compare(real, other, steps=arguments.steps)}
            row |= {"noise": noise(real) if noise else None, "commit": commit()}
            write_row(path, row)
            show(row)
    rows = [json.loads(path.read_text()) for path in sorted(arguments.out.glob("*.json"))]
    print(write_result("scene_realism", {"rows": rows}, folder=result_folder(arguments.out)))


if __name__ == "__main__":
    main()
