"""`colocus generate fit | sample`: learn scenes from a movie; write labelled frames of them."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from experiments.status_line import StatusLine

_FIT_ONLY = ("psf", "camera", "minutes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus generate`."""
    parser.usage = (
        "colocus generate fit MOVIE --psf PSF --out RUN [SETTINGS] [KEY=VALUE ...]\n"
        "       colocus generate sample RUN -n 1000 --out DIR [KEY=VALUE ...]"
    )
    parser.add_argument("what", metavar="fit | sample", choices=("fit", "sample"), help="learn, or draw")
    parser.add_argument("source", metavar="MOVIE | RUN", help="a movie, or a fitted generator")
    text = "a preset or TOML file; settings like crops=100, or density=2"
    parser.add_argument("settings", metavar="SETTINGS", nargs="*", default=[], help=text)
    parser.add_argument("--psf", metavar="PSF", help="fit: a psf.npz, or an experiment with the optics")
    parser.add_argument("--camera", metavar="TOML", help="fit: the camera.toml of colocus calibrate-camera")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--resume", action="store_true", help="fit: go on where it was stopped")
    parser.add_argument("--minutes", type=float, metavar="M", help="fit: stop after M minutes, to be resumed")
    parser.add_argument("-n", type=int, metavar="N", help="sample: frames (1000)")
    parser.epilog = (
        "Settings: generator, generator-2d, generator-parity, generator-tiny. Keys of fit: z_min_um, z_max_um, "
        "crop_px, crops, slots, fit.steps, learn_psf, photometry, ... (config.json names all). Keys of sample: "
        "density, brightness (factors), places=near|even|both, depths=even|movie, frame_px, seed. Then: colocus "
        "train | codesign | compare --scenes RUN."
    )


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Fit or sample; returns the exit status."""
    return (_fit if arguments.what == "fit" else _sample)(arguments, argv)


def _fit(arguments: argparse.Namespace, argv: list[str]) -> int:
    print("colocus generate: loading", file=sys.stderr, flush=True)
    from experiments.cli import resume_command
    from experiments.generator.fit import fit, generator_config, table
    from training import ConfigError, TimeLimit

    if arguments.n is not None:
        raise ConfigError("-n belongs to colocus generate sample; crops=N says how many crops are learned from")
    files = [item for item in arguments.settings if "=" not in item]
    if len(files) > 1:
        raise ConfigError(f"one settings file at a time, not {', '.join(files)}")
    if arguments.minutes is not None and not arguments.minutes > 0:
        raise ConfigError(f"--minutes {arguments.minutes:g} must be positive")
    if arguments.psf is None and not files:
        raise ConfigError("say what the optics are: --psf psf.npz (of colocus retrieve), or an experiment's TOML")
    assignments = [item for item in arguments.settings if "=" in item]
    config = generator_config(arguments.psf, files[0] if files else None, assignments, arguments.camera)
    deadline = None if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    try:
        with _Display() as display:
            metrics = fit(
                Path(arguments.source), config, arguments.out,
                resume=arguments.resume, report=display.show, deadline_s=deadline,
            )  # fmt: skip
    except TimeLimit:
        print(f"colocus: time limit reached; to go on: {resume_command(argv)}", file=sys.stderr)
        return 3
    print("\n".join(table(metrics)))
    print(f"\nOpen {arguments.out / 'report.html'}")
    return 0


def _sample(arguments: argparse.Namespace, argv: list[str]) -> int:
    del argv
    print("colocus generate: loading", file=sys.stderr, flush=True)
    from experiments.generator.sample import SampleConfig, sample
    from experiments.settings import load_settings
    from training import ConfigError

    for name in _FIT_ONLY:
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name} belongs to colocus generate fit")
    wrong = [item for item in arguments.settings if "=" not in item]
    if wrong:
        raise ConfigError(f"{wrong[0]!r} is not KEY=VALUE, like density=2")
    assignments = list(arguments.settings) + ([f"frames={arguments.n}"] if arguments.n is not None else [])
    config = load_settings(SampleConfig, None, assignments)
    with _Display() as display:
        done = sample(arguments.source, config, arguments.out, display.show)
    for note in done.notes:
        print(f"- {note}")
    print(f"{done.frames} frames with {done.emitters} emitters: {arguments.out / 'frames.tif'}, localizations.csv")
    return 0


class _Display(StatusLine):
    """Where a fit or a sampling is: one line that changes in a terminal, few lines elsewhere."""

    def __init__(self) -> None:
        super().__init__("loading")
        self._told, self._kind, self._since, self._done = 0.0, "", (0.0, 0), 0

    def show(self, event: dict[str, Any]) -> None:
        """Take one event of a fit or a sampling."""
        if event["event"] == "stage":
            self.update(event["stage"] + " ...", tell=True)
            return
        done, total = (event["done"], event["total"]) if event["event"] == "frames" else (event["step"], event["steps"])
        kind = {"step": "learning, step", "frames": "frame"}.get(event["event"], event.get("what", "") + ", crop")
        now = time.monotonic()
        if kind != self._kind or done < self._done:  # a later round of the same counts anew
            self._kind, self._told, self._since = kind, 0.0, (now, done)
        self._done = done
        line = f"{kind} {done} of {total}"
        if "loss" in event:
            line += f", {event['loss']:.3f} nats a pixel"
        since, first = self._since
        if done > first:
            from experiments.progress import duration

            line += f", about {duration((total - done) * (now - since) / (done - first))} left of this"
        tell = done / total >= self._told + 0.2 or done == total
        if tell:
            self._told = done / total
        self.update(line, tell=tell)
