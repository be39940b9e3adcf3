"""`colocus fabricate`: a mask in, files for the hardware out."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus fabricate`."""
    parser.add_argument(
        "settings", metavar="TOML | KEY=VALUE", nargs="*", help="a settings file, and settings like slm.pitch_um=8"
    )
    parser.add_argument("--mask", type=Path, metavar="FILE", help="a mask that Colocus saved, such as mask.npz")
    parser.add_argument("--out", type=Path, default=Path("runs/mask"), metavar="DIR", help="folder (runs/mask)")
    parser.epilog = (
        'Examples: make=["slm"] slm.grey_per_2pi=205 slm.correction=flat.bmp slm.flip_x=true; etch.levels=8 '
        "etch.pitch_um=20. Writes slm.png and .bmp; height.tif, .mat and height_nm.csv, levels.png; the masks as shown "
        "and as etched (.npz, for crlb and compare); robustness.png, .csv and .json; config.json names every setting."
    )


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Make, print and write; returns the exit status."""
    del argv
    print("colocus fabricate: loading", file=sys.stderr, flush=True)
    import dataclasses

    from rich.console import Console

    from experiments.instrument.fabricate import FabricateConfig, fabricate, table, write
    from experiments.settings import load_settings
    from training import ConfigError, MaskConfig
    from training.run_folder import check_folder

    files = [item for item in arguments.settings if "=" not in item]
    if len(files) > 1:
        raise ConfigError(f"one settings file at a time, not {', '.join(files)}; a mask goes behind --mask")
    check_folder(arguments.out)
    assignments = [item for item in arguments.settings if "=" in item]
    config = load_settings(FabricateConfig, files[0] if files else None, assignments)
    if arguments.mask is not None:
        config = dataclasses.replace(config, mask=MaskConfig("file", path=str(arguments.mask)))
    console = Console(file=sys.stderr, highlight=False)
    if console.is_terminal:
        with console.status("") as status:
            made = fabricate(config, report=lambda what, done, total: status.update(f"{what} ({done} of {total})"))
    else:
        made = fabricate(config)
    written = write(config, made, arguments.out)
    print("\n".join([*table(made), ""]))
    print("wrote " + ", ".join(map(str, written)))
    return 0
