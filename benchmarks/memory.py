"""Peak memory of 16 frames x 35 emitters x 121 x 121 px, forward and gradient by the mask.

    python benchmarks/memory.py

A process of its own is measured (largest resident set, interpreter and compiler included).
"""

import argparse
import json
import resource
import subprocess
import sys

from measure.record import Rows, write_result

PLACE = 90  # of its rows in benchmarks/README.md

FRAMES, EMITTERS, FRAME_PX = 16, 35, 121
SETTINGS = {"small": (49, 52, 5), "stamp": (81, 68, 5), "whole frame": (121, 112, 12)}


def measure(image_px: int, pupil_px: int, ring_px: int) -> dict:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from optics import masks
    from optics.psf import make_psf
    from optics.pytree import replace
    from optics.render import render_frames
    from optics.types import Emitters, make_microscope

    scope = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, pixel_um=0.11, focus_um=2.5)
    psf = make_psf(
        scope,
        mask=masks.tetrapod(5.0, scope, size=128),
        image_px=image_px,
        pupil_px=pupil_px,
        ring_px=ring_px,
        pixel="centre",
    )
    rng = np.random.default_rng(0)
    xyz = rng.uniform([1, 1, 0], [12, 12, 5], (FRAMES, EMITTERS, 3))
    emitters = Emitters(
        xyz_um=jnp.asarray(xyz, jnp.float32),
        photons=jnp.full((FRAMES, EMITTERS), 1e4),
        valid=jnp.ones((FRAMES, EMITTERS), bool),
    )

    @jax.jit
    def step(opd_um):
        bent = replace(psf, mask=replace(psf.mask, opd_um=opd_um))
        return jnp.sum(render_frames(bent, emitters, (FRAME_PX, FRAME_PX)) ** 2)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    jax.block_until_ready(jax.value_and_grad(step)(psf.mask.opd_um))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_gb": after / 1e6, "before_rendering_gb": before / 1e6}  # ru_maxrss counts kilobytes


def rows(numbers: dict) -> Rows:
    peak = max(v["peak_gb"] for v in numbers.values() if isinstance(v, dict))
    yield "peak memory, 16 frames x 35 emitters x 121 x 121, forward + gradient", "<= 2 GB", f"{peak:.2f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    numbers: dict = {"frames": FRAMES, "emitters": EMITTERS, "frame_px": FRAME_PX, "target_gb": 2.0}
    for name, sizes in SETTINGS.items():
        command = [sys.executable, __file__, "--one", *map(str, sizes)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        numbers[name] = {
            **dict(zip(("image_px", "pupil_px", "ring_px"), sizes, strict=True)),
            **json.loads(run.stdout.splitlines()[-1]),
        }
        print(f"{name}: {numbers[name]}")
    print(write_result("memory", numbers))


if __name__ == "__main__":
    main()
