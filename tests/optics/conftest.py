"""Small programs that compile for seconds and run for milliseconds: leave the compiler's optimiser out."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def unoptimised():
    """Halves the time of this folder; what is computed stays the same to rounding."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.clear_caches()  # no other folder runs these programs, and they fill the memory
    jax.config.update("jax_disable_most_optimizations", before)
