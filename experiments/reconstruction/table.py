"""The steps of a reconstruction in their order: one table, which the job, the report and the help all read."""

from pathlib import Path

from experiments.reconstruction.methods import METHODS
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.questions import QUESTIONS
from experiments.reconstruction.step import Bench, Step, known_of
from experiments.reconstruction.steps import after, background, camera, choice, crowd, decoder, frames, look, psf, trial
from optics import Camera


def _camera(bench: Bench) -> Camera:
    return bench.take("camera", camera.CameraFound).load(bench.folders["camera"])


def _seen(bench: Bench) -> look.Look:
    return bench.take("look", look.Look)


def _psf(bench: Bench) -> psf.PsfFound:
    return psf.find_psf(bench.movie, bench.plan, _seen(bench), _camera(bench), bench.folder, bench.report)


def _crowd(bench: Bench) -> crowd.Crowd:
    return crowd.measure_crowd(bench.movie, bench.plan, _seen(bench), _camera(bench), known_of(bench))


def _choice(bench: Bench) -> choice.Choice:
    return choice.choose_reader(bench.plan, bench.take("crowd", crowd.Crowd), known_of(bench))


def _decoder(bench: Bench) -> decoder.OwnDecoder:
    chosen = bench.take("reader", choice.Choice)
    return decoder.train_decoder(
        bench.movie, bench.plan, _seen(bench), known_of(bench), chosen, bench.folder, bench.report
    )


def _trial(bench: Bench) -> trial.Trial:
    chosen = bench.take("reader", choice.Choice)
    return trial.read_trial(
        bench.movie, bench.plan, _seen(bench), _camera(bench), known_of(bench), chosen, bench.report
    )


def _frames(bench: Bench) -> frames.Frames:
    chosen = bench.take("reader", choice.Choice)
    how = {"report": bench.report, "client": bench.client}
    return frames.read_all(bench.movie, bench.plan, _seen(bench), known_of(bench), chosen, bench.folder, **how)


def _drift(bench: Bench) -> after.Steadied:
    locs = bench.folders["frames"] / frames.FILE
    return after.take_out_drift(locs, bench.plan, _seen(bench), bench.folder, bench.report)


def _filters(bench: Bench) -> after.Kept:
    locs = bench.folders["drift"] / after.FILE
    return after.keep_rows(locs, bench.plan, bench.take("psf", psf.PsfFound).pixel_um, bench.folder)


def _picture(bench: Bench) -> after.Drawn:
    found = bench.take("psf", psf.PsfFound)
    locs = bench.folders["filters"] / after.FILE
    return after.draw_picture(locs, bench.plan, _seen(bench), found.pixel_um, found.deep, bench.folder, bench.report)


def _measured_in(plan: Plan) -> tuple[str, ...]:
    """Where molecules are measured, as far as the plan says it."""
    return (plan.sparse, *plan.leave_out) if plan.sparse or plan.leave_out else ()


def _models(plan: Plan) -> tuple[str, ...]:
    return (plan.reader.model,) if plan.reader.model else ()


def _psf_files(plan: Plan) -> tuple[str, ...]:
    focus = (plan.psf.focus,) if plan.psf.focus and Path(plan.psf.focus).is_file() else ()
    return (*plan.psf.beads, *focus, *((plan.psf.file,) if plan.psf.file else ()), *plan.psf.species)


STEPS: tuple[Step, ...] = (
    Step(
        "look",
        QUESTIONS["look"],
        "frames=0:500 rows=0:128 columns=0:128 reads a part",
        look.Look,
        lambda bench: look.look(bench.movie, bench.plan),
        settings=lambda plan: (plan.spans(), plan.opening),
    ),
    Step(
        "camera",
        QUESTIONS["camera"],
        "--camera camera.toml, or camera.gain_adu_per_photon=2.1 camera.offset_adu=100",
        camera.CameraFound,
        lambda bench: camera.find_camera(bench.movie, bench.plan, _seen(bench), bench.report),
        reads=("look",),
        settings=lambda plan: plan.camera,
        files=lambda plan: (plan.camera.file,) if plan.camera.file else (),
    ),
    Step(
        "background",
        QUESTIONS["background"],
        "reader.fits.background_px says over how many pixels it may vary",
        background.Background,
        lambda bench: background.find_background(
            bench.movie, bench.plan, _seen(bench), bench.take("camera", camera.CameraFound)
        ),
        reads=("look", "camera"),
    ),
    Step(
        "psf",
        QUESTIONS["psf"],
        "psf.sigma_um=0.13; in 3D --beads STACK --focus START:STOP:N, or --psf psf.npz psf.z_min_um=0 psf.z_max_um=1",
        psf.PsfFound,
        _psf,
        reads=("look", "camera"),
        settings=lambda plan: (plan.psf, plan.optics, plan.reader.fits, *_measured_in(plan)),
        files=_psf_files,
    ),
    Step(
        "crowd",
        QUESTIONS["crowd"],
        "patch_um=8 is the side of the patches",
        crowd.Crowd,
        _crowd,
        reads=("look", "camera", "psf"),
        settings=lambda plan: (plan.patch_um, plan.reader.fits, *_measured_in(plan)),
    ),
    Step(
        "reader",
        QUESTIONS["reader"],
        "--method " + "|".join(METHODS) + ", --model RUN for a trained network",
        choice.Choice,
        _choice,
        reads=("crowd", "psf"),
        settings=lambda plan: (plan.reader.method, plan.reader.model),
        files=_models,
    ),
    Step(
        "decoder",
        QUESTIONS["decoder"],
        "--method autods3d trains one, reader.training_minutes=60 for so long",
        decoder.OwnDecoder,
        _decoder,
        reads=("look", "camera", "psf", "reader"),
        settings=lambda plan: plan.reader,
        resumable=True,
    ),
    Step(
        "test",
        QUESTIONS["test"],
        "test_frames=4; reader.threshold=6 (in standard deviations, for fits)",
        trial.Trial,
        _trial,
        reads=("look", "camera", "psf", "reader", "decoder"),
        settings=lambda plan: (plan.test_frames, plan.reader),
        files=_models,
    ),
    Step(
        "frames",
        QUESTIONS["frames"],
        "frames=0:500 reads some; --minutes M stops, --resume goes on",
        frames.Frames,
        _frames,
        reads=("look", "camera", "psf", "reader", "decoder"),
        settings=lambda plan: plan.reader,
        files=_models,
        resumable=True,
    ),
    Step(
        "drift",
        QUESTIONS["drift"],
        "drift_frames=200 is the fewest frames it is looked for in; drift.method=rcc",
        after.Steadied,
        _drift,
        reads=("frames",),
        settings=lambda plan: (plan.drift, plan.drift_frames),
    ),
    Step(
        "filters",
        QUESTIONS["filters"],
        "filters.sigma_x_um_max=0.03, and all that colocus filter knows; leave_out='[\"10:41 8:64 bright corner\"]'",
        after.Kept,
        _filters,
        reads=("drift", "psf"),
        settings=lambda plan: (plan.filters, plan.leave_out) if plan.leave_out else plan.filters,
    ),
    Step(
        "picture",
        QUESTIONS["picture"],
        "picture.pixel_nm=10 picture.mode=histogram",
        after.Drawn,
        _picture,
        reads=("filters", "psf"),
        settings=lambda plan: plan.picture,
    ),
)
NAMES = tuple(step.name for step in STEPS)
