"""Picasso's detection and Gaussian fits on a movie: `python picasso_localize.py JOB.json`, in its own interpreter.

JOB.json: `movie` (.ome.tif of whole counts), `baseline`, `sensitivity` (photons a count), `pixel_nm`, `boxes`,
`gradients` (its minimum net gradient), `methods` (gausslq, gaussmle), `out` (.npz). Written for every combination:
`METHOD/BOX/GRADIENT/frame`, `x_px`, `y_px` (pixel centres at whole numbers, as it counts), `photons`. One JSON line
with its version ends the output.
"""

import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")

from picasso import io, localize  # noqa: E402


def main():
    job = json.loads(Path(sys.argv[1]).read_text())
    movie, _ = io.load_movie(job["movie"])
    camera = {
        "Baseline": job["baseline"],
        "Sensitivity": job["sensitivity"],
        "Gain": 1,
        "Qe": 1.0,
        "Pixelsize": job["pixel_nm"],
    }
    tables = {}
    for box in job["boxes"]:
        for gradient in job["gradients"]:
            spots = localize.identify(movie, gradient, box, threaded=False, return_info=False)
            for method in job["methods"]:
                name = f"{method}/{box}/{gradient:g}"
                found = None
                if len(spots):
                    found, _ = localize.fit(
                        movie,
                        camera_info=camera,
                        identifications=spots,
                        box=box,
                        fitting_method=method,
                        multiprocess=False,
                    )
                for ours, theirs in (("frame", "frame"), ("x_px", "x"), ("y_px", "y"), ("photons", "photons")):
                    tables[f"{name}/{ours}"] = np.zeros(0) if found is None else found[theirs].to_numpy()
    np.savez(job["out"], **tables)
    print(json.dumps({"picassosr": importlib.metadata.version("picassosr")}), flush=True)


if __name__ == "__main__":
    main()
