"""The pictures of `docs/app.md`: every page of `colocus app`, in light and dark, from a browser without a window.

    python benchmarks/gallery/app_pictures.py [--folder DIR] [--chromium FILE]

A small simulated movie is reconstructed for it, through the page. Looked at before they are kept.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures"
SIZE = {"width": 1280, "height": 900}
PATIENCE_MS = 600_000
SLICES = 17


def take(page: Any, name: str, theme: str) -> Path:
    """Keep what a page shows, with few colours: a page has few."""
    from PIL import Image

    page.wait_for_timeout(1500)
    path = FIGURES / f"app_{name}_{theme}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(192, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)
    return path


def reconstruct(page: Any, address: str) -> str:
    """Go the way of a newcomer, with a picture of the run half-way; returns the address of the run."""
    page.goto(address)
    page.get_by_text("Try it on simulated frames").click()
    page.wait_for_url("**/look**")
    page.wait_for_function("document.querySelector('.crisp img')?.naturalWidth === 64")
    page.get_by_text("ONE CLICK").click()
    page.wait_for_url("**/run**")
    page.locator("[data-step=frames] .q-linear-progress").wait_for(state="visible", timeout=PATIENCE_MS)
    take(page, "run", "light")
    page.wait_for_function("document.getElementById('state').innerText === 'done'", timeout=PATIENCE_MS)
    return page.url


def further(page: Any, address: str, folder: Path, theme: str) -> list[Path]:
    """Show the microscope, beads and a co-design, which the first round begins and the second finds."""
    kept = []
    page.goto(f"{address}microscope")
    page.locator("#drawn").filter(has_text="Least standard").wait_for(timeout=PATIENCE_MS)
    if not (folder / "microscopes").exists():
        page.locator("input[data-field=scope_name]").fill("oil 1.45")
        page.get_by_role("button", name="Save as a file").click()
        page.locator("#saved").wait_for()
        page.evaluate("scrollTo(0, 0)")
    kept.append(take(page, "microscope", theme))
    page.goto(f"{address}beads?{urlencode({'movie': folder / 'beads.tif'})}")
    page.locator("input[data-field=crop]").fill("31")
    page.get_by_role("button", name="Find the beads").click()
    page.locator("#ticks .q-checkbox").first.wait_for(timeout=PATIENCE_MS)
    for number in (3, 4):
        page.locator("#ticks .q-checkbox").nth(number - 1).click()
    page.locator("input[data-field=focus]").fill(f"-0.8:0.8:{SLICES}")
    page.get_by_label("microscope of the beads").click()
    page.get_by_role("option", name="oil 1.45").click()
    kept.append(take(page, "beads", theme))
    if not (folder / "runs" / "PSF beads").exists():
        page.get_by_role("button", name="Retrieve").click()
        page.wait_for_url("**/beads?path**")
        page.wait_for_function("document.getElementById('state').innerText === 'done'", timeout=PATIENCE_MS)
    if not (folder / "runs" / "codesign tiny").exists():
        page.goto(f"{address}masks")
        page.get_by_label("experiment").click()
        page.get_by_role("option", name="tiny").click()
        page.locator("input[data-field=train_steps]").fill("60")
        page.get_by_role("button", name="Begin").click()
        page.wait_for_url("**/masks?path**")
        page.wait_for_function("document.getElementById('state').innerText === 'done'", timeout=PATIENCE_MS)
    for kind, name in (("beads", "PSF beads"), ("masks", "codesign tiny")):
        page.goto(f"{address}{kind}?{urlencode({'path': folder / 'runs' / name})}")
        page.get_by_text("done", exact=True).first.wait_for()
        page.get_by_alt_text("pupil" if kind == "beads" else "PSF of the newest mask").wait_for(timeout=PATIENCE_MS)
        kept.append(take(page, "retrieval" if kind == "beads" else kind, theme))
    return kept


def write_beads(path: Path) -> None:
    """Simulate a field of five beads behind an astigmatic mask, in a process that may load the optics."""
    subprocess.run(
        [sys.executable, "-c", _BEADS, str(path), str(SLICES)], check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


_BEADS = """
import sys
import numpy as np, jax, tifffile
from optics import make_microscope, make_psf, psf_image, masks
from optics.pytree import replace
rng, n = np.random.default_rng(1), int(sys.argv[2])
scope = make_microscope(
    na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.67, pixel_um=0.11, focus_um=0.0)
psf = make_psf(scope, mask=masks.astigmatism(0.09), image_px=31, z_range_um=(-0.8, 0.8))
image = jax.jit(lambda focus, x, y: psf_image(
    replace(psf, microscope=replace(scope, focus_um=focus)), jax.numpy.array([x, y, 0.0])))
field = np.full((n, 150, 190), 20.0)
for (row, column), light in zip([(40, 40), (50, 120), (100, 60), (110, 150), (20, 170)], [60e3, 5e4, 4e4, 3e4, 25e3]):
    x, y = rng.uniform(-0.05, 0.05, 2)
    for k, focus in enumerate(np.linspace(-0.8, 0.8, n)):
        field[k, row - 15 : row + 16, column - 15 : column + 16] += light * np.asarray(image(focus, x, y))
tifffile.imwrite(sys.argv[1], (100 + 2 * rng.poisson(field)).astype(np.uint16), photometric="minisblack")
"""


def pictures(browser: Any, address: str, folder: Path) -> list[Path]:
    """Draw all pages in both themes."""
    kept = []
    for theme in ("light", "dark"):
        context = browser.new_context(viewport=SIZE, color_scheme=theme)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        made = folder / "runs" / "simulated filaments"
        run = f"{address}run?{urlencode({'path': made})}" if made.exists() else reconstruct(page, address)
        page.goto(address)
        kept.append(take(page, "start", theme))
        page.get_by_text("Try it on simulated frames").click()
        page.wait_for_url("**/look**")
        page.wait_for_function("document.querySelector('.crisp img')?.naturalWidth === 64")
        place = page.locator(".crisp img").first.bounding_box()
        page.mouse.move(place["x"] + 0.15 * place["width"], place["y"] + 0.2 * place["height"])
        page.mouse.down()
        page.mouse.move(place["x"] + 0.8 * place["width"], place["y"] + 0.75 * place["height"], steps=5)
        page.mouse.up()
        kept.append(take(page, "look", theme))
        kept += further(page, address, folder, theme)
        page.goto(run.replace("/run?", "/result?"))
        page.wait_for_function("[...document.querySelectorAll('.leaflet-tile')].some(tile => tile.complete)")
        page.locator(".leaflet-control-zoom-in").click()
        kept.append(take(page, "result", theme))
        for name in ("queue", "help"):
            page.goto(f"{address}{name}")
            kept.append(take(page, name, theme))
        if theme == "dark":
            page.goto(run)
            kept.append(take(page, "run", theme))
        context.close()
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a folder that is kept, so that a second call finds its runs")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve() / "microscope"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "beads.tif").exists():
            write_beads(folder / "beads.tif")
        server = subprocess.Popen(
            [sys.executable, "-m", "experiments.cli", "app", "--folder", str(folder), "--port", "0"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stderr is not None
        said = [server.stderr.readline() for _ in range(2)]
        found = re.search(r"http://[\d.:]+/", said[1])
        assert found is not None, said
        try:
            with sync_playwright() as play:
                browser = play.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox"])
                for path in pictures(browser, found[0], folder):
                    print(path, path.stat().st_size)
                browser.close()
        finally:
            server.kill()
            server.communicate()


if __name__ == "__main__":
    main()
