"""`colocus render`: a localization list as a picture, float32 for measuring (TIFF) or coloured for looking (PNG)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from localization import Localizations, image_shape, table_region_um, to_image
from localization.pictures.render_image import Region, RenderMode
from optics.whole_file import whole_file
from training import ConfigError

_LOOKED_AT_MAX = 60_000_000  # pixels of a PNG: more than any screen or page
_SMALLEST_SIDE_PX = 480
_SAMPLED_PIXELS = 2_000_000
_NM_PER_UM = 1000.0


@dataclass(frozen=True)
class RenderConfig:
    """What to draw: lengths in nm and um as named; None means from the table.

    `saturate` is the share of lit pixels that are drawn unsaturated, `gamma` the power of the brightness; both
    change a PNG alone.
    """

    pixel_nm: float = 10.0
    mode: RenderMode = "histogram"
    depth: bool = False
    region_um: tuple[float, float, float, float] | None = None
    z_range_um: tuple[float, float] | None = None
    sigma_nm: float | None = None
    min_sigma_nm: float = 0.0
    saturate: float = 0.995
    gamma: float = 0.6


def render(locs: Localizations, config: RenderConfig, out: Path, *, say: Callable[[str], None] = print) -> list[str]:
    """Draw a table into `out` (.tif or .png, whole or not at all); lines that say what was drawn.

    A TIFF holds rows per pixel as float32 (with `depth`, a second channel with their mean z in um, NaN where there
    are none), pixel size and unit as ImageJ reads them, and the place of the first pixel in its description. A PNG
    has a scale bar, and with `depth` the colour of each row's z and a colour bar. Raises ConfigError and
    LocalizationError for what cannot be drawn.
    """
    suffix = out.suffix.lower()
    if suffix not in (".tif", ".tiff", ".png"):
        raise ConfigError(f"{out}: unknown kind of picture; name it .tif (for measuring) or .png (for looking)")
    if not (0 < config.saturate <= 1 and 0 < config.gamma <= 4):
        raise ConfigError(f"saturate is {config.saturate} and gamma {config.gamma}; need 0 to 1, and 0 to 4")
    pixel_um = config.pixel_nm / _NM_PER_UM
    region = _region(locs, config, pixel_um)
    looked_at = suffix == ".png"
    limit = {"max_pixels": _LOOKED_AT_MAX} if looked_at else {}
    height, width = image_shape(pixel_um, region, **limit)
    low, high = depth_range_um(locs, config) if config.depth else (0.0, 0.0)

    def draw(weights: NDArray | None = None) -> NDArray[np.float32]:
        return to_image(
            locs,
            pixel_um,
            mode=config.mode,
            region_um=region,
            z_range_um=config.z_range_um,
            sigma_um=None if config.sigma_nm is None else config.sigma_nm / _NM_PER_UM,
            min_sigma_um=config.min_sigma_nm / _NM_PER_UM,
            weights=weights,
        )

    say("drawing")
    density = draw()
    if looked_at:
        colours = None
        if config.depth:
            of_row = depth_colours((locs.z_um - low) / (high - low))
            colours = []
            for channel in range(3):
                say(f"drawing, colour {channel + 1} of 3")
                colours.append(draw(of_row[:, channel]))
        say("writing")
        picture = compose(density, colours, config, pixel_um, (low, high))
        with whole_file(out) as part:
            picture.save(part, format="PNG")
    else:
        channels = density
        if config.depth:
            say("drawing, depth")
            with np.errstate(invalid="ignore", divide="ignore"):
                mean_z = np.where(density > 1e-6, draw(locs.z_um) / density, np.nan).astype(np.float32)
            channels = np.stack([density, mean_z])
        say("writing")
        _write_tiff(out, channels, pixel_um, region)
    inside = float(density.sum(dtype=np.float64))
    lines = [
        f"{width} x {height} pixels of {config.pixel_nm:g} nm, x {region[0][0]:.3f} to {region[0][1]:.3f} um, "
        f"y {region[1][0]:.3f} to {region[1][1]:.3f} um",
        f"{inside:.0f} of {locs.frame.size} localizations in the picture",
    ]
    if config.depth:
        lines.append(f"depth from {low:.3f} to {high:.3f} um")
    return lines


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
        margin_um = 4.0 * (float(np.median(known)) if given is None else given / _NM_PER_UM)
    return table_region_um(locs, pixel_um, margin_um)


def depth_range_um(locs: Localizations, config: RenderConfig) -> tuple[float, float]:
    """The depths at the ends of the colour bar: those asked for, or the central 98 % of the table."""
    if config.z_range_um is not None:
        return config.z_range_um
    if locs.frame.size == 0:
        return 0.0, 1.0
    low, high = np.quantile(locs.z_um, [0.01, 0.99])
    if high <= low:
        raise ConfigError("every localization has the same z; draw without --depth")
    return float(low), float(high)


def depth_colours(part: NDArray) -> NDArray[np.float32]:
    """Colours (n, 3) of depths from 0 to 1: viridis, each scaled to full brightness, which the density dims."""
    table = matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]
    table = table / table.max(axis=1, keepdims=True)
    return table[np.clip(np.asarray(part) * 255, 0, 255).astype(int)].astype(np.float32)


def brightness(density: NDArray[np.float32], saturate: float, gamma: float) -> NDArray[np.float32]:
    """0 to 1: the density over that of the `saturate` quantile of lit pixels, to the power `gamma`."""
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
    """The picture with its scale bar and, where `colours` are given, a bar of depths."""
    light = brightness(density, config.saturate, config.gamma)
    if colours is None:
        table = (255 * matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]).round().astype(np.uint8)
        rgb = table[(255 * light).astype(np.uint8)]
    else:
        mean = np.stack([channel / np.maximum(density, 1e-9) for channel in colours], axis=-1)
        rgb = (255 * np.clip(mean, 0, 1) * light[..., None]).astype(np.uint8)
    enlarged = max(1, -(-_SMALLEST_SIDE_PX // max(density.shape)))
    if enlarged > 1:
        rgb = rgb.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    height, width = rgb.shape[:2]
    text_px = int(np.clip(min(height, width) / 28, 12, 60))
    strip = int(6.5 * text_px) if colours is not None else 0
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
    if strip:
        _depth_bar(picture, width, height, text_px, depth_um)
    return picture


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """matplotlib's own font: Pillow's has no µ."""
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
    """The largest of 1, 2, 5 times a power of ten that is not above `longest_um`.

    >>> nice_length_um(3.9), nice_length_um(0.07)
    (2.0, 0.05)
    """
    power = 10.0 ** np.floor(np.log10(longest_um))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= longest_um * (1 + 1e-9)))


def _write_tiff(out: Path, image: NDArray[np.float32], pixel_um: float, region: Region) -> None:
    (x0, _), (y0, _) = region
    about = f"pixel {pixel_um:.9g} um; the first pixel's outer corner is at x {x0:.9g}, y {y0:.9g} um"
    metadata = {"unit": "um", "axes": "YX" if image.ndim == 2 else "CYX", "Info": about}
    if image.ndim == 3:
        metadata |= {"Labels": ["localizations per pixel", "mean z in um"], "mode": "grayscale"}
    resolution = (1.0 / pixel_um, 1.0 / pixel_um)
    with whole_file(out) as part:
        tifffile.imwrite(part, image, imagej=True, resolution=resolution, metadata=metadata)
