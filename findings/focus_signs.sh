#!/usr/bin/env bash
# Shows: two packages of the same Gibson-Lanni model count the focus in opposite directions. For a molecule 2 um deep in
#        water under an oil objective, psfmodels has its brightest image at z = +2.4 um, MicroscPSF-Py at zv = -2.65 um:
#        z grows with the focus into the sample, zv with the coverslip away from the objective.
# With: psfmodels 0.3.3 (scalar model) and MicroscPSF-Py 0.2, NA 1.4, 600 nm, indices 1.33 and 1.515.
# Matters: with z for zv the image is that of a molecule on the wrong side of focus, as plausible as the right one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check psfmodels==0.3.3 MicroscPSF-Py==0.2 scipy 2>pip.txt ||
    { cat pip.txt; exit 1; }
env/bin/python - >seen.txt <<'P'
import numpy as np
import psfmodels
from microscPSF import microscPSF

scope = {"NA": 1.4, "ns": 1.33, "ni": 1.515, "ni0": 1.515, "ng": 1.515, "ng0": 1.515}
focus = np.linspace(-4, 4, 161)
for depth in (0.0, 2.0):
    image = psfmodels.make_psf(focus, nx=31, dxy=0.1, pz=depth, wvl=0.6, model="scalar", **scope)
    other = microscPSF.gLZRFocalScan({**microscPSF.m_params, **scope}, np.linspace(0, 1, 41), focus, pz=depth, wvl=0.6)
    brightest = focus[image[:, 15, 15].argmax()], focus[other[:, 0].argmax()]
    print("depth {:.0f} um: brightest at {:.2f} um (psfmodels), {:.2f} um (MicroscPSF-Py)".format(depth, *brightest))
P
diff - seen.txt <<'T'
depth 0 um: brightest at 0.00 um (psfmodels), 0.00 um (MicroscPSF-Py)
depth 2 um: brightest at 2.40 um (psfmodels), -2.65 um (MicroscPSF-Py)
T
cat seen.txt
