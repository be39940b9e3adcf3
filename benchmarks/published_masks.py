"""Masks of our own design against published mask files, each at that file's optics and depth range.

    python benchmarks/published_masks.py [NAME ...]

For every file: the mean Cramer-Rao bound of x, y and z over its range (3,500 photons, 50 background photons per pixel,
vectorial model, free dipole, pixels integrated), at the focus that is best for it; and the same for masks of 55
Zernike modes found by `optics.design_mask`, from random starts alone and from the Tetrapod of the library (whose three
shares were once read off the first of these files); the better of the two is "ours", both are on record.
Files come from COLOCUS_DATA (default ../shared/data). Each finished mask is kept in runs/published_masks, so an
interrupted run goes on. Writes results/published_masks.json, the table of docs/mask_design.md, and
docs/figures/published_masks.png with the pictures of those files whose licence allows it (MIT).
"""

import argparse
import dataclasses
import json
import time

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import pages
from measure.record import Rows, write_result
from optics import (
    Psf,
    depth_bounds,
    design_mask,
    make_microscope,
    make_psf,
    make_target,
    masks,
    refocus,
    replace,
)
from optics.design import at_full_sampling
from optics.masks import files as mask_io
from optics.masks.params import ZernikePhase
from optics.whole_file import write_text
from pages import design_page
from worlds import DATA, ROOT

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PLACE = 40  # of its rows in benchmarks/README.md

PHOTONS, BACKGROUND = 3500.0, 50.0
PARTS = ROOT / "runs" / "published_masks"
STARTS = 5
SEARCH = {"screening": 30, "iterations": 200}
_bounds = jax.jit(depth_bounds)


@dataclasses.dataclass(frozen=True)
class Published:
    """A mask file and the optics that its authors give for it (the README of the data folder)."""

    path: str
    z_range_um: tuple[float, float]
    stamp_px: int
    na: float = 1.45
    iris_na: float | None = 1.33
    n_immersion: float = 1.518
    n_sample: float = 1.33
    wavelength_um: float = 0.67
    pixel_um: float = 0.11
    pitch_um: float = 30.0
    focal_length_um: float = 1e5
    magnification: float = 100.0
    sign: int = 1
    shown: bool = False
    note: str = ""


_24UM = {"wavelength_um": 0.58, "pitch_um": 24.0, "focal_length_um": 1.5e5}
FILES = {
    "tetrapod": Published(
        "ds3d-masks/mask_tetrapod", (2.0, 6.0), 65, **_24UM, shown=True, note="design Tetrapod of the telomere demos"
    ),
    "tetrapod printed": Published(
        "ds3d-masks/mask_tetrapod_printed", (0.0, 4.0), 65, shown=True, note="the mask of the STORM experiment"
    ),
    "learned": Published(
        "ds3d-masks/mask_learned", (0.0, 5.0), 71, **_24UM, shown=True, note="learned for density, not for this bound"
    ),
    "autods3d real": Published("autods3d-masks/real_mask", (0.0, 4.0), 65, note="close to the printed Tetrapod"),
    "autods3d model": Published(
        "autods3d-masks/mask_tetra_model_resize", (0.0, 4.0), 65, sign=-1, note="resized design Tetrapod, negated"
    ),
    "silicone": Published(
        "dsnew-masks/maskRec_di",
        (2.0, 6.5),
        61,
        na=1.35,
        iris_na=None,
        n_immersion=1.406,
        wavelength_um=0.668,
        pixel_um=0.13,
        pitch_um=20.0,
        focal_length_um=2e5,
        shown=True,
        note="retrieved",
    ),
    "double helix": Published(
        "dhpsfu-masks/microscope1_maskRec",
        # beads were scanned over 4 um of focus: 4 * 1.33 / 1.518 um of depth
        (0.0, 3.5),
        57,
        na=1.15,
        iris_na=None,
        pixel_um=19 / 175,
        magnification=175.0,
        note="retrieved double helix",
    ),
}


