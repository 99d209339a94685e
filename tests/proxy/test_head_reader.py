"""`gateway.proxy.head_reader`: aiohttp's exported parser, fed with heads alone, is as it is expected to be."""

import asyncio

import pytest
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.core.field_rules import request_rules
from gateway.core.refusal import Refused
from gateway.core.target import MAX_TARGET
from gateway.proxy.head_reader import HeadReader, new_parser
from gateway.proxy.request import MAX_FIELDS, MAX_HEAD, TOO_MANY_FIELDS, Request

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
    """With other line ends the parser never finds a request whose end the listener has not seen."""
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


FIELDS = b"Host: a\r\nAccept: */*\r\nAuthorization: Bearer one\r\n\r\n"


@pytest.mark.parametrize(
    "second",
    [
        b"GET /other?x=1 HTTP/1.1\r\n" + FIELDS,
        b"HEAD /first HTTP/1.1\r\n" + FIELDS,
        b"POST /first HTTP/1.1\r\n" + FIELDS,
        b"CONNECT /first HTTP/1.1\r\n" + FIELDS,
        b"GET /a%20b HTTP/1.0\r\n" + FIELDS,
        b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n" + FIELDS,
        b"GET /first HTTP/1.1\r\n" + FIELDS.replace(b"one", b"two"),
        b"GET /first HTTP/1.1\r\n" + FIELDS.replace(b"\r\n\r\n", b"\r\nX: y\r\n\r\n"),
        b"GET /first HTTP/1.1\r\n" + FIELDS.replace(b"Host: a", b"Host: a\r\nContent-Length: 3"),
        b"GET /first HTTP/1.1\r\n" + FIELDS.replace(b"Host: a", b"Host: a\r\nVia: 1.1 productlane-gateway"),
    ],
)
async def test_a_request_after_another_is_read_as_the_first_of_its_connection(second: bytes) -> None:
    """Whatever is remembered of the request before, each is read as if it were alone."""
    loop, rules = asyncio.get_running_loop(), request_rules()
    used = HeadReader(loop, lambda: rules)
    used.read(b"GET /first HTTP/1.1\r\n" + FIELDS)
    again = used.repeated(second) or used.read(second)[0]
    alone, rest = HeadReader(loop, lambda: rules).read(second + b"rest")

    assert b"rest" == rest
    assert _told(alone) == _told(again)
    assert used.pending == 0


WITH_CONTENT = b"Host: a\r\ncontent-LENGTH: 4\r\nX-Request-Id: b\r\n\r\n"


@pytest.mark.parametrize(
    ("second", "known"),
    [
        (b"POST /other?x=1 HTTP/1.1\r\n" + WITH_CONTENT, True),
        (b"PATCH /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", b"123456789012345"), True),
        (b"PUT /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", b"0"), True),
        (b"DELETE /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", b"44"), True),
        (b"GET /first HTTP/1.1\r\n" + WITH_CONTENT, False),
        (b"GET /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", b"0"), False),
        (b"HEAD /first HTTP/1.1\r\n" + WITH_CONTENT, False),
        (b"CONNECT /first HTTP/1.1\r\n" + WITH_CONTENT, False),
        (b"POST /first HTTP/1.0\r\n" + WITH_CONTENT, False),
        (b"POST /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"-Id: b", b"-Id: c"), False),
        (b"POST /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", b"04"), False),
        (b"POST /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", b"4 "), False),
        (b"POST /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", b" 4"), False),
        (b"POST /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", b"1234567890123456"), False),
        (b"POST /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"-LENGTH: 4\r\n", b"-LENGTH: 4\r\nVia: 1.1 b\r\n"), False),
    ],
)
async def test_a_request_with_content_after_another_is_read_as_the_first_of_its_connection(
    second: bytes, known: bool
) -> None:
    """The length alone may differ from the request before, as plain digits; other heads are parsed. Either way each
    is read as if it were alone, whatever of its content has come with it.
    """
    loop, rules = asyncio.get_running_loop(), request_rules()
    for content in (b"", b"c"):
        used = HeadReader(loop, lambda: rules)
        used.read(b"POST /first HTTP/1.1\r\n" + WITH_CONTENT)
        used.renew()
        came = content if b": 0\r" not in second else b""
        repeated = used.repeated(second + came)
        again = repeated or used.read(second)[0]
        alone, rest = HeadReader(loop, lambda: rules).read(second + b"rest")

        assert known is (repeated is not None)
        assert b"rest" == rest
        assert _told(alone) == _told(again)
        assert again is not None
        assert again.size == len(second)


