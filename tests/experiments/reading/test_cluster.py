"""Shares of a movie read by workers of Dask: the bytes of one process, whoever begins, ends or is lost."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from distributed import Client, LocalCluster

from experiments import cli
from experiments.reading.chunks import LOG, Parts, parts_folder
from experiments.reading.cluster import connect
from experiments.reading.cluster.checks import refuse
from experiments.reading.cluster.engine import localize_on, shares, with_full_names
from experiments.reading.localize import LocalizeConfig, localize_with
from localization import LocalizationError
from made.brightest import Brightest
from training import ConfigError

# Dask's own, of its sockets and loops when they end
pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[3]
CONFIG = LocalizeConfig(chunk_frames=5, share_frames=10)


@pytest.fixture(scope="module")
def client():
    """Two workers in this process: what they do is the same, and nothing is started."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def movie(tmp_path):
    frames = np.random.default_rng(0).integers(0, 5000, (53, 8, 9)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    return tmp_path / "movie.tif"


@pytest.fixture
def expected(movie, tmp_path):
    localize_with(Brightest(), movie, tmp_path / "expected.csv", CONFIG)
    return (tmp_path / "expected.csv").read_bytes()


class Made(Brightest):
    """Counts how many of it were made."""

    number = 0

    def __init__(self):
        super().__init__()
        Made.number += 1


SLOW = partial(Brightest, pause_s=0.15)


def test_the_bytes_of_one_process_and_a_reader_for_each_worker(client, movie, expected, tmp_path, monkeypatch):
    """A relative name means the same there; progress ends at all frames; the log says so too, until it is merged."""
    monkeypatch.chdir(tmp_path)
    Made.number, events, logged = 0, [], []

    def hear(event):
        events.append(event)
        if event.stage == "frame" and event.done == event.total:
            logged.extend((parts_folder(tmp_path / "locs.csv") / LOG).read_text().splitlines())

    result = localize_on(client, Made, "movie.tif", "locs.csv", CONFIG, report=hear)
    assert (tmp_path / "locs.csv").read_bytes() == expected and not parts_folder(tmp_path / "locs.csv").exists()
    assert (result.frames, result.rows, result.tally["frames looked at"]) == (53, 53, 53)
    assert Made.number <= 2  # six shares
    done = [event.done for event in events if event.stage == "frame"]
    assert done == sorted(done) and done[-1] == 53 and events[0].stage == "start" and events[-1].stage == "end"
    records = [json.loads(line) for line in logged]
    assert records[0]["frames"] == 53 and records[-1]["frame"] == 53 and "at" in records[-1]


def test_either_way_goes_on_with_what_the_other_began(client, movie, expected, tmp_path):
    def stop(event):
        if event.stage == "frame" and event.done >= 12:
            raise KeyboardInterrupt

    for first, second in (("alone", "dask"), ("dask", "alone")):
        out, events = tmp_path / f"{first}.csv", []
        for way, report in ((first, stop), (second, events.append)):
            try:
                if way == "alone":
                    localize_with(Brightest(), movie, out, CONFIG, report=report)
                else:
                    localize_on(client, Brightest, movie, out, CONFIG, report=report)
            except KeyboardInterrupt:
                assert not out.exists() and parts_folder(out).is_dir()
        assert events[0]["frames"] < 53  # what was done is not done again
        assert out.read_bytes() == expected


def test_what_workers_cannot_do_is_said_before_the_first_share_or_with_their_name(client, movie, tmp_path, monkeypatch):
    """A file that they do not see, a movie that is none, a disk that is full: one line; what is done stays."""
    with pytest.raises(ConfigError, match=r"worker 0 .*\(and 1 more\) does not see .*no-such.tif"):
        localize_on(client, Brightest, tmp_path / "no-such.tif", tmp_path / "a.csv", CONFIG)
    (tmp_path / "text.tif").write_text("no movie")
    with pytest.raises(LocalizationError, match=r"worker [01] .*text.tif"):
        localize_on(client, Brightest, tmp_path / "text.tif", tmp_path / "a.csv", CONFIG)
    assert not parts_folder(tmp_path / "a.csv").exists()
    write = Parts.write

    def full(self, index, locs, tally):
        if index == 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path(index)))
        write(self, index, locs, tally)

    monkeypatch.setattr(Parts, "write", full)
    with pytest.raises(ConfigError, match="worker [01] .*no space left on device; free some space there and run the"):
        localize_on(client, Brightest, movie, tmp_path / "a.csv", CONFIG)
    monkeypatch.undo()
    assert Parts.find(tmp_path / "a.csv").missing()
    with pytest.raises(ConfigError, match="holds the parts of another job"):
        localize_on(client, Brightest, movie, tmp_path / "a.csv", LocalizeConfig(chunk_frames=7))
    localize_on(client, Brightest, movie, tmp_path / "a.csv", CONFIG)


def test_versions_that_differ_are_both_named():
    ours = {"colocus": "0.2", "jax": "0.10.1"}
    here = {"versions": ours, "missing": []}
    refuse({"a": here, "b": here}, ours)
    for theirs, message in (
        ({"versions": ours | {"jax": "0.9"}, "missing": []}, "worker b has jax 0.9, here is 0.10.1"),
        ({"versions": ours | {"colocus": None}, "missing": []}, "worker b has no colocus, here is 0.2"),
        (TypeError("code() takes at most 16 arguments"), "worker b cannot be asked .*is its Python another one"),
    ):
        with pytest.raises(ConfigError, match=message):
            refuse({"a": here, "b": theirs}, ours)


