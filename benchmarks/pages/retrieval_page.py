"""docs/retrieval.md's table from the numbers of the benchmark, and docs/figures/retrieval.png from its arrays.

The figure shows our own simulation and the recordings whose licence allows it, with their sources.
"""

from typing import Any

import matplotlib
import numpy as np

from experiments.report.plot_style import STYLE, new_figure, save_png
from optics.masks.sampling import mask_grid
from pages import between, recorded
from worlds import ROOT
from worlds.bead_stacks import SOURCES

PAGE = ROOT / "docs" / "retrieval.md"
SCRATCH = ROOT / "runs" / "phase_retrieval"
FIGURE = ROOT / "docs" / "figures" / "retrieval.png"
BEGIN, END = "<!-- stacks: begin -->", "<!-- stacks: end -->"
SHOWN = {
    "simulated": "Tetrapod, simulated\n50,000 photons",
    "vipr-tp-beads": "Tetrapod bead\nB. Ferdman, VIPR",
    "pyotf-bead": "no mask, air objective\nD. Hoffman, pyOTF (Apache-2.0)",
}
_HEAD = [
    "| stack | slices, px | correlation mean / worst | ceiling | below it, mean / worst | chi2 | "
    "AutoDS3D mean / worst | within target |",
    "|---|---|---|---|---|---|---|---|",
]


def table(numbers: dict[str, Any]) -> str:
    """Every recorded stack: a line each, and under the table what keeps some of them from the target."""
    rows = dict(numbers.get("real", {}))
    if "lens" in numbers:
        rows["bbl-lens-psf"] = {**numbers["lens"], "slices": 31, "crop_px": 151, "beads": [numbers["lens"]]}
    lines, reasons = list(_HEAD), []
    for name, row in rows.items():
        peer, beads = row.get("autods3d"), len(row["beads"])
        theirs = f"{peer['correlation_mean']:.4f} / {peer['correlation_worst']:.4f}" if peer else ""
        chi2 = np.mean([bead["chi2_mean"] for bead in row["beads"]])
        lines.append(
            f"| {name}{f' ({beads} beads)' if beads > 1 else ''} | {row['slices']}, {row['crop_px']} | "
            f"{row['correlation_mean']:.4f} / {row['correlation_worst']:.4f} | {row['ceiling_mean']:.4f} | "
            f"{row['below_ceiling_mean']:.4f} / {row['below_ceiling_worst']:.4f} | {chi2:.2f} | {theirs} | "
            f"{'yes' if row['reached'] else 'no'} |"
        )
        if row.get("why"):
            reasons.append(f"* **{name}**: {_shares(row)} {row['why']}")
    return "\n".join(lines + ([""] + reasons if reasons else []))


def _shares(row: dict[str, Any]) -> str:
    parts = [bead["residual"] for bead in row["beads"]]
    left, corner, shot, structure = (
        100 * float(np.mean([part[key] for part in parts]))
        for key in ("left", "corner_noise", "shot_noise", "structure")
    )
    below = np.mean([b["below_ceiling_mean"] - b["below_ceiling_with_shot_noise_mean"] for b in row["beads"]])
    return (
        f"of the variance {left:.1f} % is left: {corner:.1f} noise of the corners, {shot:.1f} shot noise by the "
        f"fitted gain, {max(structure, 0):.1f} structure; by that noise a perfect model would lie {below:.4f} below "
        "the ceiling of the corners."
    )


def text() -> str:
    """Put the table between the markers of the page."""
    return between(PAGE.read_text(), BEGIN, END, table(recorded("phase_retrieval") or {}))


def draw() -> None:
    """Draw the figure of the stacks that the benchmark keeps the arrays of, where all of them are there."""
    kept = {name: SCRATCH / f"{name}.npz" for name in SHOWN}
    if all(path.exists() for path in kept.values()):
        draw_stacks({name: np.load(path) for name, path in kept.items()})


def draw_stacks(arrays: dict[str, Any]) -> None:
    """Measured and modelled slices through focus, the residual, and phase and amplitude of the pupil."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = new_figure(11.0, 3.7 * len(arrays))
        for group, (name, z) in zip(figure.subfigures(len(arrays), 1), arrays.items(), strict=True):
            _stack(group, name, z)
        save_png(figure, FIGURE)


def _stack(group: Any, name: str, z: Any) -> None:
    images, models, focus = z["images"], z["model_adu"], z["focus_um"]
    order = np.argsort(focus)
    chosen = order[(np.linspace(0.06, 0.94, 5) * (len(order) - 1)).round().astype(int)]
    scope = None if name == "simulated" else SOURCES[name].microscope()
    pixel_um = 0.11 if scope is None else float(scope.pixel_um)
    # the middle of the crop, as far as the light goes
    half = _half_px(images[chosen])
    middle = slice(images.shape[-1] // 2 - half, images.shape[-1] // 2 + half + 1)
    side_um = (2 * half + 1) * pixel_um
    grid = group.add_gridspec(3, 9, width_ratios=[1] * 5 + [0.05, 2.0, 0.05, 2.0])
    for column, k in enumerate(chosen):
        seen, model = images[k][middle, middle], models[k][middle, middle]
        low, high = float(np.median(images[k])), float(seen.max())
        spread = 0.25 * (high - low)
        for row, (picture, style) in enumerate(
            [
                (seen, {"cmap": "viridis", "vmin": low, "vmax": high}),
                (model, {"cmap": "viridis", "vmin": low, "vmax": high}),
                (seen - model, {"cmap": "RdBu_r", "vmin": -spread, "vmax": spread}),
            ]
        ):
            axis = group.add_subplot(grid[row, column])
            axis.imshow(picture, **style)
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set_visible(False)
            if row == 0:
                axis.set_title(f"{focus[k]:+.1f} µm", fontsize=8)
            if column == 0:
                axis.set_ylabel(("measured", "model", "residual")[row], fontsize=8)
    x, y = (np.asarray(u) for u in mask_grid(len(z["phase_rad"])))
    inside = np.hypot(x, y) <= 1
    for column, (key, cmap, label) in zip(
        (6, 8), (("phase_rad", "twilight", "phase (rad)"), ("amplitude", "cividis", "amplitude")), strict=True
    ):
        axis = group.add_subplot(grid[:, column])
        limits = {"vmin": -np.pi, "vmax": np.pi} if key == "phase_rad" else {"vmin": 0.0, "vmax": 1.0}
        shown = axis.imshow(np.where(inside, z[key], np.nan), cmap=cmap, interpolation="nearest", **limits)
        axis.set(xticks=[], yticks=[])
        axis.axis("off")
        bar = group.colorbar(shown, ax=axis, shrink=0.75, label=label)
        if key == "phase_rad":
            bar.set_ticks([-np.pi, 0, np.pi], labels=["-π", "0", "π"])
    group.suptitle(
        f"{SHOWN[name].replace(chr(10), ', ')}; frames of {side_um:.1f} µm, residual on a quarter of the scale",
        fontsize=9,
    )


def _half_px(images: np.ndarray) -> int:
    """Half side of the square about the middle that holds all pixels above a seventh of their slice's peak."""
    n = images.shape[-1]
    low = np.median(images, axis=(1, 2), keepdims=True)
    bright = (images - low > 0.15 * (images.max(axis=(1, 2), keepdims=True) - low)).any(axis=0)
    y, x = np.nonzero(bright)
    reach = int(max(np.abs(x - n // 2).max(), np.abs(y - n // 2).max())) + 4
    return min(reach, n // 2 - 1)
