# %% [markdown]
# # Learn a phase mask together with its decoder
#
# A localization microscope measures the position of single molecules from their blurred images. A phase
# mask in the back focal plane reshapes that image so that it also tells the depth. Colocus computes the
# image with the full vectorial theory *and its derivative by every optical number*, so that a mask can be
# learned by the same descent that trains the network reading it.
#
# This page runs in under a minute on two cores. It needs no knowledge of JAX: `jnp` is NumPy on any
# device, `jax.vmap(f)` applies `f` to a batch, `jax.jit(f)` compiles it, `jax.grad(f)` differentiates it.
# Lengths are in micrometres, light in photons; images are `(y, x)`, positions `(x, y, z)`.

# %%
import dataclasses
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import localization
import optics
import training
from optics import mask_params


def show(figure, name):
    """Show a figure, or save it in the current folder where there is no screen."""
    if plt.get_backend().lower() == "agg":
        figure.savefig(name, dpi=110)
        plt.close(figure)
    else:
        plt.show()


# %% [markdown]
# ## 1. Build a microscope
# A water-immersion objective, red emission, 120 nm pixels in the sample, focused 1.5 um deep: emitters
# between 0 and 3 um lie on both sides of the focus.

# %%
scope = optics.make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.12, focus_um=1.5)
DEPTHS_UM = jnp.linspace(0.0, 3.0, 13)
STAMP_PX, MASK_PX = 33, 128


def build_psf(mask):
    return optics.make_psf(scope, mask=mask, image_px=STAMP_PX, pixel="centre", z_range_um=(0.0, 3.0))


clear = optics.masks.flat(design_wavelength_um=0.6, size=MASK_PX)
tetrapod = optics.masks.tetrapod(3.0, scope, size=MASK_PX)  # the classic mask for a depth range, here 3 um

# %% [markdown]
# ## 2. Look at the point spread function through z
# `psf_image(psf, xyz_um)` is the picture of one point, in photons per pixel, for one detected photon. With
# a clear pupil the two sides of the focus look the same; the Tetrapod turns its lobes by 90 degrees.


# %%
@jax.jit
def images_through_z(psf, depths_um):
    points = jnp.stack([jnp.zeros_like(depths_um), jnp.zeros_like(depths_um), depths_um], axis=1)
    return jax.vmap(optics.psf_image, (None, 0))(psf, points)


def draw_through_z(named_masks, depths_um, name):
    rows = len(named_masks)
    figure, axes = plt.subplots(
        rows, 1 + len(depths_um), figsize=(2 + 1.5 * len(depths_um), 1.7 * rows), layout="constrained"
    )
    half_um = STAMP_PX * float(scope.pixel_um) / 2
    for row, (title, mask) in zip(axes, named_masks.items(), strict=True):
        waves = np.asarray(mask.opd_um) / float(scope.wavelength_um)
        u = np.linspace(-1, 1, len(waves))
        waves = np.where(np.hypot(u[:, None], u) <= 1, waves, np.nan)  # the corners lie outside the NA
        picture = row[0].imshow(waves, cmap="twilight", extent=(-1, 1, 1, -1))
        figure.colorbar(picture, ax=row[0], label="path (waves)")
        row[0].set(title=title, xlabel="pupil x", ylabel="pupil y")
        for axis, z_um, image in zip(row[1:], depths_um, images_through_z(build_psf(mask), depths_um), strict=True):
            axis.imshow(image, cmap="magma", extent=(-half_um, half_um, half_um, -half_um))
            axis.set(title=f"z = {float(z_um):.1f} um", xlabel="x (um)", yticks=[])
    show(figure, name)


draw_through_z({"clear": clear, "Tetrapod": tetrapod}, DEPTHS_UM[::3], "01_psf_through_z.png")

# %% [markdown]
# ## 3. Ask how precise it can be
# The Cramer-Rao bound is the smallest standard deviation that any unbiased reader of the image can reach.
# `crlb_std_um` gives it for x, y and z, with photons and background unknown as well. Near the focus a clear
# pupil says almost nothing about depth: the bound on z leaves the picture.

# %%
PHOTONS, BACKGROUND = 5000.0, 10.0  # per emitter; per pixel


@jax.jit
def precision_um(psf):
    """Bounds (Z, 3) on x, y, z at each depth; a lateral offset avoids the axis of symmetry."""

    def bound(z_um):
        return optics.crlb_std_um(psf, jnp.stack([0.03, 0.01, z_um]), PHOTONS, BACKGROUND)

    return jax.vmap(bound)(DEPTHS_UM)


def draw_precision(named_masks, name):
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), layout="constrained", sharex=True)
    for title, mask in named_masks.items():
        bounds_nm = 1000 * precision_um(build_psf(mask))
        for i, axis in enumerate(axes):
            axis.semilogy(DEPTHS_UM, bounds_nm[:, i], label=title)
            axis.set(xlabel="depth z (um)", ylabel=f"bound on {'xyz'[i]} (nm)", ylim=(1, 100))
    axes[0].legend()
    show(figure, name)


draw_precision({"clear": clear, "Tetrapod": tetrapod}, "01_precision.png")

# %% [markdown]
# ## 4. Take a gradient by the mask
# A mask is an optical path on a grid. Here it is described by Zernike amplitudes (rms, in radians), and
# the merit is the mean bound over x, y, z and depth. `jax.grad` returns the derivative by all amplitudes at
# the cost of a few images: which modes should grow, starting from weak astigmatism?

