"""The public recordings that generators are fitted to: which movie, which optics, where nothing emits."""

import dataclasses

import numpy as np

from worlds import ROOT

RUNS = ROOT / "runs" / "scene_recordings"
Rectangle = tuple[slice, slice]


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording: `movie` in the data folder, its optics, and where it has no emitters (rows, columns)."""

    movie: str
    psf: str
    settings: tuple[str, ...]
    preset: str = "generator"
    camera: str | None = None
    empty: tuple[Rectangle, ...] = ()
    truth: str | None = None
    frc_pixel_um: float | None = None


RECORDINGS = {
    "tetrapod": Recording(
        "autods3d-tetrapod/frames_00000-00032_00050-00076.tif",
        "runs/gallery/tp-beads/psf.npz",
        ("z_min_um=0", "z_max_um=4", "slots=40", "crops=100", "fit.steps=800"),
        camera="runs/gallery/tp-camera/camera.toml",
        empty=(np.s_[195:240, 95:165], np.s_[130:165, 240:280]),
        frc_pixel_um=0.04,
    ),
    "lamin": Recording(
        "autods3d-laminb1-dh/frames_00000-00062.tif",
        "runs/gallery/dh-beads/psf.npz",
        ("z_min_um=0", "z_max_um=1.7", "slots=64", "crop_px=80", "crops=100", "fit.steps=800"),
        camera="runs/gallery/dh-camera/camera.toml",
        empty=(np.s_[30:150, 0:25], np.s_[20:150, 135:159]),
        frc_pixel_um=0.03,
    ),
    "telomeres": Recording(
        "ds3d-learned-telomeres/telomeres1.tif",
        "ds3d-learned",
        # telomeres are larger than the PSF: what is left of them is not to be taken for haze, nor for more emitters
        ("z_min_um=2", "z_max_um=6", "slots=40", "crop_px=80", "photometry=frames", "fit.steps=1000")
        + ("haze_px=5", "cell_px=12", "fit.second_look=false"),
        empty=(np.s_[0:250, 0:18], np.s_[0:80, 140:197]),
    ),
    "tubulin": Recording(
        "deepstorm-sim-tubulin/frames_001-240.tif",
        "tubulin-2d",
        ("slots=120", "crop_px=40", "crops=100", "fit.steps=600"),
        preset="generator-2d",
        truth="deepstorm-sim-tubulin/positions_001-240.csv.gz",
        frc_pixel_um=0.01,
    ),
}  # fmt: skip
