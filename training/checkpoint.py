"""Checkpoints on disk: the only user of Orbax."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

T = TypeVar("T")

logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax narrates every save there, and errors it raises


class CheckpointError(ValueError):
    """A run folder without a usable checkpoint; the message names the folder and the remedy."""


def _folder(run_folder: Path) -> Path:
    return (run_folder / "checkpoints").resolve()


class Checkpoints:
    """Saves and restores a state below `run_folder/checkpoints`; keeps the newest two.

    A save is complete or absent: Orbax writes beside and renames.
    """

    def __init__(self, run_folder: Path):
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(_folder(run_folder), options=options)

    def save(self, step: int, state: Any) -> None:
        self._manager.save(step, args=ocp.args.StandardSave(_arrays(state)))

    def close(self) -> None:
        self._manager.close()


def latest_step(run_folder: Path) -> int | None:
    """Step of the newest whole checkpoint of a run, or None."""
    folder = _folder(run_folder)
    steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()] if folder.is_dir() else []
    return max(steps, default=None)


def restore(run_folder: Path, like: T, step: int | None = None) -> T:
    """Read a state shaped `like` from a run folder, its newest checkpoint unless `step` is given.

    Raises `CheckpointError` where there is none, or where it belongs to another configuration.
    """
    step = latest_step(run_folder) if step is None else step
    if step is None:
        raise CheckpointError(f"{run_folder}: no checkpoint there; train first, or name the run's own folder")
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(like))
    with ocp.CheckpointManager(_folder(run_folder), item_handlers=ocp.StandardCheckpointHandler()) as manager:
        try:
            stored = manager.item_metadata(step)
            _refuse_other(run_folder, step, abstract, getattr(stored, "tree", stored) or {})
            leaves = manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except CheckpointError:
            raise
        except (ValueError, KeyError, TypeError, FileNotFoundError, json.JSONDecodeError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise CheckpointError(
                f"{run_folder}: checkpoint {step} is damaged or of another configuration ({reason})"
            ) from error
    restored = jax.tree.leaves(leaves)
    return jax.tree.unflatten(jax.tree.structure(like), restored)


def _refuse_other(run_folder: Path, step: int, wanted: dict[str, Any], stored: Mapping[str, Any]) -> None:
    """Compare shapes before reading: Orbax, given wrong ones, fails with its readers still under way."""
    for name in stored.keys() & wanted.keys():
        held, belongs = tuple(stored[name].shape), wanted[name].shape
        if held != belongs:
            raise CheckpointError(
                f"{run_folder}: checkpoint {step} is of another configuration (shape {held} where {belongs} "
                "belongs); restore the run's own config.json"
            )


def _arrays(state: Any) -> dict[str, Any]:
    """Leaves by their path: a flat mapping that outlives a change of container classes."""
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    return {f"{i:04d}{jax.tree_util.keystr(path)}": leaf for i, (path, leaf) in enumerate(paths)}
