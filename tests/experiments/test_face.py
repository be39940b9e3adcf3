"""`import experiments` as a notebook does: cheap, and complete."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from experiments import cli
from localization import make_localizations

JOBS = [
    "localize", "crlb", "design", "fabricate", "retrieve", "calibrate_camera", "evaluate", "drift", "resolution",
    "track", "link", "filter_list", "render", "convert", "generate_fit", "generate_sample", "compare_masks",
]  # fmt: skip


def test_importing_it_loads_nothing_heavy():
    heavy = "{'jax', 'numpy', 'matplotlib', 'pandas', 'rich'} & set(sys.modules)"
    code = f"import sys, experiments; print(sorted({heavy}), len(dir(experiments)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split("]")[0] == "[" and int(shown.split("]")[1]) >= len(JOBS)


def test_every_name_is_there_and_no_other():
    assert set(JOBS) <= set(dir(experiments))
    for name in dir(experiments):
        assert getattr(experiments, name) is not None
    with pytest.raises(AttributeError, match="localise"):
        experiments.localise  # noqa: B018


@pytest.mark.parametrize("name", JOBS)
def test_jobs_have_one_shape(name):
    """Data, then `out` where the product grows as the job runs, then settings, then who is told of the progress."""
    names = list(inspect.signature(getattr(experiments, name)).parameters)
    positional = [n for n in names if n not in ("share", "client", "resume", "deadline_s", "command", "save_mask")]
    assert positional[-2:] == ["config", "report"]
    if "out" in positional:
        assert positional[-3] == "out"


def test_a_result_says_and_writes_itself(tmp_path):
    locs = make_localizations([0, 1, 2, 0], [1.0, 1.1, 1.2, 5.0], [1.0, 1.0, 1.0, 5.0], [0.0] * 4)
    result = experiments.track(locs, experiments.TrackConfig(max_step_um=0.5))
    assert result.numbers()["tracks"] == 2 and "2 tracks" in result.lines()[0]
    assert {path.name for path in result.write(tmp_path)} == {"tracks.csv", "tracks.json", "tracks.png"}
    assert len(result.figure().axes) == 3


def test_a_command_is_one_module_in_a_table(tmp_path, monkeypatch, capsys):
    """A module outside the folder, registered under a name: in the help, with arguments and errors as the others."""
    (tmp_path / "hello_command.py").write_text(
        'ABOUT = "Greet somebody. Politely."\nGROUP = "mine"\n\n'
        'def add_arguments(parser):\n    parser.add_argument("name")\n\n'
        "def main(arguments, argv):\n    print('hello', arguments.name, arguments.command)\n    return 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.COMMANDS, "hello", "hello_command")
    assert cli.main(["hello", "you"]) == 0
    assert capsys.readouterr().out == "hello you hello\n"
    assert cli.main(["helo"]) == 2 and "did you mean 'hello'?" in capsys.readouterr().err
    assert cli.main(["hello"]) == 2 and "see: colocus hello --help" in capsys.readouterr().err
    assert "  hello             Greet somebody\n" in cli.help_text()
    assert set(cli.COMMANDS) >= {path.stem.replace("_", "-") for path in _command_files()}


def _command_files():
    files = Path(importlib.import_module("experiments.commands").__path__[0]).rglob("*.py")
    return [path for path in files if path.stem not in ("__init__", "arguments")]
