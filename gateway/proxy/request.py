"""A request as its head was parsed: walked once, and checked for what aiohttp accepts and this gateway does not."""

import re
from typing import Final

from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.core.field_rules import Rules
from gateway.core.headers import Fields, check_via, walk
from gateway.core.limits import Limit
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.target import MAX_TARGET, target_too_long
from gateway.proxy.request_body import Body
from gateway.telemetry.ids import read_request_id, trace_id

# A request's head in bytes, with all its line breaks, and how many fields it may have. One field may be nearly as long
# as the head: cookies, baggage and signed tokens are, elsewhere in front of callers, and 8 kB would refuse them.
MAX_HEAD: Final = 65_536
MAX_FIELDS: Final = 128

# RFC 3986 section 3.2.2: a name, an IPv4 address or a bracketed IPv6 address, and perhaps a port.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# What aiohttp's parser says past `max_headers`; it has no type of its own for it.
TOO_MANY_FIELDS: Final = "Too many headers received"
_TLS_IN_CLEAR: Final = "Received HTTPS traffic on an HTTP port"
# What is left of a body up to this size is read and dropped, so that the connection can be used again.
_WORTH_READING: Final = 65_536
_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# Fields that are judged each time they come.
_EACH_TIME: Final = frozenset({b"expect", b"transfer-encoding", b"upgrade", b"via"})
NO_FIELDS: Final = CIMultiDictProxy(CIMultiDict[str]())
_NOTHING: Final = Fields([], {}, None)


class Shown:
    """The values of ``Authorization``. ``identified`` is the caller by a token of its own, once that is known, with the
    mark of the `Identification` that knows it.
    """

    __slots__ = ("identified", "values")

    def __init__(self, values: list[bytes] | None) -> None:
        self.values = values
        self.identified: tuple[object, str] | None = None

    def known_by(self, mark: object) -> str | None:
        """The caller, where the `Identification` with this mark has found its token before."""
        known = self.identified
        return known[1] if known is not None and known[0] is mark else None


class Request:
    """One request. ``refused`` says why it is refused whatever it asks for; else ``body`` is what carries its body.
    ``refused_fields`` are the names of fields that stay behind because no list names them.

    ``target`` is as the caller sent it, other bytes than UTF-8 as surrogates. ``fields`` are the parser's own.
    ``persists`` tells that the caller can send another request on the connection. ``size`` is the head's, in bytes.
    ``caller_request_id`` and ``trace_id`` are as the record has them. ``shown`` is what says who the
    caller is; later requests of the connection that show the same share it.
    """

    __slots__ = (
        "body",
        "caller_request_id",
        "fields",
        "http10",
        "length",
        "lines",
        "method",
        "persists",
        "read",
        "refused",
        "refused_fields",
        "shown",
        "size",
        "target",
        "trace_id",
    )

    def __init__(self, message: RawRequestMessage | None, walked: Fields = _NOTHING, size: int = 0) -> None:
        self.method = "" if message is None else message.method
        self.target = "" if message is None else message.path
        self.fields = NO_FIELDS if message is None else message.headers
        self.caller_request_id = read_request_id(self.fields.get("X-Request-Id"))
        self.trace_id = trace_id(self.fields.get("traceparent"))
        self.http10 = message is not None and message.version < (1, 1)
        self.persists = message is not None and not message.should_close
        self.lines = walked.lines
        self.read = walked.read
        self.refused_fields = walked.refused
        self.size = size
        self.length: int | None = 0
        self.body: Body | None = None
        self.refused: Refused | None = None
        self.shown = Shown(walked.read.get(b"authorization"))

    def again(self, method: str, target: str, size: int) -> "Request":
        """A request with the same fields, where this one is `repeatable`; ``method`` is one of no content."""
        request = _new(Request)
        request.method, request.target, request.size = method, target, size
        request.fields, request.lines, request.read = self.fields, self.lines, self.read
        request.refused_fields = self.refused_fields
        request.http10, request.persists = False, True
        request.length, request.body, request.refused = 0, None, None
        request.shown = self.shown
        request.caller_request_id, request.trace_id = self.caller_request_id, self.trace_id
        return request

    def again_with_content(self, method: str, target: str, size: int, stated: bytes) -> "Request":
        """A request with the same fields but for its one ``Content-Length``, the digits ``stated``, where this one is
        `repeatable`; ``method`` is one of content.
        """
        request = self.again(method, target, size)
        request.length = int(stated)
        if self.read[b"content-length"] != [stated]:
            request.read = {**self.read, b"content-length": [stated]}
            fields = CIMultiDict(self.fields)
            fields["Content-Length"] = stated.decode()
            request.fields = CIMultiDictProxy(fields)
        return request

    @property
    def repeatable(self) -> bool:
        """Whether another request with these fields would be as this one, but for the length of its content."""
        plain = self.persists and not self.http10 and self.refused is None
        return plain and _EACH_TIME.isdisjoint(self.read)

    @property
    def authorization(self) -> list[str]:
        """The values of ``Authorization``. A valid request has at most one."""
        values = self.read.get(b"authorization")
        return [] if values is None else [value.decode("utf-8", "surrogateescape") for value in values]

    @property
    def awaits_continue(self) -> bool:
        """Whether the caller waits to be asked for its body. HTTP/1.0 knows no 100 (RFC 9110 section 10.1.1)."""
        return b"expect" in self.read and not self.http10

    @property
    def states_no_content(self) -> bool:
        """Whether a request that could have content says that it has none."""
        return self.length == 0 and b"content-length" in self.read and self.method not in _NO_BODY

    @property
    def may_stay_open(self) -> bool:
        """Whether the connection can take another request after this one.

        Not after an offer to change the protocol, which is never taken up here: what follows it may be meant for the
        other protocol (RFC 9110 section 7.8). Not where a caller still waits to be asked for its body: whether it sends
        it after a final answer is its own choice, so the next bytes could be either (section 10.1.1). Not where much of
        a body is still to come that nobody reads any more (RFC 9112 section 9.6), and not after a chunked body, whose
        end depends on more than a number.
        """
        if not self.persists or b"upgrade" in self.read or b"transfer-encoding" in self.read:
            return False
        if self.body is None or self.body.done:
            return True
        return not self.awaits_continue and self.body.left <= _WORTH_READING


