"""`colocus design`: settings in, a mask of least bound out."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from experiments.status_line import StatusLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus design`."""
    parser.add_argument(
        "settings", metavar="TOML | KEY=VALUE", nargs="*", help="a settings file, and settings like photons=9000"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/design"), metavar="DIR", help="folder (runs/design)")
    parser.epilog = (
        "Without settings: 55 Zernike modes for 0 to 4 um in oil on water, 3500 photons on 50 per pixel. Examples: "
        "microscope.na=1.4 z_max_um=3.0; over_depths=worst; density_per_um2=0.5; parametrisation=pixel; "
        'max_range_um=1.0 level_um=0.1; start_masks=[{name="tetrapod"}]. Writes mask.npz and mask.mat (for a mask of '
        "name = file in other commands), config.json, which names every setting, design.json, bounds.csv and "
        "design.png. Ctrl-C keeps the best mask so far."
    )


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Search, score, print and write; returns the exit status."""
    del argv
    print("colocus design: loading", file=sys.stderr, flush=True)
    from experiments.instrument.design import DesignConfig, design
    from experiments.instrument.design_output import table, write, write_mask
    from experiments.settings import load_settings
    from training import ConfigError
    from training.run_folder import check_folder

    files = [item for item in arguments.settings if "=" not in item]
    if len(files) > 1:
        raise ConfigError(f"one settings file at a time, not {', '.join(files)}")
    out = arguments.out
    check_folder(out, unused=True)
    assignments = [item for item in arguments.settings if "=" in item]
    config = load_settings(DesignConfig, files[0] if files else None, assignments)
    with _Display() as display:
        result = design(config, report=display.show)
        write_mask(config, result, out)
        if result.design.finished:
            write(config, result, out)
    if not result.design.finished:
        print(f"\ncolocus: interrupted; the best mask so far is {out / 'mask.npz'}, not scored", file=sys.stderr)
        return 130
    print("\n".join([*table(config, result), "", f"The mask: {out / 'mask.npz'} and {out / 'mask.mat'}"]))
    print(f"Open {out / 'design.png'}")
    return 0


class _Display(StatusLine):
    """Where the search is: one line that changes in a terminal, a line a fifth elsewhere."""

    def __init__(self):
        super().__init__("compiling ...")
        self._since: dict[str, tuple[float, int]] = {}
        self._told = 0.0
        self._least = float("inf")

    def show(self, event: dict[str, Any]) -> None:
        """Take one event of `experiments.design.design`."""
        from experiments.progress import duration

        if event["event"] == "scoring":
            line = f"scoring: {event['mask']} ({event['done'] + 1} of {event['total']})"
            self.update(line, tell=event["done"] == 0)
            return
        stage, done, planned, now = event["stage"], event["done"], event["planned"], time.monotonic()
        if stage not in self._since:
            self._since[stage] = (now, done)
            self._told, self._least = 0.0, float("inf")
        since, first = self._since[stage]
        self._least = min(self._least, 1e3 * event["objective_um"])
        line = f"{stage}: {event['start']}, evaluation {done} of about {planned}, least {self._least:.2f} nm"
        if done > first:
            line += f", about {duration(max(planned - done, 0) * (now - since) / (done - first))} left, then scoring"
        tell = done / planned >= self._told + 0.2 or done == first
        if tell:
            self._told = done / planned if done > first else 0.0
        self.update(line, tell=tell)
