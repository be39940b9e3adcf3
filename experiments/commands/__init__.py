"""The commands of `colocus`, a file each: what it is about, its group, its arguments, and the job it hands them to.

A command's module holds `ABOUT` (sentences; `colocus --help` shows the first), `GROUP` (a key of
`experiments.cli.GROUPS`), `add_arguments(parser)` and `main(arguments, argv) -> int`. It imports nothing heavy at its
top: help must answer at once.
"""

import pkgutil

# name on the command line: module; a program of yours may add its own before it calls `experiments.cli.main`
COMMANDS: dict[str, str] = {
    item.name.replace("_", "-"): f"{__name__}.{item.name}"
    for item in pkgutil.iter_modules(__path__)
    if item.name != "arguments"  # shared by the others
}
