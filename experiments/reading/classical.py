"""The classical pipeline as a reader: find, fit, subtract, find again; and fits behind a decoder."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.detection import Detector
from experiments.reading.fits import EmitterFitter, EmitterList, join, unfitted
from experiments.reading.program import fingerprint
from experiments.reading.spots import SpotTable
from localization import LocalizationError, Localizations, make_localizations
from optics import Camera
from optics.camera import adu_to_photons
from optics.pytree import replace

_MAPS = ("gain_adu_per_e", "offset_adu", "read_noise_e", "quantum_efficiency")


class ClassicalReader:
    """Detection and maximum-likelihood fits, with what is fitted taken off before the next search."""

    context = 0

    def __init__(self, spots: SpotTable, camera: Camera, config: ClassicalConfig, description: str) -> None:
        self.description, self.pixel_um = description, spots.pixel_um
        self.min_frame_px, self.group, self.batch = spots.image_px, config.group, config.group
        self._spots, self._camera, self._config = spots, camera, config
        self._tools: dict[tuple[int, ...], tuple[EmitterFitter, Detector]] = {}
        self._tally: Counter[str] = Counter()
        self.identity = {"spots": fingerprint(spots.table), "camera": fingerprint(camera), "reading": config.identity()}

    def take_tally(self) -> Counter[str]:
        """Return how many fits were not kept, by reason."""
        taken, self._tally = self._tally, Counter()
        return taken

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        counts = counts[before : len(counts) - after]
        fitter, detector = self._at(origin_px, counts.shape[1:])
        found = search(counts, fitter, detector, self._config)
        kept, why = keep(found, fitter, counts.shape, self._config)
        self._tally += why
        return to_table(found.take(kept), self._spots, first_frame)

    def _at(self, origin_px: tuple[int, int], shape: tuple[int, ...]) -> tuple[EmitterFitter, Detector]:
        c, key = self._config, (*origin_px, *shape)
        if key not in self._tools:
            camera = camera_part(self._camera, origin_px, shape)
            fitter = EmitterFitter(self._spots, camera, c.saturation_adu)
            self._tools = {key: (fitter, Detector(self._spots, camera, c.threshold_sigma, c.background_px))}
        return self._tools[key]


def camera_part(camera: Camera, origin_px: tuple[int, int], shape: tuple[int, ...]) -> Camera:
    """Cut the camera's maps to a part of its frames that begins at `origin_px` (column, row)."""
    (column, row), maps = origin_px, {}
    for name in _MAPS:
        whole = np.asarray(getattr(camera, name))
        if whole.ndim == 2:
            maps[name] = whole[row : row + shape[0], column : column + shape[1]]
            if maps[name].shape != tuple(shape):
                raise LocalizationError(
                    f"camera: {name} is a map of {whole.shape[0]} x {whole.shape[1]} px, too small for the frames; "
                    "measure the whole field that the movie shows"
                )
    return replace(camera, **maps)


def search(counts: NDArray, fitter: EmitterFitter, detector: Detector, config: ClassicalConfig) -> EmitterList:
    """Find all emitters of frames of counts (F, H, W), fitted with their neighbours taken off."""
    photons = np.asarray(adu_to_photons(fitter.camera, counts), np.float64)
    found = unfitted(np.zeros(0, int), np.zeros((0, 5)))
    for _ in range(config.rounds):
        drawn, _ = fitter.draw(found, counts.shape)
        fresh, _ = detector.find(photons - drawn, drawn, config.model_error)
        fresh = fresh.take(~near(fresh, found, config.separation_px * fitter.spots.pixel_um))
        if not len(fresh):
            break
        everyone = join(found, fresh)
        new = np.arange(len(found), len(everyone))
        found = prune(join(found, fitter.fit(counts, everyone, new, search=True)), config, fitter)
        for _ in range(config.sweeps):
            found = prune(refit(counts, found, fitter, only_crowded=True), config, fitter)
    return found


def refit(counts: NDArray, emitters: EmitterList, fitter: EmitterFitter, *, only_crowded: bool) -> EmitterList:
    """Fit again, from where they stand, all or those alone that have another emitter in their stamp; order is kept."""
    if not only_crowded:
        return fitter.fit(counts, emitters, search=False) if len(emitters) else emitters
    reach = fitter.spots.image_px * fitter.spots.pixel_um
    places = np.column_stack([emitters.theta[:, :2], emitters.frame * 4 * reach])
    pairs = KDTree(places).query_pairs(reach, p=np.inf, output_type="ndarray") if len(emitters) > 1 else []
    crowded = np.unique(np.asarray(pairs, int))
    if not len(crowded):
        return emitters
    alone = np.setdiff1d(np.arange(len(emitters)), crowded)
    both = join(emitters.take(alone), fitter.fit(counts, emitters, crowded, search=False))
    return both.take(np.argsort(np.concatenate([alone, crowded])))


