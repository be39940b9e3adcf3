"""The plan and the first steps: what is told of movies of every kind, and what is done again when something changes."""

import errno
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from experiments import cli
from experiments.reconstruction import job, table
from experiments.reconstruction.job import reconstruct
from experiments.reconstruction.methods import METHODS, Known
from experiments.reconstruction.plan import Plan, load_plan, plan_toml
from experiments.reconstruction.steps.beads import depths_um
from experiments.reconstruction.steps.camera import find_camera
from experiments.reconstruction.steps.choice import choose_reader
from experiments.reconstruction.steps.crowd import Crowd
from experiments.reconstruction.steps.look import look
from localization import LocalizationError
from training import ConfigError, TimeLimit

SIDE, FRAMES = 48, 24
PLAIN = Plan()


def blinking(rng, moving=True):
    """Frames of Gaussian spots that are somewhere else in each frame, or stay where they are, in photons."""
    y, x = np.mgrid[:SIDE, :SIDE]
    places = rng.uniform(6, SIDE - 6, (FRAMES, 4, 2)) if moving else np.repeat(rng.uniform(6, 42, (1, 4, 2)), FRAMES, 0)
    spots = np.exp(-((x - places[..., :1, None]) ** 2 + (y - places[..., 1:, None]) ** 2) / (2 * 1.3**2))
    return 10 + 0.5 * x + 150 * spots.sum(axis=1)


def saved(folder, counts, kind="uint16", name="movie.tif"):
    tifffile.imwrite(folder / name, counts.astype(kind), photometric="minisblack")
    return folder / name


@pytest.fixture
def movie(tmp_path):
    """Gain 2.2, offset 100, shot noise, on a slope of light: drawn by numpy."""
    rng = np.random.default_rng(2)
    return saved(tmp_path, 100 + 2.2 * rng.poisson(blinking(rng)))


def test_a_plan_survives_its_file(tmp_path):
    """What a file says is what was written, and a wrong key is named with the nearest right one."""
    plan = load_plan(None, ["optics.na=1.4", "psf.sigma_um=0.12", "reader.fits.background_px=8", "rows=4:40",
                            "filters.sigma_x_um_max=0.03", "opening.channel=GFP"])  # fmt: skip
    path = tmp_path / "plan.toml"
    path.write_text(plan_toml(plan))
    assert load_plan(path) == plan and plan.reader.fits.background_px == 8
    path.write_text("[reader]\nmetod = 'joint'\n")
    with pytest.raises(ConfigError, match=r"plan.toml: unknown key 'reader.metod'; did you mean 'method'\?"):
        load_plan(path)
    with pytest.raises(ConfigError, match="reader.method = 'jiont' must be one of 'auto'.*did you mean 'joint'"):
        load_plan(None, ["reader.method=jiont"])


