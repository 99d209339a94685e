"""HTTP/1.1 messages of the upstream leg (RFC 9112): heads read strictly, bodies framed, without any input or output."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from gateway.core.field_rules import Rules
from gateway.core.headers import tokens, walk

MAX_HEAD: Final = 65_536
MAX_CHUNK_LINE: Final = 256
MAX_TRAILERS: Final = 16_384

_VERSION: Final = b"HTTP/1."
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_STATUS_LINE: Final = rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*+))?"
# RFC 9110 section 5.1 and 5.5. No white space before the colon, no obs-fold, no control characters. The white space
# around a value is stripped apart: an expression that sets it off takes quadratic time over a long run of spaces.
_LINE: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~\x80-\xff]*+"
_FIELD: Final = re.compile(_LINE)
_BEGINNING: Final = re.compile(_STATUS_LINE + rb"\r\n")
_HEAD: Final = re.compile(_STATUS_LINE + rb"((?:\r\n" + _LINE + rb")*+)")
# Nearly every head has each line as `name: value`, which can be taken as it is.
_USUAL_LINE: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++: (?![\t ])[\t -~\x80-\xff]++(?<![\t ])"
_USUAL_HEAD: Final = re.compile(_STATUS_LINE + rb"((?:\r\n" + _USUAL_LINE + rb")*+)")
# RFC 9110 section 6.5.1: what frames or routes a message is no trailer.
_NO_TRAILERS: Final = frozenset({b"content-length", b"host", b"transfer-encoding"})
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
    """A response head. ``length`` is the body's, where `Framing.LENGTH` or a bodiless answer states one.

    ``lines`` are the fields that cross, ``read`` the values of those that the gateway reads (`gateway.core.headers`).
    """

    status: int
    reason: bytes
    lines: list[bytes]
    read: dict[bytes, list[bytes]]
    framing: Framing
    length: int | None
    keep_alive: bool

    def first(self, name: bytes) -> str | None:
        """The first value of a field that the gateway reads; ``name`` is in lower case."""
        values = self.read.get(name)
        return None if values is None else values[0].decode("utf-8", "surrogateescape")


def check_beginning(raw: bytes | bytearray, seen: int = 0) -> None:
    """Refuse a beginning that cannot become a head. Otherwise the gateway would wait for its end from an upstream that
    ends lines with a bare LF, or speaks another protocol. So many bytes were ``seen`` before. Raises `Malformed`.
    """
    if not _VERSION.startswith(raw[: len(_VERSION)]):
        raise Malformed("the answer does not begin with HTTP/1")
    if _BARE_LF.search(raw, seen):
        raise Malformed("a line ends without CR")


def read_head(raw: bytes, method: str, rules: Rules) -> Head:
    """Read a response head up to but without its empty line, as the answer to a request with this method.

    Raises `Malformed`.
    """
    matched = _USUAL_HEAD.fullmatch(raw)
    if matched is not None:
        minor, code, reason, block = matched.groups()
        lines = block.split(b"\r\n")
    else:
        matched = _HEAD.fullmatch(raw)
        if matched is None:
            raise Malformed(
                "a header line is not `name: value`"
                if _BEGINNING.match(raw)
                else "the status line is not HTTP/1.0 or HTTP/1.1 with a status from 100 to 599"
            )
        minor, code, reason, block = matched.groups()
        pairs = [line.partition(b":") for line in block.split(b"\r\n")]
        lines = [name + b": " + value.strip(b" \t") for name, _, value in pairs]
    # The first is what comes before the first line break: nothing.
    del lines[0]
    status = int(code)
    fields = walk(lines, rules)
    read = fields.read
    framing, length = _framing(method, status, minor, read.get(b"content-length"), read.get(b"transfer-encoding"))
    keep_alive = minor == b"1" and framing is not _CLOSE
    if b"connection" in read and framing is not _CLOSE:
        options = tokens(read[b"connection"])
        keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
    return Head(status, reason or b"", fields.lines, read, framing, length, keep_alive)


def _framing(
    method: str, status: int, minor: bytes, lengths: list[bytes] | None, codings: list[bytes] | None
) -> tuple[Framing, int | None]:
    """RFC 9112 section 6.3, and where it lets a recipient choose, the choice that cannot be misread."""
    length = None
    if lengths is not None:
        text = lengths[0]
        if not text.isdigit() or len(text) > 18 or lengths.count(text) != len(lengths):
            raise Malformed("Content-Length is not one number")
        length = int(text)
    if codings is not None:
        if length is not None:
            raise Malformed("both Content-Length and Transfer-Encoding are given")
        if len(codings) > 1 or codings[0].lower() != b"chunked" or minor == b"0":
            raise Malformed("Transfer-Encoding is not `chunked` alone")
    if method == "HEAD" or status < 200 or status in (204, 304):
        return _NONE, length
    if length is not None:
        return _LENGTH, length
    return (_CLOSE if codings is None else _CHUNKED), None


# An attribute of an enumeration is looked up far more slowly than a global.
_CHUNKED, _CLOSE, _LENGTH, _NONE = Framing.CHUNKED, Framing.CLOSE, Framing.LENGTH, Framing.NONE


class Chunked:
    """Takes a chunked body apart (RFC 9112 section 7.1) as its bytes arrive. Extensions and trailers are dropped.

    ``done`` tells that the last chunk and the trailers have been read; bytes that came after them are the ``rest``.
    ``held`` tells that whole chunks are still to be read: `feed` takes ``most`` at a time, since each costs the same
    whatever is in it. ``longest`` bounds the line of a chunk's size, in bytes.
    """

    __slots__ = ("_buffer", "_left", "_longest", "_most", "_state", "_trailers", "done", "held", "rest")

    def __init__(self, *, most: int = 1 << 30, longest: int = MAX_CHUNK_LINE) -> None:
        self._buffer = b""
        self._left = 0
        self._longest = longest
        self._most = most
        self._state = "size"
        self._trailers = 0
        self.done = False
        self.held = False
        self.rest = b""

    @property
    def kept(self) -> int:
        """How many bytes are still to be read."""
        return len(self._buffer)

    def keep(self, data: bytes) -> None:
        """Take bytes that a later `feed` reads."""
        self._buffer += data

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body that these bytes complete. Raises `Malformed`."""
        data = self._buffer + data if self._buffer else data
        pieces: list[bytes] = []
        at = 0
        self.held = False
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
                if len(pieces) >= self._most:
                    self.held = True
                    break
            after = self._line(data, at)
            if after < 0:
                break
            at = after
            if self.done:
                break
        self._buffer = b"" if self.done else data[at:]
        self.rest = data[at:] if self.done else b""
        return pieces

    def _line(self, data: bytes, at: int) -> int:
        """Read a chunk's size or a trailer; returns where its line ends, -1 while that has not arrived."""
        end = data.find(b"\r\n", at)
        if end < 0:
            if data.find(b"\n", at) >= 0:
                raise Malformed("a line ends without CR")
            if len(data) - at > (self._longest if self._state == "size" else MAX_TRAILERS):
                raise Malformed("a chunk's size line or the trailers are too long")
            return -1
        line = data[at:end]
        if self._state == "size":
            self._size(line)
        elif line:
            self._trailer(line)
        else:
            self.done = True
        return end + 2

    def _size(self, line: bytes) -> None:
        matched = _CHUNK_SIZE.fullmatch(line) if len(line) <= self._longest else None
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
        if line.partition(b":")[0].lower() in _NO_TRAILERS:
            raise Malformed("a trailer is a field that routes or frames a message")


def write_head(
    method: str, target: bytes, host: bytes, lines: Sequence[bytes], more: bytes, length: int | None
) -> bytes:
    """A request head with its empty line. ``lines`` are fields, ``more`` are fields with their line breaks.

    ``length`` None frames the body as chunked, -1 says that there is none. Raises `Malformed` where a field could not
    be sent as one line.
    """
    head = b"\r\n".join((b"%b %b HTTP/1.1\r\nHost: %b" % (method.encode(), target, host), *lines, b""))
    breaks = len(lines) + 2
    if head.count(b"\r") != breaks or head.count(b"\n") != breaks or b"\0" in head:
        raise Malformed("a header field holds a line break or NUL")
    if length is None:
        return head + more + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + more + (b"Content-Length: %d\r\n\r\n" % length if length >= 0 else b"\r\n")
