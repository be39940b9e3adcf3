"""`colocus register`: files in, files out, one line for what cannot be."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import cli
from localization import make_localizations, read, write


def test_beads_move_the_second_list(tmp_path, capsys):
    """A known shift of the beads is that of the list; a colour's place on the overlay is its own."""
    rng = np.random.default_rng(0)
    bead = rng.uniform(0, 10, (20, 2))
    shift = np.array([0.3, -0.2])
    lists = {"a": [[2.0, 2.0], [8.0, 8.0]], "b": [[5.0, 2.0]], "beads_a": bead + shift, "beads_b": bead}
    for name, xy in lists.items():
        xy = np.asarray(xy)
        write(tmp_path / f"{name}.csv", make_localizations(np.zeros(len(xy)), *xy.T, np.zeros(len(xy))))
    arguments = [tmp_path / "a.csv", tmp_path / "b.csv", "--beads", tmp_path / "beads_a.csv", tmp_path / "beads_b.csv"]
    out = tmp_path / "moved.csv"
    assert cli.main(["register", *map(str, arguments), "--out", str(out)]) == 0
    assert "shift 300.0, -200.0 nm" in capsys.readouterr().out
    moved = read(out)
    assert (moved.x_um[0], moved.y_um[0]) == (pytest.approx(5.3), pytest.approx(1.8))
    numbers = json.loads((tmp_path / "moved_register.json").read_text())
    assert numbers["by"] == "beads" and numbers["residual_nm"] < 0.1
    with Image.open(tmp_path / "moved_overlay.png") as image:
        colours = {
            tuple(int(v) for v in colour) for colour in np.unique(np.asarray(image)[:590].reshape(-1, 3), axis=0)
        }
    assert {(0, 255, 0), (255, 0, 255)} <= colours
    assert (tmp_path / "moved_register.png").exists()


def test_what_cannot_be_registered_is_one_line(tmp_path, capsys):
    for name in "ab":
        write(tmp_path / f"{name}.csv", make_localizations([0, 1], [1, 2], [1, 2], [0, 0]))
    out = tmp_path / "moved.csv"
    assert cli.main(["register", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out", str(out)]) == 2
    assert "the first list has 2 rows; by structures it needs 500" in capsys.readouterr().err
    assert not out.exists()
    assert (
        cli.main(["register", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out", str(tmp_path / "b.csv")]) == 2
    )
    assert "is the input itself" in capsys.readouterr().err
