"""Colocus's networks on frames, in a process of its own: `python network_colocus.py NAME FRAMES.npy`.

NAME is `list`, the list decoder of the command line's default, or `list3`, the same with the frame before and after.
The first and the last frame are neighbours only.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import jax
import jax.numpy as jnp
import numpy as np
from asked import memory_mb, serve

import nets


def main():
    name, path = sys.argv[1:3]
    imported = memory_mb("VmRSS")
    frames = jnp.asarray(np.load(path), jnp.float32)
    config = nets.ListNetConfig(frames=3 if name == "list3" else 1)
    x = nets.with_neighbours(config, frames) if name == "list3" else frames[1:-1]
    x = nets.network_input(config, x)
    variables = nets.init(jax.random.key(0), config, x)
    run = jax.jit(lambda v, x: nets.apply(config, v, x, train=False)[0]).lower(variables, x).compile()
    ready = {
        "versions": {"jax of Colocus": jax.__version__},
        "imported_mb": imported,
        "frames": x.shape[0],
        "parameters": nets.count_parameters(variables),
    }
    serve(ready, {"frames": lambda: jax.block_until_ready(run(variables, x))})


if __name__ == "__main__":
    main()
