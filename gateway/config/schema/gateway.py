"""The settings of ``gateway.yaml``. Times are seconds, sizes bytes; paths start from the folder of the file.

A value here is final, and the running gateway reads it from `Snapshot.settings`. Two sections differ from what is used,
because other files are read for them: a `Key` names where its secrets are, and `Snapshot.keys` has them; a `Route` may
name no callers, and `gateway.core.routing.Route`, which the core resolves for each endpoint, then is for all.
"""

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from gateway.callers.kinds import CallersSection
from gateway.config.reading.collections import Many, Named
from gateway.config.reading.kinds import Located, Text, Truth, Whole, one_of
from gateway.config.reading.names import FILE, NAME
from gateway.config.reading.section import Record, Section, section, setting
from gateway.config.schema.kinds import (
    DURATION,
    FOLDER,
    LISTEN,
    PASSWORD_SOURCE,
    SEGMENT,
    SIZE,
    SOURCE,
    TIMEOUT,
    TOKEN_SOURCE,
)
from gateway.config.schema.upstream import Upstream
from gateway.config.schema.values import store
from gateway.config.store import Store
from gateway.core.catalog import Lane
from gateway.net.listen_address import Address

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["json", "console"]


class Tls(Section):
    """HTTPS on the traffic listener."""

    certificate: Path = setting(FILE, "Certificate chain, PEM.")
    private_key: Path = setting(FILE, "Private key of the certificate, PEM.")
    client_ca: Path | None = setting(
        FILE,
        "Certificates of the authorities whose client certificates callers may present, PEM; needs "
        "`callers.trusted_spiffe_domain`.",
        default=None,
    )


class Key(Section):
    """An upstream credential and its secrets."""

    secrets: tuple[str, ...] = setting(
        Many(SOURCE, "sources, such as file:/run/secrets/support", least=1),
        "Where the values are, in order of preference: `file:/path` or `env:NAME`. Several while a key rotates.",
    )
    workspace: str | None = setting(
        Text("the id of a workspace", r"^\S+$", parse=str),
        "The workspace that the key has to belong to; a secret of another one is refused.",
        default=None,
    )


class Route(Section):
    """Which keys serve a path. A route that names the caller beats one that does not; then the longest path wins."""

    path: str = setting(
        Text(
            "a path such as /changelogs/** or /threads/{id}",
            rf"^(?:/\*\*|(?:{SEGMENT})+(?:/\*\*)?)$",
            parse=str,
        ),
        "Path template without /api/v2. `/x/**` covers `/x` and all below it; `/**` covers everything.",
    )
    keys: tuple[str, ...] = setting(
        Many(NAME, "names of keys", least=1),
        "Names of keys; of those that carry the scopes of the endpoint, the narrowest serves it.",
    )
    callers: tuple[str, ...] | None = setting(
        Many(NAME, "names of callers", least=1),
        "Names of the callers that the route is for. Without it, the route is for all.",
        default=None,
    )


class Identity(Section):
    """The memory of what `GET /me` says of each secret."""

    ttl: float = setting(
        DURATION, "How long an answer is trusted. A scope that Productlane takes away may last as long.", default="60s"
    )
    refused_ttl: float = setting(DURATION, "How long a 401 or 410 is remembered.", default="10s")
    stale_if_error: float = setting(DURATION, "How long the last good answer is used while `/me` fails.", default="1h")
    prefetch: bool = setting(Truth(), "Look every secret up at start and when it changes.", default=True)


class Redis(Section):
    """How the Redis or Valkey that `store` names is reached. Its user stands in the URL."""

    password: str | None = setting(
        PASSWORD_SOURCE,
        "Where the password is: `file:/path` or `env:NAME`. A file is read anew for each connection.",
        default=None,
    )
    ca: Path | None = setting(
        FILE, "Certificates to trust for `rediss://` beside those of the system, PEM.", default=None
    )
    prefix: str = setting(
        Text("at most 64 letters, digits, `.`, `_`, `:` and `-`", r"^[A-Za-z0-9._:-]{1,64}$", parse=str),
        "What every key begins with; for a Redis that others use as well.",
        default="productlane-gateway",
    )


class Pacing(Section):
    """How long a request may wait for rate budget."""

    max_wait: float = setting(
        DURATION, "Longest wait of a request for rate budget; past it the caller gets 429.", default="5s"
    )
    max_queue: int = setting(
        Whole(0, 100_000),
        "Most requests that wait for a key. When full, the caller with most waiting loses its newest, which gets 503.",
        default=1000,
    )


