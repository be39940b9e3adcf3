"""The smallest run that still has every part: seconds on two cores."""

from training import RunConfig, from_dict

TINY = {
    "microscope": {"focus_um": 0.5},
    "psf": {"stamp_px": 11, "pupil_px": 16},
    "mask": {"name": "astigmatism"},
    "scene": {"frame_px": 16, "count_max": 2, "z_max_um": 1.0},
    "decoder": {"channels": 8, "head_channels": 8, "dilations": [1, 2]},
    "optimiser": {"steps": 6, "batch": 4, "checkpoint_every": 2, "log_every": 1},
}
LEARN = {"learn": {"parametrisation": "zernike", "n_modes": 6}}


def tiny_run(**changes) -> RunConfig:
    """The tiny run with some top-level tables replaced or extended."""
    return from_dict(RunConfig, {**TINY, **changes})
