"""Folders that cannot be left, and uploads that are refused without a trace."""

import asyncio
import os

import numpy as np
import pytest
import tifffile

from app.site import Refused, Site
from app.upload import receive, safe_name
from experiments.commands.arguments import UsageError


@pytest.fixture
def site(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return Site.make([tmp_path / "open"], upload_bytes=20_000)


def test_nothing_outside_the_folders_is_reached(site, tmp_path):
    """By dots, by links, by a folder whose name begins alike, by what the system gives other names to."""
    inside = site.folders[0]
    (inside / "link").symlink_to(tmp_path / "secret.txt")
    (inside / "up").symlink_to(tmp_path)
    (inside / "loop").symlink_to(inside / "loop")
    (tmp_path / "open-not").mkdir()
    wanted = [
        tmp_path / "secret.txt", inside / ".." / "secret.txt", inside / "link", inside / "up" / "secret.txt",
        inside / "loop", tmp_path / "open-not", "/etc/passwd", "/proc/self/environ", "secret.txt", "../secret.txt", "",
        f"{inside}/%2e%2e/secret.txt", f"{inside}\0", "~", os.fsdecode(b"/\xff"), "/" + "a" * 5000,
    ]  # fmt: skip
    for name in wanted:
        with pytest.raises(Refused, match="no such file in the folders of this page"):
            site.resolve(name)
    (inside / "here.tif").write_bytes(b"")
    (inside / "same").symlink_to(inside / "here.tif")
    assert site.resolve(inside / "same") == inside / "here.tif"
    with pytest.raises(UsageError):
        Site.make([tmp_path / "missing"])


def test_pages_say_where_a_file_is_from_its_folder_on(site):
    assert site.called(site.folders[0] / "a" / "b.tif") == "open/a/b.tif"


def test_runs_are_not_written_through_a_link_that_leads_outside(site, tmp_path):
    (site.folders[0] / "runs").symlink_to(tmp_path)
    with pytest.raises(Refused):
        site.writable("runs")


async def _chunks(content, size=1000):
    for first in range(0, len(content), size):
        yield content[first : first + size]


def send(site, name, content, declared=None):
    return asyncio.run(receive(site, name, declared, _chunks(content)))


def movie_bytes(folder, **tags):
    tifffile.imwrite(folder / "m.tif", np.zeros((3, 16, 16), np.uint16), photometric="minisblack", **tags)
    return (folder / "m.tif").read_bytes()


def test_a_movie_is_kept_under_a_safe_and_new_name(site, tmp_path):
    content = movie_bytes(tmp_path)
    first = send(site, "../../<b>my</b> movie.tif", content, len(content))
    second = send(site, "../../<b>my</b> movie.tif", content)
    assert first.read_bytes() == second.read_bytes() == content
    assert (first.name, second.name) == ("_b_my__b_ movie.tif", "_b_my__b_ movie-2.tif")
    assert first.parent == site.folders[0] / "uploads" and set(first.parent.iterdir()) == {first, second}


@pytest.mark.parametrize(
    "name, content, declared, status",
    [
        ("a.tif", b"x" * 30_000, None, 413),  # larger than it says
        ("a.tif", b"x" * 10, 30_000, 413),  # says that it is larger
        ("a.tif", b"x" * 10, 20, 400),  # cut off
        ("a.tif", b"<script>alert(1)</script>", None, 415),
        ("a.npy", b"no array at all", None, 415),
        ("a.html", b"<script>alert(1)</script>", None, 415),
        ("", b"x", None, 400),
        ("..", b"x", None, 400),
    ],
)
def test_what_is_no_movie_or_too_large_leaves_nothing(site, name, content, declared, status):
    with pytest.raises(Refused) as refused:
        send(site, name, content, declared)
    assert refused.value.status == status
    assert "\n" not in str(refused.value) and str(site.folders[0]) not in str(refused.value)
    uploads = site.folders[0] / "uploads"
    assert not uploads.exists() or list(uploads.iterdir()) == []


def test_an_array_that_would_be_unpickled_is_refused(site, tmp_path):
    """An object array is stored as a pickle, which could run anything when it is loaded; nothing here loads it."""
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(Refused):
        send(site, "a.npy", (tmp_path / "a.npy").read_bytes())


def test_names_keep_what_people_write():
    assert safe_name("Zelle 3 (München)-a+b.ome.tif") == "Zelle 3 (München)-a+b.ome.tif"
    assert safe_name("C:\\data\\cell.tif") == "cell.tif"
