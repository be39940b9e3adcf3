"""Emitters of several species: alone, each fitted as every one of them, or where they overlap jointly."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from experiments.reading.cameras import camera_part
from experiments.reading.classical import ALONE, in_window, in_windows, sharing
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.detection import Detector
from experiments.reading.fits import EmitterFitter, EmitterList
from experiments.reading.joint import JointReader, Movie
from experiments.reading.pieces.seams import join_windows
from experiments.reading.program import fingerprint
from experiments.reading.remarks import ends, residual
from experiments.reading.spots import SpotTable
from localization import Localizations, concatenate, make_localizations
from optics import Camera, cut_stamps
from optics.camera import adu_to_photons
from optics.colour.classify import classify_emitters
from optics.fits.crowd_search import significance_level
from optics.fits.stamps import to_frame_um
from training import ConfigError

_SAME_UM = 0.3  # fits of several species within this are of one emitter
_TRUSTED_MOVE_PX = 1.4  # a fit ends on the table's rim at 1.5
_FEWEST_PIXELS = 9  # for five unknowns


def check_species(spots: Sequence[SpotTable], names: Sequence[str]) -> None:
    """Refuse PSFs that are not those of several species of one movie. Raises `ConfigError`."""
    pixels, sides = {one.pixel_um for one in spots}, {one.image_px for one in spots}
    if len(pixels) > 1 or len(sides) > 1:
        raise ConfigError(
            f"the species' PSFs have pixels of {', '.join(f'{p:g}' for p in sorted(pixels))} um and stamps of "
            f"{', '.join(map(str, sorted(sides)))} px; they must agree (stamp_px=N cuts the larger)"
        )
    seen: dict[str, str] = {}
    for one, name in zip(spots, names, strict=True):
        if (alike := seen.setdefault(fingerprint(one.table), name)) != name:
            raise ConfigError(f"{alike} and {name} hold the same PSF: nothing tells such species apart")
        if not one.deep:
            raise ConfigError(f"{name}: species are told apart by calibrated PSFs, not by Gaussian spots")


class ColourReader:
    """Finds emitters with the PSF of every species, and reads the species of each by likelihood.

    What stands alone is fitted by itself as every species. A window of a frame in which stamps share pixels, or which
    such fits do not explain, is read jointly (`JointReader`). Columns `channel` (species from 0, in the order of the
    PSFs) and `p_channel`, its posterior.
    """

    context = 0

    def __init__(self, spots: Sequence[SpotTable], camera: Camera, config: ClassicalConfig, description: str) -> None:
        check_species(spots, [f"PSF {number}" for number in range(1, len(spots) + 1)])
        self.description, self.pixel_um = description, spots[0].pixel_um
        self.joint = JointReader(spots[0], camera, config, description, spots[1:])
        self.min_frame_px = self.joint.min_frame_px
        self.group = self.batch = config.group
        self._spots, self._camera, self._config = list(spots), camera, config
        self._levels = [config.threshold_sigma or significance_level(s.table, config.false_per_um2) for s in spots]
        self._tools: dict[tuple[int, ...], list[tuple[EmitterFitter, Detector]]] = {}
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
        windows, n = self.joint.windows(movie.shape), len(movie.counts)
        counts, valid = (np.pad(part, ((0, self.batch - n), (0, 0), (0, 0))) for part in (movie.counts, movie.valid))
        places, missed = self._places(movie, counts, valid)

        def listed(emitters: EmitterList) -> NDArray[np.bool_]:
            return in_windows(emitters, self.batch, windows, self.pixel_um)

        shared = sharing(places, self._spots[0].image_px * self.pixel_um)
        crowded = listed(missed) | listed(places.take(shared))
        near = [in_window(places, *window, self.pixel_um) for window in windows]
        alone = np.any([~crowded[places.frame, k] & here for k, here in enumerate(near)], axis=0) & ~shared
        singles = self._classified(movie, places.take(alone))
        crowded |= listed(singles.emitters.take(~singles.emitters.good))
        singles = singles.take(singles.emitters.good)
        rest, level, drawn = self._left_over(movie, counts, singles)
        crowded |= listed(rest)
        for number, (row, column) in enumerate(windows):
            valid[:, row.core, column.core] &= ~crowded[:, number, None, None]
        self._tally += residual(self._at(movie)[0][0].camera, counts, valid, drawn + level, level)
        self._tally += Counter({ALONE: int((~crowded[:n]).sum())})
        lists = self.joint.read_windows(movie, crowded[:n])
        for number, window in enumerate(windows):
            own = in_window(singles.emitters, *window, self.pixel_um) & ~crowded[singles.emitters.frame, number]
            lists[number] = concatenate([lists[number], self._of_window(singles.take(own), movie)])
        return self.joint.finish(join_windows(lists, windows, self.pixel_um), movie)

    def _places(self, movie: Movie, counts: NDArray, valid: NDArray) -> tuple[EmitterList, EmitterList]:
        """Emitters that some species' image explains, each once, and places that none explains."""
        found, candidates = [], []
        for (fitter, detector), level in zip(self._at(movie), self._levels, strict=True):
            photons = np.asarray(adu_to_photons(fitter.camera, counts), np.float64)
            seen, _ = detector.find(photons, np.zeros_like(photons), self._config.model_error)
            fits = fitter.fit(counts, valid, seen)
            good = fits.good & (fits.theta[:, 3] > level * fits.std[:, 3])
            good &= fits.chi2_ratio <= self._chi2_max(fits.theta[:, 3], fits.std[:, 3])
            found.append(fits.take(good))
            candidates.append(seen.take(~good))
        places, missed = _once(_together(found)), _once(_together(candidates))
        return places, missed.take(~_near(missed, places))

    def _left_over(self, movie: Movie, counts: NDArray, singles: "_Singles") -> tuple[EmitterList, NDArray, NDArray]:
        """What any species finds in frames without these emitters; their background, and what was drawn."""
        tools = self._at(movie)
        photons = np.asarray(adu_to_photons(tools[0][0].camera, counts), np.float64)
        drawn, found = np.zeros_like(photons), []
        for number, (fitter, _) in enumerate(tools):
            own = singles.emitters.take(singles.channel == number)
            drawn += fitter.draw(own, photons.shape) if len(own) else 0.0
        level = drawn
        for _, detector in tools:
            rest, level = detector.find(photons - drawn, drawn, self._config.model_error)
            found.append(rest)
        return _together(found), level, drawn

    def _chi2_max(self, photons: NDArray, std: NDArray) -> NDArray:
        # a model that is off by a share e of itself adds about e^2 S^2 to chi-square, S its significance
        strength = photons / np.maximum(std, 1e-9)
        excess = (self._config.model_error * strength) ** 2 / (self._spots[0].image_px ** 2 - 5)
        return self._config.chi2_max + excess

    def _classified(self, movie: Movie, places: EmitterList) -> "_Singles":
        """Fit every species to one stamp around each place, and take the likeliest; `good` says which fits hold."""
        if not len(places):
            return _Singles(places, np.zeros(0, np.int64), np.zeros(0))
        side, camera = self._spots[0].image_px, self._at(movie)[0][0].camera
        where = places.theta[:, 1] / self.pixel_um, places.theta[:, 0] / self.pixel_um
        stamps = cut_stamps(movie.counts, places.frame, *where, side, camera=camera, edge="mask")
        known = cut_stamps(movie.valid, places.frame, *where, side, edge="mask").images & stamps.valid
        told = known.sum(axis=(1, 2)) >= _FEWEST_PIXELS
        read = classify_emitters(
            [spots.table for spots in self._spots],
            stamps.images,
            camera=camera if stamps.camera is None else stamps.camera,
            valid=known | ~told[:, None, None],
            chunk=32 if len(places) <= 32 else 256,
        )
        fits = read.fits
        relative, std = np.asarray(fits.xyz_um, np.float64), np.asarray(fits.crlb_std, np.float64)
        photons = np.asarray(fits.photons, np.float64)
        xyz = to_frame_um(stamps, relative, self.pixel_um)
        size_um = np.array([movie.counts.shape[2], movie.counts.shape[1]]) * self.pixel_um
        channel = np.asarray(read.channel)
        at_end = np.zeros(len(channel), bool)
        for number, spots in enumerate(self._spots):
            at_end |= (channel == number) & spots.at_end(relative[:, 2])
        good = (
            told & (np.asarray(fits.converged) | at_end) & np.isfinite(xyz).all(axis=1) & np.isfinite(std).all(axis=1)
        )
        good &= (np.abs(relative[:, :2]) < _TRUSTED_MOVE_PX * self.pixel_um).all(axis=1)
        good &= (xyz[:, :2] > 0).all(axis=1) & (xyz[:, :2] < size_um).all(axis=1)
        good &= np.asarray(fits.chi2_ratio) <= self._chi2_max(photons, std[:, 3])
        good &= photons > np.asarray(self._levels)[channel] * std[:, 3]
        theta = np.column_stack([xyz, photons, np.asarray(fits.background, np.float64)])
        # what does not hold stays where it was seen: there it can be looked up in the windows
        theta = np.where(good[:, None], theta, places.theta)
        ended = EmitterList(places.frame, theta, std, np.asarray(fits.chi2_ratio, np.float64), good)
        return _Singles(ended, channel, np.asarray(read.p_channel, np.float64))

    def _of_window(self, own: "_Singles", movie: Movie) -> Localizations:
        theta, std = own.emitters.theta, own.emitters.std
        at_end = np.zeros(len(theta), bool)
        for number, spots in enumerate(self._spots):
            at_end |= (own.channel == number) & spots.at_end(theta[:, 2])
        self._tally += ends(at_end, deep=True)
        return make_localizations(
            movie.first_frame + own.emitters.frame,
            *theta[:, :3].T,
            photons=theta[:, 3],
            background=theta[:, 4],
            sigma_x_um=std[:, 0],
            sigma_y_um=std[:, 1],
            sigma_z_um=std[:, 2],
            channel=own.channel,
            score=theta[:, 3] / np.maximum(std[:, 3], 1e-9),
            extras={"p_channel": own.p_channel},
        )

    def _at(self, movie: Movie) -> list[tuple[EmitterFitter, Detector]]:
        key = (*movie.origin_px, *movie.counts.shape[1:])
        if key not in self._tools:
            camera = camera_part(self._camera, movie.origin_px, movie.counts.shape[1:])
            self._tools = {
                key: [
                    (EmitterFitter(spots, camera), Detector(spots, camera, level, self._config.background_px))
                    for spots, level in zip(self._spots, self._levels, strict=True)
                ]
            }
        return self._tools[key]


