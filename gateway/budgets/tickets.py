"""The last requests of a window, counted in a Redis or Valkey that replicas share.

While there is much, each replica goes by the readings of its own answers. Of the last fifth it draws tickets: the
lowest reading that any replica had, less what was drawn since. A store that fails is left alone for a while, and the
replicas draw lots instead. A request that finds budget at once never waits for it.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.aio.background import Background
from gateway.aio.best_effort import BestEffort, CallFailed, Resting
from gateway.budgets.rates import RateWindow
from gateway.config.store import Redis
from gateway.telemetry.event import Emit, ignore
from gateway.telemetry.events.keys import LimitsStoreFault

if TYPE_CHECKING:
    from redis.asyncio import Redis as Client

# KEYS[1] holds the reset of a window and how many tickets are left of it; ARGV are the reset and what is left of it as
# this replica read them, how many tickets it wants, and how long to keep the count, in milliseconds. The answer is how
# many it gets, -1 for a reset that no window of Productlane's can have.
_SCRIPT: Final = """
local reset, left, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known, rest = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):(%d+)$')
known, rest = tonumber(known or ''), tonumber(rest or '')
if known and known > reset + 120 then return -1 end
if known and known > reset + 2 then return 0 end
if known and known >= reset - 2 and rest < left then left = rest end
local got = math.min(left, want)
redis.call('SET', KEYS[1], string.format('%.0f:%.0f', reset, left - got), 'PX', ARGV[4])
return got
"""


class Tickets:
    """Draws for one process. A reply has ``patience`` seconds; after a failure the store rests for ``rest`` seconds."""

    def __init__(
        self,
        redis: Redis,
        *,
        patience: float = 0.05,
        rest: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        emit: Emit = ignore,
    ) -> None:
        self._redis: Final = redis
        self._patience: Final = patience
        self._emit: Final = emit
        self._clock: Final = clock
        self._calls: Final = BestEffort(timeout=patience, rest=rest, clock=clock)
        self._background: Final = Background()
        self._drawing: Final[set[str]] = set()
        self._client: Client | None = None
        self._script: Any = None

    def draw(self, name: str, window: RateWindow, want: int, then: Callable[[], None]) -> None:
        """Draw so many tickets for a window, unless a draw is on its way; ``then`` is called when they are in."""
        if name not in self._drawing:
            self._drawing.add(name)
            self._background.start(self._draw(name, window, want, then))

    async def close(self) -> None:
        """Give up what is on its way, and close connections."""
        await self._background.close()
        await self._calls.close()
        if self._client is not None:
            await self._client.aclose()

    async def _draw(self, name: str, window: RateWindow, want: int, then: Callable[[], None]) -> None:
        epoch = window.epoch
        try:
            got = await self._calls.call(lambda: self._ask(name, window, want))
        except (Resting, CallFailed) as failed:
            window.replicas.draw_lots()
            if isinstance(failed, CallFailed):
                self._emit(LimitsStoreFault("TimeoutError" if failed.timed_out else failed.reason))
        else:
            if epoch == window.epoch:
                window.replicas.receive(got)
        finally:
            self._drawing.discard(name)
        then()

    async def _ask(self, name: str, window: RateWindow, want: int) -> int:
        script = self._script or self._open()
        left, keep = window.remaining(self._clock()), 1000 * 120
        got = int(await script(keys=[f"{self._redis.prefix}:tickets:{name}"], args=[window.reset, left, want, keep]))
        if not 0 <= got <= want:
            raise ValueError("the count says what cannot be true: somebody else has written to it")
        return got

    def _open(self) -> Any:
        from gateway.budgets.redis_client import client

        self._client = client(self._redis, self._patience)
        self._script = self._client.register_script(_SCRIPT)
        return self._script
