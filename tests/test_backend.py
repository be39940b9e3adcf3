"""A broken compiler caught before the physics is blamed: jit must compute what eager computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize(("n", "dtype"), [(16385, "float64"), (32769, "float32")])
def test_jit_of_a_vmapped_matrix_product_and_sum_equals_eager(n, dtype):
    """jax issue 39103: on the CPU, 0.10.2 drops rows of this sum (267911424 for 268435456), silently."""
    ramp = jnp.arange(n, dtype=dtype) / n
    rows = jnp.stack([ramp, jnp.zeros_like(ramp), jnp.zeros_like(ramp)], axis=1)
    turn = jnp.eye(3, dtype=dtype)

    def total(rows):
        return jnp.sum(jax.vmap(lambda row: (turn @ row) ** 2)(rows))

    truth = np.sum((np.arange(n, dtype=np.float64) / n) ** 2)
    assert total(rows) == pytest.approx(truth, rel=1e-5)
    assert jax.jit(total)(rows) == pytest.approx(truth, rel=1e-5)
