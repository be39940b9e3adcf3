# %% [markdown]
# # From a movie to molecules, and what to do with them
#
# A camera records molecules that blink; each is a blurred spot of a few hundred photons to a few thousand.
# This page turns such a movie into a list of positions and then does what one does with a list: score it,
# trust its error bars, take out the stage's drift, merge blinks, draw it, measure its resolution, hand it to
# other programs. It runs in under a minute on two cores and needs no data: the movie is simulated, so that
# the truth is known. With your own files the commands printed beside each step do the same.
#
# Lengths are in micrometres, light in photons; images are `(y, x)`; x and y count from the outer corner of
# the first pixel, z from the coverslip into the sample, frames from 0.

# %%
import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import tifffile

import localization
import optics
from experiments import ClassicalConfig, LocalizeConfig, RenderConfig, localize, render


def show(figure, name):
    """Show a figure, or save it in the current folder where there is no screen."""
    if plt.get_backend().lower() == "agg":
        figure.savefig(name, dpi=110)
        plt.close(figure)
    else:
        plt.show()


work = tempfile.TemporaryDirectory()
folder = Path(work.name)

# %% [markdown]
# ## 1. An instrument and a movie
# A weak cylindrical lens (astigmatism) makes spots tall on one side of the focus and wide on the other: that
# is how a flat image tells depth. In the sample, three curved fibres carry 800 molecules. Each lights up
# once, for three frames on average, and meanwhile the stage drifts by 120 nm.

# %%
PIXEL_UM, SIDE_PX, FRAMES = 0.11, 56, 500
Z_RANGE_UM = (0.0, 0.8)
PHOTONS, BACKGROUND = 3000.0, 10.0  # per molecule and frame; per pixel

scope = optics.make_microscope(
    na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.67, pixel_um=PIXEL_UM, focus_um=0.4
)
lens = optics.masks.astigmatism(0.08, design_wavelength_um=0.67)
psf = optics.make_psf(scope, mask=lens, image_px=21, z_range_um=Z_RANGE_UM, pixel="centre")
camera = optics.make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.5)

rng = np.random.default_rng(1)
n_molecules = 800
fibre, along = rng.integers(0, 3, n_molecules), rng.uniform(0, 1, n_molecules)
x_um = 0.9 + 4.4 * along
y_um = np.stack([1.2 + 0.5 * np.sin(5 * along), 2.6 + 1.6 * along**2, 5.2 - 3.6 * along])[fibre, np.arange(n_molecules)]
z_um = np.stack([0.2 + 0.4 * along, 0.6 - 0.4 * along, 0.4 + 0.2 * np.sin(4 * along)])[fibre, np.arange(n_molecules)]

t = np.arange(FRAMES) / FRAMES
drift_um = np.stack([0.12 * t, 0.06 * np.sin(4 * t), 0.05 * t], axis=1)

first = rng.integers(0, FRAMES, n_molecules)
duration = rng.geometric(1 / 3, n_molecules)
rows = [(f, m) for m in range(n_molecules) for f in range(first[m], min(first[m] + duration[m], FRAMES))]
frame, molecule = np.array(sorted(rows)).T
place_um = np.stack([x_um, y_um, z_um], axis=1)[molecule] + drift_um[frame]
truth = localization.make_localizations(frame, *place_um.T, photons=PHOTONS)

# frames of equal capacity: the places that are not used emit nothing
most = np.bincount(frame).max()
capacity_um, light = np.full((FRAMES, most, 3), 0.4), np.zeros((FRAMES, most))
slot = np.arange(frame.size) - np.searchsorted(frame, frame)
capacity_um[frame, slot], light[frame, slot] = place_um, PHOTONS


@jax.jit
def record(key, emitters):
    picture = optics.render_frame(psf, emitters, (SIDE_PX, SIDE_PX))
    return optics.sample_camera(key, camera, picture + BACKGROUND)


keys = jax.random.split(jax.random.key(0), FRAMES)
counts = [record(keys[k], optics.make_emitters(capacity_um[k], light[k])) for k in range(FRAMES)]
counts = np.clip(np.round(np.array(counts)), 0, 65535).astype(np.uint16)
movie = folder / "movie.tif"
tifffile.imwrite(movie, counts, photometric="minisblack")
optics.save_psf(folder / "psf.npz", psf)
print(f"{movie.name}: {FRAMES} frames of {SIDE_PX} x {SIDE_PX} pixels, {frame.size / FRAMES:.1f} spots in each")

