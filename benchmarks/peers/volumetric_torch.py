"""The localization network of DeepSTORM3D in PyTorch, timed on demand: one line of input, one JSON line out.

Our own code, written from the published layout. Started by `volumetric_inference.py` with an interpreter that
has PyTorch: `python volumetric_torch.py WEIGHTS.npz FRAMES.npy OUTPUT.npy`.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn

DILATIONS = (1, 1, 2, 4, 8, 16)


class Block(nn.Module):
    def __init__(self, c_in, c_out, dilation=1):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=dilation, dilation=dilation)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x):
        return self.bn(nn.functional.leaky_relu(self.conv(x), 0.2))


class LocalizationNet(nn.Module):
    def __init__(self, depth, channels=64):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.layer1 = Block(1, channels)
        for i, dilation in enumerate(DILATIONS[1:], start=2):
            setattr(self, f"layer{i}", Block(channels + 1, channels, dilation))
        self.deconv1 = Block(channels + 1, channels)
        self.deconv2 = Block(channels, channels)
        self.layer7 = Block(channels, depth)
        self.layer8 = Block(depth, depth)
        self.layer9 = Block(depth, depth)
        self.layer10 = nn.Conv2d(depth, depth, 1)

    def forward(self, x):
        image = self.norm(x)
        out = self.layer1(image)
        for i in range(2, 7):
            out = out + getattr(self, f"layer{i}")(torch.cat([out, image], 1))
        out = nn.functional.interpolate(torch.cat([out, image], 1), scale_factor=2)
        out = nn.functional.interpolate(self.deconv1(out), scale_factor=2)
        out = self.layer7(self.deconv2(out))
        out = out + self.layer8(out)
        out = out + self.layer9(out)
        return self.layer10(out).clamp(0, 800)


def main():
    weights_path, frames_path, output_path = sys.argv[1:]
    with np.load(weights_path) as archive:
        state = {name: torch.from_numpy(np.array(archive[name])) for name in archive.files}
    frames = torch.from_numpy(np.load(frames_path))[:, None]  # (B, 1, H, W)
    nets = {}
    for name, layout in (("nchw", torch.contiguous_format), ("channels_last", torch.channels_last)):
        net = LocalizationNet(state["layer10.bias"].numel())
        net.load_state_dict(state)
        nets[name] = (net.eval().to(memory_format=layout), frames.contiguous(memory_format=layout))
    with torch.inference_mode():
        np.save(output_path, nets["nchw"][0](nets["nchw"][1]).permute(0, 2, 3, 1).numpy())
        ready = {
            "versions": {"torch": torch.__version__},
            "threads": torch.get_num_threads(),
            "names": list(nets),
        }
        print(json.dumps(ready), flush=True)
        for line in sys.stdin:
            net, batch = nets[line.strip()]
            start = time.perf_counter()
            net(batch)
            print(json.dumps(time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