class Body(Section):
    """Largest request bodies, by lane. Requests that read have none."""

    write: int = setting(SIZE, "For POST, PUT, PATCH and DELETE; a larger one gets 413.", default="16MiB")
    upload: int = setting(SIZE, "For POST /files, whose files may have 10 MB; a larger one gets 413.", default="12MiB")

    def __getitem__(self, lane: Lane) -> int:
        """The most bytes of a body in a lane."""
        return 0 if lane is Lane.READ else self.upload if lane is Lane.UPLOAD else self.write


class Limits(Section):
    """What callers may cost the gateway itself."""

    head_timeout: float = setting(
        TIMEOUT, "To receive the whole head of a request; past it the answer is 408.", default="10s"
    )
    heads: int = setting(
        SIZE, "Bytes of heads without an answer; one address may hold a quarter. More get 503.", default="32MiB"
    )
    handshake_timeout: float = setting(
        TIMEOUT, "For the TLS handshake of a new connection; past it the connection is closed.", default="10s"
    )
    keepalive_timeout: float = setting(TIMEOUT, "Idle time after which a caller's connection is closed.", default="75s")
    body: Body = section(factory=Body)
    body_rate: int = setting(
        SIZE,
        "Least bytes a second of a request's body, after 30 s of waiting or `upstream.idle_timeout` if that is "
        "shorter; below it gets 408.",
        default="1KiB",
    )
    answer_rate: int = setting(
        SIZE,
        "Least bytes a second that a caller takes of an answer which waits for it, after 30 s of waiting or "
        "`upstream.idle_timeout` if that is shorter; below it the answer is cut.",
        default="1KiB",
    )
    connections: int = setting(
        Whole(1, 1_000_000), "Connections of all callers at a time; one more gets 503.", default=10_000
    )
    connections_per_address: int = setting(
        Whole(1, 1_000_000), "Connections from one address at a time; one more gets 503.", default=1_000
    )


class Log(Section):
    """The log on standard output."""

    level: LogLevel = setting(one_of(get_args(LogLevel)), "The least that is written.", default="info")
    format: LogFormat = setting(
        one_of(get_args(LogFormat)), "`json` for machines, `console` for people.", default="json"
    )


class Drain(Section):
    """How the gateway stops."""

    delay: float = setting(DURATION, "How long it goes on accepting after SIGTERM, closing connections.", default="3s")
    timeout: float = setting(DURATION, "How long requests in flight may then take.", default="30s")


class Gateway(Section):
    """The configuration of the gateway, `gateway.yaml`."""

    listen: Address = setting(
        LISTEN, "Traffic listener: `host:port` or `unix:/path`.", default="127.0.0.1:8080", at_start=True
    )
    tls: Tls | None = setting(Record(Tls), "Serve HTTPS on the traffic listener.", default=None, at_start=True)
    admin: Address = setting(
        LISTEN, "Listener of metrics, probes and the status page.", default="127.0.0.1:9090", at_start=True
    )
    status_token: str | None = setting(
        TOKEN_SOURCE,
        "Where the token is that `/status` and `/status.json` want of other hosts: `file:/path` or `env:NAME`. Without "
        "it they answer this machine alone.",
        default=None,
    )
    upstream: Upstream = section(factory=Upstream)
    keys: dict[str, Key] = setting(Named(NAME, Record(Key), least=1), "Upstream credentials by name.")
    routes: tuple[Route, ...] = setting(
        Many(Record(Route), "routes", least=1, once=False), "Which keys serve which endpoints."
    )
    policies: Path = setting(
        FOLDER, "Folder of policy files, one for each caller: `*.yaml` and not `*.cases.yaml`.", default="policies/"
    )
    # Its keys are the rows of `KINDS` that need a setting.
    callers: Section = section(factory=CallersSection)
    identity: Identity = section(factory=Identity)
    store: Store = setting(
        Located(
            "memory, sqlite:/path or redis://host:port/number",
            r"^(?:memory|sqlite:.+|rediss?://.+)$",
            locate=store,
            private=True,
        ),
        "Where answers of `/me` are kept: `memory`; `sqlite:/path`, which a restart finds again; or a Redis or Valkey "
        "that replicas share, `redis://user@host:port/number` or, with TLS, `rediss://…`. A password may stand in the "
        "URL only where the environment gives it.",
        default="memory",
        at_start=True,
    )
    redis: Redis = section(factory=Redis, at_start=True)
    pacing: Pacing = section(factory=Pacing)
    catalog: tuple[Path, ...] = setting(
        Many(FILE, "paths of catalog files"), "Files that add endpoints or override them.", default=()
    )
    limits: Limits = section(factory=Limits)
    log: Log = section(factory=Log, at_start=True)
    drain: Drain = section(factory=Drain)
    dangerously_allow_anonymous: bool = setting(
        Truth(),
        "Start although a policy is anonymous and others than this machine reach the traffic listener.",
        default=False,
    )
