"""`colocus evaluate LOCS --truth TRUTH`: numbers as the library's, files, 2D tables, and what is refused."""

import json

import numpy as np
import pytest

from experiments import cli
from experiments.lists.evaluate import EvaluateConfig, evaluate
from localization import LocalizationError, crosstalk, make_localizations, read, score, write


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Emitters in 30 frames found with 20 nm errors of which the table says 10, a tenth missed, some false."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("lists")
    frame = np.repeat(np.arange(30), 12)
    xyz = rng.uniform(0, 6, (3, frame.size))
    write(folder / "truth.csv", make_localizations(frame, *xyz))
    kept = rng.random(frame.size) < 0.9
    xyz = xyz + rng.normal(0, 0.02, xyz.shape)
    xyz[:, :30] = rng.uniform(0, 6, (3, 30))
    scores = np.where(np.arange(frame.size) < 30, 0.3, 0.7) + 0.2 * rng.random(frame.size)
    found = make_localizations(frame, *xyz, sigma_x_um=0.01, sigma_y_um=0.01, sigma_z_um=0.02, score=scores)
    from localization import select

    write(folder / "found.csv", select(found, kept))
    flat = make_localizations(frame, xyz[0], xyz[1], np.zeros(frame.size))
    write(folder / "flat.csv", flat)
    return folder


def test_a_table_prints_and_writes_the_librarys_numbers(lists, tmp_path, capsys):
    """Every gate's score in the table and the JSON, average precision, calibration, figure."""
    out = tmp_path / "deep" / "scores.json"
    arguments = ["evaluate", lists / "found.csv", "--truth", lists / "truth.csv", "--gate", "250,500", "100"]
    assert cli.main([*map(str, arguments), "--pixel", "100", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "gate 250/500 nm" in shown and "gate 100 nm ball" in shown and "nan" not in shown.lower()
    found, truth = read(lists / "found.csv"), read(lists / "truth.csv")
    written = json.loads(out.read_text())
    for gate, options in zip(written["gates"], ({}, {"ball_um": 0.1}), strict=True):
        whole = score(found, truth, **options)
        assert gate["scores"]["jaccard"]["estimate"] == pytest.approx(whole.jaccard)
        assert gate["scores"]["rmse_3d_um"]["estimate"] == pytest.approx(whole.rmse_3d_um)
        assert gate["scores"]["jaccard"]["low"] < whole.jaccard < gate["scores"]["jaccard"]["high"]
        assert f"{whole.jaccard:.3f}" in shown and f"{1e3 * whole.rmse_xy_um:.1f}" in shown
        assert 0.8 < gate["average_precision"]["estimate"] < 1
        assert gate["calibration"]["x"]["ratio"] == pytest.approx(2.0, rel=0.2)
        assert gate["calibration"]["z"]["ratio"] == pytest.approx(1.0, rel=0.2)
        assert gate["curve"]["recall"][-1] == pytest.approx(whole.recall)
        assert gate["chance"]["jaccard"] < 0.1
    assert (written["dimensions"], written["n_frames"]) == (3, 30)
    assert written["uniformity"]["x"] < 0.2 and written["config"]["gates_nm"] == [[250, 500], [100]]
    assert {path.name for path in out.parent.iterdir()} == {"scores.json", "scores.png"}


def test_species_taken_for_one_another_are_counted(tmp_path, capsys):
    """Eight of one and ten of another species, a fifth and none of them listed as the other, two missed: by hand.

    Wilson's interval of 2 in 16 is 3.5 to 36.0 % (any table of it). A list that tells no species says nothing.
    """
    place = np.arange(18.0)
    channel = np.where(place < 8, 0, 1)
    truth = make_localizations(0 * place.astype(int), place, 0 * place, 0 * place, channel=channel)
    read_as = np.where(place < 2, 1, channel)[:16]
    found = make_localizations(0 * read_as, place[:16], 0 * place[:16], 0 * place[:16], channel=read_as)
    for name, table in (("truth", truth), ("found", found)):
        write(tmp_path / f"{name}.csv", table)
    arguments = ["evaluate", str(tmp_path / "found.csv"), "--truth", str(tmp_path / "truth.csv")]
    assert cli.main([*arguments, "--out", str(tmp_path / "scores.json")]) == 0
    shown = capsys.readouterr().out
    assert "true channel 0        6 as 0, 2 as 1; Jaccard by itself 0.750" in shown
    assert "true channel 1        0 as 0, 8 as 1; Jaccard by itself 0.667" in shown
    (gate,) = json.loads((tmp_path / "scores.json").read_text())["gates"]
    assert gate["crosstalk"]["counts"] == [[6, 2], [0, 8]]
    assert gate["crosstalk"]["share"]["estimate"] == 0.125
    assert [gate["crosstalk"]["share"][end] for end in ("low", "high")] == pytest.approx([0.035, 0.360], abs=0.001)
    assert crosstalk(make_localizations([0], [1.0], [0.0], [0.0]), truth) is None


def test_a_table_without_z_is_scored_in_the_plane(lists, tmp_path, capsys):
    """z = 0 throughout leaves z out, --dimensions 3 puts it back; nothing axial is shown or made up."""
    arguments = [str(lists / "flat.csv"), "--truth", str(lists / "truth.csv")]
    out = tmp_path / "flat.json"
    assert cli.main(["evaluate", *arguments, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "x and y alone" in shown and "gate 250 nm" in shown and "axial" not in shown
    assert "no sigma in the table" in shown
    scores = json.loads(out.read_text())["gates"][0]["scores"]
    assert scores["rmse_z_um"]["estimate"] is None and scores["jaccard"]["estimate"] > 0.7
    assert cli.main(["evaluate", *arguments, "--dimensions", "3"]) == 0
    assert "x, y and z" in capsys.readouterr().out


def test_empty_tables_have_a_report_without_nan():
    """Nothing found, nothing true, neither: a table of numbers and dashes."""
    none, one = make_localizations([], [], [], []), make_localizations([0], [1.0], [1.0], [1.0])
    for pair in ((none, one), (one, none), (none, none)):
        result = evaluate(*pair, EvaluateConfig(resamples=20, pixel_nm=100.0))
        text = "\n".join(result.lines())
        assert "nan" not in text and "Jaccard" in text
    assert result.gates[0].scores["jaccard"].estimate == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["found.csv"], "name the true positions with --truth"),
        (["found.csv", "--truth", "truth.csv", "--gate", "1,2,3"], "--gate 1,2,3: give lateral,axial"),
        (["found.csv", "--truth", "truth.csv", "--gate", "-5"], "give lateral,axial"),
        (["found.csv", "score.frames=3", "--truth", "truth.csv"], "is a setting of a run"),
        (["found.csv", "--truth", "missing.csv"], "missing.csv"),
        ([".", "--gate", "100"], "go with a localization list"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(lists, monkeypatch, capsys, arguments, message):
    """Wrong combinations and files: exit status 2 and a line that says what."""
    monkeypatch.chdir(lists)
    assert cli.main(["evaluate", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(": loading")]
    assert len(lines) == 1 and message in lines[0]


def test_a_gate_of_three_lengths_is_refused_by_the_function_too():
    """The typed function checks what the command line checks."""
    one = make_localizations([0], [1.0], [1.0], [1.0])
    with pytest.raises(ValueError, match="give lateral,axial or one radius"):
        evaluate(one, one, EvaluateConfig(gates_nm=((1.0, 2.0, 3.0),)))
    with pytest.raises(LocalizationError, match="ball_um is -1"):
        evaluate(one, one, EvaluateConfig(gates_nm=((-1000.0,),)))
