"""Which mask reads best? Masks of the library, published, learned and designed, all read by the joint fit.

    python benchmarks/masks_for_joint.py [--frames 24] [--only 'even/*/18'] [--minutes 12]
    python benchmarks/masks_for_joint.py --design found15-0

Optics, camera and light of preset `quick`, frames of 64 x 64 px over 4 um (`crowds/scenes.py`: the same scenes for
every mask, drawn whole or with an even stray background). Cells are DRAWN/MASK/EMITTERS. "published" is the learned
mask of DeepSTORM3D (COLOCUS_DATA), "learned" that of `make demo`. Designed masks, foundW-SEED with a weight W of the
crosstalk, are what `colocus design` finds with the settings of `design_config`; `--design` finds one (minutes) and
keeps its modes and bounds in results/masks_for_joint_designs.json, from where it is read. Intervals of 95 % by drawing
frames anew.
"""

import json

import numpy as np

from crowds.reading import joint_reader, read
from crowds.record import cell_parser, fill, rounded
from crowds.scenes import DEPTHS_UM, DRAWN, MASKS, SCENE, SCOPE, STAMP_PX, draw, per_um2
from experiments.instrument.design import design
from experiments.instrument.design_config import DesignConfig
from experiments.progress import Display
from localization import bootstrap, score_frames
from measure.record import RESULTS, Rows, write_result
from training import MaskConfig, PsfConfig, to_dict
from worlds import DATA

PLACE = 161  # of its rows in benchmarks/README.md

NAME, DESIGNS = "masks_for_joint", "masks_for_joint_designs"
RECORDS = (NAME, DESIGNS)  # the second keeps the designs and has no rows
COUNTS = (18, 36, 72)
FEWER = {36: 2, 72: 4}  # a cell of so many emitters has so many times fewer frames
SEEDS = (0, 1, 2)
GIVEN = ("tetrapod", "double_helix", "published", "learned", "designed")
# at 0.55 per um2: Jaccard, lateral and axial RMSE in nm; Jaccard at 1.1 and 2.2 per um2, drawn whole
TARGET_18, TARGET_WHOLE = (0.98, 10, 25), {36: 0.95, 72: 0.75}
SHOWN = ("jaccard", "precision", "recall", "rmse_xy_um", "rmse_z_um", "rmse_x_um", "rmse_y_um")


def design_config(name: str) -> DesignConfig:
    """The search of one designed mask, `foundW-SEED`: the bound times exp(W X) with the crosstalk X in um^2.

    In `foundWzS-SEED` the axial bound counts S % of a lateral one.
    """
    weights, seed = name.removeprefix("found").split("-")
    weight, _, axial = weights.partition("z")
    return DesignConfig(
        microscope=SCOPE,
        psf=PsfConfig(stamp_px=STAMP_PX),
        z_min_um=DEPTHS_UM[0],
        z_max_um=DEPTHS_UM[1],
        photons=25_000.0,
        background=50.0,
        over_depths="rms",
        axis_weights=(1.0, 1.0, float(axial or 100) / 100),
        crosstalk_weight=float(weight),
        free_focus=False,
        starts=1,
        start_masks=(MaskConfig("astigmatism", rms_um=0.06),),
        screening=15,
        iterations=120,
        seed=int(seed),
    )


def designs() -> dict:
    """What was designed so far: modes (rms radians) and numbers of each."""
    path = RESULTS / f"{DESIGNS}.json"
    return json.loads(path.read_text())["numbers"] if path.exists() else {}


def add_design(name: str) -> None:
    config = design_config(name)
    with Display(every=0.1) as display:
        result = design(config, display)
    scored = result.numbers()["masks"][:1]  # none after an interruption, which keeps the best so far
    kept = {
        "modes_rad": rounded(np.asarray(result.design.params, float).tolist(), 4),
        "settings": to_dict(config),
        "seconds": round(result.seconds, 1),
        "best_start": result.stages[0][1].best_start,
        "finished": result.design.finished,
        **{key: ours[key] for ours in scored for key in ("mean_nm", "among_z_um", "among_nm", "crosstalk_um2")},
    }
    print("\n".join(["", name, *result.lines()]), flush=True)
    write_result(DESIGNS, {**designs(), name: kept})


def cells() -> list[str]:
    found = designs()
    MASKS["published"] = MaskConfig("file", path=str(DATA / "ds3d-masks" / "mask_learned.npy"), turn_180=True)
    MASKS.update({name: tuple(each["modes_rad"]) for name, each in found.items()})
    return [f"{drawn}/{mask}/{count}" for count in COUNTS for drawn in DRAWN for mask in (*found, *GIVEN)]


def measure(cell: str, frames: int) -> dict:
    drawn, mask, count = cell.split("/")
    frames = max(1, frames // FEWER.get(int(count), 1))
    scenes = draw(mask, int(count), frames, drawn)
    reading = read(joint_reader(mask, drawn, photons_min=SCENE.photons_min / 2), scenes.images)
    scored = bootstrap(score_frames(reading.found, scenes.truth, n_frames=frames), rng=0)
    return {
        "frames": frames,
        **{key: rounded([scored[key].estimate, scored[key].low, scored[key].high]) for key in SHOWN},
        "cpu_s_per_frame": rounded(reading.cpu_s_per_frame, 3),
    }


def rows(numbers: dict) -> Rows:
    found = numbers.get("cells", {})
    for drawn in DRAWN:
        way = "with an even stray background" if drawn == "even" else "drawn whole"
        for count in COUNTS:
            masks = [
                cell.split("/")[1] for cell in found if cell.startswith(f"{drawn}/") and cell.endswith(f"/{count}")
            ]
            if not masks:
                continue
            target = "reported"
            if count == 18:
                target = "designed: >= {:g}, <= {:g}, <= {:g} nm".format(*TARGET_18)
            elif drawn == "whole":
                target = f"designed: >= {TARGET_WHOLE[count]:g}"
            yield (
                f"masks read by the joint fit, {per_um2(count):.2f} emitters per um2 over 4 um, {way}: "
                "Jaccard at 250/500 nm (lateral, axial RMSE)",
                target,
                "; ".join(f"{mask} {_said(found[f'{drawn}/{mask}/{count}'])}" for mask in masks),
            )


def _said(cell: dict) -> str:
    lateral, axial = (1e3 * cell[key][0] for key in ("rmse_xy_um", "rmse_z_um"))
    return f"{cell['jaccard'][0]:.3f} ({lateral:.0f}, {axial:.0f} nm)"


def main() -> None:
    parser = cell_parser(__doc__, 24)
    parser.add_argument("--design", nargs="*", default=[], metavar="NAME", help="foundW-SEED")
    options = parser.parse_args()
    for name in options.design:
        add_design(name)
    if not options.design:
        density = {str(count): rounded(per_um2(count), 3) for count in COUNTS}
        fill(NAME, cells(), measure, options, emitters_per_um2=density, seeds=list(SEEDS))


if __name__ == "__main__":
    main()
