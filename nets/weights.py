"""Published DeepSTORM3D weights into our variables."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from nets.api import Variables, init
from nets.errors import NetsError
from nets.torch_file import read_torch
from nets.volumetric import LocalizationNetConfig

LARGE_PSF = (1, 1, 2, 4, 8, 16)  # what the published code calls dilation_flag True
COMPACT_PSF = (1, 1, 2, 4, 1, 1)  # dilation_flag False
WEIGHT_SUFFIXES = (".npz", ".pkl", ".pt", ".pth")


def load_deepstorm3d(
    path: str | os.PathLike, *, dilations: tuple[int, ...] = LARGE_PSF, scaling: float = 800.0
) -> tuple[LocalizationNetConfig, Variables]:
    """Read the weights of a published localization network.

    `path` is the state dict as PyTorch saved it (.pkl, .pt, .pth; read by `nets.torch_file`, which executes
    nothing), or a .npz of its arrays under the upstream names. `dilations` and `scaling` are not in the file:
    (1, 1, 2, 4, 8, 16) for the Tetrapod networks, (1, 1, 2, 4, 1, 1) for the compact learned mask's. Returns
    (config, variables) for `nets.apply`; the depth is that of the file. Raises `NetsError`.

    >>> load_deepstorm3d("absent.npz")
    Traceback (most recent call last):
    nets.errors.NetsError: absent.npz: no such file; give the path of a .npz of DeepSTORM3D weights
    """
    path = Path(path)
    if path.suffix.lower() not in WEIGHT_SUFFIXES:
        raise NetsError(f"{path}: weights end in {', '.join(WEIGHT_SUFFIXES)}; name such a file")
    state = _read_npz(path) if path.suffix.lower() == ".npz" else read_torch(path)
    if "layer10.bias" not in state:
        raise NetsError(
            f"{path}: no array 'layer10.bias'; give a localization network's state dict with upstream names"
        )
    config = LocalizationNetConfig(depth=int(state["layer10.bias"].size), dilations=dilations, scaling=scaling)
    return config, variables_from_state_dict(config, state, source=str(path))


def variables_from_state_dict(
    config: LocalizationNetConfig, state: Mapping[str, np.ndarray], *, source: str = "state dict"
) -> Variables:
    """Rename and transpose a PyTorch state dict (OIHW kernels) into variables (HWIO).

    Every array that the network needs must be there with its shape, and nothing else but the batch counters
    of PyTorch. `source` begins the error messages. Raises `NetsError`.
    """
    used = {name for name in state if name.endswith("num_batches_tracked")}
    variables: Variables = {}
    for path, shape in _layout(config):
        name = _upstream_name(path)
        if name not in state:
            raise NetsError(f"{source}: no array '{name}'; the network of depth {config.depth} needs it")
        value = np.asarray(state[name], np.float32)
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        if value.shape != shape:
            raise NetsError(
                f"{source}: '{name}' has shape {value.shape} (HWIO), not {shape}; check depth, dilations and upsampling"
            )
        if not np.isfinite(value).all():
            raise NetsError(f"{source}: '{name}' holds NaN or Inf; get the file again")
        node = variables
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = jnp.asarray(value)
        used.add(name)
    if extra := sorted(set(state) - used):
        raise NetsError(f"{source}: array '{extra[0]}' belongs to no layer; is it another network's file?")
    return variables


def _layout(config: LocalizationNetConfig) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Path and shape of every variable, without computing any."""
    frames = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
    tree = jax.eval_shape(lambda key: init(key, config, frames), jax.random.key(0))
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(tuple(entry.key for entry in path), leaf.shape) for path, leaf in leaves]


def _upstream_name(path: tuple[str, ...]) -> str:
    """('params', 'layer2', 'norm', 'scale') -> 'layer2.bn.weight'."""
    leaf = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    layer, *inner = path[1:-1]
    # the input's norm is a layer of its own upstream, and the last convolution stands alone
    group = [] if layer == "norm" else [{"norm": "bn"}.get(name, name) for name in inner]
    return ".".join([layer, *group, leaf.get(path[-1], path[-1])])


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise NetsError(f"{path}: no such file; give the path of a .npz of DeepSTORM3D weights")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise NetsError(f"{path}: not a .npz of arrays; convert the state dict with numpy.savez") from error
