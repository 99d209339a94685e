"""`gateway.runtime.reported`: a background task that fails is not silent."""

import asyncio

import pytest

from gateway.runtime.reported import reported
from gateway.telemetry.event import Event
from gateway.telemetry.events.process import BackgroundFailed


async def test_a_failure_is_an_event() -> None:
    """The log names the kind of the error, and not its text, which may quote what was sent."""
    events: list[Event] = []

    async def fail() -> None:
        raise ValueError("text")

    await reported(fail(), events.append)

    assert [BackgroundFailed("ValueError")] == events


async def test_an_end_that_was_asked_for_is_none() -> None:
    """A task that is cancelled, as at the end of the process, reports nothing."""
    events: list[Event] = []
    task = asyncio.create_task(reported(asyncio.sleep(3600), events.append))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [] == events
