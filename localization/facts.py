"""What a movie says of itself beside what a setting says: one place that compares them."""

from localization.types import MovieFacts

_LEAST_DIFFERENCE = 0.01  # makers round their magnifications to a hundredth


def compare_facts(movie: MovieFacts, settings: MovieFacts, *, of: str, says: str = "the movie") -> list[str]:
    """Say where a movie's pixel, frame, exposure or interval differ by more than 1 % from those of a setting.

    `of` names whose the settings are, `says` whose the facts. What either does not know is not compared. Whoever
    receives these lines shows them: a length in the wrong pixel is wrong by as much, and nothing else tells.

    >>> compare_facts(MovieFacts(pixel_um=0.108, exposure_s=0.03), MovieFacts(pixel_um=0.11), of="the PSF")
    ['the movie says 108 nm a pixel, the PSF 110 nm: check which is right']
    """
    lines = []
    for name, of_what, unit, factor in (
        ("pixel_um", "a pixel", "nm", 1e3),
        ("exposure_s", "of exposure", "ms", 1e3),
        ("interval_s", "from frame to frame", "ms", 1e3),
    ):
        one, other = getattr(movie, name), getattr(settings, name)
        if one and other and abs(one - other) > _LEAST_DIFFERENCE * max(one, other):
            lines.append(
                f"{says} says {one * factor:.4g} {unit} {of_what}, {of} {other * factor:.4g} {unit}: "
                "check which is right"
            )
    if movie.frame_px and settings.frame_px and movie.frame_px != settings.frame_px:
        shapes = [f"{height} x {width} px" for height, width in (movie.frame_px, settings.frame_px)]
        lines.append(f"{says} says frames of {shapes[0]}, {of} {shapes[1]}: check which is right")
    return lines
