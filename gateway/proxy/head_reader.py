"""Heads of requests, read by aiohttp's exported parser, which is given heads alone, each up to its empty line."""

import asyncio
from typing import Any, Final, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage

from gateway.core.refusal import Code, Reason, Refused
from gateway.core.target import MAX_TARGET
from gateway.proxy.request import MAX_FIELDS, MAX_HEAD, unparsed

# aiohttp's parser enforces these while a head arrives.
PARSER_LIMITS: Final = {"max_line_size": MAX_TARGET, "max_field_size": MAX_HEAD, "max_headers": MAX_FIELDS}
_END: Final = b"\r\n\r\n"


def new_parser(loop: asyncio.AbstractEventLoop) -> HttpRequestParser:
    """A parser of heads. No body is ever fed to it, so its protocol is never asked to hold one back."""
    return HttpRequestParser(BaseProtocol(loop), loop, 1 << 16, auto_decompress=False, **cast(Any, PARSER_LIMITS))


class HeadReader:
    """``pending`` are the bytes of a head that has begun."""

    __slots__ = ("_last", "_loop", "_parser", "pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser: HttpRequestParser | None = None
        self._last = b""
        self.pending = 0

    def read(self, data: bytes) -> tuple[RawRequestMessage | None, bytes]:
        """Read up to the end of a head. Returns the head, or None where it is not whole, and what follows.

        Raises `Refused` for bytes that are not HTTP; nothing can be read after them.
        """
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
        if messages:
            self.pending, self._last = 0, b""
            return messages[0][0], data[end:]
        self._last = (self._last + head)[-3:]
        return None, data[end:]

    def renew(self) -> None:
        """Read the next head with another parser: this one waits for a body, or for another protocol."""
        self._parser = None
