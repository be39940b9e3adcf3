"""A microscope as a form: presets, what is odd about its numbers, and the scope.toml that the command line reads."""

import json
import math
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.runs.files import write_whole
from app.runs.launch import plan_text
from app.site import Refused, Site
from app.words import WORDS

SCOPES = "microscopes"
OPTICS = ("na", "immersion", "sample", "wavelength", "pixel", "depth")
# of `optics.masks.LIBRARY`, whose module would load JAX, and a file; with the field that shapes it
MASKS = {
    "flat": "", "astigmatism": "mask_rms", "saddle_point": "mask_range", "tetrapod": "mask_range",
    "double_helix": "mask_range", "file": "mask_file",
}  # fmt: skip
_MASK_KEYS = {"mask_rms": "rms_um", "mask_range": "range_um", "mask_file": "path"}
_SCENE = {"light": "photons", "ground": "background", "z_low": "z_min_um", "z_high": "z_max_um"}
START: dict[str, Any] = {
    "na": 1.45, "immersion": 1.518, "sample": 1.33, "wavelength": 0.67, "pixel": 0.11, "depth": 1.5, "mask": "tetrapod",
    "mask_rms": 0.07, "mask_range": 3.0, "mask_file": "", "light": 3500.0, "ground": 50.0, "z_low": 0.0, "z_high": 3.0,
}  # fmt: skip
# objectives as makers sell them, in a sample of water
PRESETS: dict[str, dict[str, float]] = {
    "oil, NA 1.49 (TIRF)": {"na": 1.49, "immersion": 1.518, "sample": 1.33},
    "oil, NA 1.45": {"na": 1.45, "immersion": 1.518, "sample": 1.33},
    "oil, NA 1.40": {"na": 1.4, "immersion": 1.518, "sample": 1.33},
    "silicone oil, NA 1.35": {"na": 1.35, "immersion": 1.406, "sample": 1.33},
    "water, NA 1.20": {"na": 1.2, "immersion": 1.33, "sample": 1.33},
}


def key_of(name: str) -> str:
    """Return the name that a field of the optics has in scope.toml: that of the plan, without its table.

    >>> key_of("immersion")
    'n_immersion'
    """
    return WORDS[name].setting.partition(".")[2]


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a form, each a number where it has to be one. Raises `Refused` naming the first that is not.

    What the optics say of numbers that are numbers is theirs to say.
    """
    found = dict(values)
    for name in (*OPTICS, *_SCENE, *(("mask_rms",) if found.get("mask") == "astigmatism" else ())):
        value = found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Refused(f"{WORDS[name].label}: give a number", 400)
    if found["mask"] not in MASKS:
        raise Refused(f"{WORDS['mask'].label}: there are {', '.join(MASKS)}", 400)
    return found


def scope_toml(values: Mapping[str, Any]) -> str:
    """Write the optics of a form as the [microscope] of `colocus crlb` and `colocus retrieve`.

    >>> print(scope_toml(START).splitlines()[1])
    na = 1.45
    """
    given = checked({**START, **values})
    return plan_text({"microscope": {key_of(name): float(given[name]) for name in OPTICS}}) + "\n"


def bounds_settings(site: Site, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `colocus crlb` that a form stands for. Raises `Refused` for a mask outside the folders."""
    given = checked(values)
    mask: dict[str, Any] = {"name": given["mask"]}
    shape = MASKS[given["mask"]]
    if shape:
        value = given[shape]
        if shape == "mask_file":
            value = str(site.resolve(str(value or "")))
        elif not isinstance(value, int | float) or not value > 0:
            raise Refused(f"{WORDS[shape].label}: must be positive", 400)
        mask[_MASK_KEYS[shape]] = value
    optics = {key_of(name): float(given[name]) for name in OPTICS}
    scene = {key: float(given[name]) for name, key in _SCENE.items()}
    return {"microscope": optics, "arms": [{"label": given["mask"], "mask": mask}], **scene}