def measure(name: str, given: Published) -> dict:
    """The bounds of one file and of our mask, both at their best focus."""
    started = time.perf_counter()
    low, high = given.z_range_um
    scope = make_microscope(
        na=given.na,
        iris_na=given.iris_na,
        n_immersion=given.n_immersion,
        n_sample=given.n_sample,
        wavelength_um=given.wavelength_um,
        pixel_um=given.pixel_um,
        # the paraxial focus of the range's middle, a start for both
        focus_um=(low + high) / 2 * given.n_immersion / given.n_sample,
    )
    reach_um = (high - low) / 2
    theirs = mask_io.load(
        DATA / f"{given.path}.npy",
        wavelength_um=given.wavelength_um,
        pitch_um=given.pitch_um,
        focal_length_um=given.focal_length_um,
        magnification=given.magnification,
        na=given.na,
        sign=given.sign,
        turn_180=True,
    )
    psf = make_psf(scope, image_px=given.stamp_px, z_range_um=given.z_range_um)
    psf = at_full_sampling(psf, given.z_range_um, focus_um=reach_um)
    target = make_target(
        given.z_range_um, photons=PHOTONS, background=BACKGROUND, n_depths=round((high - low) / 0.33) + 1
    )
    family = ZernikePhase(n_modes=55, design_wavelength_um=given.wavelength_um)
    searched = replace(psf, pixel="centre", oversampling=1)
    found = {
        "random starts": design_mask(jax.random.key(0), searched, family, target, starts=STARTS, **SEARCH),
        "library Tetrapod": design_mask(
            jax.random.key(0),
            searched,
            family,
            target,
            starts=0,
            start_masks=[("library Tetrapod", masks.tetrapod(high - low, scope))],
            **SEARCH,
        ),
    }
    z = jnp.linspace(low, high, 41)
    arms = {"published": refocus(jax.random.key(0), replace(psf, mask=theirs), target, reach_um)}
    ours = {begun: replace(psf, mask=each.mask, microscope=each.psf.microscope) for begun, each in found.items()}
    record = {"file": given.path, "note": given.note, "optics": _optics(given), "z_range_um": [low, high]}
    record["published"] = _scores(arms["published"], z)
    record["from"] = {begun: _scores(each, z) for begun, each in ours.items()}
    best = min(ours, key=lambda begun: record["from"][begun]["mean_of_axes_nm"])
    arms["ours"], record["ours"] = ours[best], dict(record["from"][best])
    own, given_nm = (record[arm]["mean_nm"] for arm in ("ours", "published"))
    record["ratio"] = {axis: round(own[axis] / given_nm[axis], 4) for axis in "xyz"}
    record["ratio_of_means"] = round(record["ours"]["mean_of_axes_nm"] / record["published"]["mean_of_axes_nm"], 4)
    record["best_start"] = best
    record["settings"] = _settings(given)
    # more pupil samples must not change the score: no light folds back into the stamp
    finer = at_full_sampling(arms["ours"], given.z_range_um, room=1.6, focus_um=reach_um)
    check = 1e3 * np.asarray(_bounds(finer, z, PHOTONS, BACKGROUND).marginal[:, :3], float)
    record["ours"]["mean_of_axes_nm_with_more_samples"] = round(float(check.mean()), 3)
    record["seconds"] = round(time.perf_counter() - started, 1)
    mask_io.save(PARTS / f"{name.replace(' ', '_')}.npz", found[best].mask)
    return record


def _scores(psf: Psf, z_um: jax.Array) -> dict:
    bounds = 1e3 * np.asarray(_bounds(psf, z_um, PHOTONS, BACKGROUND).marginal[:, :3], float)
    return {
        "focus_um": float(psf.microscope.focus_um),
        "mean_nm": dict(zip("xyz", bounds.mean(axis=0).round(3).tolist(), strict=True)),
        "mean_of_axes_nm": round(float(bounds.mean()), 3),
        "worst_depth_nm": round(float(bounds.mean(axis=1).max()), 3),
    }


def _optics(given: Published) -> dict:
    names = ("na", "iris_na", "n_immersion", "n_sample", "wavelength_um", "pixel_um", "stamp_px")
    return {name: getattr(given, name) for name in names}


def _settings(given: Published) -> dict:
    """What a kept result must have been made with."""
    settings = {**dataclasses.asdict(given), **SEARCH, "starts": STARTS, "photons": PHOTONS, "background": BACKGROUND}
    return json.loads(json.dumps(settings))


def kept(name: str, given: Published) -> dict | None:
    """The result of an earlier run with the same settings."""
    path = PARTS / f"{name.replace(' ', '_')}.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    return record if record["settings"] == _settings(given) else None


