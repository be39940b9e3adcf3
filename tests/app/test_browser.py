"""The page as a person uses it, in a browser without a window: `make browser`."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import tifffile

from app.command import PORT
from app.demo import NAME, write_demo
from app.runs.state import process_of, read_run
from app.site import Site
from experiments.reconstruction.plan import load_plan
from localization import read
from made.served import Server
from optics.whole_file import write_bytes

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
EVIL = "<img src=x onerror=document.title='evil'>.tif"
LONG_MS = 150_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_demo(Site.make([folder]), frames=24)
    tifffile.imwrite(folder / EVIL, np.zeros((3, 16, 16), np.uint16), description=EVIL, photometric="minisblack")
    server = Server(folder, tmp_path_factory.mktemp("cache"))
    yield server
    server.kill()
    for run in (folder / "runs").glob("*"):
        process = process_of(run)
        if process is not None:
            process.signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium: apt-get install chromium, or name one in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """A page that notes what it asks for, what goes wrong in it, and how often it is clicked."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(LONG_MS)
    page = context.new_page()
    asked, wrong = [], []
    context.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    context.close()
    outside = [url for url in asked if not url.startswith((server.address, "data:", "blob:"))]
    assert outside == [] and wrong == []  # nothing from the net, and no error in a script


COUNTED = """
for (const kind of ['click', 'keydown']) addEventListener(kind, event => {
  if (event.isTrusted) sessionStorage.setItem(kind, 1 + Number(sessionStorage.getItem(kind) || 0));
}, true);
"""
HIDDEN = """
window.noticed = [];
window.Notification = class {
  static permission = 'granted';
  static requestPermission() { return Promise.resolve('granted'); }
  constructor(title, options) { window.noticed.push(title + ': ' + options.body); }
};
Object.defineProperty(document, 'hidden', {get: () => true});
"""


def state(page):
    return page.locator("#state").inner_text()


def until(page, *wanted, timeout_ms=LONG_MS):
    page.wait_for_function(
        "wanted => wanted.includes((document.getElementById('state') || {}).innerText)",
        arg=list(wanted),
        timeout=timeout_ms,
    )


def until_step(run, name, seconds=LONG_MS / 1000):
    """Wait until a step is done, as the run's folder has it."""
    end = time.monotonic() + seconds
    while not any(step.name == name and step.state == "done" for step in read_run(run).steps):
        assert time.monotonic() < end and read_run(run).state in ("queued", "running"), read_run(run)
        time.sleep(0.1)


