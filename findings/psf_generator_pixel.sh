#!/usr/bin/env bash
# Shows: psf-generator's pixels and steps are not those asked for. N pixels of `pix_size` reach over pix_size N with both
#        ends, so that they are pix_size N / (N - 1) apart: the same spot is 257 nm wide in 601 pixels, 230 nm in 9. Three
#        images with a `defocus_step` of 200 nm are 300 nm apart. With `gibson_lanni` pixels are n_s / n_i smaller:
#        at depth 0, where that model has no aberration, the spot is 293 nm wide.
# With: psf-generator 0.1.0, torch 2.13.0 (scalar, NA 1.2, 600 nm, indices 1.33 and 1.515).
# Matters: images of it that stand for truth, or that a decoder learns from, have the wrong scale in x, y and z.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check torch==2.13.0 psf-generator==0.1.0 2>pip.txt ||
    { cat pip.txt; exit 1; }
env/bin/python -W ignore - >seen.txt <<'P'
import numpy as np
from psf_generator import ScalarCartesianPropagator

settings = dict(n_pix_pupil=401, na=1.2, wavelength=600.0, n_i=1.515, n_i0=1.515, n_s=1.33, z_p=0.0, sz_correction=False)
for side, pix_size, layers in ((601, 5.0, False), (9, 50.0, False), (601, 5.0, True)):
    model = ScalarCartesianPropagator(n_pix_psf=side, pix_size=pix_size, gibson_lanni=layers, **settings)
    line = np.abs(model.compute_focus_field().numpy().squeeze()[side // 2, side // 2 :]) ** 2
    first = int(np.argmax(line < line[0] / 2))
    half = first - (line[0] / 2 - line[first]) / (line[first - 1] - line[first])
    print(f"{side} pixels, gibson_lanni {layers}: half as bright over {2 * half * pix_size:.0f} nm")
model = ScalarCartesianPropagator(n_pix_psf=9, n_defocus=3, defocus_step=200.0, **settings)
print("three images 200 nm apart: from", model.defocus_min, "to", model.defocus_max, "nm")
P
diff - seen.txt <<'T'
601 pixels, gibson_lanni False: half as bright over 257 nm
9 pixels, gibson_lanni False: half as bright over 230 nm
601 pixels, gibson_lanni True: half as bright over 293 nm
three images 200 nm apart: from -300.0 to 300.0 nm
T
cat seen.txt
