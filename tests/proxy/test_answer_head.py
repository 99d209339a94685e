"""`gateway.proxy.answer_head`, and heads of callers: what they cost however they arrive."""

import asyncio
import time
from collections.abc import Callable

import pytest

from gateway.core.field_rules import answer_rules, request_rules
from gateway.core.message import Malformed
from gateway.proxy.answer_head import AnswerHead
from gateway.proxy.head_reader import HeadReader

LONG = b"X: " + b"x" * 60_000 + b"\r\n\r\n"
# Seconds of a processor. Were all that has come looked through with each byte, an answer would take over thirty.
MOST = 4.0


def dribbled(feed: Callable[[bytes], object], data: bytes) -> bool:
    """Whether these bytes can be fed one at a time for little work."""
    end = time.process_time() + MOST
    for at in range(len(data)):
        feed(data[at : at + 1])
        if time.process_time() > end:
            return False
    return True


def in_pieces(data: bytes, size: int) -> None:
    """Feed these bytes to the beginning of an answer."""
    beginning = AnswerHead(answer_rules())
    beginning.expect("GET")
    for at in range(0, len(data), size):
        beginning.feed(data[at : at + size])


def test_an_answers_head_may_come_byte_by_byte() -> None:
    """A head of 60 kB in pieces of a byte costs work in proportion to its length, and is read as one in one piece."""
    beginning = AnswerHead(answer_rules())
    beginning.expect("GET")
    assert dribbled(beginning.feed, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + LONG)
    assert beginning.head is not None
    assert 200 == beginning.head.status


async def test_a_requests_head_may_come_byte_by_byte() -> None:
    """A head of 60 kB in pieces of a byte costs work in proportion to its length."""
    rules = request_rules()
    reader = HeadReader(asyncio.get_running_loop(), lambda: rules)
    assert dribbled(reader.read, b"GET / HTTP/1.1\r\nHost: a\r\n" + LONG)
    assert 0 == reader.pending


@pytest.mark.parametrize("bad", [b"HTTP/2 200\r\n", b"HTTP/1.1 200 OK\nX: y\r\n", b"HTTP/1.1 200 OK\r\nX: y\n"])
def test_what_cannot_become_a_head_is_seen_at_once(bad: bytes) -> None:
    """Another protocol and a bare line feed are refused with the byte that shows them, in whatever pieces they come."""
    for size in (1, 2, 3, 7):
        with pytest.raises(Malformed):
            in_pieces(bad, size)
