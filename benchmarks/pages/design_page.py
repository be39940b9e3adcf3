"""The tables of docs/mask_design.md, from results/*.json and the records of the shipped designs.

The benchmarks of mask design write it when they are done.
"""

import json
from typing import Any

import numpy as np

from pages import between, recorded
from worlds import ROOT

PAGE = ROOT / "docs" / "mask_design.md"
DESIGNS = ROOT / "optics" / "masks" / "designs"


def _axes(mean_nm: dict[str, float | None]) -> str:
    return " / ".join("-" if mean_nm[axis] is None else f"{mean_nm[axis]:.1f}" for axis in "xyz")


def tetrapod(numbers: dict[str, Any]) -> list[str]:
    """Mean bounds of the designed mask and of others, and the turn of its lobes."""
    turn, least = numbers["turn"], numbers["least_of_every_start_nm"].values()
    there = sum(value < 1.01 * min(least) for value in least)
    lines = ["| mask, at its best focus | mean bound x / y / z (nm) |", "|---|---|"]
    lines += [f"| {label} | {_axes(mean)} |" for label, mean in numbers["mean_bounds_nm"].items()]
    apart = turn["separation_at_ends_um"]
    return [
        *lines,
        "",
        f"{there} of {len(least)} starts came within 1 % of the best. The lobes are {apart[0]:.2f} and {apart[1]:.2f} "
        f"um apart at the ends and their axes {turn['turn_of_lobes_deg']:.1f} degrees; on the way they wander by "
        f"at most {max(turn['wander_before_waist_deg'], turn['wander_after_waist_deg']):.1f} degrees.",
    ]


def published(numbers: dict[str, Any]) -> list[str]:
    """A line per file."""
    lines = [
        "| file | z (um) | published x / y / z (nm) | from random starts | ours | ours over published, mean |",
        "|---|---|---|---|---|---|",
    ]
    for row in numbers["masks"].values():
        low, high = row["z_range_um"]
        begun = row.get("from", {}).get("random starts")  # results from before the starts were told apart lack it
        lines.append(
            f"| {row['file']} | {low:g} to {high:g} | {_axes(row['published']['mean_nm'])} | "
            f"{_axes(begun['mean_nm']) if begun else 'not told apart'} | {_axes(row['ours']['mean_nm'])} | "
            f"{row['ratio_of_means']:.3f} |"
        )
    return lines


def shipped(records: dict[str, dict[str, Any]]) -> list[str]:
    """The shipped designs and the library's masks: alone, and among neighbours where that was scored."""
    lines = [
        "| design | mask, all at the preset's focus | alone: x / y / z (nm) | among neighbours: x / y / z (nm) |",
        "|---|---|---|---|",
    ]
    for name, numbers in records.items():
        for mask in numbers["design"]["masks"]:
            among = mask["among_nm"]
            crowd = {} if among is None else {a: sum(row[k] for row in among) / len(among) for k, a in enumerate("xyz")}
            lines.append(
                f"| {name} | {mask['label']} | {_axes(mask['mean_nm'])} | {_axes(crowd) if crowd else 'not scored'} |"
            )
    masks = {name: np.load(DESIGNS / f"{name}.npz")["opd_um"] for name in records}
    names = sorted(masks)
    for k, name in enumerate(names):
        same = [other for other in names[k + 1 :] if np.array_equal(masks[name], masks[other])]
        lines += [
            f"\n{name} and {other} are the same mask: the search among neighbours found none that is better in scenes "
            "it had not seen."
            for other in same
        ]
    return lines


def text() -> str:
    """Put every table whose numbers are there between its markers."""
    page = PAGE.read_text()
    for name, table, result in (("tetrapod", tetrapod, "tetrapod_design"), ("published", published, "published_masks")):
        numbers = recorded(result)
        if numbers is not None:
            page = _put(page, name, table(numbers))
    records = {path.stem: json.loads(path.read_text())["numbers"] for path in sorted(DESIGNS.glob("*.json"))}
    return _put(page, "shipped", shipped(records)) if records else page


def _put(page: str, name: str, lines: list[str]) -> str:
    return between(page, f"<!-- {name} -->", f"<!-- /{name} -->", "\n".join(lines))
