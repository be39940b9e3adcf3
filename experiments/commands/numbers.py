"""Lists of numbers on the command line: --region 0,10,0,10."""

from typing import Any


def numbers(option: str, text: str | None, count: int) -> Any:
    """A tuple of `count` numbers from comma-separated text; None for None. Raises ConfigError.

    >>> numbers("--z", "-1,2.5", 2)
    (-1.0, 2.5)
    """
    if text is None:
        return None
    from training import ConfigError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise ConfigError(f"{option} is {text!r}; give {count} numbers with commas between them")
    return values
