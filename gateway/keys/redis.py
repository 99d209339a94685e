"""Answers in a Redis or Valkey that replicas share. To be imported where one is configured: 115 ms and 19 MB.

`aiohttp_client_cache.backends.redis` is not used: it pickles whole responses, their request's ``Authorization``
included, into one hash whose fields never expire, and has no bound on how long it waits.
"""

import asyncio
from typing import Any, Final

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from gateway.config.store import Redis


class RedisStorage:
    """One connection, on which one command follows another. Every key has a time to live.

    Being made, the connection is nobody's own: whoever gives up waiting for it leaves it to the next. So a Redis that
    takes longer to reach than anybody is patient is used from the second question on.
    """

    def __init__(self, redis: Redis) -> None:
        kind = SSLConnection if redis.tls else Connection
        self._connection: Final = kind(**redis.connection_options(), retry=Retry(NoBackoff(), 0))
        self._prefix: Final = redis.prefix
        self._turn: Final = asyncio.Lock()
        self._connecting: asyncio.Task[None] | None = None

    async def get(self, key: str) -> bytes | None:
        try:
            value = await self._command("GET", self._name(key))
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return None  # somebody else's value; `set` will take its place
            raise
        return value if isinstance(value, bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        await self._command("SET", self._name(key), value, "PX", _milliseconds(seconds))

    async def delete(self, key: str) -> None:
        await self._command("DEL", self._name(key))

    async def claim(self, key: str, seconds: float) -> bool:
        answer = await self._command("SET", self._name(key), b"1", "NX", "PX", _milliseconds(seconds))
        return answer is not None

    async def open(self) -> None:
        """Wait until the connection stands. Raises as `redis` does, and OSError."""
        if self._connecting is None or (self._connecting.done() and not self._connection.is_connected):
            self._connecting = asyncio.create_task(self._connection.connect())  # type: ignore[no-untyped-call]
            self._connecting.add_done_callback(_seen)
        await asyncio.wait({self._connecting})
        self._connecting.result()

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        await self._connection.disconnect(nowait=True)

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{key}"

    async def _command(self, *words: Any) -> Any:
        async with self._turn:
            kept = self._connection.is_connected
            try:
                return await self._exchange(*words)
            except Lost:
                if not kept:
                    raise
            # Closed while nobody used it, by a restart or for being idle. What is said here may be said twice.
            return await self._exchange(*words)

    async def _exchange(self, *words: Any) -> Any:
        await self.open()
        # Both end the connection where they are cancelled or fail half-way: a reply that still comes is nobody else's.
        await self._connection.send_command(*words)
        return await self._connection.read_response()


def _seen(connecting: "asyncio.Task[None]") -> None:
    """Look at the error of a connection that nobody waits for any more; asyncio would report it otherwise."""
    if not connecting.cancelled():
        connecting.exception()


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
