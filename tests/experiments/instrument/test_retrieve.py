"""`colocus retrieve` from the command line: what it reads, what it writes, what it refuses."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import tifffile

from experiments import cli
from experiments.compare.config import arm_run, load_experiment
from experiments.instrument import retrieve
from experiments.instrument.retrieve_config import load_config
from experiments.instrument.retrieve_files import read_beads, read_focus
from made.instrument_files import write_ims
from optics import OpticsError, make_microscope, psf_image
from optics.masks import files as mask_io
from optics.psf_io import load_psf, read_psf
from optics.pytree import replace
from optics.retrieval.retrieve import retrieve_psf
from optics.whole_file import whole_files
from training import ConfigError, build

SCOPE = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
SCOPE_TOML = "na = 1.2\nn_immersion = 1.33\nn_sample = 1.33\nwavelength_um = 0.6\npixel_um = 0.1\nfocus_um = 0.5\n"
QUICK = ("retrieval.kind=scalar", "retrieval.steps=[8,8,4]", "retrieval.mask_px=16", "retrieval.amplitude_modes=6")
FOCUS_UM = np.linspace(-0.8, 0.8, 9)


def beads(*places, shape=(15, 15), level=100.0, light=2500.0, seed=0):
    """Counts (9, H, W) of spots that widen away from focus, with noise."""
    y, x = np.indices(shape)
    images = np.full((9, *shape), level)
    for row, column in places:
        square = (y - row) ** 2 + (x - column) ** 2
        images += np.stack([light / w**2 * np.exp(-square / (2 * w**2)) for w in np.hypot(1.2, 2 * FOCUS_UM)])
    return np.random.default_rng(seed).poisson(images)


def write(path, images=None, dtype=np.uint16, **options):
    images = beads((7.2, 6.9)) if images is None else images
    tifffile.imwrite(path, images.astype(dtype), photometric="minisblack", **options)
    return path


def command(tmp_path, *arguments, focus="-0.8:0.8:9"):
    scope = tmp_path / "scope.toml"
    if not scope.exists():
        scope.write_text(SCOPE_TOML)
    focused = [] if focus is None else ["--focus", focus]
    named = [] if "--out" in map(str, arguments) else ["--out", str(tmp_path / "out")]
    return cli.main(["retrieve", *map(str, arguments), *focused, "--microscope", str(scope), *named])


def refused(capsys, tmp_path, *arguments, **options):
    """Run a command that must be refused before any work, and return its one line."""
    assert command(tmp_path, *arguments, **options) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.endswith(": loading")]
    assert captured.out == "" and len(lines) == 1 and lines[0].startswith("colocus: error: "), captured
    assert not (tmp_path / "out").exists()
    return lines[0]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two beads of one name, jointly, as a user would call it: their files, the folder, and what was retrieved."""
    folder = tmp_path_factory.mktemp("retrieve")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    files = [write(folder / "a" / "bead.tif"), write(folder / "b" / "bead.tif", beads((6.8, 7.3), seed=1))]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieve, "retrieve_psf", lambda *a, **k: found.append(retrieve_psf(*a, **k)) or found[0])
        assert command(folder, *files, *QUICK) == 0
    return files, folder / "out", found[0]


@pytest.fixture(scope="module")
def run(job):
    return job[1]


@pytest.mark.slow
def test_a_retrieval_writes_its_folder(run):
    """Everything that the help promises, and nothing half-written."""
    names = {
        "psf.npz", "mask.npz", "mask.mat", "slices.csv", "metrics.json", "run.toml", "report.html", "config.json",
        "figures",
    }  # fmt: skip
    assert {path.name for path in run.iterdir()} == names
    figures = {path.name for path in (run / "figures").iterdir()}
    assert figures == {f"{kind}-{name}.png" for kind in ("slices", "fit") for name in ("bead", "bead-1")} | {
        "pupil.png"
    }
    assert all(path.read_bytes().endswith(b"IEND\xaeB`\x82") for path in (run / "figures").iterdir())


