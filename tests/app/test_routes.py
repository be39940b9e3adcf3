"""What the page fetches: pictures against the counts that were written, tiles against rows, refusals as one line."""

import io
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
import tifffile
from fastapi import FastAPI
from PIL import Image

from app.demo import PIXEL_UM, simulate, write_demo
from app.pages.trial import crosses
from app.pictures import frames
from app.pictures.prepared import load
from app.pictures.tiles import BASE, TILE_PX, Drawn
from app.pictures.trial import spots, trial_file
from app.routes import Shown, add_routes, bounds_of
from app.runs.files import parts_of
from app.site import Site
from localization import Criteria, filter_localizations, make_localizations, open_movie, read, write
from made.asgi import ask

ROOT = Path(__file__).resolve().parents[2]
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "secret.csv").write_text("secret")
    return tmp_path / "open"


@pytest.fixture
def app(place):
    app = FastAPI()
    add_routes(app, Shown(Site.make([place], upload_bytes=100_000)))
    return app


def get(app, route, **query):
    return ask(app, f"{route}?{urlencode(query)}")


def pixels(answer):
    return np.asarray(Image.open(io.BytesIO(answer.body)))


def test_a_frame_is_drawn_between_its_percentiles(app, place):
    frames = np.arange(4 * 20 * 30, dtype=np.uint16).reshape(4, 20, 30)
    tifffile.imwrite(place / "m.tif", frames, photometric="minisblack")
    grey = pixels(get(app, "/frame", path=place / "m.tif", k=2, low=0, high=100))
    expected = np.rint(255 * (frames[2].astype(float) - frames.min()) / np.ptp(frames))
    assert np.abs(grey - expected).max() <= 1
    mean = pixels(get(app, "/frame", path=place / "m.tif", low=0, high=100, kind="mean"))
    spread = frames.mean(0)
    assert np.abs(mean - 255 * (spread - spread.min()) / np.ptp(spread)).max() <= 1
    for wrong in (
        {"k": 4},
        {"k": -1},
        {"kind": "evil"},
        {"path": place / "none.tif"},
        {"path": place.parent / "secret.csv"},
    ):
        refused = get(app, "/frame", **({"path": place / "m.tif"} | wrong))
        assert refused.status in (400, 404) and refused.body.count(b"\n") == 1
    assert get(app, "/frame", path=place / "m.tif", low=-5).status == 422


def test_a_movie_that_opens_slowly_keeps_no_other_waiting(place, monkeypatch):
    """As on a disk far away: the other page has its frame before the first movie is open, which comes all the same."""
    for name in ("slow.tif", "quick.tif"):
        tifffile.imwrite(place / name, np.zeros((2, 8, 8), np.uint16), photometric="minisblack")
    begun, may_end = threading.Event(), threading.Event()

    def opening(path):
        if path.name == "slow.tif":
            begun.set()
            assert may_end.wait(30)
        return open_movie(path)

    monkeypatch.setattr(frames, "open_movie", opening)
    movies = frames.Movies()
    with ThreadPoolExecutor(3) as threads:
        slow = [threads.submit(movies.take, place / "slow.tif") for _ in range(2)]
        assert begun.wait(30)
        quick = threads.submit(movies.take, place / "quick.tif")
        assert quick.result(30).movie.shape == (2, 8, 8) and not slow[0].done()
        may_end.set()
        assert slow[0].result(30) is slow[1].result(30)
    for one in (slow[0], quick):
        one.result().movie.close()


def test_files_are_kept_as_files_and_others_are_not_given(app, place):
    """A page among the results is never shown as one of ours: it is downloaded, or shown without scripts."""
    (place / "report.html").write_text("<script>alert(1)</script>")
    (place / "x.py").write_text("secret")
    answer = get(app, "/file", path=place / "report.html")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    report = get(app, "/report", path=place)
    assert "sandbox" in report.headers["content-security-policy"]
    assert "allow-scripts" not in report.headers["content-security-policy"]
    for route, name in (("/file", place / "x.py"), ("/file", place), ("/picture", place / "report.html")):
        assert get(app, route, path=name).status == 404
    for hidden in (place / ".." / "secret.csv", f"{place}/%2e%2e/secret.csv", "/etc/passwd", f"{place}\0"):
        assert get(app, "/file", path=hidden).status == 404
    assert b"secret" not in ask(app, f"/file?path={place}/%2e%2e/secret.csv").body


def test_an_upload_comes_in_pieces_and_only_as_a_movie(app, place):
    tifffile.imwrite(place / "m.tif", np.zeros((3, 16, 16), np.uint16), description=EVIL, photometric="minisblack")
    content = (place / "m.tif").read_bytes()
    pieces = [content[:700], content[700:]]
    sent = ask(app, "/upload?" + urlencode({"name": f"{EVIL}.tif"}), method="PUT", body=pieces)
    kept = Path(json.loads(sent.body)["path"])
    assert kept.read_bytes() == content and "<" not in kept.name
    assert ask(app, "/upload?name=a.tif", method="PUT", body=[b"x" * 60_000] * 2).status == 413
    assert ask(app, "/upload?name=a.tif", method="PUT", body=[b"GIF89a"]).status == 415


