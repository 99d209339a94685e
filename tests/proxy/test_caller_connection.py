"""`gateway.proxy.caller_connection`: what is left of a connection once it is closed."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from gateway.core.refusal import Refused
from gateway.proxy.caller_connection import CallerConnection
from gateway.proxy.request import Request
from tests.support.deadline import eventually
from tests.support.in_process import Running
from tests.support.raw_caller import head
from tests.support.recording import Arrival


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is freed but what nothing refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _freed() -> bool:
    return not any(isinstance(kept, (CallerConnection, Request, Refused)) for kept in gc.get_objects())


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(b"GET /api", 0, id="part of a head"),
        pytest.param(head(), 1, id="a request"),
        pytest.param(head() * 3, 3, id="requests"),
        pytest.param(head("GET", "/api/v2/threads", "Connection: close"), 1, id="the last request"),
        pytest.param(head("POST", "/api/v2/threads", "Content-Length: 4") + b"body", 1, id="a body"),
        pytest.param(head("GET", "/api/v2/companies", token="unknown"), 1, id="a request that is refused"),
        pytest.param(head("GET", "/api/v2/threads", "Host: another"), 1, id="a head that is refused"),
        pytest.param(head("GET", "/api/v2/threads", "Content-Length: 1"), 1, id="a head whose end is not known"),
        pytest.param(b"\0\r\n\r\n", 1, id="what is no head"),
        pytest.param(head("GET", "/" + "x" * 70_000), 1, id="a head that is too long"),
    ],
)
@pytest.mark.usefixtures("uncollected")
async def test_a_closed_connection_is_freed_at_once(run: Running, sent: bytes, answers: int) -> None:
    """Where no request is in hand as a caller leaves, nothing of its connection waits for the cycle collector."""
    caller = await run.connect()
    await caller.send(sent)
    for _ in range(answers):
        await caller.response()
    caller.writer.close()

    await eventually(_freed)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nbody"], ids=["before", "within"])
@pytest.mark.usefixtures("uncollected")
async def test_a_caller_that_leaves_is_freed_at_once(run: Running, begun: bytes) -> None:
    """Where a caller leaves before the end of its answer, nothing of it waits for the cycle collector."""

    async def reply(arrival: Arrival, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        await run.upstream.hang(arrival, writer)

    run.upstream.reply = reply
    caller = await run.connect()
    await caller.send(head())
    await run.upstream.until(lambda: bool(run.upstream.arrivals))
    if begun:
        await caller.reader.readuntil(b"body")
    caller.writer.close()

    await eventually(_freed)
