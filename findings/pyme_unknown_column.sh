#!/usr/bin/env bash
# Shows: PYME drops every row of a table of text in which any column has no number: a column that is unknown
#        throughout (NaN, as many programs write it) leaves an empty list, with one line on standard error.
# With: python-microscopy 26.9.3, its reader of text without the windows; built from source, which takes some minutes.
# Matters: a column of which nothing is known must not stand in a file for PYME.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
install() { env/bin/pip install -q --disable-pip-version-check "$@" 2>pip.txt || { cat pip.txt; exit 1; }; }
install -U setuptools wheel numpy cython meson meson-python ninja
PATH="$folder/env/bin:$PATH" install --no-build-isolation --no-deps python-microscopy==26.9.3
install scipy pandas h5py tables six requests matplotlib psutil pyyaml ujson jinja2 toposort networkx
printf '"frame","x [nm]","y [nm]","uncertainty [nm]"\n1,100,100,NaN\n2,200,100,NaN\n3,300,100,5\n' >some.csv
printf '"frame","x [nm]","y [nm]","uncertainty [nm]"\n1,100,100,NaN\n2,200,100,NaN\n3,300,100,NaN\n' >none.csv
env/bin/python -W ignore - >seen.txt 2>error.txt <<'P' || { cat error.txt; exit 1; }
from PYME.IO import tabular

for name in ("some", "none"):
    table = tabular.TextfileSource(f"{name}.csv", ["t", "x", "y", "error_x"], delimiter=",", skiprows=1)
    print(f"{name} known: x of {[float(x) for x in table['x']]}")
P
diff - seen.txt <<'T'
some known: x of [300.0]
none known: x of []
T
cat seen.txt
