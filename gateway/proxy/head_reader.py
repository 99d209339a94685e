"""Heads of requests, read by aiohttp's exported parser, which is given heads alone, each up to its empty line.

A client sends the same fields again and again on a connection. Where only the target and the length of the content have
changed since the request before, the fields are not parsed again, as HPACK has it for HTTP/2.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from gateway.core.field_rules import Rules
from gateway.core.refusal import Code, Reason, Refused
from gateway.core.target import MAX_TARGET
from gateway.proxy.request import MAX_FIELDS, MAX_HEAD, Request, Shown, read_request, unparsed

# aiohttp's parser enforces these while a head arrives.
PARSER_LIMITS: Final = {"max_line_size": MAX_TARGET, "max_field_size": MAX_HEAD, "max_headers": MAX_FIELDS}
_END: Final = b"\r\n\r\n"
# Request lines that need no parser, without and with a stated length. Others are left to it.
_LINE: Final = re.compile(rb"(GET|HEAD|DELETE) (/[!-~]{0,2047}) HTTP/1\.1")
_LINE_WITH_CONTENT: Final = re.compile(rb"(POST|PATCH|PUT|DELETE) (/[!-~]{0,2047}) HTTP/1\.1")
# A length that needs no parser: every reader takes it for the same number.
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,14}")
_STATED: Final = re.compile(rb"(?<=\r\ncontent-length: )(?:0|[1-9][0-9]{0,14})(?=\r\n)", re.IGNORECASE)
# Fields up to this size are remembered of a connection, as HPACK's table has it (RFC 9113 section 6.5.2).
_REMEMBERED: Final = 4096


def new_parser(loop: asyncio.AbstractEventLoop) -> HttpRequestParser:
    """A parser of heads. No body is ever fed to it, so its protocol is never asked to hold one back."""
    return HttpRequestParser(BaseProtocol(loop), loop, 1 << 16, auto_decompress=False, **cast(Any, PARSER_LIMITS))


class HeadReader:
    """``pending`` are the bytes of a head that has begun. ``rules`` say which fields cross, as they are now."""

    __slots__ = (
        "_after", "_before", "_fields", "_last", "_loop", "_parser", "_rules", "_rules_before", "_shown", "pending",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, rules: Callable[[], Rules]) -> None:
        self._loop = loop
        self._rules = rules
        self._parser: HttpRequestParser | None = None
        self._last = b""
        # The fields of the request before; where they state a length, those before its digits, and those after them.
        self._fields = b""
        self._after = b""
        self._before: Request | None = None
        self._rules_before: Rules | None = None
        self._shown: Shown | None = None
        self.pending = 0

    def repeated(self, data: bytes) -> Request | None:
        """The request, where these bytes are one with the fields of the one before, and nothing else.

        If it states a length, up to so many bytes of content may follow its ``size`` bytes.
        """
        if self._before is None or self.pending:
            return None
        if self._after:
            return self._repeated_with_content(self._before, data)
        line, size = data.find(b"\r"), len(data)
        if (
            size - line != len(self._fields)
            or not data.endswith(self._fields)
            or self._rules() is not self._rules_before
        ):
            return None
        matched = _LINE.fullmatch(data, 0, line)
        if matched is None:
            return None
        method, target = matched.groups()
        request = self._before = self._before.again(method.decode(), target.decode(), size)
        return request

    def _repeated_with_content(self, before: Request, data: bytes) -> Request | None:
        line = data.find(b"\r")
        if not data.startswith(self._fields, line) or self._rules() is not self._rules_before:
            return None
        stated = _LENGTH.match(data, line + len(self._fields))
        if stated is None or not data.startswith(self._after, stated.end()):
            return None
        size = stated.end() + len(self._after)
        matched = _LINE_WITH_CONTENT.fullmatch(data, 0, line)
        if matched is None or len(data) - size > int(stated[0]):
            return None
        method, target = matched.groups()
        return before.again_with_content(method.decode(), target.decode(), size, stated[0])

    def read(self, data: bytes) -> tuple[Request | None, bytes]:
        """Read up to the end of a head. Returns the request, or None where its head is not whole, and what follows.

        Raises `Refused` for bytes that are not HTTP; nothing can be read after them.
        """
        if not self.pending:
            # RFC 9112 section 2.2. The parser skips them as well, but each pair of them would be an end of a head here.
            data = data.lstrip(b"\r\n")
        end = (self._last + data if self._last else data).find(_END)
        end = end + len(_END) - len(self._last) if end >= 0 else len(data)
        head = data[:end] if end < len(data) else data
        self.pending += len(head)
        try:
            if self._parser is None:
                self._parser = new_parser(self._loop)
            messages = self._parser.feed_data(head)[0]
        except Exception as failure:  # noqa: BLE001 - whatever the parser raises, it has given up
            raise unparsed(failure) from None
        if len(messages) > 1:
            raise Refused(Code.INVALID_REQUEST, Reason.FRAMING, "The request is not valid HTTP/1.1.")
        if not messages:
            self._last = (self._last + head)[-3:]
            return None, data[end:]
        rules = self._rules()
        request = read_request(messages[0][0], rules, self.pending)
        self._remember(request, head if self.pending == len(head) else b"", rules)
        if self.pending > _REMEMBERED:
            self.renew()
        self.pending, self._last = 0, b""
        return request, data[end:]

    def _remember(self, request: Request, head: bytes, rules: Rules) -> None:
        """Remember the fields of a request whose head came at once; of another, who showed what."""
        if self._shown is not None and self._shown.values == request.shown.values:
            request.shown = self._shown
        else:
            self._shown = request.shown if sum(map(len, request.shown.values or ())) <= _REMEMBERED else None
        self._before, self._rules_before, self._fields, self._after = None, None, b"", b""
        fields, after = head[head.find(b"\r") :], b""
        if not request.repeatable or not 0 < len(fields) <= _REMEMBERED:
            return
        if b"content-length" in request.read:
            stated = _STATED.search(fields)
            if stated is None or len(request.read[b"content-length"]) > 1:
                return
            fields, after = fields[: stated.start()], fields[stated.end() :]
            # A copy, since the request will have a body, which would be kept for as long as the connection.
            request = request.again(request.method, request.target, 0)
        self._before, self._rules_before, self._fields, self._after = request, rules, fields, after

    def drop(self) -> None:
        """Forget the head that has begun."""
        self.pending, self._last = 0, b""
        self.renew()

    def renew(self) -> None:
        """Read the next head with another parser: this one waits for a body, or for another protocol, or holds a large
        head until the next one begins.
        """
        self._parser = None
