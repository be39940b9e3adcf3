"""The data sets with exact truth as frames of counts and tables: which half pixel, which unit, which camera.

What a set's own description states is used (pixel, offset, gain, training frames); a camera that nobody states is
estimated from the frames themselves (`noise_line`). Truth is read here and used for scores alone, except where a set
comes with training frames or beads that are kept apart from the tested ones (`calibration`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from localization import Gate, Localizations, make_localizations, select
from worlds import DATA

GATES_3D, GATES_2D, GATES_DENSE = (
    {gate.name: gate for gate in gates}
    for gates in ([Gate()], [Gate(axial_um=None)], [Gate(0.05, None), Gate(0.1, None)])
)
TUBULIN_FRAMES = 60  # of 240: 13 000 emitters, minutes of fits


@dataclasses.dataclass(frozen=True, eq=False)
class TruthSet:
    """Frames (n, H, W) in counts with their truth; `gain` (counts a photon) and `offset` one number or one a frame.

    `training` is another set of the same kind whose truth may be used to choose settings; `preset` the configuration
    of our decoder for it; `notes` say what a reader of the table must know.
    """

    name: str
    frames: NDArray
    truth: Localizations
    pixel_um: float
    gain: NDArray
    offset: NDArray
    gates: dict[str, Gate]
    density_per_um2: float
    preset: str = ""
    run_camera: bool = False  # our decoder's run knows the camera of these counts
    emccd: bool = False
    read_noise_e: float = 0.0
    region_um: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] | None = None
    training: "TruthSet | None" = None
    notes: str = ""

    @property
    def deep(self) -> bool:
        """Whether depths are known and scored."""
        return not any(gate.flat for gate in self.gates.values())


def _make(name: str, frames: NDArray, truth: Localizations, pixel_um: float, **more: Any) -> TruthSet:
    n = len(frames)
    for key in ("gain", "offset"):
        more[key] = np.broadcast_to(np.asarray(more[key], float), (n,))
    area = np.prod(frames.shape[1:]) * pixel_um**2
    return TruthSet(
        name, np.asarray(frames), truth, pixel_um, density_per_um2=float(truth.frame.size / n / area), **more
    )


def noise_line(frame: NDArray) -> tuple[float, float]:
    """Counts a photon and counts without light of one frame, from the noise of its own pixels.

    Noise is the second difference of a 2 x 2 block ((a - b - c + d) / 2: even gradients fall out), level its mean; the
    line runs through the medians of squares in bins of level, over 0.455 (the median of chi-square with one degree).
    Images of molecules are smooth over two pixels only in part, so the brightest tenth is left out; good to 10-30 %.
    """
    image = np.asarray(frame, float)
    a, b, c, d = image[:-1:2, :-1:2], image[:-1:2, 1::2], image[1::2, :-1:2], image[1::2, 1::2]
    n, m = (min(x.shape[k] for x in (a, b, c, d)) for k in (0, 1))
    a, b, c, d = (x[:n, :m].ravel() for x in (a, b, c, d))
    level, square = (a + b + c + d) / 4, ((a - b - c + d) / 2) ** 2
    edges = np.quantile(level, np.linspace(0, 0.9, 10))
    where = np.clip(np.searchsorted(edges, level, side="right") - 1, 0, 9)
    levels = np.array([level[where == k].mean() for k in range(9)])
    variance = np.array([np.median(square[where == k]) / 0.455 for k in range(9)])
    gain, zero = np.polyfit(levels, variance, 1)
    return float(gain), float(-zero / gain)


def tubulin() -> TruthSet:
    """Deep-STORM's simulated microtubules: nanometres from the outer corner, 100 nm pixels, an EMCCD's noise."""
    folder = DATA / "deepstorm-sim-tubulin"
    rows = pd.read_csv(folder / "training_20_positions.csv.gz")
    frames = tifffile.imread(folder / "training_20_frames.tif")
    place = make_localizations(rows["frame"] - 1, rows["x [nm]"] / 1e3, rows["y [nm]"] / 1e3, np.zeros(len(rows)))
    gain = counts_per_photon(frames, rows)
    same: dict[str, Any] = {
        "gain": gain, "offset": 100.0, "gates": GATES_DENSE, "emccd": True, "preset": "tubulin-2d",
    }  # fmt: skip
    training = _make("deepstorm-sim-tubulin, training", frames, place, 0.1, **same)
    rows = pd.read_csv(folder / "positions_001-240.csv.gz").query("frame_1based <= @TUBULIN_FRAMES")
    truth = make_localizations(rows["frame_1based"] - 1, rows["x_nm"] / 1e3, rows["y_nm"] / 1e3, np.zeros(len(rows)))
    return _make(
        "deepstorm-sim-tubulin",
        tifffile.imread(folder / "frames_001-240.tif")[:TUBULIN_FRAMES],
        truth,
        0.1,
        **same,
        training=training,
        notes=f"Gain {gain:.3f} counts a photon from the 20 training frames (counts over the light that their tables "
        "state); noise twice that of shot noise, as of an EMCCD. Settings of our fits and of the peer were chosen on "
        "the training frames.",
    )


def tubulin_sigma_um() -> float:
    """The median sigma of the spots in the 20 training frames, from their table."""
    rows = pd.read_csv(DATA / "deepstorm-sim-tubulin" / "training_20_positions.csv.gz")
    return float(np.median(rows["sigma [nm]"].to_numpy())) / 1e3


def counts_per_photon(frames: NDArray, rows: pd.DataFrame) -> float:
    """Slope of counts against the photons that the training table puts into each pixel."""
    from scipy.special import ndtr

    expected = np.zeros(frames.shape)
    columns = ("frame", "x [nm]", "y [nm]", "sigma [nm]", "intensity [photon]")
    for frame, x, y, sigma, photons in zip(*(rows[name] for name in columns), strict=True):
        across, down = (np.diff(ndtr((100 * np.arange(n + 1) - at) / sigma)) for n, at in ((64, x), (64, y)))
        expected[int(frame) - 1] += photons * np.outer(down, across)
    return float(np.polyfit(expected.ravel(), frames.astype(float).ravel(), 1)[0])


def storm_2d() -> TruthSet:
    """Storm-analysis's 2D test: pixel-centre indices from 0; 160 nm pixels, gain 1, offset 100 of its own settings."""
    folder = DATA / "storm-analysis-sim"
    rows = pd.read_csv(folder / "test_300x200_truth.csv")
    return _make(
        "storm-analysis-sim, 2D",
        tifffile.imread(folder / "test_300x200.tif"),
        _pixels(rows, 0.16),
        0.16,
        gain=1.0,
        offset=100.0,
        gates=GATES_2D,
        preset="storm-2d",
        notes="Pixel of 160 nm, gain and offset as in the settings that the source analyses these frames with.",
    )


