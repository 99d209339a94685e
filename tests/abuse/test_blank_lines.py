"""Empty lines before a request, which a server is to ignore, against a real `serve`."""

import contextlib

from tests.support.honest import ATTACKER, asks, opened, worked
from tests.support.raw_caller import head
from tests.support.served import Served

BLANK = b"\r\n" * 120_000


async def test_a_flood_of_empty_lines_costs_little(served: Served) -> None:
    """20 connections with 240 kB of empty lines take less than a second, and a request behind some is served."""
    assert {200} == await asks(served, 1)
    before = worked(served)
    for _ in range(20):
        caller = await opened(served, b"")
        with contextlib.suppress(ConnectionError):
            await caller.send(BLANK)
    assert {200} == await asks(served, 5)
    took = worked(served) - before
    patient = await opened(served, BLANK[:100_000] + head(token=ATTACKER))
    answered = await patient.response()

    assert 200 == answered.status
    assert took < 1
