"""The pictures of `docs/app.md`: every page of `colocus app`, in light and dark, from a browser without a window.

    python benchmarks/gallery/app_pictures.py [--chromium FILE]

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

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures"
SIZE = {"width": 1280, "height": 820}
PATIENCE_MS = 600_000


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
    page.wait_for_function("document.querySelector('.crisp img').naturalWidth === 64")
    page.get_by_text("ONE CLICK").click()
    page.wait_for_url("**/run**")
    page.wait_for_function("document.querySelector('[data-step=frames] .q-linear-progress') !== null")
    page.locator("[data-step=test] .q-linear-progress").wait_for(state="visible", timeout=PATIENCE_MS)
    take(page, "run", "light")
    page.wait_for_function("document.getElementById('state').innerText === 'done'", timeout=PATIENCE_MS)
    return page.url


def pictures(browser: Any, address: str) -> list[Path]:
    """Draw all pages in both themes."""
    kept = []
    for theme in ("light", "dark"):
        context = browser.new_context(viewport=SIZE, color_scheme=theme)
        page = context.new_page()
        if theme == "light":
            run = reconstruct(page, address)
        page.goto(address)
        kept.append(take(page, "start", theme))
        page.get_by_text("Try it on simulated frames").click()
        page.wait_for_url("**/look**")
        page.wait_for_function("document.querySelector('.crisp img').naturalWidth === 64")
        place = page.locator(".crisp img").first.bounding_box()
        page.mouse.move(place["x"] + 0.15 * place["width"], place["y"] + 0.2 * place["height"])
        page.mouse.down()
        page.mouse.move(place["x"] + 0.8 * place["width"], place["y"] + 0.75 * place["height"], steps=5)
        page.mouse.up()
        kept.append(take(page, "look", theme))
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
    parser.add_argument("--chromium", default=shutil.which("chromium") or "")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "microscope"
        folder.mkdir()
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
                for path in pictures(browser, found[0]):
                    print(path, path.stat().st_size)
                browser.close()
        finally:
            server.kill()
            server.communicate()


if __name__ == "__main__":
    main()
