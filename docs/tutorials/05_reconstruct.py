# %% [markdown]
# # One command from a raw movie to a picture
#
# `colocus reconstruct movie.tif --out runs/movie` looks at a movie, finds out what it needs to know, reads it, draws
# it, and says in `report.html` what it found and why it decided. This page does the same from Python, step by step, on
# a small simulated movie whose truth is known. It takes a minute or two on two cores and needs no data.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tifffile
from scipy.special import ndtr

import localization
from experiments import load_plan, reconstruct

work = tempfile.TemporaryDirectory()
folder = Path(work.name)

# %% [markdown]
# ## A movie
# Molecules on two rings blink, a few in each frame; more light falls on the right of the field than on the left. The
# camera makes 2.2 counts of a photon, on 100 counts without light. None of this is told to what follows.

# %%
PIXEL_UM, SIDE_PX, FRAMES, SIGMA_UM = 0.1, 48, 120, 0.13
rng = np.random.default_rng(1)
edges_um = np.arange(SIDE_PX + 1) * PIXEL_UM
photons = np.zeros((FRAMES, SIDE_PX, SIDE_PX)) + np.linspace(4, 30, SIDE_PX)
truth = []
for frame in range(FRAMES):
    for _ in range(rng.poisson(3)):
        angle, radius, light = rng.uniform(0, 2 * np.pi), rng.choice([0.9, 1.7]), rng.uniform(800, 2500)
        x, y = 2.4 + radius * np.cos(angle), 2.4 + radius * np.sin(angle)
        down, across = (np.diff(ndtr((edges_um - place) / SIGMA_UM)) for place in (y, x))
        photons[frame] += light * np.outer(down, across)
        truth.append((frame, x, y, 0.0))
counts = 100 + 2.2 * rng.poisson(photons)
tifffile.imwrite(folder / "movie.tif", counts.round().astype(np.uint16), photometric="minisblack")

# %% [markdown]
# ## First: how good will it be, and how long will it take?
# A plan holds what is known beforehand: here the camera's pixel, as the file has no tag that tells it. `to="test"` ends
# after a few frames were read, drawn again from their list, and timed. On the command line:
#
# `colocus reconstruct movie.tif --out run optics.pixel_um=0.1 --to test`

# %%
plan = load_plan(None, [f"optics.pixel_um={PIXEL_UM}"])
first = reconstruct(folder / "movie.tif", folder / "run", plan, to="test")
print("\n".join(first.lines()))
camera, psf = first.found["camera"], first.found["psf"]
print(f"gain {camera.gain_adu_per_photon:.2f} (2.2 was used), spots of {1e3 * psf.sigma_um:.0f} nm (130 nm)")

# %% [markdown]
# ## Then: everything
# With `resume=True` the run goes on; what was found out is not found out again. Had something been wrong, it would now
# be changed in `run/plan.toml`, and only what that changes would be done once more.

# %%
done = reconstruct("", folder / "run", resume=True)
print("taken as they were:", ", ".join(done.skipped))
print("\n".join(done.lines()))

# %% [markdown]
# ## What came out
# The list is an ordinary one, for `colocus evaluate`, `drift`, `render` and other programs. Here the truth is known.

# %%
locs = localization.read(folder / "run" / "localizations.csv")
frame, x, y, z = np.array(truth).T
result = localization.score(locs, localization.make_localizations(frame, x, y, z))
print(f"Jaccard index {result.jaccard:.2f} of {locs.frame.size} localizations")

picture = tifffile.imread(folder / "run" / "picture.tif")
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4))
left.imshow(counts.mean(axis=0), cmap="gray")
left.set_title("mean of the movie")
right.imshow(picture, cmap="inferno", vmax=np.quantile(picture[picture > 1e-3], 0.99))
right.set_title("reconstructed")
figure.savefig("reconstruct.png", dpi=110)
work.cleanup()
