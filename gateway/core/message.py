"""HTTP/1.1 messages of the upstream leg (RFC 9112): heads read strictly, bodies framed, without any input or output."""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

MAX_HEAD: Final = 65_536
MAX_CHUNK_LINE: Final = 256
MAX_TRAILERS: Final = 16_384

_VERSION: Final = b"HTTP/1."
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
# RFC 9110 section 5.1 and 5.5. No white space before the colon, no obs-fold, no control characters. The white space
# around a value is stripped apart: an expression that sets it off takes quadratic time over a long run of spaces.
_LINE: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~\x80-\xff]*+"
_FIELD: Final = re.compile(_LINE)
_FIELDS: Final = re.compile(rb"(?:\r\n" + _LINE + rb")*+")
# What says how long the body is, and whether the connection stays.
_TELLING: Final = frozenset({"content-length", "transfer-encoding", "connection"})
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?")


class Malformed(ValueError):
    """The bytes are not a message that RFC 9112 allows. The text says what is wrong and quotes nothing."""


class Framing(Enum):
    """How the end of a body is known (RFC 9112 section 6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Head(NamedTuple):
    """A response head. ``length`` is the body's, where `Framing.LENGTH` or a bodiless answer states one."""

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    framing: Framing
    length: int | None
    keep_alive: bool


def check_beginning(raw: bytes) -> None:
    """Refuse what can no longer become a head, before its end has come: an upstream that ends lines with a bare LF, or
    that speaks something else, would else be waited for. Raises `Malformed`.
    """
    if not _VERSION.startswith(raw[: len(_VERSION)]):
        raise Malformed("the answer does not begin with HTTP/1")
    if _BARE_LF.search(raw):
        raise Malformed("a line ends without CR")


def read_head(raw: bytes, method: str) -> Head:
    """Read a response head up to but without its empty line, as the answer to a request with this method.

    Header values are decoded as UTF-8 with surrogates for other bytes. Raises `Malformed`.
    """
    end = raw.find(b"\r\n")
    matched = _STATUS_LINE.fullmatch(raw, 0, end if end >= 0 else len(raw))
    if matched is None:
        raise Malformed("the status line is not HTTP/1.0 or HTTP/1.1 with a status from 100 to 599")
    if end >= 0 and not _FIELDS.fullmatch(raw, end):
        raise Malformed("a header line is not `name: value`")
    minor, status = matched[1], int(matched[2])
    fields: list[tuple[str, str]] = []
    lengths: set[bytes] = set()
    codings: list[bytes] = []
    connection: set[bytes] = set()
    lines = raw[end + 2 :].decode("utf-8", "surrogateescape").split("\r\n") if end >= 0 else ()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.strip(" \t")
        fields.append((name, value))
        low = name.lower()
        if low in _TELLING:
            # As bytes: letters beyond ASCII have lower cases within it.
            said = value.encode("utf-8", "surrogateescape").lower()
            if low == "content-length":
                lengths.add(said)
            elif low == "transfer-encoding":
                codings.append(said)
            else:
                connection.update(token.strip() for token in said.split(b","))
    framing, length = _framing(method, status, minor, lengths, codings)
    keep_alive = b"close" not in connection and (minor == b"1" or b"keep-alive" in connection)
    reason = (matched[3] or b"").decode("utf-8", "surrogateescape")
    return Head(status, reason, tuple(fields), framing, length, keep_alive and framing is not Framing.CLOSE)


def _framing(
    method: str, status: int, minor: bytes, lengths: set[bytes], codings: list[bytes]
) -> tuple[Framing, int | None]:
    """RFC 9112 section 6.3, and where it lets a recipient choose, the choice that cannot be misread."""
    if len(lengths) > 1 or not all(text.isdigit() and len(text) <= 18 for text in lengths):
        raise Malformed("Content-Length is not one number")
    length = int(next(iter(lengths))) if lengths else None
    if codings:
        if length is not None:
            raise Malformed("both Content-Length and Transfer-Encoding are given")
        if codings != [b"chunked"] or minor == b"0":
            raise Malformed("Transfer-Encoding is not `chunked` alone")
    if method == "HEAD" or status < 200 or status in (204, 304):
        return Framing.NONE, length
    if codings:
        return Framing.CHUNKED, None
    return (Framing.CLOSE, None) if length is None else (Framing.LENGTH, length)


class Chunked:
    """Takes a chunked body apart (RFC 9112 section 7.1) as its bytes arrive. Extensions and trailers are dropped.

    ``done`` tells that the last chunk and the trailers have been read, ``surplus`` that bytes came after them.
    """

    __slots__ = ("_buffer", "_left", "_state", "_trailers", "done", "surplus")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = "size"
        self._trailers = 0
        self.done = False
        self.surplus = False

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body that these bytes complete. Raises `Malformed`."""
        data = self._buffer + data if self._buffer else data
        pieces: list[bytes] = []
        at = 0
        while True:
            if self._state == "data":
                piece = data[at : at + self._left]
                if piece:
                    pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = "end"
            if self._state == "end":
                if len(data) - at < 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise Malformed("a chunk is longer than its size says")
                at += 2
                self._state = "size"
            end = data.find(b"\r\n", at)
            if end < 0:
                if data.find(b"\n", at) >= 0:
                    raise Malformed("a line ends without CR")
                if len(data) - at > (MAX_CHUNK_LINE if self._state == "size" else MAX_TRAILERS):
                    raise Malformed("a chunk's size line or the trailers are too long")
                break
            line = data[at:end]
            at = end + 2
            if self._state == "size":
                self._size(line)
            elif line:
                self._trailer(line)
            else:
                self.done = True
                break
        self._buffer = b"" if self.done else data[at:]
        self.surplus = self.done and at < len(data)
        return pieces

    def _size(self, line: bytes) -> None:
        matched = _CHUNK_SIZE.fullmatch(line) if len(line) <= MAX_CHUNK_LINE else None
        if matched is None:
            raise Malformed("a chunk's size is not a hexadecimal number")
        self._left = int(matched[1], 16)
        self._state = "data" if self._left else "trailer"

    def _trailer(self, line: bytes) -> None:
        """Dropped, but not without end: the bound is on all of them."""
        self._trailers += len(line)
        if self._trailers > MAX_TRAILERS:
            raise Malformed("a chunk's size line or the trailers are too long")
        if not _FIELD.fullmatch(line):
            raise Malformed("a header line is not `name: value`")


def write_head(method: str, target: str, host: str, fields: Iterable[tuple[str, str]], length: int | None) -> bytes:
    """A request head with its empty line; ``length`` None frames the body as chunked, -1 says that there is none.

    Raises `Malformed` where a field could not be sent as one line.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif length >= 0:
        lines.append(f"Content-Length: {length}")
    head = "\r\n".join(lines)
    if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1 or "\0" in head:
        raise Malformed("a header field holds a line break or NUL")
    return head.encode("utf-8", "surrogateescape") + b"\r\n\r\n"
