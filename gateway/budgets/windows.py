"""Moving windows of the `limits` library: counted in this process, or in a Redis that replicas share.

To be imported where a policy has limits, and not before: the library takes 30 ms to import, and Redis' client 115 ms.
"""

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MovingWindowSupport, Storage
from limits.aio.strategies import MovingWindowRateLimiter

from gateway.config.store import Redis

# After so many requests, callers that sent nothing for a whole window are forgotten.
_SWEEP: Final = 4096


class Memory(Storage, MovingWindowSupport):
    """The moments of the last requests, by key. ``clock`` counts seconds.

    The library's own storage in memory starts a task for each request that goes over the keys of all callers.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock: Final = clock
        self._moments: Final[dict[str, tuple[deque[float], int]]] = {}
        self._until_sweep = _SWEEP

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        moments = self._current(key, expiry)
        if len(moments) + amount > limit:
            return False
        moments.extend([self._clock()] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002
        moments = self._current(key, expiry)
        return (moments[0] if moments else self._clock()), len(moments)

    def _current(self, key: str, expiry: int) -> deque[float]:
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._sweep()
        moments, _ = self._moments.setdefault(key, (deque(), expiry))
        begin = self._clock() - expiry
        while moments and moments[0] <= begin:
            moments.popleft()
        return moments

    def _sweep(self) -> None:
        self._until_sweep = _SWEEP
        now = self._clock()
        for key, (moments, expiry) in list(self._moments.items()):
            if not moments or moments[-1] <= now - expiry:
                del self._moments[key]

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        count = len(self._moments)
        self._moments.clear()
        return count

    async def clear(self, key: str) -> None:
        self._moments.pop(key, None)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("fixed windows are not counted here")

    async def get(self, key: str) -> int:
        raise NotImplementedError("fixed windows are not counted here")

    async def get_expiry(self, key: str) -> float:
        raise NotImplementedError("fixed windows are not counted here")


class Windows:
    """Counts over moving windows of some seconds. ``clock`` is the storage's: in Redis, the Unix time of this host."""

    def __init__(
        self,
        storage: Storage,
        clock: Callable[[], float] = time.time,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._clock: Final = clock
        self._close: Final = close
        self._limiter: Final = MovingWindowRateLimiter(storage)

    @classmethod
    def here(cls, clock: Callable[[], float]) -> "Windows":
        """Those of this process; ``clock`` had better be one that is never set."""
        return cls(Memory(clock), clock)

    @classmethod
    def shared(cls, redis: Redis, patience: float) -> "Windows":
        """Those in a Redis; its socket is given up after ``patience`` seconds."""
        from limits.aio.storage import RedisStorage
        from redis.asyncio import Connection, ConnectionPool, SSLConnection
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # The client's own ten repeats would be ten times the patience.
        pool = ConnectionPool(
            connection_class=SSLConnection if redis.tls else Connection,
            retry=Retry(NoBackoff(), 0),
            **redis.connection_options(patience),
        )
        options: Any = {"connection_pool": pool}
        prefix = f"{redis.prefix}:limits"
        # Of the URI it takes only the kind of server where it is given a pool.
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=prefix, **options)
        return cls(storage, close=pool.aclose)

    async def spend(self, caller: str, kind: str, most: int, seconds: int) -> float:
        """Count a request, where there is room. The seconds until there is some, 0.0 where it was counted."""
        item: RateLimitItem = RateLimitItemPerSecond(most, seconds)
        if await self._limiter.hit(item, caller, kind):
            return 0.0
        stats = await self._limiter.get_window_stats(item, caller, kind)
        return max(stats.reset_time - self._clock(), math.ulp(1.0))

    async def close(self) -> None:
        """Close the connections to Redis, if there are any."""
        if self._close is not None:
            await self._close()
