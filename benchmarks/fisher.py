"""Fixed dipoles, polarised halves and Fisher information against slow truths; the bound among neighbours.

    python benchmarks/fisher.py

In float64, but for the times, which are those of float32. About two minutes.
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from measure.peer import in_turn, stopwatch
from measure.record import Rows, write_result
from optics import (
    Camera,
    Psf,
    collected_fraction,
    density_bound_um,
    density_bounds_um,
    fisher_matrix,
    make_camera,
    make_microscope,
    make_psf,
    masks,
    psf_image,
    replace,
)
from worlds.reference_files import direct_sum

PLACE = 20  # of its rows in benchmarks/README.md

jax.config.update("jax_enable_x64", True)

XYZ_UM = np.array([0.04, -0.03, 0.4])
DIPOLES_RAD = ((1.1, 0.7), (0.4, -2.0), (np.pi / 2, 0.3), (0.0, 0.0))
SCOPES = {
    "matched, NA 1.3": make_microscope(na=1.3, n_sample=1.4, n_immersion=1.4, wavelength_um=0.6, pixel_um=0.11),
    "oil on water, NA 1.45": make_microscope(
        na=1.45, n_sample=1.33, n_immersion=1.518, wavelength_um=0.6, pixel_um=0.11, focus_um=0.2
    ),
}
CAMERAS = {
    "photons": None,
    "scmos": make_camera(read_noise_e=1.6, quantum_efficiency=0.8),
    "emccd": make_camera(kind="emccd", em_gain=200.0, read_noise_e=40.0, quantum_efficiency=0.9, spurious_e=0.02),
}
PHOTONS, BACKGROUND = 3500.0, 50.0


def dipoles() -> dict:
    """Largest error over the pixels and four orientations, as a share of the peak."""
    found = {}
    for name, scope in SCOPES.items():
        critical = float(scope.na) > float(scope.n_sample)
        samples = {"pupil_px": 160, "ring_px": 40} if critical else {"pupil_px": 64, "ring_px": 0}
        psf = make_psf(scope, dipole="fixed", image_px=21, pixel="centre", **samples)
        images = {axis: _image_of(replace(psf, polarisation=axis)) for axis in ("both", "x", "y")}
        against_sum, halves, scale = [], [], None
        for dipole in DIPOLES_RAD:
            truth = direct_sum(scope, psf.image_px, XYZ_UM, dipole)
            collected = float(collected_fraction(psf, XYZ_UM[2], jnp.array(dipole)))
            ours = {axis: collected * np.asarray(image(jnp.array(dipole))) for axis, image in images.items()}
            scale = ours["both"].sum() / truth.sum() if scale is None else scale  # the truth's unit, once
            against_sum.append(np.abs(ours["both"] / scale - truth.sum(0)).max() / truth.sum(0).max())
            for polarised, expected in zip((ours["x"], ours["y"]), truth, strict=True):
                against_sum.append(np.abs(polarised / scale - expected).max() / truth.sum(0).max())
            halves.append(np.abs(ours["x"] + ours["y"] - ours["both"]).max() / ours["both"].max())
        free = {axis: _image_of(replace(psf, dipole="free", polarisation=axis))(None) for axis in ("both", "x", "y")}
        halves.append(float(np.abs(free["x"] + free["y"] - free["both"]).max() / free["both"].max()))
        found[name] = {
            "fixed_dipole_against_direct_sum": float(max(against_sum)),
            "halves_against_the_whole": float(max(halves)),
            "mean_over_orientations_against_free": _mean_error(psf, images["both"], np.asarray(free["both"])),
        }
    return found


def _image_of(psf: Psf):
    return jax.jit(lambda dipole_rad: psf_image(psf, jnp.asarray(XYZ_UM), dipole_rad=dipole_rad))


def _mean_error(psf: Psf, image, free: np.ndarray) -> float:
    """The weighted mean over 3 x 5 orientations, which integrates second moments exactly."""
    cosines, weights = np.polynomial.legendre.leggauss(3)
    total, light = np.zeros_like(free), 0.0
    for cosine, weight in zip(cosines, weights, strict=True):
        for k in range(5):
            dipole = jnp.array([np.arccos(cosine), 2 * np.pi * k / 5])
            share = weight * float(collected_fraction(psf, XYZ_UM[2], dipole))
            total, light = total + share * np.asarray(image(dipole)), light + share
    return float(np.abs(total / light - free).max() / free.max())


def matrices() -> dict:
    """Largest error of an entry, on the scale of the diagonal, against central differences of fourth order."""
    scope = SCOPES["oil on water, NA 1.45"]
    tetrapod = masks.tetrapod(3.0, replace(scope, focus_um=jnp.asarray(0.4)), size=64)
    psfs = {
        "astigmatism": make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=17, pupil_px=32, pixel="centre"),
        "tetrapod": make_psf(scope, mask=tetrapod, image_px=31, pupil_px=40),
        "fixed dipole, x": make_psf(scope, dipole="fixed", polarisation="x", image_px=17, pupil_px=32, pixel="centre"),
    }
    return {
        name: {camera: _matrix_error(psf, noise) for camera, noise in CAMERAS.items()} for name, psf in psfs.items()
    }


def _matrix_error(psf: Psf, camera: Camera | None) -> float:
    scope, fixed = psf.microscope, psf.dipole == "fixed"
    further = ("polar", "azimuth", "wavelength") if fixed else ("wavelength",)
    at = np.array([*XYZ_UM, PHOTONS, BACKGROUND, *((1.1, 0.7) if fixed else ()), float(scope.wavelength_um)])

    def angles(values):
        return values[5:7] if fixed else None

    @jax.jit
    def image(values):
        coloured = replace(psf, microscope=replace(scope, wavelength_um=values[-1]))
        return psf_image(coloured, values[:3], dipole_rad=angles(values))

    def electrons(values):
        expected = values[3] * np.asarray(image(values)) + values[4]
        return expected if camera is None else float(camera.quantum_efficiency) * expected

    steps = [1e-3, 1e-3, 1e-3, 1.0, 1.0, *([1e-3, 1e-3] if fixed else []), 1e-4]
    slopes = []
    for j, step in enumerate(steps):
        d = np.eye(len(at))[j] * step
        near, far = (electrons(at + k * d) - electrons(at - k * d) for k in (1, 2))
        slopes.append((8 * near - far) / (12 * step))
    variance = electrons(at)
    if camera is not None and camera.kind == "emccd":
        variance = 2 * (variance + float(camera.spurious_e)) + (float(camera.read_noise_e) / float(camera.em_gain)) ** 2
    elif camera is not None:
        variance = variance + float(camera.read_noise_e) ** 2
    truth = np.array([[np.sum(a * b / variance) for a in slopes] for b in slopes])
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    program = jax.jit(partial(fisher_matrix, further=further))
    ours = program(psf, at[:3], PHOTONS, BACKGROUND, camera, dipole_rad=angles(at))
    return float(np.abs(np.asarray(ours) / scale - truth / scale).max())


@partial(jax.jit, static_argnames=("n_scenes", "n_neighbours"))
def scenes(psf, density, z_um, prior_um=0.5, n_scenes=256, n_neighbours=16):
    """Bounds (n_scenes, 3) in nm at depth `z_um`, neighbours from 0 to 3 um."""
    point = jnp.zeros(3).at[2].set(z_um)
    sizes = {"n_scenes": n_scenes, "n_neighbours": n_neighbours, "prior_um": prior_um, "z_range_um": (0.0, 3.0)}
    return 1e3 * density_bounds_um(jax.random.key(0), psf, point, PHOTONS, BACKGROUND, density, **sizes)


def effective_nm(std) -> list[float]:
    return [round(float(value), 2) for value in np.exp(np.log(np.asarray(std, float)).mean(axis=0))]


def neighbours() -> dict:
    """Effective bounds at z = 1 um against density, and what they owe to capacity, stamp, prior and chance."""
    scope = make_microscope(na=1.45, n_sample=1.33, n_immersion=1.518, wavelength_um=0.67, pixel_um=0.11, focus_um=1.7)

    def build(mask, image_px=41):
        return make_psf(scope, mask=mask, image_px=image_px, pixel="centre", z_range_um=(0.0, 3.0))

    tetrapod, clear = masks.tetrapod(3.0, scope), masks.flat(design_wavelength_um=0.67)
    psf = build(tetrapod)
    found: dict = {"photons": PHOTONS, "background": BACKGROUND, "z_um": 1.0, "scenes": 256, "neighbours": 16}
    found["effective_nm"] = {
        name: {str(d): effective_nm(scenes(build(mask), d, 1.0)) for d in (0.0, 0.1, 0.3, 1.0, 3.0)}
        for name, mask in {"clear": clear, "tetrapod": tetrapod}.items()
    }
    one = partial(scenes, z_um=1.0, density=1.0)
    spread = np.log(np.asarray(one(psf), float)).std(axis=0) / 16
    found["tetrapod_at_1_per_um2"] = {
        "relative_standard_error_of_256_scenes": [round(float(value), 4) for value in spread],
        "by_neighbours_nm": {str(n): effective_nm(one(psf, n_neighbours=n)) for n in (4, 8, 16, 32)},
        "by_stamp_px_nm": {str(n): effective_nm(one(build(tetrapod, n))) for n in (31, 41, 61)},
        "by_prior_um_nm": {str(p): effective_nm(one(psf, prior_um=p)) for p in (0.25, 0.5, 2.0)},
    }
    found["times_s"] = _times(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), psf))
    return found


def _times(psf: Psf) -> dict:
    """One value, and one value with its gradient by the mask, float32: 64 scenes of 12 neighbours, 41 x 41 px."""
    sizes = {"z_range_um": (0.0, 3.0), "n_scenes": 64, "n_neighbours": 12}

    def objective(opd_um):
        bent = replace(psf, mask=replace(psf.mask, opd_um=opd_um))
        point = jnp.array([0.0, 0.0, 1.0], jnp.float32)
        return density_bound_um(jax.random.key(0), bent, point, PHOTONS, BACKGROUND, 0.3, **sizes).sum()

    assert psf.mask is not None
    opd_um = psf.mask.opd_um
    value, slope = jax.jit(objective), jax.jit(jax.value_and_grad(objective))
    clocks = {
        "value": stopwatch(lambda: value(opd_um).block_until_ready()),
        "value_and_gradient": stopwatch(lambda: slope(opd_um)[1].block_until_ready()),
    }
    return in_turn(clocks, 5)


def rows(numbers: dict) -> Rows:
    dipoles, matrices = (list(numbers[key].values()) for key in ("dipoles", "fisher_matrix_against_differences"))
    for key, claim in (
        ("fixed_dipole_against_direct_sum", "fixed dipoles against a direct sum over rays, share of the peak"),
        ("halves_against_the_whole", "polarised halves against the whole, share of the peak"),
        ("mean_over_orientations_against_free", "mean over orientations against the free dipole, share of the peak"),
    ):
        yield claim, "<= 1e-6", f"{max(part[key] for part in dipoles):.1e}"
    worst = max(error for part in matrices for error in part.values())
    yield "Fisher matrix against finite differences: all parameters, three cameras", "<= 1e-6", f"{worst:.1e}"
    among = numbers["neighbours"]["effective_nm"]
    shown = "; ".join(f"{name} {' / '.join(f'{v:.1f}' for v in by['1.0'])}" for name, by in among.items())
    yield "bound at 1 emitter per um2, x / y / z in nm, 3,500 photons, background 50", "reported", shown


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    numbers = {"dipoles": dipoles(), "fisher_matrix_against_differences": matrices(), "neighbours": neighbours()}
    for name, part in numbers.items():
        print(name, part)
    print(write_result("fisher", numbers))


if __name__ == "__main__":
    main()
