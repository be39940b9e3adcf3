"""A decoder's list, each emitter fitted once more to the pixels, with its neighbours taken off."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from experiments.reading.classical import camera_part, keep, refit, significance
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.fits import EmitterFitter, EmitterList, unfitted
from experiments.reading.program import fingerprint
from experiments.reading.readers import Reader
from experiments.reading.spots import SpotTable
from localization import Localizations, concatenate, make_localizations, select
from optics import Camera, cut_stamps
from optics.camera import adu_to_photons

_FURTHEST_PX = 2.5  # a fit that goes further found another emitter, or nothing


class PolishReader:
    """Fits behind another reader. Where a fit does not hold, the decoder's row stays; the tally says how often."""

    def __init__(self, reader: Reader, spots: SpotTable, camera: Camera, config: ClassicalConfig) -> None:
        self.description = f"{reader.description}, then fits"
        self.pixel_um, self.group, self.context = reader.pixel_um, reader.group, reader.context
        self.batch = reader.batch
        self.min_frame_px = reader.min_frame_px
        self._reader, self._spots, self._camera, self._config = reader, spots, camera, config
        self._tally: Counter[str] = Counter()
        fits = {"spots": fingerprint(spots.table), "camera": fingerprint(camera), "reading": config.identity()}
        self.identity = {**reader.identity, "polish": fits}

    def take_tally(self) -> Counter[str]:
        """Return how many rows are fitted and how many are the decoder's."""
        taken, self._tally = self._tally + self._reader.take_tally(), Counter()
        return taken

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (before + n + after, H, W), the n in the middle; frame numbers begin at `first_frame`."""
        locs = self._reader.read(counts, first_frame, before, after, origin_px)
        counts = counts[before : len(counts) - after]
        # a batch of frames at a time: how many fits run together does not depend on the number of devices
        begins = range(0, len(counts), self.batch)
        return concatenate([self._fit(counts[k : k + self.batch], locs, first_frame + k, origin_px) for k in begins])

    def _fit(self, counts: NDArray, locs: Localizations, first_frame: int, origin_px: tuple[int, int]) -> Localizations:
        """Fit those rows again that lie in counts (n, H, W), the first of which is `first_frame`."""
        locs = select(locs, (locs.frame >= first_frame) & (locs.frame < first_frame + len(counts)))
        if not locs.frame.size:
            return locs
        camera = camera_part(self._camera, origin_px, counts.shape[1:])
        fitter = EmitterFitter(self._spots, camera, self._config.saturation_adu)
        start = self._start(locs, first_frame, counts, fitter)
        fitted = start
        for sweep in range(max(1, self._config.sweeps)):
            fitted = refit(counts, fitted, fitter, only_crowded=sweep > 0)
        kept = keep(fitted, fitter, counts.shape, self._config)[0]
        kept &= significance(fitted) > self._config.threshold_sigma
        moved = np.linalg.norm(fitted.theta[:, :2] - start.theta[:, :2], axis=1)
        kept &= moved < _FURTHEST_PX * self._spots.pixel_um
        self._tally += Counter({"rows fitted again": int(kept.sum()), "rows left to the decoder": int((~kept).sum())})
        return self._table(locs, fitted, kept)

    def _start(self, locs: Localizations, first_frame: int, counts: NDArray, fitter: EmitterFitter) -> EmitterList:
        """The decoder's list in the order of its rows; light that it does not tell comes from the pixels around."""
        height, width = counts.shape[1:]
        size = np.array([width, height]) * self._spots.pixel_um
        xy = np.clip(np.stack([locs.x_um, locs.y_um], axis=1), 0, np.nextafter(size, 0))
        frame = locs.frame - first_frame
        light = np.asarray(adu_to_photons(fitter.camera, counts), np.float64)
        level = np.median(light, axis=(1, 2))
        background = np.where(np.isfinite(locs.background), locs.background, level[frame])
        photons = locs.photons
        if not np.isfinite(photons).all():
            column, row = (xy / self._spots.pixel_um).astype(int).T
            around = cut_stamps(light, frame, row, column, self._spots.image_px, edge="mask")
            sums = np.sum((around.images - level[frame, None, None]) * around.valid, axis=(1, 2))
            photons = np.where(np.isfinite(photons), photons, np.maximum(sums, 100.0))
        z = locs.z_um if self._spots.deep else np.zeros(len(frame))
        return unfitted(frame, np.column_stack([xy, z, np.maximum(photons, 10.0), np.maximum(background, 0.1)]))

    def _table(self, locs: Localizations, fitted: EmitterList, kept: NDArray) -> Localizations:
        def either(fit: NDArray, own: NDArray) -> NDArray:
            return np.where(kept, fit, own)

        theta, std = fitted.theta, fitted.std
        deep = kept & self._spots.deep
        return make_localizations(
            locs.frame,
            either(theta[:, 0], locs.x_um),
            either(theta[:, 1], locs.y_um),
            np.where(deep, theta[:, 2], locs.z_um),
            photons=either(theta[:, 3], locs.photons),
            background=either(theta[:, 4], locs.background),
            sigma_x_um=either(std[:, 0], locs.sigma_x_um),
            sigma_y_um=either(std[:, 1], locs.sigma_y_um),
            sigma_z_um=np.where(deep, std[:, 2], locs.sigma_z_um),
            channel=locs.channel,
            score=locs.score,
        )