def test_the_look_tells_kinds_of_movies_apart(tmp_path, movie):
    """Molecules that blink from beads that stay, 8 bits, saturation, and a floor at zero, each against its cause."""
    rng = np.random.default_rng(3)
    seen = look(movie, PLAIN)
    assert seen.shape_px == (SIDE, SIDE) and seen.n_frames == FRAMES and not seen.notes
    assert not (seen.looks_like_beads or seen.eight_bit or seen.floor_at_zero) and seen.saturated_at_adu is None
    beads = 100 + 2.2 * rng.poisson(blinking(rng, moving=False))
    assert look(saved(tmp_path, beads, name="beads.tif"), PLAIN).looks_like_beads
    bytes_ = look(saved(tmp_path, np.minimum(beads // 4, 255), "uint8", "bytes.tif"), PLAIN)
    assert bytes_.eight_bit
    cut = look(saved(tmp_path, np.minimum(beads, 300), name="cut.tif"), PLAIN)
    assert cut.saturated_at_adu == 300 and 0 < cut.saturated_share < 0.1
    raw = 2.2 * rng.poisson(blinking(rng))
    assert look(saved(tmp_path, raw - raw.min(axis=0), name="taken_off.tif"), PLAIN).floor_at_zero
    with pytest.raises(LocalizationError, match="every pixel is 7; there is nothing to reconstruct"):
        look(saved(tmp_path, np.full((5, 20, 20), 7), name="constant.tif"), PLAIN)
    with pytest.raises(ConfigError, match="rows = 40:60 does not lie in the movie, which has 48"):
        look(movie, load_plan(None, ["rows=40:60"]))


def test_the_camera_is_measured_where_light_varies_and_said_to_be_guessed_where_it_cannot_be(tmp_path):
    """Gain 2.2 to 10 % from a movie with a slope of light; a noiseless one has none to tell, and says so."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:96, :96]
    movie = saved(tmp_path, 100 + 2.2 * rng.poisson(np.broadcast_to(5 + 0.5 * x, (60, 96, 96))))
    found = find_camera(movie, PLAIN, look(movie, PLAIN))
    assert found.sure == "measured" and abs(found.gain_adu_per_photon - 2.2) < 0.22
    assert abs(found.offset_adu - 100) < 5
    still = saved(tmp_path, np.broadcast_to(100 + x, (10, 96, 96)), name="still.tif")
    guessed = find_camera(still, PLAIN, look(still, PLAIN))
    assert guessed.sure == "guessed" and guessed.gain_adu_per_photon == 1.0


def test_depths_follow_from_the_foci_that_a_stack_has_shown():
    """A bead on the coverslip at focus f looks as a molecule f below the movie's focus."""
    assert depths_um(PLAIN, 1.5, (-3.5, 2.0)) == (0.0, 5.0)
    assert depths_um(load_plan(None, ["psf.z_max_um=4.0"]), 3.0, (-3.5, 2.0)) == (1.0, 4.0)
    with pytest.raises(ConfigError, match="psf.z_min_um = 0 is not below psf.z_max_um = -1"):
        depths_um(load_plan(None, ["psf.z_max_um=-1"]), 1.5, (-3.5, 2.0))


def test_the_reader_is_chosen_by_what_was_measured_for_such_patches(monkeypatch):
    """Patches that fits read best, some that a network does, a PSF in depth; what the plan names, or why not."""

    def rule(density, snr):
        return "classical" if density < 1 else "level 4" if snr < 3 else "joint"

    monkeypatch.setattr("experiments.reconstruction.steps.choice.load_map", lambda: SimpleNamespace(choose=rule))
    known = Known(0.1, "camera.toml", sigma_um=0.13)

    def chosen(density, snr, known=known):
        return choose_reader(PLAIN, Crowd(patch_density_per_um2=(density,), patch_snr=(snr,)), known)

    assert chosen((0.2, 0.0), (5.0, 0.0)).method == "classical"
    assert chosen((2.0, 3.0), (5.0, 6.0)).method == "joint"
    mixed = chosen((0.2, 2.0, 0.0), (5.0, 2.0, 0.0))
    assert mixed.method == "patchwise" and mixed.patch_readers == (("classical", "level 4", ""),)
    assert chosen((2.0,), (2.0,), Known(0.1, "camera.toml", psf="psf.npz")).method == "classical"
    assert choose_reader(load_plan(None, ["reader.method=joint"]), Crowd(), known).why == "the plan says so"
    with pytest.raises(ConfigError, match="'decoder' cannot be taken: it needs a trained network"):
        choose_reader(load_plan(None, ["reader.method=decoder"]), Crowd(), known)
    model, settings = METHODS["classical"].settings(known)
    assert (model, settings.classical.gaussian_sigma_um, settings.camera) == ("gaussian", 0.13, "camera.toml")


def test_only_what_has_changed_is_done_again(tmp_path, movie):
    """Nothing for the same plan; from the camera on for another camera; and the folder is not taken twice unasked."""
    out, plan = tmp_path / "run", Plan()
    first = reconstruct(movie, out, plan, to="background")
    assert first.skipped == () and list(first.found) == ["look", "camera", "background"]
    with pytest.raises(ConfigError, match="already holds a reconstruction; add --resume"):
        reconstruct(movie, out, plan)
    again = reconstruct(movie, out, to="background", resume=True)
    assert again.skipped == ("look", "camera", "background") and again.numbers() == first.numbers()
    text = (out / "plan.toml").read_text()
    assert "# gain_adu_per_photon =\n# offset_adu =" in text
    text = text.replace("# gain_adu_per_photon =\n# offset_adu =", "gain_adu_per_photon = 2.0\noffset_adu = 99.0")
    (out / "plan.toml").write_text(text)
    changed = reconstruct("", out, to="background", resume=True)
    assert changed.skipped == ("look",) and changed.found["camera"].numbers()["offset_adu"] == 99.0
    assert "2 counts per photon, 99 counts without light: given" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    "stop, status, said",
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "no space left on device; free some space there"),
        (KeyboardInterrupt(), 130, "interrupted; to go on: colocus reconstruct"),
        (TimeLimit("over"), 3, "time limit reached; to go on: colocus reconstruct"),
    ],
)
def test_what_is_done_stays_when_the_disk_is_full_or_somebody_stops_it(
    tmp_path, movie, monkeypatch, capsys, stop, status, said
):
    """One line and its exit status; the steps before are kept whole, the page shows them, and the run goes on."""
    out, number = tmp_path / "run", table.NAMES.index("background")
    broken = replace(table.STEPS[number], work=lambda bench: (_ for _ in ()).throw(stop))
    monkeypatch.setattr(job, "STEPS", (*table.STEPS[:number], broken, *table.STEPS[number + 1 :]))
    command = ["reconstruct", str(movie), "--out", str(out), "--to", "background"]
    assert cli.main(command) == status
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert [path.parent.name for path in sorted(out.glob("*/done.json"))] == ["01-look", "02-camera"]
    assert f"2 of {len(table.STEPS)} steps" in (out / "report.html").read_text()
    monkeypatch.undo()
    assert cli.main([*command, "--resume"]) == 0
    assert (out / "03-background" / "done.json").exists()


@pytest.mark.slow  # seconds of compiling
def test_a_movie_without_molecules_is_told_so_in_one_line(tmp_path, capsys):
    """Noise alone: no list is made of what noise would make by chance."""
    movie = saved(tmp_path, 100 + 2 * np.random.default_rng(8).poisson(20.0, (9, 32, 32)))
    command = ["reconstruct", str(movie), "--out", str(tmp_path / "run"), "camera.gain_adu_per_photon=2"]
    assert cli.main([*command, "camera.offset_adu=100", "psf.sigma_um=0.13"]) == 2
    assert "nothing stands out of the noise in 9 frames" in capsys.readouterr().err.splitlines()[-1]
