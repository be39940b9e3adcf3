"""Time one Adam step of the list decoder, ours and the same network in PyTorch in turn.

    python benchmarks/list_train_step.py --torch-python PATH

Batch 8 of 64 x 64 pixels; forward, gradient of a sum of squares over all maps, Adam. PATH is an interpreter
that has PyTorch; without it only ours is timed.
"""

import argparse
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nets
from measure.peer import Peer, in_turn, stopwatch
from measure.record import Rows, write_result
from nets import ListNetConfig

PLACE = 110  # of its rows in benchmarks/README.md

HALF = ListNetConfig()
VARIANTS = {
    "half_resolution_64": HALF,
    "half_resolution_96": dataclasses.replace(HALF, channels=96),
    "full_resolution_64": dataclasses.replace(HALF, half_resolution=False),
    "full_resolution_48": dataclasses.replace(HALF, half_resolution=False, channels=48),
}


def our_clocks(config: ListNetConfig, x: jax.Array) -> dict:
    """Clocks of a forward pass and of a whole step."""
    params = nets.init(jax.random.key(0), config, x)["params"]
    adam = optax.adam(1e-3)

    def loss(params, x):
        maps, _ = nets.apply(config, {"params": params}, x, train=True)
        return sum((leaf**2).mean() for leaf in jax.tree.leaves(maps))

    def step(params, state, x):
        value, gradient = jax.value_and_grad(loss)(params, x)
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    state = adam.init(params)
    forward = jax.jit(loss).lower(params, x).compile()
    whole = jax.jit(step).lower(params, state, x).compile()
    return {
        "forward": stopwatch(lambda: jax.block_until_ready(forward(params, x))),
        "step": stopwatch(lambda: jax.block_until_ready(whole(params, state, x))),
    }


def rows(numbers: dict) -> Rows:
    for name, value in numbers.items():
        if isinstance(value, dict) and "times_faster_than_torch_nchw" in value:
            yield (
                f"training step of the list decoder, batch 8, {name} ({1e3 * value['times']['step']['median_s']:.0f} "
                "ms), against PyTorch (its default layout; channels last)",
                ">= 1x",
                f"{value['times_faster_than_torch_nchw']:.2f}x; {value['times_faster_than_torch_channels_last']:.2f}x",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    x = jnp.asarray(np.random.default_rng(0).poisson(60.0, (options.batch, 64, 64, 1)), jnp.float32)
    if not options.torch_python:
        print("no --torch-python: PyTorch is not timed")
    numbers: dict = {"batch": options.batch, "frame_px": [64, 64], "repeats": options.repeats}
    versions = {}
    for name, config in VARIANTS.items():
        clocks = our_clocks(config, x)
        torch = None
        if options.torch_python:
            described = json.dumps({**dataclasses.asdict(config), "batch": options.batch})
            torch = Peer(options.torch_python, "list_net_torch.py", described)
            versions = torch.ready["versions"]
            for layout in torch.ready["names"]:
                clocks[f"torch_{layout}"] = lambda layout=layout, torch=torch: torch.seconds(layout)
        times = in_turn(clocks, options.repeats)
        found = {"times": times, "receptive_field_px": nets.receptive_field_px(config)}
        found["parameters"] = nets.count_parameters(nets.init(jax.random.key(0), config, x))
        if torch is not None:
            torch.close()
            if torch.ready["parameters"] != found["parameters"]:
                raise SystemExit(f"{name}: the peer has {torch.ready['parameters']} parameters, not ours")
            for layout in torch.ready["names"]:
                ratio = times[f"torch_{layout}"]["median_s"] / times["step"]["median_s"]
                found[f"times_faster_than_torch_{layout}"] = ratio
        numbers[name] = found
        print(name, json.dumps(found, indent=1))
    print(write_result("list_train_step", numbers, versions=versions))


if __name__ == "__main__":
    main()
