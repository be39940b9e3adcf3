"""A second movie beside the first: where its list goes, and what is said; the reading itself is `test_kill.py`'s."""

import types

import numpy as np
import pytest

from experiments import cli
from experiments.reconstruction import two_colours
from experiments.reconstruction.plan import Plan
from localization import make_localizations, read, write


def test_the_second_list_is_laid_onto_the_first(tmp_path, monkeypatch):
    """Both runs' lists are written by hand: wavy lines, seen 80 nm to the right, 50 nm up by the second."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 12, (4, 9000))
    lines = [np.stack([x[k], 3 * k + 1 + np.sin((1 + 0.3 * k) * x[k] + k)], axis=1) for k in range(4)]
    points = np.concatenate(lines) + rng.normal(0, 0.015, (36000, 2))

    def listed(folder, xy):
        write(folder / "localizations.csv", make_localizations(np.zeros(len(xy)), *xy.T, np.zeros(len(xy))))

    def reconstructed(movie, out, plan, **how):
        assert plan.movie == "b.tif" and plan.test_frames == 6 and not how["resume"]
        out.mkdir()
        listed(out, points[1::2] + [0.08, -0.05])
        return types.SimpleNamespace(folder=out)

    listed(tmp_path, points[::2])
    monkeypatch.setattr(two_colours, "reconstruct", reconstructed)
    found = two_colours.second_colour("b.tif", tmp_path, Plan("a.tif", test_frames=6), resume=True)
    assert found.registration.transform.shift_um == pytest.approx([-0.08, 0.05], abs=0.004)
    names = {path.name for path in tmp_path.iterdir()}
    wanted = {"second", "second_registered.csv", "second_registered_overlay.png", "second_registered_register.json"}
    assert wanted <= names
    assert read(tmp_path / "second_registered.csv").x_um == pytest.approx(found.moved.x_um, abs=1e-4)


def test_a_part_of_the_first_list_is_no_colour(tmp_path, capsys):
    assert cli.main(["reconstruct", "a.tif", "--out", str(tmp_path / "run"), "--second", "b.tif", "--to", "psf"]) == 2
    assert "--second needs the whole list" in capsys.readouterr().err
