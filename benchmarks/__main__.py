"""Write the pages that are made of results: benchmarks/README.md and the tables of docs.

python benchmarks [NAME ...] [--figures]
"""

import argparse
import importlib

import pages
from measure.record import FOLDER

NAMES = [path.stem.removesuffix("_page") for path in sorted((FOLDER / "pages").glob("*_page.py"))]

parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (all)")
parser.add_argument("--figures", action="store_true", help="draw their figures too")
options = parser.parse_args()
if unknown := sorted(set(options.names) - set(NAMES)):
    parser.error(f"no page {unknown[0]!r}; there are {', '.join(NAMES)}")
for name in options.names or NAMES:
    page = importlib.import_module(f"pages.{name}_page")
    pages.write(page)
    if options.figures and hasattr(page, "draw"):
        page.draw()
