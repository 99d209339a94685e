"""Who is next where requests wait for the same budget: callers by weight, each caller's requests in their order."""

import heapq
from collections import OrderedDict
from collections.abc import Collection
from typing import Final, Generic, TypeVar

from gateway.core.catalog import Lane

T = TypeVar("T")

# A turn of a caller of weight 1. Divisible by all weights up to 16 and by 1,000, and so large that the rest of any
# other division does not show.
_STRIDE: Final = 720_720_000


class _Flow(Generic[T]):
    """What one caller has waiting, and how far its turns have brought it."""

    __slots__ = ("at", "stride", "waiting")

    def __init__(self, at: int) -> None:
        self.at = at
        self.stride = _STRIDE
        self.waiting: dict[Lane, OrderedDict[T, int]] = {}

    def head(self, lanes: Collection[Lane]) -> Lane | None:
        """The lane, of these, in which this caller has waited longest."""
        heads = [(next(iter(items.values())), lane) for lane, items in self.waiting.items() if items and lane in lanes]
        return min(heads)[1] if heads else None


class FairQueue(Generic[T]):
    """Stride scheduling (Waldspurger and Weihl, 1995): each turn moves a caller on by a step, which is the shorter the
    greater its weight, and the one that is furthest behind is next.

    Over any stretch in which the same callers have something waiting, their turns are as their weights, to within one
    turn of each. A caller that comes anew begins where the queue is, so having been away earns nothing, and so does
    leaving and coming back. Items must be hashable and each be in the queue once.
    """

    def __init__(self) -> None:
        self._flows: Final[dict[str, _Flow[T]]] = {}
        self._order: Final[list[tuple[int, int, str]]] = []
        self._lengths: Final = dict.fromkeys(Lane, 0)
        self._total = 0
        self._at = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return self._total

    def waiting(self, lane: Lane) -> int:
        """How many items of a lane are in the queue."""
        return self._lengths[lane]

    def push(self, caller: str, weight: int, lane: Lane, item: T) -> None:
        """Let an item wait. The weight counts from the caller's next turn on."""
        self._arrivals += 1
        flow = self._flows.get(caller)
        if flow is None:
            flow = self._flows[caller] = _Flow(self._at)
            heapq.heappush(self._order, (flow.at, self._arrivals, caller))
        flow.stride = _STRIDE // weight
        flow.waiting.setdefault(lane, OrderedDict())[item] = self._arrivals
        self._lengths[lane] += 1
        self._total += 1

    def pop(self, lanes: Collection[Lane]) -> T | None:
        """The next item of these lanes, taken out; None where none waits."""
        passed: list[tuple[int, int, str]] = []
        found: T | None = None
        while self._order and found is None:
            entry = heapq.heappop(self._order)
            flow = self._flows[entry[2]]
            lane = flow.head(lanes)
            if lane is not None:
                found, arrived = flow.waiting[lane].popitem(last=False)
                self._count_out(lane)
                self._at = max(self._at, flow.at)
                flow.at += flow.stride
                passed.append((flow.at, arrived, entry[2]))
            elif any(flow.waiting.values()):
                passed.append(entry)
            else:
                # It has nothing waiting, and its turn has come: it is no further than those who come anew.
                del self._flows[entry[2]]
        for entry in passed:
            heapq.heappush(self._order, entry)
        self._forget_if_empty()
        return found

    def remove(self, caller: str, lane: Lane, item: T) -> None:
        """Take an item out that no longer waits; without effect where it is not there."""
        flow = self._flows.get(caller)
        items = flow.waiting.get(lane) if flow is not None else None
        if items and items.pop(item, None) is not None:
            self._count_out(lane)
            self._forget_if_empty()

    def _count_out(self, lane: Lane) -> None:
        self._lengths[lane] -= 1
        self._total -= 1

    def _forget_if_empty(self) -> None:
        """With nobody waiting there is no contention left to be fair about, and memory is given back."""
        if not self._total:
            self._flows.clear()
            self._order.clear()
            self._at = 0
