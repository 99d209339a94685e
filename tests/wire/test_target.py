"""The request target: it is sent byte for byte as judged, and has only one reading.

SECURITY: policy bypass by paths that two servers read differently (RFC 3986 section 6, RFC 9112 section 3.2).
"""

from typing import Final

import pytest

from tests.support.in_process import Running
from tests.support.rows import Row, get, passed, play, refused, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Malformed HTTP ends the connection; a well-formed request for an odd path does not.
AMBIGUOUS: Final = {
    "dots": "/api/v2/threads/../companies/1",
    "dots-end": "/api/v2/threads/..",
    "dots-out": "/api/v2/../../etc/passwd",
    "dots-first": "/../api/v2/threads",
    "dot": "/api/v2/./threads",
    "dot-end": "/api/v2/threads/.",
    "dots-encoded": "/api/v2/threads/%2e%2e/companies/1",
    "dots-half-encoded": "/api/v2/threads/.%2e/companies/1",
    "dots-upper": "/api/v2/threads/%2E%2E/companies/1",
    "dot-encoded": "/api/v2/%2e/threads",
    "three-dots": "/api/v2/threads/...",
    "end-dot": "/api/v2/companies./1",
    "slash-encoded": "/api/v2/threads/..%2fcompanies%2f1",
    "slash-encoded-plain": "/api/v2/threads%2f1",
    "backslash-encoded": "/api/v2/threads/..%5ccompanies%5c1",
    "backslash": "/api/v2/threads\\..\\companies",
    "backslash-first": "/\\evil/api/v2/threads",
    "double-encoded": "/api/v2/threads/%252e%252e%252fcompanies",
    "double-encoded-digits": "/api/v2/threads/%%32%65%%32%65/companies",
    "triple-encoded": "/api/v2/threads/%25252e%25252e%25252fcompanies",
    "iis-unicode": "/api/v2/threads/%u002e%u002e/companies",
    "bad-escape": "/api/v2/threads/%g1",
    "cut-escape": "/api/v2/threads/%",
    "two-slashes": "/api/v2//companies/1",
    "two-slashes-first": "//api/v2/companies/1",
    "two-slashes-end": "/api/v2/threads//",
    "slash-end": "/api/v2/threads/",
    "root": "/",
    "params": "/api/v2/threads/..;/companies/1",
    "params-plain": "/api/v2/threads;v=1",
    "params-segment": "/api/v2/;/companies",
    "nul-encoded": "/api/v2/threads/%00/../..",
    "nul-end": "/api/v2/threads/1%00",
    "crlf-encoded": "/api/v2/threads/1%0d%0aX-Evil:%201",
    "lf-encoded": "/api/v2/threads/1%0a",
    "tab-encoded": "/api/v2/threads/1%09",
    "space-encoded": "/api/v2/threads/1%20",
    "overlong-dot": "/api/v2/threads/%c0%ae%c0%ae/companies",
    "overlong-slash": "/api/v2/threads%c0%af1",
    "overlong-3": "/api/v2/threads/%e0%80%ae%e0%80%ae/companies",
    "fullwidth-dot": "/api/v2/threads/%ef%bc%8e%ef%bc%8e/companies",
    "fraction-slash": "/api/v2/threads%e2%81%841",
    "letter-encoded": "/api/v2/threads/%41",
    "prefix-encoded": "/%61pi/v2/threads",
    "version-encoded": "/api/%762/threads",
    "question-encoded": "/api/v2/threads%3fx=1",
    "hash-encoded": "/api/v2/threads%23x",
    "fragment": "/api/v2/threads/1#/../../companies/2",
    "fragment-query": "/api/v2/threads/a#b?c",
    "fragment-in-query": "/api/v2/threads?a=b#c",
    "prefix-then-dots": "/api/v2x/..",
    "network-path": "//evil.test/api/v2/threads",
    "colon": "/api/v2/threads/a:b",
    "at": "/api/v2/threads/a@b",
    "comma": "/api/v2/threads/a,b",
    "plus": "/api/v2/threads/a+b",
    "star": "/api/v2/threads/*",
    "braces": "/api/v2/threads/{id}",
    "quote": '/api/v2/threads/a"b',
    "long-segment": "/api/v2/threads/" + "a" * 129,
    "absolute": "http://evil.test/api/v2/threads",
    "absolute-own": "https://productlane.com/api/v2/threads",
    "absolute-ftp": "ftp://evil.test/api/v2/threads",
    "absolute-userinfo": "http://a@evil.test/api/v2/threads",
}

