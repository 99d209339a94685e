"""The status of one process: metrics and the page read it, ``/status.json`` carries it, commands decode it.

What is not known is None. Moments are UTC, to the second. Secrets appear as previews, never whole.
"""

from datetime import UTC, datetime

import msgspec


class SlotStatus(msgspec.Struct, frozen=True):
    """One secret of a key. ``slot`` is its place from ``"1"``, or ``replaced``; ``preview`` is its four characters.

    ``identity_age`` is in seconds. ``since`` is when this process first held the value. ``note`` says why it does not
    serve, beyond ``state``; ``fault`` says what is wrong with its file. With ``source_fault`` the value is in memory
    only: its file is gone or unusable, and a restart would not find it. ``identity_fault`` says why the last question
    to ``/me`` failed; the gateway then uses an identity that is ``identity_age`` old.
    """

    slot: str
    state: str
    preview: str | None = None
    workspace: str | None = None
    api_key_id: str | None = None
    scopes: tuple[str, ...] | None = None
    identity_age: float | None = None
    last_used: datetime | None = None
    source: str | None = None
    since: datetime | None = None
    requests_last_hour: int = 0
    note: str | None = None
    fault: str | None = None
    identity_fault: str | None = None
    source_fault: bool = False


class ShareStatus(msgspec.Struct, frozen=True):
    """One caller's part in a budget: its share of the limit, what it sent this minute, and what it has waiting."""

    caller: str
    weight: int
    share: int
    used: int
    waiting: int


class BudgetStatus(msgspec.Struct, frozen=True):
    """Requests a minute, requests left, and when the count starts anew.

    ``reset`` is None until an answer reports it; until then the limit is Productlane's usual one. ``lowest`` is the
    fewest requests left in this minute and the last. ``expected`` is the number of requests expected until the reset
    at the present rate. ``waiting`` is the number of requests that wait. ``callers`` are those that asked recently.
    """

    limit: int
    remaining: int
    reset: datetime | None = None
    lowest: int | None = None
    expected: int = 0
    waiting: int = 0
    callers: tuple[ShareStatus, ...] = ()


class KeyStatus(msgspec.Struct, frozen=True):
    """One key. Its drift is None while its scopes are not known; budgets are by lane.

    ``missing``, ``excess``, ``unknown`` and ``wide`` are as in `gateway.core.drift.Drift`; ``advice`` says what would
    mend them, one sentence each.
    """

    name: str = msgspec.field(name="key")
    slots: tuple[SlotStatus, ...] = ()
    missing: tuple[str, ...] | None = None
    excess: tuple[str, ...] | None = None
    unknown: tuple[str, ...] | None = None
    wide: bool | None = None
    advice: tuple[str, ...] = ()
    budgets: dict[str, BudgetStatus] = {}

    @property
    def active(self) -> SlotStatus | None:
        """The slot whose secret serves; None where no verified one does."""
        return next((slot for slot in self.slots if slot.state == "active"), None)


class UseStatus(msgspec.Struct, frozen=True):
    """Requests to one endpoint since the start."""

    allowed: int
    denied: int
    would_deny: int
    last: datetime | None = None


class CallerStatus(msgspec.Struct, frozen=True):
    """What one caller may do and what it did. ``mode`` is None for ``-`` and ``other``, which have no policy.

    ``authenticate`` are the kinds of credential that identify it.
    """

    caller: str
    mode: str | None = None
    expires: str | None = None
    scopes: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    used: dict[str, UseStatus] = {}
    authenticate: tuple[str, ...] = ()


class StoreStatus(msgspec.Struct, frozen=True):
    """Where answers to ``/me`` are kept: ``memory``, ``sqlite`` or ``redis``, and its path or URL without a password.

    ``faults`` says why it cannot be used now, by ``read`` and ``write``; mostly empty.
    """

    kind: str = "memory"
    place: str | None = None
    faults: dict[str, str] = {}


class IssuerStatus(msgspec.Struct, frozen=True):
    """An issuer of callers' tokens. ``keys`` are those that are known, fetched ``age`` seconds ago, None for never.

    ``up`` is False while the last fetch failed, and before the first one succeeded; ``fault`` says why.
    """

    name: str
    issuer: str
    up: bool
    keys: int = 0
    age: float | None = None
    fault: str | None = None


class ReloadStatus(msgspec.Struct, frozen=True):
    """How the last load of the configuration went.

    ``problems`` are those of a change that could not be used, on disk since ``failing_since``. ``restart_needed`` are
    settings whose change waits for a restart. ``narrowed`` are callers whose grant was cut or taken away meanwhile.
    """

    ok: bool = True
    problems: tuple[str, ...] = ()
    failing_since: datetime | None = None
    restart_needed: tuple[str, ...] = ()
    narrowed: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """Everything that ``/status.json`` has, in its order.

    ``instance`` is drawn at the start: two addresses that answer with the same one are one process.
    """

    version: str
    started: datetime | None
    now: datetime | None
    config: str
    upstream: str
    listeners: dict[str, str]
    not_ready: tuple[str, ...]
    reload: ReloadStatus
    store: StoreStatus
    keys: tuple[KeyStatus, ...]
    callers: tuple[CallerStatus, ...]
    instance: str = ""
    issuers: tuple[IssuerStatus, ...] = ()


def moment(unix: float | None) -> datetime | None:
    """A Unix time in UTC, to the second; None for none, and for a number that is no date."""
    if unix is None:
        return None
    try:
        return datetime.fromtimestamp(unix, UTC).replace(microsecond=0)
    except (OverflowError, ValueError, OSError):
        return None


def text(moment: datetime | None) -> str | None:
    """A moment in RFC 3339, as ``/status.json`` has it."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
