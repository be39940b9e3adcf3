"""`colocus evaluate PICTURE --truth PICTURE`: files of every kind, other pixels, and what is refused in one line."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from experiments import cli
from experiments.lists.evaluate_picture import PictureConfig, evaluate_picture
from localization import make_localizations, write
from localization.pictures.picture_file import PictureFile, read_picture


def spots(shape=(192, 200), seed=0):
    """Spots at random, dark towards the border."""
    points = np.random.default_rng(seed).random(shape) < 0.01
    points[:12] = points[-12:] = points[:, :12] = points[:, -12:] = False
    return ndimage.gaussian_filter(points.astype(np.float32), 2.5)


def colocus(*arguments):
    return cli.main([str(argument) for argument in arguments])


def imagej(path, image, pixel_um):
    tifffile.imwrite(path, image, imagej=True, resolution=(1 / pixel_um,) * 2, metadata={"unit": "um"})


def ome(path, image, pixel_um):
    metadata = {"axes": "YX", "PhysicalSizeX": pixel_um, "PhysicalSizeY": pixel_um}
    tifffile.imwrite(path, image, ome=True, metadata=metadata)


def tagged(path, image, pixel_um):
    tifffile.imwrite(path, image, resolution=(1e4 / pixel_um,) * 2, resolutionunit="CENTIMETER")


@pytest.mark.parametrize("save", [imagej, ome, tagged])
def test_values_and_pixel_of_every_kind_of_tiff(save, tmp_path):
    """As tifffile writes them: ImageJ's unit, OME's physical size, the tag in centimetres of other programs."""
    path = tmp_path / ("one.ome.tif" if save is ome else "one.tif")
    save(path, spots(), 0.0125)
    found = read_picture(path)
    assert np.array_equal(found.values, spots()) and found.pixel_um == pytest.approx(0.0125, rel=1e-6)


def test_another_pixel_is_resampled_and_said(tmp_path, capsys):
    """A picture summed over 2 x 2 pixels is that of the truth at half its detail: much alike, from two TIFFs."""
    fine = spots()
    coarse = fine.reshape(96, 2, 100, 2).sum(axis=(1, 3))
    imagej(tmp_path / "fine.tif", fine, 0.01)
    ome(tmp_path / "coarse.ome.tif", coarse, 0.02)
    arguments = ["evaluate", tmp_path / "coarse.ome.tif", "--truth", tmp_path / "fine.tif"]
    assert colocus(*arguments, "--out", tmp_path / "scores.json") == 0
    said = capsys.readouterr().out
    assert "200 x 192 pixels of 10 nm" in said
    assert "note: the picture, 100 x 96 pixels of 20 nm, onto 10 nm, was resampled" in said
    numbers = json.loads((tmp_path / "scores.json").read_text())
    assert numbers["psnr_db"] > 25 and numbers["ms_ssim"] > 0.95 and max(map(abs, numbers["shift_px"])) < 0.1
    assert (tmp_path / "scores.png").exists()


def test_what_render_draws_is_compared_where_both_reach(tmp_path, capsys):
    """Two regions of one list, whose files say where they lie: their common part is the same picture."""
    draw = np.random.default_rng(1)
    place = draw.uniform(0, 2, (20000, 2))
    place = place[ndimage.gaussian_filter(draw.random((40, 40)), 2)[tuple((place * 20).astype(int).T)] > 0.5]
    write(tmp_path / "locs.csv", make_localizations(np.zeros(len(place)), *place.T, np.zeros(len(place))))
    for name, region in (("a", "0,1.5,0,2"), ("b", "0.5,2,0,2")):
        arguments = ["--out", tmp_path / f"{name}.tif", "--pixel", 10, "--region", region]
        assert colocus("render", tmp_path / "locs.csv", *arguments) == 0
    capsys.readouterr()
    assert colocus("evaluate", tmp_path / "a.tif", "--truth", tmp_path / "b.tif", "--no-register") == 0
    said = capsys.readouterr().out
    assert "what both show is compared: 100 x 200 pixels of the truth" in said
    assert "PSNR                    inf dB" in said


def test_without_pixel_sizes_the_same_field_is_taken_at_its_shape():
    """Half as many pixels each way, no sizes: one field; its decorrelation cannot be told in nanometres."""
    fine = spots().astype(float)
    coarse = fine.reshape(96, 2, 100, 2).sum(axis=(1, 3))
    found = evaluate_picture(PictureFile(coarse, None, None), PictureFile(fine, None, None))
    assert found.details is None and found.likeness.psnr_db > 25
    given = evaluate_picture(
        PictureFile(coarse, None, None), PictureFile(fine, None, None), PictureConfig(pixel_nm=10.0)
    )
    assert given.pixel_um == pytest.approx(0.01) and given.details is not None


def refused(capsys, *arguments):
    assert colocus(*arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(": loading")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("colour.png", np.zeros((64, 64, 3), np.uint8), "a picture of mode RGB, in colour"),
        ("colour.tif", np.zeros((64, 64, 3), np.uint8), "a picture in colour"),
        ("nan.tif", np.full((192, 200), np.nan, np.float32), "38400 values are NaN"),
        ("stack.tif", np.zeros((5, 64, 64), np.float32), "holds an array of shape (5, 64, 64)"),
        ("flat.tif", np.ones((192, 200), np.float32), "the picture has the value 1 throughout"),
        ("narrow.tif", spots()[:, :100], "the picture has (192, 100) pixels, the truth (192, 200)"),
        ("damaged.tif", None, "not a readable picture"),
        ("missing.tif", None, "no such file"),
    ],
)
def test_what_is_refused(name, content, message, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "truth.tif", spots())
    path = tmp_path / name
    if content is None and name != "missing.tif":
        path.write_bytes(b"II*\0not a picture")
    elif name.endswith(".png"):
        Image.fromarray(content).save(path)
    elif content is not None:
        tifffile.imwrite(path, content, photometric="rgb" if content.shape[-1] == 3 else "minisblack")
    assert message in refused(capsys, "evaluate", path, "--truth", tmp_path / "truth.tif")


def test_fields_that_differ_and_mixed_arguments_are_refused(tmp_path, capsys):
    imagej(tmp_path / "a.tif", spots(), 0.01)
    imagej(tmp_path / "b.tif", spots(), 0.02)
    message = refused(capsys, "evaluate", tmp_path / "a.tif", "--truth", tmp_path / "b.tif")
    assert "the picture shows 2 x 1.92 um, the truth 4 x 3.84; cut both to one field" in message
    assert "name the true one" in refused(capsys, "evaluate", tmp_path / "a.tif")
    assert "a picture has --blur" in refused(
        capsys, "evaluate", tmp_path / "a.tif", "--truth", tmp_path / "b.tif", "--gate", "100"
    )
    assert "go with a PICTURE" in refused(capsys, "evaluate", "no.csv", "--truth", "no.csv", "--no-register")
