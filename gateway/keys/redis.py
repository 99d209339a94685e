"""Answers in a Redis or Valkey that replicas share; imported only where one is configured: 115 ms and 19 MB.

The library's own backend pickles into one hash whose fields never expire, and waits without bound.
"""

import asyncio
import contextlib
from typing import Any, Final

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from gateway.aio.single_flight import SingleFlight
from gateway.aio.waiting import finished
from gateway.config.store import Redis


class RedisStore:
    """One connection, on which one command follows another. Every key has a time to live.

    A caller that gives up waiting leaves the connection to the next one: a Redis that is slow to reach is used from the
    second question on.
    """

    def __init__(self, redis: Redis) -> None:
        kind = SSLConnection if redis.tls else Connection
        self._connection: Final = kind(**redis.connection_options(), retry=Retry(NoBackoff(), 0))
        self._prefix: Final = redis.prefix
        self._turn: Final = asyncio.Lock()
        self._connecting: Final[SingleFlight[None, None]] = SingleFlight()

    async def get(self, key: str) -> bytes | None:
        try:
            value = await self._command("GET", key)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return None  # not our value; `set` replaces it
            raise
        return value if isinstance(value, bytes) else None

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        await self._set(key, value, seconds)

    async def delete(self, key: str) -> None:
        await self._command("DEL", key)

    async def claim(self, key: str, seconds: float) -> bool:
        return await self._set(key, b"1", seconds, "NX") is not None

    async def open(self) -> None:
        """Wait until the connection stands. Raises as `redis` does, and OSError."""
        connecting = self._connecting.running(None)
        if connecting is None and not self._connection.is_connected:
            connecting = self._connecting.begin(None, self._connection.connect)
        if connecting is not None:  # it says that it is connected before it has logged in
            await finished(connecting)
            connecting.result()

    async def close(self) -> None:
        await self._connecting.close()
        await self._connection.disconnect(nowait=True)

    async def _set(self, key: str, value: bytes, seconds: float, *condition: str) -> Any:
        return await self._command("SET", key, value, *condition, "PX", max(1, int(seconds * 1000)))

    async def _command(self, command: str, key: str, *more: Any) -> Any:
        words = (command, f"{self._prefix}:{key}", *more)
        async with self._turn:
            if self._connection.is_connected:
                # It may have ended while nobody used it, by a restart or for being idle. Each command may come twice.
                with contextlib.suppress(Lost):
                    return await self._exchange(*words)
            return await self._exchange(*words)

    async def _exchange(self, *words: Any) -> Any:
        await self.open()
        # Both close the connection if they are cancelled or fail half-way, so no later command gets a late reply.
        await self._connection.send_command(*words)
        return await self._connection.read_response()
