"""docs/peers.md from the records: programs of others beside Colocus, where they are ahead, what was not measured."""

import json
import math
from collections.abc import Iterator
from typing import Any

from experiments.report.plot_style import FIXED_COLOURS, LEARNED_COLOURS, new_figure, save_png, styled
from measure.record import FOLDER, RESULTS
from pages import recorded
from pages.joint_page import table
from pages.readme_page import load
from worlds import ROOT

PAGE, FIGURE = ROOT / "docs" / "peers.md", ROOT / "docs" / "figures" / "peers.png"
NOT_YET, NOTHING, NOT_GIVEN = "Not measured yet.", "–", "not given"

HEAD = """# Colocus beside other programs

What can be measured of other programs on one machine without a graphics card, and Colocus beside them, written from
`benchmarks/results` by `python benchmarks peers`. In each of the first four tables all rows ran in one go, each
program in a process of its own (the joint fit in that of its benchmark) on one thread, asked in turn; times are
medians of processor seconds, after one round that is not counted; "held" is the most resident memory of that process,
interpreter and libraries included. Others worked on the machine at the same time, which slows every row alike: compare
rows, not days.
The programs stay where they are: nothing of them is part of Colocus, and nothing is fetched by the scripts.
"""
PSF = """## A stack of images of one emitter

{planes} planes from {low:g} to {high:g} um of {side} x {side} pixels of {pixel:g} nm, a freely rotating dipole in
one medium (n = {index}), NA {na}, {wavelength:g} nm, {modes} Zernike modes in the pupil where a program has them
(psfmodels has none: a clear pupil). "Off" is against Colocus at {reference} pupil samples, which is within
{finer:.0e} of a finer one: relative L2 difference of the worst plane, and its largest difference over the peak,
images scaled to one sum and turned to one frame. Of a program's samplings the coarsest within {near:g} is shown,
else the nearest; the record has all. The gradient is that of the summed squares by the modes; "gradient off" is its
relative difference from ours. The line of Colocus says how far it has converged; that it converges to what is right,
the others' finest samplings say, which are {finest} from the same images.
"""
FITS = """## Fits of single emitters

{emitters} stamps of {image_px} px of an astigmatic PSF, {photons:g} photons on a background of {background:g},
depths over 1 um. Colocus fits its optics through a table, the others cubic splines of the same noise-free stack in
steps of 50 nm, so no program has a PSF that is worse known. RMSE over the Cramér-Rao bound ({bound} nm in x, y, z)
after a constant offset, without the share that is out by more than 5 bounds on some axis ("out"); of so many fits it
is known within {known:.3f}. "Made ready" is the table or the spline, by the clock of the busy machine{quiet}.
"""
FRAMES = """## Crowded frames, from the disk to a list

{frames} frames of 121 x 121 px, DeepSTORM3D's own simulations of Tetrapod STORM, for which its published network
was trained; read, infer, extract, write. Efficiency is that of the 2016 challenge in three dimensions, Jaccard at
250/500 nm. Truth is all emitters, also those under 6,000 counts that DeepSTORM3D's own scores leave out. The spacing of
the background's knots of the joint fit was chosen on these frames ([truth_sets.md](truth_sets.md)).
"""
NETWORKS = """## Networks on frames

{frames} frames of {frame_px} x {frame_px} px in a batch; the layers of each program's own files. Weights are as
drawn: none of these programs publishes any for these frames but DeepSTORM3D, which the table above scores, so this
says what a frame costs and nothing of how well it is read. DECODE, FD-DeepLoc, LiteLoc and the decoder of three
frames look at neighbours too; DeepSTORM3D and AutoDS3D answer with a volume of 121 planes, four times as fine.
"""
ELSEWHERE = """## In other records

Rows of [benchmarks/README.md](../benchmarks/README.md) that have a peer in them; each was one run, with ours and
theirs in turn.
"""
COLLECTED = ("psf_speed", "encode_speed", "mle_speed", "volumetric_inference", "list_train_step", "end_to_end",
             "autods_speed", "million", "drift", "outside_psfs")  # fmt: skip
PEERS = ("Picasso", "FD-DeepLoc", "DeepSTORM3D", "AutoDS", "PyTorch", "psfmodels", "psf-generator", "dLux", "slmsuite",
         "the original")  # fmt: skip
