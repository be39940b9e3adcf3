"""A request to an ASGI application without a network: what a browser would send, down to the headers."""

import asyncio
from dataclasses import dataclass, field


@dataclass
class Answer:
    """The answer to a request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def ask(app, target="/", headers=None, *, method="GET", body=(b"",)) -> Answer:
    """Send a request whose target is "/path?query" and whose body comes in pieces."""
    path, _, query = target.partition("?")
    answer, pieces = Answer(), list(body)

    async def receive():
        if not pieces:
            await asyncio.Event().wait()  # the visitor stays
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {key.decode(): value.decode() for key, value in message.get("headers", [])}
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    asyncio.run(app(_scope("http", path, query, headers) | {"method": method}, receive, send))
    return answer


def socket_opens(app, headers=None, path="/ws") -> bool:
    """Ask for a socket; True where it is accepted."""
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    asyncio.run(app(_scope("websocket", path, "", headers), receive, send))
    return sent[:1] == ["websocket.accept"]


def _scope(kind, path, query, headers):
    return {
        "type": kind, "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "scheme": "http", "http_version": "1.1", "server": ("localhost", 8421), "client": ("127.0.0.1", 5000),
        "headers": [(key.encode(), value.encode("latin-1")) for key, value in (headers or {}).items()],
        "extensions": {}, "asgi": {"version": "3.0"}, "state": {},
    }  # fmt: skip
