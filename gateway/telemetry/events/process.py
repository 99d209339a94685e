"""Events of the process: start, end, configuration, libraries, tracing."""

from gateway.telemetry.event import Counted, Event, Level


class Started(Event, frozen=True):
    """Both listeners are open."""

    name = "started"
    version: str
    config: str
    listener: str
    address: str
    keys: int
    policies: int


class Draining(Event, frozen=True):
    """The process was asked to end; `in_flight` requests have `seconds` to finish."""

    name = "draining"
    in_flight: int
    seconds: float


class Stopped(Event, frozen=True):
    """The process ends."""

    name = "stopped"


class NotHardened(Event, frozen=True):
    """The platform lacks a protection of this process's memory."""

    name = "not_hardened"
    level = "warning"
    problems: list[str]


class DescriptorsShort(Event, frozen=True):
    """This process may open `limit` files; its settings allow connections that need `needed`."""

    name = "descriptors_short"
    level = "warning"
    limit: int
    needed: int
    reason: str


class RequestJudged(Event, frozen=True):
    """Why a request was allowed or refused: each rule that was asked, its outcome and why."""

    name = "request_judged"
    level = "debug"
    request_id: str
    caller: str
    rules: list[str]


class KeyChosen(Event, frozen=True):
    """Which secret serves a request, and how much of its budget is left as far as is known."""

    name = "key_chosen"
    level = "debug"
    request_id: str
    key: str
    slot: str
    lane: str
    remaining: int | None
    limit: int | None


class BackgroundFailed(Event, frozen=True):
    """A background task ended by an error: a fault of the program."""

    name = "background_failed"
    level = "error"
    error: str


class ConnectionFault(Event, frozen=True):
    """Serving one connection ended by an error: a fault of the program."""

    name = "connection_fault"
    level = "error"
    error: str


class LibraryRecord(Event, frozen=True):
    """A library logged something at `place`, or an exception of class `error` that was raised there."""

    name = "library"
    untold = frozenset({"at"})
    at: Level
    logger: str
    error: str | None
    place: str

    def severity(self) -> Level:
        return self.at


class Reload(Event, frozen=True):
    """The configuration was loaded again: `outcome` is `success`, `failure` (with `problems`) or `unchanged`."""

    name = "reload"
    outcome: str
    keys: int | None = None
    policies: int | None = None
    seconds: float | None = None
    problems: list[str] | None = None

    def severity(self) -> Level:
        return "error" if self.outcome == "failure" else "info"


class PolicyChange(Event, frozen=True):
    """A reload `added`, `changed` or `removed` a caller; `more` stands for `count` further callers."""

    name = "policy_change"
    caller: str | None
    outcome: str
    count: int | None = None


class RestartNeeded(Event, frozen=True):
    """Settings changed that count only at a start; `reason` lists them."""

    name = "restart_needed"
    level = "warning"
    reason: str


class WatchBlind(Event, frozen=True):
    """The kernel gives no notice of changed files; they are looked at every few seconds."""

    name = "watch_blind"
    level = "warning"
    error: str


class TracingOn(Event, frozen=True):
    """Spans are sent to a collector at `address`."""

    name = "tracing_on"
    address: str


class TracingOff(Event, frozen=True):
    """Spans were asked for and cannot be sent."""

    name = "tracing_off"
    level = "warning"
    reason: str


class TracingFault(Event, frozen=True):
    """Spans could not be sent, or were dropped."""

    name = "tracing_fault"
    level = "warning"
    reason: str


class TracingBack(Event, frozen=True):
    """Spans are sent again."""

    name = "tracing_back"


class AdminConnectionRefused(Event, frozen=True):
    """The admin listener had no place for a connection: an idle one was closed for it, or it was refused."""

    counter = Counted(
        "admin_connections_refused",
        "Connections to the admin listener beyond its bounds, of one address or of all.",
        {"scope": ("address", "all")},
    )
    scope: str
