"""Files and folders of results that appear whole or not at all."""

import errno
import os
import threading

import pytest

from optics.whole_file import leftovers, remove_leftovers, whole_file, whole_files, write_bytes, write_text


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    """The temporary file keeps its name, lies in a folder beside the file, and is gone afterwards."""
    path = tmp_path / "new" / "movie.ome.tif"
    for content in ("old", "new"):
        with whole_file(path) as part:
            assert part.name == path.name and part.parent.parent == path.parent
            part.write_text(content)
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]
    write_text(path, "text")
    assert path.read_text() == "text"
    write_bytes(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError("half-way")])
def test_an_interrupted_block_leaves_the_old_file(failure, tmp_path):
    """And no folder where there was none."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    for target in (path, tmp_path / "deep" / "er" / "a.txt"):
        with pytest.raises(type(failure) if isinstance(failure, Exception) else failure), whole_file(target) as part:
            part.write_text("half")
            raise failure
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path, monkeypatch):
    """Also one that shows when the file is brought to the disk."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_text(path, "new")
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path):
    """A folder in the file's place, and a file in the folder's."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_text(tmp_path / "folder", "x")
    assert error.value.filename == str(tmp_path / "folder")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=str(tmp_path / "file")):
        write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(FileNotFoundError) as error:
        with whole_file(tmp_path / "a.txt") as part:
            part.read_text()
    assert error.value.filename == str(tmp_path / "a.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """Each writes a file of its own; what stays is one of the two, whole."""
    path, barrier = tmp_path / "a.txt", threading.Barrier(2)

    def write(letter):
        with whole_file(path) as part:
            barrier.wait()
            part.write_text(letter * 10_000)
            barrier.wait()

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("a" * 10_000, "b" * 10_000) and list(tmp_path.iterdir()) == [path]


def test_what_is_written_may_be_a_folder(tmp_path):
    with whole_file(tmp_path / "movie.zarr") as part:
        part.mkdir()
        (part / "0").write_text("")
    assert [path.name for path in (tmp_path / "movie.zarr").iterdir()] == ["0"]
    with pytest.raises(ValueError, match="half"), whole_file(tmp_path / "b.zarr") as part:
        part.mkdir()
        raise ValueError("half")
    assert [path.name for path in tmp_path.iterdir()] == ["movie.zarr"]


def test_files_that_appear_together(tmp_path, monkeypatch):
    """The named file last; after a failure nothing of them, nor their folder."""
    moved, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (moved.append(b.name), replace(a, b)))
    with whole_files(tmp_path / "out", last="config.json") as part:
        for name in ("config.json", "z.csv"):
            (part / name).write_text("")
    assert moved == ["z.csv", "config.json"]
    with pytest.raises(ValueError, match="half"), whole_files(tmp_path / "new" / "out") as part:
        (part / "a").write_text("")
        raise ValueError("half")
    assert not (tmp_path / "new").exists()


def test_what_a_kill_leaves_is_found_and_removed(tmp_path):
    """Today's temporary folders, and the files of earlier versions; no pattern of a reader finds what is in them."""
    (tmp_path / ".0f.part").mkdir()
    for name in (".0f.part/b.json", ".a.json.17.part", "a.part", "a.json", "apart.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in tmp_path.glob("*.json")] == ["a.json"]
    assert sorted(path.name for path in leftovers(tmp_path)) == [".0f.part", ".a.json.17.part", "a.part"]
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "apart.txt"]