@pytest.mark.parametrize(
    "length",
    [b"+4", b"-4", b"4,4", b"0x4", b"4;", b"", b"4\n", b"4\r\nContent-Length: 4", b"4\r\nTransfer-Encoding: chunked",
     b"99999999999999999999999", b"4_0", b"\xb2", b"4\r\n 4", b"4\0"],
)  # fmt: skip
async def test_a_length_that_is_no_plain_number_is_never_taken_for_one(length: bytes) -> None:
    """After a request with content as before it, such a length is the parser's to judge, and it refuses it."""
    loop, rules = asyncio.get_running_loop(), request_rules()
    reader = HeadReader(loop, lambda: rules)
    reader.read(b"POST /first HTTP/1.1\r\n" + WITH_CONTENT)
    reader.renew()
    bad = b"POST /first HTTP/1.1\r\n" + WITH_CONTENT.replace(b"4", length)

    assert reader.repeated(bad) is None
    with pytest.raises(Refused):
        _accepted(reader.read(bad)[0])


@pytest.mark.parametrize(
    "fields",
    [WITH_CONTENT.replace(b"X-Request-Id: b", field)
     for field in (b"Expect: 100-continue", b"Connection: close", b"Upgrade: h2c", b"Via: 1.1 b")],
)  # fmt: skip
async def test_what_is_judged_each_time_is_not_remembered_with_content(fields: bytes) -> None:
    """A request that waits for 100, ends its connection, or is judged by its way, is parsed each time."""
    rules = request_rules()
    reader = HeadReader(asyncio.get_running_loop(), lambda: rules)
    reader.read(b"POST / HTTP/1.1\r\n" + fields)

    assert reader.repeated(b"POST / HTTP/1.1\r\n" + fields) is None


async def test_bytes_past_the_stated_content_are_left_to_the_parser() -> None:
    """A request with another behind it in the same bytes is not taken for one alone; and of the request before
    nothing is held that will have its body.
    """
    rules = request_rules()
    reader = HeadReader(asyncio.get_running_loop(), lambda: rules)
    head = b"POST / HTTP/1.1\r\n" + WITH_CONTENT
    first, _ = reader.read(head)

    assert first is not None
    assert reader._before is not first
    assert reader.repeated(head + b"12345") is None
    assert reader.repeated(head + b"1234") is not None
    assert reader.repeated(head[:-1]) is None


@pytest.mark.parametrize("at", [1, 10, 30, 60])
async def test_a_request_in_two_pieces_is_read_as_in_one(at: int) -> None:
    """Fields that are known from the request before are read in pieces as well."""
    rules = request_rules()
    reader = HeadReader(asyncio.get_running_loop(), lambda: rules)
    head = b"GET /second HTTP/1.1\r\n" + FIELDS
    first, _ = reader.read(b"GET /first HTTP/1.1\r\n" + FIELDS)
    begun, _ = reader.read(head[:at])
    second, rest = reader.read(head[at:] + b"rest")

    assert first is not None
    assert second is not None
    assert begun is None
    assert ("/second", first.read, b"rest") == (second.target, second.read, rest)


async def test_fields_are_judged_by_the_rules_of_their_moment() -> None:
    """What crossed before a change of the configuration does not cross after it because it is remembered."""
    rules = [request_rules(["X-Team"])]
    reader = HeadReader(asyncio.get_running_loop(), lambda: rules[0])
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Team: b\r\n\r\n"
    before, _ = reader.read(head)
    repeated = reader.repeated(head)
    rules[0] = request_rules()
    outdated = reader.repeated(head)
    after, _ = reader.read(head)

    assert outdated is None
    assert before is not None
    assert repeated is not None
    assert after is not None
    assert ([b"X-Team: b"], [b"X-Team: b"], []) == (before.lines, repeated.lines, after.lines)


async def test_little_is_remembered_of_a_connection() -> None:
    """Fields of more than 4 kB are parsed each time, so that an idle connection keeps at most 4 kB."""
    rules = request_rules()
    reader = HeadReader(asyncio.get_running_loop(), lambda: rules)
    reader.read(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: " + b"a" * 5000 + b"\r\n\r\n")

    assert reader._before is None
    assert b"" == reader._fields


def _accepted(request: Request | None) -> None:
    """Raise what an accepted request would not have."""
    if request is not None and request.refused is not None:
        raise request.refused


def _told(request: Request | None) -> dict[str, object]:
    """All that a request says of itself; of a refusal its words."""
    assert request is not None
    told = {name: getattr(request, name) for name in Request.__slots__}
    told["refused"], told["shown"] = str(request.refused), request.shown.values
    return told
