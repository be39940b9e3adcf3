"""Two lists of one movie, judged by the frames themselves: re-rendered by our vectorial model, and drawn."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import csr_matrix, vstack

import localization
from experiments.reading.readers import run_folder
from experiments.report.plot_style import STYLE, new_figure, save_png
from localization import Localizations, select
from optics import Psf, psf_image
from training import load_config
from training.instrument import run_psf

STAMP_PX = 81  # wider than the training's: the fit may see the far light too
KNOT_PX = 40  # spacing of the background's knots: wider than a Tetrapod, so that it cannot imitate one
SLOTS = 64  # emitters drawn by one compiled program
# Okabe and Ito's orange and blue, told apart by shape as well
LIST_STYLE: dict[str, dict[str, Any]] = {
    "published": {
        "marker": "o",
        "s": 60,
        "facecolors": "none",
        "edgecolors": "#E69F00",
        "linewidths": 1.4,
        "label": "DeepSTORM3D, published weights",
    },
    "ours": {"marker": "x", "s": 34, "c": "#56B4E9", "linewidths": 1.4, "label": "Colocus, list decoder"},
}


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """A frame explained by a list, in counts: `model`, `background` (H, W), `light` (n,) of its emitters."""

    model: NDArray
    background: NDArray
    light: NDArray

    def residual_rms(self, frame: NDArray) -> float:
        return float(np.sqrt(np.mean((frame - self.model) ** 2)))


@jax.jit
def _stamps(psf: Psf, xyz_um: jax.Array) -> jax.Array:
    return jax.lax.map(lambda xyz: psf_image(psf, xyz), xyz_um)


def explain(frame: NDArray, locs: Localizations, psf: Psf) -> Fit:
    """Fit a frame by the emitters of a list and a smooth background, all not negative (least squares).

    `locs` in the coordinates of `frame` (H, W). Positions stay; only brightness and background are fitted.
    """
    height, width = frame.shape
    pixel_um, size, n = float(psf.microscope.pixel_um), psf.image_px, locs.frame.size
    place = np.stack([locs.x_um, locs.y_um], axis=1) / pixel_um - size / 2
    start = np.round(place).astype(int)
    xyz = np.column_stack([(place - start) * pixel_um, locs.z_um])
    padded = np.zeros((-(-max(n, 1) // SLOTS) * SLOTS, 3))
    padded[:n] = xyz
    pieces = padded.reshape(-1, SLOTS, 3)
    stamps = np.concatenate([np.asarray(_stamps(psf, jnp.asarray(p, jnp.float32))) for p in pieces])[:n]
    k, i, j = np.indices((n, size, size))
    i, j = i + start[:, 1, None, None], j + start[:, 0, None, None]
    inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
    emitters = csr_matrix(
        (stamps[inside].astype(float), (k[inside], i[inside] * width + j[inside])), shape=(n, height * width)
    )
    knots = csr_matrix(np.kron(_hats(height), _hats(width)))
    parts = vstack([emitters, knots]).tocsr()
    gram = (parts @ parts.T).toarray()
    # least squares by the normal equations; the ridge keeps two emitters at one place from failing
    factor = np.linalg.cholesky(gram + 1e-10 * np.trace(gram) / len(gram) * np.eye(len(gram)))
    light, _ = nnls(factor.T, np.linalg.solve(factor, parts @ frame.ravel()), maxiter=30 * len(gram))
    background = (light[n:] @ knots).reshape(height, width)
    return Fit((light[:n] @ emitters).reshape(height, width) + background, background, light[:n])


def _hats(size: int) -> NDArray:
    """Linear interpolation between knots: (knots, size)."""
    at = np.linspace(0, size - 1, max(2, round(size / KNOT_PX) + 1))
    return np.maximum(0, 1 - np.abs(np.arange(size) - at[:, None]) / (at[1] - at[0]))


def compare_and_draw(
    frames: NDArray,
    lists: dict[str, Localizations],
    run: Path,
    *,
    frame: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
    figure_path: Path,
) -> dict[str, Any]:
    """Explain every frame (T, H, W) by each list, draw one of them, and return the residuals."""
    config = load_config(run_folder(run))
    psf = run_psf(dataclasses.replace(config, psf=dataclasses.replace(config.psf, stamp_px=STAMP_PX)))
    gain = config.camera.gain_adu_per_e * config.camera.quantum_efficiency
    read_variance = (config.camera.gain_adu_per_e * config.camera.read_noise_e) ** 2
    part = frames[:, slice(*rows), slice(*columns)].astype(float)
    moved = {
        name: dataclasses.replace(
            locs,
            x_um=locs.x_um - columns[0] * config.microscope.pixel_um,
            y_um=locs.y_um - rows[0] * config.microscope.pixel_um,
        )
        for name, locs in lists.items()
    }
    nobody = select(moved["published"], [])
    rms: dict[str, list[float]] = {"no emitters": [], "shot and read noise": []}
    shown: dict[str, Fit] = {}
    for number, image in enumerate(part):
        rms["no emitters"].append(explain(image, nobody, psf).residual_rms(image))
        expected = gain * (image - config.camera.offset_adu) + read_variance
        rms["shot and read noise"].append(float(np.sqrt(expected.mean())))
        for name, locs in moved.items():
            fit = explain(image, select(locs, locs.frame == number), psf)
            rms.setdefault(name, []).append(fit.residual_rms(image))
            if number == frame:
                shown[name] = fit
        print(f"  frame {number + 1} of {len(part)}:", {k: round(v[-1], 2) for k, v in rms.items()}, flush=True)
    noise = np.sqrt(gain * np.maximum(shown["published"].model - config.camera.offset_adu, 1) + read_variance)
    scope = config.microscope
    with matplotlib.rc_context(STYLE):
        figure = draw(part[frame], moved, shown, noise, frame, scope.pixel_um)
    save_png(figure, figure_path)
    return {
        "residual_rms_adu": {name: float(np.sqrt(np.mean(np.square(v)))) for name, v in rms.items()},
        "median_light_adu": {name: float(np.median(fit.light)) for name, fit in shown.items()},
    }


def busiest(locs: Localizations, shape: tuple[int, int], side: tuple[int, int], pixel_um: float) -> tuple[int, int]:
    """Row and column of the window of `side` px with most emitters in it, away from the border."""
    best, where = -1, (0, 0)
    for i in range(8, shape[0] - side[0] - 8, 8):
        for j in range(8, shape[1] - side[1] - 8, 8):
            y, x = locs.y_um / pixel_um, locs.x_um / pixel_um
            count = int(np.sum((y > i + 8) & (y < i + side[0] - 8) & (x > j + 8) & (x < j + side[1] - 8)))
            if count > best:
                best, where = count, (i, j)
    return where


def draw(
    image: NDArray,
    lists: dict[str, Localizations],
    fits: dict[str, Fit],
    noise: NDArray,
    frame: int,
    pixel_um: float,
) -> Figure:
    """Frame with both lists; below it, what each list makes of the frame and what it leaves over."""
    side = (120, 120)
    here = {name: select(locs, locs.frame == frame) for name, locs in lists.items()}
    i, j = busiest(here["published"], (image.shape[0], image.shape[1]), side, pixel_um)
    window = (slice(i, i + side[0]), slice(j, j + side[1]))
    extent = (j * pixel_um, (j + side[1]) * pixel_um, (i + side[0]) * pixel_um, i * pixel_um)
    low, high = np.percentile(image[window], [1, 99.7])
    picture: dict[str, Any] = {"extent": extent, "interpolation": "nearest"}
    grey = picture | {"cmap": "gray", "vmin": low, "vmax": high}
    figure = new_figure(8.6, 6.6)
    axes = figure.subplots(2, 3)

    raw = axes[0, 0]
    raw.imshow(image[window], **grey)
    for name, locs in here.items():
        raw.scatter(locs.x_um, locs.y_um, **LIST_STYLE[name])
    raw.set_title(f"real frame {frame + 1}, both lists")
    _scale_bar(raw, extent)
    counts = deviations = None
    for (rendered, residual), name in zip(axes[:, 1:], ("published", "ours"), strict=True):
        fit, whose = fits[name], {"published": "published", "ours": "our"}[name]
        counts = rendered.imshow(fit.model[window], **grey)
        rendered.set_title(f"{whose} list, drawn ({_inside(here[name], extent)} emitters)")
        deviation = (image - fit.model)[window] / noise[window]
        deviations = residual.imshow(deviation, cmap="RdBu_r", vmin=-5, vmax=5, **picture)
        residual.set_title(f"frame − drawn: rms {np.sqrt(np.mean(deviation**2)):.2f} σ")
    for axis in (raw, *axes[:, 1:].ravel()):
        axis.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
        axis.grid(False)
    below: dict[str, Any] = {"location": "bottom", "shrink": 0.9, "aspect": 30, "pad": 0.02}
    figure.colorbar(counts, ax=axes[:, 1], label="camera counts (all grey panels)", **below)
    figure.colorbar(deviations, ax=axes[:, 2], label="frame − drawn (σ of expected noise)", **below)
    _depths(axes[1, 0], lists)
    figure.legend(*raw.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _scale_bar(axis: Any, extent: tuple[float, ...], length_um: float = 2.0) -> None:
    left, bottom = extent[0] + 0.6, extent[2] - 0.7
    axis.add_patch(Rectangle((left, bottom), length_um, 0.22, color="white", lw=0))
    text = {"color": "white", "ha": "center", "va": "bottom", "fontsize": 8}
    axis.text(left + length_um / 2, bottom - 0.15, f"{length_um:g} µm", **text)


def _inside(locs: Localizations, extent: tuple[float, ...]) -> int:
    left, right, bottom, top = extent
    inside = (locs.x_um > left) & (locs.x_um < right) & (locs.y_um > top) & (locs.y_um < bottom)
    return int(inside.sum())


def _depths(axis: Any, lists: dict[str, Localizations]) -> None:
    """Depth in one list against the other, for pairs of all frames within 250 nm laterally, at any depth."""
    ours, published = lists["ours"], lists["published"]
    matches = localization.match(ours, published, lateral_um=0.25, axial_um=100.0)
    z_ours, z_published = ours.z_um[matches.found_index], published.z_um[matches.truth_index]
    axis.plot([0, 4], [0, 4], color="#7F7F7F", lw=1, zorder=0)
    axis.scatter(z_published, z_ours, s=7, color="#000000", alpha=0.6, linewidths=0)
    axis.set(xlim=(-0.2, 4.2), ylim=(-0.2, 4.2), aspect="equal")
    axis.set(xlabel="z, published list (µm)", ylabel="z, our list (µm)")
    axis.set_title(f"depths of {z_ours.size} pairs in all frames")
