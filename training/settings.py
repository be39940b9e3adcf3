"""Settings: mappings and TOML to frozen dataclasses and back; a wrong value is named with its field and a remedy."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the field and the remedy."""


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Mark a string as a name of a table: `Annotated[str, OneOf(lambda: TABLE)]`.

    The names are read when a configuration is, so that one added to the table at run time is known.
    """

    names: Callable[[], Iterable[str]]


def check_name(field: str, value: object, names: Iterable[str]) -> None:
    """Raise `ConfigError`, with all names and the nearest, where `value` is none of them.

    >>> check_name("mask.name", "tetrapot", ["flat", "tetrapod"])
    Traceback (most recent call last):
    training.settings.ConfigError: mask.name = 'tetrapot' must be one of 'flat', 'tetrapod'; did you mean 'tetrapod'?
    """
    names = list(names)
    near = difflib.get_close_matches(str(value), list(map(str, names)), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    check(value in names, field, value, f"must be one of {', '.join(map(repr, names))}{hint}")


def check(condition: bool, field: str, value: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{field} = {value!r} {remedy}")


def check_range(field: str, low: float, high: float, floor: float = -math.inf) -> None:
    good = math.isfinite(low) and math.isfinite(high) and floor <= low <= high
    remedy = "must be a finite range, low first" + ("" if floor == -math.inf else f", from {floor:g} up")
    check(good, field, (low, high), remedy)


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a configuration into nested plain mappings, ready for JSON."""
    return dataclasses.asdict(config)


def from_dict(
    cls: type[T], values: Mapping[str, Any], *, base: T | None = None, where: str = "", saved: bool = False
) -> T:
    """Build a configuration from a mapping laid over `base` (default: the class's own defaults).

    A `saved` mapping was whole when it was written: a field that it lacks is younger than it is, and means what it was
    before there was one: `cls.BEFORE`, where that is not the default. Raises `ConfigError` for an unknown key (naming
    the nearest known one) or a value of the wrong type.

    >>> from training.config import SceneConfig
    >>> from_dict(SceneConfig, {"count_max": 5}).count_max
    5
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]  # pyright: ignore[reportArgumentType]
    changes: dict[str, Any] = dict(getattr(cls, "BEFORE", {})) if saved else {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else key
        if key not in names:
            near = difflib.get_close_matches(key, names, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
            raise ConfigError(f"unknown key {path!r}; {hint}")
        changes[key] = _coerce(hints[key], value, path, None if base is None else getattr(base, key), saved)
    if base is not None:
        return dataclasses.replace(base, **changes)  # pyright: ignore[reportArgumentType, reportReturnType]
    return cls(**changes)


def _coerce(hint: Any, value: Any, path: str, base: Any, saved: bool = False) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _coerce(options[0], value, path, base, saved)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} must be a table of settings, not {value!r}")
        return from_dict(hint, value, base=base, where=path, saved=saved)  # pyright: ignore[reportArgumentType]
    if origin is Literal:
        check_name(path, value, typing.get_args(hint))
        return value
    if origin is Annotated:
        plain, choice = typing.get_args(hint)
        check_name(path, _coerce(plain, value, path, None), choice.names())
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path} = {value!r} must be a list")
        inner = typing.get_args(hint)[0]
        return tuple(_coerce(inner, item, f"{path}[{i}]", None, saved) for i, item in enumerate(value))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ConfigError(f"{path} = {value!r} must be a finite number")
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{path} = {value!r} must be of type {hint.__name__}")


def differences(a: Mapping[str, Any], b: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Compare two nested mappings: the dotted name of each value that differs, and both values (None: not there).

    >>> list(differences({"fit": {"steps": 5, "rate": 1.0}}, {"fit": {"steps": 7, "rate": 1.0}}))
    [('fit.steps', 5, 7)]
    """
    for key in [*a, *(key for key in b if key not in a)]:
        one, other = a.get(key), b.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from differences(one, other, f"{where}{key}.")
        elif one != other:
            yield f"{where}{key}", one, other
