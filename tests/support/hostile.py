"""Hostile requests: those of the tables of `tests.wire`, and broken ones with a secret in them."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Final

import tests.wire
from tests.support.rows import Row
from tests.support.sentinels import KEY, TOKEN

# What aiohttp's parser would quote: the offending line, or the lines around it.
MANGLED: Final = [
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\x01\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nAuthorization\x00: Bearer %b\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\n Authorization: Bearer %b\r\n\r\n",
    b"GET /api/v2/threads?token=%b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /api/v2/threads?token=%b HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET /api/v2/%b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"%b /api/v2/threads HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /api/v2/threads %b\r\nHost: a\r\n\r\n",
    b"%b\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: %b@evil\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nExpect: %b\r\n\r\n",
    b"POST /api/v2/threads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n",
    b"POST /api/v2/threads HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n",
    b"POST /api/v2/threads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nCookie: " + b"%b; " * 3000 + b"\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\n" + b"X: %b\r\n" * 200 + b"\r\n",
    b"GET /api/v2/" + b"%b" * 400 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nAuthorization: Basic %b\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b \r\nAuthorization: Bearer x\r\n\r\n",
    b"GET /api/v2/threads HTTP/1.1\r\nHost: a\r\ntraceparent: 00-%b-%b-01\r\nX-Request-Id: %b\r\n\r\n",
    b"GET /api/v2/me HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nVia: %b productlane-gateway\r\n\r\n",
]


def wire_rows() -> Iterator[bytes]:
    """The bytes of every row of every table in `tests.wire`."""
    for module in pkgutil.iter_modules(tests.wire.__path__):
        for table in vars(importlib.import_module(f"tests.wire.{module.name}")).values():
            if isinstance(table, list):
                yield from (row.raw for row in table if isinstance(row, Row))


def mangled() -> Iterator[bytes]:
    """Each broken request with the caller's token in it, and with a key of the gateway's, as a caller might have it."""
    for raw in MANGLED:
        for secret in (TOKEN.encode(), KEY.encode()):
            yield raw.replace(b"%b", secret)