def test_from_nothing_to_a_picture_through_everything_that_happens(server, page, tmp_path):
    """Two clicks and a box start it; a reload, a second tab, Stop, Resume and a server that dies cost nothing.

    A newcomer needs six clicks at most to the picture, and no typing; who looks elsewhere is told when it is done.
    """
    page.add_init_script(COUNTED)
    page.goto(server.address)
    page.get_by_text("Try it on simulated frames").click()  # 1
    page.wait_for_url("**/look**")
    frame = page.locator(".crisp img").first
    frame.wait_for()
    page.wait_for_function("document.querySelector('.crisp img')?.naturalWidth === 64")
    place = frame.bounding_box()
    unit = place["width"] / 64
    page.mouse.move(place["x"] + 8.5 * unit, place["y"] + 6.5 * unit)  # 2: the box
    page.mouse.down()
    page.mouse.move(place["x"] + 30 * unit, place["y"] + 30 * unit, steps=4)
    page.mouse.move(place["x"] + 55.5 * unit, place["y"] + 50.5 * unit, steps=4)
    page.mouse.up()
    page.wait_for_function("document.querySelector('input[data-field=x1]').value === '56'")
    corners = [page.locator(f"input[data-field={name}]").input_value() for name in ("x0", "y0", "x1", "y1")]
    assert corners == ["8", "6", "56", "51"]
    page.get_by_text("ONE CLICK").dblclick()  # 3: an impatient one
    page.wait_for_url("**/run**")
    runs = list((server.folder / "runs").iterdir())
    assert len(runs) == 1
    run = runs[0]
    until(page, "running")
    until_step(run, "look")
    second = page.context.new_page()
    second.add_init_script(HIDDEN)
    second.goto(page.url)
    page.reload()
    for tab in (page, second):
        until(tab, "running")
    second.get_by_role("button", name="Tell me when it ends").click()
    second.get_by_text("You are told when it ends").wait_for()
    second.get_by_role("button", name="Stop").click()
    for tab in (page, second):
        until(tab, "stopped")
    page.get_by_role("button", name="Resume").click()
    until(second, "running")
    until_step(run, "camera")
    server.kill()
    working = process_of(run)
    assert working is not None and working.is_alive()
    server.start()
    assert process_of(run) == working
    page.reload()
    for tab in (page, second):  # the second finds the new server by itself
        until(tab, "done")
    page.get_by_role("link", name="Result").click()  # 4
    page.wait_for_url("**/result**")
    page.wait_for_function(
        "[...document.querySelectorAll('.leaflet-tile')].some(tile => tile.complete && tile.naturalWidth === 256)"
    )
    clicks, keys = (int(page.evaluate(f"sessionStorage.getItem('{kind}') || 0")) for kind in ("click", "keydown"))
    assert 3 <= clicks <= 6 and keys == 0  # with the second of a double click, and Resume
    assert second.evaluate("window.noticed")[-1] == f"Colocus: {run.name}: done"
    rows = read(run / "localizations.csv").frame.size
    assert page.locator("#rows").inner_text().startswith(f"{rows} localizations") and rows > 40
    with page.expect_download() as coming:
        page.locator("a[data-keep='localizations.csv']").click()
    coming.value.save_as(tmp_path / "kept.csv")
    assert (tmp_path / "kept.csv").read_bytes() == (run / "localizations.csv").read_bytes()
    page.goto(server.address)
    page.get_by_text("done", exact=True).first.wait_for()
    assert not page.get_by_text("broken off").count()


def test_rectangles_are_drawn_named_moved_and_in_the_plan(server, page):
    page.goto(f"{server.address}/look?path={server.folder / 'uploads' / NAME}")
    page.wait_for_function("document.querySelector('.crisp img')?.naturalWidth === 64")
    place = page.locator(".crisp img").first.bounding_box()
    unit = place["width"] / 64

    def drag(*corners):
        (x, y), *rest = [(place["x"] + x * unit, place["y"] + y * unit) for x, y in corners]
        page.mouse.move(x, y)
        page.mouse.down()
        for x, y in rest:
            page.mouse.move(x, y, steps=3)
        page.mouse.up()

    def corners(*wanted):
        page.wait_for_function(
            "wanted => wanted.every((value, k) => "
            "document.querySelector(`input[data-field=${['x0', 'y0', 'x1', 'y1'][k]}]`).value === value)",
            arg=[str(value) for value in wanted],
        )

    page.get_by_role("button", name="sparse", exact=True).click()
    drag((2.5, 2.5), (40.5, 30.5))
    corners(2, 2, 41, 31)
    page.get_by_role("button", name="leave out", exact=True).click()
    for first in (44.5, 30.5):
        drag((first, 44.5), (first + 9, 50.5))
        corners(int(first), 44, int(first) + 10, 51)
    page.locator("input[data-field=region_name]").first.fill("<b>the corner</b>")
    drag((50, 47), (55, 49))  # the first one, moved
    corners(49, 46, 59, 53)
    page.get_by_role("button", name="take number 2 away").click()
    page.locator("input[data-field=region_name]").nth(1).wait_for(state="detached")
    page.get_by_text("ONE CLICK").click()
    page.wait_for_url("**/run**")
    run = Path(parse_qs(urlsplit(page.url).query)["path"][0])
    plan = load_plan(run / "plan.toml")
    assert (plan.sparse, plan.leave_out) == ("2:41 2:31", ("49:59 46:53 <b>the corner</b>",))
    page.get_by_role("button", name="Stop").click()
    until(page, "stopped")


