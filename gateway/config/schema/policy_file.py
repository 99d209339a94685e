"""The schema of a policy file: one caller each."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from gateway.config.schema.fields import EndpointName, Name, Scope, Section, ServiceAccount, SpiffeId, UnixUid


class Authenticate(Section, frozen=True, kw_only=True):
    """How this caller is known. Any of them will do."""

    tokens: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=r"^sha256:[0-9a-f]{64}$",
                    extra={
                        "expected": "sha256: and 64 hexadecimal digits, from `productlane-gateway token`",
                        "private": True,
                    },
                ),
            ],
            ...,
        ],
        Meta(
            description="SHA-256 digests of bearer tokens, made by `productlane-gateway token`.",
            extra={"items": "digests of tokens"},
        ),
    ] = ()
    kubernetes: Annotated[
        tuple[ServiceAccount, ...],
        Meta(
            description="Kubernetes service accounts, `namespace/name`; needs `callers.kubernetes` in gateway.yaml.",
            extra={"items": "service accounts"},
        ),
    ] = ()
    spiffe: Annotated[
        tuple[SpiffeId, ...],
        Meta(
            description="SPIFFE ids of client certificates; needs `callers.trusted_spiffe_domain` in gateway.yaml.",
            extra={"items": "SPIFFE ids"},
        ),
    ] = ()
    unix_uids: Annotated[
        tuple[UnixUid, ...],
        Meta(
            description="User ids of the processes that connect, where the traffic listener is a unix socket.",
            extra={"items": "user ids"},
        ),
    ] = ()
    anonymous: Annotated[bool, Meta(description="Whoever reaches the listener is this caller.")] = False


class CallerLimits(Section, frozen=True, kw_only=True):
    """Hard caps of one caller."""

    reads_per_minute: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType, Meta(description="Most GET and HEAD requests a minute.")
    ] = UNSET
    writes_per_minute: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType, Meta(description="Most other requests a minute.")
    ] = UNSET


class Policy(Section, frozen=True, kw_only=True):
    """What one caller may do. Nothing is allowed that it does not name."""

    caller: Annotated[Name, Meta(description="Name of the caller, in logs, metrics and routes.")]
    authenticate: Annotated[Authenticate, Meta(description="How this caller is known; any of them will do.")]
    scopes: Annotated[
        tuple[Scope, ...],
        Meta(description="Scopes of Productlane that the caller may use.", extra={"items": "scopes"}),
    ] = ()
    endpoints: Annotated[
        tuple[EndpointName, ...],
        Meta(
            description="Single endpoints beyond the scopes; the only way to reach a guarded one.",
            extra={"items": "endpoints"},
        ),
    ] = ()
    deny: Annotated[
        tuple[EndpointName, ...],
        Meta(description="Endpoints that are refused whatever else says.", extra={"items": "endpoints"}),
    ] = ()
    mode: Annotated[
        Literal["enforce", "audit"],
        Meta(
            description="`audit` forwards what scopes would refuse and reports it; deny and guarded hold all the same."
        ),
    ] = "enforce"
    expires: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", extra={"expected": "a date such as 2027-01-01", "date": True}
            ),
        ]
        | UnsetType,
        Meta(
            description="First day, in UTC, on which nothing is granted any more.", extra_json_schema={"format": "date"}
        ),
    ] = UNSET
    limits: Annotated[
        CallerLimits,
        Meta(description="Hard caps over any minute, by replica, or over all of them where `store` is Redis."),
    ] = CallerLimits()
    weight: Annotated[
        int,
        Meta(ge=1, le=1000, description="Share of a key's rate budget while several callers wait for it."),
    ] = 1
