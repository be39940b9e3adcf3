"""`colocus convert`: arguments in, a table or movie in another format out."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.commands.arguments import add_movie_options, config_of, loading, movie_options, run

ABOUT = "Write a localization table, or a movie, in another file format. Says what is lost."
GROUP = "movies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus convert`."""
    parser.usage = "colocus convert IN [--out FILE] [--to FORMAT] [OPTIONS]"
    parser.add_argument("source", type=Path, metavar="IN", help="a localization table, or a movie")
    parser.add_argument("--out", type=Path, metavar="FILE", help="what to write (beside IN, with --to)")
    parser.add_argument("--to", metavar="FORMAT", help="format of the table; else the ending of FILE says it")
    parser.add_argument("--from", dest="source_format", metavar="FORMAT", help="format of IN, if not recognised")
    parser.add_argument("--pixel", type=float, metavar="NM", help="camera pixel in the sample")
    parser.add_argument("--frame", metavar="HxW", help="height and width of a frame in pixels")
    parser.add_argument("--z-zero", type=float, default=0.0, metavar="NM", help="lower end of DeepSTORM3D's range")
    parser.add_argument("--frames-from", type=int, choices=(0, 1), help="number of a text table's first frame")
    parser.add_argument("--origin", choices=("corner", "centre"), help="of the first pixel, where a text table has 0")
    for name in ("frames", "rows", "columns"):
        parser.add_argument(f"--{name}", metavar="A:B", help="part of a movie, counted from 0")
    add_movie_options(parser)


def notes() -> str:
    """List the formats for the help page; to know them takes a second, so that this is asked for there alone."""
    from localization.io import formats

    return f"Formats: {formats.summary()}. Movies become .ome.tif or .zarr."


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Convert and say what was lost; returns the exit status."""
    loading(arguments)
    import re

    from experiments.lists.convert import ConvertConfig, convert
    from experiments.reading.localize import parse_span
    from training import ConfigError

    frame_px = None
    if arguments.frame is not None:
        found = re.fullmatch(r"(\d+)[xX](\d+)", arguments.frame)
        if found is None:
            raise ConfigError(f"--frame {arguments.frame}: write height and width in pixels, such as 256x512")
        frame_px = (int(found[1]), int(found[2]))
    if arguments.pixel is not None and not 0 < arguments.pixel < 1e6:
        raise ConfigError(f"--pixel {arguments.pixel:g} must be a positive number of nm, such as 110")
    spans: dict[str, Any] = {
        name: None if (text := getattr(arguments, name)) is None else parse_span(text)
        for name in ("frames", "rows", "columns")
    }
    pixel_um = None if arguments.pixel is None else arguments.pixel / 1000.0
    config = config_of(
        arguments,
        ConvertConfig,
        source=arguments.source_format,
        pixel_um=pixel_um,
        frame_px=frame_px,
        opening=movie_options(arguments),
        z_zero_um=arguments.z_zero / 1000.0,
        **spans,
    )
    print("\n".join(run(lambda report: convert(arguments.source, arguments.out, config, report)).lines()))
    return 0