def test_a_filter_draws_the_picture_again_without_reading_the_frames(server, page):
    """Fewer rows after it, the same step of frames as before, and all of them again without it."""
    run = server.folder / "runs" / NAME.split(".")[0]
    whole = read(run / "localizations.csv")
    frames = (run / "09-frames" / "done.json").stat().st_mtime_ns
    page.goto(f"{server.address}/run?path={run}")
    found = page.locator("#found")
    found.wait_for()
    bar, before = page.locator(".q-slider[aria-label='photons, least']"), found.inner_text()
    bar.click(position={"x": bar.bounding_box()["width"] - 1, "y": bar.bounding_box()["height"] / 2})
    page.wait_for_function("before => document.getElementById('found').innerText !== before", arg=before)
    assert found.inner_text().startswith("1 of ")
    page.goto(f"{server.address}/result?path={run}")
    page.locator("input[data-field=photons_min]").fill("1e9")
    page.locator("#within").filter(has_text="no row is within these bounds").wait_for()
    page.locator("input[data-field=photons_min]").fill("1500")  # the picture follows before anything is written
    page.locator("#within").filter(has_text=f"{int(np.sum(whole.photons >= 1500))} rows").wait_for()
    for least, kept in ((1500, int(np.sum(whole.photons >= 1500))), ("", whole.frame.size)):
        page.goto(f"{server.address}/result?path={run}")
        page.locator("input[data-field=photons_min]").fill(str(least))
        page.get_by_role("button", name="Draw again").click()
        page.wait_for_url("**/run**")
        until(page, "done")
        assert read(run / "localizations.csv").frame.size == kept
    assert 0 < int(np.sum(whole.photons >= 1500)) < whole.frame.size
    assert (run / "09-frames" / "done.json").stat().st_mtime_ns == frames


