"""PyTorch's own files: the published ones to the bit, and what a hostile or damaged one may not do."""

import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import jax
import numpy as np
import pytest
from test_weights import DATA, _state

from nets import NetsError, load_deepstorm3d
from nets.torch_file import read_torch
from nets.weights import COMPACT_PSF, LARGE_PSF

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
STORAGES = {np.dtype("f4"): "FloatStorage", np.dtype("f8"): "DoubleStorage", np.dtype("i8"): "LongStorage"}


@pytest.mark.parametrize(
    ("name", "dilations"), [("demo2_tetrapod_loss", LARGE_PSF), ("demo5_learned_loss", COMPACT_PSF)]
)
def test_published_files_hold_the_same_bits_as_their_npz(name, dilations):
    """The authors' .pkl, read by us, against the arrays that PyTorch itself wrote out of it."""
    folder = DATA / name
    if not (folder / "weights_best_loss.pkl").is_file():
        pytest.skip(f"no published weights at {folder}; set COLOCUS_DATA to the data folder")
    read = read_torch(folder / "weights_best_loss.pkl")
    with np.load(folder / "weights.npz") as stored:
        assert set(read) == set(stored.files)
        for key in stored.files:
            assert read[key].dtype == stored[key].dtype
            np.testing.assert_array_equal(read[key], stored[key])
    ours, theirs = (
        load_deepstorm3d(folder / file, dilations=dilations) for file in ("weights_best_loss.pkl", "weights.npz")
    )
    assert ours[0] == theirs[0]
    jax.tree.map(np.testing.assert_array_equal, ours[1], theirs[1])


class _Writer(pickle.Pickler):
    """Writes arrays as torch.save does: a global that rebuilds, and a persistent id for the storage."""

    def __init__(self, file, torch):
        super().__init__(file, protocol=2)
        self.torch, self.storages = torch, {}

    def persistent_id(self, obj):
        if isinstance(obj, _Stored):
            kind = getattr(self.torch, STORAGES[obj.array.dtype])
            self.storages[str(id(obj.array))] = obj.array
            return ("storage", kind, str(id(obj.array)), "cpu", obj.array.size, *obj.view)
        return None

    def reducer_override(self, obj):
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        base = obj if obj.base is None else obj.base
        strides = tuple(s // obj.itemsize for s in obj.strides)
        offset = (obj.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // obj.itemsize
        arguments = (_Stored(base, self.view), offset, obj.shape, strides, False, OrderedDict())
        tensor = self.torch._utils._rebuild_tensor_v2, arguments
        if not self.parameters:
            return tensor
        return self.torch._utils._rebuild_parameter, (_Reduced(tensor), True, OrderedDict())

    view: tuple = (None,)
    parameters = False


class _Stored:
    def __init__(self, array, view):
        self.array, self.view = array, view


class _Reduced:
    def __init__(self, how):
        self.how = how

    def __reduce__(self):
        return self.how


@pytest.fixture
def save(monkeypatch):
    """A writer of both formats after PyTorch's serialization notes; its classes stand in for PyTorch's names."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *_: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    setattr(torch, "_utils", utils)  # noqa: B010  (a module made up here has no such attribute to a type checker)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    def write(path: Path, root, *, archive: bool, parameters=False, compression=zipfile.ZIP_STORED):
        buffer = io.BytesIO()
        writer = _Writer(buffer, torch)
        writer.parameters = parameters
        if archive:
            writer.view = ()
        writer.dump(root)
        if archive:
            with zipfile.ZipFile(path, "w", compression) as file:
                file.writestr("weights/data.pkl", buffer.getvalue())
                file.writestr("weights/byteorder", "little")
                for key, array in writer.storages.items():
                    file.writestr(f"weights/data/{key}", array.tobytes())
            return path
        keys = sorted(writer.storages)
        parts = [pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, SYSTEM)] + [
            buffer.getvalue(),
            pickle.dumps(keys, 2),
        ]
        parts += [struct.pack("<q", writer.storages[key].size) + writer.storages[key].tobytes() for key in keys]
        path.write_bytes(b"".join(parts))
        return path

    return write


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("parameters", [False, True])
def test_both_formats_give_the_arrays_that_went_in(save, tmp_path, archive, parameters):
    """Float, double and integer arrays, a scalar, a transposed view and a slice of a shared storage."""
    base = np.arange(24, dtype=np.float32)
    state = OrderedDict(
        whole=base,
        turned=base.reshape(4, 6).T,
        part=base[5:11],
        double=np.array([[1.5, -2.0]]),
        count=np.array(7, np.int64),
    )
    path = save(tmp_path / "w.pt", {"state_dict": state, "epoch": 3}, archive=archive, parameters=parameters)
    read = read_torch(path)
    assert list(read) == list(state)
    for name, array in state.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize(("suffix", "archive"), [(".pkl", False), (".pt", True), (".PTH", True)])
def test_a_network_loads_whatever_the_format(save, tmp_path, suffix, archive):
    """The same variables as from a .npz of the same arrays."""
    state = _state()
    np.savez(tmp_path / "w.npz", **state)
    path = save(tmp_path / f"w{suffix}", OrderedDict(state), archive=archive)
    config, variables = load_deepstorm3d(path)
    wanted, expected = load_deepstorm3d(tmp_path / "w.npz")
    assert config == wanted
    jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_keys_of_another_network_are_named(save, tmp_path):
    """A readable state dict of something else: the missing array, with the file's name."""
    path = save(tmp_path / "w.pkl", {"conv.weight": np.zeros(3, np.float32)}, archive=False)
    with pytest.raises(NetsError, match=r"w\.pkl: no array 'layer10\.bias'"):
        load_deepstorm3d(path)


class _Touch:
    """What an attacker's pickle holds: a call made while it is read."""

    def __init__(self, call, *arguments):
        self.how = call, arguments

    def __reduce__(self):
        return self.how


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_something_is_refused_and_not_run(tmp_path, archive, protocol):
    """os.system, eval and getattr, in each way that pickle can name them: the name is told, nothing happens."""
    trace = tmp_path / "trace"
    for call, arguments in (
        (os.system, (f"touch {trace}",)),
        (eval, (f"open({str(trace)!r}, 'w')",)),
        (getattr, (1, "real")),
    ):
        payload = pickle.dumps({"layer10.bias": _Touch(call, *arguments)}, protocol)
        path = tmp_path / "w.pkl"
        if archive:
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("w/data.pkl", payload)
        else:
            path.write_bytes(b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, SYSTEM)) + payload)
        with pytest.raises(NetsError, match="nothing in it was run") as caught:
            load_deepstorm3d(path)
        name = f"asks for {call.__module__}.{call.__name__}"
        assert name in str(caught.value).replace("__builtin__", "builtins")
        assert "\n" not in str(caught.value) and not trace.exists()


