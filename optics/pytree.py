"""One decorator that turns a frozen dataclass into a JAX pytree."""

import dataclasses
from typing import TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def static(**kwargs):
    """A dataclass field that is part of the tree's structure (a size or a kind), not of its data."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static))
def pytree(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and register it with JAX.

    Fields made with `static()` must be hashable; they select the compiled program. All other fields
    are leaves: differentiable, and free to change without a new compilation.

    >>> @pytree
    ... class Spot:
    ...     x_um: float
    ...     kind: str = static(default="round")
    >>> jax.tree.map(lambda leaf: 2 * leaf, Spot(1.5))
    Spot(x_um=3.0, kind='round')
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
    meta = [f.name for f in fields if f.metadata.get("static")]
    data = [f.name for f in fields if not f.metadata.get("static")]
    return jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=meta)


def replace(tree: T, **changes) -> T:
    """A copy of a pytree dataclass with some fields changed (`dataclasses.replace`)."""
    return dataclasses.replace(tree, **changes)  # pyright: ignore[reportArgumentType, reportReturnType]
