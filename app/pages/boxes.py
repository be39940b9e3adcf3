"""Rectangles on a frame: the field to reconstruct, where molecules lie apart, what is left out; drawn, moved, named."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nicegui import ui

from app.pages import layout

FIELD, SPARSE, LEAVE_OUT = "field", "sparse", "leave out"
COLOUR = {FIELD: "#E69F00", SPARSE: "#56B4E9", LEAVE_OUT: "#CC79A7"}
_SAID = {
    FIELD: "Draw a box on the frame, or type its corners. Empty: the whole frame.",
    SPARSE: "Where molecules lie apart: their width and light are taken from there. Empty: from everywhere.",
    LEAVE_OUT: "Molecules in these boxes are not listed; as many boxes as are drawn.",
}
_CORNERS = ("x0", "y0", "x1", "y1")
_LEAST_PX = 2


class Box:
    """A rectangle of pixels of a frame, drawn or typed; None for none."""

    def __init__(self, height: int, width: int, name: str = "") -> None:
        self.height, self.width, self.name = height, width, name
        self.corners: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1; the last two are outside

    def set(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Take two corners, whichever way they were drawn, to whole pixels within the frame."""
        left, right = sorted((x0, x1))
        top, bottom = sorted((y0, y1))
        found = (
            max(0, math.floor(left)), max(0, math.floor(top)),
            min(self.width, math.ceil(right)), min(self.height, math.ceil(bottom)),
        )  # fmt: skip
        self.corners = found if min(found[2] - found[0], found[3] - found[1]) >= _LEAST_PX else None

    def holds(self, x: float, y: float) -> bool:
        """Ask whether a place lies in it."""
        if self.corners is None:
            return False
        x0, y0, x1, y1 = self.corners
        return x0 <= x < x1 and y0 <= y < y1

    def moved(self, from_: tuple[int, int, int, int], dx: float, dy: float) -> None:
        """Take corners `from_` moved by so many pixels, as far as the frame goes."""
        x0, y0, x1, y1 = from_
        right = min(max(round(dx), -x0), self.width - x1)
        down = min(max(round(dy), -y0), self.height - y1)
        self.corners = (x0 + right, y0 + down, x1 + right, y1 + down)

    def text(self) -> str:
        """Write it as a plan does, columns first: "10:41 8:64 its name"."""
        if self.corners is None:
            return ""
        x0, y0, x1, y1 = self.corners
        return f"{x0}:{x1} {y0}:{y1} {self.name.strip()}".strip()

    def settings(self) -> dict[str, Any]:
        """Return it as the plan's field.

        >>> box = Box(64, 64)
        >>> box.set(40.2, 8, 10, 70)
        >>> box.settings()
        {'rows': '8:64', 'columns': '10:41'}
        """
        if self.corners is None:
            return {}
        x0, y0, x1, y1 = self.corners
        return {"rows": f"{y0}:{y1}", "columns": f"{x0}:{x1}"}


