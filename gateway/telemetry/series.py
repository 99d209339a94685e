"""Counters, histograms and gauges as plain dictionaries, and the lines that an exposition has of them.

They stand in for prometheus-client, whose parser the tests hold them against. What that buys, as `bench/telemetry.py`
measures it: no import of 57 ms and 4 MB in `serve`; no lock at each increment, which one loop does not need; and 5,000
series in a fifth of the time, at every scrape. One thread writes; any may read, since copying a dictionary is atomic.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import accumulate, product
from operator import attrgetter
from typing import Final, Literal, TypeAlias

from gateway.telemetry.event import Counted, Event, Names
from gateway.telemetry.labels import NONE, OTHER

PREFIX: Final = "productlane_gateway_"

Values: TypeAlias = tuple[str, ...]
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_PLACES: Final = 256

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def text_of(labels: Values, values: Values) -> str:
    """Labels as a sample has them: ``{key="main",slot="1"}``; nothing where there are none."""
    if not labels:
        return ""
    text = '",'.join(f'{label}="{value}' for label, value in zip(labels, map(_escaped, values), strict=True))
    return f'{{{text}"}}'


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES) if "\\" in value or '"' in value or "\n" in value else value


class Metric:
    """A metric family. ``name`` is without the prefix, and without ``_total`` where it is a counter."""

    __slots__ = ("full", "help", "kind", "labels", "name")

    def __init__(self, kind: Kind, name: str, help_text: str, labels: Values, *, prefix: str = PREFIX) -> None:
        self.kind: Final = kind
        self.name: Final = name
        self.full: Final = prefix + name
        self.help: Final = help_text
        self.labels: Final = labels

    def rows(self, rows: Iterable[tuple[Values, float]]) -> Iterator[str]:
        """One line for each pair of label values and number."""
        name = f"{self.full}_total" if self.kind == "counter" else self.full
        return (f"{name}{text_of(self.labels, at)} {number(value)}" for at, value in rows)


class Counter(Metric):
    """A counter: one number for each tuple of label values.

    ``known`` are tuples that are there from the start, at zero: Prometheus sees no rise in a series that begins at 1.
    """

    __slots__ = ("values",)

    def __init__(self, name: str, help_text: str, labels: Values = (), known: Iterable[Values] = ()) -> None:
        super().__init__("counter", name, help_text, labels)
        self.values: dict[Values, int] = dict.fromkeys(known, 0)

    def inc(self, at: Values, by: int = 1) -> None:
        self.values[at] = self.values.get(at, 0) + by

    def keep(self, known: Mapping[int, frozenset[str]]) -> None:
        """Drop the series whose label at a place is neither known nor ``other``."""
        gone = [at for at in self.values if any(at[i] not in names and at[i] != OTHER for i, names in known.items())]
        for at in gone:
            del self.values[at]

    def lines(self) -> Iterator[str]:
        """Its samples."""
        return self.rows(self.values.copy().items())


class EventCounter(Counter):
    """The counter of one kind of event. Label values outside their closed list count as ``other``.

    Series are there from the start, at zero, unless a label is a caller or an endpoint: those would be too many.
    """

    __slots__ = ("_at", "_known", "_of", "_read")

    def __init__(self, of: Counted) -> None:
        super().__init__(of.name, of.help, tuple(of.labels))
        self._of: Final = of
        self._known: dict[str, Collection[str]] = {}
        self._read: Final[Callable[[Event], object]] = attrgetter(*of.labels) if of.labels else lambda _: ()
        # Where events with such values count. Bounded, since an event may hold what is on no list.
        self._at: dict[object, Values] = {}
        self.know({})

    def know(self, names: Mapping[Names, frozenset[str]]) -> None:
        """The configuration's names from now on; series under names that are gone go too."""
        self._known = {
            label: names.get(values, frozenset()) if isinstance(values, Names) else values
            for label, values in self._of.labels.items()
        }
        self._at.clear()
        self.keep({i: frozenset(values) for i, values in enumerate(self._known.values())})
        if not any(values in (Names.CALLER, Names.ENDPOINT) for values in self._of.labels.values()):
            for at in product(*([value for value in values if value != NONE] for values in self._known.values())):
                self.values.setdefault(at, 0)

    def count(self, event: Event) -> None:
        read = self._read(event)
        at = self._at.get(read)
        if at is None:
            if len(self._at) >= _PLACES:
                self._at.clear()
            at = self._at[read] = tuple(
                value if (value := getattr(event, label)) in values else OTHER for label, values in self._known.items()
            )
        self.values[at] = self.values.get(at, 0) + event.times()


class Histogram(Metric):
    """A histogram: for each tuple of label values a count per bucket and the sum.

    ``bounds`` are the buckets' upper bounds, ascending, without +Inf.
    """

    __slots__ = ("_bounds", "_cells")

    def __init__(self, name: str, help_text: str, labels: Values, bounds: tuple[float, ...]) -> None:
        super().__init__("histogram", name, help_text, labels)
        self._bounds: Final = bounds
        self._cells: Final[dict[Values, list[float]]] = {}

    def cells(self, at: Values) -> list[float]:
        """The cells at these label values: one for each bound, one for +Inf, and the sum last."""
        return self._cells.setdefault(at, [0] * (len(self._bounds) + 2))

    def observe(self, cells: list[float], value: float) -> None:
        """Count a value in cells of this histogram."""
        cells[bisect_left(self._bounds, value)] += 1
        cells[-1] += value

    def lines(self) -> Iterator[str]:
        """Its samples: cumulative buckets, count and sum."""
        bounds = [*map(number, map(float, self._bounds)), "+Inf"]
        for at, cells in self._cells.copy().items():
            *counts, total = cells.copy()
            below = list(accumulate(counts))
            for bound, n in zip(bounds, below, strict=True):
                yield f"{self.full}_bucket{text_of((*self.labels, 'le'), (*at, bound))} {number(n)}"
            labels = text_of(self.labels, at)
            yield f"{self.full}_count{labels} {number(below[-1])}"
            yield f"{self.full}_sum{labels} {number(total)}"


def number(value: float) -> str:
    """A number as both formats of an exposition have it."""
    return str(int(value)) if isinstance(value, bool) else repr(value)
