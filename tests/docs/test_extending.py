"""docs/extending.md: its code runs as it stands, and what it adds is used like what was there."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import localization
from experiments import cli
from experiments.commands import COMMANDS
from localization.io import FORMATS, MOVIES
from optics import masks
from training import KINDS, ConfigError, RunConfig, from_dict
from training.instrument import build_family, build_mask, build_microscope

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()


@pytest.fixture(scope="module")
def added():
    """Run the page's code; afterwards the tables are what they were."""
    tables = (masks.LIBRARY, masks.FAMILIES, FORMATS, MOVIES, COMMANDS)
    before = [dict(table) for table in tables]
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), {"__name__": "extending"})
    yield
    for table, was in zip(tables, before, strict=True):
        table.clear()
        table.update(was)
    sys.modules.pop("count_command")


def test_a_mask_and_a_family_are_settings_of_a_run(added):
    """Built from a configuration; a name that is nearly right is answered with the new one."""
    values = {"mask": {"name": "trefoil", "rms_um": 0.05}, "learn": {"parametrisation": "few modes", "n_modes": 5}}
    run = from_dict(RunConfig, values)
    mask = build_mask(run.mask, build_microscope(run.microscope))
    assert float(np.ptp(np.asarray(mask.opd_um))) > 0.2  # 0.05 um rms of a mode of 2 sqrt(2) from hill to valley
    assert run.learn is not None and build_family(run.learn, 0.6).params_shape() == (5,)
    with pytest.raises(ConfigError, match="did you mean 'trefoil'"):
        from_dict(RunConfig, {"mask": {"name": "trefol"}})


def test_a_table_and_a_command_are_used_from_the_command_line(added, tmp_path, capsys):
    """The new command counts a file of the new format; `convert` reads it too, in nm and frames from 1."""
    (tmp_path / "a.csv").write_text("t,px [nm],py [nm]\n1,150,250\n4,160,260\n")
    assert cli.main(["count", str(tmp_path / "a.csv")]) == 0
    assert capsys.readouterr().out == "2 rows\n"
    assert "  count             Count the rows of a localization list\n" in cli.help_text()
    assert cli.main(["convert", str(tmp_path / "a.csv"), "--out", str(tmp_path / "b.csv")]) == 0
    found = localization.read(tmp_path / "b.csv")
    np.testing.assert_array_equal(found.frame, [0, 3])
    np.testing.assert_allclose(found.x_um, [0.15, 0.16])


def test_a_movie_is_converted(added, tmp_path, capsys):
    """Its frames in another format, and its note said."""
    frames = np.arange(60).reshape(3, 4, 5)
    np.savetxt(tmp_path / "a.textmovie", frames.reshape(12, 5), fmt="%d")
    assert cli.main(["convert", str(tmp_path / "a.textmovie"), "--out", str(tmp_path / "b.ome.tif")]) == 0
    assert "a movie of text" in "".join(capsys.readouterr())
    with localization.open_movie(tmp_path / "b.ome.tif") as movie:
        np.testing.assert_array_equal(movie.read(0, 3), frames)


def test_every_file_and_table_that_the_page_names_exists():
    """Paths in code marks; NAME stands for a new one."""
    paths = [path for path in re.findall(r"`([a-z_0-9]+(?:/[\w.]+)+/?)`", PAGE) if "NAME" not in path]
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {"list", "volume", "image"} <= set(KINDS)
