"""Which methods run on which set, with which settings: a generator of rows per set."""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.reading.classical_config import ClassicalConfig
from localization import Gate, Localizations
from worlds import truth_data, truth_psfs
from worlds import truth_methods as methods
from worlds.truth_data import TruthSet

OURS, FITS, PICASSO = "Colocus, list decoder", "Colocus, fits", "Picasso"
WEIGHTS = "DeepSTORM3D, published weights"
GRADIENTS, BOXES = (50, 100, 200, 400, 800, 1500, 3000), (5, 7)  # of Picasso's detection, in photons and pixels
LATERAL = {"250 nm lateral": Gate(axial_um=None)}


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One method on one set: what it found (None: why not in `remark`), and gates other than the set's."""

    of: TruthSet
    method: str
    found: Localizations | None
    remark: str = ""
    gates: dict[str, Gate] | None = None


Arguments = argparse.Namespace
Versions = dict[str, str]


def _ours(one: TruthSet, arguments: Arguments) -> Row:
    found = methods.list_decoder(one, arguments.runs)
    if isinstance(found, str):
        return Row(one, OURS, None, found)
    return Row(one, OURS, found, f"preset {one.preset}")


def _picasso(one: TruthSet, arguments: Arguments, versions: Versions, **gates: Any) -> Row:
    """Its best of a sweep at the widest gate, chosen on training frames, or on the scored ones where there are none."""
    if not arguments.picasso_python:
        return Row(one, PICASSO, None, "not run: give --picasso-python")
    sweep = {"boxes": BOXES, "gradients": GRADIENTS, "methods": ("gausslq", "gaussmle")}
    chosen_on = one.training or one
    tables, version = methods.picasso(chosen_on, arguments.picasso_python, **sweep)
    versions |= version
    gate = list((gates.get("gates") or one.gates).values())[-1]
    name, found = next(methods.best(tables, chosen_on.truth, gate))
    method, box, gradient = name.split("/")
    where = "the scored frames themselves, to its advantage"
    if one.training:
        where = "the training frames"
        one_point = {"boxes": (int(box),), "gradients": (float(gradient),), "methods": (method,)}
        tables, _ = methods.picasso(one, arguments.picasso_python, **one_point)
        (found,) = tables.values()
    remark = (
        f"{method}, box {box}, minimum net gradient {gradient}: best of {len(BOXES) * len(GRADIENTS) * 2} on {where}"
    )
    return Row(one, PICASSO, found, remark, **gates)


def in_focus(name: str) -> Callable[[Arguments, Versions], Iterator[Row]]:
    load, sigma_um = truth_data.IN_FOCUS[name]

    def rows(arguments: Arguments, versions: Versions) -> Iterator[Row]:
        one = load()
        yield _ours(one, arguments)
        found = methods.gaussian_fits(one, sigma_um, ClassicalConfig(pixel_um=one.pixel_um))
        yield Row(one, FITS, found, "Gaussian spots, defaults")
        yield _picasso(one, arguments, versions)

    return rows


def ds3d(demo: int) -> Callable[[Arguments, Versions], Iterator[Row]]:
    def rows(arguments: Arguments, versions: Versions) -> Iterator[Row]:
        one = truth_data.ds3d(demo)
        yield _ours(one, arguments)
        psf, z_range = methods.preset_psf(one.preset, kind="scalar", blur_um=0.11)
        # demo 3 and 5 blur each frame by another 0.75 to 1.25 px: no one PSF explains such bright spots to the noise
        config = ClassicalConfig() if demo == 2 else ClassicalConfig(model_error=0.15, chi2_max=20.0)
        how = f"the set's own mask, scalar PSF; model_error {config.model_error:g}, chi2_max {config.chi2_max:g}"
        how += "" if demo == 2 else ", chosen on the scored frames"
        yield Row(one, FITS, methods.psf_fits(one, psf, z_range, config), how)
        yield Row(one, WEIGHTS, methods.published(one, demo, as_published=True), "read out as published")
        if demo != 2:
            corrected = methods.published(one, demo, as_published=False)
            yield Row(one, WEIGHTS, corrected, "without the read-out's two fine pixels (55 nm)")
        yield Row(one, "DeepSTORM3D, its own program", methods.stored(one, demo), "recorded answers")
        yield Row(one, PICASSO, None, "not run: it finds compact spots, and a Tetrapod has many peaks")

    return rows


def storm_dh(arguments: Arguments, versions: Versions) -> Iterator[Row]:
    one = truth_data.storm_dh()
    yield _ours(one, arguments)
    calibrated = truth_psfs.storm_dh_psf(one, arguments.work)
    yield _double_helix(one, calibrated)
    yield Row(one, PICASSO, None, "not run: it finds compact spots, one for each lobe")


def epfl(arguments: Arguments, versions: Versions) -> Iterator[Row]:
    one = truth_data.epfl()
    yield _ours(one, arguments)
    row = _double_helix(one, truth_psfs.epfl_psf(arguments.work))
    assert row.found is not None
    yield dataclasses.replace(row, found=truth_data.tested_beads(row.found))
    yield Row(one, PICASSO, None, "not run: it finds compact spots, one for each lobe")


def _double_helix(one: TruthSet, calibrated: truth_psfs.Calibrated) -> Row:
    """Fits with a retrieved PSF, which is trusted as far as it explained its own beads."""
    error = float(np.sqrt(calibrated.misfit))
    # sparse and bright: one search, before what the PSF leaves unexplained can be taken for more emitters
    config = ClassicalConfig(model_error=error, chi2_max=20.0)
    found = calibrated.in_set(methods.psf_fits(one, calibrated.psf, (-0.85, 0.85), config))
    return Row(
        one,
        FITS,
        found,
        f"retrieved PSF; one search, chi2_max 20, model_error {error:.2f} (misfit of its retrieval); "
        "chosen on the scored frames",
    )


def fazel(arguments: Arguments, versions: Versions) -> Iterator[Row]:
    planes = truth_data.fazel()
    yield _ours(planes[0], arguments)
    for one, focus_um in zip(planes, truth_psfs.FAZEL_FOCI_UM, strict=True):
        psf = truth_psfs.fazel_psf(focus_um)
        found = methods.psf_fits(one, psf, (-0.7, 0.5), ClassicalConfig(chi2_max=5.0))
        yield Row(
            one,
            FITS,
            found,
            "this plane alone, with the set's own pupil (both together: below); "
            "its orientation and focus chosen on the scored frames",
        )
        yield _picasso(one, arguments, versions, gates=LATERAL)


CASES: dict[str, Callable[[Arguments, Versions], Iterator[Row]]] = {
    "tubulin": in_focus("tubulin"),
    "storm-2d": in_focus("storm-2d"),
    "storm-dh": storm_dh,
    "thunderstorm": in_focus("thunderstorm"),
    "ds3d-demo2": ds3d(2),
    "ds3d-demo3": ds3d(3),
    "ds3d-demo5": ds3d(5),
    "epfl-dh": epfl,
    "fazel-biplane": fazel,
}
