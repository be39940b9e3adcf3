"""Small movies of instruments, written byte by byte to the published layouts, whose own programs cost money.

Each writer takes frames as an iterable of (y, x) arrays of one shape, so that a long one can be written too. What a
format's own library can read, a test reads with it as well: nd2, liffile, sif_parser.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

# ND2: chunks of a magic number, a name and data; a map of them at the end (nd2 0.12, _parse/_chunk_decode.py and
# _clx_lite.py state the layout)

_ND2_MAGIC = 0x0ABECEDA
_ND2_KINDS = {bool: 1, int: 3, float: 6, str: 8, dict: 11}


def _clx(name: str, value: object) -> bytes:
    """Write one named value as ND2 keeps it."""
    head = bytes([_ND2_KINDS[type(value)], len(name) + 1]) + (name + "\0").encode("utf-16-le")
    if isinstance(value, dict):
        items = [_clx(key.partition("#")[0], item) for key, item in value.items()]
        return head + struct.pack("<IQ", len(items), len(head) + 12 + len(b"".join(items))) + b"".join(items) + bytes(
            8 * len(items)
        )  # fmt: skip
    if isinstance(value, bool):
        return head + struct.pack("<B", value)
    if isinstance(value, int):
        return head + struct.pack("<I", value)
    if isinstance(value, float):
        return head + struct.pack("<d", value)
    return head + (str(value) + "\0").encode("utf-16-le")


def write_nd2(
    path: Path, frames: Iterable[np.ndarray], *, announced: int | None = None, leave_out: Sequence[int] = (),
    channels: int = 1, pixel_um: float = 0.108, exposure_ms: float = 30.0, period_ms: float = 33.0, z: int = 1,
    packed: bool = False,
) -> None:  # fmt: skip
    """Write an ND2 file; `leave_out` are frames that never came, `announced` is how many the experiment said."""
    places: dict[bytes, tuple[int, int]] = {}
    pack = zlib.compress if packed else bytes
    with open(path, "wb") as file:

        def chunk(name: bytes, data: bytes, room: int) -> None:
            at = file.tell()
            places[name] = (at, len(data))
            file.write(struct.pack("<IIQ", _ND2_MAGIC, room, len(data)) + name.ljust(room, b"\0") + data)
            file.write(bytes(-file.tell() % 4096))

        chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
        n, shape, dtype = 0, (0, 0), np.dtype(np.uint16)
        group: list[np.ndarray] = []
        for frame in frames:
            group.append(frame)
            if len(group) < channels:
                continue
            pixels = np.ascontiguousarray(np.stack(group, axis=-1))
            group, shape, dtype = [], frame.shape, frame.dtype
            if n not in leave_out:
                chunk(b"ImageDataSeq|%d!" % n, struct.pack("<d", n * period_ms) + pack(pixels.tobytes()), 4072)
            n += 1
        announced = n if announced is None else announced
        height, width = shape
        attributes = {
            "uiWidth": width, "uiWidthBytes": width * channels * dtype.itemsize, "uiHeight": height, "uiComp": channels,
            "uiBpcInMemory": 8 * dtype.itemsize, "uiBpcSignificant": 8 * dtype.itemsize, "uiSequenceCount": n,
            "eCompression": 0 if packed else 2,
        }  # fmt: skip
        chunk(b"ImageAttributesLV!", _clx("SLxImageAttributes", attributes), 4080)
        planes = {f"a{k}": {"sDescription": f"C{k}", "uiCompCount": 1, "uiSampleIndex": k} for k in range(channels)}
        settings = {f"a{k}": {"dExposureTime": exposure_ms} for k in range(channels)}
        picture = {
            "bCalibrated": pixel_um > 0, "dCalibration": pixel_um,
            "sPicturePlanes": {"uiCount": channels, "sPlaneNew": planes, "sSampleSetting": settings},
        }  # fmt: skip
        chunk(b"ImageMetadataSeqLV|0!", _clx("SLxPictureMetadata", picture), 4080)
        loop = {
            "eType": 1,
            "uLoopPars": {"uiCount": announced // z, "dStart": 0.0, "dPeriod": 0.0, "dDuration": 0.0,
                          "dAvgPeriodDiff": period_ms},
        }  # fmt: skip
        if z > 1:
            loop["ppNextLevelEx"] = {"": {"eType": 4, "uLoopPars": {"uiCount": z, "dZStep": 0.2}}}
        chunk(b"ImageMetadataLV!", _clx("SLxExperiment", loop), 4080)
        map_at = file.tell()
        entries = b"".join(name + struct.pack("<QQ", *place) for name, place in places.items())
        data = entries + b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", map_at)
        file.write(struct.pack("<IIQ", _ND2_MAGIC, 32, len(data)) + b"ND2 FILEMAP SIGNATURE NAME 0001!" + data)


# LIF: an XML description and blocks of memory (Leica Image File Formats 3.2; liffile 2026.2 reads the result)


def write_lif(
    path: Path, images: Sequence[np.ndarray], *, pixel_um: float = 0.108, exposure_s: float = 0.03,
    interval_s: float = 0.04, channels: int = 1,
) -> None:  # fmt: skip
    """Write a LIF file of movies (frame, y, x), or (frame, channel, y, x) with several channels."""
    elements = []
    for k, movie in enumerate(images):
        n, height, width = movie.shape[0], *movie.shape[-2:]
        item = movie.dtype.itemsize
        described = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * item}" NameOfMeasuredQuantity="" '
            f'Min="0" Max="1" Unit="" LUTName="" IsLUTInverted="0" BytesInc="{c * height * width * item}" BitInc="0"/>'
            for c in range(channels)
        )
        sizes = [
            (1, width, (width - 1) * pixel_um * 1e-6, "m", item),
            (2, height, (height - 1) * pixel_um * 1e-6, "m", width * item),
            (4, n, (n - 1) * interval_s, "s", channels * height * width * item),
        ]
        dimensions = "".join(
            f'<DimensionDescription DimID="{i}" NumberOfElements="{count}" Origin="0" Length="{length:.12e}" '
            f'Unit="{unit}" BytesInc="{step}" BitInc="0"/>'
            for i, count, length, unit, step in sizes
        )
        elements.append(
            f'<Element Name="Series{k:03}" UniqueID="{k}"><Data><Image><ImageDescription><Channels>{described}'
            f'</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription><Attachment Name="HardwareSetting">'
            f'<WideFieldChannelInfo ExposureTime="{exposure_s}"/></Attachment></Image></Data>'
            f'<Memory Size="{movie.nbytes}" MemoryBlockID="MemBlock_{k}"/><Children/></Element>'
        )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="made"><Data/><Memory Size="0" MemoryBlockID="MemBlock_9"/>'
        f"<Children>{''.join(elements)}</Children></Element></LMSDataContainerHeader>"
    )
    text = xml.encode("utf-16-le")
    with open(path, "wb") as file:
        file.write(struct.pack("<IIBI", 0x70, 5 + len(text), 0x2A, len(xml)) + text)
        for k, movie in enumerate(images):
            name = f"MemBlock_{k}"
            file.write(struct.pack("<IIBQBI", 0x70, 14 + 2 * len(name), 0x2A, movie.nbytes, 0x2A, len(name)))
            file.write(name.encode("utf-16-le") + np.ascontiguousarray(movie).astype(movie.dtype).tobytes())


# SIF: lines of text, then float32 (as sif_parser 0.3.6 reads version 65559)


def write_sif(path: Path, movie: np.ndarray, *, exposure_s: float = 0.03, cycle_s: float = 0.032) -> None:
    """Write an Andor SIF file of a movie (frame, y, x)."""
    n, height, width = movie.shape

    def counted(text: str) -> str:
        return f"{len(text)}\n{text}"

    times = f"1 1540956289 -70 {' ' * 10} 0 {exposure_s} {cycle_s} {cycle_s} 1 \0 {cycle_s} 1e-06 0 1 5 0 0 0 "
    head = (
        "Andor Technology Multi-Channel File\n65538 1\n65559 0 0 " + times + "0 " * 16 + "0 rest\n"
        f"DU897_BV\n{width} {height} " + counted("movie.sif") + " \n65538 " + counted("note") + "\n65538 " + " " * 8
        + "0.01 0.01\n" + "line\n" * 8 + "spectrograph none\n65539 0 1 0 0\n0 1 0 0\n0 1 0 0\n0\n422\n13\n13\n"
        + counted("Pixel number") + counted("Counts") + counted("Pixel number")
        + f"65541 1 {height} {width} 1 {n} 1 {n * height * width} {height * width}\n"
        f"65538 1 {height} {width} 1 1 1 0\n" + "".join(f"{k * 32000:10d}\n" for k in range(n)) + "0\n"
    )  # fmt: skip
    path.write_bytes(head.encode("latin-1") + movie.astype("<f4").tobytes() + b"\0" * 8)


# DCIMG (offsets found by lens-biophotonics/dcimg, python-microscopy and Bio-Formats)


def write_dcimg(
    path: Path, movie: np.ndarray, *, version: int = 0x1000000, row_bytes: int | None = None, y0: int = 0,
    kept: bool = True, binning: int = 1, interval_us: int = 10_000, dropped: int = 0,
) -> None:  # fmt: skip
    """Write a DCIMG file; where the camera keeps the first four pixels of a row elsewhere, 0 and 65535 stand there."""
    n, height, width = movie.shape
    item = movie.dtype.itemsize
    row_bytes = row_bytes or width * item
    padded = np.zeros((n, height, row_bytes), np.uint8)
    padded[:, :, : width * item] = np.ascontiguousarray(movie).view(np.uint8).reshape(n, height, -1)
    row = {0x7: 2, 0x1000000: (1023 - y0) // binning, 0x2000000: 0}[version]
    kept = kept and 0 <= row < height
    own = padded[:, row, :8].copy() if kept else np.zeros((n, 8), np.uint8)
    if kept:
        padded[:, row, :8] = np.frombuffer(b"\0\0\xff\xff" * 2, np.uint8)
    stamps = [(k + dropped * (k == n - 1), *divmod(1_000_000 + k * interval_us, 1_000_000)) for k in range(n)]
    session_at, data_at = 112, 752
    session = bytearray(data_at)
    if version == 0x7:
        data_bytes = data_at + n * height * row_bytes
        struct.pack_into("<7I", session, 32, n, item, 0, width, row_bytes, height, height * row_bytes)
        struct.pack_into("<IQ", session, 68, data_at, data_bytes)
        footer = bytearray(272)
        struct.pack_into("<IIQ", footer, 0, version, 0, 120)
        struct.pack_into("<I", footer, 40, 272 + 12 * n + 8 * n * kept)
        struct.pack_into("<Q", footer, 120 + 88, 272 + 12 * n)
        struct.pack_into("<IQ", footer, 120 + 100, row * row_bytes, 8 if kept else 0)
        tail = bytes(footer) + b"".join(struct.pack("<I", s[0]) for s in stamps)
        tail += b"".join(struct.pack("<2I", *s[1:]) for s in stamps) + own.tobytes()
        body = padded.tobytes() + tail
    else:
        footer_bytes = (512 if version == 0x2000000 else 32) if kept or not y0 else 16
        struct.pack_into("<7I", session, 60, n, item, 0, width, height, row_bytes, height * row_bytes)
        struct.pack_into("<Q", session, 96, data_at)
        struct.pack_into("<I", session, 124, footer_bytes)
        struct.pack_into("<4H", session, 712, 0, width * binning, y0, height * binning)
        behind = [(struct.pack("<3I", *s) + own[k].tobytes()).ljust(footer_bytes, b"\0")[:footer_bytes]
                  for k, s in enumerate(stamps)]  # fmt: skip
        body = b"".join(frame.tobytes() + end for frame, end in zip(padded, behind, strict=True))
    head = bytearray(session_at)
    head[:5] = b"DCIMG"
    struct.pack_into("<I", head, 8, version)
    struct.pack_into("<3I", head, 32, 1, n, session_at)
    struct.pack_into("<Q", head, 48, session_at + len(session) + len(body))
    path.write_bytes(bytes(head) + bytes(session) + body)


# IMS: HDF5 ("Imaris 5.5 file format description", Oxford Instruments)


def write_ims(
    path: Path, movie: np.ndarray, *, pixel_um: float = 0.108, interval_s: float = 0.05, chunk: int = 16,
    leave_out: Sequence[int] = (), unwritten: Sequence[int] = (),
) -> None:  # fmt: skip
    """Write an IMS file of (frame, channel, y, x), its planes padded to whole chunks as Imaris does."""
    import h5py

    n, channels, height, width = movie.shape
    room = (1, -(-height // chunk) * chunk, -(-width // chunk) * chunk)
    with h5py.File(path, "w") as file:

        def say(group: "h5py.Group", **texts: str) -> None:
            for name, text in texts.items():
                group.attrs[name] = np.array([letter.encode() for letter in text], "S1")

        image = file.create_group("DataSetInfo/Image")
        say(image, X=str(width), Y=str(height), Z="1", Unit="um", ExtMin0="0", ExtMax0=f"{width * pixel_um:.6f}")
        stamps = {f"TimePoint{k + 1}": f"2026-01-01 00:00:{k * interval_s:06.3f}" for k in range(n)}
        say(file.create_group("DataSetInfo/TimeInfo"), DatasetTimePoints=str(n), **stamps)
        for c in range(channels):
            say(file.create_group(f"DataSetInfo/Channel {c}"), Name=f"dye {c}")
        for t, c in np.ndindex(n, channels):
            if t in leave_out:
                continue
            group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}")
            say(group, ImageSizeX=str(width), ImageSizeY=str(height), ImageSizeZ="1")
            data = group.create_dataset("Data", room, movie.dtype, chunks=(1, chunk, chunk), compression="gzip")
            if t not in unwritten:
                data[0, :height, :width] = movie[t, c]
                data[0, height:, :] = 0
                data[0, :, width:] = 0


def write_dax(
    path: Path, movie: np.ndarray, *, big_endian: bool = False, announced: int | None = None, exposure_s: float = 0.02
) -> None:
    """Write a .dax movie with its .inf, as storm-analysis' DaxWriter and HAL-4000 do."""
    n, height, width = movie.shape
    path.write_bytes(movie.astype(">u2" if big_endian else "<u2").tobytes())
    path.with_suffix(".inf").write_text(
        "binning = 1 x 1\n"
        f"data type = 16 bit integers (binary, {'big' if big_endian else 'little'} endian)\n"
        f"frame dimensions = {width} x {height}\nnumber of frames = {announced or n}\nExposure Time = {exposure_s}\n"
        "Frames Per Second = 40.0\nLock Target = 0.0\n"
    )


