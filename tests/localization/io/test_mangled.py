"""Readers on damaged files: an answer or a LocalizationError of one line, never anything else."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made.mangled import make_files, try_one

KINDS = ("thunderstorm", "picasso", "challenge", "decode", "decode-csv", "deepstorm3d", "colocus",
         "smap", "smap-7.3", "storm-analysis", "comet", "h5r", "nstorm", "nstorm-5", "vutara", "oni", "gsdim",
         "abbelight", "elyra",
         "tiff", "bigtiff", "deflate", "lzw", "ome", "imagej", "npy", "raw")  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One small file of every kind."""
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.mark.filterwarnings("default")  # libraries may warn of what they find in a damaged file
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_damage_is_refused_or_read(kind, files, seed):
    """Bytes changed, put in, cut out or cut off: the reader answers, or refuses in one line, within seconds."""
    before = time.process_time()  # of the processor: a wall clock would judge the machine's other work
    assert try_one(files[kind], seed) in ("read", "refused")
    assert time.process_time() - before < 5