NOT_MEASURED = """## What was not measured, and why

- gradix (`BenjaminMidtvedt/gradix`, pre-alpha of September 2026): not on PyPI, and no copy of its repository could
  be had here. Its own figures are of a graphics card.
- DECODE (0.10.1, at 4c0f38c) as a program: it asks for PyTorch 1.7.1 and a compiled spline, both from conda, which
  Python 3.11 does not take; its trained models lie on a server from which nothing was fetched. Its network's files
  run under PyTorch 2.13 and are timed above.
- LiteLoc (aa4d262) as a program: it falls back to the processor, but its list of packages is PyTorch 2.2.2 for CUDA
  12.1, no trained weights come with it, and training takes it half an hour on the fastest graphics card. Its network
  is timed above.
- FD-DeepLoc (0a724fb) as a program: `cuda` is written in its source, and no trained weights come with it. Its PSF and
  its network are timed above, with `cuda` replaced by the processor.
- AutoDS3D (80dba66) as a program: its environment is a list of conda builds for Windows and Python 3.10, and no trained
  weights come with it. Its network is timed above; what a training of it here reads is in
  `benchmarks/simulated_3d.py`, its phase retrieval in [retrieval.md](retrieval.md).
- SMAPpy 0.5.5 asks for Python 3.12, chromatix 0.5.0 too (from its repository: the `chromatix` of PyPI is an empty
  0.0.1); both run in environments of their own with it.
- Anything on a graphics card: none was at hand.
"""


def text() -> str:
    """Write out the page of the last records."""
    parts = [HEAD, _ahead(), "![Time of each program](figures/peers.png)\n"]
    for name, section in (("peers_psf", _psf), ("peers_fits", _fits), ("joint_peer", _frames),
                          ("peers_networks", _networks)):  # fmt: skip
        numbers = recorded(name)
        parts.append(f"{section(numbers)}\n\n{_made(name)}\n" if numbers else f"{name}: {NOT_YET}\n")
    parts.append(ELSEWHERE)
    parts.append(_elsewhere() + "\n")
    return "\n".join([*parts, NOT_MEASURED])


def _made(name: str) -> str:
    record = json.loads((RESULTS / f"{name}.json").read_text())
    packages = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    hardware = record["hardware"]
    load = ", ".join(f"{value:g}" for value in hardware["load_average"])
    return (
        f"`{record['command']}`, {record['date']}, {record['commit']}; {packages}; {hardware['cpu']}, "
        f"{hardware['cores']} cores, load {load} (others worked on the machine)."
    )


def _measured(numbers: dict) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in numbers["programs"].items():
        if "not_given" not in part:
            yield name, part


def _rows_not_given(numbers: dict, width: int) -> list[list[str]]:
    gone = [name for name, part in numbers["programs"].items() if "not_given" in part]
    return [[name, NOT_GIVEN, *[NOTHING] * (width - 2)] for name in gone]


def psf_choice(numbers: dict) -> dict[str, tuple[str, dict[str, Any]]]:
    """The setting of each program that stands in the table, by the rule of the benchmark."""
    chosen = load(FOLDER / "peers_table.py").chosen
    return {name: chosen(part) for name, part in _measured(numbers)}


def _off(entry: dict[str, Any]) -> dict[str, float]:
    return entry.get("modes", entry["clear"])


def _psf(numbers: dict) -> str:
    given = numbers["given"]
    planes, rows = len(given["z_um"]), []
    for name, (setting, entry) in psf_choice(numbers).items():
        stack, slope = entry["times"]["stack"], entry["times"].get("gradient")
        rows.append([
            name, setting, f"{1e3 * stack['cpu_s'] / planes:.2f} ms",
            f"{1e3 * slope['cpu_s'] / planes:.2f} ms" if slope else "none",
            f"{_off(entry)['worst_l2']:.1e}, {_off(entry)['worst_of_peak']:.1e}",
            f"{entry['gradient_off']:.1e}" if "gradient_off" in entry else NOTHING,
            f"{max(t['peak_mb'] for t in entry['times'].values()):.0f} MB ({entry['imported_mb']:.0f} imported)",
        ])  # fmt: skip
    head = ["program", "sampling", "time an image", "gradient, an image", "off", "gradient off", "held"]
    words = PSF.format(
        planes=planes, low=given["z_um"][0], high=given["z_um"][-1], side=given["side"],
        pixel=1e3 * given["pixel_um"], index=given["index"], na=given["na"], wavelength=1e3 * given["wavelength_um"],
        modes=len(given["modes"]), reference=numbers["reference_pupil_px"],
        finer=numbers["reference_against_finer_l2"], finest=_finest(numbers), near=load(FOLDER / "peers_table.py").NEAR,
    )  # fmt: skip
    return f"{words}\n{table(head, rows + _rows_not_given(numbers, len(head)))}"