def test_a_magic_number_that_calls_is_refused_as_well(tmp_path):
    """Each of the four pickles of the old format is looked at before it is made."""
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(_Touch(os.system, f"touch {tmp_path / 'trace'}"), 2))
    with pytest.raises(NetsError, match=r"asks for (posix|nt)\.system"):
        read_torch(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x02r\xff\xff\xff\x7f.",  # a memo index of two thousand million
        b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns.",  # a key nested so deep that hashing it overflows the stack
        b"\x80\x02ctorch\nFloatStorage\n)R.",  # a storage's type, called
        b"\x80\x02ctorch\nFloatStorage\n}b.",  # attributes for it
        b"\x80\x02X\xff\xff\xff\xffabc.",  # a string longer than the file
        b"\x80\x02.",  # nothing on the stack
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
    ],
)
def test_a_pickle_that_is_out_of_bounds_is_refused(tmp_path, payload):
    """Each ends in one line, at once and without the memory that it asks for."""
    path = tmp_path / "w.pkl"
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, SYSTEM)) + payload)
    with pytest.raises(NetsError, match=r"w\.pkl"):
        read_torch(path)


@pytest.mark.parametrize("archive", [False, True])
def test_a_file_that_is_cut_off_anywhere_is_refused(save, tmp_path, archive):
    """Every tenth length of a small file, and each of its first bytes."""
    path = save(tmp_path / "w.pkl", {"a": np.arange(4.0), "b": np.arange(6, dtype=np.float32)}, archive=archive)
    whole = path.read_bytes()
    for length in (*range(12), *range(12, len(whole), 10), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(NetsError, match=r"w\.pkl"):
            read_torch(path)


def test_views_that_leave_their_storage_are_refused(save, tmp_path):
    """A size, offset or stride beyond the stored numbers, or a small storage repeated without end."""
    path = save(tmp_path / "w.pkl", {"a": np.arange(4.0)}, archive=False)
    whole = path.read_bytes()
    sizes = b"K\x00K\x04\x85"  # offset 0, size (4,)
    assert whole.count(sizes) == 1
    for wrong in (b"K\x00K\x05\x85", b"K\x01K\x04\x85", b"K\xffK\x04\x85"):
        path.write_bytes(whole.replace(sizes, wrong))
        with pytest.raises(NetsError, match="beyond its storage"):
            read_torch(path)


def test_a_compressed_archive_is_refused(save, tmp_path):
    """torch.save never compresses; a small file that unpacks to gigabytes does."""
    path = save(tmp_path / "w.pt", {"a": np.zeros(1000)}, archive=True, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(NetsError, match="compressed archive"):
        read_torch(path)


def test_another_suffix_is_refused(tmp_path):
    """The message lists those that are read."""
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(NetsError, match=r"weights end in \.npz, \.pkl, \.pt, \.pth"):
        load_deepstorm3d(tmp_path / "w.h5")
