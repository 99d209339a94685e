"""The schema of ``gateway.yaml``."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from gateway.config.schema.fields import (
    SEGMENT,
    Duration,
    FileName,
    Listen,
    Name,
    Section,
    Size,
    Source,
    Timeout,
    TrustDomain,
)


class Tls(Section, frozen=True, kw_only=True):
    """HTTPS on the traffic listener."""

    certificate: Annotated[FileName, Meta(description="Certificate chain, PEM.")]
    private_key: Annotated[FileName, Meta(description="Private key of the certificate, PEM.")]
    client_ca: Annotated[
        FileName | UnsetType,
        Meta(
            description="Certificates of the authorities whose client certificates callers may present, PEM; needs "
            "`callers.trusted_spiffe_domain`."
        ),
    ] = UNSET


class Upstream(Section, frozen=True, kw_only=True):
    """Where Productlane is and how long to wait for it."""

    url: Annotated[
        str,
        Meta(
            description="Base URL of the API. `https://`, or `http://` to loopback only.",
            extra={"expected": "a URL such as https://productlane.com/api/v2", "private": True},
        ),
    ] = "https://productlane.com/api/v2"
    ca: Annotated[FileName | UnsetType, Meta(description="Certificates to trust beside those of the system, PEM.")] = (
        UNSET
    )
    connect_timeout: Annotated[Timeout, Meta(description="To connect, TLS included.")] = "5s"
    response_timeout: Annotated[Timeout, Meta(description="Until the first byte of the answer.")] = "60s"
    idle_timeout: Annotated[Timeout, Meta(description="Between bytes, in either direction.")] = "60s"
    max_connections: Annotated[int, Meta(ge=1, le=10_000, description="Connections to Productlane at a time.")] = 100
    key_errors: Annotated[
        Literal["relay", "translate"],
        Meta(
            description="What a caller sees when Productlane refuses the gateway's key: `relay` passes 401 and 410 on, "
            "`translate` answers 502 `upstream_key_rejected` or `upstream_key_unsupported`."
        ),
    ] = "relay"


class Key(Section, frozen=True, kw_only=True):
    """An upstream credential and its secrets."""

    secrets: Annotated[
        tuple[Source, ...],
        Meta(
            min_length=1,
            description="Where the values are, in order of preference: `file:/path` or `env:NAME`. Several while a key "
            "rotates.",
            extra={"items": "sources, such as file:/run/secrets/support"},
        ),
    ]
    workspace: Annotated[
        Annotated[str, Meta(pattern=r"^\S+$", extra={"expected": "the id of a workspace"})] | UnsetType,
        Meta(description="The workspace that the key has to belong to; a secret of another one is refused."),
    ] = UNSET


class Route(Section, frozen=True, kw_only=True):
    """Which keys serve a path. A route that names the caller beats one that does not; then the longest path wins."""

    path: Annotated[
        str,
        Meta(
            pattern=rf"^(?:/\*\*|(?:{SEGMENT})+(?:/\*\*)?)$",
            description="Path template without /api/v2. `/x/**` covers `/x` and all below it; `/**` covers everything.",
            extra={"expected": "a path such as /changelogs/** or /threads/{id}"},
        ),
    ]
    keys: Annotated[
        tuple[Name, ...],
        Meta(
            min_length=1,
            description="Names of keys; of those that carry the scopes of the endpoint, the narrowest serves it.",
            extra={"items": "names of keys"},
        ),
    ]
    callers: Annotated[
        Annotated[tuple[Name, ...], Meta(min_length=1)] | UnsetType,
        Meta(
            description="Names of the callers that the route is for. Without it, the route is for all.",
            extra={"items": "names of callers"},
        ),
    ] = UNSET


class Kubernetes(Section, frozen=True, kw_only=True):
    """Service-account tokens as proof of who calls."""

    issuer: Annotated[
        str,
        Meta(
            pattern=r"^https://[A-Za-z0-9\[][^\s?#@\\]*$",
            description="The cluster's issuer, as the `iss` of its tokens has it.",
            extra={"expected": "the issuer's URL such as https://kubernetes.default.svc"},
        ),
    ]
    audience: Annotated[
        str, Meta(description="Audience that the tokens have to be for, as the `serviceAccountToken` volume names it.")
    ]
    jwks: Annotated[
        Annotated[str, Meta(pattern=r"^file:.+$", extra={"expected": "file:/path of a JWKS document"})] | UnsetType,
        Meta(description="`file:/path` of the issuer's keys (JWKS). Without it they are discovered at the issuer."),
    ] = UNSET
    ca: Annotated[
        FileName | UnsetType,
        Meta(
            description="Certificates to trust for the issuer, instead of the system's, PEM. For an issuer inside the "
            "cluster the default is the CA that Kubernetes mounts into every pod."
        ),
    ] = UNSET


class Callers(Section, frozen=True, kw_only=True):
    """How callers prove who they are, beyond the tokens in policies."""

    kubernetes: Annotated[Kubernetes | UnsetType, Meta(description="Tokens of Kubernetes service accounts.")] = UNSET
    trusted_spiffe_domain: Annotated[
        TrustDomain | UnsetType,
        Meta(description="Trust domain of the SPIFFE ids in client certificates; needs `tls.client_ca`."),
    ] = UNSET


class Identity(Section, frozen=True, kw_only=True):
    """The memory of what `GET /me` says of each secret."""

    ttl: Annotated[
        Duration, Meta(description="How long an answer is trusted; a scope taken away may last as long.")
    ] = "60s"
    refused_ttl: Annotated[Duration, Meta(description="How long a 401 or 410 is remembered.")] = "10s"
    stale_if_error: Annotated[Duration, Meta(description="How long the last good answer serves while `/me` fails.")] = (
        "1h"
    )
    prefetch: Annotated[bool, Meta(description="Look every secret up at start and when it changes.")] = True


class Redis(Section, frozen=True, kw_only=True):
    """How the Redis or Valkey that `store` names is reached. Its user stands in the URL."""

    password: Annotated[
        Source | UnsetType,
        Meta(description="Where the password is: `file:/path` or `env:NAME`. A file is read anew for each connection."),
    ] = UNSET
    ca: Annotated[
        FileName | UnsetType,
        Meta(description="Certificates to trust for `rediss://` beside those of the system, PEM."),
    ] = UNSET
    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9._:-]{1,64}$",
            description="What every key begins with; for a Redis that others use as well.",
            extra={"expected": "at most 64 letters, digits, `.`, `_`, `:` and `-`"},
        ),
    ] = "productlane-gateway"


class Pacing(Section, frozen=True, kw_only=True):
    """How long a request may wait for rate budget."""

    max_wait: Annotated[Duration, Meta(description="Longest wait of a request; past it the answer is 429.")] = "5s"
    max_queue: Annotated[
        int,
        Meta(ge=0, le=100_000, description="Most requests that wait at a time; for one more the answer is 503."),
    ] = 1000


class Body(Section, frozen=True, kw_only=True):
    """Largest request bodies, by lane. Requests that read have none."""

    write: Annotated[Size, Meta(description="For POST, PUT, PATCH and DELETE.")] = "16MiB"
    upload: Annotated[Size, Meta(description="For POST /files, whose files may have 10 MB.")] = "12MiB"


class Limits(Section, frozen=True, kw_only=True):
    """What callers may cost the gateway itself."""

    head_timeout: Annotated[Timeout, Meta(description="To receive the whole head of a request.")] = "10s"
    keepalive_timeout: Annotated[
        Timeout, Meta(description="Idle time after which a caller's connection is closed.")
    ] = "75s"
    body: Annotated[Body, Meta(description="Largest request bodies, by lane.")] = Body()
    connections: Annotated[int, Meta(ge=1, le=1_000_000, description="Connections of all callers at a time.")] = 10_000
    connections_per_address: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Connections from one address at a time.")
    ] = 1_000


class Log(Section, frozen=True, kw_only=True):
    """The log on standard output."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The least that is written.")] = (
        "info"
    )
    format: Annotated[Literal["json", "console"], Meta(description="`json` for machines, `console` for people.")] = (
        "json"
    )