def _finest(numbers: dict) -> str:
    others = {name: settings for name, settings in _measured(numbers) if name != "Colocus"}
    nearest = {name: min(_off(entry)["worst_l2"] for entry in settings.values()) for name, settings in others.items()}
    return ", ".join(f"{off:.1e} ({name})" for name, off in nearest.items())


def _fits(numbers: dict) -> str:
    rows = []
    for name, part in _measured(numbers):
        time = part["times"]["fit"]
        rows.append([
            name, f"{1e6 * time['cpu_s'] / numbers['emitters']:.0f} us",
            " / ".join(f"{value:.3f}" for value in part["rmse_over_bound"]), f"{100 * part['outliers']:.1f} %",
            f"{part['prepare_s']:.1f} s", f"{time['peak_mb']:.0f} MB ({part['imported_mb']:.0f} imported)",
        ])  # fmt: skip
    head = ["program", "time a fit", "RMSE / bound x / y / z", "out", "made ready", "held"]
    before = recorded("mle_speed")  # nothing ran beside it
    quiet = f" (ours on a quiet one: {before['table']['astigmatism_21']['seconds']:.0f} s)" if before else ""
    words = FITS.format(
        **numbers,
        quiet=quiet,
        known=(2 * numbers["emitters"]) ** -0.5,
        bound=" / ".join(f"{value:.1f}" for value in numbers["bound_nm"]),
    )
    return f"{words}\n{table(head, rows + _rows_not_given(numbers, len(head)))}"


def _frames(numbers: dict) -> str:
    rows = []
    for name, label in (("joint", "Colocus, joint fit"), ("deepstorm3d", "DeepSTORM3D")):
        if name not in numbers["seconds_a_frame"]:
            continue
        score = numbers["scores"][name]
        rows.append([
            label, f"{numbers['seconds_a_frame'][name]:.2f} s", f"{numbers['cpu_s_a_frame'][name]:.2f} s",
            f"{score['efficiency_3d']:.1f}", f"{score['jaccard']:.3f}",
            f"{1e3 * score['rmse_xy_um']:.0f}, {1e3 * score['rmse_z_um']:.0f} nm", f"{numbers['peak_mb'][name]:.0f} MB",
        ])  # fmt: skip
    head = ["program", "a frame", "processor", "efficiency", "Jaccard", "RMSE lateral, axial", "held"]
    shown = f"{FRAMES.format(frames=numbers['frames'])}\n{table(head, rows)}"
    if "times_faster" not in numbers:
        return shown
    cpu_s = numbers["cpu_s_a_frame"]
    return (
        f"{shown}\n\nThe joint fit is {numbers['times_faster']:.1f} times faster by the clock and "
        f"{cpu_s['deepstorm3d'] / cpu_s['joint']:.1f} times by the processor; 20 times was the aim."
    )


def _networks(numbers: dict) -> str:
    rows = []
    for name, part in _measured(numbers):
        time = part["times"]["frames"]
        rows.append([
            name, f"{1e3 * time['cpu_s'] / numbers['frames']:.0f} ms", f"{part['parameters'] / 1e6:.2f} M",
            f"{time['peak_mb']:.0f} MB ({part['imported_mb']:.0f} imported)",
        ])  # fmt: skip
    head = ["network", "a frame", "parameters", "held"]
    return f"{NETWORKS.format(**numbers)}\n{table(head, rows + _rows_not_given(numbers, len(head)))}"


