"""`colocus render`: a localization list as a picture, float32 for measuring (TIFF) or coloured for looking (PNG)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.colors
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from experiments.report.numbers import NM_PER_UM
from localization import Localizations, image_shape, table_region_um, to_image
from localization.extent import without_far_rows
from localization.pictures.render_image import Region, RenderMode
from optics.progress import Event, Report, silent
from optics.whole_file import whole_file
from training import ConfigError

_LOOKED_AT_MAX = 60_000_000  # pixels of a PNG: more than any screen or page
_SMALLEST_SIDE_PX = 480
_SAMPLED_PIXELS = 2_000_000
# told apart by colour-blind eyes too, and the first two add up to white (Okabe and Ito 2008)
_CHANNEL_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2", "#FFFFFF")


@dataclass(frozen=True)
class RenderConfig:
    """What to draw: lengths in nm and um as named; None means from the table.

    `saturate` is the share of lit pixels that are drawn unsaturated, `gamma` the power of the brightness; both
    change a PNG alone. `channels` draws each channel in a colour of its own, as bright as the others.
    """

    pixel_nm: float = 10.0
    mode: RenderMode = "histogram"
    depth: bool = False
    channels: bool = False
    region_um: tuple[float, float, float, float] | None = None
    z_range_um: tuple[float, float] | None = None
    sigma_nm: float | None = None
    min_sigma_nm: float = 0.0
    saturate: float = 0.995
    gamma: float = 0.6


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of a list: `region_um` in pixels of `pixel_um`. It is drawn when it is first asked for."""

    locs: Localizations
    config: RenderConfig
    region_um: Region
    depth_um: tuple[float, float]
    report: Report = silent
    notes: tuple[str, ...] = ()

    @property
    def pixel_um(self) -> float:
        """Side of a pixel."""
        return self.config.pixel_nm / NM_PER_UM

    @cached_property
    def density(self) -> NDArray[np.float32]:
        """Localizations per pixel, (H, W)."""
        return self._drawn("drawing")

    @cached_property
    def mean_z_um(self) -> NDArray[np.float32]:
        """Mean depth of the localizations in each pixel, (H, W); NaN where there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            summed = self._drawn("drawing, depth", self.locs.z_um)
            return np.where(self.density > 1e-6, summed / self.density, np.nan).astype(np.float32)

    @cached_property
    def by_channel(self) -> NDArray[np.float32]:
        """Localizations per pixel of each channel, (C, H, W)."""
        count = 1 + int(self.locs.channel.max(initial=0))
        parts = [self._drawn(f"drawing, channel {k}", (self.locs.channel == k).astype(float)) for k in range(count)]
        return np.stack(parts)

    def image(self) -> Image.Image:
        """Draw for the eye: with a scale bar and, with depth, the colour of each row's z and a colour bar.

        With channels each in its colour. Raises `LocalizationError` for a picture that is larger than any screen.
        """
        image_shape(self.pixel_um, self.region_um, max_pixels=_LOOKED_AT_MAX)
        if self.config.channels:
            return compose_channels(self.by_channel, self.config, self.pixel_um)
        density, colours = self.density, None
        if self.config.depth:
            low, high = self.depth_um
            of_row = depth_colours((self.locs.z_um - low) / (high - low))
            colours = [self._drawn(f"drawing, colour {k + 1} of 3", of_row[:, k]) for k in range(3)]
        return compose(density, colours, self.config, self.pixel_um, self.depth_um)

    def lines(self) -> list[str]:
        """Say what the picture shows."""
        (x0, x1), (y0, y1) = self.region_um
        height, width = self.density.shape
        inside = float(self.density.sum(dtype=np.float64))
        lines = [
            f"{width} x {height} pixels of {self.config.pixel_nm:g} nm, x {x0:.3f} to {x1:.3f} um, "
            f"y {y0:.3f} to {y1:.3f} um",
            f"{inside:.0f} of {self.locs.frame.size} localizations in the picture",
        ]
        if self.config.channels:
            held = ", ".join(f"{part.sum(dtype=np.float64):.0f} in {k}" for k, part in enumerate(self.by_channel))
            lines.append(f"channels: {held}")
        if self.config.depth:
            lines.append(f"depth from {self.depth_um[0]:.3f} to {self.depth_um[1]:.3f} um")
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def numbers(self) -> dict[str, Any]:
        """List what the picture shows."""
        return {
            "pixel_um": self.pixel_um,
            "region_um": [list(ends) for ends in self.region_um],
            "localizations": self.locs.frame.size,
            "inside": float(self.density.sum(dtype=np.float64)),
            "depth_um": list(self.depth_um) if self.config.depth else None,
            "notes": list(self.notes),
        }

    def write(self, out: Path) -> list[Path]:
        """Write `out`: a .png for the eye, or a .tif for measuring.

        A TIFF holds rows per pixel as float32 (with depth, a second channel with their mean z in um, NaN where there
        are none; with channels one for each of them), pixel size and unit as ImageJ reads them, and the place of the
        first pixel in its description. Raises `ConfigError` for another ending.
        """
        check_name(out)
        if out.suffix.lower() == ".png":
            picture = self.image()
            self.report(Event("writing"))
            with whole_file(out) as part:
                picture.save(part, format="PNG")
        else:
            values, labels = self.density, ()
            if self.config.channels:
                values = self.by_channel
                labels = tuple(f"localizations per pixel, channel {k}" for k in range(len(values)))
            elif self.config.depth:
                values = np.stack([self.density, self.mean_z_um])
                labels = ("localizations per pixel", "mean z in um")
            self.report(Event("writing"))
            with whole_file(out) as part:
                _write_tiff(part, values, self.pixel_um, self.region_um, labels)
        return [out]

    def _drawn(self, what: str, weights: NDArray | None = None) -> NDArray[np.float32]:
        self.report(Event(what))
        return to_image(
            self.locs,
            self.pixel_um,
            mode=self.config.mode,
            region_um=self.region_um,
            z_range_um=self.config.z_range_um,
            sigma_um=None if self.config.sigma_nm is None else self.config.sigma_nm / NM_PER_UM,
            min_sigma_um=self.config.min_sigma_nm / NM_PER_UM,
            weights=weights,
        )


def render(locs: Localizations, config: RenderConfig = RenderConfig(), report: Report = silent) -> Picture:
    """Lay out a picture of a localization list; write it with `Picture.write`, or take its arrays.

    Without `region_um` it reaches over the list, but for rows far from all others (`localization.extent`), which
    `notes` name.

    Raises `ConfigError` and `LocalizationError` for what cannot be drawn.

    >>> from localization import make_localizations
    >>> picture = render(make_localizations([0, 0], [1.0, 1.2], [1.0, 1.0], [0.0, 0.0]), RenderConfig(pixel_nm=100))
    >>> float(picture.density.sum())
    2.0
    """
    if not (0 < config.saturate <= 1 and 0 < config.gamma <= 4):
        raise ConfigError(f"saturate is {config.saturate} and gamma {config.gamma}; need 0 to 1, and 0 to 4")
    if config.channels and config.depth:
        raise ConfigError("depth and channels are both drawn as colours; choose one of them")
    if config.channels and locs.channel.max(initial=0) >= len(_CHANNEL_COLOURS):
        raise ConfigError(
            f"channel {int(locs.channel.max())}: {len(_CHANNEL_COLOURS)} channels have a colour, 0 to "
            f"{len(_CHANNEL_COLOURS) - 1}; filter the list first (colocus filter)"
        )
    pixel_um = config.pixel_nm / NM_PER_UM
    near, notes = locs, ()
    if config.region_um is None:
        near, far = without_far_rows(locs, ("x_um", "y_um"))
        notes = far.note("the picture does not reach there (--region X0,X1,Y0,Y1 draws it)")
    region = _region(near, config, pixel_um)
    image_shape(pixel_um, region)  # refuses more pixels than memory holds
    depth_um = depth_range_um(locs, config) if config.depth else (0.0, 0.0)
    return Picture(locs, config, region, depth_um, report, notes)


def check_name(out: Path) -> None:
    """Raise `ConfigError` for a picture that is neither .tif nor .png."""
    if out.suffix.lower() not in (".tif", ".tiff", ".png"):
        raise ConfigError(f"{out}: unknown kind of picture; name it .tif (for measuring) or .png (for looking)")


def _region(locs: Localizations, config: RenderConfig, pixel_um: float) -> Region:
    if config.region_um is not None:
        x0, x1, y0, y1 = config.region_um
        return ((x0, x1), (y0, y1))
    margin_um = 0.0
    if config.mode == "gaussian" and locs.frame.size:
        given = config.sigma_nm
        known = np.concatenate([locs.sigma_x_um, locs.sigma_y_um])
        known = known[np.isfinite(known)]
        if given is None and not known.size:
            raise ConfigError("no localization has an uncertainty in x and y; give --sigma NM, or draw a histogram")
        margin_um = 4.0 * (float(np.median(known)) if given is None else given / NM_PER_UM)
    return table_region_um(locs, pixel_um, margin_um)


def depth_range_um(locs: Localizations, config: RenderConfig) -> tuple[float, float]:
    """Find the depths at the ends of the colour bar: those of `config`, or the central 98 % of the list."""
    if config.z_range_um is not None:
        return config.z_range_um
    if locs.frame.size == 0:
        return 0.0, 1.0
    low, high = np.quantile(locs.z_um, [0.01, 0.99])
    if high <= low:
        raise ConfigError("every localization has the same z; draw without --depth")
    return float(low), float(high)


def depth_colours(part: NDArray) -> NDArray[np.float32]:
    """Map to colours (n, 3) the depths from 0 to 1: viridis, each scaled to full brightness, which the density dims."""
    table = matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]
    table = table / table.max(axis=1, keepdims=True)
    return table[np.clip(np.asarray(part) * 255, 0, 255).astype(int)].astype(np.float32)


def brightness(density: NDArray[np.float32], saturate: float, gamma: float) -> NDArray[np.float32]:
    """Scale to 0 to 1: the density over that of the `saturate` quantile of lit pixels, to the power `gamma`."""
    sampled = density.reshape(-1)[:: max(1, density.size // _SAMPLED_PIXELS)]
    lit = sampled[sampled > 1e-3 * max(float(density.max()), 1e-30)]
    top = float(np.quantile(lit, saturate)) if lit.size else 1.0
    return np.clip(density / top, 0, 1) ** np.float32(gamma)


def compose(
    density: NDArray[np.float32],
    colours: list[NDArray[np.float32]] | None,
    config: RenderConfig,
    pixel_um: float,
    depth_um: tuple[float, float],
) -> Image.Image:
    """Compose the picture with its scale bar and, where `colours` are given, a bar of depths."""
    light = brightness(density, config.saturate, config.gamma)
    if colours is None:
        table = (255 * matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]).round().astype(np.uint8)
        rgb = table[(255 * light).astype(np.uint8)]
    else:
        mean = np.stack([channel / np.maximum(density, 1e-9) for channel in colours], axis=-1)
        rgb = (255 * np.clip(mean, 0, 1) * light[..., None]).astype(np.uint8)
    return with_bars(rgb, pixel_um, None if colours is None else depth_um)


def compose_channels(densities: NDArray[np.float32], config: RenderConfig, pixel_um: float) -> Image.Image:
    """Compose the picture of channels (C, H, W), each in its colour and as bright as the others; colours add up."""
    rgb = np.zeros((*densities.shape[1:], 3), np.float32)
    for density, name in zip(densities, _CHANNEL_COLOURS, strict=False):
        colour = np.array(matplotlib.colors.to_rgb(name), np.float32)
        rgb += brightness(density, config.saturate, config.gamma)[..., None] * (colour / colour.max())
    words = [(f"channel {k}", name) for k, name in zip(range(len(densities)), _CHANNEL_COLOURS, strict=False)]
    return with_bars((255 * np.clip(rgb, 0, 1)).astype(np.uint8), pixel_um, named=words)


def with_bars(
    rgb: NDArray[np.uint8],
    pixel_um: float,
    depth_um: tuple[float, float] | None = None,
    words: str = "",
    named: Sequence[tuple[str, str]] = (),
) -> Image.Image:
    """Put a scale bar and `words` below colours (H, W, 3), and a bar of depths beside them where these are given.

    `named` are further words, each in a colour of its own.
    """
    enlarged = max(1, -(-_SMALLEST_SIDE_PX // max(rgb.shape[:2])))
    if enlarged > 1:
        rgb = rgb.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    height, width = rgb.shape[:2]
    text_px = int(np.clip(min(height, width) / 28, 12, 60))
    strip = int(6.5 * text_px) if depth_um is not None else 0
    below = 3 * text_px
    canvas = np.zeros((height + below, width + strip, 3), np.uint8)
    canvas[:height, :width] = rgb
    picture = Image.fromarray(canvas)
    pen, font = ImageDraw.Draw(picture), _font(text_px)
    bar_um = nice_length_um(0.25 * width / enlarged * pixel_um)
    bar_px = round(bar_um / pixel_um * enlarged)
    left, top = text_px, height + text_px
    pen.rectangle([left, top, left + bar_px, top + max(2, text_px // 4)], fill="white")
    label = f"{bar_um:g} µm" if bar_um >= 1 else f"{1e3 * bar_um:g} nm"
    pen.text((left + bar_px + text_px // 2, top + text_px // 8), label, fill="white", font=font, anchor="lm")
    if words:
        pen.text((width - text_px, top + text_px // 8), words, fill="white", font=font, anchor="rm")
    right = width - text_px
    for text, colour in reversed(named):
        pen.text((right, top + text_px // 8), text, fill=colour, font=font, anchor="rm")
        right -= round(pen.textlength(text, font=font)) + text_px
    if depth_um is not None:
        _depth_bar(picture, width, height, text_px, depth_um)
    return picture


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """Load matplotlib's own font: Pillow's has no µ."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size_px)


