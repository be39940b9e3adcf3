"""docs/colour.md's table of crowded frames of two colours, and a picture of such frames as they were read."""

from typing import Any

import numpy as np

from pages import between, recorded
from worlds import ROOT

PAGE = ROOT / "docs" / "colour.md"
PICTURE = ROOT / "docs" / "figures" / "colour_crowds.png"
BEGIN, END = "<!-- crowds: begin -->", "<!-- crowds: end -->"
_NAMES = {"double_helix": "double helix", "learned": "learned plate", "tetrapod": "Tetrapod"}
_COLOURS = ("#E69F00", "#56B4E9")
_SHOWN = (("learned", 10000), ("tetrapod", 10000))
_PAIR, _FRAMES, _FRAME = "580-670", 2, 1


def text() -> str:
    """Write the page with today's table."""
    return between(PAGE.read_text(), BEGIN, END, table(recorded("colour_crowds") or {"cells": {}}))


def table(numbers: dict[str, Any]) -> str:
    """A line a cell: what is found of each colour, how exactly, and how much is listed as the other."""
    lines = [
        "| species (nm), photons | pupil | Jaccard, shorter (95 %) | longer (95 %) | crosstalk, % (95 %) | "
        "of any colour | lateral, axial RMSE (nm) | CPU-s a frame |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, cell in numbers["cells"].items():
        pair, photons, pupil = name.split("/")
        each = [cell[key] for key in sorted(cell) if key.startswith("channel ")]
        jaccard = " | ".join("{:.3f} ({:.3f} to {:.3f})".format(*one["jaccard"]) for one in each)
        rmse = [1e3 * np.mean([one[key][0] for one in each]) for key in ("rmse_xy_um", "rmse_z_um")]
        errors = ", ".join(f"{value:.0f}" for value in rmse)
        low, high = cell["crosstalk_interval"]
        lines.append(
            f"| {pair.replace('-', ' / ')}, {photons} | {_NAMES.get(pupil, pupil)} | {jaccard} | "
            f"{cell['crosstalk']:.1f} ({low:.1f} to {high:.1f}) | {cell['jaccard_of_either']:.3f} | {errors} | "
            f"{cell['cpu_s_per_frame']:.1f} |"
        )
    return "\n".join(lines)


def draw() -> None:
    """A frame behind two plates: as it is, what was found in it, and what is left."""

    from experiments.reading.joint import search_window
    from experiments.reading.pieces.tiles import tiles
    from experiments.report.plot_style import hide_axes, new_figure, save_png, scale_bar, styled
    from worlds.colour_scenes import drawn, made_reader
    from worlds.colour_world import SCOPE, plate_of, psfs_of, species_of

    pixel = float(SCOPE.pixel_um)
    with styled():
        figure = new_figure(9.6, 3.3 * len(_SHOWN) + 0.4)
        grid = figure.subplots(len(_SHOWN), 3, squeeze=False)
        for row, (pupil, photons) in zip(grid, _SHOWN, strict=True):
            psfs = psfs_of(plate_of(pupil, _PAIR), species_of(_PAIR, "lines"))
            scenes, reader = drawn(psfs, photons, _FRAMES), made_reader(psfs, photons)
            image = scenes.images[_FRAME]
            movie = reader.take_in(image[None], 0, (0, 0))
            (window,), (across,) = (tiles(n, n, reader.halo) for n in image.shape)
            found = search_window(*reader.tools(movie, window, across), image, np.ones(image.shape, bool))
            mean = np.asarray(found.mean)
            here = scenes.truth.frame == _FRAME
            top = np.quantile(image, 0.998)
            side = image.shape[0] * pixel
            shown: dict[str, Any] = {"cmap": "gray", "extent": (0, side, side, 0)}
            row[0].imshow(image, vmin=image.min(), vmax=top, **shown)
            row[1].imshow(mean, vmin=image.min(), vmax=top, **shown)
            left = row[2].imshow((image - mean) / np.sqrt(mean), vmin=-5, vmax=5, **shown)
            channel, xyz = np.asarray(found.crowd.channel), np.asarray(found.crowd.xyz_um)
            for number, (colour, nm) in enumerate(zip(_COLOURS, _PAIR.split("-"), strict=True)):
                true = here & (scenes.truth.channel == number)
                row[0].scatter(scenes.truth.x_um[true], scenes.truth.y_um[true], marker="x", s=22, color=colour)
                own = xyz[channel == number]
                row[1].scatter(*own[:, :2].T, s=60, facecolors="none", edgecolors=colour, label=f"{nm} nm")
            for axes, title in zip(
                row, ("frame, true places", "what was found", "left over, standard deviations"), strict=True
            ):
                axes.set_title(f"{_NAMES.get(pupil, pupil)}: {title}" if axes is row[0] else title, fontsize=8)
                axes.set_xlim(0, side)
                axes.set_ylim(side, 0)
                hide_axes(axes)
            figure.colorbar(left, ax=row[2], shrink=0.8)
            scale_bar(row[0], side)
            row[1].legend(loc="upper left", fontsize=7, frameon=False, labelcolor="white")
        save_png(figure, PICTURE)
