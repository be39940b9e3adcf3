"""A network on all devices of this process: the same program with the same shapes on each, whatever their number."""

import hashlib
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from numpy.typing import NDArray

import nets
from training.sharding import AXIS, make_mesh


def fingerprint(*parts: Any) -> str:
    """Return a hash of settings and arrays, the same in every process.

    >>> fingerprint(1.5, {"a": np.zeros(2)}) == fingerprint(1.5, {"a": np.zeros(2)})
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        leaves, tree = jax.tree.flatten(part)
        digest.update(str(tree).encode())
        for leaf in leaves:
            if isinstance(leaf, jax.Array | np.ndarray):
                array = np.ascontiguousarray(leaf)
                digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
            else:
                digest.update(repr(leaf).encode())
    return digest.hexdigest()


class NetworkProgram:
    """Frames (group, H, W), or (group, H, W, 3) with their neighbours, to what the network says of them.

    `group` = `batch` times the number of devices. Each device runs one program of one shape on `batch` frames, so a
    frame's answer has the same bits on one device and on many, if it has the same place in a batch. `images` are at
    the network's scale already, which whole frames decide, not their pieces; `origin_px` is the place (column, row) of
    the first pixel in the camera's field, for a network that is told.
    """

    def __init__(self, net: nets.NetConfig, variables: nets.Variables, batch: int) -> None:
        devices = jax.local_devices()
        mesh = make_mesh(devices)
        self.group = batch * len(devices)
        self.fingerprint = fingerprint(repr(net), variables)
        self._frames = NamedSharding(mesh, PartitionSpec(AXIS))
        self._variables = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
        self._run = _program(net, mesh)

    def __call__(self, images: NDArray, origin_px: tuple[int, int] = (0, 0)) -> Any:
        return self._run(self._variables, jax.device_put(images, self._frames), np.asarray(origin_px, np.int32))


_PROGRAMS: dict[Any, Any] = {}


def _program(net: nets.NetConfig, mesh: Any) -> Any:
    """One compiled program for each network, shape and set of devices, however many readers there are."""
    key = (net, mesh)
    if key not in _PROGRAMS:

        def run(variables: Any, images: jax.Array, origin_px: jax.Array) -> Any:
            return net.finish(nets.apply(net, variables, net.arrange(images, origin_px), train=False)[0])

        split = partial(jax.shard_map, mesh=mesh, out_specs=PartitionSpec(AXIS), check_vma=False)
        _PROGRAMS[key] = jax.jit(split(run, in_specs=(PartitionSpec(), PartitionSpec(AXIS), PartitionSpec())))
    return _PROGRAMS[key]
