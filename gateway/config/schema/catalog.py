"""The entries of a catalog file.

An `Endpoint` here is an entry as a file has it. `gateway.core.catalog.Endpoint` is complete: the lane is filled in, and
``guarded`` is true or false. It also has its name and hash, made once for the data path.
"""

from typing import Literal, TypeAlias, get_args

from gateway.config.reading.collections import Many, Named
from gateway.config.reading.kinds import Choice, Text, Truth, one_of
from gateway.config.reading.section import Record, Section, setting
from gateway.config.schema.kinds import SCOPE, SEGMENT
from gateway.core.catalog import Lane

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
_METHOD = one_of(get_args(Method))
_TEXT = Text("text", parse=str)


class Endpoint(Section):
    """An endpoint of the API."""

    method: Method = setting(_METHOD, "HTTP method.")
    path: str = setting(
        Text("a path template such as /threads/{id}", rf"^(?:{SEGMENT})+$", parse=str),
        "Path template without /api/v2.",
    )
    scopes: tuple[str, ...] = setting(
        Many(SCOPE, "scopes", once=False), "Scopes that are all needed; an empty list for any valid key."
    )
    lane: Lane | None = setting(
        Choice({lane.value: lane for lane in Lane}),
        "The budget it spends; `read` for GET and `write` for the rest without it.",
        default=None,
    )
    guarded: bool | None = setting(Truth(), "Whether a policy has to name it under `endpoints`.", default=None)


class Successor(Section):
    """A path of v1 and what replaces it."""

    method: Method = setting(_METHOD, "HTTP method.")
    path: str = setting(_TEXT, "Path template without /api/v1.")
    replacement: str = setting(_TEXT, "What to call instead.")


class Catalog(Section):
    """A catalog file: endpoints, and scopes that Productlane has added."""

    scopes: dict[str, str] | None = setting(Named(SCOPE, _TEXT), "Scopes, each with what it allows.", default=None)
    endpoints: tuple[Endpoint, ...] = setting(Many(Record(Endpoint), "endpoints", once=False), "Endpoints.", default=())
    v1: tuple[Successor, ...] = setting(
        Many(Record(Successor), "paths of v1", once=False), "Paths of v1 and what replaces them.", default=()
    )
