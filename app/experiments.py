"""Experiments on masks as the pages begin them: presets, what may be changed, and the arguments of their commands."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import experiments
from app.runs.files import read_json
from app.runs.jobs import make_job
from app.scopes import key_of, read_scope
from app.site import Refused, Site
from app.words import WORDS

JOBS = ("codesign", "compare")
PANEL = {"focal": 150.0, "magnification": 100.0, "slm_rows": 1200, "slm_columns": 1920, "slm_pitch": 8.0,
         "slm_grey": 255.0}  # fmt: skip
_WHOLE = ("train_steps", "slm_rows", "slm_columns")
# of the optics that an SLM's picture depends on
_OPTICS = ("na", "n_immersion", "n_sample", "wavelength_um")


@cache
def presets() -> dict[str, str]:
    """Return the experiments that come with Colocus and need no recordings: name and title; those that learn first."""
    found = []
    for path in sorted((Path(experiments.__file__).parent / "configs").glob("*.toml")):
        text = path.read_text()
        values = tomllib.loads(text)
        arms = values.get("arms", [])
        if len(arms) > 1 and "$" not in text:
            learns = any(arm.get("learn") for arm in arms)
            found.append((not learns, path.stem, str(values.get("title", path.stem))))
    return {name: title for _, name, title in sorted(found)}


def make_experiment(site: Site, values: Mapping[str, Any]) -> Path:
    """Make a co-design or a comparison of a form's values. Raises `Refused` in one line."""
    job, name = values.get("job"), values.get("experiment")
    if job not in JOBS or name not in presets():
        raise Refused(f"{WORDS['experiment'].label}: there are {', '.join(presets())}", 400)
    changes = []
    if values.get("job_scope"):
        optics = read_scope(site.resolve(values["job_scope"]))
        changes += [f"run.microscope.{key_of(key)}={value:g}" for key, value in optics.items()]
    changes += settings({key: values.get(key) for key in ("train_steps", "scene_low", "scene_high")})
    return make_job(site, f"{job} {name}", job, lambda folder: [name, *changes, "--out", folder, "--resume"])


def make_slm(site: Site, experiment: Path, values: Mapping[str, Any]) -> Path:
    """Make the files for an SLM of the mask that an experiment learned. Raises `Refused` where there is none."""
    mask = experiment / "mask.npz"
    if not mask.is_file():
        raise Refused("no learned mask in this folder; a co-design writes one when it is done", 404)
    optics = read_json(experiment / "config.json").get("run", {}).get("microscope", {})
    given = {name: values.get(name) for name in PANEL}
    changes = [f"microscope.{key}={optics[key]:g}" for key in _OPTICS if isinstance(optics.get(key), int | float)]
    focal = given.pop("focal")
    if focal is None or not focal > 0:
        raise Refused(f"{WORDS['focal'].label}: must be positive", 400)
    changes += [f"focal_length_um={1e3 * focal:g}", *settings(given)]
    words = ['make=["slm"]', *changes, "--mask", str(mask), "--out"]
    return make_job(site, f"SLM {experiment.name}", "fabricate", lambda folder: [*words, folder])


def settings(values: Mapping[str, Any]) -> list[str]:
    """Write fields as KEY=VALUE of their settings; what is empty is left out. Raises `Refused` for what is no number.

    >>> settings({"train_steps": 20.0, "scene_low": None})
    ['run.optimiser.steps=20']
    """
    written = []
    for name, value in values.items():
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(f"{WORDS[name].label}: give a number", 400)
        if name in _WHOLE:
            if value != int(value) or value < 1:
                raise Refused(f"{WORDS[name].label}: give a whole number of at least 1", 400)
            value = int(value)
        written.append(f"{WORDS[name].setting}={value:.10g}" if isinstance(value, float) else
                       f"{WORDS[name].setting}={value}")  # fmt: skip
    return written
