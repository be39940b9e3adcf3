"""Time one co-design encode, 18 emitters to 121 x 121 px and its gradient by the mask, against DeepSTORM3D.

    python benchmarks/encode_speed.py --peer-folder DEEPSTORM3D --torch-python PATH

DEEPSTORM3D is a checkout of github.com/EliasNehme/DeepSTORM3D (its code is not part of this project), PATH an
interpreter that has PyTorch; without them only ours is timed. Optics and emitters are those of its PSF-learning
demo 4 (NA 1.45, 580 nm, z 0-5 um, 10-60 k photons). Ours is vectorial, pixel centres, mask a Tetrapod for the
range. Three sizes of stamp, each with the fewest samples that keep the frame's error below 1e-2 against a fine
computation with the same stamps. What the stamps cut off is a second error, measured against stamps that cover
the frame: only "frame" keeps that one below 1e-2 as well.
"""

import argparse
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from measure.peer import Peer, in_turn, stopwatch
from measure.record import Rows, write_result
from optics import masks
from optics.psf import make_psf
from optics.pytree import replace
from optics.render import render_frame
from optics.types import Emitters, make_microscope

PLACE = 80  # of its rows in benchmarks/README.md

SHAPE, EMITTERS, PIXEL_UM, MASK_PX = (121, 121), 18, 0.11, 181
SETTINGS = {  # image_px, pupil_px, ring_px
    "small": (49, 52, 5),
    "stamp": (81, 68, 5),
    "frame": (145, 116, 9),
}


def scene(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    side = SHAPE[0] * PIXEL_UM
    low, high = [2.2, 2.2, 0.0], [side - 2.2, side - 2.2, 5.0]
    return {
        "xyz_um": rng.uniform(low, high, (EMITTERS, 3)),
        "photons": rng.uniform(1e4, 6e4, EMITTERS),
    }


def emitters(seed: int) -> Emitters:
    numbers = {name: jnp.asarray(value, jnp.float32) for name, value in scene(seed).items()}
    return Emitters(**numbers, valid=jnp.ones(EMITTERS, bool))


def rows(numbers: dict) -> Rows:
    for name, setting in numbers["settings"].items():
        yield (
            f"co-design encode, 18 emitters on 121 x 121, stamps of {setting['image_px']} px "
            f"({1e3 * numbers['times'][name]['median_s']:.0f} ms; "
            f"sampling error {setting['frame_l2_of_the_sampling']:.0e}, "
            f"with the light that stamps cut off {setting['frame_l2_with_what_stamps_cut_off']:.0e}), "
            "against DeepSTORM3D's layer",
            ">= 15x, aim 40x",
            f"{numbers[f'times_faster_{name}']:.0f}x" if f"times_faster_{name}" in numbers else "no peer",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-folder", help="a checkout of DeepSTORM3D")
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    scope = make_microscope(
        na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, pixel_um=PIXEL_UM, focus_um=2.5
    )
    mask = masks.tetrapod(5.0, scope, size=MASK_PX)

    def build(image_px, pupil_px=None, ring_px=None):
        return make_psf(
            scope,
            mask=mask,
            image_px=image_px,
            pupil_px=pupil_px,
            ring_px=ring_px,
            pixel="centre",
            z_range_um=(0.0, 5.0),
        )

    frame_of = jax.jit(render_frame, static_argnames=("shape", "chunk"))

    def loss(opd_um, psf, emitters):
        bent = replace(psf, mask=replace(psf.mask, opd_um=opd_um))
        return jnp.sum(render_frame(bent, emitters, SHAPE) ** 2)

    encode = jax.jit(jax.value_and_grad(loss))

    def error(psf, truth):
        frames = [(frame_of(psf, emitters(seed), SHAPE), frame_of(truth, emitters(seed), SHAPE)) for seed in (0, 1)]
        return max(float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b)) for a, b in frames)

    whole = build(201)
    numbers: dict = {"emitters": EMITTERS, "frame_px": list(SHAPE), "mask_px": MASK_PX, "settings": {}}
    clocks = {}
    for name, sizes in SETTINGS.items():
        psf = build(*sizes)
        numbers["settings"][name] = {
            **dict(zip(("image_px", "pupil_px", "ring_px"), sizes, strict=True)),
            "frame_l2_of_the_sampling": error(psf, build(sizes[0])),
            "frame_l2_with_what_stamps_cut_off": error(psf, whole),
        }
        scattered = emitters(0)
        clocks[name] = stopwatch(
            lambda psf=psf, scattered=scattered: jax.block_until_ready(encode(psf.mask.opd_um, psf, scattered))
        )
    versions = {}
    if options.peer_folder and options.torch_python:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "emitters.npz"
            centred = scene(0)  # DeepSTORM3D's x and y count from the middle of the frame
            centred["xyz_um"][:, :2] -= SHAPE[0] * PIXEL_UM / 2
            np.savez(path, **centred)
            peer = Peer(options.torch_python, "deepstorm3d_layer.py", options.peer_folder, str(path))
        versions = peer.ready["versions"]
        for name in peer.ready["names"]:
            clocks[f"deepstorm3d_{name}"] = lambda name=name: peer.seconds(name)
        times = in_turn(clocks, options.repeats)
        peer.close()
        for name in SETTINGS:
            ratio = times["deepstorm3d_encode"]["median_s"] / times[name]["median_s"]
            numbers[f"times_faster_{name}"] = ratio
    else:
        print("no --peer-folder and --torch-python: DeepSTORM3D is not timed")
        times = in_turn(clocks, options.repeats)
    numbers["times"] = times
    for key, value in numbers.items():
        print(f"{key}: {value}")
    print(write_result("encode_speed", numbers, versions=versions))


if __name__ == "__main__":
    main()
