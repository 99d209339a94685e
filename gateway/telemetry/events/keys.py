"""Events of keys and of what is remembered about them."""

from gateway.telemetry import labels
from gateway.telemetry.event import Counted, Event, Level, Names


class SecretStateChanged(Event, frozen=True):
    """A secret has another state; a warning where it serves no longer or its file is unusable."""

    name = "key_state"
    untold = frozenset({"alarming"})
    key: str
    slot: str
    preview: str
    previous: str
    state: str
    reason: str
    alarming: bool

    def severity(self) -> Level:
        return "warning" if self.alarming else "info"


class IdentityLookup(Event, frozen=True):
    """The identity behind a secret was looked up, once or more often."""

    counter = Counted("identity_lookups", "Look-ups of a key's identity.", {"key": Names.KEY, "result": labels.LOOKUPS})
    key: str
    result: str
    number: int = 1

    def times(self) -> int:
        return self.number


class IdentityStale(Event, frozen=True):
    """`/me` cannot be asked about a secret; the answer of `seconds` ago is used."""

    name = "identity_stale"
    level = "warning"
    key: str
    slot: str
    preview: str
    reason: str
    seconds: float


class IdentityUnknown(Event, frozen=True):
    """`/me` cannot be asked about a secret, and no earlier answer can be used."""

    name = "identity_unknown"
    level = "warning"
    key: str
    slot: str
    preview: str
    reason: str


class IdentityBack(Event, frozen=True):
    """`/me` answers about a secret again."""

    name = "identity_back"
    key: str
    slot: str
    preview: str


class StoreFault(Event, frozen=True):
    """The store failed or gave no answer; the line is written where it worked before."""

    name = "store_fault"
    level = "warning"
    untold = frozenset({"first"})
    counter = Counted("store_faults", "Faults and silences of the store.", {"use": labels.STORE_USES})
    store: str
    use: str
    reason: str
    first: bool

    def severity(self) -> Level | None:
        return "warning" if self.first else None


class StoreBack(Event, frozen=True):
    """The store works again."""

    name = "store_back"
    store: str
    use: str


class StoreDamaged(Event, frozen=True):
    """The store's file was damaged; it was moved to `path`, and a new one was begun."""

    name = "store_damaged"
    level = "warning"
    store: str
    path: str


class BudgetSharingFault(Event, frozen=True):
    """Replicas cannot report to each other what callers use; each goes by Productlane's answers alone meanwhile."""

    name = "budget_sharing_fault"
    level = "warning"
    error: str


class LimitsStoreFault(Event, frozen=True):
    """The shared count of callers' limits failed; this process counts alone for a while."""

    name = "limits_store_fault"
    level = "warning"
    error: str
