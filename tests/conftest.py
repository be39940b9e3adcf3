"""One setting for the whole suite: float64, two virtual CPU devices, and where the shared data are."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)

ROOT = Path(__file__).resolve().parents[1]


def shared_folder(name: str) -> Path:
    """A folder of the shared data, or a skip that says where it was looked for."""
    data = Path(os.environ.get("COLOCUS_DATA", ROOT.parent / "shared" / "data"))
    folder = data.parent / "reference" if name == "reference" else data / name
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set COLOCUS_DATA")
    return folder


@pytest.fixture
def data_folder():
    """A function from a data set's name to its folder; skips the test where it is missing."""
    return shared_folder
