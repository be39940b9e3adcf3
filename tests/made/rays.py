"""A slow truth for fixed dipoles: the image as a plain sum over rays, from vectors and Fresnel's laws alone."""

import numpy as np

from optics.types import Microscope


def _nodes(na: float, n_sample: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n sin(theta) of rays along x and y with weights, in polar coordinates, roots at both ends of a panel tamed."""
    t, w = np.polynomial.legendre.leggauss(60)
    panels = [(0.0, na)] if na < n_sample else [(0.0, n_sample), (n_sample, na)]
    sine, weight = [], []
    for low, high in panels:
        half = (high - low) / 2
        sine.append((low + high) / 2 + half * np.sin(t * np.pi / 2))
        weight.append(half * np.cos(t * np.pi / 2) * np.pi / 2 * w)
    sine, weight = np.concatenate(sine), np.concatenate(weight)
    azimuth = (np.arange(90) + 0.5) * 2 * np.pi / 90
    q = sine[:, None] * np.stack([np.cos(azimuth), np.sin(azimuth)])[:, None, :]
    return q[0].ravel(), q[1].ravel(), np.repeat(weight * sine, 90)


def direct_sum(scope: Microscope, image_px: int, xyz_um, dipole_rad) -> np.ndarray:
    """|E_x|^2 and |E_y|^2 at the pixels (2, K, K), ray by ray, from E = d - k (k . d) and refraction at the interface.

    The dipole and the rays are 3-vectors in the sample's axes, z away from the objective; nothing but the numbers of
    the microscope is shared with the code under test. The coverslip has the index of the immersion. No mask. The unit
    is arbitrary, the same for all dipoles at all places.
    """
    n_s, n_i, na = (float(value) for value in (scope.n_sample, scope.n_immersion, scope.na))
    x_um, y_um, z_um = (float(value) for value in xyz_um)
    polar, azimuth = (float(value) for value in dipole_rad)
    axis = np.array([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    k0, focus_um = 2 * np.pi / float(scope.wavelength_um), float(scope.focus_um)
    qx, qy, weight = _nodes(na, n_s)
    q = np.hypot(qx, qy)
    kz_s, kz_i = np.sqrt(n_s**2 - q**2 + 0j), np.sqrt(n_i**2 - q**2)
    centres = (np.arange(image_px) - (image_px - 1) / 2) * float(scope.pixel_um)
    total = np.zeros((2, image_px, image_px), complex)
    for x, y, size, s, i, w in zip(qx, qy, q, kz_s, kz_i, weight, strict=True):
        ray = np.array([x, y, -s]) / n_s  # down to the objective
        emitted = axis - ray * (ray @ axis)
        across = np.array([-y, x, 0]) / size
        up = np.cross(ray, across)  # the p direction: radial for a ray along the axis
        t_s = 2 * s / (s + i)
        t_p = 2 * n_s * n_i * s / (n_i**2 * s + n_s**2 * i)
        # a plane wave of the Weyl expansion is emitted / kz; the lens turns p into the radial direction
        radial = np.array([x, y, 0]) / size
        refracted = (t_s * (across @ emitted) * across + t_p * (up @ emitted) * radial) / s * np.sqrt(i)
        phase = s * z_um - i * focus_um - x * x_um - y * y_um
        wave = w * np.exp(1j * k0 * (phase + x * centres[None, :] + y * centres[:, None]))
        total += refracted[:2, None, None] * wave
    return np.abs(total) ** 2
