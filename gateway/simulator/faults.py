"""Faults: what goes wrong, for which endpoint and how often. The sockets that act them out are in `delivery`."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.core.catalog import Catalog, plain


class Act(StrEnum):
    """How an answer goes wrong on the wire."""

    CLOSE = "close"
    """The connection closes with no byte of a head."""
    MALFORMED = "malformed"
    """Bytes that are no HTTP head, or ``raw``, and the end of the connection."""
    SILENCE = "silence"
    """No head for ``seconds``, or until the faults are cleared."""
    CUT = "cut"
    """The connection closes in good order after ``after`` bytes of the body."""
    RESET = "reset"
    """As `CUT`, by a TCP reset; what the peer has not read yet may be lost to it."""
    STALL = "stall"
    """No more bytes after ``after`` of them, for ``seconds`` or until the faults are cleared; then the rest."""
    TRICKLE = "trickle"
    """The body in pieces of ``piece`` bytes, ``seconds`` apart (a tenth of a second where not said)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong. Raises `ValueError` where its parts do not fit together.

    ``endpoint`` is a name such as ``GET /threads/{id}``; None is every request, of unknown paths too. ``count`` is how
    many requests it strikes; None is all of them until the faults are cleared. HEAD is matched as GET.

    ``delay`` seconds pass before anything else. ``status`` answers in place of the endpoint and without a look at the
    key, with ``code`` and ``message`` in the envelope, or with ``body`` as it is, for what a host in front may say in
    HTML; ``headers`` go with any answer. ``body_bytes`` makes the body that many bytes of JSON. ``chunked`` sends the
    body without a length. ``after`` is half of the body where not said.
    """

    endpoint: str | None = None
    count: int | None = None
    delay: float = 0.0
    status: int | None = None
    code: str = "internal_error"
    message: str = "Something went wrong."
    details: Any = None
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body_bytes: int | None = None
    chunked: bool = False
    act: Act | None = None
    after: int | None = None
    seconds: float | None = None
    piece: int = 1
    raw: str | None = None

    def __post_init__(self) -> None:
        if self.act is not None:
            object.__setattr__(self, "act", Act(self.act))
        numbers = (self.count, self.body_bytes, self.after, self.seconds, self.delay)
        if any(number is not None and number < 0 for number in numbers) or self.piece < 1:
            raise ValueError("numbers are not negative, and a piece is at least one byte")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("a status is between 200 and 599")
        if self.body is not None and self.status is None:
            raise ValueError("a body needs a status")
        if self.raw is not None and self.act is not Act.MALFORMED:
            raise ValueError("raw bytes need the act malformed")


class Faults:
    """The faults in force, oldest first. A request meets the first that matches it, and no other."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: list[tuple[Fault, str | None, list[int]]] = []
        self._released = asyncio.Event()

    def add(self, fault: Fault) -> None:
        """Raises `ValueError` for an endpoint that the catalog does not have."""
        if fault.endpoint is not None and self._catalog.named(fault.endpoint) is None:
            raise ValueError(f"no such endpoint: {fault.endpoint}")
        name = None if fault.endpoint is None else plain(fault.endpoint)
        self._waiting.append((fault, name, [] if fault.count is None else [fault.count]))

    def take(self, endpoint: str | None) -> Fault | None:
        """The fault that strikes this request, and use it up once; ``endpoint`` is None for unknown paths."""
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
