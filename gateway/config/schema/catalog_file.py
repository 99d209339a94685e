"""The schema of a catalog file."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from gateway.config.schema.fields import SEGMENT, Scope, Section


class Endpoint(Section, frozen=True, kw_only=True):
    """An endpoint of the API."""

    method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], Meta(description="HTTP method.")]
    path: Annotated[
        str,
        Meta(
            pattern=rf"^(?:{SEGMENT})+$",
            description="Path template without /api/v2.",
            extra={"expected": "a path template such as /threads/{id}"},
        ),
    ]
    scopes: Annotated[
        tuple[Scope, ...],
        Meta(description="Scopes that are all needed; an empty list for any valid key.", extra={"items": "scopes"}),
    ]
    lane: Annotated[
        Literal["read", "write", "upload"] | UnsetType,
        Meta(description="The budget it spends; `read` for GET and `write` for the rest without it."),
    ] = UNSET
    guarded: Annotated[bool | UnsetType, Meta(description="Whether a policy has to name it under `endpoints`.")] = UNSET


class Successor(Section, frozen=True, kw_only=True):
    """A path of v1 and what replaces it."""

    method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], Meta(description="HTTP method.")]
    path: Annotated[str, Meta(description="Path template without /api/v1.")]
    replacement: Annotated[str, Meta(description="What to call instead.")]


class Catalog(Section, frozen=True, kw_only=True):
    """A catalog file: endpoints, and scopes that Productlane has added."""

    scopes: Annotated[dict[Scope, str], Meta(description="Scopes, each with what it allows.")] = field(
        default_factory=dict
    )
    endpoints: Annotated[tuple[Endpoint, ...], Meta(description="Endpoints.", extra={"items": "endpoints"})] = ()
    v1: Annotated[
        tuple[Successor, ...],
        Meta(description="Paths of v1 and what replaces them.", extra={"items": "paths of v1"}),
    ] = ()
