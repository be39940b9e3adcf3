"""Deep-STORM as a reader: the peaks of each frame's picture, which is painted in pieces where a frame is large."""

import jax
import numpy as np
from numpy.typing import NDArray

import nets
from experiments.reading.decoder import Decoder
from experiments.reading.frame_groups import FrameGroups
from experiments.reading.tiles import tiles as cut
from experiments.reading.tiles import window_side
from localization import Localizations
from nets.deepstorm2d import frame_multiple
from training import Parts
from training.decode import read_output
from training.losses import GAIN, HEAT

IMAGE_TILE_PX = 256


class ImageReader(FrameGroups):
    """A run whose decoder paints a picture without depth. `threshold`: the emitters that a peak must hold."""

    def __init__(
        self,
        parts: Parts,
        variables: nets.Variables,
        *,
        threshold: float = 0.5,
        gain_adu_per_photon: float = 1.0,
        offset_adu: float = 0.0,
        tile_px: int | None = None,
        description: str = "Deep-STORM decoder",
    ) -> None:
        field, self._step = nets.receptive_field_px(parts.net), frame_multiple(parts.net)
        self.description, self.pixel_um = description, parts.run.microscope.pixel_um
        self.min_frame_px = min(field, parts.run.scene.frame_px)
        self._parts, self._threshold = parts, threshold
        self._gain, self._offset = gain_adu_per_photon, offset_adu
        self._decoder = Decoder(parts.net, variables, batch=1)
        self.group = self._decoder.group
        self._halo = -(-(field // 2 + 1) // self._step) * self._step
        self._side = window_side(tile_px or IMAGE_TILE_PX, self._halo, self._step, asked=tile_px is not None)
        photometry = {"gain_adu_per_photon": gain_adu_per_photon, "offset_adu": offset_adu}
        self.identity = {
            "network": self._decoder.fingerprint, "threshold": threshold, "tile_px": self._side, **photometry
        }  # fmt: skip

    def _read_group(self, counts: NDArray, first_frame: int) -> Localizations:
        net, (n, height, width) = self._parts.net, counts.shape
        photons = (counts.astype(np.float32) - self._offset) / self._gain
        whole = [-(-side // self._step) * self._step for side in (height, width)]
        padded = np.zeros((self.group, *whole), np.float32)
        # brought to the network's scale before it is cut: each frame by itself
        padded[:n, :height, :width] = np.asarray(jax.device_get(nets.normalise_frames(net, jax.numpy.asarray(photons))))
        up, sides = net.upsampling, [min(self._side, side) for side in whole]
        picture = np.zeros((self.group, up * whole[0], up * whole[1]), np.float32)
        for rows in cut(whole[0], sides[0], self._halo):
            for columns in cut(whole[1], sides[1], self._halo):
                piece = np.asarray(self._decoder(padded[:, rows.window, columns.window]))
                here, there = [
                    [slice(up * part.start, up * part.stop) for part in pair]
                    for pair in ((rows.core, columns.core), (rows.core_in_window, columns.core_in_window))
                ]
                picture[:, here[0], here[1]] = piece[:, there[0], there[1]]
        density = np.maximum(picture[:n, : up * height, : up * width], 0) * (GAIN / HEAT)
        return read_output(self._parts, density, first_frame=first_frame, threshold=self._threshold)