def test_the_terminal_gives_the_same_bytes_from_the_same_plan(server, tmp_path):
    run = server.folder / "runs" / NAME.split(".")[0]
    plan = (run / "plan.toml").read_bytes()
    write_bytes(tmp_path / "plan.toml", plan)
    command = [sys.executable, "-m", "experiments.cli", "reconstruct", str(tmp_path / "plan.toml"), "--out", "again"]
    said = subprocess.run(command, cwd=tmp_path, env=server.environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    for name in ("localizations.csv", "picture.png", "plan.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes(), name


def test_the_psf_and_its_precision_follow_the_form_within_a_second(server, page):
    """After the first picture a change is drawn in less than a second; a mistake is said in words as it is typed."""
    page.goto(f"{server.address}/microscope?movie={server.folder / 'uploads' / NAME}")
    page.get_by_text("from the movie's tags").wait_for()
    assert page.locator("input[data-field=pixel]").input_value() == "0.1"
    drawn = page.locator("#drawn")
    drawn.filter(has_text="Least standard deviations").wait_for(timeout=LONG_MS)
    took = []
    for value in ("1.40", "1.30", "1.20"):
        before, began = drawn.inner_text(), time.monotonic()
        page.locator("input[data-field=na]").fill(value)
        page.wait_for_function("before => document.getElementById('drawn').innerText !== before", arg=before)
        took.append(time.monotonic() - began)
    # where more programs want to work than there are cores, each has so much less of them
    assert min(took) < max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), took
    assert page.locator("img[alt='PSF through depth']").evaluate("image => image.naturalWidth") > 7 * 61
    page.locator("input[data-field=na]").fill("1.6")
    page.locator("#warnings").get_by_text("not below the immersion index").wait_for()
    drawn.filter(has_text="not drawn").wait_for()
    page.locator("input[data-field=na]").fill("1.4")
    page.get_by_role("button", name="Save as a file").click()
    page.get_by_text("back to the movie").click()
    page.wait_for_url("**/look**")
    page.wait_for_function("document.querySelector('input[data-field=na]').value === '1.4'")


def test_a_co_design_is_begun_and_watched_and_its_mask_kept(server, page, tmp_path):
    """From the form to mask, PSF, loss and mask.npz, which a plain NumPy reads."""
    page.goto(f"{server.address}/masks")
    page.get_by_label("experiment").click()
    page.get_by_role("option", name="tiny").click()
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url("**/masks?path**")
    until(page, "done")
    page.get_by_alt_text("mask at step 6").wait_for()
    page.locator("#loss path").first.wait_for()
    page.get_by_alt_text("PSF of the newest mask").wait_for(timeout=LONG_MS)
    with page.expect_download() as coming:
        page.locator("a[data-keep='mask.npz']").click()
    coming.value.save_as(tmp_path / "mask.npz")
    with np.load(tmp_path / "mask.npz") as kept:
        assert np.ptp(kept["opd_um"]) > 0


def test_names_and_tags_are_shown_as_text(server, page):
    page.goto(server.address)
    page.get_by_text(EVIL).click()
    page.wait_for_url("**/look**")
    page.get_by_text(EVIL).first.wait_for()
    page.wait_for_timeout(500)
    assert page.title() == "Look - Colocus"


def test_a_movie_is_uploaded_and_what_is_none_is_refused_in_a_line(server, page, tmp_path):
    tifffile.imwrite(tmp_path / "mine.tif", np.zeros((3, 16, 16), np.uint16), photometric="minisblack")
    (tmp_path / "note.tif").write_text("<b>no movie</b>")
    page.goto(server.address)
    page.locator("#pick").set_input_files(tmp_path / "note.tif")
    page.get_by_text("no movie was recognised").wait_for()
    page.locator("#pick").set_input_files(tmp_path / "mine.tif")
    page.wait_for_url("**/look**")
    page.get_by_role("heading", name="mine.tif").wait_for()
    assert not list((server.folder / "uploads").glob("note*"))


def test_with_a_token_only_its_address_leads_in(server, browser, tmp_path):
    """The first visit leaves a cookie, with which pages and sockets work; without it nothing is shown."""
    (tmp_path / "token").write_text("a-token-that-is-long-enough\n")
    guarded = Server(server.folder, tmp_path, "--token-file", str(tmp_path / "token"))
    try:
        context = browser.new_context()
        context.set_default_timeout(LONG_MS)
        page = context.new_page()
        assert page.goto(guarded.address).status == 401
        assert page.goto(f"{guarded.address}/?token=wrong").status == 401
        page.goto(f"{guarded.address}/?token=a-token-that-is-long-enough")
        page.get_by_text("Try it on simulated frames").click()  # answered through a socket
        page.wait_for_url("**/look**")
        assert "token" not in page.url
        context.close()
    finally:
        guarded.kill()


@pytest.mark.parametrize("width_px, theme", [(1280, "light"), (900, "dark")])
def test_pages_fit_their_width_and_are_reached_by_keyboard(server, browser, width_px, theme):
    """No page scrolls sideways, and Tab reaches ONE CLICK from the top of the page."""
    context = browser.new_context(viewport={"width": width_px, "height": 800}, color_scheme=theme)
    context.set_default_timeout(LONG_MS)
    page = context.new_page()
    movie = server.folder / "uploads" / NAME
    for address in (
        "/",
        f"/look?path={movie}",
        "/help",
        "/microscope",
        "/masks",
        "/beads",
        f"/beads?movie={movie}",
        f"/run?path={server.folder / 'runs' / NAME.split('.')[0]}",
    ):
        page.goto(server.address + address)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width_px, address
    assert page.evaluate("document.body.classList.contains('body--dark')") == (theme == "dark")
    page.goto(f"{server.address}/look?path={movie}")
    page.get_by_text("ONE CLICK").wait_for()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText").endswith("ONE CLICK"):
            break
    else:
        pytest.fail("Tab does not reach the button")
    context.close()


def test_real_requests_that_are_refused(server):
    """The guard stands before the pages of the real server, its sockets too."""
    import http.client

    def status(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request(method, path, headers={"Host": f"127.0.0.1:{server.port}", **headers})
        found = connection.getresponse().status
        connection.close()
        return found

    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    socket = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    assert status("/") == 200 and status("/", Host="evil.example") == 403 and PORT != server.port
    assert status("/", Origin="http://evil.example") == 403
    assert status(socket, **upgrade, Origin="http://evil.example") == 403
    assert status(socket, **upgrade) == 403
    for path in ("/etc/passwd", "/file?path=/etc/passwd", "/look?path=/etc/passwd", "/run?path=/etc", "/result?path=/",
                 "/?folder=/", "/file?path=..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "/docs",
                 "/openapi.json"):  # fmt: skip
        assert status(path) == 404, path
