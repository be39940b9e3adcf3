#!/usr/bin/env bash
# Shows: slmsuite's phase falls as the grey rises: phase 0 is grey 255 and a quarter turn is grey 191. A picture of greys
#        that rise with the phase, handed over as uint8, is taken as it is and shows the conjugate mask.
# With: slmsuite 0.5.0, its simulated modulator.
# Matters: the conjugate of an engineered mask is its mirror in depth: the picture looks right and z is turned round.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check slmsuite==0.5.0 2>pip.txt || { cat pip.txt; exit 1; }
env/bin/python -W ignore - >all.txt 2>/dev/null <<'P'
import numpy as np
from slmsuite.hardware.slms.simulated import SimulatedSLM

slm = SimulatedSLM((4, 4), bitdepth=8)
quarters = np.tile([0.0, 0.25, 0.5, 0.75], (4, 1))
slm.set_phase(2 * np.pi * quarters)
print("turns 0, 1/4, 1/2, 3/4: grey", slm.display[0].tolist())
slm.set_phase(np.round(256 * quarters).astype(np.uint8))
print("grey 0, 64, 128, 192: turns", np.round(slm.phase[0] / (2 * np.pi), 2).tolist())
P
grep "^turns\|^grey" all.txt >seen.txt
diff - seen.txt <<'T'
turns 0, 1/4, 1/2, 3/4: grey [255, 191, 127, 63]
grey 0, 64, 128, 192: turns [0.0, 0.75, 0.5, 0.25]
T
cat seen.txt
