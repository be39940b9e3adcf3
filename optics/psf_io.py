"""A calibrated `Psf`, or a `SplitPsf` of several planes, in one file (.npz), read back exactly."""

import dataclasses
import io
import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from optics.multipath import SplitPsf
from optics.types import Microscope, OpticsError, PhaseMask, Psf
from optics.whole_file import save_bytes

FORMAT = "colocus-psf-1"
SPLIT_FORMAT = "colocus-split-psf-1"
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
    header = {"format": FORMAT, "kinds": _kinds(psf), "notes": notes or {}}
    _save(Path(path), header, _arrays(psf))


def save_split_psf(path: str | os.PathLike, split: SplitPsf, notes: dict | None = None) -> None:
    """Save a `SplitPsf`, such as two focal planes, as .npz so that `load_split_psf(path)` returns it exactly.

    `colocus localize --method joint --model FILE` fits its planes together. Raises `OpticsError` as `save_psf` does.

    >>> import tempfile
    >>> from optics import biplane, make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_split_psf(f"{folder}/planes.npz", biplane(make_psf(scope, image_px=21), 0.4))
    ...     len(load_split_psf(f"{folder}/planes.npz").paths)
    2
    """
    header = {"format": SPLIT_FORMAT, "kinds": [_kinds(psf) for psf in split.paths], "notes": notes or {}}
    arrays = {"fraction": split.fraction, "registration": split.registration}
    for number, psf in enumerate(split.paths):
        arrays |= {f"path{number}.{name}": array for name, array in _arrays(psf).items()}
    _save(Path(path), header, arrays)


def _kinds(psf: Psf) -> dict:
    return {name: getattr(psf, name) for name in _KINDS}


def _arrays(psf: Psf) -> dict:
    arrays = {f"microscope.{f.name}": getattr(psf.microscope, f.name) for f in dataclasses.fields(Microscope)}  # pyright: ignore
    for name in _PLATES:
        plate = getattr(psf, name)
        if plate is not None:
            arrays |= {f"{name}.{f.name}": getattr(plate, f.name) for f in dataclasses.fields(PhaseMask)}  # pyright: ignore
    for name in ("zernike_um", "blur_um"):
        if getattr(psf, name) is not None:
            arrays[name] = getattr(psf, name)
    return arrays


def _save(path: Path, header: dict, arrays: dict) -> None:
    if path.suffix != ".npz":
        raise OpticsError(f"{path}: a Psf is saved as .npz")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=json.dumps(header), **{k: np.asarray(v) for k, v in arrays.items()})  # pyright: ignore
    save_bytes(path, buffer.getvalue())


def load_psf(path: str | os.PathLike) -> Psf:
    """Read a `Psf` that `save_psf` wrote. Raises `OpticsError`, naming the file, for anything else."""
    return read_psf(path)[0]


def read_psf(path: str | os.PathLike) -> tuple[Psf, dict]:
    """The `Psf` in a file and the notes that were saved with it. Raises `OpticsError` as `load_psf` does."""
    arrays, header = _read(Path(path), FORMAT)
    try:
        return _build(arrays, header["kinds"]), header["notes"]
    except Exception as error:  # whatever a broken or foreign file makes the reader trip over
        raise _foreign(Path(path), error) from error


def load_split_psf(path: str | os.PathLike) -> SplitPsf:
    """Read a `SplitPsf` that `save_split_psf` wrote. Raises `OpticsError`, naming the file, for anything else."""
    arrays, header = _read(Path(path), SPLIT_FORMAT)
    try:
        paths = []
        for number, kinds in enumerate(header["kinds"]):
            start = f"path{number}."
            own = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
            paths.append(_build(own, kinds))
        fraction, registration = (jnp.asarray(arrays[name]) for name in ("fraction", "registration"))
        return SplitPsf(paths=tuple(paths), fraction=fraction, registration=registration)
    except Exception as error:  # whatever a broken or foreign file makes the reader trip over
        raise _foreign(Path(path), error) from error


def _foreign(path: Path, error: Exception) -> OpticsError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return OpticsError(f"{path}: not a PSF saved by Colocus ({reason})")


def _read(path: Path, format: str) -> tuple[dict, dict]:
    """The arrays of a file and its header."""
    if not path.is_file():
        raise OpticsError(f"{path}: no such file; a calibrated PSF is the psf.npz of `colocus retrieve`")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:  # np.load keeps broken files open
            arrays = {name: file[name] for name in file.files}
        if "header" not in arrays:
            raise OpticsError(f"{path}: not a PSF saved by Colocus (it holds {', '.join(arrays)})")
        header = json.loads(str(arrays.pop("header")))
        if {header["format"], format} == {FORMAT, SPLIT_FORMAT}:
            one, other = "several planes", "one plane"
            one, other = (one, other) if format == FORMAT else (other, one)
            raise OpticsError(f"{path}: a PSF of {one} where one of {other} is needed")
        if header["format"] != format:
            raise OpticsError(f"{path}: format {header['format']} is not {format}; update Colocus")
        return arrays, header
    except OpticsError:
        raise
    except Exception as error:  # whatever a broken or foreign file makes the reader trip over
        raise _foreign(path, error) from error


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
