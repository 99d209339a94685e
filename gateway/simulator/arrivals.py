"""What reached the simulator: a bounded record that says of each request what stood on the wire."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import StreamReader

# Ample for a page of a catalog or a line of a form; a longer line is no multipart body that anyone sends.
_MAX_LINE: Final = 65_536


class Body:
    """A request's body as it streams in, counted and hashed on its way and not kept.

    It reads like `aiohttp.StreamReader` as far as a `MultipartReader` needs. ``ended`` is whether all of it came.
    """

    def __init__(self, stream: StreamReader, before_first_read: Callable[[], None]) -> None:
        self._stream = stream
        self._before_first_read: Callable[[], None] | None = before_first_read
        self._digest = hashlib.sha256()
        self._held = b""
        self.length = 0
        self.ended = stream.at_eof()

    @property
    def sha256(self) -> str:
        """The digest, in hex, of the bytes read so far."""
        return self._digest.hexdigest()

    async def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end of the body."""
        if not self._held:
            await self._fill()
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    async def readline(self, *, max_line_length: int = _MAX_LINE) -> bytes:
        """Bytes up to a line feed. Raises `ValueError` for a line that is too long."""
        while b"\n" not in self._held and await self._fill():
            if len(self._held) > max_line_length and b"\n" not in self._held:
                raise ValueError("line too long")
        line, feed, self._held = self._held.partition(b"\n")
        return line + feed

    def at_eof(self) -> bool:
        return not self._held and self._stream.at_eof()

    def unread_data(self, data: bytes) -> None:
        """Put bytes back that were read too far; they are not counted again."""
        self._held = data + self._held

    async def _fill(self) -> bool:
        if self._before_first_read is not None:
            self._before_first_read()
            self._before_first_read = None
        chunk = await self._stream.readany()
        self._digest.update(chunk)
        self.length += len(chunk)
        self._held += chunk
        self.ended = self._stream.at_eof()
        return bool(chunk)


@dataclass(slots=True)
class Arrival:
    """One request. ``target`` and ``headers`` are as they were sent; ``connection`` is a number from 1, 0 if unknown.

    ``key_id`` is None without a valid key. ``status`` is 0 until the answer is decided. ``outcome`` goes from
    ``pending`` to ``answered``, ``broken`` (a fault ended the connection) or ``abandoned`` (the client left).
    The headers contain the credential, so the repr omits them.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    connection: int
    body: Body = field(repr=False)
    key_id: str | None = None
    status: int = 0
    outcome: str = "pending"

    def header(self, name: str) -> list[str]:
        """The values of a field, in order; the name's case does not matter."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Arrivals:
    """The latest requests, oldest first; older ones than ``limit`` are forgotten."""

    def __init__(self, limit: int) -> None:
        self._latest: Final[deque[Arrival]] = deque(maxlen=limit)
        self._changed = asyncio.Event()
        self.count = 0

    def add(self, arrival: Arrival) -> None:
        self._latest.append(arrival)
        self.count += 1
        self.touch()

    def touch(self) -> None:
        """Wake those who wait for a change: a request came, or one came to its end."""
        self._changed.set()
        self._changed = asyncio.Event()

    def clear(self) -> None:
        self._latest.clear()
        self.count = 0

    def latest(self) -> tuple[Arrival, ...]:
        return tuple(self._latest)

    async def until(self, holds: Callable[["Arrivals"], bool]) -> None:
        """Return once the condition holds; it is asked again at every change. The caller sets the deadline."""
        while not holds(self):
            await self._changed.wait()
