"""Write benchmarks/README.md from benchmarks/results/*.json: no number in it is typed by hand.

python benchmarks/table.py
"""

import json
from pathlib import Path

from pages import table_localization, table_scenes

FOLDER = Path(__file__).parents[1]

HEAD = """# Benchmarks

One script per claim; each writes `results/NAME.json` with its numbers, command, versions and hardware, and this
page is written from those files by `python benchmarks/table.py`. Peers run in turn with ours in one run, from a
checkout of theirs outside this repository (`--peer-folder`, `--torch-python`); without one a script measures ours
alone. Times are medians of several runs. A record says how busy the machine was; a ratio from a busy machine is
only as good as that.

| claim | target | measured | script, date |
|---|---|---|---|
"""


def load(name: str) -> dict | None:
    path = FOLDER / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def reference(n):
    worst = n["worst_of_the_default"]
    rows = [min(c["quadrature"], key=lambda r: r["worst_l2"]) for c in n["curves"].values()]
    yield (
        "PSF against the converged witness, worst image, finest quadrature of the curve",
        "<= 1e-3",
        f"{max(r['worst_l2'] for r in rows):.1e}",
    )
    yield "default sampling over a sweep of optics, worst", "<= 3e-3", f"{_worst(worst):.1e}"


def _worst(value):
    return value["worst_l2"] if isinstance(value, dict) else value


def grid(n):
    yield (
        "scalar parity with DeepSTORM3D, their grid imitated, worst of three files",
        "<= 1e-3",
        f"{max(d['their_grid']['worst_l2'] for d in n.values()):.1e}",
    )
    low, high = (f(d["right_grid"]["median_l2"] for d in n.values()) for f in (min, max))
    yield "what their grid costs, median L2 per file", "3-8 %", f"{100 * low:.1f}-{100 * high:.1f} %"


def psf(n):
    ours, peer = n["ms_per_psf"]["default"]["median"], n["ms_per_psf"]["fd_deeploc_double_256"]["median"]
    yield (
        f"81 x 81 PSF, batch 64 (ours {ours:.2f} ms at {n['ours']['default']['worst_l2']:.0e}; "
        f"FD-DeepLoc {peer:.1f} ms at {n['fd_deeploc_worst_l2']['double_256_corrected']:.0e})",
        ">= 4x, aim 10x",
        f"{peer / ours:.0f}x",
    )


def encode(n):
    for name, setting in n["settings"].items():
        yield (
            f"co-design encode, 18 emitters on 121 x 121, stamps of {setting['image_px']} px "
            f"({1e3 * n['times'][name]['median_s']:.0f} ms; sampling error {setting['frame_l2_of_the_sampling']:.0e}, "
            f"with the light that stamps cut off {setting['frame_l2_with_what_stamps_cut_off']:.0e}), "
            "against DeepSTORM3D's layer",
            ">= 15x, aim 40x",
            f"{n[f'times_faster_{name}']:.0f}x" if f"times_faster_{name}" in n else "no peer",
        )


def memory(n):
    peak = max(v["peak_gb"] for v in n.values() if isinstance(v, dict))
    yield "peak memory, 16 frames x 35 emitters x 121 x 121, forward + gradient", "<= 2 GB", f"{peak:.2f} GB"


def volume(n):
    yield (
        f"volumetric net, published weights, one 121 x 121 frame ({n['times']['ours']['median_s']:.2f} s), against "
        "PyTorch (its default layout; channels last)",
        ">= 2x",
        f"{n['times_faster_than_torch_nchw']:.2f}x; {n['times_faster_than_torch_channels_last']:.2f}x",
    )
    yield "its output against PyTorch's, of full scale", "<= 1e-3", f"{n['largest_difference_of_full_scale']:.0e}"


def step(n):
    for name, value in n.items():
        if isinstance(value, dict) and "times_faster_than_torch_nchw" in value:
            yield (
                f"training step of the list decoder, batch 8, {name} ({1e3 * value['times']['step']['median_s']:.0f} "
                "ms), against PyTorch (its default layout; channels last)",
                ">= 1x",
                f"{value['times_faster_than_torch_nchw']:.2f}x; {value['times_faster_than_torch_channels_last']:.2f}x",
            )


def real(n):
    for name in ("demo2", "demo3", "demo5"):
        ours, stored = n["simulated"][name]["ours, 55 nm put on"], n["simulated"][name]["stored"]
        yield (
            f"published weights on ds3d-sim-reference {name}: Jaccard, ours and stored",
            "equal",
            (f"{ours['jaccard']:.4f}; {stored['jaccard']:.4f}"),
        )


def bounds(n):
    dipoles, matrices = (list(n[key].values()) for key in ("dipoles", "fisher_matrix_against_differences"))
    for key, claim in (
        ("fixed_dipole_against_direct_sum", "fixed dipoles against a direct sum over rays, share of the peak"),
        ("halves_against_the_whole", "polarised halves against the whole, share of the peak"),
        ("mean_over_orientations_against_free", "mean over orientations against the free dipole, share of the peak"),
    ):
        yield claim, "<= 1e-6", f"{max(part[key] for part in dipoles):.1e}"
    worst = max(error for part in matrices for error in part.values())
    yield "Fisher matrix against finite differences: all parameters, three cameras", "<= 1e-6", f"{worst:.1e}"
    among = n["neighbours"]["effective_nm"]
    shown = "; ".join(f"{name} {' / '.join(f'{v:.1f}' for v in by['1.0'])}" for name, by in among.items())
    yield "bound at 1 emitter per um2, x / y / z in nm, 3,500 photons, background 50", "reported", shown


