"""What a policy file grants its caller."""

from datetime import date
from typing import NamedTuple

from gateway.core.catalog import Endpoint, Lane


class Policy(NamedTuple):
    """One caller's grant. Nothing is allowed that it does not name.

    ``audit`` forwards what scope rules would refuse; ``deny``, guarded endpoints and ``expires`` still hold.
    ``expires`` is the first day (UTC) on which nothing is granted any more. ``reads`` and ``writes`` are the most
    requests a minute, None for no cap; ``weight`` is the caller's share of a key that several callers use.
    ``variable`` is the environment variable that holds the scopes of a sidecar, which has no policy file.
    """

    caller: str
    scopes: frozenset[str] = frozenset()
    endpoints: frozenset[Endpoint] = frozenset()
    deny: frozenset[Endpoint] = frozenset()
    audit: bool = False
    expires: date | None = None
    reads: int | None = None
    writes: int | None = None
    weight: int = 1
    variable: str = ""

    @property
    def place(self) -> str:
        """Where its owner changes the scopes, for a message."""
        return f"`${self.variable}`" if self.variable else f"`scopes` in policy `{self.caller}`"

    def cap(self, lane: Lane) -> int | None:
        """The most requests a minute in a lane; an upload is a write."""
        return self.reads if lane is Lane.READ else self.writes
