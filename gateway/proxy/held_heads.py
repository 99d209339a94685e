"""What all connections hold in heads that have no answer yet: in all, and of each address."""

from collections import Counter
from typing import Final, Protocol

from gateway.core.limits import HEADS_SHARE, Limit
from gateway.core.refusal import Code, Reason, Refused

# A whole head up to this size is not counted: it is what callers send, and its request is over in a moment. A head
# that is larger, or has not arrived whole, takes up to three times its bytes.
SMALL: Final = 4096


class Holder(Protocol):
    """A connection that holds a head or several."""

    @property
    def waits_for_head(self) -> bool:
        """Whether the rest of a head is all that is to come."""

    def drop_heads(self, refused: Refused) -> None:
        """Refuse what it holds. It then `HeldHeads.hold`s less, at once or after its answer."""


class HeldHeads:
    """Bytes of heads, by address and connection; those that have been held for longest first."""

    def __init__(self) -> None:
        self._of: Final[dict[str, dict[Holder, int]]] = {}
        self._sums: Final[Counter[str]] = Counter()
        self._total = 0

    def hold(self, holder: Holder, address: str, size: int, most: int) -> None:
        """``holder`` holds so many bytes now.

        Where that is over the share of its address, or over ``most`` in all, the connection of the address that holds
        most goes that has waited for longest for the rest of a head; the holder itself, where there is none. So a
        head that is not counted never goes, and one that comes in a few pieces goes after those that dribble.
        """
        grown = self._note(holder, address, size) > 0
        while grown and (over := self._over(address, most)) is not None:
            limit, heaviest = over
            loser = next((one for one in self._of[heaviest] if one.waits_for_head), holder)
            loser.drop_heads(_too_many(limit, most))
            grown = loser is not holder

    def _note(self, holder: Holder, address: str, size: int) -> int:
        """Note what a connection holds; returns by how much it has grown."""
        held = self._of.setdefault(address, {})
        more = size - held.get(holder, 0)
        if size:
            held[holder] = size
        else:
            held.pop(holder, None)
        self._total += more
        self._sums[address] += more
        if not held:
            del self._of[address], self._sums[address]
        return more

    def _over(self, address: str, most: int) -> tuple[Limit, str] | None:
        """The limit that is passed, and the address that holds too much for it."""
        if self._total > most:
            return Limit.HEADS, max(self._sums, key=self._sums.__getitem__)
        if address and self._sums[address] > most // HEADS_SHARE:
            return Limit.HEADS_PER_ADDRESS, address
        return None


def _too_many(limit: Limit, most: int) -> Refused:
    share = f"{most // HEADS_SHARE} of its {most}" if limit is Limit.HEADS_PER_ADDRESS else f"{most}"
    whose = "to one address" if limit is Limit.HEADS_PER_ADDRESS else "in all"
    return Refused(
        Code.OVERLOADED,
        Reason.LOAD,
        "Too many heads of requests are held at a time.",
        note=f"`limits.heads` allows {share} bytes of heads without an answer {whose}",
        fix="send the whole head at once, or raise `limits.heads`",
        decided_by=f"limits.heads: {most}",
        headers=(("Retry-After", "1"),),
        limit=limit,
    )
