"""Methods, hosts and versions: the parts around the target in a request's first lines.

SECURITY: method override, Host injection, version confusion (RFC 9110 section 9, RFC 9112 sections 2.3 and 3.2).
"""

from typing import Final

import pytest

from tests.support.in_process import Running
from tests.support.rows import AUTH, Row, get, passed, play, refused, sent
from tests.support.sentinels import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

CREDENTIAL: Final = f"Authorization: Bearer {TOKEN}\r\n".encode()


def _line(line: bytes, fields: bytes = AUTH) -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


def _hosts(*values: str) -> bytes:
    fields = "".join(f"Host: {value}\r\n" for value in values).encode("latin-1")
    return _line(b"GET /api/v2/threads HTTP/1.1", fields + CREDENTIAL)


NO_SUCH_METHOD: Final = [
    refused(f"method-{method}", get(method=method))
    for method in ("get", "Get", "FROB", "GETT", "G E T", "PO\x00ST", "", "GET\x0b", "X" * 100, "GE\xc5\xbf")
] + [
    refused(f"method-{method}", get(method=method), 405, closes=False)
    for method in ("TRACE", "OPTIONS", "PUT", "PROPFIND", "MKCOL", "LOCK", "SEARCH", "PURGE", "QUERY", "LINK")
] + [
    refused("options-star", get(method="OPTIONS", target="*"), closes=False),
    refused("delete-on-list", get(method="DELETE"), 405, closes=False),
]  # fmt: skip

OVERRIDES: Final = [
    passed(f"override-{name}", get(f"{name}: DELETE"), sent())
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override")
] + [
    passed("override-query", get(target="/api/v2/threads?_method=DELETE"), sent("GET /api/v2/threads?_method=DELETE")),
    passed("head", get(method="HEAD"), sent("HEAD /api/v2/threads")),
]  # fmt: skip

VERSIONS: Final = [
    refused("http-0.9", _line(b"GET /api/v2/threads HTTP/0.9"), 505),
    refused("http-2.0", _line(b"GET /api/v2/threads HTTP/2.0"), 505),
    refused("no-version", b"GET /api/v2/threads\r\n\r\n", 505),
    refused("no-version-fields", b"GET /api/v2/threads\r\n" + AUTH + b"\r\n", 505),
    refused("http-1.2", _line(b"GET /api/v2/threads HTTP/1.2")),
    refused("http-1.10", _line(b"GET /api/v2/threads HTTP/1.10")),
    refused("http-3", _line(b"GET /api/v2/threads HTTP/3")),
    refused("http-01.1", _line(b"GET /api/v2/threads HTTP/01.1")),
    refused("http-lower", _line(b"GET /api/v2/threads http/1.1")),
    refused("http-mixed", _line(b"GET /api/v2/threads Http/1.1")),
    refused("http-comma", _line(b"GET /api/v2/threads HTTP/1,1")),
    refused("http-minus", _line(b"GET /api/v2/threads HTTP/-1.1")),
    refused("http-junk", _line(b"GET /api/v2/threads HTTP/1.1x")),
    refused("http-space", _line(b"GET /api/v2/threads HTTP/1.1 ")),
    refused("http-second", _line(b"GET /api/v2/threads HTTP/1.1 HTTP/1.1")),
    refused("ice", _line(b"GET /api/v2/threads ICE/1.1")),
    refused("rtsp-method", _line(b"DESCRIBE /api/v2/threads RTSP/1.0"), 405),
    # aiohttp's parser accepts RTSP/1.1 as HTTP/1.1; the request is served and forwarded as HTTP.
    passed("rtsp-name", _line(b"GET /api/v2/threads RTSP/1.1"), sent()),
    refused("tab-between", _line(b"GET\t/api/v2/threads HTTP/1.1")),
    refused("space-before", _line(b" GET /api/v2/threads HTTP/1.1")),
    refused("no-target", _line(b"GET HTTP/1.1")),
    refused("nothing", _line(b"GET")),
    passed("spaces", _line(b"GET  /api/v2/threads  HTTP/1.1"), sent()),
]

HOSTS: Final = [
    refused(f"host-{name}", _hosts(*values), closes=len(values) != 1)
    for name, values in {
        "none": (),
        "two": ("a.test", "b.test"),
        "two-equal": ("a.test", "a.test"),
        "userinfo": ("a@b.test",),
        "path": ("a.test/b",),
        "path-userinfo": ("a/b@c",),
        "list": ("a.test, b.test",),
        "space": ("a b",),
        "port-words": ("a.test:http",),
        "port-long": ("a.test:123456",),
        "ports": ("a.test:80:80",),
        "quote": ('a"b',),
        "semicolon": ("a;b",),
        "backslash": ("a\\b",),
        "percent": ("a%2eb",),
        "eight-bit": ("a\xffb",),
        "bracket": ("[::1",),
        "bracket-words": ("[evil.test]",),
        "query": ("a.test?x",),
        "fragment": ("a.test#x",),
        "url": ("http://a.test",),
        "template": ("${jndi:ldap://a.test}",),
    }.items()
]
# An empty Host is what RFC 9112 section 3.2 sends for a target without authority; ours has one.
HOSTS.append(refused("host-empty", _hosts(""), closes=False))

GOOD_HOSTS: Final = [
    passed(f"host-{name}", _hosts(value), sent())
    for name, value in {
        "name": "evil.test",
        "upstream": "productlane.com",
        "port": "gateway.test:8080",
        "address": "10.0.0.1:8080",
        "v6": "[::1]:8080",
        "underscore": "my_gateway.test",
        "end-dot": "gateway.test.",
    }.items()
] + [
    passed(f"host-by-{name}", get(f"{name}: evil.test"), sent())
    for name in ("X-Forwarded-Host", "X-Original-Host", "X-Host", "X-Forwarded-Server", "Forwarded", "X-Original-URL",
                 "X-Rewrite-URL", "X-Forwarded-Prefix", "X_Forwarded_Host")
]  # fmt: skip


@pytest.mark.parametrize("row", [*NO_SUCH_METHOD, *OVERRIDES], ids=str)
async def test_only_the_request_line_says_what_the_method_is(wire: Running, row: Row) -> None:
    """A method that the endpoint does not have is refused, and no field or query changes the method."""
    await play(wire, row)


@pytest.mark.parametrize("row", VERSIONS, ids=str)
async def test_only_http_1_is_spoken(wire: Running, row: Row) -> None:
    """A request line of another version or form is refused, and the connection ends."""
    await play(wire, row)


@pytest.mark.parametrize("row", [*HOSTS, *GOOD_HOSTS], ids=str)
async def test_the_upstreams_host_is_never_the_callers_choice(wire: Running, row: Row) -> None:
    """An odd Host is refused; a good one, and whatever else names a host, is dropped."""
    await play(wire, row)
