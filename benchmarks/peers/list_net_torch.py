"""Our list decoder in PyTorch, one Adam step timed on demand: one line of input, one JSON line out.

Started by `list_train_step.py`: `python list_net_torch.py CONFIG_AS_JSON`.
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


def conv(c_in, c_out, size=3, dilation=1):
    return nn.Conv2d(c_in, c_out, size, padding=dilation * (size // 2), dilation=dilation)


def leaky(x):
    return F.leaky_relu(x, 0.2)


class ListNet(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        half, channels, head = c["half_resolution"], c["channels"], c["head_channels"]
        self.stem = conv(4 if half else 1, channels)
        self.trunk = nn.ModuleList(conv(channels, channels, dilation=d) for d in c["dilations"])
        if half:
            self.unfold = conv(channels, 4 * head, size=1)
            self.skip = conv(1, head)
        self.head = conv(head if half else channels, head)
        self.out = conv(head, 10, size=1)

    def forward(self, x):
        c = self.c
        x = (x - c["input_offset"]) / c["input_scale"]
        y = self.stem(F.pixel_unshuffle(x, 2) if c["half_resolution"] else x)
        for layer in self.trunk:
            y = y + layer(leaky(y))
        if c["half_resolution"]:
            y = F.pixel_shuffle(self.unfold(leaky(y)), 2) + self.skip(x)
        raw = self.out(leaky(self.head(leaky(y))))
        z_half = 0.5 * (c["z_max_um"] - c["z_min_um"])
        scale = raw.new_tensor([c["pixel_um"], c["pixel_um"], z_half, c["photons_max"]])[:, None, None]
        return (
            raw[:, 0],
            c["offset_max_px"] * c["pixel_um"] * torch.tanh(raw[:, 1:3]),
            c["z_min_um"] + z_half * (1 + 1.2 * torch.tanh(raw[:, 3])),
            c["photons_max"] * torch.sigmoid(raw[:, 4]),
            scale * (2e-3 + c["sigma_max"] * torch.sigmoid(raw[:, 5:9])),
            c["background_max"] * torch.sigmoid(raw[:, 9]),
        )


def main():
    config = json.loads(sys.argv[1])
    frames = torch.poisson(torch.full((config["batch"], 1, 64, 64), 60.0))
    steps = {}
    for name, layout in (("nchw", torch.contiguous_format), ("channels_last", torch.channels_last)):
        net = ListNet(config).to(memory_format=layout)
        adam = torch.optim.Adam(net.parameters(), 1e-3)
        steps[name] = (net, adam, frames.contiguous(memory_format=layout))
    parameters = sum(p.numel() for p in net.parameters())
    ready = {"versions": {"torch": torch.__version__}, "names": list(steps), "parameters": parameters}
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        net, adam, x = steps[line.strip()]
        start = time.perf_counter()
        adam.zero_grad()
        loss = sum((m**2).mean() for m in net(x))
        loss.backward()
        adam.step()
        loss.item()
        print(json.dumps(time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
