"""The endpoints of the API: method and path template, the scopes each needs, its lane, and whether it is guarded."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

from gateway.core.refusal import Code, Reason, Refused
from gateway.core.target import Target

_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")
_Leaf = TypeVar("_Leaf")


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


@dataclass(frozen=True, slots=True)
class Successor:
    """A v1 path and what the vendor's migration guide names in its place."""

    method: str
    template: str
    replacement: str


class _Node(Generic[_Leaf]):
    """A place in the tree of path segments, with one leaf for each method that is served there."""

    __slots__ = ("any", "folded", "literal", "methods")

    def __init__(self) -> None:
        self.literal: dict[str, _Node[_Leaf]] = {}
        self.folded: set[str] = set()
        self.any: _Node[_Leaf] | None = None
        self.methods: dict[str, _Leaf] = {}

    def below(self, segments: Iterable[str]) -> "_Node[_Leaf]":
        """The node that a template's segments lead to; it is made where it is not there yet."""
        node = self
        for segment in segments:
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node.folded.add(segment.lower())
                node = node.literal.setdefault(segment, _Node())
        return node

    def find(self, segments: Iterable[str]) -> "_Node[_Leaf] | None":
        """The node that a path's segments lead to.

        A literal wins over ``{id}`` for good: there is no second reading. A literal in other letter case is nothing at
        all, since a server that ignores case would read the literal where ``{id}`` had been judged.
        """
        node: _Node[_Leaf] | None = self
        for segment in segments:
            if node is None:
                return None
            found = node.literal.get(segment)
            node = node.any if found is None and segment.lower() not in node.folded else found
        return node


class Catalog:
    """Every endpoint there is. A look-up costs one step per path segment, however many endpoints there are.

    An id that is spelt like a literal (``/contacts/by-email``) is that literal, whatever the method; ids of this API
    never look so, and one reading is safer than two. Of two endpoints with one name the later stands.
    """

    def __init__(
        self, endpoints: Iterable[Endpoint], scopes: Mapping[str, str], successors: Iterable[Successor] = ()
    ) -> None:
        self.scopes: Final = dict(scopes)
        self._tree: Final[_Node[Endpoint]] = _Node()
        self._named: Final[dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            self._tree.below(endpoint.segments).methods[endpoint.method] = endpoint
            self._named[plain(endpoint.name)] = endpoint
        self.endpoints: Final = tuple(self._named.values())
        self._v1: Final[_Node[str]] = _Node()
        for successor in successors:
            node = self._v1.below(successor.template[1:].split("/"))
            node.methods[successor.method] = successor.replacement

    def named(self, name: str) -> Endpoint | None:
        """The endpoint written as in a policy, ``POST /companies/{id}/merge``; how placeholders are called is free."""
        return self._named.get(plain(name))

    def find(self, target: Target) -> Endpoint:
        """The endpoint that serves a target.

        Raises `Refused`: ``not_found``, ``method_not_allowed`` with ``Allow``, ``unsupported_api_version`` for v1.
        """
        head, rest = target.segments[:2], target.segments[2:]
        if head == ("api", "v1"):
            raise self._gone(target.judged_method, rest)
        node = self._tree.find(rest) if head == ("api", "v2") and rest else None
        if node is None or not node.methods:
            raise Refused(
                Code.NOT_FOUND,
                Reason.ENDPOINT_UNKNOWN,
                "No endpoint of the Productlane v2 API has this path.",
                note="the path is not in the catalog; the setting `catalog` adds endpoints newer than the gateway",
            )
        endpoint = node.methods.get(target.judged_method)
        if endpoint is None:
            allow = ", ".join(sorted({*node.methods, "HEAD"} if "GET" in node.methods else node.methods))
            raise Refused(
                Code.METHOD_NOT_ALLOWED,
                Reason.METHOD,
                f"This path takes {allow}.",
                headers=(("Allow", allow),),
            )
        return endpoint

    def _gone(self, method: str, segments: tuple[str, ...]) -> Refused:
        node = self._v1.find(segments)
        replacement = node.methods.get(method) if node else None
        message = "Version 1 of the Productlane API ended on 2026-11-20; only /api/v2 is served."
        if replacement:
            message += f" Use {replacement} instead."
        return Refused(
            Code.UNSUPPORTED_API_VERSION,
            Reason.API_VERSION,
            message,
            note=message,
            details={"replacement": replacement} if replacement else None,
        )


def plain(name: str) -> str:
    """An endpoint's name with its placeholders made alike."""
    return _PLACEHOLDER.sub("{}", name)
