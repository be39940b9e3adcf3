# %% [markdown]
# # Scenes learned from a movie
#
# A decoder is as good as the frames it was trained on. Simulated ones have emitters anywhere on an even background;
# a cell has structure, haze, light that varies tenfold across a frame, and a camera with patterns of its own. A
# *generator* learns all of that from raw frames alone, without labels: it separates the emitters of every frame
# (through the PSF that you calibrated) from everything else, and then draws new frames with new emitters, whose
# labels are known. This page uses the generator that comes with Colocus; it runs in under a minute on two cores.
#
# Your own takes a movie and a PSF, and half an hour at most on two cores:
#
# ```sh
# colocus generate fit movie.tif --psf psf.npz --out runs/scenes z_min_um=0 z_max_um=2
# colocus generate sample runs/scenes -n 1000 --out runs/frames      # TIFF and a table of labels
# colocus train --scenes runs/scenes --out runs/decoder              # frames are drawn as they are needed: no files
# colocus codesign --scenes demo --out runs/mask                     # a mask for the scene that it will see
# ```
#
# Lengths are in micrometres, light in photons.

# %%
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import optics
from experiments.generator.report import draw_panels
from optics.pytree import replace
from training import DrawSettings, generate, load_generator
from training.generator.files import generator_folder, load_facts, read_arrays


def show(figure, name):
    """Show a figure, or save it in the current folder where there is no screen."""
    if plt.get_backend().lower() == "agg":
        figure.savefig(name, dpi=110)
        plt.close(figure)
    else:
        plt.show()


# %% [markdown]
# ## 1. What a generator finds in a movie
# The demo was fitted to 128 frames of a simulated cell behind a Tetrapod mask: filaments out of focus, vesicles, a
# chip with columns, a PSF whose calibration was slightly wrong. Each row is one of its frames taken apart. Look at
# the last two columns first: nothing that looks like a PSF should be in structure or background, and the residual
# should look like nothing at all.

# %%
facts, folder = load_facts("demo"), generator_folder("demo")
print(f"{facts.counts[1]:.1f} emitters a crop of {facts.config.crop_px} px, median {facts.photons[1]:.0f} photons")
print(f"background {facts.background[0]:.0f} to {facts.background[2]:.0f} photons a pixel")
with tempfile.TemporaryDirectory() as place:
    path = Path(place) / "panels.png"
    draw_panels(read_arrays(folder / "examples.npz"), facts.config.microscope.pixel_um, path)
    figure = plt.figure(figsize=(10.5, 7.2))
    figure.add_axes((0, 0, 1, 1)).imshow(plt.imread(path))
    figure.axes[0].axis("off")
show(figure, "generator_panels.png")

# %% [markdown]
# ## 2. New frames with exact labels
# A frame is drawn from a random key: its surroundings are a sample of those of one frame of the movie, turned or
# mirrored; its emitters are new. Number, brightness and depth follow the movie, or your settings. Nothing is stored;
# a GPU draws thousands of frames in a second.

# %%
side = 40
draw = jax.jit(lambda key, scenes: generate(jax.random.split(key, 16), scenes, scenes.psf))
scenes = load_generator("demo", side)
sparse = draw(jax.random.key(1), scenes)
crowded = draw(jax.random.key(1), load_generator("demo", side, DrawSettings(density=2.0, brightness=2.0)))

pixel_um = facts.config.microscope.pixel_um
figure, axes = plt.subplots(2, 5, figsize=(10.5, 4.4), constrained_layout=True)
for row, (frames, title) in enumerate(((sparse, "like the movie"), (crowded, "twice as many,\ntwice as bright"))):
    for column, ax in enumerate(axes[row]):
        picture, there = frames.images[column], np.asarray(frames.emitters.valid[column])
        brightest = float(jnp.percentile(picture, 99.7))
        ax.imshow(picture, extent=(0, side * pixel_um, side * pixel_um, 0), vmin=0, vmax=brightest)
        place_um = np.asarray(frames.emitters.xyz_um[column])[there]
        ax.scatter(*place_um[:, :2].T, s=30, facecolors="none", edgecolors="white", linewidths=0.8)
        ax.set_xticks([0, 2, 4])
        ax.set_yticks([0, 2, 4])
    axes[row, 0].set_ylabel(title)
