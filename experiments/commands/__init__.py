"""The commands of `colocus`, a file each: what it is about, its group, its arguments, and the job it hands them to.

A command's module holds `ABOUT` (sentences; `colocus --help` shows the first), `GROUP` (a key of
`experiments.cli.GROUPS`), `add_arguments(parser)` and `main(arguments, argv) -> int`. It imports nothing heavy at its
top: help must answer at once.
"""

import pkgutil

# name on the command line: module; a program of yours may add its own before it calls `experiments.cli.main`
COMMANDS: dict[str, str] = {
    item.name.rpartition(".")[2].replace("_", "-"): item.name
    for item in pkgutil.walk_packages(__path__, f"{__name__}.")
    if not item.ispkg and not item.name.endswith(".arguments")  # which the others share
}
# the page stands above the commands, so it is named here and not imported
COMMANDS["app"] = "app.command"