def command(settings: Mapping[str, Any], scope: str = "scope.toml") -> str:
    """Write what one types to compute the same in a terminal, the optics in a file."""
    arm = settings["arms"][0]
    mask = ", ".join(f"{key} = {json.dumps(value)}" for key, value in arm["mask"].items())
    scene = [f"{key}={settings[key]:g}" for key in _SCENE.values()]
    arms = f'arms=[{{label = "{arm["label"]}", mask = {{{mask}}}}}]'
    return shlex.join(["colocus", "crlb", scope, *scene, arms])


def warnings(values: Mapping[str, Any]) -> list[str]:
    """Say what is odd about the numbers of a form, as far as they are there: at once, before anything is computed.

    >>> warnings({**START, "na": 1.6})[0]
    'NA 1.6 is not below the immersion index 1.518: no such objective; raise the index or lower the NA'
    """

    def number(name: str) -> float:
        value = values.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan

    na, n, sample, wavelength, pixel = (number(name) for name in ("na", "immersion", "sample", "wavelength", "pixel"))
    depth, low, high = (number(name) for name in ("depth", "z_low", "z_high"))
    found = []
    if na >= n:
        found.append(
            f"NA {na:g} is not below the immersion index {n:g}: no such objective; raise the index or lower the NA"
        )
    for name, least, most in (("immersion", 1.0, 1.8), ("sample", 1.0, 1.8)):
        if not math.isnan(value := number(name)) and not least <= value <= most:
            found.append(f"{WORDS[name].label} {value:g}: media lie between {least:g} and {most:g}")
    for name, most in (("wavelength", 2.0), ("pixel", 2.0), ("depth", 100.0), ("z_high", 100.0), ("mask_range", 50.0)):
        if number(name) > most:
            found.append(f"{WORDS[name].label} {number(name):g}: looks like nanometres; give micrometres")
    if sample < na < n:
        found.append(
            f"NA {na:g} is above the sample index {sample:g}: its rim collects light from next to the coverslip alone"
        )
    if 0.05 < wavelength <= 2 and pixel > wavelength / (2 * na):
        found.append(
            f"a pixel of {pixel:g} um is coarser than {wavelength / (2 * na):.3f} um (wavelength / 2 NA): "
            "spots fall between pixels, precision suffers"
        )
    if low >= high:
        found.append(f"depths from {low:g} to {high:g} um: the first must be below the last")
    elif low < 0 and n != sample:
        found.append(f"depths begin at {low:g} um: above the coverslip there is no sample; begin at 0")
    elif high <= 100 and not low - 0.5 <= depth <= high + 0.5:
        found.append(f"the focus at {depth:g} um lies outside the depths {low:g} to {high:g} um")
    return found


def read_scope(path: Path) -> dict[str, float]:
    """Read the optics of a scope.toml, a plan.toml, or the settings of a command, as fields. Raises `Refused`."""
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"{path.name}: cannot be read as TOML ({' '.join(str(error).split())[:80]})", 415) from None
    run = tables.get("run", {})
    places = (tables.get("microscope"), tables.get("optics"), run.get("microscope") if isinstance(run, dict) else None)
    optics = next((place for place in places if isinstance(place, dict)), tables)
    found = {
        name: float(value)
        for name in OPTICS
        if isinstance(value := optics.get(key_of(name)), int | float) and not isinstance(value, bool)
    }
    if not found:
        raise Refused(f"{path.name}: holds no optics such as na = 1.45; name a scope.toml or a plan.toml", 415)
    return found


def scopes(site: Site) -> list[Path]:
    """List the microscopes that were saved."""
    found = []
    for folder in site.folders:
        try:
            found += sorted(path for path in (folder / SCOPES).iterdir() if path.suffix == ".toml")
        except OSError:
            continue
    return found


def save_scope(site: Site, name: str, values: Mapping[str, Any]) -> Path:
    """Keep a microscope under a name, an earlier one of that name replaced. Raises `Refused` in one line."""
    clean = re.sub(r"[^\w .()+-]", "_", name.removesuffix(".toml")).strip(" .")[:100]
    if not clean:
        raise Refused(f"{WORDS['scope_name'].label}: give one", 400)
    text = scope_toml(values)
    path = site.writable(SCOPES) / f"{clean}.toml"
    if path.is_symlink():
        raise Refused(f"{clean}: a link has this name; choose another", 400)
    write_whole(path, text)
    return path