axes[1, 2].set_xlabel("x (µm); circles: labels")
show(figure, "generator_frames.png")
numbers = [int(frames.emitters.valid.sum()) for frames in (sparse, crowded)]
print(f"{numbers[0]} emitters in {len(sparse.images)} frames, {numbers[1]} in the crowded ones")

# %% [markdown]
# ## 3. The labels are true
# Bright emitters that stand alone, fitted by maximum likelihood with the generator's PSF: found minus label over the
# Cramer-Rao bound is a standard normal variable where the labels are right. (The light around them is known here and
# taken off, so that only the label is tested.)

# %%
bright = load_generator("demo", side, DrawSettings(density=0.12, brightness=15.0, places="even"))
parts = [draw(jax.random.key(k), bright) for k in range(24)]
images, level, xyz_um, valid = (
    np.concatenate([np.asarray(leaf) for leaf in leaves])
    for leaves in zip(*((p.images, p.background, p.emitters.xyz_um, p.emitters.valid) for p in parts), strict=True)
)
mean_level = level.mean(axis=(1, 2), keepdims=True)
alone = np.flatnonzero(valid.sum(axis=1) == 1)
truth_um = xyz_um[alone][valid[alone]]
inside = np.all(np.abs(truth_um[:, :2] / (side * pixel_um) - 0.5) < 0.3, axis=1)
alone, truth_um = alone[inside], truth_um[inside]

psf = scenes.psf
cut = optics.cut_stamps(
    images - level + mean_level, alone, truth_um[:, 1] / pixel_um, truth_um[:, 0] / pixel_um, psf.image_px, edge="mask"
)  # fmt: skip
efficiency = facts.camera.quantum_efficiency  # frames are in photons already
in_photons = optics.make_camera(gain_adu_per_e=1 / efficiency, quantum_efficiency=efficiency, read_noise_e=1.0)
table = optics.tabulate_psf(psf, (0.0, 2.0))
fits = optics.fit_emitters(psf, cut.images, valid=cut.valid, table=table, camera=in_photons, starts=3)
error = (np.asarray(optics.to_frame_um(cut, fits.xyz_um, pixel_um)) - truth_um) / np.asarray(fits.crlb_std)[:, :3]
print(
    f"{len(alone)} emitters, error over bound in x, y, z: mean {error.mean(0).round(2)}, spread {error.std(0).round(2)}"
)

# %% [markdown]
# ## 4. The same cell behind another mask
# A scene is not bound to the PSF it was learned through. Here it is behind a mask that turns with depth; co-design
# does the same with a mask that is being learned, and lets the gradient through.

# %%
helix = replace(psf, mask=optics.masks.double_helix(1.5, psf.microscope))
other = jax.jit(lambda key: generate(jax.random.split(key, 16), scenes, helix))(jax.random.key(1))
figure, axes = plt.subplots(1, 4, figsize=(9.5, 2.6), constrained_layout=True)
pictures = [
    (frames.images[k], name) for k in (0, 2) for frames, name in ((sparse, "Tetrapod"), (other, "double helix"))
]
for ax, (picture, title) in zip(axes, pictures, strict=True):
    drawn = ax.imshow(picture, extent=(0, side * pixel_um, side * pixel_um, 0))
    ax.set_title(title)
    ax.set_xlabel("x (µm)")
    figure.colorbar(drawn, ax=ax, shrink=0.8, label="photons / px")
show(figure, "generator_masks.png")

# %% [markdown]
# ## Where this helps, and where it does not
# `benchmarks/scene_arms.py` trains the same decoder on naive, hand-tuned, generated and true frames of an experiment
# whose truth no model knows, and [docs/generator.md](../generator.md) has the numbers. In short: the more structure
# and the less light, the more it gains; on an even background with bright emitters a plain simulation does as well.
# It cannot invent: emitters too dim to be distinguished from noise are not found, and therefore not drawn.
