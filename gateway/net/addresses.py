"""The addresses of a name, how long they may be used, and when the resolver is asked again."""

import itertools
import math
from typing import Final, NamedTuple

# getaddrinfo gives no time to live. An answer younger than `FRESH` is not asked for again, so a record that changes is
# followed within seconds. Up to `SETTLED`, connections do not wait for the new answer. Up to `LAST`, they use the old
# answer while there is no new one.
FRESH: Final = 15.0
SETTLED: Final = 60.0
LAST: Final = 3600.0
# How long a resolver may take. glibc repeats a lost query after 5 s and gives up after 10 s or more. By then the
# gateway has answered the caller.
PATIENCE: Final = 2.0
# Seconds without a new look-up after one that failed or was given up.
PAUSE: Final = 1.0
# How long an address that took no connection is tried after the others.
AVOIDED: Final = 30.0
# The fault of a resolver that does not answer.
SILENT: Final = "the resolver does not answer"


class Address(NamedTuple):
    """Where to connect to: an IPv4 or IPv6 address as text, and the scope of a link-local one."""

    host: str
    scope: int = 0

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host


class Plan(NamedTuple):
    """Whether a new connection begins a look-up, and whether it waits for it."""

    ask: bool
    wait: bool


class Entry:
    """What is known of one name. Moments are readings of one monotonic clock, in seconds.

    ``fault`` says why the last lookup failed; it is empty after a lookup that succeeded. The start time of a lookup
    identifies it: a late answer never replaces the answer to a later query.
    """

    __slots__ = ("_addresses", "_asking", "_avoided", "_found", "_next", "_overdue", "_truth", "fault")

    def __init__(self) -> None:
        self.fault = ""
        self._addresses: tuple[Address, ...] = ()
        self._found = -math.inf  # when they were learnt
        self._truth = -math.inf  # when the question they answer was asked
        self._asking: float | None = None
        self._overdue: set[float] = set()
        self._next = -math.inf
        self._avoided: dict[Address, float] = {}

    def age(self, now: float) -> float:
        """Seconds since the addresses were learnt; infinite where none are known."""
        return now - self._found

    def plan(self, now: float, *, free: bool) -> Plan:
        """What to do before connecting; ``free``: a thread for a look-up is available."""
        ask = free and self._asking is None and self.age(now) >= FRESH and now >= self._next
        under_way = ask or self._asking is not None
        if self.age(now) < LAST:
            return Plan(ask, under_way and self.age(now) >= SETTLED and not self.fault)
        # Once the resolver is known to be silent, no further connection waits for `PATIENCE`.
        return Plan(ask, under_way and not self._overdue)

    def usable(self, now: float) -> tuple[Address, ...]:
        """The addresses to try: those that took no connection of late last, else in the resolver's order (RFC 6724).

        Families take turns, as RFC 8305 section 4 asks, so that one that leads nowhere costs one attempt.
        """
        if self.age(now) >= LAST:
            return ()
        return tuple(sorted(self._addresses, key=lambda one: max(now, self._avoided.get(one, now))))

    def begun(self, now: float) -> None:
        """A look-up has begun. It ends by `found` or `failed`, perhaps after `given_up`."""
        self._asking = now

    def given_up(self, began: float, now: float) -> None:
        """A look-up has taken too long. Its late answer still counts."""
        if self._asking == began:
            self._asking = None
            self._overdue.add(began)
            self.fault, self._next = SILENT, now + PAUSE

    def found(self, began: float, addresses: tuple[Address, ...], now: float) -> None:
        """A look-up has found these addresses, at least one."""
        self._end(began)
        if began > self._truth:
            self._addresses, self._found, self._truth, self.fault = _in_turn(addresses), now, began, ""
            self._avoided = {one: until for one, until in self._avoided.items() if one in addresses}

    def failed(self, began: float, why: str, now: float) -> None:
        """A look-up has found no address."""
        self._end(began)
        if began > self._truth:
            self.fault, self._next = why, now + PAUSE

    def _end(self, began: float) -> None:
        self._overdue.discard(began)
        if self._asking == began:
            self._asking = None

    def avoid(self, address: Address, now: float) -> None:
        """An address took no connection."""
        self._avoided[address] = now + AVOIDED


def _in_turn(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """The same addresses, the families of IPv4 and IPv6 in turn, beginning with the first one's."""
    first = [one for one in addresses if one.is_ipv6 is addresses[0].is_ipv6]
    other = [one for one in addresses if one.is_ipv6 is not addresses[0].is_ipv6]
    return tuple(one for pair in itertools.zip_longest(first, other) for one in pair if one is not None)
