"""A second colour in a movie of its own: reconstructed by the same plan, and laid onto the first."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.lists.register import Registered, TwoColours, register_colours
from experiments.reconstruction.job import PLAN, reconstruct
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps import after
from localization import read
from optics.progress import Report, silent

if TYPE_CHECKING:
    from distributed import Client

FOLDER, REGISTERED = "second", "second_registered.csv"


def second_colour(
    movie: Path | str,
    out: Path | str,
    plan: Plan,
    *,
    resume: bool = False,
    deadline_s: float | None = None,
    client: "Client | None" = None,
    report: Report = silent,
) -> Registered:
    """Reconstruct the second movie in `out`/second, by the plan of the first, whose run in `out` is done.

    Its list is laid onto the first one by common structures and written to `out`/second_registered.csv, with the
    overlay and the numbers beside it. Raises what `reconstruct` raises, and `LocalizationError` where the two colours
    show nothing in common: both lists stay, for `colocus register --beads`.

    >>> second_colour("no-such-movie.tif", "no-such-run", Plan())
    Traceback (most recent call last):
    localization.types.LocalizationError: ...no-such-movie.tif: no such file or folder; check the name
    """
    out = Path(out)
    own = replace(plan, movie=str(movie))
    again = resume and (out / FOLDER / PLAN).exists()
    done = reconstruct(movie, out / FOLDER, own, resume=again, deadline_s=deadline_s, client=client, report=report)
    colours = TwoColours(read(out / after.FILE), read(done.folder / after.FILE))
    found = register_colours(colours, report=report)
    found.write(out / REGISTERED)
    return found
