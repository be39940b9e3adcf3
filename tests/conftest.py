"""One setting for the whole suite: float64, two virtual CPU devices, and where the shared data are."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Small programs compile for seconds and run for milliseconds: leave most of the compiler's optimiser out, and build
# loops with the older of its two emitters, in one piece (tests/training/test_step.py: 63 to 23 processor seconds). What
# is computed stays the same to rounding. JAX_DISABLE_MOST_OPTIMIZATIONS=0 compiles as users do.
if os.environ["JAX_PLATFORMS"] == "cpu" and os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    given = os.environ.setdefault("READER_XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # a worker has its parent's
    os.environ["XLA_FLAGS"] = f"{given} {quick}"
# Many tests, and the commands that they start, compile the same programs: what one has compiled is kept until the suite
# ends (two files of repeats: 185 to 141 processor seconds; the whole suite was not compared). Each worker has a folder
# of its own: two writers of one entry would spoil it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] += "/" + os.environ["PYTEST_XDIST_WORKER"]
elif "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.mkdtemp(prefix="colocus-compiled-")
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

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


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Few files run another's programs, and a thousand of them fill a gigabyte."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True, scope="module")
def ranks(request):
    """`optics` and `nets` add no axis to an array in silence; a module may say `RANKS = "allow"` and why."""
    strict = request.path.relative_to(ROOT / "tests").parts[0] in ("optics", "nets")
    with jax.numpy_rank_promotion(getattr(request.module, "RANKS", "raise") if strict else "allow"):
        yield


@pytest.fixture
def optimised():
    """For a program that runs for longer than it compiles: the optimiser, unlike the suite's default."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def data_folder():
    """A function from a data set's name to its folder; skips the test where it is missing."""
    return shared_folder


@pytest.fixture
def reader_environment():
    """Variables of a process that compiles as a reader's does: without the flags above, and with nothing kept."""
    ours = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    flags = os.environ.get("READER_XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
