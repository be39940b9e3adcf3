"""Scheduler and workers as processes of their own, as on a cluster, that may be killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parents[1]


class Processes:
    """What was started, by what it is; ended with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running = folder, []
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), str(FOLDER)]),
            "JAX_PLATFORMS": "cpu",
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
        }

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running:
            process.kill()
            process.wait()

    @property
    def file(self) -> Path:
        """Where the scheduler says its address."""
        return self.folder / "scheduler.json"

    def start(self, *command: str) -> subprocess.Popen:
        """Start Python with a command."""
        with (self.folder / "processes.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, *command], env=self.environment, stdout=log, stderr=log, cwd=self.folder
            )
        self.running.append(process)
        return process

    def scheduler(self) -> subprocess.Popen:
        """Start a scheduler, and wait until it has said where it is."""
        self.file.unlink(missing_ok=True)
        what = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
        process = self.start("-m", "dask", "scheduler", *what, "--scheduler-file", str(self.file))
        wait_for(self.file.exists)
        return process

    def worker(self, name: str) -> subprocess.Popen:
        """Start a worker without a nanny: what is killed is the worker itself."""
        what = ("--no-nanny", "--no-dashboard", "--nthreads", "1", "--name", name, "--memory-limit", "0")
        return self.start("-m", "dask", "worker", "--scheduler-file", str(self.file), *what)


def wait_for(condition, seconds: float = 120.0) -> None:
    """Wait until it is true."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("waited for too long")
        time.sleep(0.02)
