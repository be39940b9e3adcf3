"""docs/truth_sets.md from benchmarks/results/truth_sets.json: a table a set and gate."""

import json
from typing import Any

from measure.record import RESULTS
from worlds import ROOT

PAGE = ROOT / "docs" / "truth_sets.md"

HEAD = """# Sets with exact truth

What our list decoder, our fits, singly, jointly and from a decoder's list, the published DeepSTORM3D weights and
Picasso make of public frames whose answer is known, scored by one function (`localization.score`,
[conventions](conventions.md)). In brackets: 95 % intervals from drawing frames. "Off" is the median error of the
pairs in x, y, z, and "eff. centred" the efficiency without it: where the two efficiencies differ, a constant shift is
what is lost. "Chance" is the efficiency of as many points placed at random in the same frames. Efficiency is that of
the 2016 challenge, in 3D the mean of lateral and axial. RMSE is that of the pairs alone: a method that pairs only the
easiest emitters has a small one.

Made by `{command}` on {date} ({commit}); numbers in `benchmarks/results/truth_sets.json`.
"""
THEN = "{what} then"
BEFORE = "{what} by `{command}` on {date} ({commit})"
KINDS = {"joint": "those of the joint fit alone", "behind": "those of the joint fit from a decoder's list"}
NOTHING = "–"


def text() -> str:
    """Write out the page of the last result."""
    record = json.loads((RESULTS / "truth_sets.json").read_text())
    parts = [HEAD.format(**record)]
    if before := record["numbers"].get("before"):
        told = [THEN.format(what=_rows_of(record["numbers"]["measured"]))]
        # what is no joint fit ("") stands at the end
        told += [BEFORE.format(what=_rows_of(kinds), **made) for kinds, made in sorted(before.items(), reverse=True)]
        parts.append(f"When rows were measured: {'; '.join(told)}.\n")
    for case in record["numbers"]["cases"].values():
        for name in dict.fromkeys(row["set"] for row in case["rows"]):
            parts.append(_section(name, [row for row in case["rows"] if row["set"] == name]))
    return "\n".join(parts)


def _rows_of(kinds: str) -> str:
    """Name the rows of joint fits, joined by "+"; "" is all others."""
    return " and ".join(KINDS[kind] for kind in kinds.split("+")) if kinds else "all others"


def _section(name: str, rows: list[dict[str, Any]]) -> str:
    lines = [f"## {name}", ""]
    first = rows[0]
    lines += [
        f"{first['frames']} frame(s), {first['density_per_um2']:.3g} emitters per µm². {first['notes']}".strip(),
        "",
    ]
    gates = list(dict.fromkeys(gate for row in rows for gate in row.get("gates", {})))
    for gate in gates:
        lines += _table(gate, [row for row in rows if gate in row.get("gates", {})])
    lines += [f"- {row['method']}: {row['remark']}" for row in rows if row["remark"]]
    return "\n".join([*lines, ""])


def _table(gate: str, rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"Gate {gate}:",
        "",
        "| method | found / true | Jaccard | recall | precision | RMSE lateral, nm | RMSE axial, nm | efficiency "
        "| eff. centred | off x, y, z, nm | chance |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        s = row["gates"][gate]
        which = "efficiency_3d" if s["rmse_z_um"][0] is not None else "efficiency_lateral"
        off = ", ".join(_number(None if x is None else 1e3 * x, 0) for x in s["median_error_um"])
        cells = [
            row["method"] + (f" ({row['remark']})" if row["method"].startswith("DeepSTORM3D,") else ""),
            f"{s['n_found']} / {s['n_truth']}",
            *(_spread(s[name], 1, 3) for name in ("jaccard", "recall", "precision")),
            *(_spread(s[name], 1e3, 1) for name in ("rmse_xy_um", "rmse_z_um")),
            _spread(s[which], 1, 1),
            _number(s["median_taken_off"][which], 1),
            off,
            _number(s["chance"][which], 1),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _spread(values: list[float | None], factor: float, digits: int) -> str:
    middle, low, high = (None if value is None else factor * value for value in values)
    shown = _number(middle, digits)
    return shown if low is None or high is None else f"{shown} [{low:.{digits}f}, {high:.{digits}f}]"
