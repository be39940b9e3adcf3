"""What the fields of the pages mean: label with unit, a sentence or two, and the setting that they are in plan.toml."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A field: its label, what it means, and its place in plan.toml ("" for what the plan does not hold)."""

    label: str
    text: str
    setting: str = ""


WORDS = {
    "contrast": Word(
        "contrast (percentiles)",
        "The counts that are drawn black and white, as percentages of the movie's pixels. It changes the picture "
        "only, never the reading.",
    ),
    "log": Word("logarithmic", "Shows dim molecules beside bright ones."),
    "projection": Word(
        "frame or projection",
        "A single frame, or the mean, maximum or standard deviation of up to 200 frames spread over the movie. The "
        "standard deviation shows where molecules blink.",
    ),
    "rectangle": Word(
        "what is drawn",
        "The field to reconstruct; a sparse part, in which molecules are measured; or parts that are left out of the "
        "list. Drag to draw, drag one to move it, click beside it to take it away.",
    ),
    "x0": Word("left (px)", "First column of the rectangle, from 0.", "columns"),
    "y0": Word("top (px)", "First row of the rectangle, from 0.", "rows"),
    "x1": Word("right (px)", "The column after the last of the rectangle.", "columns"),
    "y1": Word("bottom (px)", "The row after the last of the rectangle.", "rows"),
    "region_name": Word("name", "What the report calls this part.", "leave_out"),
    "first": Word("first frame", "The first frame to read, from 0.", "frames"),
    "stop": Word("frame after the last", "Reading ends before this frame.", "frames"),
    "pixel": Word(
        "pixel in the sample (um)",
        "The camera's pixel divided by the magnification. Taken from the movie's tags where they say it; every length "
        "in the result hangs on it.",
        "optics.pixel_um",
    ),
    "method": Word(
        "method",
        "auto chooses by how crowded the frames are. joint fits all molecules of a frame together, classical each by "
        "itself; autods3d trains a network first.",
        "reader.method",
    ),
    "gain": Word(
        "counts per photon",
        "Left empty, the movie's own noise tells it. Give it together with the offset.",
        "camera.gain_adu_per_photon",
    ),
    "offset": Word(
        "counts without light",
        "Left empty, the movie tells it. Give it together with the counts per photon.",
        "camera.offset_adu",
    ),
    "beads": Word(
        "stack of beads",
        "For depth: a stack of images of a bead, one for each focus, as the full name of a file in the folders of this "
        "page. Without it molecules are taken to be in focus.",
        "psf.beads",
    ),
    "focus": Word(
        "focus of its slices (um)",
        "START:STOP:N, such as -3.5:2:56: where the first and the last slice were focused, and how many there are. Or "
        "the full name of a CSV with one focus a line, in the folders of this page.",
        "psf.focus",
    ),
    "crop": Word(
        "crop of a bead (px)",
        "For stacks of whole fields: beads are found and cut out with this side. Empty where the stack shows one bead.",
        "psf.crop_px",
    ),
    "bead_scope": Word("microscope of the beads", "A microscope that was saved; the wavelength is that of the beads."),
    "psf_file": Word(
        "PSF from beads",
        "A psf.npz that was retrieved before, chosen or by its full name, in place of a stack; give depths with it.",
        "psf.file",
    ),
    "psf_low": Word("depths from (um)", "How deep the least deep molecules lie, for a PSF from beads.", "psf.z_min_um"),
    "psf_high": Word("depths to (um)", "How deep the deepest molecules lie.", "psf.z_max_um"),
    "na": Word("numerical aperture", "The objective's, as engraved.", "optics.na"),
    "wavelength": Word(
        "wavelength (um)",
        "Where the fluorophore emits most, in micrometres: 0.67 for Alexa 647.",
        "optics.wavelength_um",
    ),
    "immersion": Word(
        "index of the immersion", "1.518 for oil, 1.33 for water, 1.406 for silicone oil.", "optics.n_immersion"
    ),
    "sample": Word("index of the sample", "1.33 for water and most buffers.", "optics.n_sample"),
    "depth": Word("focus in the sample (um)", "How deep in the sample the movie was focused.", "optics.focus_um"),
    "upto": Word(
        "up to",
        'Ends after this step. "test" reads a few frames and says how good it will be and how long it will take, '
        "before anything long begins.",
    ),
    "setting": Word(
        "setting",
        "A number of plan.toml that a message of the run may name. What hangs on it is done again after Resume.",
    ),
    "setting_value": Word(
        "its value", "In the unit that its name ends in. Empty: the run finds it out, or takes what is usual."
    ),
    "trial_photons": Word(
        "photons, least (test frame)",
        "Marks only what is as bright as this in the frame that was read first. The button below writes it into the "
        "plan as a filter of the result.",
        "filters.photons_min",
    ),
    "photons_min": Word("photons, least", "Rows with less light are left out.", "filters.photons_min"),
    "photons_max": Word("photons, most", "Rows with more light are left out.", "filters.photons_max"),
    "sigma_max": Word(
        "predicted precision, worst (nm)",
        "Rows whose predicted precision in x or y is worse are left out.",
        "filters.sigma_x_um_max",
    ),
    "z_from": Word("depth from (nm)", "Rows that lie less deep are left out.", "filters.z_um"),
    "z_to": Word("depth to (nm)", "Rows that lie deeper are left out.", "filters.z_um"),
    "plan": Word(
        "plan of",
        "The run whose plan.toml the others take: field, frames, optics, camera, method. Only the movie is another.",
    ),
    "folder": Word("folder", "Every movie in this folder gets a run of its own; the full name, as on the first page."),
    "mode": Word(
        "how rows are drawn",
        "Gaussian: each as a spot of the list's median precision. Histogram: how many lie in each pixel of the screen. "
        "Depth: Gaussians whose colour says how deep they lie.",
    ),
    "preset": Word("objective", "Fills in the numbers of a common objective in a sample of water."),
    "scope": Word("a saved microscope", "Fills in the numbers of a file that was saved here before."),
    "scope_name": Word(
        "name of the file",
        "The optics are kept under it in the folder microscopes, as a scope.toml that the command line reads.",
    ),
    "mask": Word(
        "phase mask",
        "What shapes the PSF: nothing (flat), a cylinder lens (astigmatism), one of the published shapes, or a file.",
        "arms.mask.name",
    ),
    "mask_range": Word("depth range of the mask (um)", "The depths that the shape is made for.", "arms.mask.range_um"),
    "mask_rms": Word(
        "strength (um rms)", "Optical path of the astigmatism, root mean square over the pupil.", "arms.mask.rms_um"
    ),
    "mask_file": Word(
        "file of the mask",
        "The full name of a mask that Colocus saved, such as the mask.npz of a co-design, in the folders of this page.",
        "arms.mask.path",
    ),
    "light": Word("photons of a molecule", "Detected in one frame, on a full pupil.", "photons"),
    "ground": Word("background (photons a pixel)", "In one frame.", "background"),
    "z_low": Word("depths from (um)", "The least depth that is drawn, above the coverslip.", "z_min_um"),
    "z_high": Word("depths to (um)", "The largest depth that is drawn.", "z_max_um"),
    "experiment": Word(
        "experiment", "A preset of colocus config: optics, scenes, decoder, the masks and how they are scored."
    ),
    "job": Word(
        "what is done",
        "codesign learns one mask together with its decoder; compare trains and scores every mask of the experiment.",
    ),
    "job_scope": Word(
        "microscope", "The optics of a microscope that was saved, in place of the experiment's.", "run.microscope"
    ),
    "train_steps": Word(
        "steps of training",
        "Empty: as many as the experiment says. Fewer are quicker and worse.",
        "run.optimiser.steps",
    ),
    "scene_low": Word(
        "molecules from (um)", "The least depth of the scenes; empty: the experiment's.", "run.scene.z_min_um"
    ),
    "scene_high": Word("molecules to (um)", "The largest depth; empty: the experiment's.", "run.scene.z_max_um"),
    "focal": Word(
        "focal length before the mask (mm)",
        "Of the first lens of the 4f system; with the magnification it gives the size of the pupil on the panel.",
        "focal_length_um",
    ),
    "magnification": Word("magnification", "The objective's, as engraved.", "magnification"),
    "slm_rows": Word("rows of the panel", "In pixels.", "slm.rows"),
    "slm_columns": Word("columns of the panel", "In pixels.", "slm.columns"),
    "slm_pitch": Word("pixel of the panel (um)", "From one pixel to the next.", "slm.pitch_um"),
    "slm_grey": Word(
        "grey of a full wave", "The grey level of a phase of 2 pi at the microscope's wavelength.", "slm.grey_per_2pi"
    ),
    "export": Word("list as", "The list in another program's format; what a format cannot hold is left out."),
}
