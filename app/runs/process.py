"""A process told from a later one with the same number: by the time it was started."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process: its number, and when the system says it was started (with the boot, where that is told)."""

    pid: int
    started: str

    @classmethod
    def find(cls, pid: int) -> "Process | None":
        """Return the process of a number; None where there is none, or it has ended.

        >>> Process.find(os.getpid()).is_alive()
        True
        """
        started = _started(pid)
        return None if started is None else cls(pid, started)

    def is_alive(self) -> bool:
        """Ask whether this very process runs."""
        return _started(self.pid) == self.started

    def signal(self, number: int) -> bool:
        """Send a signal to this very process; False where it has ended."""
        if not self.is_alive():
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


def _started(pid: int) -> str | None:
    if pid <= 0:
        return None
    if _PROC.joinpath("self/stat").exists():
        try:
            stat = (_PROC / str(pid) / "stat").read_text()
            boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before may hold spaces and brackets
        return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
    said = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, began = said.stdout.strip().partition(" ")
    return began.strip() if began and not state.startswith("Z") else None
