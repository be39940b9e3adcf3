"""The sixth step: which method reads the frames, and why."""

from dataclasses import dataclass

from experiments.reconstruction.finding import Finding
from experiments.reconstruction.methods import AUTO, METHODS, Known
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.steps.crowd import Crowd
from training import ConfigError

MOSTLY = 0.8  # share of crowded windows from which on fitting singly first is time lost


@dataclass(frozen=True)
class Choice(Finding):
    """The method that reads the frames, and the sentence that says why."""

    method: str = ""
    why: str = ""

    def lines(self) -> list[str]:
        """Say the choice and the other methods there are."""
        others = ", ".join(name for name in METHODS if name != self.method)
        return [f"{self.method}: {METHODS[self.method].title}", f"why: {self.why}", f"others: {others}"]


def choose_reader(plan: Plan, crowd: Crowd, known: Known) -> Choice:
    """Choose how the frames are read: what the plan names, else by how many windows hold molecules that touch.

    Single fits with joint ones where molecules touch ("classical") give what joint fits give, and save the time of
    those windows where nothing touches; where nearly all windows hold some that do, they only come first for nothing.
    Raises `ConfigError` for a method that cannot be taken.
    """
    asked = plan.reader.method
    if asked != AUTO:
        if why_not := METHODS[asked].refused(known):
            raise ConfigError(f"reader.method = {asked!r} cannot be taken: {why_not}")
        return Choice(asked, "the plan says so")
    share = f"{100 * crowd.crowded_share:.0f} % of the windows hold molecules that touch"
    if known.model:
        return Choice("decoder+joint", f"a trained network is named ({known.model}); the joint fit decides what stays")
    if crowd.crowded_share > MOSTLY:
        return Choice("joint", f"{share}, so that single fits would come first for nothing")
    return Choice(
        "classical", f"{share}: those are read jointly, the others by fits of single molecules, which is quicker"
    )
