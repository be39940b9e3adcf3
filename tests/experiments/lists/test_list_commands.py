"""`colocus drift`, `link`, `filter` and `track`: files out, numbers right, mistakes in one line."""

import json

import numpy as np
import pandas as pd
import pytest

from experiments import cli
from localization import make_localizations, read, read_file, write


@pytest.fixture(scope="module")
def drifting(tmp_path_factory):
    """A list of 300 molecules seen again and again under a drift of 200 nm in x, and its path."""
    rng = np.random.default_rng(0)
    place = rng.uniform(0, [4, 4, 0.6], (300, 3))
    frame = np.sort(rng.integers(0, 400, 8000))
    seen = place[rng.integers(0, 300, 8000)] + rng.normal(0, 0.01, (8000, 3))
    seen[:, 0] += 0.2 * frame / 400
    path = tmp_path_factory.mktemp("lists") / "locs.csv"
    write(path, make_localizations(frame, *seen.T, photons=1000.0, sigma_x_um=0.01, sigma_y_um=0.01))
    return path


def run(capsys, *arguments):
    status = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("method", ["aim", "rcc"])
def test_drift_writes_list_curve_and_figure(drifting, tmp_path, capsys, method):
    """The curve in the CSV is the one put in, the corrected list lies less of it away, a figure is there."""
    out = tmp_path / "corrected.csv"
    status, printed, _ = run(capsys, "drift", drifting, "--out", out, "--method", method, "--search", 0.5)
    assert status == 0 and "error, nm" in printed
    curve = pd.read_csv(tmp_path / "corrected_drift.csv")
    np.testing.assert_array_equal(curve["frame"], curve["frame from 0"] + 1)
    rows = pd.read_csv(out).merge(curve, on="frame")  # by the list's own count
    seen = pd.read_csv(drifting)["x [nm]"]
    np.testing.assert_allclose(seen - rows["x [nm]_x"], rows["x [nm]_y"], atol=2e-3)
    fitted = np.polyfit(curve["frame"], curve["x [nm]"], 1)[0]
    assert fitted * 400 == pytest.approx(200, abs=10)
    before, after = read(drifting), read(out)
    expected = before.x_um - np.interp(before.frame, curve["frame from 0"], curve["x [nm]"]) / 1000
    np.testing.assert_allclose(after.x_um, expected, atol=2e-6)
    assert (tmp_path / "corrected_drift.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "corrected_drift.json").read_text())["range_um"][0] == pytest.approx(0.2, abs=0.02)


def test_drift_of_one_channel_is_taken_out_of_another(tmp_path, capsys):
    """A curve of three frames on rows in five: by hand, its ends held, which is said; Picasso's file too."""
    curve = tmp_path / "a_drift.csv"
    curve.write_text("frame,frame from 0,x [nm],y [nm],z [nm]\n3,2,100,0,0\n4,3,200,-50,0\n5,4,300,-100,0\n")
    write(tmp_path / "b.csv", make_localizations([0, 2, 3, 4, 9], [1.0] * 5, [2.0] * 5, [0.0] * 5))
    arguments = ("drift", tmp_path / "b.csv", "--out", tmp_path / "still.csv", "--apply")
    status, printed, _ = run(capsys, *arguments, curve)
    assert status == 0 and "2 localizations lie in frames before 2 or after 4" in printed
    still = read(tmp_path / "still.csv")
    np.testing.assert_allclose(still.x_um, [0.9, 0.9, 0.8, 0.7, 0.7], atol=1e-6)
    np.testing.assert_allclose(still.y_um, [2.0, 2.0, 2.05, 2.1, 2.1], atol=1e-6)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a_drift.csv", "b.csv", "still.csv"]
    np.savetxt(tmp_path / "p.txt", np.full((10, 2), 0.5))
    status, _, error = run(capsys, *arguments, tmp_path / "p.txt", "--unit", "px")
    assert status == 2 and "--camera-pixel" in error
    status, printed, _ = run(capsys, *arguments, tmp_path / "p.txt", "--unit", "px", "--camera-pixel", 100)
    assert status == 0 and "note" not in printed
    np.testing.assert_allclose(read(tmp_path / "still.csv").x_um, 0.95, atol=1e-6)
    status, _, error = run(capsys, *arguments, curve, "--segment", 5)
    assert status == 2 and "--apply takes a known one" in error
    status, _, error = run(capsys, *arguments[:-1], "--unit", "px")
    assert status == 2 and "--unit goes with --apply" in error


def test_drift_of_random_points_writes_nothing(tmp_path, capsys):
    """No structure: one line that says why, exit status 2, no file."""
    rng = np.random.default_rng(0)
    write(tmp_path / "locs.csv", make_localizations(rng.integers(0, 99, 3000), *rng.uniform(0, 5, (3, 3000))))
    status, _, error = run(capsys, "drift", tmp_path / "locs.csv", "--out", tmp_path / "out.csv")
    assert status == 2 and "common structure" in error
    assert [p.name for p in tmp_path.iterdir()] == ["locs.csv"]


def test_link_and_filter_say_what_they_did(drifting, tmp_path, capsys):
    """Linking conserves photons; filtering keeps what the criteria say and counts the rest."""
    status, printed, _ = run(capsys, "link", drifting, "--out", tmp_path / "linked.csv", "--radius", 0.03)
    linked = read(tmp_path / "linked.csv")
    assert status == 0 and f"merged into {linked.frame.size}" in printed and linked.frame.size < 8000
    assert linked.photons.sum() == pytest.approx(8000 * 1000.0, rel=1e-6)
    status, printed, _ = run(
        capsys, "filter", drifting, "--out", tmp_path / "kept.csv", "x_um=[1,2]", "frames=[0,199]", "photons_min=10"
    )
    kept, locs = read(tmp_path / "kept.csv"), read(drifting)
    mask = (locs.x_um >= 1) & (locs.x_um <= 2) & (locs.frame < 200)
    assert status == 0 and kept.frame.size == mask.sum() and f"{mask.sum()} of 8000" in printed


def test_track_writes_tracks_and_diffusion(tmp_path, capsys):
    """Two hundred far walkers come back as two hundred tracks, with their D."""
    rng = np.random.default_rng(1)
    step = rng.normal(0, 0.05, (200, 25, 3))
    step[:, 0] = np.stack([np.arange(200) % 20, np.arange(200) // 20, np.full(200, 0.1)], axis=1) * 10.0
    place = np.cumsum(step, axis=1).reshape(-1, 3)
    write(tmp_path / "locs.csv", make_localizations(np.tile(np.arange(25), 200), *place.T))
    arguments = ("--max-step", 0.4, "--frame-s", 0.01, "--exposure", 0)
    status, printed, _ = run(capsys, "track", tmp_path / "locs.csv", "--out", tmp_path / "tracks", *arguments)
    assert status == 0 and "200 tracks" in printed
    numbers = json.loads((tmp_path / "tracks" / "tracks.json").read_text())
    assert numbers["d_um2_s"]["low"] < 0.05**2 / 0.02 < numbers["d_um2_s"]["high"]
    table = pd.read_csv(tmp_path / "tracks" / "tracks.csv")
    assert table["track"].nunique() == 200 and len(table) == 5000
    assert len(pd.read_csv(tmp_path / "tracks" / "diffusion.csv")) == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("filter", "LOCS", "--out", "OUT"), "name what to filter by"),
        (("filter", "LOCS", "--out", "OUT", "photon_min=3"), "did you mean 'photons_min'"),
        (("filter", "LOCS", "--out", "OUT", "sigma_z_um_max=3"), "no sigma_z_um"),
        (("link", "LOCS", "--out", "OUT", "--radius", "-1"), "radius_um is -1"),
        (("track", "LOCS", "--out", "OUT", "--max-step", "0"), "max_step_um is 0"),
        (("drift", "LOCS", "--out", "OUT", "--segment", "0"), "segment_frames is 0"),
        (("drift", "NONE", "--out", "OUT"), "NONE"),
    ],
)
def test_mistakes_are_one_line(drifting, tmp_path, capsys, arguments, message):
    """A wrong option or file ends with status 2 and one line that names it; no file is left."""
    names = {"LOCS": drifting, "OUT": tmp_path / "out.csv", "NONE": tmp_path / "NONE.csv"}
    status, _, error = run(capsys, *(names.get(a, a) for a in arguments))
    lines = [line for line in error.splitlines() if not line.endswith(": loading")]
    assert status == 2 and len(lines) == 1 and message in lines[0]
    assert not any(tmp_path.iterdir())


