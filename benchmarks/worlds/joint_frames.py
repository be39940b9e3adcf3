"""Frames read by the joint fit, one after the other, each list kept on the disk: a run that was stopped goes on."""

import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import localization
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader
from experiments.reading.planes.reader import PlanesReader
from experiments.reading.program import fingerprint
from experiments.reading.spots import SpotTable
from localization import Localizations, make_localizations, select
from optics import Camera, SplitPsf

KEPT = ("x_um", "y_um", "z_um", "photons", "background", "sigma_x_um", "sigma_y_um", "sigma_z_um", "score")


@dataclasses.dataclass(frozen=True, eq=False)
class JointLists:
    """The list of all frames, the processor seconds of each (the first ones also compile), and what was remarked."""

    found: Localizations
    cpu_s: NDArray
    remarks: Counter[str]

    @property
    def cpu_s_per_frame(self) -> float:
        """The median."""
        return float(np.median(self.cpu_s))


def read_jointly(
    frames: NDArray,
    camera: Camera | list[Camera],
    spots: SpotTable,
    config: ClassicalConfig,
    work: Path,
    name: str,
    *,
    starts: Localizations | None = None,
    until: float = np.inf,
    split: SplitPsf | None = None,
    planes: Sequence[SpotTable] = (),
) -> JointLists:
    """Read frames (n, H, W) of one camera or of one each; the search begins at the list `starts`.

    With a `split` frames are (n, C H, W), one plane below the other, read as one with the spots of each of the
    `planes`. Lists of frames are kept in `work`; past `until` (of time.time()) no more are read, and those there are
    returned.
    """
    told = hashlib.sha256(np.ascontiguousarray(frames).tobytes() + config.identity().encode())
    told.update(fingerprint(spots.table, camera).encode())
    if split is not None:
        told.update(fingerprint([one.table for one in planes], split.fraction, split.registration).encode())
    if starts is not None:
        told.update(b"".join(getattr(starts, key).tobytes() for key in ("frame", "x_um", "y_um", "z_um")))
    folder = work / f"{name}_{told.hexdigest()[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    cameras = camera if isinstance(camera, list) else [camera]

    def reader_of(camera: Camera) -> JointReader:
        if split is not None:
            return PlanesReader(planes, split, camera, config, name)
        return JointReader(spots, camera, config, name)

    reader = reader_of(cameras[0])
    lists, seconds, remarks = [], [], Counter[str]()
    for number, frame in enumerate(frames):
        path = folder / f"{number:04d}.npz"
        if not path.exists():
            if time.time() > until:
                break
            if len(cameras) > 1:
                reader = reader_of(cameras[number])
            _read(reader, frame, number, starts, path)
        with np.load(path) as file:
            part = {key: file[key] for key in file.files}
        seconds.append(float(part.pop("cpu_s")))
        remarks += Counter(dict(zip(part.pop("remarks").tolist(), part.pop("counts").tolist(), strict=True)))
        place = [part.pop(key) for key in KEPT[:3]]
        lists.append(make_localizations(np.full(len(place[0]), number), *place, **part))
    if not lists:
        raise SystemExit(f"{name}: no frame read before the time was up")
    return JointLists(localization.concatenate(lists), np.array(seconds), remarks)


def _read(reader: JointReader, frame: NDArray, number: int, starts: Localizations | None, path: Path) -> None:
    here = None if starts is None else select(starts, starts.frame == number)
    began = time.process_time()
    found = reader.read(np.asarray(frame, float)[None], number, start=here)
    cpu_s = time.process_time() - began
    remarks = reader.take_tally()
    whole = path.with_suffix(".part.npz")
    np.savez(
        whole,
        **{key: getattr(found, key) for key in KEPT},
        cpu_s=cpu_s,
        remarks=np.array(list(remarks), dtype=str),
        counts=np.array(list(remarks.values()), dtype=int),
    )
    whole.replace(path)
    print(f"  {path.parent.name} frame {number}: {found.frame.size} found, {cpu_s:.2f} CPU-s", flush=True)
