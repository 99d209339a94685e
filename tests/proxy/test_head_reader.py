"""`gateway.proxy.head_reader`: aiohttp's exported parser, fed with heads alone, is as it is expected to be."""

import asyncio

import pytest
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.core.target import MAX_TARGET
from gateway.proxy.head_reader import new_parser
from gateway.proxy.request import MAX_FIELDS, MAX_HEAD, TOO_MANY_FIELDS

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


async def _parse(data: bytes) -> BaseException | None:
    """What the parser raises for these bytes."""
    try:
        new_parser(asyncio.get_running_loop()).feed_data(data)
    except BadHttpMessage as failure:
        return failure
    return None


async def test_too_long_is_reported_as_the_listener_reads_it() -> None:
    """A long target carries its limit, a long field carries another, and too many fields have their sentence."""
    target = await _parse(b"GET /" + b"a" * MAX_TARGET + b" HTTP/1.1\r\n\r\n")
    name = await _parse(HEAD + b"X: " + b"a" * (MAX_HEAD + 1) + b"\r\n\r\n")
    count = await _parse(HEAD + b"X: y\r\n" * MAX_FIELDS + b"\r\n")

    assert isinstance(target, LineTooLong)
    assert isinstance(name, LineTooLong)
    assert isinstance(count, BadHttpMessage)
    assert (MAX_TARGET, MAX_HEAD) == (target.args[1], name.args[1])
    assert TOO_MANY_FIELDS == count.message


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_head_ends_at_its_empty_line_and_nowhere_before(framing: bytes) -> None:
    """The parser takes a head for whole at the first CR LF CR LF, where the listener cuts it off, and not a byte
    earlier; of a body it then knows nothing.
    """
    parser = new_parser(asyncio.get_running_loop())
    head = HEAD + framing + b"\r\n"
    found = [len(parser.feed_data(head[at : at + 1])[0]) for at in range(len(head) - 1)]
    ((message, payload),) = parser.feed_data(head[-1:])[0]

    assert [0] * (len(head) - 1) == found
    assert isinstance(message, RawRequestMessage)
    assert payload is EMPTY_PAYLOAD or payload.total_bytes == 0


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\n\r", b"\r\n \r\n"])
async def test_no_other_end_is_taken_for_one(end: bytes) -> None:
    """Where lines end otherwise, no request comes of it that the listener has not seen the end of."""
    parser = new_parser(asyncio.get_running_loop())
    try:
        messages = parser.feed_data(b"GET / HTTP/1.1\r\nHost: a" + end)[0]
    except BadHttpMessage:
        return

    assert not messages


async def test_a_parser_is_used_again_after_a_request_without_a_body() -> None:
    """One parser serves a connection for as long as its requests have no body; raw fields are as they were sent."""
    parser = new_parser(asyncio.get_running_loop())
    for _ in range(3):
        ((message, payload),) = parser.feed_data(HEAD + b"x-CASE: A \xff\r\n\r\n")[0]

        assert (b"x-CASE", b"A \xff") == message.raw_headers[1]
        assert ("GET", "/", (1, 1), False) == (message.method, message.path, message.version, message.should_close)
        assert payload is EMPTY_PAYLOAD
