"""`colocus evaluate PICTURE --truth PICTURE`: how alike two pictures are, and the finest detail of each."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.report.numbers import NM_PER_UM, fixed, plain
from experiments.report.plot_style import Figure, hide_axes, new_figure, save_png, styled
from localization import Decorrelation, Likeness, compare_pictures, decorrelation
from localization.pictures.likeness import resampled
from localization.pictures.picture_file import PictureFile
from optics.progress import Event, Report, silent
from optics.whole_file import write_text
from training import ConfigError

_SHARED_PX = 16  # least side of the field that both show
_ALIKE = 0.01  # pixels that differ by less are the same; so are fields


@dataclass(frozen=True)
class PictureConfig:
    """How pictures are made comparable: cut at percentiles and scaled, blurred, and one moved onto the other.

    `pixel_nm` is that of the truth, where its file says none.
    """

    percentiles: tuple[float, float] = (0.0, 99.0)
    blur_px: float = 2.0
    register: bool = True
    pixel_nm: float | None = None


@dataclass(frozen=True, eq=False)
class PictureScores:
    """The scores, the two pictures as compared (H, W), and their decorrelation; None where no pixel is known."""

    config: PictureConfig
    likeness: Likeness
    picture: NDArray[np.float64]
    truth: NDArray[np.float64]
    pixel_um: float | None
    details: tuple[Decorrelation, Decorrelation] | None
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Say the scores."""
        config, found = self.config, self.likeness
        height, width = self.truth.shape
        pixel = "pixels of unknown size" if self.pixel_um is None else f"pixels of {NM_PER_UM * self.pixel_um:g} nm"
        low, high = config.percentiles
        lines = [
            f"{width} x {height} {pixel}, cut at percentiles {low:g} and {high:g}, blurred by {config.blur_px:g} px"
        ]
        lines += [f"note: {note}" for note in (*self.notes, *found.notes)]
        if config.register:
            lines.append(f"{'moved onto the truth by':24}{found.shift_px[0]:.2f}, {found.shift_px[1]:.2f} px (x, y)")
        lines += [
            f"{'PSNR':24}{fixed(found.psnr_db, 2)} dB",
            f"{'NRMSE':24}{found.nrmse:.3f} (of the rms of the truth)",
            f"{'MS-SSIM':24}{found.ms_ssim:.4f}",
            f"{'correlation':24}{found.correlation:.4f}",
        ]
        if self.details is not None:
            for name, detail in zip(("picture", "truth"), self.details, strict=True):
                text = f"none: {detail.reason}" if detail.reason else f"{NM_PER_UM * detail.resolution_um:.1f} nm"
                lines.append(f"{f'decorrelation, {name}':24}{text}")
        return lines

    def numbers(self) -> dict[str, Any]:
        """List settings and scores."""
        details = {} if self.details is None else dict(zip(("picture", "truth"), self.details, strict=True))
        return plain(
            {
                "config": asdict(self.config),
                "pixel_nm": None if self.pixel_um is None else NM_PER_UM * self.pixel_um,
                "shape": list(self.truth.shape),
                **asdict(self.likeness),
                "decorrelation_nm": {name: NM_PER_UM * detail.resolution_um for name, detail in details.items()},
                "notes": [*self.notes, *self.likeness.notes],
            }
        )

    def figure(self) -> Figure:
        """Draw the picture, the truth, and the picture less the truth."""
        height, width = self.truth.shape
        with styled():
            figure = new_figure(9.0, 0.5 + 3.0 * min(2.0, height / width))
            panels = figure.subplots(1, 3)
            for axes, image, name in zip(panels, (self.picture, self.truth), ("picture", "truth"), strict=False):
                axes.imshow(image, cmap="inferno", vmin=0, vmax=1)
                axes.set_title(name)
            shown = panels[2].imshow(self.picture - self.truth, cmap="PuOr", vmin=-1, vmax=1)
            panels[2].set_title("picture less truth")
            for axes in panels:
                hide_axes(axes)
            figure.colorbar(shown, ax=panels[2], shrink=0.8)
        return figure

    def write(self, out: Path) -> list[Path]:
        """Write the numbers as JSON to `out`, and a figure beside it (.png)."""
        drawn = out.with_suffix(".png")
        save_png(self.figure(), drawn)
        write_text(out, json.dumps(self.numbers(), indent=1, allow_nan=False) + "\n")
        return [out, drawn]


