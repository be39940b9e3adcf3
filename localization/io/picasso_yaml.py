"""The .yaml that Picasso puts beside its movies and tables."""

from pathlib import Path
from typing import Any

import yaml

from localization.types import LocalizationError, one_line


def load_yaml(path: Path) -> list[dict[str, Any]]:
    """Read the documents of a YAML file; tags of Python objects, which Picasso may write, are taken as plain values."""
    try:
        with open(path, encoding="utf-8") as file:
            documents = list(yaml.load_all(file, Loader=_PlainLoader))
    except (OSError, yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise LocalizationError(f"{path}: cannot be read as YAML ({one_line(error)}); copy it again") from error
    return [document for document in documents if isinstance(document, dict)]


class _PlainLoader(yaml.SafeLoader):
    """Never builds an object that a file asks for."""


def _plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    del suffix
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)
