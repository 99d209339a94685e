"""Rows of the tables: the bytes that a caller sends on one connection, and the complete expected result."""

from dataclasses import dataclass
from typing import Final

from gateway.core.headers import VIA
from tests.support.in_process import Running
from tests.support.raw_caller import Cut
from tests.support.sentinels import KEY, TOKEN

AUTH: Final = f"Host: gateway.test\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
# A request that is smuggled in some row: it must never be seen upstream, though this caller may send it.
HIDDEN: Final = b"GET /api/v2/companies/smuggled HTTP/1.1\r\n" + AUTH + b"\r\n"
# Sent after a row that keeps the connection open: the next answer and the next upstream request must be its own.
_NEXT: Final = b"GET /api/v2/threads/next HTTP/1.1\r\n" + AUTH + b"\r\n"
_NEXT_LINE: Final = "GET /api/v2/threads/next"


@dataclass(frozen=True)
class Row:
    """``raw`` are all bytes that are sent. ``status`` has each answer's status, in order.

    ``upstream`` is what arrives there, byte for byte and nothing more. ``closes`` tells that the last answer says so
    and that the connection then ends; else another request is answered on it.
    """

    name: str
    raw: bytes
    status: tuple[int, ...]
    closes: bool
    upstream: bytes = b""
    code: str = ""

    def __str__(self) -> str:
        return self.name


def get(*lines: str, target: str = "/api/v2/threads", body: bytes = b"", method: str = "GET") -> bytes:
    """A request with good credentials and these lines; latin-1 stands for the bytes."""
    extra = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return f"{method} {target} HTTP/1.1\r\n".encode("latin-1") + AUTH + extra + b"\r\n" + body


def post(*lines: str, body: bytes = b"", target: str = "/api/v2/threads") -> bytes:
    return get(*lines, target=target, body=body, method="POST")


def sent(line: str = "GET /api/v2/threads", *lines: str, framing: str = "", body: bytes = b"") -> bytes:
    """What reaches the upstream of a request: the whole head, with ``<host>`` for the upstream's own name."""
    head = [f"{line} HTTP/1.1", "Host: <host>", *lines, f"Via: {VIA}", f"Authorization: Bearer {KEY}"]
    return "\r\n".join([*head, *([framing] if framing else []), "", ""]).encode("latin-1") + body


def refused(name: str, raw: bytes, status: int = 400, *, closes: bool = True, code: str = "") -> Row:
    """One answer of the gateway's own, and nothing upstream."""
    return Row(name, raw, (status,), closes, code=code or _CODES.get(status, ""))


def passed(name: str, raw: bytes, *upstream: bytes, closes: bool = False) -> Row:
    """As many answers of the upstream's as requests reach it."""
    return Row(name, raw, (200,) * len(upstream), closes, b"".join(upstream))


_CODES: Final = {
    400: "invalid_request",
    401: "unauthenticated",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    410: "unsupported_key_version",
    413: "payload_too_large",
    414: "uri_too_long",
    417: "expectation_failed",
    431: "headers_too_large",
    505: "version_not_supported",
    508: "loop_detected",
}


async def play(run: Running, row: Row) -> None:
    """Send a row and check everything that it expects."""
    before = len(run.upstream.received)
    caller = await run.connect()
    await caller.send(row.raw)
    statuses: list[int] = []
    head_only = row.raw.startswith(b"HEAD ")
    response = None
    while len(statuses) < len(row.status):
        response = await caller.response(head_only=head_only)
        statuses.append(response.status)
    assert response is not None
    wanted = row.upstream

    assert row.status == tuple(statuses)
    if row.code:
        assert head_only or row.code == response.code
        assert (response.get("x-request-id") or "").startswith("req_")
        assert "productlane-gateway; error=" in (response.get("proxy-status") or "")
    assert ("close" if row.closes else None) == response.get("connection")
    if row.closes:
        caller.writer.write(HIDDEN)
        assert b"" == await caller.closed()
    else:
        await caller.send(_NEXT)
        assert 200 == (await caller.response()).status
        wanted += sent(_NEXT_LINE)
    await caller.close()
    host = run.upstream.url.split("/")[2].encode()
    assert wanted.replace(b"<host>", host) == bytes(run.upstream.received[before:])


async def dies(run: Running, raw: bytes) -> bytes:
    """The answer on a connection that sends this and then closes its sending side."""
    caller = await run.connect()
    await caller.send(raw)
    caller.writer.write_eof()
    try:
        return (await caller.response()).head
    except Cut as cut:
        return cut.received
