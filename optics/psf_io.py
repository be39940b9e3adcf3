"""A calibrated `Psf` in one file (.npz), read back exactly."""

import dataclasses
import io
import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from optics.types import Microscope, OpticsError, PhaseMask, Psf
from optics.whole_file import save_bytes

FORMAT = "colocus-psf-1"
_KINDS = [field.name for field in dataclasses.fields(Psf) if field.metadata.get("static")]  # pyright: ignore
_PLATES = ("mask", "aberration")


def save_psf(path: str | os.PathLike, psf: Psf, notes: dict | None = None) -> None:
    """Save a `Psf` as .npz so that `load_psf(path)` returns it exactly; `notes` (JSON) travel with it.

    Written under another name and moved into place when complete. Raises `OpticsError` for another suffix, or
    a folder that is missing, full or closed.

    >>> import tempfile
    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_psf(f"{folder}/psf.npz", make_psf(scope, image_px=21))
    ...     load_psf(f"{folder}/psf.npz").image_px
    21
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise OpticsError(f"{path}: a Psf is saved as .npz")
    arrays = {f"microscope.{f.name}": getattr(psf.microscope, f.name) for f in dataclasses.fields(Microscope)}  # pyright: ignore
    for name in _PLATES:
        plate = getattr(psf, name)
        if plate is not None:
            arrays |= {f"{name}.{f.name}": getattr(plate, f.name) for f in dataclasses.fields(PhaseMask)}  # pyright: ignore
    for name in ("zernike_um", "blur_um"):
        if getattr(psf, name) is not None:
            arrays[name] = getattr(psf, name)
    header = {"format": FORMAT, "kinds": {name: getattr(psf, name) for name in _KINDS}, "notes": notes or {}}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=json.dumps(header), **{k: np.asarray(v) for k, v in arrays.items()})  # pyright: ignore
    save_bytes(path, buffer.getvalue())


def load_psf(path: str | os.PathLike) -> Psf:
    """Read a `Psf` that `save_psf` wrote. Raises `OpticsError`, naming the file, for anything else."""
    return read_psf(path)[0]


def read_psf(path: str | os.PathLike) -> tuple[Psf, dict]:
    """The `Psf` in a file and the notes that were saved with it. Raises `OpticsError` as `load_psf` does."""
    path = Path(path)
    if not path.is_file():
        raise OpticsError(f"{path}: no such file; a calibrated PSF is the psf.npz of `colocus retrieve`")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:  # np.load keeps broken files open
            arrays = {name: file[name] for name in file.files}
        if "header" not in arrays:
            raise OpticsError(f"{path}: not a PSF saved by Colocus (it holds {', '.join(arrays)})")
        header = json.loads(str(arrays.pop("header")))
        if header["format"] != FORMAT:
            raise OpticsError(f"{path}: format {header['format']} is not {FORMAT}; update Colocus")
        return _build(arrays, header["kinds"]), header["notes"]
    except OpticsError:
        raise
    except Exception as error:  # whatever a broken or foreign file makes the reader trip over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OpticsError(f"{path}: not a PSF saved by Colocus ({reason})") from error


def _build(arrays: dict, kinds: dict) -> Psf:
    def group(prefix: str) -> dict:
        return {k.removeprefix(prefix + "."): jnp.asarray(v) for k, v in arrays.items() if k.startswith(prefix + ".")}

    def plate(name: str) -> PhaseMask | None:
        fields = group(name)
        return PhaseMask(**{**fields, "wrapped": bool(fields["wrapped"])}) if fields else None

    return Psf(
        microscope=Microscope(**group("microscope")),
        mask=plate("mask"),
        aberration=plate("aberration"),
        zernike_um=jnp.asarray(arrays["zernike_um"]) if "zernike_um" in arrays else None,
        blur_um=jnp.asarray(arrays["blur_um"]) if "blur_um" in arrays else None,
        **kinds,
    )