NOT_HTTP: Final = {
    "no-slash": "api/v2/threads",
    "userinfo": "@evil.test/api/v2/threads",
    "glued-port": ":8080/api/v2/threads",
    "star": "*",
    "query-only": "?a=b",
    "authority": "evil.test:443",
    "space": "/api/v2/threads/a b",
    "tab": "/api/v2/threads/a\tb",
    "nul": "/api/v2/threads/a\x00b",
    "eight-bit": "/api/v2/threads/1\xff",
    "utf-8": "/api/v2/threads/\xc3\xa9",
    "eight-bit-query": "/api/v2/threads?a=\xff",
    "delete": "/api/v2/threads/\x7f",
    "cr": "/api/v2/threads/a\rb",
    "vertical-tab": "/api/v2/threads/a\x0bb",
}

UNKNOWN: Final = {
    "case": "/API/V2/threads",
    "case-literal": "/api/v2/Threads",
    "case-inner-literal": "/api/v2/contacts/By-Email",
    "prefix-overlap": "/api/v2x/threads",
    "no-prefix": "/threads",
    "base": "/api/v2",
    "deeper": "/api/v2/threads/1/2/3/4",
    "longer-word": "/api/v2/threadsx",
    "other": "/admin",
    "metrics": "/metrics",
    "probe": "/livez",
}

REFUSED: Final = [
    *(refused(name, get(target=target), closes=False) for name, target in AMBIGUOUS.items()),
    *(refused(f"not-http-{name}", get(target=target)) for name, target in NOT_HTTP.items()),
    *(refused(f"unknown-{name}", get(target=target), 404, closes=False) for name, target in UNKNOWN.items()),
    refused("v1", get(target="/api/v1/threads"), 410, closes=False, code="unsupported_api_version"),
]

GOOD: Final = [
    passed(name, get(target=target), sent(f"GET {target}"))
    for name, target in {
        "plain": "/api/v2/threads",
        "id": "/api/v2/threads/th_1.2~3-4",
        "hidden-name": "/api/v2/threads/.hidden",
        "dots-inside": "/api/v2/threads/a..b",
        "long-id": "/api/v2/threads/" + "a" * 128,
        "upper-id": "/api/v2/threads/ABC",
        "query-escapes": "/api/v2/threads?a=%2F&b=%41%7e&c=%C3%A9",
        "query-empty": "/api/v2/threads?",
        "query-odd": "/api/v2/threads?&&=&a=&a&b=?/:@;,!$'()*+\"<>[]\\^`{|}",
        "query-dots": "/api/v2/threads?next=/../../companies&x=..%2f..%2f",
        "query-nul": "/api/v2/threads?a=%00%0d%0a",
        "query-order": "/api/v2/threads?b=2&a=1&b=1",
        "query-bad-escape": "/api/v2/threads?a=%&b=%g1",
        "query-cursor": "/api/v2/threads?limit=50&cursor=eyJ%3D%3d==",
        "query-repeats": "/api/v2/threads?q=a+b%20c&q=a+b%20c&&",
        "query-dot-escapes": "/api/v2/threads?%2e%2e/%2E",
        "query-plus": "/api/v2/contacts/by-email?email=a+b%40c.test",
        "query-url": "/api/v2/threads?u=http://evil.test/",
        "query-long": "/api/v2/threads?" + "a" * (8192 - len("/api/v2/threads?")),
    }.items()
]


@pytest.mark.parametrize("row", REFUSED, ids=str)
async def test_a_target_with_two_readings_is_refused(wire: Running, row: Row) -> None:
    """Nothing of the request reaches the upstream, and no path is repaired."""
    await play(wire, row)


@pytest.mark.parametrize("row", GOOD, ids=str)
async def test_a_target_is_sent_as_it_came(wire: Running, row: Row) -> None:
    """Path and query reach the upstream byte for byte."""
    await play(wire, row)
