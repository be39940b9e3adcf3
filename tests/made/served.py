"""`colocus app` served by a process of its own, as a user starts it."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """`colocus app` as a process; `kill` ends it as a power cut would, `start` serves the same folder again."""

    def __init__(self, folder: Path, cache: Path, *options: str) -> None:
        self.folder, self.port, self.options = folder, 0, options
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PLATFORMS": "cpu",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05",
        }  # fmt: skip
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.cli", "app", "--folder", str(self.folder), "--port", str(self.port),
             *self.options], cwd=ROOT, env=self.environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        said = [self.process.stderr.readline(), self.process.stderr.readline()]
        found = re.search(r"http://127.0.0.1:(\d+)/", said[1])
        assert found is not None, said
        self.port = int(found[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
