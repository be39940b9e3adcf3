"""Who may come in: the host's own name, no foreign pages, and the token where others can reach this machine."""

import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "colocus_token"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """An ASGI layer around pages, sockets and routes: what it refuses, they never see.

    Without a token the server listens on loopback alone, and only names of loopback are answered, so that a foreign
    page cannot reach it under a name of its own (DNS rebinding). A request that says where it comes from must come
    from here. With a token, everything asks for it, in a cookie that other sites' requests do not carry.
    """

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {}
        for key, value in scope["headers"]:
            if key in (b"host", b"origin") and key in headers:
                return await _refuse(scope, send, 400, "more than one host or origin")
            headers[key] = value
        text = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers.items()}
        if why := foreign(scope["type"], text, any_host=bool(self.token)):
            return await _refuse(scope, send, 403, why)
        if self.token and not self._known(text.get("cookie", "")):
            query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
            given = dict(query).get("token", "")
            if scope["type"] == "http" and scope["method"] == "GET" and same(given, self.token):
                return await _let_in(scope, send, self.token, [(k, v) for k, v in query if k != "token"])
            return await _refuse(scope, send, 401, "open the address with the token that `colocus app` printed")

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {key for key, _ in message.get("headers", [])}
                message["headers"] = [*message.get("headers", []), *(h for h in _HEADERS if h[0] not in there)]
            await send(message)

        await self.app(scope, receive, sent)

    def _known(self, cookies: str) -> bool:
        try:
            found = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return False
        return found is not None and same(found.value, self.token)


def same(given: str, token: str) -> bool:
    """Compare in a time that does not tell how much is right."""
    return hmac.compare_digest(given.encode(), token.encode())


def foreign(kind: str, headers: dict[str, str], *, any_host: bool) -> str:
    """Say why a request of a kind ("http" or "websocket") comes from elsewhere; "" where it does not.

    >>> foreign("http", {"host": "evil.example"}, any_host=False)
    'this page is served to this machine only, as localhost'
    >>> foreign("websocket", {"host": "localhost:1", "origin": "http://localhost:1"}, any_host=False)
    ''
    """
    host = headers.get("host", "")
    if not any_host and _name(host) not in _LOOPBACK:
        return "this page is served to this machine only, as localhost"
    origin = headers.get("origin")
    if origin is None and kind == "websocket":
        return "a socket must say which page it belongs to"
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return "asked for by a page from elsewhere"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
        return "asked for by a page from elsewhere"
    return ""


def _name(host: str) -> str:
    """The name in a Host header; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _let_in(scope: Scope, send: Send, token: str, query: Iterable[tuple[str, str]]) -> None:
    """Keep the token in a cookie and show the same page without it in the address."""
    rest = urlencode(list(query))
    # one slash: "//evil.example" would lead away
    place = "/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else "")
    place = urlsplit(place)._replace(scheme="", netloc="").geturl().replace("\r", "").replace("\n", "")
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
    headers = [(b"location", place.encode("latin-1", "ignore")), (b"set-cookie", cookie.encode())]
    await send({"type": "http.response.start", "status": 303, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    body = f"Colocus: {why}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
