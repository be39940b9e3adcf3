"""The method autods as a reader: stretches of frames in, lists or pictures out."""

import dataclasses
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.autods.scaling import rescaling, spot_px
from experiments.reading.autods.windows import BATCH, BLEND_PX, PatchProgram, spread
from experiments.reading.program import fingerprint
from localization import Localizations, make_localizations
from localization.patches import PatchFeatures, cut_patches, patch_features
from localization.patches.levels import LEVELS
from nets import DeepStormConfig
from nets.deepstorm_quick import halo_px
from training import ConfigError
from training.shipped_decoders import load_shipped_decoder

BRIGHTEST = 11.0  # signal over noise that the networks saw (`scenes` in their records)


class AutoDsReader:
    """The shipped networks as what `localize` reads with; each patch of a stretch takes that of its level.

    The list of a frame is that of the peaks of its picture (`pictures`), so that both agree. `features` tells what was
    found in the patches of the stretch that was read last.
    """

    context = 0
    batch = 1

    def __init__(self, config: AutoDsConfig, threshold: float | None = None) -> None:
        if config.pixel_um is None:
            raise ConfigError("pixel_um is missing: give the camera's pixel in the sample, such as pixel_um=0.107")
        shipped = {level: load_shipped_decoder(f"deepstorm-{level}") for level in LEVELS}
        net = shipped[1].net
        assert isinstance(net, DeepStormConfig)
        self._networks = {level: decoder.variables for level, decoder in shipped.items()}
        self._fine, self._spike = net.upsampling, net.SPIKE
        self._config = config
        self._thresholds = {n: d.threshold if threshold is None else threshold for n, d in shipped.items()}
        self.pixel_um, self.group = config.pixel_um, config.stretch_frames
        own = shipped[1].sigma_px  # the mean over the depths that the networks saw
        spots = own
        if config.rescale == "auto" and config.sigma_um is not None:
            spots = config.sigma_um / config.pixel_um
        elif config.rescale == "auto" and config.wavelength_um is not None and config.na is not None:
            spots = spot_px(config.wavelength_um, config.na, config.pixel_um)
        self.scaling = rescaling(spots, own)
        least = halo_px(net.upsampling) + BLEND_PX + 2
        self.min_frame_px = round(least / self.scaling.rate) + 1
        done = "as they are" if self.scaling.off else f"rescaled ({self.scaling.rate:.3g}, {self.scaling.blur_px:.3g})"
        self.description = f"four Deep-STORM networks, patches of {config.patch_um:g} um, frames {done}"
        self.identity: dict[str, Any] = {
            "autods": dataclasses.asdict(config),
            "thresholds": [self._thresholds[level] for level in LEVELS],
            "networks": fingerprint(repr(net), self._networks),
            "batch": BATCH,
        }
        self.features: PatchFeatures | None = None
        self.choose_levels: Callable[[PatchFeatures], NDArray[np.int64]] = self._levels  # 0: not read
        self._tally: Counter[str] = Counter()

    def take_tally(self) -> Counter[str]:
        """Return how many patches of frames each level read, and how many were empty, since the last time."""
        tally, self._tally = self._tally, Counter()
        return tally

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        tables = []
        for k, (_, rows) in enumerate(self._each(counts)):
            tables.append(np.column_stack([np.full(len(rows), first_frame + k), rows]))
        frame, x, y, held = np.concatenate([*tables, np.zeros((0, 4))]).T
        um = self.pixel_um / self.scaling.rate / self._fine
        return make_localizations(frame.astype(np.int64), x * um, y * um, np.zeros(len(x)), score=held)

    def pictures(self, counts: NDArray) -> Iterator[NDArray[np.float32]]:
        """Paint counts (n, H, W), one stretch: densities (u H, u W) in emitters per fine pixel, frame by frame."""
        return (picture for picture, _ in self._each(counts))

    @property
    def fine_um(self) -> float:
        """The width of a picture's pixel."""
        return self.pixel_um / self.scaling.rate / self._fine

    def _levels(self, found: PatchFeatures) -> NDArray[np.int64]:
        level = self._config.level
        return found.level if level is None else np.full(found.level.shape, level)

    def _each(self, counts: NDArray) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64]]]:
        frames = self.scaling.frames(np.asarray(counts, np.float32))
        shape = (frames.shape[1], frames.shape[2])
        pixel_um = self.pixel_um / self.scaling.rate
        patches = cut_patches(shape, pixel_um, self._config.patch_um)
        found = patch_features(frames, patches, pixel_um, parity=self._config.parity)
        self.features = found
        level = self.choose_levels(found)
        limits = np.array([self._thresholds[1], *(self._thresholds[n] for n in LEVELS)])[level]  # level 0 is not read
        program = PatchProgram(patches, self._fine, self._spike)
        # molecules brighter than those the networks saw are split by them: noise brings them back
        dimmed = spread(np.sqrt(np.maximum((found.peak / BRIGHTEST) ** 2 - found.noise**2, 0.0)), patches)
        for frame, seen in zip(frames, found.seen & (level > 0), strict=True):
            if dimmed.any():
                rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(frame).tobytes()))
                frame = frame + dimmed * rng.standard_normal(frame.shape, np.float32)
            picture = program.picture(frame, self._networks, level, seen)
            self._tally["patches with nothing to read"] += int(np.logical_not(seen).sum())
            for number in LEVELS:
                self._tally[f"patches read by level {number}"] += int((seen & (level == number)).sum())
            yield picture, program.peaks(picture, seen, limits)
