"""What a program of the table answers: a JSON line when it is ready, then one of seconds and memory for every name.

Standard library alone, as every interpreter of the table imports it.
"""

import json
import re
import sys
import time
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory_mb(field):
    """Resident memory of this process: VmRSS now, VmHWM the most since `reset_peak`."""
    return int(re.search(field + r":\s+(\d+)", _STATUS.read_text())[1]) / 1024


def reset_peak():
    """Begin to count the peak of memory anew."""
    _CLEAR.write_text("5")


def serve(ready, work):
    """Say what is ready, then run `work[name]` for every name that comes in, until there are no more.

    `ready["imported_mb"]` is what the interpreter took before it was asked for anything.
    """
    reset_peak()
    print(json.dumps({**ready, "names": list(work)}), flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        work[line.strip()]()
        answer = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        print(json.dumps({**answer, "peak_mb": memory_mb("VmHWM")}), flush=True)
