"""Further columns that several programs know: one name here, and what each program calls it.

A column under one of these names goes from one program's table to another's; any other keeps the label of its file,
`name [unit]`. `EXTRAS` says what a name means, `NATIVE` which label a format has for it. Lengths are in um (`_um`),
light in photons. Labels as written by ThunderSTORM 1.3, Picasso 0.11.3 and 1.0.0a1 (`postprocess.link` counts in `n`)
and DECODE 0.10.
"""

from collections.abc import Callable, Mapping

EXTRAS: Mapping[str, str] = {
    "width_x_um": "standard deviation of the fitted spot along x",
    "width_y_um": "standard deviation of the fitted spot along y",
    "detections": "number of localizations that were merged into the row",
    "background_noise": "standard deviation of the background around the spot, photons",
    "chi2": "chi squared of the fit",
    "group": "the group (structure, cluster, molecule, pick) that the row belongs to",
    "net_gradient": "net gradient of the spot that was fitted",
    "log_likelihood": "logarithm of the likelihood of the fit",
    "p_channel": "probability of the channel, of those that were told apart",
}

_SAME = {name: name for name in EXTRAS}
NATIVE: Mapping[str, Mapping[str, str]] = {
    "thunderstorm": _SAME
    | {"width_x_um": "sigma1 [nm]", "width_y_um": "sigma2 [nm]", "background_noise": "bkgstd [photon]"},
    "picasso": _SAME | {"width_x_um": "sx", "width_y_um": "sy", "chi2": "chi_square", "detections": "n"},
    "decode": {"group": "id", "phot_sig": "phot_sig", "bg_sig": "bg_sig", "phot_cr": "phot_cr", "bg_cr": "bg_cr"},
}


def keeps_any(*taken: str) -> Callable[[str], bool]:
    """Make the `keeps` of a format that holds any further column, except under the labels of its own columns.

    >>> keeps_any("x", "y")("chi2"), keeps_any("x", "y")("x")
    (True, False)
    """
    return lambda label: label not in taken


def keeps_native(name: str) -> Callable[[str], bool]:
    """Make the `keeps` of a format that holds the further columns that `NATIVE` lists for it, and no others.

    >>> keeps_native("decode")("group"), keeps_native("decode")("chi2")
    (True, False)
    """
    return lambda label: label in NATIVE[name]


def keeps_none(label: str) -> bool:
    """Be the `keeps` of a format without further columns."""
    return False
