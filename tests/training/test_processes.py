"""Training over several processes, as on several machines: JAX's own, nothing of ours but the mesh."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 1)
address, n, k = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if n > 1:
    jax.distributed.initialize(address, n, k)
from made.tiny import tiny_run
from training import build, init_state, make_train_step
from training.sharding import make_mesh

parts = build(tiny_run())
mesh = make_mesh()
assert (mesh.size, jax.process_count(), len(jax.local_devices())) == (n, n, 1)
# the same numbers in every process: JAX takes them as one array that lies on all devices
state, step, told = jax.tree.map(np.asarray, init_state(parts)), make_train_step(parts, mesh), []
for _ in range(3):
    state, metrics = step(state)
    told.append({name: float(value) for name, value in metrics.items()})
print("METRICS", json.dumps(told))
"""


def train(n):
    """The metrics of three steps, as each of n processes with a device of its own tells them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "JAX_PLATFORMS": "cpu"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address, str(n), str(k)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for k in range(n)
    ]  # fmt: skip
    told = []
    for process in running:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error[-2000:]
        told.append(json.loads(next(line for line in out.splitlines() if line.startswith("METRICS")).split(" ", 1)[1]))
    return told


@pytest.mark.slow
def test_two_processes_train_like_one():
    """Every metric of three steps, to the rounding of a sum in another order.

    To 1e-6: gradients in single precision are averaged over two devices, and the optimiser divides by their size.
    """
    (alone,), both = train(1), train(2)
    assert both[0] == both[1]
    for one, two in zip(alone, both[0], strict=True):
        assert one.keys() == two.keys() and "loss" in one
        np.testing.assert_allclose([two[name] for name in one], list(one.values()), rtol=1e-6, atol=1e-7)
