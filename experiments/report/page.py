"""A page in one file that needs no network: text, tables, and its pictures inside."""

import base64
import html
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

from experiments.report.plot_style import DPI


def page(title: str, subtitle: str, sentences: Sequence[str], note: str, body: str) -> str:
    """Compose the whole page: a heading, sentences that say what was found, a note on how, and ready-made sections."""
    template = Template((resources.files("experiments") / "report" / "templates" / "report.html").read_text())
    return template.substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        verdict="\n".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences),
        interval_note=html.escape(note),
        body=body,
    )


class Figures:
    """Embeds the figures that there are."""

    def __init__(self, figures: dict[str, Path]):
        self._figures = figures

    def figure(self, name: str, heading: str, caption: str) -> str:
        if name not in self._figures:
            return ""
        png = self._figures[name].read_bytes()
        width_px = int.from_bytes(png[16:20], "big") * 96 / DPI  # letters have one size in all
        title, source = html.escape(heading), base64.b64encode(png).decode()
        image = f'<img style="--width:{width_px:.0f}px" alt="{title}" src="data:image/png;base64,{source}">'
        note = f"<figcaption>{html.escape(caption)}</figcaption>"
        return f'<h2>{title}</h2>\n<figure><div class="wide">{image}</div>{note}</figure>'


def table(caption: str, head: list[str], rows: list[list[str]], groups: set[int] | None = None) -> str:
    """Lay out a table of ready-made cells; `groups` are the rows that begin a group."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = []
    for number, row in enumerate(rows):
        kind = ' class="group"' if groups and number in groups else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>")
    return (
        f'<div class="wide"><table><caption>{caption}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
