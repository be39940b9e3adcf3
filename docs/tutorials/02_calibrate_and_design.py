# %% [markdown]
# # Know your microscope, then give it a better mask
#
# Three questions of an optics lab, answered in under a minute on two cores: what camera is this, what PSF
# does this instrument really have, and which phase mask would tell more? An instrument that we make up
# stands in for yours: it is aberrated, its camera has a gain and an offset, and nothing below knows them.
# With your own files the same is done by `colocus calibrate-camera`, `colocus retrieve` and `colocus design`.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import localization
import optics
from optics import mask_params


def show(figure, name):
    """Show a figure, or save it in the current folder where there is no screen."""
    if plt.get_backend().lower() == "agg":
        figure.savefig(name, dpi=110)
        plt.close(figure)
    else:
        plt.show()


scope = optics.make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.12, focus_um=0.0)
STAMP_PX = 21

# the instrument nobody has seen: astigmatism, coma and spherical aberration, a little blur, a real camera
hidden_aberration = optics.masks.zernike([(2, 2, 0.06), (3, 1, 0.04), (4, 0, -0.02)], design_wavelength_um=0.6, size=64)
hidden_psf = optics.make_psf(scope, aberration=hidden_aberration, blur_um=0.06, image_px=STAMP_PX)
hidden_camera = optics.make_camera(gain_adu_per_e=2.2, offset_adu=100.0, read_noise_e=1.5)

# %% [markdown]
# ## 1. The camera, from a movie of plain frames
# Noise grows with light; the slope is the gain, and where the line meets no noise lies the offset.

# %%
light = 40 + 35 * np.sin(np.linspace(0, 3, 96))[None, :] * np.cos(np.linspace(0, 2, 96))[:, None]
frames = jax.vmap(lambda key: optics.sample_camera(key, hidden_camera, jnp.asarray(light)))(
    jax.random.split(jax.random.key(0), 200)
)
estimate = localization.estimate_gain_offset(np.asarray(frames), read_noise_e=1.5)
print(f"gain {estimate.gain_adu_per_photon:.2f} +- {estimate.gain_error:.2f} counts per photon (true: 2.20)")
print(f"offset {estimate.offset_adu:.1f} +- {estimate.offset_error_adu:.1f} counts (true: 100)")
camera = optics.make_camera(
    gain_adu_per_e=estimate.gain_adu_per_photon, offset_adu=estimate.offset_adu, read_noise_e=1.5
)

# %% [markdown]
# ## 2. The PSF, from one bead
# A bead on the coverslip, imaged at 16 positions of the focus, 60 000 photons each. `retrieve_psf` finds the
# phase of the pupil, the blur, and where the bead was; its notes say what no bead can tell. It finds the pupil's
# amplitude too where `amplitude_modes` is left as it is: for longer stacks of brighter beads, because what noise takes
# for loss makes every bound below too large. Here are fewer steps than the default, to keep this page short.

# %%
focus_um = np.linspace(-0.75, 0.75, 16)


@jax.jit
def bead_images(psf, xyz_um, focus_um):
    def at(focus):
        refocused = optics.replace(psf, microscope=optics.replace(psf.microscope, focus_um=focus))
        return optics.psf_image(refocused, xyz_um)

    return jax.lax.map(at, focus_um)


bead_um = jnp.array([0.04, -0.03, 0.02])
expected = 60_000 * bead_images(hidden_psf, bead_um, jnp.asarray(focus_um)) + 10
stack = optics.make_bead_stack(
    optics.sample_camera(jax.random.key(1), hidden_camera, expected), focus_um, scope, camera=camera
)
retrieval = optics.retrieve_psf(stack, optics.RetrievalSettings(amplitude_modes=0, steps=(60, 30, 16)))
bead = retrieval.beads[0]
print(f"slices and model correlate by {bead.correlation.mean():.4f}; the noise allows {bead.ceiling.mean():.4f}")
print(f"blur {1000 * float(retrieval.psf.blur_um):.0f} nm (true: 60)")
print(*retrieval.notes, sep="\n")


# %%
def phase_inside(mask):
    phase = 2 * np.pi * np.asarray(mask.opd_um) / 0.6
    u = np.linspace(-1, 1, len(phase))
    inside = np.hypot(u[:, None], u) <= 1
    return np.where(inside, np.angle(np.exp(1j * (phase - phase[inside].mean()))), np.nan)


figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), layout="constrained")
for ax, (title, mask) in zip(
    axes, {"the hidden pupil": hidden_aberration, "retrieved": retrieval.psf.aberration}.items(), strict=True
):
    picture = ax.imshow(phase_inside(mask), cmap="twilight", vmin=-np.pi, vmax=np.pi, extent=(-1, 1, 1, -1))
    ax.set(title=title, xlabel="x (pupil radii)", ylabel="y (pupil radii)")
figure.colorbar(picture, ax=axes, label="phase (rad)")
show(figure, "retrieved_pupil.png")

# %% [markdown]
# `optics.save_psf("psf.npz", retrieval.psf)` keeps it; `psf.calibration = "psf.npz"` in a settings file makes
# `colocus train`, `codesign` and `compare` use it.
#
# ## 3. How precise can this instrument be, and with which mask?
# The Cramer-Rao bound of the calibrated PSF over 2 um of depth, without a mask and with a Tetrapod: the mask
# goes on top of the aberration that the beads showed.

# %%
Z_RANGE_UM = (0.0, 2.0)
DEPTHS_UM = jnp.linspace(*Z_RANGE_UM, 9)
in_sample = optics.replace(scope, focus_um=jnp.asarray(1.0))


def instrument(mask):
    return optics.make_psf(
        in_sample,
        mask=mask,
        aberration=retrieval.psf.aberration,
        blur_um=float(retrieval.psf.blur_um),
        image_px=STAMP_PX,
        pixel="centre",
        z_range_um=Z_RANGE_UM,
    )


@jax.jit
def bounds_nm(psf):
    points = jnp.stack([0 * DEPTHS_UM, 0 * DEPTHS_UM, DEPTHS_UM], axis=1)
    return 1000 * jax.vmap(lambda point: optics.crlb_std_um(psf, point, 3500.0, 20.0))(points)


flat = optics.masks.flat(design_wavelength_um=0.6, size=128)
tetrapod = optics.masks.tetrapod(2.0, in_sample, size=128)

# %% [markdown]
# ## 4. Design a mask for this instrument
# The first 21 Zernike modes, moved until the mean bound of x, y and z over the range is least. A dozen steps
# show the way; `colocus design` takes more modes, more starts and limits of what can be made.

# %%
target = optics.make_target(Z_RANGE_UM, photons=3500.0, background=20.0, n_depths=5)
family = mask_params.ZernikePhase(n_modes=21, size=128, design_wavelength_um=0.6)
design = optics.design_mask(
    jax.random.key(2), instrument(flat), family, target,
    starts=1, start_masks=[("tetrapod", tetrapod)], screening=4, iterations=12, free_focus=False,
)  # fmt: skip

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained", sharey=True)
for name, mask in {"no mask": flat, "Tetrapod": tetrapod, "designed here": design.mask}.items():
    bounds = np.asarray(bounds_nm(instrument(mask)))
    x, y, z = bounds.mean(axis=0)
    print(f"{name:14} mean bound {x:5.1f} nm in x, {y:5.1f} nm in y, {z:5.1f} nm in z")
    for ax, axis, values in zip(axes, "xyz", bounds.T, strict=True):
        ax.plot(DEPTHS_UM, values, label=name)
        ax.set(title=axis, xlabel="depth (um)", yscale="log")
axes[0].set_ylabel("least standard deviation (nm)")
axes[0].legend(frameon=False)
show(figure, "designed_bounds.png")

# %% [markdown]
# ## 5. Reach the bound
# Maximum-likelihood fits of single molecules, seen through the designed mask by the hidden camera, with the
# PSF and the camera that were measured above: their errors are as small as the bound says.

# %%
psf = instrument(design.mask)
n = 80
depth_key, light_key = jax.random.split(jax.random.key(3))
truth_um = jnp.stack([jnp.zeros(n), jnp.zeros(n), jax.random.uniform(depth_key, (n,), minval=0.3, maxval=1.7)], axis=1)
pictures = jax.lax.map(lambda point: 3500 * optics.psf_image(psf, point) + 20, truth_um, batch_size=20)
fits = optics.fit_emitters(
    psf, optics.sample_camera(light_key, hidden_camera, pictures), camera=camera, z_range_um=Z_RANGE_UM
)
error = (np.asarray(fits.xyz_um) - np.asarray(truth_um)) / np.asarray(fits.crlb_std)[:, :3]
# the median of squared errors, 0.455 for a normal distribution, as a scale that an outlier does not move
print("scatter over the bound in x, y, z:", np.round(np.sqrt(np.median(error**2, axis=0) / 0.455), 2))