def test_tiles_hold_every_row_where_it_lies():
    """At every zoom the light of all tiles is in the places of the rows, counted by hand."""
    rng = np.random.default_rng(3)
    n = 400
    x, y = rng.uniform(0, 10, n), rng.uniform(0, 4, n)
    z, fine = rng.uniform(-1, 1, n), np.full(n, 1e-3)
    drawn = Drawn.make(make_localizations(np.zeros(n, int), x, y, z, sigma_x_um=fine, sigma_y_um=fine))
    for zoom in (0, 2, BASE, BASE + 2):
        side = drawn.side_um / (1 << zoom)
        column, row = ((np.asarray(v) - at) / side for v, at in ((x, drawn.x0_um), (y, drawn.y0_um)))
        for place in {(int(column[k]), int(row[k])) for k in range(0, n, 67)}:
            tile = np.asarray(Image.open(io.BytesIO(drawn.tile(zoom, *place)))).astype(float).sum(2)
            inside = (np.floor(column) == place[0]) & (np.floor(row) == place[1])
            at_x, at_y = ((v[inside] % 1 * TILE_PX).astype(int) for v in (column, row))
            dark = tile.min()
            assert (tile[at_y, at_x] > dark).all()
            far = np.ones_like(tile, bool)
            every_x, every_y = (((v - at) * TILE_PX).astype(int) for v, at in zip((column, row), place, strict=True))
            for cx, cy in zip(every_x, every_y, strict=True):
                far[max(cy - 7, 0) : max(cy + 8, 0), max(cx - 7, 0) : max(cx + 8, 0)] = False
            assert (tile[far] == dark).all()
            plain = np.asarray(Image.open(io.BytesIO(drawn.tile(zoom, *place, "histogram")))).astype(float).sum(2)
            filled = np.zeros_like(tile, bool)
            filled[at_y, at_x] = True
            assert (filled == (plain > plain.min())).all()  # of the histogram: these pixels and no others
    assert drawn.tile(0, 0, 0, "depth") != drawn.tile(0, 0, 0, "light")


def test_rows_within_bounds_are_those_that_the_filter_step_keeps(app, place):
    """Against `filter_localizations` with the same bounds, unknown values among them; light only where they lie."""
    rng, n = np.random.default_rng(4), 500
    x, y, z = rng.uniform(0, 10, n), rng.uniform(0, 10, n), rng.uniform(-0.5, 0.5, n)
    photons, sx, sy = rng.uniform(100, 2000, n), rng.uniform(0.005, 0.03, n), rng.uniform(0.005, 0.03, n)
    sx[:9] = np.nan
    locs = make_localizations(np.arange(n), x, y, z, photons=photons, sigma_x_um=sx, sigma_y_um=sy)
    drawn = Drawn.make(locs)
    bounds = bounds_of("photons:500:inf,sigma:-inf:20,z:-100:300")
    part = drawn.within({name: (low, high) for name, low, high in bounds})
    criteria = Criteria(photons_min=500, sigma_x_um_max=0.02, sigma_y_um_max=0.02, z_um=(-0.1, 0.3))
    kept, _ = filter_localizations(locs, criteria)
    assert np.allclose(np.sort(part.x * part.side_um + part.x0_um), np.sort(kept.x_um), atol=1e-5)
    assert part.first[-1] == len(part.x) == kept.frame.size
    for zoom in (1, BASE + 1):
        whole = np.asarray(Image.open(io.BytesIO(drawn.tile(zoom, 0, 0)))).astype(int).sum(2)
        less = np.asarray(Image.open(io.BytesIO(part.tile(zoom, 0, 0)))).astype(int).sum(2)
        assert (less <= whole).all() and less.sum() < whole.sum()
    xyz, depth = drawn.thinned(100)
    assert len(xyz) == 100 and np.ptp(depth) > 0.9
    inner = np.abs(locs.z_um) < 0.45  # beyond the 1st and 99th percentile depths are cut off
    places = {(round(float(a), 3), round(float(b), 3)) for a, b in zip(x - drawn.x0_um, z, strict=True)}
    assert inner.any() and sum((round(a, 3), round(b, 3)) in places for a, _, b in xyz.tolist()) > 80
    write(place / "localizations.csv", locs)
    tile = "/tile/0/0/0.png"
    all_rows, within = (
        get(app, tile, path=place / "localizations.csv", within=w).body for w in ("", "photons:500:inf")
    )
    assert all_rows != within
    for wrong in ("evil:0:1", "photons:a:1", "photons:1", "photons:nan:1", "z:0:1," * 9):
        assert get(app, tile, path=place / "localizations.csv", within=wrong).status == 400
    assert get(app, tile, path=place / "localizations.csv", within="photons:9e9:inf").status == 404