def test_every_other_frame_has_diffusion_and_a_remedy(tmp_path, capsys):
    """Walkers seen in every other frame: without a gap the error says which one, with it D is right, of 20 ms steps."""
    rng = np.random.default_rng(1)
    step = rng.normal(0, 0.05, (200, 30, 3))
    step[:, 0] = np.stack([np.arange(200) % 20, np.arange(200) // 20, np.full(200, 0.1)], axis=1) * 10.0
    place = np.cumsum(step, axis=1)[:, ::2].reshape(-1, 3)
    write(tmp_path / "locs.csv", make_localizations(np.tile(np.arange(0, 30, 2), 200), *place.T))
    arguments = ("track", tmp_path / "locs.csv", "--out", tmp_path / "tracks", "--max-step", 0.6, "--frame-s", 0.01)
    status, _, error = run(capsys, *arguments, "--exposure", 0, "--gap", 0)
    assert status == 2 and "2 or more apart" in error and "--gap 1" in error
    status, printed, _ = run(capsys, *arguments, "--exposure", 0)
    assert status == 0 and "200 tracks" in printed and "steps of 2 frames, 20 ms each" in printed
    numbers = json.loads((tmp_path / "tracks" / "tracks.json").read_text())
    assert numbers["d_um2_s"]["low"] < 0.05**2 / 0.02 < numbers["d_um2_s"]["high"]


def test_no_track_is_long_enough(tmp_path, capsys):
    """Scattered points: nothing to draw, and no warning about it."""
    write(tmp_path / "locs.csv", make_localizations([0, 5, 9], [1.0, 5.0, 9.0], [1.0, 5.0, 9.0], [0.0, 0.0, 0.0]))
    status, printed, _ = run(
        capsys, "track", tmp_path / "locs.csv", "--out", tmp_path / "tracks", "--max-step", "0.1"
    )  # fmt: skip
    assert status == 0 and "0 of 3 localizations or more" in printed


@pytest.fixture
def of_picasso(tmp_path):
    """A Picasso file of drifting spots that says pixel, frame size and length, with a group and a word of ours."""
    rng = np.random.default_rng(1)
    place, frame = rng.uniform(1, 2.5, (40, 2))[rng.integers(0, 40, 4000)], np.sort(rng.integers(0, 400, 4000))
    x_um, y_um = (place + rng.normal(0, 0.01, (4000, 2)) + [0.1, 0] * frame[:, None] / 400).T
    extras = {"group": frame % 7, "p_value": frame / 400}
    locs = make_localizations(frame, x_um, y_um, 0 * x_um, photons=500, sigma_x_um=0.01, sigma_y_um=0.01, extras=extras)
    write(tmp_path / "in.hdf5", locs, pixel_um=0.1, frame_px=(32, 33), n_frames=401)
    return tmp_path / "in.hdf5"


@pytest.mark.parametrize(
    "command", [["filter", "photons_min=1"], ["link", "--radius", 0.03], ["drift"], ["convert", "--to", "picasso-1"]]
)
def test_picasso_in_picasso_out(command, of_picasso, tmp_path, capsys):
    """Every command that writes a list takes pixel, frame size, length and further columns from the one it read."""
    status, printed, noted = run(capsys, command[0], of_picasso, "--out", tmp_path / "out.hdf5", *command[1:])
    assert status == 0
    found = read_file(tmp_path / "out.hdf5")
    assert (found.pixel_um, found.frame_px, found.n_frames) == (pytest.approx(0.1), (32, 33), 401)
    linked = command[0] == "link"
    assert set(found.locs.extras) == ({"group", "p_value"} if not linked else {"detections"})
    assert "group, p_value" in printed + noted
    assert ("no meaning for merged rows: p_value: left out" in printed) == linked
    if linked:
        assert "unknown in some rows, which Picasso would drop: group: left out" in printed
        assert found.locs.extras["detections"].sum() == 4000


@pytest.mark.parametrize(
    "command", [["filter", "photons_min=1"], ["link", "--radius", "0.1"], ["drift"], ["drift", "-a"]]
)
def test_the_input_is_not_replaced(command, tmp_path, capsys):
    path = tmp_path / "locs.csv"
    write(path, make_localizations(np.array([0, 1]), np.ones(2), np.ones(2), np.zeros(2), photons=900.0))
    np.save(tmp_path / "drift.npy", np.array([[10.0, 0, 0, 0], [20.0, 0, 0, 1]]))
    before = path.read_bytes()
    words = ["--apply", str(tmp_path / "drift.npy")] if "-a" in command else command[1:]
    assert cli.main([command[0], str(path), "--out", str(path), *words]) == 2
    assert "is the input itself; name another file with --out" in capsys.readouterr().err
    assert path.read_bytes() == before
