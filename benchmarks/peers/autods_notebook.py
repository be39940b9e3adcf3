"""AutoDS's published loop over tiles, in PyTorch on the processor: one line of input, one JSON line out.

Started by `autods_speed.py`: `python autods_notebook.py FRAMES.npy TILES`. Written from a description of its notebook:
8 x 8 tiles a frame, a mirrored halo of 4 pixels, each tile scaled by itself, density and ratio from peaks above
mean + 3 std tile by tile, batches of 4 tiles of one level, halos cropped, maps added into a canvas, peaks by 3 x 3
maximum. Weights are random: they do not change the time. `full` is the published width, `quarter` that of ours.
TILES of the 64 are read and the time is scaled up to all.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HALO, SIDE, UP, BATCH = 4, 8, 8, 4


class Network(nn.Module):
    """Six convolutions 3 x 3, three enlargements with 5 x 5, one 1 x 1; batch norm and ReLU after each but the last."""

    def __init__(self, width):
        super().__init__()
        layers, before = [], 1
        for count in (32, 64, 128, 256, 128, 64):
            layers.append(self.block(before, round(width * count), 3))
            before = round(width * count)
        self.trunk = nn.Sequential(*layers)
        fine = round(width * 32)
        self.fine = nn.ModuleList(self.block(before if k == 0 else fine, fine, 5) for k in range(3))
        self.last = nn.Conv2d(fine, 1, 1, bias=False)

    @staticmethod
    def block(before, after, size):
        return nn.Sequential(nn.Conv2d(before, after, size, padding=size // 2), nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, x):
        x = self.trunk(x)
        for block in self.fine:
            x = block(F.interpolate(x, scale_factor=2, mode="bilinear"))
        return self.last(x)


def peaks_above(tile):
    """Peaks above mean + 3 std: density a pixel, and their height over the mean of the rest."""
    level = tile.mean() + 3 * tile.std()
    image = torch.from_numpy(tile)[None, None]
    top = (F.max_pool2d(image, 3, 1, 1) == image)[0, 0].numpy() & (tile > level)
    near = F.max_pool2d(torch.from_numpy(top.astype(np.float32))[None, None], 5, 1, 2)[0, 0].numpy() > 0
    ratio = tile[top].mean() / max(tile[~near].mean(), 1e-6) if top.any() and (~near).any() else 0.0
    return top.sum() / tile.size, ratio


def read(networks, frames, share):
    """Read frames as the notebook does; returns the canvas and the list."""
    n, height, width = frames.shape
    rows, columns = height // SIDE, width // SIDE
    canvas = np.zeros((UP * rows * SIDE, UP * columns * SIDE), np.float32)
    groups = {k: [] for k in range(4)}
    for t in range(n):
        frame = np.pad(frames[t] - frames[t].min(), HALO, mode="reflect")
        for k in range(0, SIDE * SIDE, share):
            i, j = divmod(k, SIDE)
            tile = frame[i * rows : (i + 1) * rows + 2 * HALO, j * columns : (j + 1) * columns + 2 * HALO]
            density, ratio = peaks_above(tile)
            d = np.clip(np.rint(2 * density / 0.107**2), 0, 3)
            q = 3 - np.clip(np.floor(ratio / 6) - 2, 0, 3)
            groups[int(np.rint((d + q) / 2))].append((t, i, j, (tile - tile.mean()) / max(tile.std(), 1e-6)))
    found = []
    for level, tiles in groups.items():
        for first in range(0, len(tiles), BATCH):
            batch = tiles[first : first + BATCH]
            x = torch.from_numpy(np.stack([tile for *_, tile in batch]).astype(np.float32))[:, None]
            y = torch.relu(networks[level](x))
            top = (F.max_pool2d(y, 3, 1, 1) == y) & (y > 10)
            for (t, i, j, _), density, mark in zip(batch, y[:, 0].numpy(), top[:, 0].numpy(), strict=False):
                core = slice(UP * HALO, -UP * HALO)
                canvas[UP * rows * i : UP * rows * (i + 1), UP * columns * j : UP * columns * (j + 1)] += (
                    density[core, core] / n
                )
                for y_px, x_px in zip(*np.nonzero(mark[core, core]), strict=False):
                    found.append((t, x_px, y_px))
    return canvas, found


def main():
    frames, tiles = np.load(sys.argv[1]).astype(np.float32), int(sys.argv[2])
    share = SIDE * SIDE // tiles
    widths = {"full": 1.0, "quarter": 0.25}
    networks = {name: [Network(width).eval() for _ in range(4)] for name, width in widths.items()}
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        with torch.inference_mode():
            read(networks[line.strip()], frames, share)
        print(json.dumps((time.perf_counter() - start) * share), flush=True)


if __name__ == "__main__":
    main()
