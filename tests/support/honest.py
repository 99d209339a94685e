"""An honest caller during an attack."""

from pathlib import Path

from tests.support.raw_caller import Caller, head
from tests.support.sentinels import TOKEN
from tests.support.served import Served

HONEST: str = TOKEN
ATTACKER: str = "plgw_token-of-attacker-0123456789"


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


async def opened(served: Served, data: bytes) -> Caller:
    """A connection of the attacker on which this was sent."""
    caller = await served.connect()
    caller.writer.write(data)
    return caller


def resident(served: Served) -> float:
    """Memory of the process, in MB."""
    return int(Path(f"/proc/{served.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6