def _elsewhere() -> str:
    lines = []
    for name in COLLECTED:
        path = RESULTS / f"{name}.json"
        if path.exists():
            record = json.loads(path.read_text())
            kept = False
            for claim, _, measured in load(FOLDER / f"{name}.py").rows(record["numbers"]):
                # "its ..." and "the same ..." go on with the row before
                kept = any(peer in claim for peer in PEERS) or (kept and claim.startswith(("its ", "the same")))
                if kept:
                    lines.append([claim, measured, f"`{name}.py`, {record['date'][:10]}"])
    return table(["what", "measured", "record"], lines)


def _ahead() -> str:
    """Where others are quicker or more exact, said first."""
    found = list(_ahead_of_us())
    lines = [f"- {line}" for line in found] or ["- nowhere in these tables"]
    return "## Where others are ahead\n\n" + "\n".join(lines) + "\n"


def _ahead_of_us() -> Iterator[str]:
    if numbers := recorded("peers_psf"):
        chosen = {name: entry for name, (_, entry) in psf_choice(numbers).items()}
        ours = chosen.pop("Colocus")
        for name, entry in chosen.items():
            for what in entry["times"]:
                ratio = ours["times"][what]["cpu_s"] / entry["times"][what]["cpu_s"]
                if ratio > 1:
                    yield f"{name}: the {what} of images in {1 / ratio:.2f} of our time."
            if _held(entry) < _held(ours):
                yield f"{name}: images in {_held(entry):.0f} MB, where we hold {_held(ours):.0f} MB, JAX included."
    if numbers := recorded("peers_fits"):
        parts = dict(_measured(numbers))
        ours = parts.pop("Colocus")
        for name, part in parts.items():
            ratio = part["times"]["fit"]["cpu_s"] / ours["times"]["fit"]["cpu_s"]
            if ratio < 1:
                yield f"{name}: single emitters in {ratio:.2f} of our time."
            if part["prepare_s"] < ours["prepare_s"]:
                yield f"{name}: its spline is ready in {part['prepare_s']:.1f} s; our table takes seconds."
            if part["outliers"] < ours["outliers"]:
                yield f"{name}: {100 * part['outliers']:.1f} % of fits out, of ours {100 * ours['outliers']:.1f} %."
            better = [axis for axis, a, b in zip("xyz", part["rmse_over_bound"], ours["rmse_over_bound"], strict=True)
                      if a < b - 0.01]  # fmt: skip
            if better:
                yield f"{name}: smaller errors in {', '.join(better)}."
            if _held(part) < _held(ours):
                yield f"{name}: fits in {_held(part):.0f} MB, where we hold {_held(ours):.0f} MB, JAX included."
    if (numbers := recorded("joint_peer")) and "deepstorm3d" in numbers["scores"]:
        ours, theirs = (numbers["scores"][name] for name in ("joint", "deepstorm3d"))
        for key, words in (("rmse_xy_um", "laterally"), ("rmse_z_um", "axially")):
            if theirs[key] < ours[key]:
                yield (
                    f"DeepSTORM3D: {1e3 * theirs[key]:.0f} nm {words} (ours {1e3 * ours[key]:.0f} nm), of the "
                    f"{100 * theirs['recall']:.0f} % of its own frames' emitters that it finds (ours "
                    f"{100 * ours['recall']:.0f} %)."
                )
        for key in ("jaccard", "precision", "efficiency_3d"):
            if theirs[key] > ours[key]:
                yield f"DeepSTORM3D: {key.split('_')[0]} {theirs[key]:.3g} on its own frames, ours {ours[key]:.3g}."
        if numbers["peak_mb"]["deepstorm3d"] < numbers["peak_mb"]["joint"]:
            held = numbers["peak_mb"]
            yield f"DeepSTORM3D: {held['deepstorm3d']:.0f} MB, where our joint fit holds {held['joint']:.0f} MB."
    if numbers := recorded("peers_networks"):
        parts = dict(_measured(numbers))
        ours = parts["Colocus, list decoder"]["times"]["frames"]["cpu_s"]
        for name, part in parts.items():
            if not name.startswith("Colocus") and part["times"]["frames"]["cpu_s"] < ours:
                yield f"{name}: its network takes {part['times']['frames']['cpu_s'] / ours:.2f} of our decoder's time."
    if numbers := recorded("million"):
        for name in ("histogram", "gaussian"):
            ours, theirs = (numbers["seconds"][f"{who}_{name}"]["median_s"] for who in ("render", "picasso"))
            if theirs < ours:
                yield f"Picasso: the {name} picture of a million molecules in {theirs:.2g} s; ours {ours:.2g} s."
    if numbers := recorded("drift"):
        for method, part in numbers["cases"]["million"].items():
            if isinstance(part, dict) and part.get("time_ratio", 1) < 1:
                name, ratio = method.upper(), part["time_ratio"]
                yield f"Picasso: drift of a million molecules by {name} in {ratio:.2f} of our time."
    if numbers := recorded("list_train_step"):
        ratios = [part["times_faster_than_torch_channels_last"] for part in numbers.values()
                  if isinstance(part, dict) and "times_faster_than_torch_channels_last" in part]  # fmt: skip
        if ratios and min(ratios) < 1:
            yield (
                f"PyTorch: a training step of our list decoder in {min(ratios):.2f} to {max(ratios):.2f} of our time."
            )


