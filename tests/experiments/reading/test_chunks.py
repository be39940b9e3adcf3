"""Long work in parts: the same bytes however a list came about, and no list from parts that do not belong together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from experiments import cli
from experiments.reading.chunks import Job, Parts, Share, parts_folder, spans
from experiments.reading.localize import LocalizeConfig, localize_with, parse_share
from localization import LocalizationError, MovieFacts, make_localizations, read, read_file
from made.brightest import Brightest
from training import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def movie(tmp_path):
    frames = np.random.default_rng(0).integers(0, 5000, (23, 8, 9)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    return tmp_path / "movie.tif"


CONFIG = LocalizeConfig(chunk_frames=5)


def whole(movie, tmp_path):
    localize_with(Brightest(), movie, tmp_path / "whole.csv", CONFIG)
    return (tmp_path / "whole.csv").read_bytes()


def test_every_way_gives_the_same_bytes(movie, tmp_path):
    """In one go, in chunks of another length (frames at their borders keep their neighbours), in three shares."""
    expected = whole(movie, tmp_path)
    assert expected.count(b"\n") == 24
    localize_with(Brightest(), movie, tmp_path / "long.csv", LocalizeConfig(chunk_frames=1000))
    assert (tmp_path / "long.csv").read_bytes() == expected
    out = tmp_path / "shared.csv"
    for number in (3, 1, 2):
        result = localize_with(Brightest(), movie, out, CONFIG, share=Share(number, 3))
        assert result.path == parts_folder(out) and not out.exists()
    rows, tally = Parts.find(out).merge()
    assert (rows, tally["frames looked at"]) == (23, 23)
    assert out.read_bytes() == expected and not parts_folder(out).exists()


def test_a_job_goes_on_where_it_was_interrupted(movie, tmp_path):
    """Chunks that are done are not read again; a table that stood there stays until the new one is whole."""

    def stop(event):
        if event.stage == "frame" and event.done >= 12:
            raise KeyboardInterrupt

    out = tmp_path / "locs.csv"
    out.write_text("the old table")
    with pytest.raises(KeyboardInterrupt):
        localize_with(Brightest(), movie, out, CONFIG, report=stop)
    assert out.read_text() == "the old table"
    again = Brightest()
    events = []
    result = localize_with(again, movie, out, CONFIG, report=events.append)
    assert events[0]["frames"] == 13 and result.frames == result.rows == 23
    assert result.tally["frames looked at"] == 23  # those of the first attempt are not forgotten
    assert out.read_bytes() == whole(movie, tmp_path)


KILLED = """
import sys, pathlib
sys.path[:0] = [{tests!r}, {made!r}, {root!r}]
import test_chunks as t
t.localize_with(t.Brightest(pause_s=0.05), {movie!r}, {out!r}, t.CONFIG)
"""


def test_kill_nine_and_resume(movie, tmp_path):
    """SIGKILL between chunks leaves whole files only; the second call ends with the bytes of an undisturbed one."""
    out = tmp_path / "locs.csv"
    script = KILLED.format(
        tests=str(Path(__file__).parent), made=str(ROOT / "tests"), root=str(ROOT), movie=str(movie), out=str(out)
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    deadline = time.monotonic() + 60
    while not list(parts_folder(out).glob("frames*.npz")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = len(list(parts_folder(out).glob("frames*.npz")))
    assert 1 <= kept < 5 and not out.exists()
    events = []
    localize_with(Brightest(), movie, out, CONFIG, report=events.append)
    assert events[0]["frames"] == 23 - 5 * kept
    assert out.read_bytes() == whole(movie, tmp_path)


def test_another_job_in_the_same_place_is_refused(movie, tmp_path):
    """By its settings, by its frames, and when the movie was changed in between."""
    out = tmp_path / "locs.csv"
    localize_with(Brightest(), movie, out, CONFIG, share=Share(1, 2))
    with pytest.raises(ConfigError, match=r"another job \(its model.threshold = 0.0, here 0.5\)"):
        localize_with(Brightest(threshold=0.5), movie, out, CONFIG)
    with pytest.raises(ConfigError, match="another job"):
        localize_with(Brightest(), movie, out, LocalizeConfig(chunk_frames=5, frames=(0, 20)))
    os.utime(movie, ns=(0, 0))
    with pytest.raises(ConfigError, match="movie.modified_ns"):
        localize_with(Brightest(), movie, out, CONFIG)


def test_merge_names_what_is_missing(movie, tmp_path, capsys):
    out = tmp_path / "locs.csv"
    for number in (1, 3):
        localize_with(Brightest(), movie, out, CONFIG, share=Share(number, 5))
    assert cli.main(["merge", str(out)]) == 2
    assert "3 of 5 chunks are missing (frames 5:10, 15:20, 20:23)" in capsys.readouterr().err
    for number in (2, 4, 5):
        localize_with(Brightest(), movie, out, CONFIG, share=Share(number, 5))
    assert cli.main(["merge", str(out) + ".parts"]) == 0
    assert "23 localizations in 23 frames\n23 frames looked at" in capsys.readouterr().out
    assert out.read_bytes() == whole(movie, tmp_path)


def test_what_is_no_work_folder_is_refused(tmp_path):
    """Nothing there, a foreign folder, a job changed by hand, a chunk cut short, a parent that is missing."""
    out = tmp_path / "locs.csv"
    with pytest.raises(ConfigError, match="no such folder"):
        Parts.find(out)
    parts_folder(out).mkdir()
    (parts_folder(out) / "mine.txt").write_text("x")
    job = Job({"model": "a"}, spans(0, 4, 2))
    with pytest.raises(ConfigError, match=r"has no job.json"):
        Parts.begin(out, job)
    with pytest.raises(ConfigError, match="make it or name another"):
        Parts.begin(tmp_path / "no" / "locs.csv", job)
    parts = Parts.begin(tmp_path / "b.csv", job)
    parts.write(0, make_localizations([0], [1.0], [1 / 3], [0.1]), {"failed": 2})
    locs, tally = parts.read(0)
    assert locs.y_um[0] == 1 / 3 and tally == {"failed": 2}
    parts.path(1).write_bytes(parts.path(0).read_bytes()[:300])
    with pytest.raises(ConfigError, match="damaged .*delete this file"):
        parts.merge()
    assert not (tmp_path / "b.csv").exists() and parts.path(0).exists()
    held = json.loads((parts.folder / "job.json").read_text())
    (parts.folder / "job.json").write_text(json.dumps({**held, "spans": [[0, 2]]}))
    with pytest.raises(ConfigError, match="changed by hand"):
        Parts.find(tmp_path / "b.csv")


def test_no_chunk_done_leaves_no_folder(movie, tmp_path):
    """An error in the first chunk: nothing to go on with, so nothing is left."""

    class Broken(Brightest):
        def read(self, *arguments, **more):
            raise LocalizationError("broken")

    with pytest.raises(LocalizationError):
        localize_with(Broken(), movie, tmp_path / "locs.csv", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["movie.tif"]


def test_shares_cover_every_chunk_once():
    for n in (1, 5, 12):
        for of in (1, 3, 7):
            assert [k for i in range(of) for k in Share(i + 1, of).pick(n)] == list(range(n))


@pytest.mark.parametrize("text", ["3", "0/4", "5/4", "a/b", "1/0", "-1/3"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="i/n"):
        parse_share(text)


def test_a_table_in_pixels_is_written_with_the_models_pixel_and_the_movies_frame(movie, tmp_path):
    """Picasso counts in pixels: the size comes with the job, and the positions come back as in the CSV."""
    for name in ("locs.csv", "locs.hdf5"):
        localize_with(Brightest(), movie, tmp_path / name, CONFIG)
    csv, own = read(tmp_path / "locs.csv"), read_file(tmp_path / "locs.hdf5")
    np.testing.assert_allclose(own.locs.x_um, csv.x_um, atol=1e-5)
    assert (own.pixel_um, own.frame_px, own.n_frames) == (0.1, (8, 9), 23)


def test_a_name_of_no_format_is_refused_before_the_movie_is_read(movie, tmp_path):
    """Nothing is read and nothing left behind: an hour's work must not end at the name of its table."""
    reader = Brightest()
    with pytest.raises(LocalizationError, match="does not tell the format"):
        localize_with(reader, movie, tmp_path / "locs.xyz", CONFIG)
    assert not reader.seen
    assert not parts_folder(tmp_path / "locs.xyz").exists()