def evaluate_picture(
    picture: PictureFile, truth: PictureFile, config: PictureConfig = PictureConfig(), report: Report = silent
) -> PictureScores:
    """Score a picture against the true one: PSNR, NRMSE, MS-SSIM, and the decorrelation of both.

    Where pixels differ the picture is resampled onto those of the truth, by the areas that they share; where files say
    where they lie, only what both show is compared. Raises `ConfigError` for settings and fields that do not fit
    together, `LocalizationError` for pictures that cannot be compared.

    >>> values = np.random.default_rng(0).random((64, 64))
    >>> same = PictureFile(values, 0.01, None)
    >>> evaluate_picture(same, same).likeness.nrmse
    0.0
    """
    low, high = config.percentiles
    if not (0 <= low < high <= 100 and 0 <= config.blur_px < 100):
        raise ConfigError(
            f"percentiles are {low:g} and {high:g}, blur_px is {config.blur_px:g}; need 0 to 100, rising, and 0 to 100"
        )
    report(Event("comparing"))
    image, wanted, pixel_um, notes = same_field(picture, truth, config)
    likeness, one, other = compare_pictures(
        image, wanted, percentiles=config.percentiles, blur_px=config.blur_px, register=config.register
    )
    details = None
    if pixel_um is not None and min(wanted.shape) >= 32:
        report(Event("decorrelating"))
        details = decorrelation(image, pixel_um), decorrelation(wanted, pixel_um)
    return PictureScores(config, likeness, one, other, pixel_um, details, notes)


def same_field(
    picture: PictureFile, truth: PictureFile, config: PictureConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64], float | None, tuple[str, ...]]:
    """Bring both onto the pixels of the truth: two arrays of one shape, their pixel, and what was done."""
    notes = [f"of the picture {note}" for note in picture.notes] + [f"of the truth {note}" for note in truth.notes]
    shape = truth.values.shape
    onto = truth.pixel_um if truth.pixel_um is not None else config.pixel_nm and config.pixel_nm / NM_PER_UM
    ratio = (
        shape[0] / picture.values.shape[0],
        shape[1] / picture.values.shape[1],
    )  # true pixels per one of the picture
    one_field = abs(ratio[0] / ratio[1] - 1) < _ALIKE
    own = picture.pixel_um
    if (own is None or onto is None) and not one_field:
        raise ConfigError(
            f"the picture has {picture.values.shape} pixels, the truth {shape}, and "
            f"{'the picture' if own is None else 'the truth'} says no pixel size; cut both to one field, or save them "
            "with their pixel size"
        )
    if own is None or onto is None:
        known = own if own is not None else onto
        if known is not None and shape != picture.values.shape:
            notes.append("one file says no pixel size: taken as of the same field")
        onto = onto if onto is not None else None if own is None else own / ratio[0]
        own = None if onto is None else onto * ratio[0]
    own_px = (
        ratio[0] if own is None or onto is None else own / onto
    )  # side of the picture's pixel, in those of the truth
    if abs(own_px - 1) > 1e-3:
        sizes = "" if own is None or onto is None else f" of {NM_PER_UM * own:g} nm, onto {NM_PER_UM * onto:g} nm"
        notes.append(f"the picture, {picture.values.shape[1]} x {picture.values.shape[0]} pixels{sizes}, was resampled")
    away = (0.0, 0.0)  # from the picture's first corner to the truth's, in pixels of the truth
    if picture.corner_um is not None and truth.corner_um is not None and onto is not None:
        away = tuple((b - a) / onto for a, b in zip(picture.corner_um, truth.corner_um, strict=True))
    sides = [own_px * n for n in picture.values.shape]
    spans = []
    for side, n, by in zip(sides, shape, away[::-1], strict=True):
        first, last = max(0, int(np.ceil(-by - 1e-6))), min(n, int(np.floor(side - by + 1e-6)))
        spans.append(slice(first, last))
    loose = any(abs(side - n) > max(1.0, own_px) + _ALIKE for side, n in zip(sides, shape, strict=True))
    if loose and away == (0.0, 0.0) and (picture.corner_um is None or truth.corner_um is None):
        unit = 1.0 if onto is None else onto
        text = ["{:.4g} x {:.4g}".format(*(unit * n for n in field[::-1])) for field in (sides, shape)]
        raise ConfigError(
            f"the picture shows {text[0]} {'pixels' if onto is None else 'um'}, the truth {text[1]}; "
            "cut both to one field"
        )
    if min(span.stop - span.start for span in spans) < _SHARED_PX:
        raise ConfigError("picture and truth show hardly anything in common; draw both with the same --region")
    cut = truth.values[spans[0], spans[1]]
    if cut.shape != shape:
        notes.append(f"what both show is compared: {cut.shape[1]} x {cut.shape[0]} pixels of the truth")
    corner = (away[0] + spans[1].start, away[1] + spans[0].start)
    same = abs(own_px - 1) <= 1e-3 and max(abs(by - round(by)) for by in away) < 1e-3
    if same:
        rows, columns = (slice(round(by), round(by) + n) for by, n in zip(corner[::-1], cut.shape, strict=True))
        return picture.values[rows, columns], cut, onto, tuple(notes)
    return resampled(picture.values, own_px, corner, cut.shape, 1.0), cut, onto, tuple(notes)
