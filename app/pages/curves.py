"""Curves as SVG, in the page's own colours: lines told apart by dashes and names too, not by colour alone."""

import html
import math
from collections.abc import Sequence

Line = tuple[str, str, str, Sequence[float | None]]  # name, colour, dashes, values
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420.0, 196.0, 44.0, 34.0, 22.0
_LETTER, _ROOM = 5.2, 44.0  # widths of a letter, and of what stands before a name


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`.

    >>> ticks(0.0, 10.0)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    rough = max(high - low, 1e-12) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(float(k * step), 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def curves_svg(x: Sequence[float], lines: Sequence[Line], x_label: str, y_label: str, *, from_zero: bool = True) -> str:
    """Draw lines over `x` as SVG; None leaves a gap. Values beyond eight times the median are cut off.

    >>> curves_svg([0.0, 1.0], [("x", "#000", "", [1.0, None])], "depth", "nm")[:4]
    '<svg'
    """
    known = sorted(value for _, _, _, values in lines for value in values if value is not None and math.isfinite(value))
    if not known or len(x) < 2:
        return ""
    top = min(known[-1], 8 * known[len(known) // 2]) if from_zero else known[-1]
    bottom = 0.0 if from_zero else known[0]
    top = top if top > bottom else bottom + 1.0
    wide, high = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - _TOP
    span = max(x[-1] - x[0], 1e-12)

    def at(value_x: float, value_y: float) -> tuple[float, float]:
        return _LEFT + wide * (value_x - x[0]) / span, _TOP + high * (1 - (value_y - bottom) / (top - bottom))

    parts = []
    for tick in ticks(bottom, top):
        y = at(x[0], tick)[1]
        parts += [f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" '
                  'opacity=".15"/>',
                  f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>']  # fmt: skip
    for tick in ticks(x[0], x[-1]):
        place = at(tick, bottom)[0]
        parts.append(f'<text x="{place:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">{tick:g}</text>')
    key = _LEFT
    for name, colour, dashes, values in lines:
        pen, path = "M", []
        for place, value in zip(x, values, strict=True):
            if value is None or not math.isfinite(value):
                pen = "M"
                continue
            path.append("{}{:.1f} {:.1f}".format(pen, *at(place, min(max(value, bottom), top))))
            pen = "L"
        stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        parts.append(f'<path d="{" ".join(path)}" fill="none" {stroke}/>')
        parts += [f'<line x1="{key:g}" x2="{key + 22:g}" y1="8" y2="8" {stroke}/>',
                  f'<text x="{key + 26:g}" y="11.5">{html.escape(name)}</text>']  # fmt: skip
        key += _ROOM + _LETTER * len(name)
    middle = _TOP + high / 2
    parts += [
        f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{html.escape(x_label)}</text>',
        f'<text x="10" y="{middle}" text-anchor="middle" transform="rotate(-90 10 {middle})">'
        f"{html.escape(y_label)}</text>",
    ]
    head = f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" width="100%" role="img" font-size="10" fill="currentColor"'
    return f'{head} aria-label="{html.escape(y_label)} over {html.escape(x_label)}">{"".join(parts)}</svg>'
