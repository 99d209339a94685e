"""Who is next where requests wait for the same budget: the caller that has used least for its weight."""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import Final, Generic, TypeVar

from gateway.budgets.shares import Flow
from gateway.core.catalog import Lane

T = TypeVar("T")

# Entries of the order that no longer count are dropped once there are so many for each caller that waits.
_STALE: Final = 16


class _Line(Generic[T]):
    """What one caller has waiting, by lane, in the order in which it came."""

    __slots__ = ("flow", "lanes", "stamp")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.lanes: dict[Lane, OrderedDict[T, int]] = {}
        self.stamp = 0

    def head(self, lanes: Collection[Lane]) -> Lane | None:
        """The lane, of these, in which this caller has waited longest."""
        heads = [(next(iter(items.values())), lane) for lane, items in self.lanes.items() if items and lane in lanes]
        return min(heads)[1] if heads else None


class FairQueue(Generic[T]):
    """Progressive filling (see `gateway.budgets.shares`): the caller at the lowest level is next.

    Of callers at the same level, the one that has waited longest is next. Items must be hashable, and each be in the
    queue once. A flow's ``waiting`` is how many of its items are here, ``length`` how many items of all flows are.
    """

    def __init__(self) -> None:
        self._lines: Final[dict[str, _Line[T]]] = {}
        self._order: Final[list[tuple[float, int, str, int]]] = []
        self._lengths: Final = dict.fromkeys(Lane, 0)
        self.length = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[T]:
        return (item for line in self._lines.values() for items in line.lanes.values() for item in items)

    def waiting(self, lane: Lane) -> int:
        """How many items of a lane are in the queue."""
        return self._lengths[lane]

    def push(self, flow: Flow, lane: Lane, item: T) -> None:
        """Let an item wait."""
        self._arrivals += 1
        line = self._lines.get(flow.caller)
        if line is None:
            line = self._lines[flow.caller] = _Line(flow)
            self._place(line)
            self._drop_stale()
        line.lanes.setdefault(lane, OrderedDict())[item] = self._arrivals
        flow.waiting += 1
        self._lengths[lane] += 1
        self.length += 1

    def head(self, lanes: Collection[Lane]) -> T | None:
        """The next item of these lanes; None where none waits. It stays in the queue."""
        passed: list[tuple[float, int, str, int]] = []
        found: T | None = None
        while self._order and found is None:
            entry = heapq.heappop(self._order)
            line = self._lines.get(entry[2])
            if line is None or line.stamp != entry[3]:
                continue
            passed.append(entry)
            if (lane := line.head(lanes)) is not None:
                found = next(iter(line.lanes[lane]))
        for entry in passed:
            heapq.heappush(self._order, entry)
        return found

    def remove(self, flow: Flow, lane: Lane, item: T) -> bool:
        """Take an item out; False where it is not there. The flow's place is reckoned anew."""
        line = self._lines.get(flow.caller)
        items = line.lanes.get(lane) if line is not None else None
        if line is None or not items or items.pop(item, None) is None:
            return False
        line.flow.waiting -= 1
        self._lengths[lane] -= 1
        self.length -= 1
        if any(line.lanes.values()):
            self._place(line)
        else:
            del self._lines[flow.caller]
        self._drop_stale()
        return True

    def reorder(self) -> None:
        """The levels of all callers have changed."""
        self._order.clear()
        for line in self._lines.values():
            self._place(line)

    def _drop_stale(self) -> None:
        if len(self._order) > _STALE * len(self._lines):
            self.reorder()

    def newest_of_longest(self, length: Callable[[Flow], float] = lambda flow: flow.waiting / flow.weight) -> T | None:
        """The item that came last of the caller that has most waiting, for its weight; None where none waits."""
        if not self._lines:
            return None
        longest = max(self._lines.values(), key=lambda line: length(line.flow))
        newest = max((next(reversed(items.items())) for items in longest.lanes.values() if items), key=lambda at: at[1])
        return newest[0]

    def _place(self, line: _Line[T]) -> None:
        """Enter the line anew in the order; its former entry no longer counts."""
        self._arrivals += 1
        line.stamp = self._arrivals
        oldest = min((next(iter(items.values())) for items in line.lanes.values() if items), default=self._arrivals)
        heapq.heappush(self._order, (line.flow.level, oldest, line.flow.caller, line.stamp))
