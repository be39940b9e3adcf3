"""What the gallery shows: each set's commands, as a user would type them, and what was seen in its picture.

Paths: $COLOCUS_DATA is the folder of the data sets, `$G` the folder of the results. `seen` was written by eye.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Plate:
    """One data set: `commands` in order, the `table` that they leave in $G, whether its licence allows a picture."""

    name: str
    title: str
    licence: str
    picture: bool
    commands: tuple[str, ...]
    table: str
    seen: str


_STORM = "$COLOCUS_DATA/ds3d-tetrapod-storm/frames_01-33.tif"
_NETWORKS = "$COLOCUS_DATA/ds3d-networks"

PLATES = (
    Plate(
        "ds3d-tetrapod-storm",
        "Microtubules through a Tetrapod, our list decoder",
        "DeepSTORM3D, MIT",
        True,
        (
            f"colocus localize {_STORM} --model runs/storm --out $G/storm.csv",
            "colocus render $G/storm.csv --out $G/ds3d-tetrapod-storm.png --pixel 60 --mode gaussian --depth "
            "--sigma 100",
        ),
        "storm.csv",
        "the outline of the cell and the low, purple sheet at its upper left; the dark round holes are where "
        "nuclei keep fibres out, yellow and green rows rise over the right one. 33 frames are far too few for "
        "continuous microtubules: what is drawn is a sprinkling along them.",
    ),
    Plate(
        "ds3d-tetrapod-storm-published",
        "The same cell, a part of ten frames, DeepSTORM3D's published weights",
        "DeepSTORM3D, MIT",
        True,
        (
            f"colocus localize {_STORM} --model {_NETWORKS}/demo2_tetrapod_loss/weights_best_loss.pkl "
            "--model-config demo2 --frames 0:10 --rows 90:220 --columns 180:340 --out $G/storm-published.csv",
            "colocus render $G/storm-published.csv --out $G/ds3d-tetrapod-storm-published.png --pixel 30 "
            "--mode gaussian --depth --sigma 40",
        ),
        "storm-published.csv",
        "single molecules, some of them in rows, flat and low at the upper left, high at the lower right, as "
        "in the picture above. Ten frames of a small part: no structure can be told.",
    ),
    Plate(
        "ds3d-learned-telomeres",
        "Telomeres through a learned mask, DeepSTORM3D's published weights",
        "DeepSTORM3D, MIT",
        True,
        (
            "colocus localize $COLOCUS_DATA/ds3d-learned-telomeres/telomeres1.tif "
            f"--model {_NETWORKS}/demo5_learned_loss/weights_best_loss.pkl --model-config demo5 --out $G/telomeres.csv",
            "colocus render $G/telomeres.csv --out $G/ds3d-learned-telomeres.png --pixel 50 --mode gaussian --depth "
            "--sigma 100",
        ),
        "telomeres.csv",
        "separate spots that fill the outline of one nucleus, most of them between 2.6 and 4.0 um; as many as "
        "the original program's stored list has. Two lie high (yellow), one of them next to another spot: "
        "perhaps false.",
    ),
    Plate(
        "locan-dstorm",
        "Five dSTORM frames, Gaussian fits",
        "Locan, BSD-3-Clause",
        True,
        (
            "colocus localize $COLOCUS_DATA/locan-dstorm/images.tif --model gaussian --gain 4.5 --offset 440 "
            "--out $G/locan.csv gaussian_sigma_um=0.16 pixel_um=0.1335",
            "colocus render $G/locan.csv --out $G/locan-dstorm.png --pixel 40 --mode gaussian --region 0,17.1,0,17.1 "
            "--min-sigma 60",
        ),
        "locan.csv",
        "five molecules, each found in one frame or in several. Not an image of anything: the set is five frames long.",
    ),
    Plate(
        "picasso-sim",
        "Simulated DNA-PAINT, Gaussian fits",
        "Picasso, MIT",
        True,
        (
            "colocus localize $COLOCUS_DATA/picasso-sim/testdata.raw --model gaussian --gain 1 --offset 0 "
            "--out $G/picasso.csv gaussian_sigma_um=0.131 pixel_um=0.16",
            "colocus convert $COLOCUS_DATA/picasso-sim/testdata_locs.hdf5 --pixel 160 --out $G/picasso-all.csv",
            "colocus filter $G/picasso-all.csv --out $G/picasso-own.csv frames=[0,99]",
            "colocus evaluate $G/picasso.csv --truth $G/picasso-own.csv --gate 100 --out $G/picasso.json",
            "colocus render $G/picasso.csv --out $G/picasso-sim.png --pixel 10 --mode gaussian --region 0,5.12,0,5.12 "
            "--min-sigma 20",
        ),
        "picasso.csv",
        "seven of the nine origami that were simulated, each blinking at one or two of its sites; in a "
        "hundred frames the other two did not light up.",
    ),
    Plate(
        "deepstorm-sim-tubulin",
        "Simulated microtubules, 5.5 molecules per um² in a frame, Gaussian fits",
        "Deep-STORM, MIT (structure of the EPFL 2013 challenge)",
        True,
        (
            "colocus localize $COLOCUS_DATA/deepstorm-sim-tubulin/frames_001-240.tif --model gaussian --gain 2.06 "
            "--offset 100 --frames 0:80 --out $G/tubulin.csv gaussian_sigma_um=0.11 pixel_um=0.1 chi2_max=100",
            "zcat $COLOCUS_DATA/deepstorm-sim-tubulin/positions_001-240.csv.gz | awk -F, -v OFS=, "
            '\'NR == 1 { print "Ground-truth,frame,xnano,ynano,znano,intensity" } '
            "NR > 1 && $1 <= 80 { print NR,$1,$2,$3,0,1 }' > $G/tubulin-truth.csv",
            "colocus evaluate $G/tubulin.csv --truth $G/tubulin-truth.csv --gate 100 --dimensions 2 "
            "--out $G/tubulin.json",
            "colocus render $G/tubulin.csv --out $G/deepstorm-sim-tubulin.png --pixel 20 --mode gaussian "
            "--min-sigma 15",
        ),
        "tubulin.csv",
        "the filaments, thin and continuous where they run alone; where two or three come closer than a "
        "spot's width (left edge, upper right, the loop below) points fill the space between them. Fits of "
        "one spot after the other miss most molecules at this density.",
    ),
    Plate(
        "storm-analysis-sim",
        "Simulated spots on an even field, Gaussian fits",
        "storm-analysis, MIT",
        True,
        (
            "colocus localize $COLOCUS_DATA/storm-analysis-sim/test_300x200.tif --model gaussian --gain 1 "
            "--offset 100 --out $G/storm-analysis.csv gaussian_sigma_um=0.16 pixel_um=0.16",
            "colocus render $G/storm-analysis.csv --out $G/storm-analysis-sim.png --pixel 100 --mode gaussian "
            "--sigma 100",
        ),
        "storm-analysis.csv",
        "an even scatter, as simulated: no structure to see, and no grid of pixel centres either.",
    ),
    Plate(
        "picasso-egfr",
        "EGFR on a cell, Picasso's own molecules, drawn",
        "Picasso, MIT",
        True,
        (
            "colocus convert $COLOCUS_DATA/picasso-egfr/egfr_mols.hdf5 --pixel 130 --out $G/egfr.csv",
            "colocus render $G/egfr.csv --out $G/picasso-egfr.png --pixel 40 --mode gaussian --min-sigma 50",
        ),
        "egfr.csv",
        "three round fields, as they were picked, filled evenly with single molecules; no clusters stand out.",
    ),
    Plate(
        "thunderstorm-tubulins1",
        "One frame of simulated tubulin, Gaussian fits",
        "ThunderSTORM, GPL-3.0: numbers only",
        False,
        (
            "colocus localize $COLOCUS_DATA/thunderstorm-tubulins1/tubulins1_00020.tif --model gaussian --gain 1.6 "
            "--offset 84 --out $G/tubulins1.csv gaussian_sigma_um=0.2 pixel_um=0.15 chi2_max=10",
            "sed 's/, 20,/, 1,/' $COLOCUS_DATA/thunderstorm-tubulins1/tubulins1_00020.csv > $G/tubulins1-truth.csv",
            "colocus evaluate $G/tubulins1.csv --truth $G/tubulins1-truth.csv --gate 250 --dimensions 2 "
            "--out $G/tubulins1.json",
        ),
        "tubulins1.csv",
        "no picture. 45 of the 49 molecules and no false one; those that are missing lie in dense places.",
    ),
    Plate(
        "autods3d-laminb1-dh",
        "Lamin B1 through a double helix, PSF retrieved from its bead scan, fits",
        "AutoDS3D, no licence: numbers only",
        False,
        (
            "colocus calibrate-camera $COLOCUS_DATA/autods3d-laminb1-dh/frames_00000-00062.tif --out $G/dh-camera",
            "colocus retrieve $COLOCUS_DATA/autods3d-laminb1-dh/bead_zscan.tif --focus 1:-1:41 "
            "--microscope benchmarks/gallery/double-helix.toml --out $G/dh-beads",
            "colocus localize $COLOCUS_DATA/autods3d-laminb1-dh/frames_00000-00062.tif --model $G/dh-beads/psf.npz "
            "--camera $G/dh-camera/camera.toml --frames 0:4 --out $G/dh.csv z_min_um=0 z_max_um=1.7 focus_um=1.1 "
            "chi2_max=10",
            "colocus render $G/dh.csv --out $G/dh.png --pixel 80 --mode gaussian --depth --min-sigma 60",
        ),
        "dh.csv",
        "no picture. In ours the molecules fill the oval of one nucleus, none outside it but a few; all "
        "depths occur side by side, and four frames are too few to tell the shell that lamin should be.",
    ),
    Plate(
        "autods3d-tetrapod",
        "The raw frames of the Tetrapod cell, PSF retrieved from its bead scan, fits",
        "AutoDS3D, no licence: numbers only",
        False,
        (
            "colocus calibrate-camera $COLOCUS_DATA/autods3d-tetrapod/frames_00000-00032_00050-00076.tif "
            "--out $G/tp-camera",
            "colocus retrieve $COLOCUS_DATA/autods3d-tetrapod/bead_zstack.tif --focus=-3.5:2:56 "
            "--microscope benchmarks/gallery/tetrapod.toml --out $G/tp-beads",
            "colocus localize $COLOCUS_DATA/autods3d-tetrapod/frames_00000-00032_00050-00076.tif "
            "--model $G/tp-beads/psf.npz --camera $G/tp-camera/camera.toml --frames 0:4 --out $G/tp.csv "
            "z_min_um=0 z_max_um=4 focus_um=1.5 stamp_px=61",
            "colocus render $G/tp.csv --out $G/tp.png --pixel 80 --mode gaussian --depth --min-sigma 60",
        ),
        "tp.csv",
        "no picture. Some 110 rows a frame, against some 40 of either network in the same exposures above, "
        "and depths that are mixed where theirs change smoothly over the cell: many rows are false. Fits of "
        "one molecule after the other do not take Tetrapods apart that overlap this much.",
    ),
    Plate(
        "vipr-epfl-dh-beads",
        "Four rendered double-helix beads, PSF retrieved from the movie itself, fits",
        "SMLM challenge 2016, not stated: numbers only",
        False,
        (
            "colocus convert $COLOCUS_DATA/vipr-epfl-dh-beads/rows_000-090.tif --out $G/epfl-bead.ome.tif "
            "--rows 2:37 --columns 7:42",
            "colocus retrieve $G/epfl-bead.ome.tif --focus 0.75:-0.75:151 --microscope benchmarks/gallery/epfl.toml "
            "--out $G/epfl-beads retrieval.kind=scalar retrieval.bead_diameter_um=0",
            "colocus localize $COLOCUS_DATA/vipr-epfl-dh-beads/rows_000-090.tif --model $G/epfl-beads/psf.npz "
            "--gain 13.5 --offset 100 --out $G/epfl.csv z_min_um=-0.8 z_max_um=0.8 focus_um=0.694 chi2_max=100",
            'awk -F, -v OFS=, \'NR == 1 { print "Ground-truth,frame,xnano,ynano,znano,intensity" } '
            "NR > 1 { print NR,$2,$3,$4,$5,$6 }' $COLOCUS_DATA/vipr-epfl-dh-beads/truth.csv > $G/epfl-truth.csv",
            "colocus evaluate $G/epfl.csv --truth $G/epfl-truth.csv --out $G/epfl.json",
        ),
        "epfl.csv",
        "no picture. Depths follow the truth (`focus_um` is the focus offset that `retrieve` reports) where a "
        "bead is found; above 0.3 um fits end outside their limits, and beyond 0.5 um none is left. Sideways "
        "there is a constant shift of more than a pixel: this set counts a bead's place from another point of "
        "its image than the centroid, which retrieval takes. Photons come out six times too many (30,000 are "
        "true): the retrieved pupil sends most of its light beyond the crop, where no pixel speaks against "
        "it.",
    ),
)