# CZI: segments of a name and two sizes (libCZI's CziStructs.h)


def write_czi(path: Path, frames: Iterable[np.ndarray], *, compression: int = 0, pixel_um: float = 0.108) -> None:
    """Write a CZI file of grey frames: 0 as they are, 4 JPEG XR, 5 zstd."""
    import imagecodecs

    def segment(name: bytes, data: bytes) -> bytes:
        room = -(-len(data) // 32) * 32
        return name.ljust(16, b"\0") + struct.pack("<qq", room, len(data)) + data.ljust(room, b"\0")

    entries = []
    with open(path, "wb") as file:
        file.write(bytes(32 + 512))
        for t, frame in enumerate(frames):
            pack = {4: lambda f: imagecodecs.jpegxr_encode(f, level=100), 5: imagecodecs.zstd_encode}
            data = pack[compression](frame) if compression else frame.tobytes()
            sizes = (("X", 0, frame.shape[1]), ("Y", 0, frame.shape[0]), ("T", t, 1))
            entry = b"DV" + struct.pack("<iqii6xi", frame.itemsize - 1, file.tell(), 0, compression, len(sizes))
            entry += b"".join(struct.pack("<4siifi", name.encode(), at, size, at, size) for name, at, size in sizes)
            entries.append(entry)
            file.write(
                segment(b"ZISRAWSUBBLOCK", struct.pack("<iiq", 0, 0, len(data)) + entry.ljust(240, b"\0") + data)
            )
        directory_at = file.tell()
        file.write(segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries)))
        metadata_at = file.tell()
        xml = (
            f"<ImageDocument><Metadata><Information><Image><SizeT>{len(entries)}</SizeT></Image></Information><Scaling>"
            f'<Items><Distance Id="X"><Value>{pixel_um * 1e-6:.6e}</Value></Distance></Items></Scaling></Metadata>'
            "</ImageDocument>"
        ).encode()
        file.write(segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml))
        file.seek(0)
        head = struct.pack("<iiii32xiqqiq", 1, 0, 0, 0, 0, directory_at, metadata_at, 0, 0)
        file.write(segment(b"ZISRAWFILE", head.ljust(512, b"\0")))


