# %% [markdown]
# # Two colours on a grey camera
#
# A dye's colour changes its image: behind a mask, light of another wavelength makes another shape. This page asks
# how well two dyes can be told apart by that alone, emitter by emitter, begins a mask for it, and reads frames in
# which both shine. It runs in under a minute on two cores and needs no data.
#
# Lengths are in micrometres, light in photons; z counts from the coverslip into the sample.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import localization
import optics
from optics.colour.bound import species_bounds
from optics.colour.classify import classify_emitters
from optics.colour.design import design_plate, make_colour_target, two_masks
from optics.colour.plate import plate_at
from optics.colour.shipped import shipped_plate
from optics.colour.spectra import named_species
from optics.fits.stamps import to_frame_um
from optics.masks.dispersion import fused_silica
from optics.masks.params import PixelPhase
from optics.psf_table import pad_table


def show(figure, name):
    """Show a figure, or save it in the current folder where there is no screen."""
    if plt.get_backend().lower() == "agg":
        figure.savefig(name, dpi=110)
        plt.close(figure)
    else:
        plt.show()


# %% [markdown]
# ## 1. Two dyes behind one plate
# Two lines stand for two dyes. The mask is a plate of fused silica: what is the same for both colours is its height,
# and each meets its own phase. The one here came with Colocus and was learned for these colours. Both pictures show
# nine emitters in a row of depths, from 0.1 um at the top left to 1.9 um at the bottom right.

# %%
NM, Z_RANGE_UM, BACKGROUND, SIDE_PX = (580, 670), (0.0, 2.0), 50.0, 81
optics_of = {"na": 1.45, "n_immersion": 1.518, "n_sample": 1.33, "pixel_um": 0.11, "focus_um": 1.35}
plate, psfs = shipped_plate("orange-red-2um"), []
for nm in NM:
    scope = optics.make_microscope(wavelength_um=nm / 1000, **optics_of)
    mask = plate_at(plate, nm / 1000)
    # of the same samplings, so that what is compiled for one colour serves the other
    psfs.append(optics.make_psf(scope, mask=mask, image_px=27, z_range_um=Z_RANGE_UM, pupil_px=96, ring_px=12))

draw = jax.jit(lambda psf, emitters: optics.render_frame(psf, emitters, (SIDE_PX, SIDE_PX)))
size_um = SIDE_PX * 0.11
thirds_um = size_um * (np.arange(3) + 0.5) / 3
grid_um = np.column_stack([np.tile(thirds_um, 3), np.repeat(thirds_um, 3), np.linspace(0.1, 1.9, 9)])
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.9), layout="constrained")
for axis, psf, nm in zip(axes, psfs, NM, strict=True):
    axis.imshow(np.sqrt(np.maximum(draw(psf, optics.make_emitters(grid_um, np.ones(9))), 0)), cmap="gray")
    axis.set(xticks=[], yticks=[], title=f"{nm} nm, nine depths")
show(figure, "06_images.png")

# %% [markdown]
# ## 2. What no reader exceeds
# How far apart are the images of one colour from the nearest image that the other colour could make, with place, depth,
# light and background free? That distance limits every reader, whatever it is made of. The page on colour has the
# same numbers for other masks (`docs/colour.md`).
#
#     colocus crlb --species 580,670 --mask mine.npz

# %%
DEPTHS_UM, PHOTONS = np.linspace(0.2, 1.8, 5), np.array([500.0, 1000.0])
tables = [optics.tabulate_psf(psf, Z_RANGE_UM, tolerance=1e-2) for psf in psfs]
bound = species_bounds(tables, DEPTHS_UM, PHOTONS, BACKGROUND)
share = np.asarray(bound.gaussian[0, 1] + bound.gaussian[1, 0]) / 2  # of both colours, (depths, photons)
figure, axis = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
for light, right, colour, mark in zip(PHOTONS, share.T, ("#0072b2", "#d55e00"), "sD", strict=True):
    print(f"{light:.0f} photons: {100 * right.mean():.0f} % right at best over 2 um")
    axis.plot(DEPTHS_UM, 100 * right, mark + "-", color=colour, label=f"{light:.0f} photons")
axis.set(xlabel="depth (um)", ylabel="right at best (%)", ylim=(48, 101))
axis.legend(frameon=False)
show(figure, "06_limits.png")

# %% [markdown]
# ## 3. Begin one of your own
# A smooth plate bends all colours nearly alike. A step of whole waves of the one colour is not one of the other: three
# waves of 580 nm let each cell have a phase of its own in each colour. `two_masks` makes a plate that is a Tetrapod in
# one colour and a clear pupil in the other, and a descent goes on from there, through images, rivals and bounds to
# every height. Here 24 x 24 cells and a few steps; the plate above has 48 x 48 cells and was learned for longer.