def retrieval(n):
    if "simulated" in n:
        s = n["simulated"]
        yield (
            "phase retrieval, simulated Tetrapod stack: phase error inside the critical angle, rms",
            "< 0.15 rad",
            f"{s['phase_error_rms_rad']:.3f} rad",
        )
        yield "its correlation below the true ceiling, worst slice", "<= 0.005", f"{s['below_true_ceiling_worst']:.4f}"
    stacks = n.get("real", {})
    if stacks:
        means, worsts = ([row[f"below_ceiling_{key}"] for row in stacks.values()] for key in ("mean", "worst"))
        reached = sum(row["reached"] for row in stacks.values())
        yield (
            f"recorded bead stacks, correlation below the ceiling: largest mean, worst slice ({reached} of "
            f"{len(stacks)} within; docs/retrieval.md has each)",
            "<= 0.008, <= 0.02",
            f"{max(means):.4f}, {max(worsts):.4f}",
        )
    if "masks" in n:
        printed = n["masks"]["mask_tetrapod_printed"]["after_the_best_tilt"]
        yield "retrieved Tetrapod phase against mask_tetrapod_printed, agreement", ">= 0.90", f"{printed:.3f}"
    if "lens" in n:
        lens = n["lens"]
        yield (
            "phase retrieved from a photographic lens against its etched height map, agreement",
            "reported",
            f"{lens['agreement_retrieved']:.3f}",
        )
    if "held_out" in n:
        below = max(row["predicted_below_fitted_mean"] for row in n["held_out"].values())
        yield "every second slice predicted, mean correlation below the fitted ones'", "<= 0.01", f"{below:.4f}"
    if "speed" in n:
        s = n["speed"]["seconds_to_99_percent"]
        yield (
            "retrieval of 56 slices of 121 x 121, compilation included, to 99 % of the final correlation "
            "(14 slices on the coarse pupil; all slices on the fine one)",
            "<= 60 s",
            "; ".join("not before the end" if v is None else f"{v:.0f} s" for v in (s["search"], s["refined"])),
        )


def designed(n):
    turn = n["turn"]
    yield (
        "Tetrapod by design, 55 Zernike modes from small random starts: two lobes, turn of their axis through focus",
        "a quarter turn",
        f"{turn['turn_of_lobes_deg']:.1f} degrees",
    )
    means = {label: sum(v or float("inf") for v in mean.values()) / 3 for label, mean in n["mean_bounds_nm"].items()}
    shown = "; ".join(f"{label} {value:.1f}" for label, value in means.items())
    yield "its mean bound over x, y, z and 3 um (nm), 3,500 photons, background 50, beside others", "least", shown
    starts = n["race_of_optimisers"]["starts"]
    needed = {k: [s[k]["evaluations_to_1_percent"] for s in starts] for k in starts[0]}
    text = "; ".join(f"{k}: {', '.join('never' if v is None else str(v) for v in vs)}" for k, vs in needed.items())
    yield "evaluations until within 1 % of the least bound, three starts", "reported", text


def own_masks(n):
    rows = n["masks"]
    yield (
        f"own Fisher mask over each published mask ({len(rows)} files), mean bound over x, y, z, worst ratio",
        "<= 1",
        f"{n['worst_ratio_of_means']:.3f}",
    )
    worst = max(max(row["ratio"].values()) for row in rows.values())
    yield "the same, worst single axis", "reported", f"{worst:.3f}"


CLAIMS = {
    "accuracy": reference,
    "fisher": bounds,
    "tetrapod_design": designed,
    "published_masks": own_masks,
    "phase_retrieval": retrieval,
    "deepstorm3d_grid": grid,
    "psf_speed": psf,
    "encode_speed": encode,
    "memory": memory,
    "volumetric_inference": volume,
    "list_train_step": step,
    "real_frames": real,
    **table_localization.CLAIMS,
    **table_scenes.CLAIMS,
}


def main() -> None:
    lines = []
    for name, rows in CLAIMS.items():
        record = load(name)
        if record is None:
            lines.append(f"| {name} | | not measured yet | `benchmarks/{name}.py` |")
            continue
        for claim, target, value in rows(record["numbers"]):
            lines.append(f"| {claim} | {target} | {value} | `benchmarks/{name}.py`, {record['date']} |")
    page = HEAD + "\n".join(lines) + "\n\nThe gates of the optics are tests too: `tests/optics/test_reference.py`, "
    page += "`test_gradients.py`, `test_pupil.py`, `test_psf.py`, `test_fisher.py`.\n"
    (FOLDER / "README.md").write_text(page)


if __name__ == "__main__":
    main()
