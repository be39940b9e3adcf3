"""A list in three dimensions: a cloud of points to turn round, thinned to what a browser turns smoothly."""

from pathlib import Path

from nicegui import ui

from app.pages.layout import away, heading
from app.routes import Shown
from app.runs.files import LIST

MOST = 20_000  # points
_LONG = 10.0  # units of the scene that the longer side of the picture takes


def draw(shown: Shown, folder: Path, card: ui.card) -> None:
    """Draw the card of the cloud, seen only where the list has depth; the points are sent when it is opened."""
    card.set_visibility(False)
    with card:
        heading("In three dimensions")
        said = ui.label().classes("soft")
        holder = ui.column().classes("w-full")
        with ui.row().classes("items-center gap-3"):
            button = ui.button("Show the points", icon="3d_rotation").props("outline")
            stretch = ui.toggle({1: "depth as it is", 4: "4 times", 10: "10 times"}, value=1).props("dense no-caps")

    async def look() -> None:
        found = await away(lambda: shown.lists.take(folder / LIST))
        if found is not None and found.drawn.z_um is not None:
            card.set_visibility(True)
            n = len(found.drawn.x)
            part = "" if n <= MOST else f", of which one in {-(-n // MOST)} is shown"
            said.text = f"{n} rows{part}; colour is depth, as above. Drag turns, the wheel zooms."

    async def show() -> None:
        found = await away(lambda: points(shown, folder, float(stretch.value or 1)))
        if found is None:
            return
        holder.clear()
        with holder:
            scene = ui.scene(width=760, height=460, grid=False, background_color="#111").classes("w-full")
            scene.props('data-cloud="1"').style("max-width: 100%; overflow: hidden")
            with scene:
                scene.point_cloud(*found, point_size=0.04)
            scene.move_camera(0, -9, 8, 0, 0, 0, duration=0)

    button.on_click(show)
    stretch.on_value_change(lambda: show() if holder.default_slot.children else None)
    ui.timer(0.2, look, once=True)


def points(shown: Shown, folder: Path, stretch: float) -> tuple[list[list[float]], list[list[float]]]:
    """Return places and colours of the points, y up and depth towards the viewer from the coverslip on."""
    from matplotlib import colormaps

    drawn = shown.lists.take(folder / LIST).drawn
    xyz, depth = drawn.thinned(MOST)
    scale = _LONG / drawn.side_um
    middle = drawn.side_um / 2
    z = xyz[:, 2] - xyz[:, 2].mean()
    placed = [[round(scale * (x - middle), 4), round(scale * (middle - y), 4), round(scale * stretch * up, 4)]
              for (x, y, _), up in zip(xyz, z, strict=True)]  # fmt: skip
    colours = colormaps["viridis"](depth)[:, :3].round(3).tolist()
    return placed, colours
