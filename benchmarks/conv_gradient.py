"""Time the weight gradient of a 3 x 3 convolution on the CPU: ours, XLA's, and a scan of im2col rows.

python benchmarks/conv_gradient.py
"""

import argparse
import json

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from measure.peer import in_turn, stopwatch
from measure.record import Rows, write_result
from nets.conv import kernel_gradient_strips, kernel_gradient_xla

PLACE = 115  # of its rows in benchmarks/README.md

# batch, side in pixels, channels in, channels out, dilation
SHAPES = [
    (8, 64, 64, 64, 1),
    (8, 64, 64, 64, 8),
    (8, 64, 48, 48, 1),
    (8, 32, 64, 64, 4),
    (8, 32, 96, 96, 4),
    (4, 121, 64, 64, 1),
    (1, 484, 64, 41, 1),
    (1, 484, 48, 48, 1),
]


def im2col_rows(x, g, size, dilation):
    """The earlier way: one (W x 9C) by (W x O) product for each row of each image."""
    batch, height, width, c_in = x.shape
    c_out = g.shape[-1]
    reach = dilation * (size // 2)
    x = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))

    def row(total, index):
        image, r = index // height, index % height
        taps = [(r + dilation * a, dilation * b) for a in range(size) for b in range(size)]
        cut = [lax.dynamic_slice(x, (image, *at, 0), (1, 1, width, c_in))[0, 0] for at in taps]
        g_row = lax.dynamic_slice(g, (image, r, 0, 0), (1, 1, width, c_out))[0, 0]
        return total + jnp.concatenate(cut, axis=1).T @ g_row, None

    zero = jnp.zeros((size * size * c_in, c_out), x.dtype)
    return lax.scan(row, zero, jnp.arange(batch * height))[0].reshape(size, size, c_in, c_out)


def rows(numbers: dict) -> Rows:
    faster = [shape["ours_gflop_per_s"] / shape["xla_gflop_per_s"] for shape in numbers.values()]
    yield (
        f"weight gradient of a 3 x 3 convolution, {len(faster)} shapes, against XLA's own: least and most",
        "reported",
        f"{min(faster):.2f}x; {max(faster):.1f}x",
    )
    worst = max(shape["relative_difference"] for shape in numbers.values())
    yield "its difference from XLA's, of the largest value", "reported", f"{worst:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    ways = {"ours": kernel_gradient_strips, "xla": kernel_gradient_xla, "im2col_rows": im2col_rows}
    numbers = {}
    rng = np.random.default_rng(0)
    for batch, side, c_in, c_out, dilation in SHAPES:
        x = jnp.asarray(rng.normal(size=(batch, side, side, c_in)), jnp.float32)
        g = jnp.asarray(rng.normal(size=(batch, side, side, c_out)), jnp.float32)
        clocks, answers = {}, {}
        for name, way in ways.items():
            run = jax.jit(lambda x, g, way=way, d=dilation: way(x, g, 3, d)).lower(x, g).compile()
            answers[name] = run(x, g)
            clocks[name] = stopwatch(lambda run=run, x=x, g=g: run(x, g).block_until_ready())
        times = in_turn(clocks, options.repeats)
        work = 2 * 9 * batch * side**2 * c_in * c_out
        scale = float(jnp.abs(answers["xla"]).max())
        label = f"{batch} x {side} x {side}, {c_in} -> {c_out}, dilation {dilation}"
        numbers[label] = {f"{name}_gflop_per_s": work / t["median_s"] / 1e9 for name, t in times.items()}
        numbers[label]["relative_difference"] = float(jnp.abs(answers["ours"] - answers["xla"]).max()) / scale
        print(label, json.dumps(numbers[label]), flush=True)
    print(write_result("conv_gradient", numbers))


if __name__ == "__main__":
    main()