def test_a_scheduler_that_is_not_there(movie, tmp_path, capsys, monkeypatch):
    """Nobody at the address, no file, a file of something else, a word that means nothing, two ways at once."""
    monkeypatch.setattr(connect, "PATIENCE_S", 0.2)
    (tmp_path / "other.json").write_text("{}")
    command = ["localize", str(movie), "--model", "gaussian", "--out", str(tmp_path / "a.csv"), "--gain", "1"]
    for where, message in (
        ("127.0.0.1:9", "no Dask scheduler answers"),
        (str(tmp_path / "none.json"), "no such file; a scheduler writes it"),
        (str(tmp_path / "other.json"), "not the file of a Dask scheduler"),
        ("cluster", "none of local, local:N"),
        ("local:0", "has no worker"),
    ):
        assert cli.main([*command, "--dask", where]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert cli.main([*command, "--dask", "local", "--chunk", "1/2"]) == 2
    assert "--chunk or --dask" in capsys.readouterr().err
    assert not list(tmp_path.glob("a.csv*"))


def test_workers_share_cores_or_take_a_device_each(monkeypatch):
    """Two cores for a worker, or a device; more workers than devices share their memory."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(16), raising=False)
    assert connect.worker_environments(None) == [{"NPROC": "2"}] * 8
    assert connect.worker_environments(4) == [{"NPROC": "4"}] * 4
    monkeypatch.setattr(connect, "devices", lambda: ["0", "GPU-b"])
    assert [e["CUDA_VISIBLE_DEVICES"] for e in connect.worker_environments(None)] == ["0", "GPU-b"]
    three = connect.worker_environments(3)
    assert [e["CUDA_VISIBLE_DEVICES"] for e in three] == ["0", "GPU-b", "0"]
    assert all(e["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false" for e in three)


def test_shares_hold_every_missing_chunk_once_and_names_are_made_full(tmp_path, monkeypatch):
    spans = [(k, min(k + 7, 100)) for k in range(0, 100, 7)]
    missing = [k for k in range(len(spans)) if k % 4]
    bundles = shares(missing, spans, 20)
    assert [k for bundle in bundles for k in bundle] == missing
    assert all(sum(spans[k][1] - spans[k][0] for k in bundle) >= 20 for bundle in bundles[:-1])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "psf.npz").touch()
    model, config, needs = with_full_names("gaussian", LocalizeConfig(method="decoder+joint", psf="psf.npz"))
    assert (model, config.psf, needs) == ("gaussian", str(tmp_path / "psf.npz"), [str(tmp_path / "psf.npz")])


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def parts_there(out):
    return len(list(parts_folder(out).glob("frames*.npz")))


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_share_alone(movie, expected, tmp_path):
    """Processes by spawn: one is killed at work, its nanny starts another, nobody does another's chunk again."""
    out, texts, killed = tmp_path / "locs.csv", [], []

    def hear(event):
        texts.append(str(event.numbers.get("text", "")))
        if event.stage == "frame" and event.done >= 15 and not killed:
            killed.extend([time.time(), client.run(os.getpid)])
            os.kill(min(killed[1].values()), signal.SIGKILL)

    with connect.connected("local:2") as client:
        localize_on(client, SLOW, movie, out, CONFIG, report=hear)
        told = [event for topic, events in client.get_events().items() if topic.startswith("colocus-")
                for event in events]  # fmt: skip
        chunks = [message["chunk"] for _, message in told]
    assert out.read_bytes() == expected
    assert sorted(chunks) == list(range(11))  # each was done once: the killed one's, that were done, too
    assert any("is lost" in text for text in texts) and any("has come" in text for text in texts)


@pytest.mark.slow
def test_another_version_none_at_all_and_a_scheduler_that_dies(movie, expected, tmp_path):
    """Processes as on a cluster: the ones refused by name before the first share, then a scheduler killed at work."""
    address, file, out = "", tmp_path / "scheduler.json", tmp_path / "locs.csv"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    there = tmp_path / "other"
    (there / "colocus-9.9.dist-info").mkdir(parents=True)
    (there / "colocus-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: colocus\nVersion: 9.9\n")
    other = environment | {"PYTHONPATH": str(there)}
    started = []

    def start(*command, env=environment):
        command = [sys.executable, "-m", "dask", *map(str, command)]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return started[-1]

    def begin():
        file.unlink(missing_ok=True)
        scheduler = start("scheduler", "--port", 0, "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", file)
        wait_for(file.exists)
        return scheduler

    try:
        scheduler = begin()
        address = json.loads(file.read_text())["address"]
        wrong = start("worker", address, "--no-nanny", "--no-dashboard", "--name", "old", env=other)
        with connect.connected(str(file)) as client:
            with pytest.raises(ConfigError, match="worker old .* has colocus 9.9, here is"):
                localize_on(client, SLOW, movie, out, CONFIG)
            wrong.kill()
            wait_for(lambda: not client.scheduler_info()["workers"])
            start("worker", address, "--no-nanny", "--no-dashboard", "--name", "right", "--nthreads", 1)

            def hear(event):
                if event.stage == "frame" and event.done >= 15:
                    scheduler.kill()

            with pytest.raises(ConfigError, match="the Dask scheduler has gone; start it again and run the same"):
                localize_on(client, SLOW, movie, out, CONFIG, report=hear)
        assert 3 <= parts_there(out) < 11
        localize_with(Brightest(), movie, out, CONFIG)
        assert out.read_bytes() == expected
    finally:
        for process in started:
            process.kill()
            process.wait()
