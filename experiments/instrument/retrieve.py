"""`colocus retrieve`: from bead files to a calibrated PSF, with the report that says how good it is."""

from collections.abc import Sequence
from pathlib import Path

from experiments.instrument.retrieve_config import RetrieveConfig
from experiments.instrument.retrieve_files import read_beads
from experiments.instrument.retrieve_result import RetrieveResult
from optics.progress import Report, silent
from optics.retrieval.retrieve import retrieve_psf
from training.instrument import build_camera, build_microscope


def retrieve(
    beads: Sequence[Path | str], config: RetrieveConfig = RetrieveConfig(), report: Report = silent
) -> RetrieveResult:
    """Retrieve the PSF of an instrument from TIFF stacks of beads; write it with `RetrieveResult.write`.

    Raises `ConfigError`, `LocalizationError` or `OpticsError`, in one line, before the long work where the input is at
    fault.

    >>> retrieve([])
    Traceback (most recent call last):
    training.settings.ConfigError: name at least one TIFF stack of a bead
    """
    scope = build_microscope(config.microscope)
    camera = None if config.camera is None else build_camera(config.camera)
    stacks, names, notes = read_beads(
        [Path(name) for name in beads],
        config.focus,
        scope,
        camera,
        crop_px=config.crop_px,
        beads_max=config.beads_max,
        opening=config.opening,
    )
    return RetrieveResult(config, retrieve_psf(stacks, config.retrieval, report=report), stacks, names, notes)
