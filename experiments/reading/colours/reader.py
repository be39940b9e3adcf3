"""Emitters that stand alone, each fitted as every species: the list says which it is and how surely."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from experiments.reading.cameras import camera_part
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.detection import Detector
from experiments.reading.fits import EmitterFitter, EmitterList
from experiments.reading.joint import JointReader, Movie
from experiments.reading.program import fingerprint
from experiments.reading.remarks import ends
from experiments.reading.spots import SpotTable
from localization import Localizations, concatenate, make_localizations
from optics import Camera, cut_stamps
from optics.camera import adu_to_photons
from optics.colour.classify import classify_emitters
from optics.fits.crowd_search import significance_level
from optics.fits.stamps import to_frame_um
from training import ConfigError

NOT_EXPLAINED = "places that no species explains alone (emitters that overlap, or another PSF), not listed"
_SAME_UM = 0.3  # fits of several species within this are of one emitter
_TRUSTED_MOVE_PX = 1.4  # a fit ends on the table's rim at 1.5
_FEWEST_PIXELS = 9  # for five unknowns


class ColourReader:
    """Finds emitters with the PSF of every species, and reads the species of each by likelihood.

    Where several emitters share pixels no single one explains them: such places are counted, not listed. Columns
    `channel` (species from 0, in the order of the PSFs) and `p_channel`, its posterior.
    """

    context = 0

    def __init__(self, spots: Sequence[SpotTable], camera: Camera, config: ClassicalConfig, description: str) -> None:
        pixels, sides = {one.pixel_um for one in spots}, {one.image_px for one in spots}
        if len(pixels) > 1 or len(sides) > 1:
            raise ConfigError(
                f"the species' PSFs have pixels of {', '.join(f'{p:g}' for p in sorted(pixels))} um and stamps of "
                f"{', '.join(map(str, sorted(sides)))} px; they must agree (stamp_px=N cuts the larger)"
            )
        self.description, self.pixel_um = description, spots[0].pixel_um
        self._plain = JointReader(spots[0], camera, config, description)  # pixels that count, rows that are kept
        self.min_frame_px = self._plain.min_frame_px
        self.group = self.batch = config.group
        self._spots, self._camera, self._config = list(spots), camera, config
        self._levels = [config.threshold_sigma or significance_level(s.table, config.false_per_um2) for s in spots]
        self._tools: dict[tuple[int, ...], list[tuple[EmitterFitter, Detector]]] = {}
        self._tally: Counter[str] = Counter()
        self.identity = {**self._plain.identity, "species": [fingerprint(one.table) for one in spots]}

    def take_tally(self) -> Counter[str]:
        """Return what was counted since the last time."""
        taken, self._tally = self._tally + self._plain.take_tally(), Counter()
        return taken

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        counts = counts[before : len(counts) - after]
        parts = []
        for k in range(0, len(counts), self.batch):
            movie = self._plain.take_in(counts[k : k + self.batch], first_frame + k, origin_px)
            parts.append(self._plain.finish(self._classified(movie, self._places(movie)), movie))
        return concatenate(parts)

    def _places(self, movie: Movie) -> EmitterList:
        """Emitters that some species' image explains, each once, at the place of the best fit."""
        n = len(movie.counts)
        counts, valid = (np.pad(part, ((0, self.batch - n), (0, 0), (0, 0))) for part in (movie.counts, movie.valid))
        found, candidates = [], []
        for (fitter, detector), level in zip(self._at(movie), self._levels, strict=True):
            photons = np.asarray(adu_to_photons(fitter.camera, counts), np.float64)
            seen, _ = detector.find(photons, np.zeros_like(photons), self._config.model_error)
            fits = fitter.fit(counts, valid, seen)
            good = fits.good & (fits.theta[:, 3] > level * fits.std[:, 3])
            good &= fits.chi2_ratio <= self._chi2_max(fits.theta[:, 3], fits.std[:, 3])
            found.append(fits.take(good))
            candidates.append(seen.take(~good))
        places = _once(_together(found))
        missed = _once(_together(candidates))
        lost = len(missed) - int(_near(missed, places).sum())
        self._tally += Counter({NOT_EXPLAINED: lost})
        return places

    def _chi2_max(self, photons: NDArray, std: NDArray) -> NDArray:
        # a model that is off by a share e of itself adds about e^2 S^2 to chi-square, S its significance
        strength = photons / np.maximum(std, 1e-9)
        excess = (self._config.model_error * strength) ** 2 / (self._spots[0].image_px ** 2 - 5)
        return self._config.chi2_max + excess

    def _classified(self, movie: Movie, places: EmitterList) -> Localizations:
        """Fit every species to one stamp around each place; the likeliest is listed with its posterior."""
        if not len(places):
            return make_localizations([], [], [], [], extras={"p_channel": []})
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
        self._tally += ends(at_end[good], deep=True)
        return make_localizations(
            movie.first_frame + places.frame[good],
            *xyz[good].T,
            photons=photons[good],
            background=np.asarray(fits.background, np.float64)[good],
            sigma_x_um=std[good, 0],
            sigma_y_um=std[good, 1],
            sigma_z_um=std[good, 2],
            channel=channel[good],
            score=photons[good] / np.maximum(std[good, 3], 1e-9),
            extras={"p_channel": np.asarray(read.p_channel, np.float64)[good]},
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