def storm_dh() -> TruthSet:
    """Storm-analysis's double helix: the same lattice in every frame; frame 0 calibrates, frames 1 to 4 are scored."""
    folder = DATA / "storm-analysis-sim"
    rows = pd.read_csv(folder / "test_300x200_dh_truth.csv")
    frames = tifffile.imread(folder / "test_300x200_dh.tif")
    same: dict[str, Any] = {"gain": 1.0, "offset": 100.0, "gates": GATES_3D}
    first = rows.query("frame_0based == 0")
    training = _make("storm-analysis-sim, DH, frame 0", frames[:1], _pixels(first, 0.16), 0.16, **same)
    rest = rows.query("frame_0based > 0")
    rest = rest.assign(frame_0based=rest["frame_0based"] - 1)
    return _make(
        "storm-analysis-sim, double helix",
        frames[1:],
        _pixels(rest, 0.16),
        0.16,
        **same,
        training=training,
        notes="The source draws two Gaussians that turn with z, which no pupil makes: a PSF retrieved from the 24 "
        "emitters of frame 0 is a fit to that. Frames 1 to 4 are scored.",
    )


def _pixels(rows: pd.DataFrame, pixel_um: float) -> Localizations:
    x_um, y_um = ((rows[name] + 0.5) * pixel_um for name in ("col_px", "row_px"))
    return make_localizations(rows["frame_0based"], x_um, y_um, rows["z_nm"] / 1e3, photons=rows["height_counts"])


def thunderstorm() -> TruthSet:
    """One frame of the 2013 challenge's tubulins: nanometres from the outer corner, 150 nm pixels."""
    folder = DATA / "thunderstorm-tubulins1"
    rows = pd.read_csv(folder / "tubulins1_00020.csv", skipinitialspace=True)
    truth = make_localizations(np.zeros(len(rows)), rows["xnano"] / 1e3, rows["ynano"] / 1e3, rows["znano"] / 1e3)
    frame = tifffile.imread(folder / "tubulins1_00020.tif")
    gain, offset = noise_line(frame)
    return _make(
        "thunderstorm-tubulins1",
        frame[None],
        truth,
        0.15,
        gain=gain,
        offset=offset,
        gates=GATES_2D,
        preset="tubulins-2d",
        notes=f"One frame: no intervals by resampling frames. Camera from the frame's own noise: {gain:.2f} counts a "
        f"photon above {offset:.0f}.",
    )