@dataclass(frozen=True, eq=False)
class _Singles:
    """Emitters fitted by themselves, and the species (N,) of each with its posterior."""

    emitters: EmitterList
    channel: NDArray[np.int64]
    p_channel: NDArray[np.float64]

    def take(self, rows: NDArray) -> "_Singles":
        return _Singles(self.emitters.take(rows), self.channel[rows], self.p_channel[rows])


def _together(lists: Sequence[EmitterList]) -> EmitterList:
    names = ("frame", "theta", "std", "chi2_ratio", "good")
    return EmitterList(**{name: np.concatenate([getattr(one, name) for one in lists]) for name in names})


def _points(emitters: EmitterList) -> NDArray:
    """Places (N, 3) that are near one another only within one frame."""
    return np.column_stack([emitters.theta[:, :2], emitters.frame * 1e4])


def _once(emitters: EmitterList) -> EmitterList:
    """The best explained of emitters that stand at one place, in the order of frames."""
    taken = np.zeros(len(emitters), bool)
    if len(emitters):
        near = KDTree(_points(emitters)).query_ball_point(_points(emitters), _SAME_UM)
        free = np.ones(len(emitters), bool)
        for k in np.argsort(emitters.chi2_ratio, kind="stable"):
            if free[k]:
                taken[k] = True
                free[near[k]] = False
    rows = np.flatnonzero(taken)
    return emitters.take(rows[np.lexsort((emitters.theta[rows, 0], emitters.frame[rows]))])


def _near(emitters: EmitterList, others: EmitterList) -> NDArray[np.bool_]:
    """Say which emitters have one of the others within reach of the same place."""
    if not len(emitters) or not len(others):
        return np.zeros(len(emitters), bool)
    distance, _ = KDTree(_points(others)).query(_points(emitters))
    return np.asarray(distance) < 2 * _SAME_UM
