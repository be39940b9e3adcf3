"""Who may come in: each line of the page's list of dangers, before a server that answers everybody."""

import asyncio

import pytest

from app.guard import COOKIE, Guard
from made.asgi import ask, socket_opens

TOKEN = "a-token-of-more-than-sixteen-characters"
HERE = {"host": "localhost:8421"}
OWN = {**HERE, "origin": "http://localhost:8421"}


async def _anybody(scope, receive, send):
    if scope["type"] == "websocket":
        return await send({"type": "websocket.accept"})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


OPEN, CLOSED = Guard(_anybody), Guard(_anybody, TOKEN)


def test_on_loopback_this_machine_comes_in_without_a_token():
    page = ask(OPEN, "/", HERE)
    assert (page.status, page.body) == (200, b"page")
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["x-frame-options"] == "DENY"
    for name in ("localhost:8421", "127.0.0.1:9000", "[::1]:8421"):
        assert socket_opens(OPEN, {"host": name, "origin": f"http://{name}"})


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[", "10.0.0.5:8421"]
)
def test_a_foreign_name_for_this_machine_is_refused(host):
    assert ask(OPEN, "/", {"host": host}).status == 403
    assert not socket_opens(OPEN, {"host": host, "origin": f"http://{host}"})


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:9999", "http://localhost:8421.evil.example", "http://["]
)
@pytest.mark.parametrize("app", [OPEN, CLOSED])
def test_a_page_from_elsewhere_is_refused_on_routes_and_sockets(origin, app):
    foreign = {**HERE, "origin": origin, "cookie": f"{COOKIE}={TOKEN}"}
    assert ask(app, "/", foreign).status == 403
    assert ask(app, "/upload", foreign, method="PUT").status == 403
    assert not socket_opens(app, foreign)
    assert not socket_opens(app, {**HERE, "cookie": f"{COOKIE}={TOKEN}"})  # says no origin at all


def test_pictures_and_scripts_are_not_given_to_other_sites_but_links_lead_here():
    embedded = {**HERE, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert ask(OPEN, "/", embedded).status == 403
    assert ask(OPEN, "/", {**embedded, "sec-fetch-mode": "navigate"}).status == 200


@pytest.mark.parametrize(
    "given", ["", "?token=", "?token=wrong", f"?token={TOKEN[:-1]}", f"?token={TOKEN}x", "?token=%ff"]
)
def test_without_the_right_token_nobody_comes_in(given):
    assert ask(CLOSED, f"/{given}", HERE).status == 401
    assert ask(CLOSED, f"/{given}", {**HERE, "cookie": f"{COOKIE}=wrong"}).status == 401
    assert not socket_opens(CLOSED, {**OWN, "cookie": f"{COOKIE}=wrong"}) and not socket_opens(CLOSED, OWN)


def test_the_token_becomes_a_cookie_that_other_sites_do_not_carry():
    first = ask(CLOSED, f"/look?path=a%26b&token={TOKEN}", {"host": "workstation:8421"})
    assert first.status == 303 and first.headers["location"] == "/look?path=a%26b"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    known = {"host": "workstation:8421", "cookie": cookie.partition(";")[0]}
    assert ask(CLOSED, "/", known).body == b"page"
    assert socket_opens(CLOSED, {**known, "origin": "http://workstation:8421"})


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "///evil.example/x"])
def test_the_way_in_leads_nowhere_else(path):
    place = ask(CLOSED, f"{path}?token={TOKEN}", HERE).headers["location"]
    assert place.startswith("/") and not place.startswith(("//", "/\\"))


def test_two_hosts_in_one_request_are_refused():
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"host", b"localhost"), (b"host", b"evil.example")]}
    asyncio.run(OPEN(scope, None, send))
    assert sent[0]["status"] == 400
