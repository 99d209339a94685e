"""What a parsed request must be before anything else looks at it: the gaps that aiohttp leaves open are closed here."""

import re
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from gateway.core.headers import check_request_headers
from gateway.core.refusal import Code, Reason, Refused

# RFC 3986 section 3.2.2: a name, an IPv4 address or a bracketed IPv6 address, and perhaps a port.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def check(request: web.BaseRequest) -> None:
    """Refuse a request that aiohttp accepts and this gateway does not. Raises `Refused`."""
    _check_version(request)
    _check_host(request)
    _check_framing(request)
    _check_expect(request)
    check_request_headers(request.headers.items())


def _check_version(request: web.BaseRequest) -> None:
    """aiohttp serves HTTP/0.9 and HTTP/2.0 request lines as requests (RFC 9112 section 2.3)."""
    if request.version not in ((1, 1), (1, 0)):
        raise Refused(Code.VERSION_NOT_SUPPORTED, Reason.FRAMING, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")


def _check_host(request: web.BaseRequest) -> None:
    """RFC 9112 section 3.2: HTTP/1.1 needs exactly one valid Host. It is judged and dropped, never sent on."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (not hosts and request.version >= (1, 1)) or not all(_HOST.fullmatch(host) for host in hosts):
        raise Refused(Code.INVALID_REQUEST, Reason.HEADERS, "The request needs exactly one valid Host field.")


def _check_framing(request: web.BaseRequest) -> None:
    """RFC 9112 section 6. aiohttp takes `gzip, chunked` and `,chunked` for chunked, and TE in HTTP/1.0."""
    codings = request.headers.getall("Transfer-Encoding", [])
    if codings and (request.version < (1, 1) or [coding.lower() for coding in codings] != ["chunked"]):
        raise Refused(Code.INVALID_REQUEST, Reason.FRAMING, "Transfer-Encoding may only be `chunked`.")
    if request.method in _NO_BODY and (codings or request.headers.get("Content-Length", "0").strip("0")):
        raise Refused(Code.INVALID_REQUEST, Reason.FRAMING, f"A {request.method} request has no body in this API.")


def _check_expect(request: web.BaseRequest) -> None:
    """RFC 9110 section 10.1.1. The gateway itself sends 100 Continue once the request is allowed."""
    expect = request.headers.get("Expect")
    if expect is not None and expect.lower() != "100-continue":
        raise Refused(Code.EXPECTATION_FAILED, Reason.HEADERS, "The only expectation met here is `100-continue`.")


def unparsed(failure: BaseException | None) -> Refused:
    """What a caller is told whose bytes are not HTTP. The parser's own text quotes them, so it is never used."""
    if isinstance(failure, LineTooLong):
        return Refused(Code.HEADERS_TOO_LARGE, Reason.HEADERS, "The request line or a header field is too long.")
    if isinstance(failure, HttpProcessingError):
        return Refused(Code.INVALID_REQUEST, Reason.FRAMING, "The request is not valid HTTP/1.1.")
    return Refused(Code.INTERNAL_ERROR, Reason.FAULT, "The gateway failed to serve this request.")
