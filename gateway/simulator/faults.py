"""Faults: what goes wrong, for which endpoint and how often. `delivery` performs them on the sockets."""

import asyncio
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from gateway.core.catalog import Catalog, plain

_Count = Annotated[int, Meta(ge=0)]
_Seconds = Annotated[float, Meta(ge=0)]


class Act(StrEnum):
    """How an answer goes wrong on the wire."""

    CLOSE = "close"
    """The connection closes with no byte of a head."""
    MALFORMED = "malformed"
    """Bytes that are no HTTP head, and the end of the connection."""
    SILENCE = "silence"
    """No head for ``seconds``, or until the faults are cleared."""
    CUT = "cut"
    """The connection closes in good order after ``after`` bytes of the body."""
    RESET = "reset"
    """As `CUT`, by a TCP reset; what the peer has not read yet may be lost to it."""
    STALL = "stall"
    """No more bytes after ``after`` of them, for ``seconds`` or until the faults are cleared; then the rest."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that goes wrong.

    ``endpoint`` is a name such as ``GET /threads/{id}``; None is every request, of unknown paths too. ``count`` is how
    many requests it strikes; None is all of them until the faults are cleared. HEAD is matched as GET.

    ``delay`` seconds pass before anything else. ``status`` answers in place of the endpoint and without a look at the
    key, with ``code`` and ``message`` in the envelope, or with ``body`` as it is, for what a host in front may say in
    HTML; ``headers`` go with any answer. ``after`` is half of the body where not said.
    """

    endpoint: str | None = None
    count: _Count | None = None
    delay: _Seconds = 0.0
    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    code: str = "internal_error"
    message: str = "Something went wrong."
    details: dict[str, Any] | list[Any] | None = None
    body: str | None = None
    headers: dict[str, str] = {}
    act: Act | None = None
    after: _Count | None = None
    seconds: _Seconds | None = None

    def __post_init__(self) -> None:
        if self.body is not None and self.status is None:
            raise ValueError("a body needs a status")


class Faults:
    """The faults in force, oldest first. A request meets the first that matches it, and no other."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: list[tuple[Fault, str | None, list[int]]] = []
        self._released = asyncio.Event()

    def add(self, parts: object) -> Fault:
        """Put a fault in force, from a mapping of the fields of `Fault`. Raises `ValueError` if one is wrong."""
        try:
            fault = convert(parts, Fault)
        except ValidationError as error:
            raise ValueError(str(error)) from None
        if fault.endpoint is not None and self._catalog.named(fault.endpoint) is None:
            raise ValueError(f"no such endpoint: {fault.endpoint}")
        name = None if fault.endpoint is None else plain(fault.endpoint)
        self._waiting.append((fault, name, [] if fault.count is None else [fault.count]))
        return fault

    def take(self, endpoint: str | None) -> Fault | None:
        """The fault for this request, counted as used once; ``endpoint`` is None for unknown paths."""
        asked = None if endpoint is None else plain(endpoint)
        for fault, name, left in self._waiting:
            if name in (None, asked) and left != [0]:
                if left:
                    left[0] -= 1
                return fault
        return None

    def in_force(self) -> list[tuple[Fault, int | None]]:
        """The faults that may still strike, each with how often; None is without end."""
        return [(fault, left[0] if left else None) for fault, _, left in self._waiting if left != [0]]

    def clear(self) -> None:
        """End all faults; answers that are held back by one go on."""
        self._waiting.clear()
        self._released.set()
        self._released = asyncio.Event()

    @property
    def released(self) -> asyncio.Event:
        """Set when the faults now in force are cleared."""
        return self._released