# %% [markdown]
# With your instrument, `psf.npz` comes from beads (`colocus retrieve`) and the camera from a few plain frames
# (`colocus calibrate-camera`): tutorial 02.
#
# ## 2. Localize
# All emitters of a frame and its background are fitted together with the calibrated PSF, by maximum likelihood: where
# two spots overlap, neither has to give its light away. How many there are is found by a matched filter of what is not
# explained yet; one more is believed if noise alone would make it once in 1,000 um² (`false_per_um2`). Frames whose
# spots stand apart are fitted spot by spot, which is faster and comes to the same. A trained network in place of
# `psf.npz` is called in the same way ([docs/joint_reading.md](../joint_reading.md) says which method is for what). The
# work is done in chunks (here of 200 frames) that are kept: after a power cut the same call goes on where it stopped,
# and the list comes out the same to the byte.
#
#     colocus localize movie.tif --model psf.npz --camera camera.toml --out locs.csv z_min_um=0 z_max_um=0.8

# %%
(folder / "camera.toml").write_text("gain_adu_per_e = 2.0\noffset_adu = 100.0\nread_noise_e = 1.5\n")
config = LocalizeConfig(
    camera=str(folder / "camera.toml"),
    chunk_frames=200,
    # the background is even here: one that may vary only over the whole frame is fitted in half the time
    classical=ClassicalConfig(z_min_um=Z_RANGE_UM[0], z_max_um=Z_RANGE_UM[1], background_px=SIDE_PX),
)
result = localize(movie, folder / "psf.npz", folder / "locs.csv", config)
print(f"{result.rows} localizations of {result.frames} frames")
print(*result.lines()[:-1], sep="\n")

found = localization.read(folder / "locs.csv")

shown = int(np.argmax(np.bincount(truth.frame)))
figure, axis = plt.subplots(figsize=(4.6, 4.6), layout="constrained")
size_um = SIDE_PX * PIXEL_UM
picture = axis.imshow(counts[shown], cmap="gray", extent=(0, size_um, size_um, 0))
for table, mark, size, colour, label in ((truth, "o", 10, "#0072b2", "true"), (found, "x", 5, "#e69f00", "found")):
    here = table.frame == shown
    axis.plot(table.x_um[here], table.y_um[here], mark, ms=size, mfc="none", color=colour, label=label)
axis.set(title=f"frame {shown}, the fullest", xlabel="x (um)", ylabel="y (um)", xlim=(0, size_um), ylim=(size_um, 0))
axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
figure.colorbar(picture, ax=axis, label="camera counts")
show(figure, "03_frame.png")

# %% [markdown]
# ## 3. Score it
# A true molecule counts as found when a localization of its frame lies within 250 nm laterally and 500 nm in
# depth. The Jaccard index is the share of hits among hits, misses and inventions; the intervals come from
# drawing the frames again. Points strewn at random show how much of a score is luck.
#
#     colocus evaluate locs.csv --truth truth.csv --out scores.json

# %%
scores = localization.bootstrap(localization.score_frames(found, truth, n_frames=FRAMES), rng=0)
chance = localization.chance_score(found, truth, rng=0)
for name, factor, unit in (
    ("jaccard", 1, ""),
    ("recall", 1, ""),
    ("rmse_xy_um", 1e3, " nm"),
    ("rmse_z_um", 1e3, " nm"),
):
    s = scores[name]
    print(f"{name.removesuffix('_um'):9s} {factor * s.estimate:6.3g}{unit}   (95 % {factor * s.low:.3g} to "
          f"{factor * s.high:.3g}; at random {factor * getattr(chance, name):.2g})")  # fmt: skip

# %% [markdown]
# ## 4. Can its error bars be trusted?
# Every row has an uncertainty. Where the truth is known, error / sigma must follow a normal distribution of width
# 1. A ratio above 1 means that the list's uncertainties are too small, mostly where spots overlap.
# `rescale_sigma` brings another recording of the same kind by the same factor.

# %%
calibration = localization.calibrate_uncertainty(found, truth)
figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained", sharey=True)
normal = np.linspace(-5, 5, 200)
for name, axis in zip("xyz", axes, strict=True):
    along_axis = getattr(calibration, name)
    print(f"error / sigma in {name}: {along_axis.ratio:.2f} +- {along_axis.ratio_error:.2f}")
    width = np.diff(along_axis.edges)
    axis.stairs(along_axis.histogram / along_axis.n / width, along_axis.edges, fill=True, color="#9ecae1")
    axis.plot(normal, np.exp(-(normal**2) / 2) / np.sqrt(2 * np.pi), color="black", lw=1)
    axis.set(title=name, xlabel="error / predicted sigma", xlim=(-5, 5))
axes[0].set_ylabel("density (line: normal law)")
show(figure, "03_uncertainty.png")
found = localization.rescale_sigma(found, calibration)