def _held(part: dict[str, Any]) -> float:
    return max(times["peak_mb"] for times in part["times"].values())


def bars() -> dict[str, dict[str, float]]:
    """What the figure shows: milliseconds of each program, a panel each."""
    panels: dict[str, dict[str, float]] = {}
    if numbers := recorded("peers_psf"):
        planes = len(numbers["given"]["z_um"])
        panels["an image of a stack, worst plane within 1 % or as near as it comes"] = {
            name: 1e3 * entry["times"]["stack"]["cpu_s"] / planes for name, (_, entry) in psf_choice(numbers).items()
        }
    if numbers := recorded("peers_fits"):
        panels["a fit of one emitter, 21 x 21 px"] = {
            name: 1e3 * part["times"]["fit"]["cpu_s"] / numbers["emitters"] for name, part in _measured(numbers)
        }
    if numbers := recorded("joint_peer"):
        labels = {"joint": "Colocus, joint fit", "deepstorm3d": "DeepSTORM3D"}
        panels["a crowded frame of 121 x 121 px, from the disk to a list"] = {
            labels[name]: 1e3 * value for name, value in numbers["cpu_s_a_frame"].items()
        }
    if numbers := recorded("peers_networks"):
        panels["a frame of 128 x 128 px through a network, weights as drawn"] = {
            name: 1e3 * part["times"]["frames"]["cpu_s"] / numbers["frames"] for name, part in _measured(numbers)
        }
    return panels


def _short(milliseconds: float) -> str:
    """Two digits, and no power of ten."""
    value, unit = (milliseconds, "ms") if milliseconds < 1000 else (milliseconds / 1e3, "s")
    return f"{float(f'{value:.2g}'):g} {unit}"


def draw() -> None:
    """Draw the times as bars, a panel for each task."""
    panels = bars()
    if not panels:
        return
    with styled():
        figure = new_figure(7.0, 0.75 * len(panels) + 0.24 * sum(map(len, panels.values())))
        axes = figure.subplots(
            len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": [len(panel) + 1 for panel in panels.values()]}
        )[:, 0]
        for axis, (title, panel) in zip(axes, panels.items(), strict=True):
            ordered = sorted(panel.items(), key=lambda item: -item[1])
            values = [value for _, value in ordered]
            colours = [LEARNED_COLOURS[0] if name.startswith("Colocus") else FIXED_COLOURS[0] for name, _ in ordered]
            axis.barh(range(len(ordered)), values, color=colours, height=0.7)
            axis.set_yticks(range(len(ordered)), [name for name, _ in ordered])
            axis.set_xscale("log")
            axis.set_xlim(10 ** math.floor(math.log10(min(values) / 1.5)), 10 ** math.ceil(math.log10(2 * max(values))))
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.xaxis.set_minor_formatter(lambda value, _: "")
            axis.set_axisbelow(True)
            axis.grid(visible=False, axis="y")
            for k, value in enumerate(values):
                axis.text(value * 1.1, k, _short(value), va="center")
            axis.set_title(title, loc="left")
        axes[-1].set_xlabel("processor milliseconds, one thread")
    save_png(figure, FIGURE)