# STK: a TIFF of one page whose tag UIC2 says how many planes lie back to back ("MetaMorph Stack (STK) Image File
# Format", Molecular Devices)


def write_stk(
    path: Path, movie: np.ndarray, *, pixel_um: float = 0.108, exposure_ms: float = 30.0, interval_ms: int = 40
) -> None:
    """Write a MetaMorph STK file of a movie (frame, y, x) of uint16."""
    n, height, width = movie.shape
    pixels_at = 8
    data = movie.astype("<u2").tobytes()
    blobs, at = b"", pixels_at + len(data)

    def put(blob: bytes) -> int:
        nonlocal blobs
        place = at + len(blobs)
        blobs += blob + bytes(len(blob) % 2)
        return place

    calibration_at = put(struct.pack("<2I", round(pixel_um * 1e6), 10**6))
    units_at = put(struct.pack("<I", 3) + b"um\0")
    described = put(f"Exposure: {exposure_ms:g} ms\r\n\0".encode())
    n_described = len(f"Exposure: {exposure_ms:g} ms\r\n\0")
    uic1_at = put(struct.pack("<8I", 3, 1, 4, calibration_at, 5, calibration_at, 6, units_at))
    uic2_at = put(b"".join(struct.pack("<6I", 0, 1, 2461000, 1000 + k * interval_ms, 2461000, 0) for k in range(n)))
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (270, 2, n_described, described), (273, 4, 1, pixels_at), (277, 3, 1, 1), (278, 4, 1, height),
        (279, 4, 1, height * width * 2), (33628, 4, 4, uic1_at), (33629, 5, n, uic2_at),
    ]  # fmt: skip
    ifd_at = at + len(blobs)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, ifd_at) + data + blobs + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
