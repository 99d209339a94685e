"""The endpoints of the API: method and path template, the scopes of each, its lane, and whether it is guarded."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Final, Generic, TypeVar

from gateway.core.target import BASE, Target

_HEAD: Final = tuple(BASE[1:].split("/"))
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")
_Leaf = TypeVar("_Leaf")
_NO_REPLACEMENTS: Final[Mapping[tuple[str, str], str]] = {}


class Lane(StrEnum):
    """What a request spends: Productlane counts reads, writes and uploads apart."""

    READ = "read"
    WRITE = "write"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path template, without ``/api/v2``. ``scopes`` are all needed; empty means any valid key."""

    method: str
    template: str
    scopes: frozenset[str]
    lane: Lane
    guarded: bool = False
    name: str = field(init=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.method} {self.template}")
        object.__setattr__(self, "_hash", hash((self.method, self.template)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.template[1:].split("/"))


# What `Catalog.find` gives where there is no endpoint. No policy can name it.
NOWHERE: Final = Endpoint("", "", frozenset(), Lane.READ)


class _Node(Generic[_Leaf]):
    """A place in the tree of path segments, with one leaf for each method that is served there."""

    __slots__ = ("any", "folded", "literal", "methods")

    def __init__(self) -> None:
        self.literal: dict[str, _Node[_Leaf]] = {}
        self.folded: set[str] = set()
        self.any: _Node[_Leaf] | None = None
        self.methods: dict[str, _Leaf] = {}

    def below(self, segments: Iterable[str]) -> "_Node[_Leaf]":
        """The node of a template; made if it does not exist yet."""
        node = self
        for segment in segments:
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node.folded.add(segment.lower())
                node = node.literal.setdefault(segment, _Node())
        return node

    def folds(self, segment: str) -> bool:
        """Whether a segment is a literal here to a server that ignores letter case and suffixes."""
        return segment.lower().partition(".")[0] in self.folded

    def find(self, segments: Iterable[str]) -> "_Node[_Leaf] | None":
        """The node of a path; None if there is none.

        A literal always wins over ``{id}``; no other reading is tried. A literal in other letter case has no node,
        since a server that ignores case would read the literal after ``{id}`` had been judged. A literal with a suffix
        (``by-email.json``) has none either, since frameworks take the suffix for a format.
        """
        node: _Node[_Leaf] | None = self
        for segment in segments:
            if node is None:
                return None
            found = node.literal.get(segment)
            node = node.any if found is None and not node.folds(segment) else found
        return node

    def near(self, segments: Iterable[str], *, exact: bool = False) -> str:
        """The path of the nearest node, each unknown segment replaced by the nearest literal; empty for none.

        With ``exact``, no segment is replaced.
        """
        node, path = self, BASE
        for segment in segments:
            name = segment
            if segment not in node.literal:
                close = [] if exact else get_close_matches(segment.lower(), node.literal, n=1, cutoff=0.75)
                name = close[0] if close else ""
            below = node.literal.get(name) or (None if node.folds(segment) else node.any)
            if below is None:
                return ""
            node, path = below, f"{path}/{name or segment}"
        return path if node.methods else ""


class Catalog:
    """Every endpoint there is. A look-up costs one step per path segment, however many endpoints there are.

    An id that is spelt like a literal (``/contacts/by-email``) is that literal, whatever the method; ids of this API
    never look so, and one reading is safer than two. Of two endpoints with one name the later counts.
    ``replacements`` are those that the vendor's migration guide names, by method and path template of v1.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        scopes: Mapping[str, str],
        replacements: Mapping[tuple[str, str], str] = _NO_REPLACEMENTS,
    ) -> None:
        self.scopes: Final = dict(scopes)
        self._tree: Final[_Node[Endpoint]] = _Node()
        self._named: Final[dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            self._tree.below(endpoint.segments).methods[endpoint.method] = endpoint
            self._named[plain(endpoint.name)] = endpoint
        self.endpoints: Final = tuple(self._named.values())
        self._v1: Final[_Node[str]] = _Node()
        for (method, template), replacement in replacements.items():
            self._v1.below(template[1:].split("/")).methods[method] = replacement

    def named(self, name: str) -> Endpoint | None:
        """The endpoint with a name as in a policy, ``POST /companies/{id}/merge``; placeholders may have any name."""
        return self._named.get(plain(name))

    def find(self, target: Target) -> Endpoint:
        """The endpoint that serves a target; `NOWHERE` where there is none."""
        node = self._node(target)
        return NOWHERE if node is None else node.methods.get(target.judged_method, NOWHERE)

    def methods(self, target: Target) -> tuple[str, ...]:
        """The methods that the path of a target has; none where the path is unknown."""
        node = self._node(target)
        if node is None:
            return ()
        return tuple(sorted({*node.methods, "HEAD"} if "GET" in node.methods else node.methods))

    def replacement(self, target: Target) -> str:
        """What serves a v1 target in v2: as the vendor's migration guide says, else the same method and path of v2.

        Empty where nothing does.
        """
        segments, method = target.segments[2:], target.judged_method
        node = self._v1.find(segments)
        if node is not None and method in node.methods:
            return node.methods[method]
        twin = self._tree.find(segments)
        endpoint = twin.methods.get(method) if twin is not None else None
        return "" if endpoint is None else f"{method} {BASE}{endpoint.template} (fields and paging differ)"

    def near(self, target: Target) -> str:
        """The path that a caller may have meant by this target, with the base; empty if none is near."""
        segments = target.segments
        head, rest = segments[:2], segments[2:]
        if head != _HEAD:
            # The base is missing or misspelt; what follows it may be right.
            tails = (segments, segments[1:], rest)
            return next((found for tail in tails if tail and (found := self._tree.near(tail, exact=True))), "")
        return self._tree.near(rest)

    def _node(self, target: Target) -> _Node[Endpoint] | None:
        rest = target.segments[2:]
        node = self._tree.find(rest) if rest and target.segments[:2] == _HEAD else None
        return node if node is not None and node.methods else None


def plain(name: str) -> str:
    """An endpoint's name with ``{}`` for each placeholder."""
    return _PLACEHOLDER.sub("{}", name)


EMPTY: Final = Catalog((), {})