_new: Final = Request.__new__


def refused_request(refused: Refused) -> Request:
    """Stands for bytes that are not a request; its connection ends."""
    request = Request(None)
    request.refused = refused.with_traceback(None)
    return request


def read_request(message: RawRequestMessage, rules: Rules, size: int) -> Request:
    """Walk a parsed head of ``size`` bytes, and check it."""
    request = Request(message, walk([name + b": " + value for name, value in message.raw_headers], rules), size)
    try:
        _check(request, message)
    except Refused as refused:
        request.refused = refused.with_traceback(None)  # It leads to this frame, which has the request.
    return request


def _check(request: Request, message: RawRequestMessage) -> None:
    """Raises `Refused` for a request that aiohttp accepts and this gateway does not."""
    read = request.read
    # These end the connection, and come first: until the framing is known, nothing after the head can be read.
    # aiohttp serves HTTP/0.9 and HTTP/2.0 request lines as requests (RFC 9112 section 2.3).
    if message.version not in ((1, 1), (1, 0)):
        raise Refused(Code.VERSION_NOT_SUPPORTED, Reason.FRAMING, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    # What follows CONNECT is not HTTP (RFC 9110 section 9.3.6), so nothing after it on the connection is believed.
    if request.method == "CONNECT":
        raise Refused(Code.INVALID_REQUEST, Reason.FRAMING, "This gateway opens no tunnels.")
    if b"content-length" in read or b"transfer-encoding" in read:
        _check_framing(request)
    # RFC 6585 section 5. aiohttp bounds each field and their number, but not the head.
    if request.size > MAX_HEAD:
        raise head_too_long()
    # RFC 9112 section 3.2: HTTP/1.1 needs exactly one valid Host. It is judged and dropped, never sent on.
    hosts = read.get(b"host", ())
    if len(hosts) > 1 or not (_HOST.fullmatch(hosts[0]) if hosts else request.http10):
        raise Refused(Code.INVALID_REQUEST, Reason.HEADERS, "The request needs exactly one valid Host field.")
    # RFC 9110 section 10.1.1. The gateway itself sends 100 Continue once the request is allowed.
    if b"expect" in read and any(expect.lower() != b"100-continue" for expect in read[b"expect"]):
        raise Refused(Code.EXPECTATION_FAILED, Reason.HEADERS, "The only expectation met here is `100-continue`.")
    if b"via" in read:
        check_via(read[b"via"])


def _check_framing(request: Request) -> None:
    """RFC 9112 section 6. aiohttp takes `gzip, chunked` and `,chunked` for chunked, and TE in HTTP/1.0."""
    codings = request.read.get(b"transfer-encoding")
    if codings is not None and (request.http10 or [coding.lower() for coding in codings] != [b"chunked"]):
        raise Refused(Code.INVALID_REQUEST, Reason.FRAMING, "Transfer-Encoding may only be `chunked`.")
    request.length = None if codings is not None else int(request.read[b"content-length"][0])
    if request.method in _NO_BODY and request.length != 0:
        raise Refused(Code.INVALID_REQUEST, Reason.FRAMING, f"A {request.method} request has no body in this API.")


def head_too_long() -> Refused:
    """The head is over `MAX_HEAD` or `MAX_FIELDS`."""
    return Refused(
        Code.HEADERS_TOO_LARGE,
        Reason.HEADERS,
        f"The request's head is longer than {MAX_HEAD} bytes or has more than {MAX_FIELDS} fields.",
        limit=Limit.HEAD_SIZE,
    )


def unparsed(failure: BaseException) -> Refused:
    """The refusal of bytes that are not HTTP. The parser's own text quotes the bytes, so it is never used."""
    if isinstance(failure, LineTooLong):
        # Its arguments are the line and the limit; only the request target has this limit.
        return target_too_long() if failure.args[1] == MAX_TARGET else head_too_long()
    if isinstance(failure, HttpProcessingError) and failure.message == TOO_MANY_FIELDS:
        return head_too_long()
    if isinstance(failure, HttpProcessingError):
        fix = ""
        if isinstance(failure, BadHttpMethod):
            tls = failure.message == _TLS_IN_CLEAR
            fix = "use http://, since this listener has no TLS" if tls else "write the method in capitals, as `GET`"
        return Refused(Code.INVALID_REQUEST, Reason.FRAMING, "The request is not valid HTTP/1.1.", fix=fix)
    return Refused(Code.INTERNAL_ERROR, Reason.FAULT, "The gateway failed to serve this request.")
