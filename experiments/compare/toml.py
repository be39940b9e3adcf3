"""A configuration as TOML that reads back to the same configuration."""

import json
from typing import Any

from experiments.compare.config import ExperimentConfig
from training import to_dict


def to_toml(config: ExperimentConfig) -> str:
    """Write every key of an experiment; a key that is not set stands in a comment, as TOML has no null."""
    values = to_dict(config)
    arms = values.pop("arms")
    blocks = [_table("", values)]
    for arm in arms:
        lines = ["[[arms]]", *(f"{key} = {_value(value)}" for key, value in arm.items())]
        blocks.append("\n".join(lines))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(name: str, values: dict[str, Any]) -> str:
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"[{name}]"] if name and plain else []
    lines += [f"# {key} is not set" if value is None else f"{key} = {_value(value)}" for key, value in plain.items()]
    tables = [
        _table(f"{name}.{key}" if name else key, value) for key, value in values.items() if isinstance(value, dict)
    ]
    return "\n\n".join(["\n".join(lines), *tables]) if lines else "\n\n".join(tables)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)  # numbers, true/false and basic strings are written alike in JSON and TOML