class Drain(Section, frozen=True, kw_only=True):
    """How the gateway stops."""

    delay: Annotated[
        Duration, Meta(description="How long it goes on accepting after SIGTERM, closing connections.")
    ] = "3s"
    timeout: Annotated[Duration, Meta(description="How long requests in flight may then take.")] = "30s"


class Gateway(Section, frozen=True, kw_only=True):
    """The configuration of the gateway, `gateway.yaml`."""

    listen: Annotated[Listen, Meta(description="Traffic listener: `host:port` or `unix:/path`.")] = "127.0.0.1:8080"
    tls: Annotated[Tls | UnsetType, Meta(description="Serve HTTPS on the traffic listener.")] = UNSET
    admin: Annotated[Listen, Meta(description="Listener of metrics, probes and the status page.")] = "127.0.0.1:9090"
    upstream: Annotated[Upstream, Meta(description="Where Productlane is and how long to wait for it.")] = Upstream()
    keys: Annotated[dict[Name, Key], Meta(min_length=1, description="Upstream credentials by name.")]
    routes: Annotated[
        tuple[Route, ...],
        Meta(min_length=1, description="Which keys serve which endpoints.", extra={"items": "routes"}),
    ]
    policies: Annotated[
        str,
        Meta(
            description="Folder of policy files, `*.yaml` and not `*.cases.yaml`.",
            extra={"expected": "the path of a folder"},
        ),
    ] = "policies/"
    callers: Annotated[Callers, Meta(description="How callers prove who they are, beyond tokens.")] = Callers()
    identity: Annotated[Identity, Meta(description="The memory of what `GET /me` says of each secret.")] = Identity()
    store: Annotated[
        str,
        Meta(
            pattern=r"^(?:memory|sqlite:.+|rediss?://.+)$",
            description="Where answers of `/me` are kept: `memory`; `sqlite:/path`, which a restart finds again; or a "
            "Redis or Valkey that replicas share, `redis://user@host:port/number` or, with TLS, `rediss://…`. A "
            "password may stand in the URL only where the environment gives it.",
            extra={"expected": "memory, sqlite:/path or redis://host:port/number", "private": True},
        ),
    ] = "memory"
    redis: Annotated[Redis, Meta(description="How the Redis that `store` names is reached.")] = Redis()
    pacing: Annotated[Pacing, Meta(description="Waiting for a key's rate budget.")] = Pacing()
    catalog: Annotated[
        tuple[FileName, ...],
        Meta(description="Files that add endpoints or override them.", extra={"items": "paths of catalog files"}),
    ] = ()
    limits: Annotated[Limits, Meta(description="What callers may cost the gateway itself.")] = Limits()
    log: Annotated[Log, Meta(description="The log on standard output.")] = Log()
    drain: Annotated[Drain, Meta(description="How the gateway stops.")] = Drain()
    dangerously_allow_anonymous: Annotated[
        bool,
        Meta(description="Start although an anonymous policy stands open to whoever reaches the traffic listener."),
    ] = False
