"""The endpoints of the API: method and path template, the scopes each needs, its lane, and whether it is guarded."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.core.refusal import Code, Reason, Refused
from gateway.core.target import Target

_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")


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


class _Node:
    """A place in the tree of path segments."""

    __slots__ = ("any", "literal", "methods")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.methods: dict[str, Endpoint] = {}

    def below(self, segments: Iterable[str]) -> "_Node":
        node = self
        for segment in segments:
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        return node

    def find(self, segments: Iterable[str]) -> "_Node | None":
        """The node that the segments lead to. A literal wins over ``{id}`` for good: there is no second reading."""
        node: _Node | None = self
        for segment in segments:
            if node is None:
                return None
            node = node.literal.get(segment) or node.any
        return node


class Catalog:
    """Every endpoint there is. A look-up costs one step per path segment, however many endpoints there are.

    An id that is spelt like a literal (``/contacts/by-email``) is that literal, whatever the method; ids of this API
    never look so, and one reading is safer than two.
    """

    def __init__(
        self, endpoints: Iterable[Endpoint], scopes: Mapping[str, str], successors: Iterable[Successor] = ()
    ) -> None:
        self.scopes: Final = dict(scopes)
        self.endpoints: Final = tuple(endpoints)
        self._tree: Final = _Node()
        self._named: Final[dict[str, Endpoint]] = {}
        for endpoint in self.endpoints:
            self._tree.below(endpoint.segments).methods[endpoint.method] = endpoint
            self._named[plain(endpoint.name)] = endpoint
        self._v1: Final = _Node()
        self._successors: Final[dict[tuple[int, str], str]] = {}
        for successor in successors:
            node = self._v1.below(successor.template[1:].split("/"))
            self._successors[id(node), successor.method] = successor.replacement

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
                note="the path is not in the catalog; the setting `catalog` adds endpoints that are newer than the gateway",
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
        replacement = self._successors.get((id(node), method))
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
