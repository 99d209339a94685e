"""An honest caller and an attacker at a `serve` in its own process, and what the attack costs that process."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.support.in_process import policy
from tests.support.raw_caller import Caller, Response, ask, head
from tests.support.sentinels import TOKEN
from tests.support.served import Served

HONEST: Final = TOKEN
ATTACKER: Final = "plgw_token-of-attacker-0123456789"
TWO: Final[dict[str, Any]] = {"policies": [policy("honest", HONEST), policy("attacker", ATTACKER)]}
_TICKS: Final = os.sysconf("SC_CLK_TCK")


async def asks(served: Served, count: int, *, method: str = "GET", body: bytes = b"") -> set[int]:
    """The statuses of so many requests, one after another on one connection."""
    caller = await served.connect()
    statuses = set()
    fields = (f"Content-Length: {len(body)}",) if method == "POST" else ()
    try:
        for _ in range(count):
            await caller.send(head(method, "/api/v2/threads", *fields, token=HONEST) + body)
            statuses.add((await caller.response()).status)
    finally:
        await caller.close()
    return statuses


async def least_beside(served: Served, moved: Callable[[], int], count: int) -> int:
    """How much of an attack moved while an honest request was answered: the least of so many requests, all 200.

    The least, since a machine that is busy elsewhere only lets more of an attack pass meanwhile.
    """
    least = 1 << 62
    for _ in range(count):
        before = moved()
        assert {200} == await asks(served, 1)
        least = min(least, moved() - before)
    return least


async def opened(served: Served, data: bytes, **options: Any) -> Caller:
    """A connection of the attacker on which this was sent. ``options`` are those of `asyncio.open_connection`."""
    caller = await served.connect(**options)
    caller.writer.write(data)
    return caller


async def attacked(served: Served, data: bytes) -> Response:
    """The answer to the attacker, on a new connection."""
    return await ask(await served.connect(), data)


async def counted(served: Served, sample: str) -> bool:
    """Whether a sample, or the beginning of one, is in the metrics."""
    return sample.encode() in (await served.ask_admin("/metrics")).body


def resident(served: Served) -> float:
    """Memory of the process, in MB."""
    return int(Path(f"/proc/{served.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6


def worked(served: Served) -> float:
    """The CPU time of the process in seconds, which no other process on the machine changes."""
    fields = Path(f"/proc/{served.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
