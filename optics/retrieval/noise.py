"""How noisy a bead stack is: the variance that weighs its pixels in the likelihood of a retrieval."""

import dataclasses

import numpy as np
from scipy.optimize import nnls

from optics.camera import electron_variance
from optics.retrieval.beads import BeadStack, corner_noise


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseModel:
    """Variance of a slice's pixel in counts^2: floor_z + gain_adu * light + (model_error * light)^2.

    `light` is what the pixel expects above background. With a camera given, floor and gain are the camera's;
    `model_error` is what the model misses beyond noise, as a part of the light.
    """

    floor_adu2: np.ndarray
    gain_adu: float
    model_error: float

    def variance(self, light_adu: np.ndarray) -> np.ndarray:
        light = np.clip(light_adu, 0, None)
        return self.floor_adu2[:, None, None] + self.gain_adu * light + (self.model_error * light) ** 2


def estimate_noise(stack: BeadStack, model: np.ndarray, background: np.ndarray) -> NoiseModel:
    """The noise model under which the residuals of a fitted stack are as large as they should be.

    `model` (Z, K, K) in counts. Residuals squared are regressed on light and light^2, both not negative.
    """
    images = np.asarray(stack.images, dtype=float)
    light = np.clip(model - background[:, None, None], 0, None)
    squared = (images - model) ** 2
    camera = stack.camera
    if camera is None:
        floor = corner_noise(images)[1] ** 2
        known = np.zeros_like(light)
    else:
        per_e = np.asarray(camera.gain_adu_per_e * camera.em_gain)
        offset = np.asarray(camera.offset_adu)
        mean_e = np.clip((background[:, None, None] - offset) / per_e, 0, None)
        floor = np.broadcast_to(np.asarray(electron_variance(camera, mean_e)) * per_e**2, light.shape).mean((1, 2))
        slope = np.asarray(electron_variance(camera, 1.0) - electron_variance(camera, 0.0)) * per_e
        known = np.broadcast_to(slope, light.shape) * light
    floor = np.maximum(floor, 1e-6 * light.max() ** 2)
    excess = squared - floor[:, None, None] - known
    scale = light.max()
    # bins in even ratios, so that dim and bright pixels have a say
    bins = scale * np.geomspace(1e-3, 1.0, 25)
    label = np.digitize(light, bins)
    rows = []
    for k in range(1, len(bins) + 1):
        inside = label == k
        if inside.sum() > 20:
            spread = squared[inside].mean() * np.sqrt(2 / inside.sum())
            rows.append((light[inside].mean() / scale, excess[inside].mean(), max(spread, 1e-300)))
    level, height, error = np.array(rows).T if rows else (np.ones(1), np.zeros(1), np.ones(1))
    columns = [level, level**2] if camera is None else [0 * level, level**2]
    solved, _ = nnls(np.stack(columns, axis=1) / error[:, None], np.clip(height, 0, None) / error)
    gain = solved[0] / scale if camera is None else float(np.mean(known.sum() / max(light.sum(), 1e-300)))
    return NoiseModel(floor, float(gain), float(np.sqrt(solved[1]) / scale))


def structured_share(stack: BeadStack, model: np.ndarray) -> float:
    """The part of a fit's residual that is the model's, not the camera's: 0 for noise, at most 1.

    Neighbouring pixels share no noise, but a residual finer than the PSF is none of the model's: it correlates with
    itself one pixel to the side by about a half, less where noise is added. Twice that correlation.
    """
    usable = np.asarray(stack.usable, dtype=float)
    rest = usable * (np.asarray(stack.images, dtype=float) - model)
    alike = np.sum(rest[:, :, 1:] * rest[:, :, :-1]) + np.sum(rest[:, 1:] * rest[:, :-1])
    return float(np.clip(alike / max(np.sum(rest**2), 1e-300), 0.0, 1.0))
