"""What the listener stands on in aiohttp beyond its documentation, in one place; looked at when the process starts.

A release that changes any of it stops the process from starting instead of changing what the gateway lets through.
"""

import inspect
from collections.abc import Mapping
from typing import Final

from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

# Attributes that are read: the loop, the parsed messages that wait (pairs of head and payload) and how many there have
# been. All are in ``__slots__``, so a name that went away would not be seen by a test that assigns it.
ATTRIBUTES: Final = ("_loop", "_messages", "_request_count")
# Methods that are overridden or called, and their parameters.
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "connection_made": ("transport",),
    "connection_lost": ("exc",),
    "data_received": ("data",),
    "handle_error": ("request", "status", "exc", "message"),
    "finish_response": ("request", "resp", "start_time"),
    "log_exception": ("args", "kw"),
    "force_close": (),
}


def missing() -> list[str]:
    """What is not there, in words; empty where all is as it must be."""
    slots = {name for kind in RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())}
    found = [f"RequestHandler.{name}" for name in ATTRIBUTES if name not in slots]
    for name, expected in METHODS.items():
        method = getattr(RequestHandler, name, None)
        given = tuple(inspect.signature(method).parameters)[1:] if method else None
        if given != expected:
            found.append(f"RequestHandler.{name}({', '.join(expected)})")
    if not (EMPTY_PAYLOAD.is_eof() and EMPTY_PAYLOAD.total_bytes == 0):
        found.append("an EMPTY_PAYLOAD that is at its end")
    return found


def strays(handler: RequestHandler, limits: Mapping[str, int]) -> list[str]:
    """The limits that a connection was given and has not taken, as ``name=value`` of what it has instead."""
    return [
        f"{name}={getattr(handler, name, None)}" for name, value in limits.items() if getattr(handler, name, 0) != value
    ]
