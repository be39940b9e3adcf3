"""A peer's own network on frames: `python network_torch.py NAME FRAMES.npy FOLDER`, FOLDER a checkout of its files.

NAME: deepstorm3d, autods3d, fd_deeploc, liteloc or decode. The layers are read from their own files, with what these
import but do not use here replaced by nothing and `cuda` by the processor. Weights are as drawn: none but
DeepSTORM3D's are published with the code, so what is timed is the layers and nothing is said of accuracy. The first and
the last frame are neighbours only, where a network looks at three.
"""

import sys
import types
from pathlib import Path

import numpy as np
import torch
from asked import memory_mb, serve

VOLUME = {"D": 121, "dilation_flag": True, "scaling_factor": 800.0}
FIELD = "Field Dependent PSF Learning/fd_deeploc_core/network.py"


class Nothing(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def without(*names):
    for name in names:
        sys.modules[name] = Nothing(name)


def source(path, **replaced):
    """The names that a file of source defines."""
    text = path.read_text()
    for old, new in replaced.values():
        text = text.replace(old, new)
    names = {"__name__": path.stem}
    exec(compile(text, str(path), "exec"), names)
    return names


def deepstorm3d(folder):
    sys.path.insert(1, str(folder))
    without("matplotlib", "matplotlib.pyplot")
    from DeepSTORM3D.cnn_utils import LocalizationCNN

    net = LocalizationCNN(VOLUME).eval()
    return net, lambda frames: net(frames[1:-1, None] / 250.0)


def autods3d(folder):
    without("matplotlib", "matplotlib.pyplot", "skimage", "sklearn", "sklearn.metrics", "sklearn.metrics.pairwise")
    net = source(folder / "DS3Dplus" / "ds3d_utils.py")["LON"](VOLUME["D"], 4, VOLUME["scaling_factor"]).eval()
    return net, lambda frames: net(frames[1:-1, None])


def fd_deeploc(folder):
    parts = source(folder / FIELD, cuda=(".cuda()", ""))
    first, second = (parts["UnetCoordConv"](n_inp=n, n_filters=48, n_stages=2) for n in (1, 144))
    heads = parts["OutnetCoordConv"](48, True, True)
    net = torch.nn.ModuleList([first, second, heads]).eval()
    size = torch.tensor([2048, 2048])

    def run(frames):
        field = torch.tensor([0, frames.shape[2] - 1, 0, frames.shape[1] - 1])
        alone = first(frames[:, None] / 100.0, field, size)
        together = torch.cat([alone[:-2], alone[1:-1], alone[2:]], 1)
        return heads(second(together, field, size), field, size)

    return net, run


def liteloc(folder):
    without("thop")
    net = source(folder / "network" / "liteloc.py")["LiteLoc"]().eval()
    return net, net


def decode(folder):
    for name in ("decode", "decode.neuralfitter", "decode.neuralfitter.models", "decode.neuralfitter.utils"):
        package = types.ModuleType(name)  # without what their packages import on the way
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    from decode.neuralfitter.models.model_speced_impl import SigmaMUNet

    net = SigmaMUNet(
        3, depth_shared=2, depth_union=2, initial_features=48, inter_features=48, activation=torch.nn.ELU(),
        norm=None, norm_head=None, pool_mode="StrideConv", upsample_mode="nearest", skip_gn_level=None,
    ).eval()  # fmt: skip
    for part in net.modules():  # its heads are padded by True, which PyTorch no longer takes for 1
        if isinstance(part, torch.nn.Conv2d):
            part.padding = tuple(int(side) for side in part.padding)
    return net, lambda frames: net(torch.stack([frames[:-2], frames[1:-1], frames[2:]], 1) / 100.0)


def main():
    name, path, folder = sys.argv[1:4]
    imported = memory_mb("VmRSS")
    net, run = globals()[name](Path(folder))
    frames = torch.from_numpy(np.load(path).astype(np.float32))

    def work():
        with torch.inference_mode():
            run(frames)

    ready = {
        "versions": {"torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "imported_mb": imported,
        "frames": len(frames) - 2,
        "parameters": sum(part.numel() for part in net.parameters()),
    }
    serve(ready, {"frames": work})


if __name__ == "__main__":
    main()
