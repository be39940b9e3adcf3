"""`colocus app` as a process of its own, asked through HTTP on loopback."""

import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """`colocus app` over some folders, and what it takes."""

    def __init__(self, *folders: Path) -> None:
        began = time.perf_counter()
        self.log = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would fill up and hold the server
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.cli", "app", "--folder", *map(str, folders), "--port", "0"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=self.log, text=True,
        )  # fmt: skip
        while (found := re.search(r"http://\S*:(\d+)/", self.said())) is None:
            assert self.process.poll() is None, self.said()
            time.sleep(0.01)
        self.port = int(found[1])
        assert self.get("/")[0] == 200
        self.first_page_s = time.perf_counter() - began

    def get(self, place: str, **query) -> tuple[int, bytes, float]:
        """Ask for a page; returns its status, its content and the milliseconds."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("GET", place + (f"?{urlencode(query)}" if query else ""))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, 1e3 * (time.perf_counter() - began)

    def memory_mb(self) -> float:
        """Resident memory without pages of files, which the system takes back when it wants."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024  # pyright: ignore[reportOptionalSubscript]

    def said(self) -> str:
        """What it has written to stderr by now."""
        return os.pread(self.log.fileno(), 1 << 24, 0).decode(errors="replace")

    def errors(self) -> list[str]:
        """Return a line for each error that it has logged: where it came up, and what it was.

        Of one that came up while another was handled, the last is told.
        """
        lines = []
        for part in self.said().split("Traceback (most recent call last):")[1:]:
            if re.search(r"^(During handling of|The above exception)", part, re.MULTILINE):
                continue
            places = re.findall(r'^ *File "(?:.*/)?(\w+/\w+\.py)"(.*)$', part, re.MULTILINE)
            lines.append(": ".join([*map("".join, places[-1:]), *re.findall(r"^\w.*$", part, re.MULTILINE)[:1]]))
        return lines

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.log.close()
