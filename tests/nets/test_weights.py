"""The published DeepSTORM3D weights: stored stages and outputs, and files that are not right."""

import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest

import nets
from nets import LocalizationNetConfig, NetsError, load_deepstorm3d
from nets.volumetric import LocalizationNet
from nets.weights import COMPACT_PSF, LARGE_PSF

DATA = Path(os.environ.get("COLOCUS_DATA", Path(__file__).parents[3] / "shared" / "data")) / "ds3d-networks"
NETWORKS = [
    ("demo2_tetrapod_loss", 121, LARGE_PSF),
    ("demo3_tetrapod_loss", 81, LARGE_PSF),
    ("demo5_learned_loss", 81, COMPACT_PSF),
]
# The stored numbers are one float32 run, ours is another with its own order of summation. Each of the K products that
# were summed on the way to a value rounds by at most u L, u = 2^-24 and L the largest value so far: 1 / sqrt(3) of that
# on average. They add up as a random walk, to sqrt(K / 3) u L; the difference of two runs is sqrt(2) of that, and the
# largest of ten million values lies 5.5 standard deviations out: 5.5 sqrt(2 / 3) = 4.5.
OUTERMOST = 4.5
U = 2.0**-24


def terms(depth):
    """Products summed into one value of each stage: 3 x 3 kernels over so many channels; the last one is 1 x 1."""
    trunk = {f"layer{i}": 9 * 65 for i in range(2, 7)}
    fine = {"deconv1": 9 * 65, "deconv2": 9 * 64, "layer7": 9 * 64, "layer8": 9 * depth, "layer9": 9 * depth}
    return {"norm": 2, "layer1": 9, **trunk, **fine, "layer10": depth}


def _folder(name):
    if not (DATA / name / "weights.npz").is_file():
        pytest.skip(f"no published weights at {DATA / name}; set COLOCUS_DATA to the data folder")
    return DATA / name


@pytest.mark.parametrize(("name", "depth", "dilations"), NETWORKS)
def test_stored_stages_and_outputs_are_reproduced(name, depth, dilations):
    """Every stored stage, and the whole output on both inference paths, within what rounding explains."""
    folder = _folder(name)
    check = json.loads((folder / "check.json").read_text())
    config, variables = load_deepstorm3d(folder / "weights.npz", dilations=dilations)
    assert config.depth == depth
    x = np.load(folder / "input.npy").transpose(0, 2, 3, 1)

    @jax.jit
    def with_stages(variables, x):
        return LocalizationNet(config).apply(
            variables, x, train=False, capture_intermediates=True, mutable=["intermediates"]
        )

    output, captured = with_stages(variables, x)
    with np.load(folder / "stages.npz") as stages:
        assert stages.files == list(terms(depth))
        summed, largest = 0, 0.0
        for stage, more in terms(depth).items():
            row, column, height, width = check["stage_crops_row0_col0_h_w"][stage]
            got = captured["intermediates"][stage]["__call__"][0]
            summed, largest = summed + more, max(largest, float(np.abs(got).max()))
            allowed = OUTERMOST * np.sqrt(summed) * U * largest
            got = got[:, row : row + height, column : column + width].transpose(0, 3, 1, 2)
            np.testing.assert_allclose(got, stages[stage], atol=allowed, rtol=0, err_msg=stage)
    want = np.load(folder / "output_full.npz")["output"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(output, want, atol=allowed, rtol=0)
    fast, _ = jax.jit(lambda v, x: nets.apply(config, v, x, train=False))(variables, x)
    np.testing.assert_allclose(fast, want, atol=allowed, rtol=0)


TINY = LocalizationNetConfig(depth=3, channels=64)


def _state(seed=0):
    """A state dict with upstream names, shapes and axis order, by hand from the published layout."""
    rng = np.random.default_rng(seed)
    state = {}

    def norm(name, n):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{leaf}"] = rng.uniform(0.5, 1.5, n).astype(np.float32)
        state[f"{name}.num_batches_tracked"] = np.array(7)

    def block(name, c_in, c_out):
        state[f"{name}.conv.weight"] = rng.normal(size=(c_out, c_in, 3, 3)).astype(np.float32)
        state[f"{name}.conv.bias"] = rng.normal(size=c_out).astype(np.float32)
        norm(f"{name}.bn", c_out)

    norm("norm", 1)
    block("layer1", 1, 64)
    for i in range(2, 7):
        block(f"layer{i}", 65, 64)
    block("deconv1", 65, 64)
    block("deconv2", 64, 64)
    block("layer7", 64, 3)
    block("layer8", 3, 3)
    block("layer9", 3, 3)
    state["layer10.weight"] = rng.normal(size=(3, 3, 1, 1)).astype(np.float32)
    state["layer10.bias"] = rng.normal(size=3).astype(np.float32)
    return state


def test_kernels_are_turned_from_oihw_to_hwio(tmp_path):
    """Output channel 2, input channel 64, row 0, column 1 ends where HWIO has it; the depth is inferred."""
    state = _state()
    np.savez(tmp_path / "w.npz", **state)
    config, variables = load_deepstorm3d(tmp_path / "w.npz")
    assert config == TINY
    kernel = variables["params"]["layer3"]["conv"]["kernel"]
    assert kernel[0, 1, 64, 2] == state["layer3.conv.weight"][2, 64, 0, 1]
    np.testing.assert_array_equal(variables["batch_stats"]["layer9"]["norm"]["var"], state["layer9.bn.running_var"])


def _without(name):
    return lambda s: s.pop(name)


def _with(name, value):
    return lambda s: s.update({name: value})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("layer10.bias"), "no array 'layer10.bias'"),
        (_without("deconv2.bn.running_var"), "no array 'deconv2.bn.running_var'"),
        (_with("layer4.conv.weight", np.zeros((64, 64, 3, 3))), "'layer4.conv.weight' has shape"),
        (_with("layer4.bn.bias", np.full(64, np.nan)), "'layer4.bn.bias' holds NaN"),
        (_with("layer11.bias", np.zeros(3)), "'layer11.bias' belongs to no layer"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(tmp_path, spoil, message):
    """A missing, misshapen, non-finite or surplus array is named in one line that begins with the file."""
    state = _state()
    spoil(state)
    path = tmp_path / "w.npz"
    np.savez(path, **state)
    with pytest.raises(NetsError, match=message) as caught:
        load_deepstorm3d(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not an archive", b"\x80\x04N."])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    """Empty, truncated, foreign and pickled files are refused without being executed."""
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(NetsError, match="not a .npz of arrays"):
        load_deepstorm3d(path)


def test_a_missing_file_is_refused(tmp_path):
    """A path that is not there is named."""
    with pytest.raises(NetsError, match="no such file"):
        load_deepstorm3d(tmp_path / "absent.npz")
