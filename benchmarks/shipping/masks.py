"""The designed masks that come with Colocus: optics/masks/designs/NAME.npz and, beside it, NAME.json.

    python benchmarks/shipping/masks.py [NAME ...]

Finds those that are missing, or, anew, those that are named.

Each is what `colocus design` finds with the settings below, with the record of how: settings, bounds beside masks of
the library, versions. The microscope and the light are those of the preset `designed`, which compares them in use.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/, where measure and worlds are
import pages
from experiments.instrument.design import design
from experiments.instrument.design_config import DesignConfig
from experiments.progress import Display
from measure.record import write_result
from optics.masks import files as mask_io
from pages import design_page
from training import MaskConfig, MicroscopeConfig, PsfConfig, to_dict
from worlds import ROOT

FOLDER = ROOT / "optics" / "masks" / "designs"
_ALONE = DesignConfig(
    microscope=MicroscopeConfig(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, focus_um=2.0),
    psf=PsfConfig(stamp_px=57, pixel="integrated"),
    z_min_um=0.0,
    z_max_um=4.0,
    # the middle of the preset's photons and background, each in proportion
    photons=25_000.0,
    background=50.0,
    # a comparison has one focus for all arms: modes of the mask do what the focus would
    free_focus=False,
    starts=6,
    start_masks=(MaskConfig("tetrapod", range_um=4.0),),
)
DESIGNS = {
    "fisher-4um": _ALONE,
    "density-4um": dataclasses.replace(
        _ALONE,
        density_per_um2=0.6,  # the most that the preset's frames hold
        photons_min=10_000.0,
        photons_max=60_000.0,
        dense_iterations=150,
        learning_rate_rad=0.01,
    ),
    # to be found by the joint reader, images that resemble no part of others; depth to some 13 nm is enough
    "crowd-4um": dataclasses.replace(
        _ALONE,
        over_depths="rms",
        axis_weights=(1.0, 1.0, 0.1),
        crosstalk_weight=50.0,
        starts=1,
        start_masks=(MaskConfig("astigmatism", rms_um=0.06),),
        screening=15,
        iterations=120,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *DESIGNS], metavar="NAME", help=", ".join(DESIGNS))
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    missing = [name for name in DESIGNS if not (FOLDER / f"{name}.json").exists()]
    for name in arguments.names or missing:
        config = DESIGNS[name]
        with Display(every=0.1) as display:
            result = design(config, display)
        print("\n".join(["", name, *result.lines(), ""]), flush=True)
        mask_io.save(FOLDER / f"{name}.npz", result.design.mask)
        record = {"settings": to_dict(config), "design": result.numbers()}
        for mask in record["design"]["masks"]:  # per depth they are the business of `colocus crlb`
            for long in ("z_um", "bounds_nm"):
                del mask[long]
        write_result(name, record, folder=FOLDER)
        pages.write(design_page)


if __name__ == "__main__":
    main()
