"""Background work whose failure is an event."""

from collections.abc import Coroutine
from typing import Any

from gateway.telemetry.event import Emit
from gateway.telemetry.events.process import BackgroundFailed


async def reported(work: Coroutine[Any, Any, None], emit: Emit) -> None:
    """Do work that nobody waits for. If it fails, the program has a fault, which is reported."""
    try:
        await work
    except Exception as failure:  # noqa: BLE001 - whatever it is, it is reported here
        emit(BackgroundFailed(type(failure).__name__))
