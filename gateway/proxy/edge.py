"""What a parsed request must be before anything else looks at it: the gaps that aiohttp leaves open are closed here."""

import re
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from gateway.core.headers import check_request_headers
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.target import MAX_TARGET, target_too_long

# A request's head in bytes, with all its line breaks, and how many fields it may have. One field may be nearly as long
# as the head: cookies, baggage and signed tokens are, elsewhere in front of callers, and 8 kB would refuse them.
MAX_HEAD: Final = 65_536
MAX_FIELDS: Final = 128
# aiohttp's parser enforces these while a head arrives, so that no more than one segment of a longer one is kept.
PARSER_LIMITS: Final = {"max_line_size": MAX_TARGET, "max_field_size": MAX_HEAD, "max_headers": MAX_FIELDS}

# RFC 3986 section 3.2.2: a name, an IPv4 address or a bracketed IPv6 address, and perhaps a port.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# What aiohttp's parser says past `max_headers`; it has no type of its own for it.
TOO_MANY_FIELDS: Final = "Too many headers received"
# What is left of a body up to this size is read and dropped, so that the connection can be used again.
_WORTH_READING: Final = 65_536
_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def check(request: web.BaseRequest) -> None:
    """Refuse a request that aiohttp accepts and this gateway does not. Raises `Refused`."""
    _check_version(request)
    _check_size(request)
    _check_method(request)
    _check_host(request)
    _check_framing(request)
    _check_expect(request)
    if "Via" in request.headers:
        check_request_headers(request.headers.items())


def _check_version(request: web.BaseRequest) -> None:
    """aiohttp serves HTTP/0.9 and HTTP/2.0 request lines as requests (RFC 9112 section 2.3)."""
    if request.version not in ((1, 1), (1, 0)):
        raise Refused(Code.VERSION_NOT_SUPPORTED, Reason.FRAMING, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")


def _check_size(request: web.BaseRequest) -> None:
    """RFC 6585 section 5. aiohttp bounds each field and their number, but not the head."""
    size = len(request.method) + len(request.raw_path) + len("  HTTP/1.1\r\n\r\n")
    for name, value in request.raw_headers:
        size += len(name) + len(value) + 4  # `: ` and the line break
    if size > MAX_HEAD:
        raise head_too_long()


def _check_method(request: web.BaseRequest) -> None:
    """What follows CONNECT is not HTTP (RFC 9110 section 9.3.6), so nothing after it on the connection is believed."""
    if request.method == "CONNECT":
        raise Refused(Code.INVALID_REQUEST, Reason.FRAMING, "This gateway opens no tunnels.")


def _check_host(request: web.BaseRequest) -> None:
    """RFC 9112 section 3.2: HTTP/1.1 needs exactly one valid Host. It is judged and dropped, never sent on."""
    hosts = request.headers.getall("Host", ())
    if len(hosts) > 1 or not (_HOST.fullmatch(hosts[0]) if hosts else request.version < (1, 1)):
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
    if any(expect.lower() != "100-continue" for expect in request.headers.getall("Expect", ())):
        raise Refused(Code.EXPECTATION_FAILED, Reason.HEADERS, "The only expectation met here is `100-continue`.")


def waits_for_continue(request: web.BaseRequest) -> bool:
    """Whether the caller sends its body only when it is asked to. HTTP/1.0 knows no 100 (RFC 9110 section 10.1.1)."""
    return "Expect" in request.headers and request.version >= (1, 1)


def may_stay_open(request: web.BaseRequest) -> bool:
    """Whether the connection can take another request after this one.

    Not after an offer to change the protocol, which is never taken up here: what follows it may be meant for the other
    protocol (RFC 9110 section 7.8). Not where a caller still waits to be asked for its body: whether it sends it after
    a final answer is its own choice, so the next bytes could be either (section 10.1.1). Not where much of a body is
    still to come that nobody reads any more (RFC 9112 section 9.6). Not after a chunked body: aiohttp 3.14's C parser
    takes the last trailer of one request for the first field of the next one on the connection, `Authorization` and
    all, and does not show that there was a trailer.
    """
    return (
        request.keep_alive
        and "Upgrade" not in request.headers
        and "Transfer-Encoding" not in request.headers
        and not _leaves_unread(request)
    )


def _leaves_unread(request: web.BaseRequest) -> bool:
    if request.content.is_eof():
        return False
    return waits_for_continue(request) or int(request.headers.get("Content-Length", "0")) > _WORTH_READING


def head_too_long() -> Refused:
    """The head is over `MAX_HEAD` or `MAX_FIELDS`."""
    return Refused(
        Code.HEADERS_TOO_LARGE,
        Reason.HEADERS,
        f"The request's head is longer than {MAX_HEAD} bytes or has more than {MAX_FIELDS} fields.",
    )


def unparsed(failure: BaseException | None) -> Refused:
    """What a caller is told whose bytes are not HTTP. The parser's own text quotes them, so it is never used."""
    if isinstance(failure, LineTooLong):
        # Its arguments are the line and the limit; only the request target has this limit.
        return target_too_long() if failure.args[1] == MAX_TARGET else head_too_long()
    if isinstance(failure, HttpProcessingError) and failure.message == TOO_MANY_FIELDS:
        return head_too_long()
    if isinstance(failure, HttpProcessingError):
        return Refused(Code.INVALID_REQUEST, Reason.FRAMING, "The request is not valid HTTP/1.1.")
    return Refused(Code.INTERNAL_ERROR, Reason.FAULT, "The gateway failed to serve this request.")