# %% [markdown]
# ## 5. Take out the drift
# The fibres stay, the stage moves: parts of the movie are shifted against each other until their points fall
# together. The estimate has an error of its own, and a list that cannot tell its drift is refused with the reason. All
# fibres run along x here, so that a shift along x changes little: that axis is determined least.
#
#     colocus drift locs.csv --out still.csv --segment 50 --search 0.3

# %%
still, drift = localization.correct_drift(found, segment_frames=50, search_um=0.3)
for note in drift.notes:
    print("note:", note)
known = drift_um[drift.frame] - drift_um[found.frame].mean(axis=0)
curves = np.stack([drift.x_um, drift.y_um, drift.z_um], axis=1)
figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained", sharey=True)
for i, axis in enumerate(axes):
    axis.plot(drift.frame, 1e3 * known[:, i], color="black", lw=1, label="true")
    axis.plot(drift.frame, 1e3 * curves[:, i], color="#d55e00", label="found")
    axis.set(title="xyz"[i], xlabel="frame")
    error_nm = 1e3 * np.sqrt(np.mean((curves - known)[:, i] ** 2))
    print(f"drift in {'xyz'[i]}: range {1e3 * np.ptp(known[:, i]):.0f} nm, found to {error_nm:.0f} nm")
axes[0].set_ylabel("drift (nm)")
axes[0].legend(frameon=False)
show(figure, "03_drift.png")

# %% [markdown]
# ## 6. Merge blinks
# A molecule that shines for five frames is five rows. Rows of consecutive frames that lie within three
# standard errors or so become one, more precise than each. More molecules than there are: where images of two overlap,
# a row strays too far to be merged.
#
#     colocus link still.csv --out molecules.csv --radius 0.06 --gap 1

# %%
linked = localization.link_blinks(still, radius_um=0.06, z_radius_um=0.15, gap_frames=1)
print(f"{still.frame.size} rows are {linked.count.size} molecules (true: {np.unique(molecule).size})")
print(f"median sigma in x {1e3 * np.median(still.sigma_x_um):.1f} nm before, "
      f"{1e3 * np.median(linked.locs.sigma_x_um):.1f} nm after")  # fmt: skip

# %% [markdown]
# ## 7. Draw it
# Each molecule as a Gaussian as wide as its own uncertainty, coloured by depth. A `.png` is for looking (it has
# a scale bar), a `.tif` for measuring (it sums to the number of rows).
#
#     colocus render molecules.csv --out picture.png --mode gaussian --depth --pixel 20

# %%
how = RenderConfig(pixel_nm=15, mode="gaussian", depth=True, min_sigma_nm=10)
picture = render(linked.locs, how)
picture.write(Path("03_picture.png"))
print(*picture.lines(), sep="\n")

# %% [markdown]
# ## 8. How fine is the picture?
# Draw two halves of the list and ask down to which detail they agree (Fourier ring correlation): precision
# *and* sampling count, so a sparse list is coarse however exact its points are. Linking makes the value a little
# worse and truer: before it, one molecule that fell into both halves passed for detail of the structure.
#
#     colocus resolution molecules.csv --pixel 10

# %%
rings = {
    name: localization.frc(table, 0.01, rng=0)
    for name, table in {"drifted": found, "drift removed": still, "and linked": linked.locs}.items()
}
figure, axis = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
for name, ring in rings.items():
    axis.plot(ring.frequency_per_um, ring.smoothed, label=name)
    value = f"{1e3 * ring.resolution_um:.0f} +- {1e3 * ring.spread_um:.0f} nm" if not ring.reason else ring.reason
    print(f"{name:14s} {value}")
axis.axhline(ring.threshold, color="gray", lw=0.8, ls="--")
axis.set(xlabel="spatial frequency (1 / um)", ylabel="ring correlation", xlim=(0, 35), ylim=(-0.1, 1))
axis.legend(frameon=False)
show(figure, "03_resolution.png")

# %% [markdown]
# ## 9. Hand it to others
# Every program has its own pixels, origins and frame numbers; the writer knows them, and says what a format cannot
# hold. Reading back gives the same positions.
#
#     colocus convert molecules.csv --to picasso --pixel 110 --frame 56x56

# %%
for name, to in (("molecules.csv", "thunderstorm"), ("molecules.hdf5", "picasso")):
    notes = localization.write(
        folder / name, linked.locs, format=to, pixel_um=PIXEL_UM, frame_px=(SIDE_PX, SIDE_PX), n_frames=FRAMES
    )
    back = localization.read(folder / name)
    off_nm = 1e3 * np.abs(np.stack([back.x_um - linked.locs.x_um, back.z_um - linked.locs.z_um])).max()
    print(f"{to}: {back.frame.size} rows, positions kept to {off_nm:.1e} nm", *notes, sep="\n  ")

work.cleanup()