def _depth_bar(picture: Image.Image, left: int, height: int, text_px: int, depth_um: tuple[float, float]) -> None:
    pen, font = ImageDraw.Draw(picture), _font(text_px)
    top, bottom = 5 * text_px // 2, max(height - text_px, 4 * text_px)
    ramp = depth_colours(np.linspace(1, 0, bottom - top))
    bar = np.repeat((255 * ramp).astype(np.uint8)[:, None], text_px, axis=1)
    picture.paste(Image.fromarray(bar), (left + text_px // 2, top))
    pen.text((left + text_px // 2, text_px // 2), "z (µm)", fill="white", font=font)
    for part in (0.0, 0.5, 1.0):
        at = bottom - 1 - part * (bottom - 1 - top)
        value = depth_um[0] + part * (depth_um[1] - depth_um[0])
        pen.text((left + 2 * text_px, at), f"{value:.2f}", fill="white", font=font, anchor="lm")


def nice_length_um(longest_um: float) -> float:
    """Find the largest of 1, 2, 5 times a power of ten that is not above `longest_um`.

    >>> nice_length_um(3.9), nice_length_um(0.07)
    (2.0, 0.05)
    """
    power = 10.0 ** np.floor(np.log10(longest_um))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= longest_um * (1 + 1e-9)))


def _write_tiff(
    path: Path, image: NDArray[np.float32], pixel_um: float, region: Region, labels: Sequence[str] = ()
) -> None:
    (x0, _), (y0, _) = region
    about = f"pixel {pixel_um:.9g} um; the first pixel's outer corner is at x {x0:.9g}, y {y0:.9g} um"
    metadata = {"unit": "um", "axes": "YX" if image.ndim == 2 else "CYX", "Info": about}
    if image.ndim == 3:
        metadata |= {"Labels": list(labels), "mode": "grayscale"}
    tifffile.imwrite(path, image, imagej=True, resolution=(1.0 / pixel_um, 1.0 / pixel_um), metadata=metadata)
