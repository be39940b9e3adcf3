"""Fits without a network: emitter by emitter where nothing overlaps, jointly where something does."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from experiments.reading.cameras import camera_part
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.detection import Detector
from experiments.reading.fits import EmitterFitter, EmitterList
from experiments.reading.joint import JointReader, Movie
from experiments.reading.pieces.seams import join_windows, near_core
from experiments.reading.pieces.tiles import Tile
from experiments.reading.remarks import ends, residual
from experiments.reading.spots import SpotTable
from localization import Localizations, concatenate, make_localizations
from optics import Camera
from optics.camera import adu_to_photons
from optics.fits.crowd_search import significance_level

ALONE = "windows of frames fitted emitter by emitter"


class ClassicalReader:
    """Finds where emitters may be and fits each by itself, thousands at once, wherever that explains the frame.

    A window of a frame is read jointly (`JointReader`) if stamps of two candidates in it share pixels, if a fit does
    not end or leaves too much of its stamp, or if with all fits taken off something is found once more.
    """

    context = 0

    def __init__(self, spots: SpotTable, camera: Camera, config: ClassicalConfig, description: str) -> None:
        self.description, self.pixel_um = description, spots.pixel_um
        self.joint = JointReader(spots, camera, config, description)
        self.min_frame_px = self.joint.min_frame_px
        self.group = self.batch = config.group
        self._spots, self._camera, self._config = spots, camera, config
        self._level = config.threshold_sigma or significance_level(spots.table, config.false_per_um2)
        self._tools: dict[tuple[int, ...], tuple[EmitterFitter, Detector]] = {}
        self._tally: Counter[str] = Counter()
        self.identity = {**self.joint.identity, "choice": "by window"}

    def take_tally(self) -> Counter[str]:
        """Return what was counted since the last time."""
        taken, self._tally = self._tally + self.joint.take_tally(), Counter()
        return taken

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        counts = counts[before : len(counts) - after]
        parts = []
        for k in range(0, len(counts), self.batch):
            movie = self.joint.take_in(counts[k : k + self.batch], first_frame + k, origin_px)
            parts.append(self._read_group(movie))
        return concatenate(parts)

    def _read_group(self, movie: Movie) -> Localizations:
        windows = self.joint.windows(movie.counts.shape[1:])
        singles, crowded = self._read_singly(movie, windows)
        self._tally += Counter({ALONE: int((~crowded).sum())})
        lists = self.joint.read_windows(movie, crowded)
        for number, (row, column) in enumerate(windows):
            lists[number] = concatenate(
                [lists[number], self._of_window(singles, movie, crowded[:, number], row, column)]
            )
        return self.joint.finish(join_windows(lists, windows, self.pixel_um), movie)

    def _read_singly(self, movie: Movie, windows: list[tuple[Tile, Tile]]) -> tuple[EmitterList, NDArray[np.bool_]]:
        """Fits of what stands alone, and which windows (frames, windows) these fits do not explain."""
        fitter, detector = self._at(movie.origin_px, movie.counts.shape[1:])
        n = len(movie.counts)
        # as many frames as there are in a group, so that one compiled program serves all
        counts, valid = (np.pad(part, ((0, self.batch - n), (0, 0), (0, 0))) for part in (movie.counts, movie.valid))
        photons = np.asarray(adu_to_photons(fitter.camera, counts), np.float64)
        nothing = np.zeros_like(photons)
        found, level = detector.find(photons, nothing, self._config.model_error)
        close = sharing(found, self._spots.image_px * self.pixel_um)
        crowded = in_windows(found.take(close), len(photons), windows, self.pixel_um)
        # an emitter is fitted if any of the windows that list it may be explained by such fits
        alone = found.take(~close)
        near = [in_window(alone, *window, self.pixel_um) for window in windows]
        wanted = np.any([~crowded[alone.frame, k] & here for k, here in enumerate(near)], axis=0)
        fits = fitter.fit(counts, valid, alone.take(wanted))
        strength = fits.theta[:, 3] / np.maximum(fits.std[:, 3], 1e-9)
        # a model that is off by a share e of itself adds about e^2 S^2 to chi-square, S its significance
        excess = (self._config.model_error * strength) ** 2 / (self._spots.image_px**2 - 5)
        bad = ~fits.good | (fits.chi2_ratio > self._config.chi2_max + excess)
        crowded |= in_windows(fits.take(bad), len(photons), windows, self.pixel_um)
        fits = fits.take(~bad & (strength > self._level))
        drawn = fitter.draw(fits, photons.shape) if len(fits) else nothing
        if len(fits):
            rest, level = detector.find(photons - drawn, drawn, self._config.model_error)
            crowded |= in_windows(rest, len(photons), windows, self.pixel_um)
        for number, (row, column) in enumerate(windows):
            valid[:, row.core, column.core] &= ~crowded[:, number, None, None]
        self._tally += residual(fitter.camera, counts, valid, drawn + level, level)
        return fits, crowded[:n]

    def _of_window(
        self, fits: EmitterList, movie: Movie, crowded: NDArray[np.bool_], row: Tile, column: Tile
    ) -> Localizations:
        own = fits.take(in_window(fits, row, column, self.pixel_um) & ~crowded[fits.frame])
        self._tally += ends(self._spots.at_end(own.theta[:, 2]), self._spots.deep)
        theta, std, deep = own.theta, own.std, self._spots.deep
        return make_localizations(
            movie.first_frame + own.frame,
            theta[:, 0],
            theta[:, 1],
            theta[:, 2] if deep else np.zeros(len(theta)),
            photons=theta[:, 3],
            background=theta[:, 4],
            sigma_x_um=std[:, 0],
            sigma_y_um=std[:, 1],
            sigma_z_um=std[:, 2] if deep else np.nan,
            score=theta[:, 3] / np.maximum(std[:, 3], 1e-9),
        )

    def _at(self, origin_px: tuple[int, int], shape: tuple[int, ...]) -> tuple[EmitterFitter, Detector]:
        key = (*origin_px, *shape)
        if key not in self._tools:
            camera = camera_part(self._camera, origin_px, shape)
            detector = Detector(self._spots, camera, self._level, self._config.background_px)
            self._tools = {key: (EmitterFitter(self._spots, camera), detector)}
        return self._tools[key]


def in_window(emitters: EmitterList, row: Tile, column: Tile, pixel_um: float) -> NDArray[np.bool_]:
    """Say which emitters a window would list."""
    x, y = emitters.theta[:, 0], emitters.theta[:, 1]
    corner = column.window.start * pixel_um, row.window.start * pixel_um
    return near_core(x - corner[0], y - corner[1], row, column, pixel_um)


def in_windows(emitters: EmitterList, n: int, windows: list[tuple[Tile, Tile]], pixel_um: float) -> NDArray[np.bool_]:
    """Say which windows of n frames list one of these (frames, windows)."""
    held = np.zeros((n, len(windows)), bool)
    for number, window in enumerate(windows):
        held[emitters.frame[in_window(emitters, *window, pixel_um)], number] = True
    return held


def sharing(emitters: EmitterList, reach_um: float) -> NDArray[np.bool_]:
    """Say which emitters have another one of their frame within reach along both axes: their stamps share pixels."""
    shared = np.zeros(len(emitters), bool)
    if len(emitters) > 1:
        places = np.column_stack([emitters.theta[:, :2], emitters.frame * 4 * reach_um])
        pairs = KDTree(places).query_pairs(reach_um, p=np.inf, output_type="ndarray")
        shared[np.unique(np.asarray(pairs, int))] = True
    return shared