def test_what_is_read_by_now_is_drawn_from_the_chunks(app, place):
    """Two chunks of a job with its field from row 10 and column 20: each row is where it belongs, and a chunk that
    comes later is added."""
    run = place / "run"
    assert get(app, "/live", path=place).status == 404
    parts = parts_of(run)
    parts.mkdir(parents=True)
    identity = {"pixel_um": 0.1, "part": {"frames": [0, 9], "rows": [10, 42], "columns": [20, 84]}}
    (parts / "job.json").write_text(json.dumps({"key": "k", "identity": identity}))
    np.savez(parts / "frames_0-1.npz", x_um=[2.0 + 3.2], y_um=[1.0 + 0.8])  # a half across, a quarter down
    first = pixels(get(app, "/live", path=run)).astype(int).sum(2)
    assert first.shape == (320, 640) and np.unravel_index(first.argmax(), first.shape) == (80, 320)
    np.savez(parts / "frames_1-2.npz", x_um=[2.0 + 1.6, 99.0], y_um=[1.0 + 1.6, 0.0])
    second = pixels(get(app, "/live", path=run)).astype(int).sum(2)
    assert second[160, 160] == second[80, 320] > second.min() and second[160, 480] == second.min()


def test_the_test_frame_is_drawn_with_what_is_left_of_it(app, place):
    """Grey from the frame's own percentiles; white where nothing is left, red where light is; no pickle is read."""
    run = place / "run"
    file = trial_file(run)
    file.parent.mkdir(parents=True)
    assert get(app, "/trial", path=run).status == 404
    frame = np.zeros((8, 12), np.float32)
    frame[2, 3] = 10
    np.savez(file, frame=frame, redrawn=frame / 2, left=frame / 2, x_px=[3.5], y_px=[2.5], photons=[900.0])
    drawn = {kind: pixels(get(app, "/trial", path=run, kind=kind)) for kind in ("frame", "redrawn", "left")}
    half = round(255 * 5 / float(np.quantile(frame, 0.999)))
    assert drawn["frame"][2, 3] == drawn["frame"].sum() == 255 and abs(int(drawn["redrawn"][2, 3]) - half) <= 1
    assert drawn["left"][0, 0].min() > 240 and drawn["left"][2, 3, 0] > 2 * drawn["left"][2, 3, 2]
    left = frame / 2
    left[5, 5] = np.nan  # read by a network, which tells no light: not redrawn, and neither black nor white
    np.savez(file, frame=frame, redrawn=left, left=left, x_px=[3.5], y_px=[2.5], photons=[np.nan])
    assert all((pixels(get(app, "/trial", path=run, kind=kind))[5, 5] == 128).all() for kind in ("redrawn", "left"))
    found = spots(run)
    assert crosses(found, None).count("M") == 2 and crosses(found, 1.0) == ""
    assert get(app, "/trial", path=run, kind="evil").status == 400
    assert get(app, "/trial", path=place.parent, kind="frame").status == 404
    np.savez(file, frame=np.array([{}], dtype=object))
    assert get(app, "/trial", path=run).status == 404


def drawn_anew(locs):
    return Drawn.make(locs)


def test_lists_are_shown_and_given_in_other_formats(app, place):
    run = place / "run"
    run.mkdir()
    locs = make_localizations(
        [0, 1, 2], [1.0, 2.0, 3.0], [1.0, 2.0, 1.0], [0.0, 0.0, 0.0], photons=[900.0, 800.0, 700.0]
    )
    write(run / "localizations.csv", locs)
    assert get(app, "/tile/0/0/0.png", path=run / "localizations.csv").headers["content-type"] == "image/png"
    for wrong in ("/tile/0/1/0.png", "/tile/99/0/0.png", "/tile/-1/0/0.png"):
        assert get(app, wrong, path=run / "localizations.csv").status == 404
    # made ready on the disk: shown from there until the list changes
    ready = load(run / "localizations.csv")
    assert (
        ready is not None and ready.summary["rows"] == 3 and ready.drawn.tile(2, 1, 1) == drawn_anew(locs).tile(2, 1, 1)
    )
    write(run / "localizations.csv", make_localizations([0], [1.0], [1.0], [0.0]))
    assert load(run / "localizations.csv") is None
    write(run / "localizations.csv", locs)
    given = get(app, "/list", path=run, format="challenge")
    (place / "given.csv").write_bytes(given.body)
    assert np.allclose(read(place / "given.csv").x_um, [1, 2, 3], atol=1e-3)
    assert get(app, "/list", path=run, format="evil").status == 400


def test_the_simulated_movie_is_one(place):
    path = write_demo(Site.make([place]), frames=5)
    with open_movie(path) as movie:
        assert movie.facts.pixel_um == pytest.approx(PIXEL_UM) and movie.shape == (5, 64, 64)
    frames = simulate(3, np.random.default_rng(0))
    assert 100 < np.median(frames) < 130 < frames.max()


def test_the_server_loads_no_jax(tmp_path):
    """Neither the pages' modules nor the pictures' do: a process beside the runs that needs little memory."""
    code = (
        "import sys, app.command, app.serve, app.pages, app.runs.launch, app.runs.worker, app.drawing.child\n"
        "light = set(sys.modules)\n"
        "import app.pictures.frames, app.pictures.tiles, app.demo, localization.io.formats\n"
        "print('jax' in sys.modules, 'pandas' in light, 'matplotlib' in light, 'scipy' in light)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout.split() == ["False"] * 4, said.stderr
