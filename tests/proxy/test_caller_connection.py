"""`gateway.proxy.caller_connection`: what is left of a connection once it is closed."""

import gc
from collections.abc import Iterator

import pytest

from gateway.proxy.caller_connection import CallerConnection
from tests.support.deadline import eventually
from tests.support.in_process import Running
from tests.support.raw_caller import head


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is freed but what nothing refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _freed() -> bool:
    return not any(isinstance(kept, CallerConnection) for kept in gc.get_objects())


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(b"GET /api", 0, id="part of a head"),
        pytest.param(head(), 1, id="a request"),
        pytest.param(head() * 3, 3, id="requests"),
        pytest.param(head("GET", "/api/v2/threads", "Connection: close"), 1, id="the last request"),
        pytest.param(head("POST", "/api/v2/threads", "Content-Length: 4") + b"body", 1, id="a body"),
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
