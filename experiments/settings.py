"""Settings of commands: presets, TOML files, KEY=VALUE on the command line."""

import dataclasses
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from optics import Camera, make_camera
from training import CameraConfig, ConfigError, build_camera, from_dict

T = TypeVar("T")


def presets() -> list[str]:
    """Name the configurations that come with Colocus."""
    folder = resources.files("experiments") / "configs"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def read_toml(name_or_path: str) -> dict[str, Any]:
    """Read the mapping in a TOML file, or in the preset of that name; raises `ConfigError`."""
    path = Path(name_or_path)
    if name_or_path in presets():
        text = (resources.files("experiments") / "configs" / f"{name_or_path}.toml").read_text()
    elif path.is_file():
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read as text: {error}") from error
    else:
        raise ConfigError(f"{name_or_path!r} is neither a file nor a preset ({', '.join(presets())})")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name_or_path} is not valid TOML: {error}") from error


def override(values: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Lay KEY=VALUE assignments (dotted keys, TOML values) over a mapping; returns a new one."""
    result = _copy(values)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{assignment!r} is not KEY=VALUE, like run.optimiser.steps=500")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()  # a bare word is a string
        *parents, leaf = key.strip().split(".")
        table = result
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{assignment!r}: {parent!r} is not a table of settings")
        table[leaf] = value
    return result


def _copy(values: Any) -> Any:
    return {key: _copy(value) for key, value in values.items()} if isinstance(values, dict) else values


def load_settings(cls: type[T], path: str | None, assignments: Sequence[str] = ()) -> T:
    """Read the settings of a command: those in a TOML file (None: the defaults) with overrides. Raises `ConfigError`.

    >>> from training import MicroscopeConfig
    >>> load_settings(MicroscopeConfig, None, ["na=1.3"]).na
    1.3
    """
    values = {} if path is None else read_toml(path)
    try:
        return from_dict(cls, override(values, assignments))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}" if path and not assignments else str(error)) from error


def load_camera(path: Path | str, assignments: Sequence[str] = ()) -> Camera:
    """Read the camera in a camera.toml (KEY=VALUE laid over it), or the maps of a camera.npz, for the optics.

    Raises `ConfigError` for a file that is neither, `OpticsError` for numbers that cannot be right.

    >>> load_camera("no-such-camera.npz")
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-camera.npz: no such file; `colocus calibrate-camera` writes one
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; `colocus calibrate-camera` writes one")
    if path.suffix.lower() != ".npz":
        return build_camera(load_settings(CameraConfig, str(path), assignments))
    try:
        with np.load(path, allow_pickle=False) as file:
            fields = dict(file)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path}: not the maps of a camera ({error}); measure it again") from error
    unknown = set(fields) - {field.name for field in dataclasses.fields(CameraConfig)}
    if unknown or "gain_adu_per_e" not in fields:
        raise ConfigError(f"{path}: not the maps of a camera (holds {', '.join(sorted(fields))}); name camera.npz")
    plain = {name: value.item() if value.ndim == 0 else value for name, value in fields.items()}
    return make_camera(**plain)
