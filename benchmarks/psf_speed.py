"""Time one 81 x 81 vectorial PSF of `tetrapod_6um` in a batch of 64, ours and FD-DeepLoc's in turn.

    python benchmarks/psf_speed.py --peer-folder FD-DEEPLOC --torch-python PATH

FD-DEEPLOC is a checkout of github.com/Li-Lab-SUSTech/FD-DeepLoc (its code is not part of this project), PATH an
interpreter that has PyTorch; without them only ours is timed. Ours: the fewest pupil samples whose worst image
is within 2.5e-3 of `psf_converged`; FD-DeepLoc comes near that with 256 (its errors are printed). The reference
comes from COLOCUS_DATA (default ../shared/data).
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from measure.peer import Peer, in_turn, stopwatch
from measure.record import Rows, write_result
from optics.psf import make_psf, psf_image
from worlds.reference_files import image_in_window, read_witness, reference_folder, relative_l2

PLACE = 70  # of its rows in benchmarks/README.md

BATCH, TARGET = 64, 2.5e-3


def rows(numbers: dict) -> Rows:
    if "fd_deeploc_double_256" not in numbers["ms_per_psf"]:
        yield "81 x 81 PSF, batch 64, against FD-DeepLoc", ">= 4x, aim 10x", "no peer"
        return
    ours, peer = (numbers["ms_per_psf"][name]["median"] for name in ("default", "fd_deeploc_double_256"))
    yield (
        f"81 x 81 PSF, batch 64 (ours {ours:.2f} ms at {numbers['ours']['default']['worst_l2']:.0e}; "
        f"FD-DeepLoc {peer:.1f} ms at {numbers['fd_deeploc_worst_l2']['double_256_corrected']:.0e})",
        ">= 4x, aim 10x",
        f"{peer / ours:.0f}x",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-folder", help="a checkout of FD-DeepLoc")
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    witness = read_witness(reference_folder(), "tetrapod_6um")
    positions = jnp.asarray(np.resize(witness.xyz_um, (BATCH, 3)))
    numbers: dict = {"batch": BATCH, "image_px": witness.image_px, "target_l2": TARGET, "ours": {}}

    def build(pupil_px):
        return make_psf(
            witness.microscope,
            zernike_um=witness.zernike_um,
            image_px=witness.image_px,
            pixel="centre",
            pupil_px=pupil_px,
        )

    def worst(psf):
        one = jax.vmap(lambda xyz, focus: image_in_window(psf, xyz, focus))
        images = jax.jit(one)(jnp.asarray(witness.xyz_um), jnp.asarray(witness.focus_um))
        return float(relative_l2(images, witness.converged).max())

    pupil_px = 36
    while worst(build(pupil_px)) > TARGET:
        pupil_px += 2
    images = jax.jit(jax.vmap(psf_image, (None, 0)))
    chosen = {"fewest": build(pupil_px), "default": build(None)}
    clocks = {
        name: stopwatch(lambda psf=psf: images(psf, positions).block_until_ready()) for name, psf in chosen.items()
    }
    for name, psf in chosen.items():
        numbers["ours"][name] = {"pupil_px": psf.pupil_px, "worst_l2": worst(psf)}
    versions = {}
    if options.peer_folder and options.torch_python:
        folder = str(reference_folder() / "tetrapod_6um.npz")
        peer = Peer(options.torch_python, "fd_deeploc_psf.py", options.peer_folder, folder, str(BATCH))
        versions, numbers["fd_deeploc_worst_l2"] = peer.ready["versions"], peer.ready["errors"]
        for name in peer.ready["names"]:
            # the peer answers per PSF, ours per batch
            clocks[f"fd_deeploc_{name}"] = lambda name=name: BATCH * peer.seconds(name)
        times = in_turn(clocks, options.repeats)
        peer.close()
        for name in peer.ready["names"]:
            ratio = times[f"fd_deeploc_{name}"]["median_s"] / times["fewest"]["median_s"]
            numbers[f"times_faster_than_fd_deeploc_{name}"] = ratio
    else:
        print("no --peer-folder and --torch-python: FD-DeepLoc is not timed")
        times = in_turn(clocks, options.repeats)
    numbers["ms_per_psf"] = {
        name: {key.removesuffix("_s"): 1e3 * value / BATCH for key, value in time.items()}
        for name, time in times.items()
    }
    for key, value in numbers.items():
        print(f"{key}: {value}")
    print(write_result("psf_speed", numbers, versions=versions))


if __name__ == "__main__":
    main()
