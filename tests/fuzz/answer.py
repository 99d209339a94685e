"""Answers: what is taken for good is read alike by h11, and a chunked body the same however it is cut up."""

from typing import Final

import h11

from gateway.core.field_rules import Rule, Rules
from gateway.core.message import Chunked, Framing, Malformed, check_beginning, read_head
from tests.support.fuzzing import run

SEEDS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: a",
    b"HTTP/1.0 404 X\r\nTransfer-Encoding: chunked",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nX:",
    b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"1\r\na\r\n0f\r\n0123456789abcde\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No\nX: y",
)


class _Everything(Rules):
    def unlisted(self, low: bytes) -> Rule:
        return Rule.KEEP


_EVERYTHING: Final = _Everything(((b"connection", b"content-length", b"transfer-encoding"), Rule.READ_AND_KEEP))


def check(data: bytes) -> None:
    """The bytes are a head without its empty line, and a chunked body."""
    _head(data)
    _body(data)


def _head(data: bytes) -> None:
    raw = data.split(b"\r\n\r\n")[0]
    try:
        head = read_head(raw, "GET", _EVERYTHING)
    except Malformed:
        return
    check_beginning(raw)
    if head.status < 200:
        return
    response = _read_by_h11(raw + b"\r\n\r\n").next_event()
    assert isinstance(response, h11.Response)
    assert head.status == response.status_code
    assert len(head.lines) == len(response.headers.raw_items()) or b"connection" in head.read
    assert (head.framing is Framing.CHUNKED) == any(name == b"transfer-encoding" for name, _ in response.headers)
    lengths = {int(value) for name, value in response.headers if name == b"content-length"}
    assert head.length == (next(iter(lengths)) if lengths else None)


def _read_by_h11(data: bytes) -> h11.Connection:
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    return reader


def _body(data: bytes) -> None:
    whole = _fed([data])
    if whole is not None and whole[1]:
        reader = _read_by_h11(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        assert isinstance(reader.next_event(), h11.Response)
        pieces = []
        while isinstance(event := reader.next_event(), h11.Data):
            pieces.append(bytes(event.data))
        assert isinstance(event, h11.EndOfMessage)
        assert whole[0] == b"".join(pieces)
    assert whole == _fed([data[at : at + 1] for at in range(len(data))])
    assert whole == _fed([data[: len(data) // 2], data[len(data) // 2 :]])


def _fed(pieces: list[bytes]) -> tuple[bytes, bool] | None:
    """The body and whether it ended; None if it is malformed."""
    chunked = Chunked()
    body = b""
    for piece in pieces:
        if chunked.done:
            break
        try:
            body += b"".join(chunked.feed(piece))
        except Malformed:
            return None
    return body, chunked.done


if __name__ == "__main__":
    run(check, SEEDS)
