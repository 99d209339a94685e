"""The last readings of a key's budget, in numbers that a later reading is compared with."""

from typing import Final, NamedTuple, Self

from gateway.telemetry.status import BudgetStatus, moment

_MINUTE: Final = 60


class BudgetFacts(NamedTuple):
    """The last reading of a key's budget in a lane; ``reset`` is the Unix second at which the count starts anew.

    ``low`` is the lowest reading of its minute and ``low_before`` that of the minute before, None without any.
    """

    limit: int
    remaining: int
    reset: int
    low: int
    low_before: int | None = None

    @classmethod
    def after(cls, before: Self | None, *, limit: int, remaining: int, reset: int) -> Self:
        """What is known after a reading. Readings are of one minute where their resets are."""
        passed = None if before is None else reset // _MINUTE - before.reset // _MINUTE
        if before is not None and passed == 0:
            return cls(limit, remaining, reset, min(remaining, before.low), before.low_before)
        return cls(limit, remaining, reset, remaining, before.low if before is not None and passed == 1 else None)

    def lowest(self, now: float) -> int:
        """The fewest requests left, of the minute that ``now`` (Unix seconds) is in and the one before."""
        if now >= self.reset + _MINUTE:
            return self.limit
        return self.low if now >= self.reset or self.low_before is None else min(self.low, self.low_before)

    @property
    def status(self) -> BudgetStatus:
        """The reading as the status shows it."""
        return BudgetStatus(self.limit, self.remaining, moment(self.reset))