# %%
glass, cells = fused_silica(), PixelPhase(24, False, NM[0] / 1000)
scope = optics.make_microscope(wavelength_um=0.625, **optics_of)
tetrapod, flat = (
    optics.make_mask(mask.opd_um, design_wavelength_um=nm / 1000)
    for mask, nm in zip(
        (optics.masks.tetrapod(2.0, scope, size=64), optics.masks.flat(design_wavelength_um=0.625, size=64)),
        NM,
        strict=True,
    )
)
start = cells.project(two_masks(tetrapod, flat, glass, waves=3, size=24))
coarse = optics.make_psf(scope, image_px=23, pixel="centre", z_range_um=Z_RANGE_UM, pupil_px=48)
target = make_colour_target(Z_RANGE_UM, photons=1000.0, background=BACKGROUND, n_depths=5)
species = [named_species(str(nm)) for nm in NM]
design = design_plate(coarse, species, cells, target, start=start, dispersion=glass, walls=True, iterations=10)
print(
    f"error that the images allow: {float(design.history[0]):.3f} at the start, "
    f"{float(design.history.min()):.3f} after {design.history.size} steps"
)
figure, axis = plt.subplots(figsize=(3.6, 3.2), layout="constrained")
picture = axis.imshow(np.asarray(design.plate.height_um), cmap="viridis")
axis.set(xticks=[], yticks=[], title="height of the plate begun here")
figure.colorbar(picture, label="um")
show(figure, "06_plate.png")

# %% [markdown]
# ## 4. Frames of both, read
# Four molecules a frame through the plate that came along, apart from one another. Each is fitted as either colour, in
# place, depth, light and background, and is of the colour that is likelier. Where they are is given here to half a
# pixel; the command below finds them by itself and reads crowds jointly, and compiles for longer before its first
# frame. It takes a `psf.npz` of each colour, on a microscope that of beads of this colour (`colocus retrieve`).
#
#     colocus localize movie.tif --psf orange.npz red.npz --camera camera.toml --out locs.csv

# %%
FRAMES, EACH = 6, 4
rng = np.random.default_rng(4)
n = FRAMES * EACH
frame, channel = np.repeat(np.arange(FRAMES), EACH), rng.integers(0, 2, n)
corners = size_um * np.tile([(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)], (FRAMES, 1))
xyz_um = np.column_stack([corners + rng.uniform(-0.3, 0.3, (n, 2)), rng.uniform(0.2, 1.8, n)])
light = rng.uniform(1500, 3000, n)
expected = np.full((FRAMES, SIDE_PX, SIDE_PX), BACKGROUND)
for k in range(FRAMES):
    for colour, psf in enumerate(psfs):
        # the nine places of the pictures above, of which those of this frame and colour emit
        places, photons = grid_um.copy(), np.zeros(9)
        places[:EACH], photons[:EACH] = xyz_um[frame == k], light[frame == k] * (channel[frame == k] == colour)
        expected[k] += np.asarray(draw(psf, optics.make_emitters(places, photons)))
camera = optics.make_camera(offset_adu=100.0)
movie = 100 + rng.poisson(expected).astype(float)

column_px, row_px = (xyz_um[:, :2] / 0.11 + rng.uniform(-0.5, 0.5, (n, 2))).T
stamps = optics.cut_stamps(movie, frame, row_px, column_px, 27, camera=camera, edge="mask")
terms, pictures = np.max([table.coefficients.shape for table in tables], axis=0)
degrees = tuple(np.max([table.degrees for table in tables], axis=0).tolist())
tables = [pad_table(table, int(terms), int(pictures), degrees) for table in tables]  # of one size: compiled once
read = classify_emitters(tables, stamps.images, camera=camera, valid=stamps.valid, chunk=32)
places_um = to_frame_um(stamps, np.asarray(read.fits.xyz_um, float), 0.11)
found = localization.make_localizations(
    frame, *places_um.T, photons=np.asarray(read.fits.photons), channel=np.asarray(read.channel)
)
truth = localization.make_localizations(frame, *xyz_um.T, photons=light, channel=channel)
right, off_um = found.channel == channel, places_um - xyz_um
print(
    f"{right.sum()} of {n} in the right colour, the least sure by {float(read.p_channel.min()):.3f}; "
    f"off by {1000 * np.sqrt(np.mean(off_um[right, :2] ** 2)):.0f} nm in x and y, "
    f"{1000 * np.sqrt(np.mean(off_um[right, 2] ** 2)):.0f} nm in z (rms)"
)

shown = int(np.argmin([abs(channel[frame == k].sum() - EACH / 2) for k in range(FRAMES)]))  # has both
figure, axis = plt.subplots(figsize=(4.8, 4.6), layout="constrained")
axis.imshow(movie[shown], cmap="gray", extent=(0, size_um, size_um, 0))
for number, (nm, colour) in enumerate(zip(NM, ("#e69f00", "#56b4e9"), strict=True)):
    for table, mark, size, label in ((truth, "x", 5, "is"), (found, "o", 11, "listed as")):
        here = (table.frame == shown) & (table.channel == number)
        axis.plot(table.x_um[here], table.y_um[here], mark, ms=size, mfc="none", color=colour, label=f"{label} {nm} nm")
axis.set(title=f"frame {shown}", xlabel="x (um)", ylabel="y (um)")
axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
show(figure, "06_frame.png")