def ds3d(demo: int) -> TruthSet:
    """DeepSTORM3D's simulations: micrometres from the centre of the middle pixel of 121."""
    folder = DATA / "ds3d-sim-reference"
    images = np.load(folder / f"images_demo{demo}.npy").astype(float)
    rows = pd.read_csv(folder / f"truth_demo{demo}.csv")
    if demo == 2:  # counts / 250; counts are photons above a level between 20 and 40, read noise 8 to 12
        images, gain, offset, read_noise = 250 * images, 1.0, 30.0, 10.0
        notes = "Truth: all emitters, also those under 6000 counts that the published scores leave out."
    else:
        gain, offset = np.array([noise_line(image) for image in images]).T
        read_noise = 0.0
        notes = "Frames are stretched to [0, 1] each: counts a photon from each frame's own noise."
    half = 121 * 0.11 / 2
    truth = make_localizations(
        rows["image"], rows["x_um"] + half, rows["y_um"] + half, rows["z_um"], photons=rows["counts"]
    )
    return _make(
        f"ds3d-sim-reference, demo{demo}", images, truth, 0.11, gain=gain, offset=offset, read_noise_e=read_noise,
        run_camera=demo == 2,
        gates=GATES_3D, preset={2: "ds3d-storm", 3: "ds3d-tetrapod", 5: "ds3d-learned"}[demo], notes=notes,
    )  # fmt: skip


# sets of spots in focus, and the sigma of the spots in um
IN_FOCUS: dict[str, tuple[Callable[[], TruthSet], float]] = {
    "tubulin": (tubulin, 0.11),
    "storm-2d": (storm_2d, 0.16),
    "thunderstorm": (thunderstorm, 0.12),
}

EPFL_CALIBRATION_BEAD = "0"


def epfl() -> TruthSet:
    """Rendered double-helix beads: nanometres from the outer corner, z -0.75 to 0.75 um over 151 frames.

    The bead of `calibration` is taken out of the scored list (everything within a micrometre of it).
    """
    folder = DATA / "vipr-epfl-dh-beads"
    rows = pd.read_csv(folder / "truth.csv", dtype={"bead": str})
    tested = rows[rows["bead"] != EPFL_CALIBRATION_BEAD]
    truth = make_localizations(
        tested["frame_1based"] - 1, tested["x_nm"] / 1e3, tested["y_nm_in_this_crop"] / 1e3, tested["z_nm"] / 1e3,
        photons=tested["photons"],
    )  # fmt: skip
    return _make(
        "vipr-epfl-dh-beads",
        tifffile.imread(folder / "rows_000-090.tif"),
        truth,
        0.1,
        gain=13.5,
        offset=100.0,
        gates=GATES_3D,
        notes="PSF retrieved from one bead (every sixth frame), scored on the three others in all frames. The stated "
        "position lies 0.1 to 0.4 px from the spots' centre and moves with z: the medians hold that.",
    )


def epfl_calibration(bead: str = EPFL_CALIBRATION_BEAD) -> tuple[tuple[float, float], NDArray]:
    """x, y and the depths over the frames of the bead that the PSF is retrieved from, or of another."""
    rows = pd.read_csv(DATA / "vipr-epfl-dh-beads" / "truth.csv", dtype={"bead": str})
    rows = rows[rows["bead"] == bead]
    one = rows.iloc[0]
    return (float(one["x_nm"]) / 1e3, float(one["y_nm_in_this_crop"]) / 1e3), np.asarray(rows["z_nm"], float) / 1e3


def tested_beads(found: Localizations) -> Localizations:
    """Leave out of a list what lies within a micrometre of the bead that `epfl` is calibrated with."""
    (x_um, y_um), _ = epfl_calibration()
    return select(found, np.hypot(found.x_um - x_um, found.y_um - y_um) > 1.0)


def fazel() -> tuple[TruthSet, TruthSet]:
    """Two planes of one tracked particle; x, y from the centre of pixel 16 of 32 (0-based), z from the first focus."""
    file = np.load(DATA / "fazel-biplane" / "Data_Simulated.npz")
    x, y, z = (file[name].ravel() / 1e3 for name in ("Xtrue", "Ytrue", "Ztrue"))
    truth = make_localizations(np.arange(len(z)), x + 1.65, y + 1.65, z)
    frames = np.moveaxis(file["Data"].astype(float), (3, 2), (0, 1))  # plane, frame, row, column
    first, second = (
        _make(f"fazel-biplane, plane {k + 1}", plane, truth, 0.1, gain=1.0, offset=0.0, gates=GATES_3D)
        for k, plane in enumerate(frames)
    )
    return first, second
