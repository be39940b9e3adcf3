"""AutoDS3D's own scalar phase retrieval of one bead stack, its numbers into a file.

Run with an interpreter that has PyTorch and scipy: `python autods3d_retrieval.py FOLDER STACK.npz OUT.npz`,
FOLDER a checkout of github.com/dafeixiao/AutoDS3D (its code is not part of this project; it has no licence).
STACK.npz holds `images` (Z, H, W), `nfp_um` (Z,) and the optics as scalars: na, n_immersion, n_sample,
wavelength_um, magnification, camera_pixel_um, bfp_pixel_um, f_4f_um. What runs is `app_utils.phase_retrieval`
as published, 100 Adam steps on all slices and 100 on the five worst, mean squared error; on slices scaled to the
same light, as its notebook does and its application does not (the notebook's comes out better).

OUT.npz: `mask` (N, N) rad, `blur_sigma_px`, `model` (Z, H, W), `cc_cleaned` (Z,), its own figure of merit, against
the slices with their background subtracted and masked, `cc_raw` (Z,), the model against the slices as they
were given, over the whole crop, `seconds`, `torch`. The packages that its modules import for drawing, files and
the training of networks are replaced by empty ones: nothing that the retrieval calls is in them.
"""

import importlib.machinery
import os
import sys
import time
import types

import numpy as np
import torch
from scipy import ndimage

# what the modules import besides torch, numpy and scipy, none of it used by the retrieval
ABSENT = (
    "matplotlib",
    "matplotlib.pyplot",
    "skimage",
    "sklearn",
    "sklearn.metrics",
    "sklearn.metrics.pairwise",
    "tqdm",
)


class Nothing(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(f"{self.__name__}.{name}")


def load(folder, images):
    """Its module `app_utils`, whose reader of files hands over `images`."""
    for name in ABSENT:
        module = Nothing(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__path__ = []
        sys.modules[name] = module
    reader = types.ModuleType("skimage.io")
    reader.imread = lambda path: images
    sys.modules["skimage.io"] = sys.modules["skimage"].io = reader
    sys.path.insert(0, folder)
    import app_utils

    return app_utils


def even_light(images):
    """The slices, each scaled so that what the peer's cleaning leaves of it sums to 10 000, as in its notebook."""
    side = max(7, int(0.1 * images.shape[1]))
    edge = np.concatenate([images[:, :, :side], images[:, :, -side:]], axis=2)
    corners = np.concatenate([edge[:, :side], edge[:, -side:]], axis=1)
    level, spread = corners.mean((1, 2), keepdims=True), corners.std((1, 2), keepdims=True)
    cross = ndimage.generate_binary_structure(2, 1)
    light = images - level
    kept = [ndimage.binary_opening(slice_ > limit, cross) for slice_, limit in zip(light, spread, strict=True)]
    return images * (1e4 / np.sum(light * np.array(kept), axis=(1, 2), keepdims=True))


def settings(job, shape):
    number = {key: float(job[key]) for key in job.files if job[key].ndim == 0}
    return {
        "device": torch.device("cpu"),
        "M": number["magnification"],
        "NA": number["na"],
        "n_immersion": number["n_immersion"],
        "n_sample": number["n_sample"],
        "lamda": number["wavelength_um"],
        "f_4f": number["f_4f_um"],
        "ps_camera": number["camera_pixel_um"],
        "ps_BFP": number["bfp_pixel_um"],
        "NFP": 0.0,
        "H": shape[0],
        "W": shape[1],
    }


def main():
    folder, source, target = sys.argv[1:]
    job = np.load(source)
    images, nfp_um = np.asarray(job["images"], dtype=float), np.asarray(job["nfp_um"], dtype=float)
    peer, params = load(folder, even_light(images)), settings(job, images.shape[1:])
    what = {"zstack_file_path": "", "nfps": nfp_um, "r_bead": 0.0, "epoch_num": 0, "loss_label": ""}
    start = time.perf_counter()
    mask, blur, cc_cleaned = peer.phase_retrieval(dict(params), what, fig_flag=False)
    seconds = time.perf_counter() - start

    bead = peer.ImModelBead({**params, "phase_mask": mask, "g_sigma": blur})
    at = torch.zeros((len(nfp_um), 4), dtype=torch.float64)
    at[:, 3] = 1.0
    with torch.no_grad():
        model = bead(at, torch.tensor(nfp_um)[:, None]).numpy()
    partial = target + ".part.npz"
    np.savez(
        partial,
        mask=mask,
        blur_sigma_px=blur,
        model=model.astype(np.float32),
        cc_cleaned=cc_cleaned,
        cc_raw=peer.calculate_cc(model, images),
        seconds=seconds,
        torch=torch.__version__,
    )
    os.replace(partial, target)


if __name__ == "__main__":
    main()
