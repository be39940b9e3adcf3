"""The one error of this folder."""


class NetsError(ValueError):
    """A configuration, input or weight file that cannot be right; the message names field and remedy."""
