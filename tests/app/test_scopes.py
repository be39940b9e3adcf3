"""A microscope in a form: its files are those of the command line, its numbers those that `colocus crlb` gives."""

import asyncio
import os
import shlex
import sys

import pytest

from app.drawing.child import Child
from app.pages.curves import curves_svg
from app.pages.microscope import page
from app.routes import Shown
from app.runs.launch import change_plan, make_run
from app.scopes import (
    MASKS,
    PRESETS,
    START,
    bounds_settings,
    command,
    read_scope,
    save_scope,
    scope_toml,
    scopes,
    warnings,
)
from app.site import Refused, Site
from experiments.commands.arguments import split_settings
from experiments.instrument.crlb import crlb
from experiments.instrument.crlb_config import CrlbConfig
from experiments.instrument.retrieve_config import load_config
from experiments.reconstruction.plan import load_plan
from experiments.settings import load_settings
from optics.masks.library import LIBRARY
from training import MicroscopeConfig, from_dict

OTHER = START | {"na": 1.35, "immersion": 1.406, "wavelength": 0.58, "pixel": 0.108, "depth": 0.5}
EXPECTED = MicroscopeConfig(1.35, 1.406, 1.33, None, 0.58, 0.108, 0.5)


def test_what_is_saved_is_what_the_commands_read(tmp_path):
    """One file for crlb and retrieve; the same numbers written into a run's plan; and back into the form."""
    site = Site.make([tmp_path])
    path = save_scope(site, "../<my> scope.toml", OTHER)
    assert path == tmp_path / "microscopes" / path.name and "<" not in path.name and scopes(site) == [path]
    assert load_config(str(path), []).microscope == MicroscopeConfig(1.35, 1.406, 1.33, None, 0.58, 0.108, 0.5)
    assert load_settings(CrlbConfig, str(path)).microscope == EXPECTED
    form = {name: OTHER[name] for name in ("na", "immersion", "sample", "wavelength", "pixel", "depth")}
    assert read_scope(path) == form
    run = make_run(site, tmp_path / "m.tif", {})
    change_plan(run, "optics", {"na": 1.35, "n_immersion": 1.406, "focus_um": 0.5})
    assert load_plan(run / "plan.toml").optics.n_immersion == 1.406
    assert read_scope(run / "plan.toml") == {"na": 1.35, "immersion": 1.406, "depth": 0.5}
    (tmp_path / "flat.toml").write_text("na = 1.2\npixel_um = 0.1\n")  # as `colocus retrieve` takes it too
    assert read_scope(tmp_path / "flat.toml") == {"na": 1.2, "pixel": 0.1}


def test_the_line_for_the_terminal_stands_for_the_same_settings(tmp_path):
    site = Site.make([tmp_path])
    (tmp_path / "scope.toml").write_text(scope_toml(OTHER))
    (tmp_path / "m.npz").write_bytes(b"")
    for mask in MASKS:
        settings = bounds_settings(site, OTHER | {"mask": mask, "mask_file": str(tmp_path / "m.npz")})
        words = shlex.split(command(settings, str(tmp_path / "scope.toml")))
        assert words[:2] == ["colocus", "crlb"]
        assert load_settings(CrlbConfig, *split_settings(words[2:])) == from_dict(CrlbConfig, settings)
    assert set(MASKS) == {*LIBRARY, "file"}


def test_nothing_is_odd_about_presets_and_each_mistake_is_named():
    for preset in PRESETS.values():
        assert all("rim" in line for line in warnings(START | preset))
    mistakes = {
        "not below the immersion index": {"na": 1.52}, "looks like nanometres": {"wavelength": 670.0},
        "above the sample index": {"na": 1.45}, "coarser than": {"pixel": 0.4},
        "must be below the last": {"z_high": 0},
        "above the coverslip": {"z_low": -1.0}, "lies outside the depths": {"depth": 9.0},
        "between 1 and": {"sample": 3.0},
    }  # fmt: skip
    for words, values in mistakes.items():
        assert any(words in line for line in warnings(START | {"na": 1.3} | values)), words
    assert warnings(dict.fromkeys(START)) == []  # an empty form is not odd, it is not finished


