"""What bead images do not determine of a pupil, taken out by convention; and the pupil's phase as Zernike modes.

Images of one bead stay the same when the phase changes by a constant (piston), by a ramp together with the
bead's position (tilt), or by the phase of a focus step together with the stage's zero (defocus). The
conventions: piston 0; no mean ramp, which puts the centroid of the light on the emitter at every focus; no
mean slope along defocus, so that the focus offset of the bead carries all of it. Means are of the wrapped
differences of neighbouring cells, weighted by their light, and so indifferent to 2 pi steps.
"""

import numpy as np
from numpy.typing import NDArray

from optics.masks.sampling import mask_grid
from optics.types import Microscope
from optics.zernike import osa_to_nm, zernike_basis


def pupil_weight(transmission: NDArray, radius: float = 1.0) -> NDArray:
    """Light (M, M) of each cell inside `radius` pupil radii, of unit sum."""
    x, y = (np.asarray(u) for u in mask_grid(len(transmission)))
    light = np.where(np.hypot(x, y) <= radius, np.asarray(transmission, dtype=float) ** 2, 0.0)
    return light / light.sum()


def wrapped(phase_rad: NDArray) -> NDArray:
    """The phase modulo 2 pi, in (-pi, pi]."""
    return np.angle(np.exp(1j * np.asarray(phase_rad, dtype=float)))


def defocus_phase(scope: Microscope, cells: int) -> NDArray:
    """Phase (M, M), radians, that a focus step of 1 um adds: -k0 n_immersion cos(theta_immersion)."""
    x, y = (np.asarray(u, dtype=float) for u in mask_grid(cells))
    k0 = 2 * np.pi / float(scope.wavelength_um)
    n = float(scope.n_immersion)
    return -k0 * np.sqrt(np.clip(n**2 - float(scope.na) ** 2 * (x**2 + y**2), 0, None))


def differences(values: NDArray, weight: NDArray, wrap: bool = True) -> tuple[NDArray, NDArray]:
    """Steps between neighbours along x, then y, where both carry light (S,), and their weights (S,)."""
    steps = np.concatenate([np.diff(values, axis=axis).ravel() for axis in (1, 0)])
    pairs = np.minimum(weight[:, 1:], weight[:, :-1]).ravel(), np.minimum(weight[1:], weight[:-1]).ravel()
    share = np.concatenate(pairs)
    return (wrapped(steps) if wrap else steps)[share > 0], share[share > 0]


def remove_undetermined(
    phase_rad: NDArray, weight: NDArray, scope: Microscope
) -> tuple[NDArray, tuple[float, float], float]:
    """The phase by convention, and what went to the bead: (x, y) in um and focus in um to be ADDED to its own.

    `phase_rad`, `weight` (M, M). Tilt and defocus are fitted together, by least squares on wrapped steps.
    """
    cells = len(phase_rad)
    x, y = (np.asarray(u, dtype=float) for u in mask_grid(cells))
    k_um = 2 * np.pi / float(scope.wavelength_um) * float(scope.na)
    # as phases of 1 um each: a bead at x adds -k x, a focus step adds the defocus phase
    family = np.stack([-k_um * x, -k_um * y, defocus_phase(scope, cells)])
    removed = np.zeros(3)
    rest = np.asarray(phase_rad, dtype=float)
    for _ in range(3):  # steps near pi change branch as the ramp goes: a second look settles them
        steps, share = differences(rest, weight)
        columns = np.stack([differences(member, weight, wrap=False)[0] for member in family], axis=1)
        root = np.sqrt(share)[:, None]
        change = np.linalg.lstsq(root * columns, root[:, 0] * steps, rcond=None)[0]
        removed += change
        rest = rest - np.tensordot(change, family, 1)
    rest = rest - np.angle(np.sum(weight * np.exp(1j * rest)))
    return wrapped(rest), (float(removed[0]), float(removed[1])), float(removed[2])


def agreement(first_rad: NDArray, second_rad: NDArray, weight: NDArray, ramps: NDArray | None = None) -> float:
    """abs(mean(exp(i (a - b)))) over `weight` after the best combination of `ramps` (J, M, M): 1 for equal phases.

    Default ramps: tilt in x and y. The best tilt is found on a Fourier grid and then refined.
    """
    from scipy.optimize import minimize

    x, y = (np.asarray(u, dtype=float) for u in mask_grid(len(first_rad)))
    family = np.stack([x, y]) if ramps is None else np.asarray(ramps, dtype=float)
    difference = weight * np.exp(1j * (np.asarray(first_rad) - np.asarray(second_rad)))
    side = 4 * len(first_rad)
    spectrum = np.abs(np.fft.fft2(difference, (side, side)))
    row, column = np.unravel_index(np.argmax(spectrum), spectrum.shape)
    step = np.pi * len(first_rad) / side  # radians per unit x of one Fourier bin: x runs over 2
    start = np.zeros(len(family))
    start[:2] = [(k if k < side / 2 else k - side) * step for k in (column, row)]

    def away(parameters):
        return -np.abs(np.sum(difference * np.exp(-1j * np.tensordot(parameters, family, 1))))

    best = minimize(away, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-9, "maxiter": 4000})
    return float(-min(best.fun, away(np.zeros(len(family)))))


def zernike_table(phase_rad: NDArray, weight: NDArray, n_modes: int) -> tuple[NDArray, float]:
    """Amplitudes (n_modes,), rms radians, of the OSA modes nearest to a wrapped phase, and the rms of the rest.

    Least squares on wrapped steps: no unwrapping. The first amplitude, piston, is 0. The rest is the wrapped
    difference between phase and modes, in radians.
    """
    x, y = (np.asarray(u) for u in mask_grid(len(phase_rad)))
    basis = np.asarray(zernike_basis(n_modes, x, y), dtype=float)[1:]
    steps, share = differences(phase_rad, weight)
    columns = np.stack([differences(mode, weight, wrap=False)[0] for mode in basis], axis=1)
    root = np.sqrt(share)[:, None]
    amplitudes = np.linalg.lstsq(root * columns, root[:, 0] * steps, rcond=None)[0]
    rest = phase_rad - np.tensordot(amplitudes, basis, 1)
    rest = wrapped(rest - np.angle(np.sum(weight * np.exp(1j * rest))))
    return np.concatenate([[0.0], amplitudes]), float(np.sqrt(np.sum(weight * rest**2)))


def mode_names(n_modes: int) -> list[tuple[int, int]]:
    """(n, m) of the first OSA modes."""
    return [osa_to_nm(j) for j in range(n_modes)]