class Boxes:
    """All rectangles of a frame, and which of them is drawn now: `use`, and of those to be left out number `chosen`."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.field, self.sparse = Box(height, width), Box(height, width)
        self.left_out: list[Box] = []
        self.use, self.chosen = FIELD, 0
        self._drag: tuple[float, float, tuple[int, int, int, int] | None] | None = None

    @property
    def box(self) -> Box | None:
        """The rectangle that is drawn, typed and moved now; None where there is none to be left out."""
        if self.use != LEAVE_OUT:
            return self.field if self.use == FIELD else self.sparse
        return self.left_out[self.chosen] if self.chosen < len(self.left_out) else None

    def add(self) -> Box:
        """Add one that is to be left out, and choose it."""
        self.left_out.append(Box(self.height, self.width, f"region {len(self.left_out) + 1}"))
        self.chosen = len(self.left_out) - 1
        return self.left_out[-1]

    def remove(self, number: int) -> None:
        """Take one of those to be left out away."""
        del self.left_out[number]
        self.chosen = max(0, min(self.chosen, len(self.left_out) - 1))

    def press(self, x: float, y: float) -> None:
        """Begin to move the rectangle under the pointer, or to draw one."""
        if self.use == LEAVE_OUT:
            under = [number for number, box in enumerate(self.left_out) if box.holds(x, y)]
            self.chosen = under[-1] if under else len(self.left_out)
        box = self.box
        self._drag = (x, y, box.corners if box is not None and box.holds(x, y) else None)

    def drag(self, x: float, y: float) -> bool:
        """Move or draw on to a place; False where the button is not down."""
        if self._drag is None:
            return False
        begun_x, begun_y, held = self._drag
        if held is not None and self.box is not None:
            self.box.moved(held, x - begun_x, y - begun_y)
        elif max(abs(x - begun_x), abs(y - begun_y)) >= 1:
            (self.box or self.add()).set(begun_x, begun_y, x, y)
        return True

    def release(self, x: float, y: float) -> bool:
        """End it; a click beside a rectangle takes it away, one on it changes nothing. False where none was begun."""
        if not self.drag(x, y) or self._drag is None:
            return False
        begun_x, begun_y, held = self._drag
        self._drag = None
        if held is None and max(abs(x - begun_x), abs(y - begun_y)) < 1 and self.use != LEAVE_OUT:
            assert self.box is not None
            self.box.corners = None
        self.left_out = [box for box in self.left_out if box.corners is not None]
        self.chosen = max(0, min(self.chosen, len(self.left_out) - 1))
        return True

    def let_go(self) -> None:
        """Forget a way that was begun and not ended, with the pointer outside."""
        self._drag = None

    def settings(self) -> dict[str, Any]:
        """Return them as a plan does."""
        out = [box.text() for box in self.left_out if box.corners is not None]
        sparse = {"sparse": self.sparse.text()} if self.sparse.corners is not None else {}
        return self.field.settings() | sparse | ({"leave_out": out} if out else {})

    def take(self, plan: Mapping[str, Any]) -> None:
        """Take the rectangles of a plan, as `settings` writes them.

        >>> boxes = Boxes(64, 64)
        >>> boxes.take({"rows": "8:64", "columns": "", "leave_out": ["10:41 8:64 nucleus"]})
        >>> boxes.field.corners, boxes.left_out[0].text()
        ((0, 8, 64, 64), '10:41 8:64 nucleus')
        """

        def fill(box: Box, columns: str, rows: str, name: str = "") -> None:
            spans = [span.split(":") for span in (columns or f"0:{self.width}", rows or f"0:{self.height}")]
            if all(len(span) == 2 and all(end.strip().isdigit() for end in span) for span in spans):
                (x0, x1), (y0, y1) = ([int(end) for end in span] for span in spans)
                box.set(x0, y0, x1, y1)
                box.name = name or box.name

        left_out = plan.get("leave_out")
        columns, rows = (str(plan.get(name) or "") for name in ("columns", "rows"))
        if columns or rows:
            fill(self.field, columns, rows)
        for text, box in [
            (plan.get("sparse"), lambda: self.sparse),
            *((t, self.add) for t in (left_out if isinstance(left_out, list) else [])),
        ]:
            if len(parts := str(text or "").split(maxsplit=2)) >= 2:
                fill(box(), *parts)

    def svg(self) -> str:
        """Draw them."""
        line, parts = max(self.width, self.height) / 400, []
        named = [(FIELD, self.field, ""), (SPARSE, self.sparse, "sparse")]
        for use, box, name in [*named, *((LEAVE_OUT, box, box.name) for box in self.left_out)]:
            if box.corners is None:
                continue
            x0, y0, x1, y1 = box.corners
            dashes = f' stroke-dasharray="{6 * line} {3 * line}"' if box is not self.box else ""
            place = f'x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}" fill="none"'
            parts += [f'<rect {place} stroke="black" stroke-width="{2.4 * line}"/>']
            parts += [f'<rect {place} stroke="{COLOUR[use]}" stroke-width="{1.2 * line}"{dashes}/>']
            if name:
                parts += [svg_text(layout.escaped(name), x0 + 3 * line, y0 + 14 * line, line, COLOUR[use])]
        return "".join(parts)


def svg_text(text: str, x: float, y: float, line: float, colour: str = "white") -> str:
    """Write text, escaped already, on a picture so that it is read on any ground; `line` is a 400th of its side."""
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" stroke="black" stroke-width="{2 * line}" paint-order="stroke" '
        f'font-size="{13 * line}" font-family="sans-serif">{text}</text>'
    )


class BoxesCard:
    """The typed coordinates, in step with the drawing both ways, and the list of what is left out.

    `redraw` is called when something was typed; `heard` is to be called when something was drawn.
    """

    def __init__(self, boxes: Boxes, redraw: Callable[[], None]) -> None:
        self.boxes, self.redraw, self.busy = boxes, redraw, False
        self.fields: dict[str, ui.number] = {}
        with ui.row().classes("items-center no-wrap gap-1"):
            names = {FIELD: "field", SPARSE: "sparse", LEAVE_OUT: "leave out"}
            ui.toggle(names, value=FIELD, on_change=lambda event: self.choose(event.value)).props("dense no-caps")
            layout.question("rectangle")
        with ui.grid(columns=2).classes("w-full gap-2"):
            for name in _CORNERS:
                most = boxes.width if name in ("x0", "x1") else boxes.height
                self.fields[name] = layout.number(name, min=0, max=most, step=1, format="%d", on_change=self.typed)
        self.said = ui.label(_SAID[FIELD]).classes("soft")
        self.list = ui.column().classes("w-full gap-1")
        self.clear_button = ui.button("Whole frame", on_click=self.clear).props("flat dense no-caps")
        self.show_list()

    def choose(self, use: str) -> None:
        """Draw rectangles of another use from now on."""
        self.boxes.use = use
        self.said.text = _SAID[use]
        self.clear_button.text = {FIELD: "Whole frame", SPARSE: "Everywhere", LEAVE_OUT: "Leave nothing out"}[use]
        self.heard()
        self.redraw()

    def typed(self) -> None:
        """Take the corners that were typed; what is empty is the frame's rim, and nothing at all no rectangle."""
        if self.busy:
            return
        values = [self.fields[name].value for name in _CORNERS]
        box = self.boxes.box
        if all(value is None for value in values):
            if box is not None:
                box.corners = None
        else:
            whole = (0, 0, self.boxes.width, self.boxes.height)
            box = box or self.boxes.add()
            box.set(*(float(end if value is None else value) for value, end in zip(values, whole, strict=True)))
        self.show_list()
        self.redraw()

    def heard(self) -> None:
        """Show the corners of what was drawn."""
        self.busy = True
        corners = None if self.boxes.box is None else self.boxes.box.corners
        for name, value in zip(_CORNERS, corners or (None,) * 4, strict=True):
            self.fields[name].value = value
        self.busy = False
        self.show_list()

    def clear(self) -> None:
        """Take all rectangles of this use away."""
        if self.boxes.use == LEAVE_OUT:
            self.boxes.left_out, self.boxes.chosen = [], 0
        elif self.boxes.box is not None:
            self.boxes.box.corners = None
        self.heard()
        self.redraw()

    def show_list(self) -> None:
        """Show what is left out, each with its name and a way to take it away."""
        self.list.clear()
        self.list.set_visibility(self.boxes.use == LEAVE_OUT)
        with self.list:
            for number, box in enumerate(self.boxes.left_out):
                with ui.row().classes("items-center no-wrap gap-1 w-full"):
                    name = layout.text("region_name", box.name)
                    name.on_value_change(partial(self.rename, box))
                    ui.button(icon="delete", on_click=partial(self.remove, number)).props(
                        f'flat dense aria-label="take number {number + 1} away"'
                    )

    def rename(self, box: Box, event: Any) -> None:
        """Give a rectangle the name that was typed."""
        box.name = event.value
        self.redraw()

    def remove(self, number: int, _: Any = None) -> None:
        """Take one of those to be left out away."""
        self.boxes.remove(number)
        self.heard()
        self.redraw()
