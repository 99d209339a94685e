"""`gateway.core.message` accepts the same HTTP messages as h11, an independent strict parser."""

import re
import time
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.field_rules import Rule, Rules
from gateway.core.message import (
    MAX_CHUNK_LINE,
    MAX_TRAILERS,
    Chunked,
    Framing,
    Head,
    Malformed,
    read_head,
    write_head,
)

Pieces = list[bytes]


class Everything(Rules):
    """Every field crosses and is read."""

    def unlisted(self, low: bytes) -> Rule:
        return Rule.READ_AND_KEEP


EVERYTHING = Everything()
CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"


def asked(method: str = "GET") -> h11.Connection:
    """h11 as a client that has sent a request and waits for the answer."""
    client = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    return client


def h11_reads(raw: bytes, method: str = "GET") -> tuple[int, list[tuple[bytes, bytes]], bytes, bool]:
    """Status, fields, body and whether the answer came to its end, as h11 reads them. Raises RemoteProtocolError."""
    client = asked(method)
    client.receive_data(raw)
    status, body = 0, b""
    fields: list[tuple[bytes, bytes]] = []
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            return status, fields, body, False
        if isinstance(event, h11.Response):
            status, fields = event.status_code, [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, fields, body, True


def ours_reads(raw: bytes, method: str = "GET") -> tuple[Head, bytes, bool]:
    """The head, the body and whether it came to its end, as the gateway reads them. Raises Malformed."""
    head_bytes, _, rest = raw.partition(b"\r\n\r\n")
    head = read_head(head_bytes, method, EVERYTHING)
    if head.framing is Framing.CHUNKED:
        chunked = Chunked()
        body = b"".join(chunked.feed(rest))
        return head, body, chunked.done
    if head.framing is Framing.LENGTH:
        assert head.length is not None
        return head, rest[: head.length], len(rest) >= head.length
    return head, b"" if head.framing is Framing.NONE else rest, head.framing is Framing.NONE


names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in {"content-length", "transfer-encoding", "connection"}
)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
framings = st.sampled_from(
    [
        "",
        "Content-Length: 5",
        "Content-Length: 0",
        "content-length:5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 5 5",
        "Content-Length: ",
        "Content-Length: 0x5",
        "Content-Length: -1",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: CHUNKED",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding : chunked",
        " Content-Length: 5",
        "X: a\r\n b",
        "X: a\x01",
        "X: a\nContent-Length: 5",
        "X",
        ": a",
    ]
)
bodies = st.sampled_from(
    [b"", b"hello", b"hello, more", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n", b"0\r\nX: y\r\n\r\n", b"zz\r\n"]
)


@given(
    version=st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "http/1.1"]),
    status=st.sampled_from(["200", "204", "304", "404", "599", "99", "2000", "abc"]),
    fields=st.lists(st.tuples(names, values), max_size=3),
    framing=framings,
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    body=bodies,
)
@example("HTTP/1.1", "200", [], "Transfer-Encoding: chunked", "GET", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n")
def test_what_the_gateway_accepts_h11_reads_alike(
    version: str, status: str, fields: list[tuple[str, str]], framing: str, method: str, body: bytes
) -> None:
    """An answer that is relayed has one meaning: a second strict reader finds the same status, fields and body."""
    lines = [f"{version} {status} X", *(f"{name}: {value}" for name, value in fields), *([framing] if framing else [])]
    raw = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    try:
        head, ours, ended = ours_reads(raw, method)
    except Malformed:
        return
    theirs = h11_reads(raw, method)
    # As sets and in lower case: h11 folds equal Content-Length fields into one.
    read_by_us = {(name.lower(), value.lower()) for name, _, value in (line.partition(b": ") for line in head.lines)}

    assert (theirs[0], theirs[2], theirs[3]) == (head.status, ours, ended)
    assert {(name, value.lower()) for name, value in theirs[1]} == read_by_us


chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def framed(pieces: Pieces, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """A chunked body."""
    sized = [b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces]
    return b"".join(sized) + b"0" + extension + b"\r\n" + trailers + b"\r\n"


@given(
    pieces=chunks,
    extension=st.sampled_from([b"", b";a", b";a=b", b';a="b c"']),
    trailers=st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nZ:\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_any_split_of_a_chunked_body_gives_the_same_bytes(
    pieces: Pieces, extension: bytes, trailers: bytes, cuts: list[int]
) -> None:
    """However the network cuts an answer up, the caller gets the same body, and nothing after it is taken for body."""
    raw = framed(pieces, extension, trailers)
    marks = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    chunked = Chunked()
    got: Pieces = []
    for start, end in pairwise(marks):
        assert not chunked.done
        got += chunked.feed(raw[start:end])

    assert b"".join(pieces) == b"".join(got)
    assert chunked.done
    assert b"" == chunked.rest
    assert (b"".join(pieces), True) == h11_reads(CHUNKED + raw)[2:]


@given(pieces=chunks, at=st.integers(0, 300), byte=st.integers(0, 255))
def test_a_damaged_chunked_body_is_never_read_as_another_one(pieces: Pieces, at: int, byte: int) -> None:
    """A byte put anywhere into a chunked body is refused, waited upon, or read as h11 reads it."""
    raw = framed(pieces)
    raw = raw[: at % (len(raw) + 1)] + bytes([byte]) + raw[at % (len(raw) + 1) :]
    chunked = Chunked()
    try:
        body = b"".join(chunked.feed(raw))
    except Malformed:
        return
    if not chunked.done:
        return

    assert (body, True) == h11_reads(CHUNKED + raw)[2:]


@pytest.mark.parametrize(
    "raw",
    [
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"5_0\r\n",
        b"11111111111111111\r\n",
        b" 5\r\nhello\r\n",
        b"\r\nhello\r\n",
        b"5;a\x00b\r\nhello\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"4\r\nhello\r\n0\r\n\r\n",
        b"0\r\nnot a field\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"5" + b";" + b"a" * MAX_CHUNK_LINE + b"\r\n",
        b"5" * (MAX_CHUNK_LINE + 1),
    ],
)
def test_a_chunk_that_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    """A size that one reader takes and another does not never reaches a caller as a body."""
    with pytest.raises(Malformed):
        Chunked().feed(raw)


def test_trailers_end_somewhere() -> None:
    """An upstream cannot keep a caller waiting for ever by sending one trailer after another."""
    chunked = Chunked()
    chunked.feed(b"0\r\n" + b"X: y\r\n" * (MAX_TRAILERS // 4))

    with pytest.raises(Malformed):
        chunked.feed(b"X: y\r\n")


def test_a_trailer_that_does_not_end_is_bounded() -> None:
    """One trailer without its line end is refused once it is longer than all trailers may be."""
    chunked = Chunked()
    chunked.feed(b"0\r\n" + b"X" * MAX_TRAILERS)

    with pytest.raises(Malformed):
        chunked.feed(b"X")


@pytest.mark.parametrize("trailer", [b"Content-Length: 5", b"transfer-encoding: x", b"Host: a"])
def test_a_trailer_frames_and_routes_nothing(trailer: bytes) -> None:
    """RFC 9110 section 6.5.1: what another reader could take for a field of a head is refused in a trailer."""
    with pytest.raises(Malformed):
        Chunked().feed(b"0\r\n" + trailer + b"\r\n\r\n")


@given(pieces=chunks, most=st.integers(1, 3))
def test_chunks_can_be_read_a_few_at_a_time(pieces: Pieces, most: int) -> None:
    """If many tiny chunks arrive at once, one go reads a limited number and reports that more are waiting."""
    chunked = Chunked(most=most)
    got = [chunked.feed(framed(pieces))]
    while chunked.held:
        got.append(chunked.feed(b""))

    assert chunked.done
    assert most >= max(map(len, got))
    assert pieces == [piece for some in got for piece in some]


def test_bytes_after_the_last_chunk_are_told() -> None:
    """What follows an answer is not a part of it, and the connection that carried it is known to be unfit."""
    chunked = Chunked()

    assert [b"hello"] == chunked.feed(b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 200 OK\r\n" == chunked.rest


@pytest.mark.parametrize("pad", [b"A:" + b" " * 60_000, b"A: " + b"b " * 30_000, b"A: b" + b"\t " * 30_000])
def test_a_hostile_head_is_refused_as_fast_as_a_good_one(pad: bytes) -> None:
    """A head of 60 kB that is spoilt by its last byte costs no more than reading it: no pattern runs in circles."""
    began = time.perf_counter()
    with pytest.raises(Malformed):
        read_head(b"HTTP/1.1 200 OK\r\n" + pad + b"\x01", "GET", EVERYTHING)

    assert 0.5 > time.perf_counter() - began


@pytest.mark.parametrize(
    ("line", "value"),
    [(b"A: \t b c \t", b"b c"), (b"A:b", b"b"), (b"A:", b""), (b"A:  ", b""), (b"A: \xff\xc3\xa9", b"\xff\xc3\xa9")],
)
def test_only_the_white_space_around_a_value_is_lost(line: bytes, value: bytes) -> None:
    """Every other byte of a field comes through, whatever encoding it is in."""
    head = read_head(b"HTTP/1.1 200 OK\r\n" + line, "GET", EVERYTHING)

    assert [b"A: " + value] == head.lines
    assert value == head.read[b"a"][0]


@pytest.mark.parametrize(
    ("head", "method", "framing", "length", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3", "GET", Framing.LENGTH, 3, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close", "GET", Framing.LENGTH, 3, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3", "GET", Framing.LENGTH, 3, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: Keep-Alive", "GET", Framing.LENGTH, 3, True),
        (b"HTTP/1.1 200 OK", "GET", Framing.CLOSE, None, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "GET", Framing.CHUNKED, None, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "HEAD", Framing.NONE, None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3", "HEAD", Framing.NONE, 3, True),
        (b"HTTP/1.1 204 No Content", "POST", Framing.NONE, None, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3", "GET", Framing.NONE, 3, True),
        (b"HTTP/1.1 103 Early Hints", "GET", Framing.NONE, None, True),
    ],
)
def test_the_end_of_an_answer_is_known(
    head: bytes, method: str, framing: Framing, length: int | None, keep_alive: bool
) -> None:
    """RFC 9112 section 6.3: where a body ends, and whether its connection can be used again."""
    read = read_head(head, method, EVERYTHING)

    assert (framing, length, keep_alive) == (read.framing, read.length, read.keep_alive)


texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30).map(str.strip)


@given(fields=st.lists(st.tuples(names, texts), max_size=5), length=st.sampled_from([None, -1, 0, 5]))
def test_a_request_reads_as_it_was_meant(fields: list[tuple[str, str]], length: int | None) -> None:
    """The upstream reads exactly the method, target, fields and framing that the gateway wrote, and nothing more."""
    lines = [f"{name}: {value}".encode() for name, value in fields]
    raw = write_head("POST", b"/api/v2/x?a=b", b"up", lines, b"", length)
    server = h11.Connection(our_role=h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(raw)
    event = server.next_event()
    framing = {None: [(b"transfer-encoding", b"chunked")], -1: []}.get(
        length, [(b"content-length", b"%d" % (length or 0))]
    )

    assert isinstance(event, h11.Request)
    assert (b"POST", b"/api/v2/x?a=b") == (event.method, event.target)
    assert [(b"host", b"up"), *((n.lower().encode(), v.encode()) for n, v in fields), *framing] == list(event.headers)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b"])
def test_a_line_break_in_a_field_is_never_sent(value: str) -> None:
    """Nothing in a value can begin another header line or another request."""
    with pytest.raises(Malformed) as caught:
        write_head("GET", b"/", b"up", [f"X: {value}".encode()], b"", -1)

    assert not re.search(re.escape(value), str(caught.value))


KELVIN = "\u212a".encode()


@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chun%bed" % KELVIN, b"HTTP/1.1 200 OK\r\nContent-Length: 5\xc2\xa0"],
    ids=["kelvin", "no-break-space"],
)
def test_framing_is_ascii(raw: bytes) -> None:
    """Letters, digits and white space outside ASCII never affect where a body ends."""
    with pytest.raises(Malformed):
        read_head(raw, "GET", EVERYTHING)


def test_what_keeps_a_connection_is_ascii() -> None:
    """A connection is not kept for a word that is only like `keep-alive`."""
    assert not read_head(
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: %beep-alive" % KELVIN, "GET", EVERYTHING
    ).keep_alive