def significance(emitters: EmitterList) -> NDArray:
    """Divide photons by their standard deviation."""
    return emitters.theta[:, 3] / np.maximum(emitters.std[:, 3], 1e-9)


def prune(emitters: EmitterList, config: ClassicalConfig, fitter: EmitterFitter) -> EmitterList:
    """Drop what is not significant, and the fainter of two in one place."""
    emitters = emitters.take(significance(emitters) > config.threshold_sigma)
    apart, deep = config.separation_px * fitter.spots.pixel_um, config.separation_z_um
    # frames far apart in a third direction: pairs of one frame only
    lateral = np.column_stack([emitters.theta[:, :2], emitters.frame * 4 * max(apart, 1e-6)])
    pairs = KDTree(lateral).query_pairs(apart, output_type="ndarray") if len(emitters) > 1 else np.zeros((0, 2), int)
    if fitter.spots.deep:
        pairs = pairs[np.abs(np.diff(emitters.theta[pairs, 2], axis=1)[:, 0]) < deep]
    photons, keep_it = emitters.theta[:, 3], np.ones(len(emitters), bool)
    for a, b in pairs[np.argsort(-photons[pairs].max(axis=1), kind="stable")]:
        if keep_it[a] and keep_it[b]:
            keep_it[a if photons[a] < photons[b] else b] = False
    return emitters.take(keep_it)


def near(some: EmitterList, others: EmitterList, distance_um: float) -> NDArray[np.bool_]:
    """Say which of `some` have one of `others` in their frame within a distance."""
    if not len(some) or not len(others):
        return np.zeros(len(some), bool)
    step = 4 * max(distance_um, 1e-6)
    places = [np.column_stack([e.theta[:, :2], e.frame * step]) for e in (some, others)]
    return np.isfinite(KDTree(places[1]).query(places[0], distance_upper_bound=distance_um)[0])


def keep(
    emitters: EmitterList, fitter: EmitterFitter, shape: tuple[int, ...], config: ClassicalConfig
) -> tuple[NDArray[np.bool_], Counter[str]]:
    """Choose the fits to keep, and count how many were dropped for which reason (the first that holds)."""
    spots, freedom = fitter.spots, fitter.spots.image_px**2 - 5
    # a model that is off by a share e of itself adds about e^2 S^2 to chi-square, S its significance
    excess = (config.model_error * significance(emitters)) ** 2 / freedom
    size = np.array([shape[2], shape[1]]) * spots.pixel_um
    edge = config.edge_px * spots.pixel_um
    reasons = {
        "fits not kept: did not end inside their limits": ~emitters.good,
        "fits not kept: centre at the edge of the frame": (
            (emitters.theta[:, :2] < edge) | (emitters.theta[:, :2] > size - edge)
        ).any(axis=1),
        "fits not kept: chi-square above chi2_max": emitters.chi2_ratio > config.chi2_max + excess,
        "fits not kept: uncertain in x, y": emitters.std[:, :2].max(axis=1, initial=0) > config.sigma_xy_max_um,
    }
    if spots.deep:
        reasons["fits not kept: uncertain in z"] = emitters.std[:, 2] > config.sigma_z_max_um
    kept, why = np.ones(len(emitters), bool), Counter[str]()
    for reason, applies in reasons.items():
        why[reason] = int((kept & applies).sum())
        kept &= ~applies
    return kept, +why


def to_table(emitters: EmitterList, spots: SpotTable, first_frame: int) -> Localizations:
    """Make a table of emitters in order of frame, row and column; z is 0 where the spots have none."""
    order = np.lexsort((emitters.theta[:, 0], emitters.theta[:, 1], emitters.frame))
    emitters = emitters.take(order)
    theta, std = emitters.theta, emitters.std
    return make_localizations(
        first_frame + emitters.frame,
        theta[:, 0],
        theta[:, 1],
        theta[:, 2] if spots.deep else np.zeros(len(theta)),
        photons=theta[:, 3],
        background=theta[:, 4],
        sigma_x_um=std[:, 0],
        sigma_y_um=std[:, 1],
        sigma_z_um=std[:, 2] if spots.deep else np.nan,
        score=significance(emitters),
    )