def draw(records: dict[str, dict]) -> None:
    """Bounds per axis of every pair; masks where the licence allows a picture."""
    shown = [name for name in records if FILES[name].shown]
    figure = plt.figure(figsize=(10.5, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.5, 1.0])
    panels = left.subplots(1, 3, sharey=True)
    for axes, axis in zip(panels, "xyz", strict=True):
        for row, name in enumerate(records):
            pair = [records[name][arm]["mean_nm"][axis] for arm in ("published", "ours")]
            axes.plot(pair, [row, row], color="0.75", zorder=1)
            axes.scatter(pair[:1], [row], color="#0072B2", marker="s", label="published" if row == 0 else None)
            axes.scatter(pair[1:], [row], color="#D55E00", marker="o", label="ours" if row == 0 else None)
        axes.set_xlabel(f"mean bound in {axis} (nm)")
        axes.set_xlim(0, 1.08 * max(records[n][arm]["mean_nm"][axis] for n in records for arm in ("published", "ours")))
        axes.grid(axis="x", color="#DDDDDD")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_yticks(range(len(records)), list(records))
    panels[0].invert_yaxis()
    left.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    grid = right.subplots(len(shown), 2, squeeze=False)
    for row, name in zip(grid, shown, strict=True):
        given = FILES[name]
        array = np.load(DATA / f"{given.path}.npy")[::-1, ::-1] * given.sign
        across = 2 * given.focal_length_um * given.na / given.magnification / given.pitch_um
        _show(row[0], array, array.shape[0] / across, given)
        own = mask_io.load(PARTS / f"{name.replace(' ', '_')}.npz")
        _show(row[1], 2 * np.pi * np.asarray(own.opd_um) / given.wavelength_um, 1.0, given)
        row[0].set_ylabel(name, fontsize=8)
    grid[0, 0].set_title("published", fontsize=9)
    image = grid[0, 1].images[0]
    grid[0, 1].set_title("ours", fontsize=9)
    bar = right.colorbar(image, ax=grid, shrink=0.6, ticks=[-np.pi, 0, np.pi])
    bar.ax.set_yticklabels(["−π", "0", "π"])
    bar.set_label("phase (rad)")
    path = ROOT / "docs" / "figures" / "published_masks.png"
    figure.savefig(path, dpi=130)
    print(path)


def _show(axes, phase_rad: np.ndarray, half_width: float, given: Published) -> None:
    x = ((np.arange(phase_rad.shape[0]) + 0.5) / phase_rad.shape[0] * 2 - 1) * half_width
    reach = (given.iris_na or given.na) / given.na
    inside = np.hypot(*np.meshgrid(x, x)) <= reach
    field = np.exp(1j * phase_rad)
    wrapped = np.where(inside, np.angle(field * np.conj(field[inside].mean())), np.nan)
    extent = (-half_width, half_width, half_width, -half_width)
    axes.imshow(wrapped, cmap="twilight_shifted", vmin=-np.pi, vmax=np.pi, extent=extent, interpolation="nearest")
    axes.set(xlim=(-1, 1), ylim=(1, -1), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def rows(numbers: dict) -> Rows:
    masks = numbers["masks"].values()
    yield (
        f"own Fisher mask over each published mask ({len(masks)} files), mean bound over x, y, z, worst ratio",
        "<= 1",
        f"{numbers['worst_ratio_of_means']:.3f}",
    )
    worst = max(max(row["ratio"].values()) for row in masks)
    yield "the same, worst single axis", "reported", f"{worst:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *FILES], metavar="NAME", help=", ".join(FILES))
    arguments = parser.parse_args()
    if not (DATA / "ds3d-masks").is_dir():
        raise SystemExit(f"no mask files at {DATA}; set COLOCUS_DATA")
    for name in arguments.names or FILES:
        if kept(name, FILES[name]) is None:
            record = measure(name, FILES[name])
            write_text(PARTS / f"{name.replace(' ', '_')}.json", json.dumps(record))
        record = kept(name, FILES[name])
        assert record is not None
        print(f"{name}: published {record['published']}", flush=True)
        print(f"{name}: ours {record['ours']}, ratios {record['ratio']}, {record['seconds']} s", flush=True)
    records = {name: record for name, given in FILES.items() if (record := kept(name, given)) is not None}
    print(f"\n{'mask':18}{'z (um)':>10}{'published x / y / z':>24}{'ours x / y / z (nm)':>24}{'ratio of means':>16}")
    for name, record in records.items():
        pairs = (" / ".join(f"{v:.1f}" for v in record[arm]["mean_nm"].values()) for arm in ("published", "ours"))
        depths = "-".join(f"{z:g}" for z in record["z_range_um"])
        print(f"{name:18}{depths:>10}" + "".join(f"{pair:>24}" for pair in pairs) + f"{record['ratio_of_means']:16.3f}")
    if len(records) == len(FILES):
        worst = max(record["ratio_of_means"] for record in records.values())
        stripped = {name: {k: v for k, v in record.items() if k != "settings"} for name, record in records.items()}
        conditions = {"photons": PHOTONS, "background_per_px": BACKGROUND, "starts": STARTS, **SEARCH}
        numbers = {"conditions": conditions, "masks": stripped, "worst_ratio_of_means": worst}
        print(write_result("published_masks", numbers))
        pages.write(design_page)
        draw(records)
        if worst > 1:
            raise SystemExit(f"a published mask has the lower mean bound: ratio {worst}")


if __name__ == "__main__":
    main()