@pytest.mark.slow
def test_the_numbers_of_a_run_are_finite_and_fit_together(run):
    """metrics.json, slices.csv and the notes in psf.npz tell the same."""
    metrics = json.loads((run / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert [bead["name"] for bead in metrics["beads"]] == ["bead", "bead-1"]
    rows = list(csv.DictReader((run / "slices.csv").read_text().splitlines()))
    assert len(rows) == 18
    for bead in metrics["beads"]:
        own = [row for row in rows if row["bead"] == bead["name"]]
        np.testing.assert_allclose([float(row["focus_um"]) for row in own], FOCUS_UM, atol=1e-6)
        correlations = [float(row["correlation"]) for row in own]
        assert np.mean(correlations) == pytest.approx(bead["mean_correlation"], abs=1e-4)
        assert min(correlations) == pytest.approx(bead["worst_correlation"], abs=1e-4)
    assert all(np.isfinite(float(row[name])) for row in rows for name in row if name != "bead")
    psf, notes = read_psf(run / "psf.npz")
    assert notes["beads"] == ["bead", "bead-1"] and notes["blur_um"] == metrics["pupil"]["blur_um"]
    assert float(psf.blur_um) == pytest.approx(metrics["pupil"]["blur_um"])
    assert len(metrics["zernike"]) == 45 and metrics["zernike"][5]["n"] == 2
    assert any("Not determined by beads" in note for note in metrics["notes"])


@pytest.mark.slow
def test_the_mask_for_peers_is_in_radians_and_turned(run):
    """mask.mat is the phase of mask.npz in radians, turned by 180 degrees, 0 outside the NA; scipy reads it."""
    mask = mask_io.load(run / "mask.npz")
    peer = scipy.io.loadmat(run / "mask.mat", squeeze_me=True)
    cells = np.asarray(mask.opd_um).shape[0]
    assert peer["pupil_diameter_px"] == cells == 16 and peer["NA"] == pytest.approx(1.2)
    turned = peer["maskRec"][::-1, ::-1]
    x = (np.arange(cells) - 7.5) / 8
    inside = np.hypot(x[:, None], x) <= 1
    np.testing.assert_allclose(turned[inside], 2 * np.pi / 0.6 * np.asarray(mask.opd_um)[inside], atol=1e-6)
    assert (turned[~inside] == 0).all() and np.abs(turned).max() <= np.pi + 1e-6
    amplitude = peer["amplitude"][::-1, ::-1]
    np.testing.assert_allclose(amplitude[inside], np.asarray(mask.transmission)[inside], atol=1e-6)
    loaded = mask_io.load(
        run / "mask.mat", variable="maskRec", wavelength_um=0.6, pupil_diameter_px=float(cells), turn_180=True
    )
    np.testing.assert_allclose(np.asarray(loaded.opd_um)[inside], np.asarray(mask.opd_um)[inside], atol=1e-6)


@pytest.mark.slow
def test_the_run_file_trains_on_the_retrieved_psf(run):
    """run.toml is an experiment that builds, and its PSF is the retrieved one, to the last digit that a stamp shows."""
    config = load_experiment(str(run / "run.toml"), ["learn.n_cosines=4"])
    assert [arm.label for arm in config.arms] == ["calibrated", "learned-on-top"]
    calibrated, learned = (build(arm_run(config, arm, 0)) for arm in config.arms)
    psf = load_psf(run / "psf.npz")
    assert calibrated.psf.kind == psf.kind == "scalar" and calibrated.psf.image_px == psf.image_px == 15
    assert learned.mask_params is not None and learned.psf.aberration is not None
    at = jnp.array([0.05, -0.03, 0.4])
    # the same quadrature: build samples for the depths of the scenes, a retrieval for those of its scan
    same = replace(calibrated.psf, pupil_px=psf.pupil_px, ring_px=psf.ring_px)
    expected = np.asarray(jax.jit(psf_image)(psf, at))
    np.testing.assert_allclose(jax.jit(psf_image)(same, at), expected, atol=1e-6 * expected.max())


@pytest.mark.slow
def test_the_report_holds_its_figures_and_tables(run):
    """One file: pupil, slices and fit of each bead, both tables."""
    text = (run / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 5
    for part in ("The pupil", "bead-1: slices", "the fit through focus", "Zernike modes", "<h2>Beads</h2>"):
        assert part in text


@pytest.mark.slow
def test_a_folder_in_use_is_left_alone(run, tmp_path, capsys):
    """As with designs: results are replaced by nobody's second thought."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert command(tmp_path, write(tmp_path / "bead.tif"), *QUICK, "--out", run) == 2
    assert f"{run} already holds a run (config.json); name another folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OpticsError("it diverged")])
@pytest.mark.parametrize("where", ["retrieve.retrieve_psf", "retrieve_result.run_toml"])
def test_a_stop_leaves_nothing_half_written(failure, where, job, tmp_path, capsys, monkeypatch):
    """During the search, or between two files: no folder where there was none, an old one as it was."""
    files, _, found = job

    def stop(*_, **__):
        raise failure

    monkeypatch.setattr(retrieve, "retrieve_psf", lambda *_, **__: found)
    monkeypatch.setattr(f"experiments.instrument.{where}", stop)
    status = 130 if failure is KeyboardInterrupt else 2
    assert command(tmp_path, *files, *QUICK, "--out", tmp_path / "new" / "deep") == status
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "psf.npz").write_bytes(b"mine")
    assert command(tmp_path, *files, *QUICK, "--out", tmp_path / "old") == status
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["psf.npz"]
    assert (tmp_path / "old" / "psf.npz").read_bytes() == b"mine"
    assert "Traceback" not in capsys.readouterr().err


def test_results_of_a_function_call_replace_older_ones(tmp_path):
    """What is not written anew stays; folders that are in the way are made."""
    out = tmp_path / "deep" / "out"
    for content in ("old", "new"):
        with whole_files(out) as part:
            (part / "figures").mkdir()
            (part / "figures" / "a.png").write_text(content)
    (out / "mine").write_text("")
    assert {str(path.relative_to(out)) for path in out.rglob("*")} == {"figures", "figures/a.png", "mine"}
    assert (out / "figures" / "a.png").read_text() == "new"


@pytest.mark.parametrize(
    "focus, message",
    [
        (None, "bead.tif has 9 slices; say where they were focused: --focus START:STOP:9 in um"),
        ("-0.8:0.8:11", "bead.tif has 9 slices but --focus -0.8:0.8:11 gives 11 positions"),
        ("-0.8:0.8:99999999999999", "gives 99999999999999 positions"),
        ("-800:800:9", "looks like nanometres; give um, such as -0.8:0.8:9"),
        ("0.5:0.5:9", "START and STOP are the same"),
        ("a:1:9", "--focus a:1:9: START and STOP are numbers in um, such as -3.5:2:56"),
        ("nan:1:9", "START and STOP are finite numbers"),
        ("-0.8:0.8", "is neither START:STOP:N nor a CSV that can be read"),
        ("foci.csv", "is neither START:STOP:N nor a CSV that can be read"),
    ],
)
def test_focus_positions_that_are_refused(focus, message, tmp_path, capsys):
    """Missing, of another number, in nanometres, not numbers: one line that gives the remedy."""
    assert message in refused(capsys, tmp_path, write(tmp_path / "bead.tif"), focus=focus)


def test_focus_positions_in_a_file(tmp_path):
    """One a line, the last column, with or without a header, blank lines passed over."""
    path = tmp_path / "foci.csv"
    path.write_text("slice,focus_um\n0,-1.5\n1,0.25\n\n2,1.0\n\n")
    np.testing.assert_array_equal(read_focus(str(path), 3, "a.tif"), [-1.5, 0.25, 1.0])
    path.write_text("1\n2\n")
    np.testing.assert_array_equal(read_focus(str(path), 2, "a.tif"), [1.0, 2.0])
    with pytest.raises(ConfigError, match="a.tif has 3 slices but --focus .*foci.csv gives 2 positions"):
        read_focus(str(path), 3, "a.tif")
    path.write_text("1\ntwo\n3\n")
    with pytest.raises(ConfigError, match="foci.csv: line 2 ends in no number: 'two'"):
        read_focus(str(path), 3, "a.tif")
    path.write_text("-1000\n0\n1000\n")
    with pytest.raises(ConfigError, match="looks like nanometres"):
        read_focus(str(path), 3, "a.tif")


def test_a_scan_may_run_downwards(tmp_path):
    """Positions as given, first slice first; a leading minus sign is no option, joined or apart."""
    np.testing.assert_allclose(read_focus("0.8:-0.8:9", 9, "a.tif"), -FOCUS_UM)
    assert cli.with_negatives(["--focus", "-3:3:61", "--out", "x"]) == ["--focus=-3:3:61", "--out", "x"]
    assert cli.with_negatives(["--focus=-3:3:61", "-1"]) == ["--focus=-3:3:61", "-1"]
    assert cli.with_negatives(["a", "--resume", "--focus", "-.5:1:3"]) == ["a", "--resume", "--focus=-.5:1:3"]


PAIR = beads((7, 3), (7, 12), shape=(15, 15), light=2000.0)
HALF = beads((7, 7), light=60_000.0)


@pytest.mark.parametrize(
    "images, arguments, message",
    [
        (beads((20, 20), shape=(40, 40)), ["--crop", "15", "--beads-max", "0"], "--beads-max 0 must be at least 1"),
        (beads((20, 20), shape=(40, 40)), ["--crop", "7"], "--crop 7 must lie between 9 and 400 px"),
        (beads((20, 20), shape=(30, 40)), [], "is 30 x 40 px, not a crop around one bead; add --crop PX"),
        (beads((3, 20), shape=(30, 40)), ["--crop", "15"], "is nearer than 7 px to the border: left out"),
        (beads(shape=(30, 40)), ["--crop", "15"], "no usable bead in the field (nothing stands out"),
        (beads((20, 20), shape=(30, 40)), ["--crop", "35"], "a field (slices, H, W) of at least 35 px is needed"),
        (PAIR, [], "two beads in one crop; make the crop smaller or choose another bead"),
        (np.minimum(HALF, 255), [], "% of the pixels are saturated (at 255 counts)"),
        (np.full((9, 15, 15), 80), [], "the stack shows no bead: slice 0 is even"),
        (beads((7, 7))[:, :8, :8], [], "K at least 9"),
    ],
)
def test_beads_that_are_refused(images, arguments, message, tmp_path, capsys):
    """No bead, two, one at the border, too bright, not a crop: one line, and no folder is made."""
    path = write(tmp_path / "bead.tif", images)
    assert message in refused(capsys, tmp_path, path, *arguments)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd"])
def test_compressed_stacks_are_read_as_they_are(compression, tmp_path):
    """LZW, deflate and Zstandard: the counts of the plain file."""
    plain = write(tmp_path / "plain.tif")
    packed = write(tmp_path / "packed.tif", compression=compression)
    read = [
        read_beads([path], "-0.8:0.8:9", SCOPE, None, crop_px=None, beads_max=4)[0][0].images
        for path in (plain, packed)
    ]
    np.testing.assert_array_equal(*read)
    np.testing.assert_array_equal(read[0], beads((7.2, 6.9)))


def test_an_eight_bit_stack_is_read_with_a_remark(tmp_path):
    """Rounded or compressed by whoever made it; and cut off at 255 where it is."""
    images = np.minimum(beads((7.2, 6.9), level=20.0, light=600.0), 255)
    stacks, _, notes = read_beads(
        [write(tmp_path / "bead.tif", images, np.uint8)], "-0.8:0.8:9", SCOPE, None, crop_px=None, beads_max=4
    )
    np.testing.assert_array_equal(stacks[0].images, images)
    assert notes[0].startswith("bead.tif is 8-bit")
    cut = int((images == 255).sum())
    assert cut >= 5 and notes[1] == f"bead.tif: pixels at 255 counts are saturated and left out ({cut} of them)."
    assert int((~np.asarray(stacks[0].usable)).sum()) == cut


def test_a_stack_that_states_another_pixel_is_questioned(tmp_path):
    path = tmp_path / "bead.ims"
    write_ims(path, np.round(beads((7.2, 6.9))).astype(np.uint16)[:, None], pixel_um=0.108)
    _, _, notes = read_beads([path], "-0.8:0.8:9", SCOPE, None, crop_px=None, beads_max=4)
    assert notes == ["bead.ims: it says 108 nm a pixel, the microscope 100 nm: check which is right."]


@pytest.mark.parametrize(
    ("light", "limit", "scale", "dark"),
    [(600, 255, 1, 0), (600, 255, 16, 0), (600, 255, 1, 30), (1200, 511, 8, 0), (900, 400, 1, 0)],
)
def test_a_bead_cut_off_at_any_value_is_seen(tmp_path, light, limit, scale, dark):
    """A converter's limit, shifted into more bits (4080 here, as 65520), less a dark, or any value: all cut pixels."""
    whole = beads((7.2, 6.9), level=20.0, light=light)
    images = (np.minimum(whole, limit) - dark).clip(0) * scale
    stacks, _, notes = read_beads(
        [write(tmp_path / "bead.tif", images)], "-0.8:0.8:9", SCOPE, None, crop_px=None, beads_max=4
    )
    np.testing.assert_array_equal(~np.asarray(stacks[0].usable), whole >= limit)
    highest, cut = (limit - dark) * scale, (whole >= limit).sum()
    assert notes == [f"bead.tif: pixels at {highest:g} counts are saturated and left out ({cut} of them)."]


def test_beads_of_a_field_are_cropped_and_named(tmp_path):
    """The brightest first, named by where they are; the rest are counted in the notes."""
    field = beads((20, 20), (20, 60), shape=(40, 80)) + beads((20, 60), shape=(40, 80), level=0.0, light=1500.0, seed=2)
    path = write(tmp_path / "field.tif", field)
    stacks, names, notes = read_beads([path], "-0.8:0.8:9", SCOPE, None, crop_px=15, beads_max=1)
    assert len(stacks) == 1 and names == ["field-r20-c60"]
    np.testing.assert_array_equal(stacks[0].images, field[:, 13:28, 53:68])
    assert notes == ["field.tif: of 2 beads the 1 brightest are used (--beads-max)."]
    assert read_beads([path], "-0.8:0.8:9", SCOPE, None, crop_px=15, beads_max=4)[1][1] == "field-r20-c20"


@pytest.mark.parametrize(
    "text, assignments, message",
    [
        (SCOPE_TOML.replace("na = 1.2\n", ""), [], "no na; a retrieval needs the optics as they are, not defaults"),
        ("", [], "no na, n_immersion, n_sample, wavelength_um, pixel_um"),
        (SCOPE_TOML + "naa = 3\n", [], "unknown key 'microscope.naa'; did you mean 'na'?"),
        (SCOPE_TOML.replace("0.6", "600.0"), [], "wavelength_um = 600 looks like nanometres"),
        (SCOPE_TOML.replace("na = 1.2", "na = 1.4"), [], "na = 1.4 must be below n_immersion = 1.33"),
        ("microscope = 3", [], "microscope must be a table of settings, not 3"),
        ("na = ", [], "scope.toml is not valid TOML"),
        (SCOPE_TOML, ["retrieval.phase=zernik"], "retrieval.phase = 'zernik' must be one of 'pixel', 'zernike'"),
        (SCOPE_TOML, ["retrieval.step=[8,8,4]"], "unknown key 'retrieval.step'; did you mean 'steps'?"),
        (SCOPE_TOML, ["retrieval.steps=[8,8]"], "steps = (8, 8) must be three numbers"),
        (SCOPE_TOML, ["retrieval.bead_diameter_um=40"], "bead_diameter_um = 40 must lie between 0 and 2 um"),
        (SCOPE_TOML, ["retrieval.kind=scalar", "retrieval.polarisation=x"], "kind = 'scalar' knows no dipole"),
    ],
)
def test_settings_that_are_refused(text, assignments, message, tmp_path, capsys):
    """Optics that are missing, misspelt or impossible; settings likewise."""
    (tmp_path / "scope.toml").write_text(text)
    assert message in refused(capsys, tmp_path, write(tmp_path / "bead.tif"), *assignments)


def test_optics_may_be_completed_on_the_command_line(tmp_path):
    """A [microscope] table or a plain scope.toml; KEY=VALUE counts as given."""
    (tmp_path / "scope.toml").write_text(SCOPE_TOML.replace("na = 1.2\n", ""))
    config = load_config(str(tmp_path / "scope.toml"), ["microscope.na=1.1"])
    assert config.microscope.na == 1.1 and config.camera is None
    (tmp_path / "all.toml").write_text(f"[microscope]\n{SCOPE_TOML}[retrieval]\nphase = 'zernike'\n")
    config = load_config(str(tmp_path / "all.toml"), [])
    assert config.microscope.pixel_um == 0.1 and config.retrieval.phase == "zernike"


def test_a_measured_camera_is_taken(tmp_path, capsys):
    """camera.toml as `colocus calibrate-camera` writes it, or with a [camera] table; a wrong key is named."""
    (tmp_path / "scope.toml").write_text(SCOPE_TOML)
    for text in ("gain_adu_per_e = 2.2\noffset_adu = 99.0\n", "[camera]\ngain_adu_per_e = 2.2\noffset_adu = 99.0\n"):
        (tmp_path / "camera.toml").write_text(text)
        config = load_config(str(tmp_path / "scope.toml"), [], camera=str(tmp_path / "camera.toml"))
        assert config.camera is not None and config.camera.gain_adu_per_e == 2.2 and config.camera.offset_adu == 99
    (tmp_path / "camera.toml").write_text("gain = 2.2\n")
    line = refused(capsys, tmp_path, write(tmp_path / "bead.tif"), "--camera", tmp_path / "camera.toml")
    assert "unknown key 'camera.gain'; did you mean" in line


def test_files_that_cannot_be_read(tmp_path, capsys):
    """Missing beads, no TIFF, no beads at all, no optics, a file in the place of the folder."""
    assert "no such file or folder" in refused(capsys, tmp_path, tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("no picture")
    assert "not a TIFF" in refused(capsys, tmp_path, tmp_path / "text.tif")
    assert "name at least one TIFF stack of a bead" in refused(capsys, tmp_path, "retrieval.seed=1")
    bead = write(tmp_path / "bead.tif")
    assert cli.main(["retrieve", str(bead), "--out", str(tmp_path / "out")]) == 2
    assert "the following arguments are required: --microscope" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert command(tmp_path, bead, "--out", tmp_path / "file") == 2
    assert f"{tmp_path / 'file'} is a file; name a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"
