"""What several benchmarks measure on: simulated experiments, reference recordings, the tests' slow truths.

`ROOT` is the checkout, `DATA` the folder of public recordings (COLOCUS_DATA, default ../shared/data).
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("COLOCUS_DATA", ROOT.parent / "shared" / "data"))
# tests/made: the witnesses and damaged files that tests and benchmarks share
sys.path.append(str(ROOT / "tests"))
