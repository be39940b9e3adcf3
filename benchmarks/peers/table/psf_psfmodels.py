"""psfmodels' vectorial stack of images of one emitter: `python psf_psfmodels.py GIVEN.json OUT.npz SAMPLES`.

SAMPLES is its oversample_factor. It has no aberrations but those of the layers, and no gradient.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np
import psfmodels
from asked import memory_mb, serve


def main():
    given, out, samples = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], int(sys.argv[3])
    imported = memory_mb("VmRSS")
    z, n = np.array(given["z_um"]), given["index"]

    def stack():
        return psfmodels.make_psf(
            z, model="vectorial", nx=given["side"], dxy=given["pixel_um"], pz=0.0, NA=given["na"],
            wvl=given["wavelength_um"], ns=n, ni=n, ni0=n, ng=n, ng0=n, normalize=False, oversample_factor=samples,
        )  # fmt: skip

    np.savez(out, clear=stack())
    versions = {"psfmodels": importlib.metadata.version("psfmodels")}
    serve({"versions": versions, "imported_mb": imported, "samples": samples}, {"stack": stack})


if __name__ == "__main__":
    main()