def test_localize_questions_the_pixel_and_its_list_carries_the_facts(tmp_path):
    from made.instrument_files import write_dax, write_ims  # not for the process that imports this file

    frames = np.random.default_rng(0).integers(0, 5000, (7, 8, 9)).astype(np.uint16)
    write_ims(tmp_path / "movie.ims", frames[:, None], pixel_um=0.108, interval_s=0.05)
    said = []
    localize_with(
        Brightest(), tmp_path / "movie.ims", tmp_path / "locs.colocus.h5", LocalizeConfig(chunk_frames=5),
        report=lambda event: said.append(event.numbers.get("notes")) if event.stage == "start" else None,
    )  # fmt: skip
    assert said == [["the movie says 108 nm a pixel, the PSF 100 nm: check which is right"]]
    assert read(tmp_path / "locs.colocus.h5").movie == MovieFacts(0.1, (8, 9), 7, None, pytest.approx(0.05))
    write_dax(tmp_path / "movie.dax", frames, exposure_s=0.02)
    localize_with(Brightest(), tmp_path / "movie.dax", tmp_path / "locs2.colocus.h5", LocalizeConfig(chunk_frames=5))
    assert read(tmp_path / "locs2.colocus.h5").movie.exposure_s == 0.02


def test_a_chunk_keeps_further_columns(tmp_path):
    """Extra columns of a reader go through the parts into the table."""
    parts = Parts.begin(tmp_path / "out.colocus.h5", Job({"pixel_um": 0.1}, ((0, 1), (1, 2))))
    for k in range(2):
        extras = {"chi2": [1.5 + k], "odd/name [nm]": [k]}
        parts.write(k, make_localizations([k], [1.0], [1.0], [0.0], extras=extras), {})
    parts.merge()
    found = read(tmp_path / "out.colocus.h5").extras
    assert {label: column.tolist() for label, column in found.items()} == {"chi2": [1.5, 2.5], "odd/name [nm]": [0, 1]}