@pytest.mark.parametrize(
    "values", [{"na": None}, {"na": float("nan")}, {"na": "1.4"}, {"mask": "evil"}, {"mask_range": 0.0},
               {"mask": "file", "mask_file": "/etc/passwd"}, {"mask": "file", "mask_file": ""}],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_a_line(tmp_path, values):
    with pytest.raises(Refused) as refused:
        bounds_settings(Site.make([tmp_path]), START | values)
    assert "\n" not in str(refused.value)


def test_pages_and_files_outside_the_folders_are_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "secret.toml").write_text("na = 1.2")
    (tmp_path / "open" / "evil.toml").write_text("na = [")
    (tmp_path / "open" / "none.toml").write_text("title = 'x'")
    shown = Shown(Site.make([tmp_path / "open"]))
    outside = str(tmp_path / "secret.toml")
    for given in (("", "", outside), (outside, "", ""), ("", str(tmp_path), ""), ("", str(tmp_path / "open"), "")):
        with pytest.raises(Refused):
            page(shown, *given)
    for name in ("evil.toml", "none.toml"):
        with pytest.raises(Refused, match=name):
            read_scope(tmp_path / "open" / name)
    for name in ("", " ", ".."):
        with pytest.raises(Refused):
            save_scope(shown.site, name, {})
    (tmp_path / "open" / "microscopes").mkdir()
    (tmp_path / "open" / "microscopes" / "link.toml").symlink_to(tmp_path / "secret.toml")
    with pytest.raises(Refused):
        save_scope(shown.site, "link", {})
    assert (tmp_path / "secret.toml").read_text() == "na = 1.2"


def test_curves_keep_their_places():
    """The ends of a line lie at the ends of its axes; a gap begins it anew."""
    svg = curves_svg([0.0, 1.0, 2.0], [("x", "#000", "", [0.0, None, 10.0])], "depth", "bound <nm>")
    assert 'd="M44.0 162.0 M412.0 22.0"' in svg and "<nm>" not in svg


ECHO = """
import sys, json, time
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("die"): sys.exit(1)
    time.sleep(0.1)
    print(json.dumps({"said": asked["n"]} if asked["n"] else {"error": "none"}), flush=True)
"""


class Stub(Child):
    """A kept process that answers at once, in place of the one that loads JAX."""

    begun = 0

    async def _begin(self):
        self.begun += 1
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(sys.executable, "-c", ECHO, stdin=pipe, stdout=pipe)


def test_the_kept_process_answers_the_newest_and_is_begun_anew_when_it_dies():
    async def scene():
        child = Stub()
        asked = [child.ask({"n": n}, "one page") for n in (1, 2, 3)] + [child.ask({"n": 4}, "another page")]
        assert await asyncio.gather(*asked) == [{"said": 1}, None, {"said": 3}, {"said": 4}]
        assert child.begun == 1 and child.pid is not None
        os.kill(child.pid, 9)
        assert await child.ask({"n": 5}, "one page") == {"said": 5} and child.begun == 2
        with pytest.raises(Refused, match="none"):
            await child.ask({"n": 0}, "one page")
        with pytest.raises(Refused, match="ended without an answer"):
            await child.ask({"n": 1, "die": True}, "one page")
        assert await child.ask({"n": 6}, "one page") == {"said": 6}
        waiting = asyncio.create_task(child.ask({"n": 7}, "a page that is closed"))
        await asyncio.sleep(0.03)
        waiting.cancel()
        assert await child.ask({"n": 8}, "one page") == {"said": 8}  # and not what the other one had asked for
        await child.close()
        assert child.pid is None

    asyncio.run(scene())


@pytest.mark.slow
def test_the_form_shows_what_the_command_computes(tmp_path):
    """Bounds of the kept process are those of `colocus crlb` from the same settings, but for its finer pupil."""
    settings = bounds_settings(Site.make([tmp_path]), START)
    wrong = bounds_settings(Site.make([tmp_path]), START | {"na": 1.6})

    async def scene():
        child = Child()
        with pytest.raises(Refused, match="n_immersion"):
            await child.ask({"kind": "bounds", "settings": wrong}, 1)
        answer = await child.ask({"kind": "bounds", "settings": settings}, 1)
        await child.close()
        return answer

    answer = asyncio.run(scene())
    assert answer is not None
    config = from_dict(CrlbConfig, settings | {"neighbours": {"densities_per_um2": []}})
    arm = crlb(config).arms[0]
    for k, axis in enumerate("xyz"):
        assert answer[f"{axis}_nm"] == pytest.approx(arm.marginal[:, k].tolist(), rel=1e-3)
    assert answer["z_um"] == pytest.approx(arm.z_um.tolist())