# %%
family = mask_params.ZernikePhase(n_modes=28, size=MASK_PX, design_wavelength_um=0.6)
start = mask_params.init_params(family, optics.masks.astigmatism(0.05))


def merit_nm(amplitudes):
    mask = mask_params.to_mask(family, amplitudes)
    return 1000 * jnp.mean(precision_um(build_psf_inside(mask)))


# building a Psf checks its arguments on the host; inside a differentiated function only the mask changes
template = build_psf(mask_params.to_mask(family, start))


def build_psf_inside(mask):
    return optics.replace(template, mask=mask)


value_and_gradient = jax.jit(jax.value_and_grad(merit_nm))
before_nm, gradient = value_and_gradient(start)
steepest = jnp.argsort(-jnp.abs(gradient))[:4]
print(f"mean bound {before_nm:.1f} nm; steepest modes:")
for j in steepest:
    n, m = family.modes()[int(j)]
    print(f"  Zernike (n={n}, m={m:+d}): {float(gradient[j]):+.1f} nm per radian")

# a short step downhill must help, or the gradient would be wrong
after_nm, _ = value_and_gradient(start - 0.1 * gradient / jnp.linalg.norm(gradient))
assert after_nm < before_nm
print(f"one step of 0.1 rad downhill: {after_nm:.1f} nm")

# %% [markdown]
# ## 5. Learn the mask together with a decoder
# The bound speaks of one emitter at a time. What counts is how well a network reads crowded frames, so
# mask and network descend together: every step draws new emitters, renders and digitises their frames,
# lets the network list what it sees, and moves the network *and the mask* against the list's error.
#
# A run is a table of settings, the same that `colocus codesign` reads from a TOML file. The sizes below are
# for a demonstration: small frames, a small network, seconds of training instead of minutes or hours.

# %%
settings = {
    "microscope": {
        "na": 1.2,
        "n_immersion": 1.33,
        "n_sample": 1.33,
        "wavelength_um": 0.6,
        "pixel_um": 0.12,
        "focus_um": 1.5,
    },
    "psf": {"stamp_px": STAMP_PX},
    "mask": {"name": "astigmatism", "rms_um": 0.05},
    "learn": {"parametrisation": "zernike", "n_modes": 28, "learning_rate_rad": 0.03},
    "scene": {
        "frame_px": 32,
        "count_min": 1,
        "count_max": 3,
        "z_min_um": 0.0,
        "z_max_um": 3.0,
        "photons_min": PHOTONS,
        "photons_max": PHOTONS,
        "background_min": BACKGROUND,
        "background_max": BACKGROUND,
    },
    "decoder": {"channels": 32, "head_channels": 32, "dilations": [2, 4, 2]},
    "optimiser": {"steps": 300, "batch": 8, "learning_rate": 3e-3, "log_every": 50},
}
learned_run = training.from_dict(training.RunConfig, settings)
# the rival: the Tetrapod as it is, and a decoder of its own with the same scenes, size, steps and seed
tetrapod_run = dataclasses.replace(learned_run, mask=training.MaskConfig(name="tetrapod", range_um=3.0), learn=None)


def report(event):
    if event["event"] == "step":
        print(f"  step {event['step']:4d}  loss {event['loss']:7.2f}  {event['seconds']:5.1f} s")


with tempfile.TemporaryDirectory() as folder:
    print("mask and decoder:")
    learned = training.fit(learned_run, Path(folder, "learned"), report=report)
    print("decoder of the Tetrapod:")
    rival = training.fit(tetrapod_run, Path(folder, "tetrapod"), report=report)

# %% [markdown]
# ## 6. Compare
# Both read the same 96 fresh frames. A found emitter counts when it lies within 250 nm laterally and
# 500 nm axially of a true one; the Jaccard index is the share of hits among hits, misses and inventions.
# The interval comes from drawing frames again, with the same frames for both masks.

# %%
FRAMES = 96
scene = dataclasses.replace(learned_run.scene, count_min=3)  # the densest frames
per_frame = {}
for title, run, state in (("learned", learned_run, learned), ("Tetrapod", tetrapod_run, rival)):
    found, truth = training.evaluate(training.build(run), state, scene, n_frames=FRAMES)
    per_frame[title] = localization.score_frames(found, truth, n_frames=FRAMES)
    total = localization.score(found, truth)
    print(
        f"{title:9s} Jaccard {total.jaccard:.2f}   lateral RMSE {1000 * total.rmse_xy_um:.0f} nm   "
        f"axial RMSE {1000 * total.rmse_z_um:.0f} nm"
    )
gain = localization.bootstrap_difference(per_frame["learned"], per_frame["Tetrapod"], rng=0)["jaccard"]
print(f"Jaccard, learned - Tetrapod: {gain.estimate:+.2f}  (95 % {gain.low:+.2f} to {gain.high:+.2f}, frames)")

# %% [markdown]
# One seed and a few hundred steps prove nothing about masks: neither decoder has converged. `make demo`
# spends minutes on the same comparison, `colocus compare` does it over several masks, seeds and densities.
# What the learned mask looks like, and what it can do for one emitter: when we ran this, its bound was worse
# than the Tetrapod's at most depths. It gave up precision for a compact image, which a crowd leaves readable.

# %%
learned_mask = training.build(learned_run).to_mask(learned.mask_params)
draw_through_z({"learned": learned_mask, "Tetrapod": tetrapod}, DEPTHS_UM[::3], "01_learned_mask.png")
draw_precision({"clear": clear, "Tetrapod": tetrapod, "learned": learned_mask}, "01_learned_precision.png")
